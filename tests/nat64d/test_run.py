"""`nat64d run`: what a start makes of the run before."""

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nat64d.dataplane.plain import plain_code
from nat64d.gateway import run
from nat64d.gateway.state import Live
from tests.case import config_of

AT = 5000  # milliseconds: the moment of each start


def started(path: Path, up: ExitStack, **changes: Any) -> Live:
    """A daemon that has its tables, and has looked into [state] file."""
    config = {"state": {"file": str(path)}, "limits": {"sessions": 64}}
    live = Live(config_of(**config | changes))
    tun = SimpleNamespace(name="nat64d-test", fds=[-1], created=True, offloads=())
    run._prepare(tun, SimpleNamespace(live=live, prepare=lambda _: plain_code()), up)  # type: ignore[arg-type]
    return live


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "now", lambda: AT)


@pytest.mark.parametrize(("filtering", "seconds"), [({}, 60), ({"reset_unknown": 5}, 5)], ids=["default", "configured"])
def test_rfc6146_3_5_2_2_a_start_that_finds_no_run_before_resets_lost_sessions_for_a_while(
    tmp_path, filtering, seconds
):
    for keep in ({}, {"keep": False}):
        for times in range(2):
            with ExitStack() as up:
                live = started(
                    tmp_path / "state", up, filtering=filtering, state={"file": str(tmp_path / "state")} | keep
                )
                assert live.settings is not None
                assert live.settings.reset_until == (0 if times and not keep else AT + 1000 * seconds)
