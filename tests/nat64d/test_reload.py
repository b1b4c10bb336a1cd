"""The daemon's way to another configuration: what it reads, when it refuses, and that it does so before anything has
changed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nat64d.config.errors import Problem
from nat64d.config.load import load, loads
from nat64d.config.models import Config
from nat64d.config.settings import settings_of, tables_of
from nat64d.control.rows import BusyError, NotReadyError, RefusedError, Row, WrongConfigurationError
from nat64d.gateway import reload as module
from nat64d.gateway.reload import Reload
from nat64d.gateway.state import Live
from nat64d.host.checks import Report
from nat64d.host.errors import HostError

BASE = """
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "192.0.2.1"
[limits]
sessions = 64
fragments_memory = 0
"""


class Scene:
    """A host and a watch that note what is asked of them, and a name server, in one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: list[str] = []
        self.wanted: Any = None
        self.objection: Exception | None = None
        self.live = Live(load(path))
        self.live.settings = settings_of(self.live.config, bytes(16))
        self.live.tables, self.live.state = tables_of(self.live.config, self.live.settings), "ready"
        self.live.host = self  # type: ignore[assignment]

    def extend(self, _: Config) -> None:
        self.done.append("extend")
        if self.objection:
            raise self.objection

    def retract(self, _: Any) -> None:
        assert self.live.config == load(self.path), "packets have not changed over yet"
        self.done.append("retract")

    @contextmanager
    def held(self) -> Iterator[None]:
        self.done.append("held")
        yield
        self.done.append("released")

    def check(self, _: float) -> None:
        self.done.append("check")

    async def change_to(self, _: Config) -> None:
        self.done.append("names")

    def run(self, body: Callable[[Reload], Awaitable[Any]], begun: bool = True) -> Any:
        """Run it beside a Reload that has begun, unless not."""

        async def whole() -> Any:
            reload = Reload(self.live, self.path, lambda config: self.done.append(f"log {config.log.level}"), AGAIN())
            task = asyncio.ensure_future(reload.run(self)) if begun else None  # type: ignore[arg-type]
            await asyncio.sleep(0)
            try:
                return await body(reload)
            finally:
                if task:
                    task.cancel()

        return asyncio.run(whole())

    def reload(self, text: str) -> Row:
        """Read this."""
        self.path.write_text(text)
        return self.run(lambda reload: asyncio.to_thread(reload.reload))


AGAIN = asyncio.Event


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A host to which everything fits."""
    monkeypatch.setattr(module, "check_host", lambda *_: Report([], []))
    caplog.set_level(logging.INFO)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    path = tmp_path / "a.toml"
    path.write_text(BASE)
    return Scene(path)


def test_what_can_be_refused_comes_first_and_what_goes_goes_last(scene, caplog):
    scene.live.nameserver, scene.live.config = scene, loads(BASE + "[dns64]")
    answer = scene.reload(BASE + '[[pool4]]\naddresses = "192.0.2.2"\n[log]\nlevel = "debug"\n[dns64]')
    assert scene.done == ["held", "extend", "retract", "released", "log debug", "names", "check"]
    assert [change["text"] for change in answer["changes"]] == [
        '[[pool4]] added (addresses = "192.0.2.2")',
        '[log] level = "debug" (was "info")',
    ]
    assert answer["summary"].startswith(f"Reloaded {scene.path}: kept 0 sessions; packets waited ")
    assert caplog.messages == [f"{answer['summary']}; {'; '.join(c['text'] for c in answer['changes'])}"]
    assert scene.live.config == load(scene.path)


def test_a_name_server_comes_and_goes_with_its_section(scene, monkeypatch):
    class NameServer:
        def __init__(self, config: Config, _: object) -> None:
            assert config.dns64

        async def start(self) -> None:
            scene.done.append("start")

        def ready(self, yes: bool) -> None:
            scene.done.append(f"ready {yes}")

        async def stop(self) -> None:
            scene.done.append("stop")

    monkeypatch.setattr(module, "NameServer", NameServer)
    scene.reload(BASE + "[dns64]")
    assert isinstance(scene.live.nameserver, NameServer)
    scene.reload(BASE)
    assert scene.live.nameserver is None
    assert [word for word in scene.done if word.split()[0] in {"start", "ready", "stop"}] == [
        "start",
        "ready True",
        "stop",
    ]


def test_nothing_new_changes_nothing(scene):
    answer = scene.reload(BASE + "\n# a comment")
    assert (answer["changes"], answer["summary"]) == ([], f"Reloaded {scene.path}: nothing has changed")
    assert scene.done == []


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        (BASE + "[timeouts]\nudp = 1", WrongConfigurationError, "[timeouts] udp = 1: expected "),
        ("what?", WrongConfigurationError, "a.toml: "),
        (BASE + "[tun]\nqueues = 2\nmtu = 1400", RefusedError, "[tun] queues = 2: nat64d runs with"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_touched(scene, caplog, text, error, sentence):
    before = scene.live.config, scene.live.settings, scene.live.tables
    with pytest.raises(error) as refused:
        scene.reload(text)
    assert sentence in str(refused.value)
    assert scene.done == []
    assert (scene.live.config, scene.live.settings, scene.live.tables) == before
    assert caplog.messages == [f"Not reloaded, nothing has changed: {'; '.join(str(refused.value).splitlines())}"]


def test_a_file_that_is_gone_is_wrong(scene):
    scene.path.unlink()
    with pytest.raises(WrongConfigurationError, match="expected a readable file"):
        scene.run(lambda reload: asyncio.to_thread(reload.reload))


def test_all_that_does_not_fit_is_said_at_once(scene, monkeypatch):
    monkeypatch.setattr(module, "check_host", lambda *_: Report([Problem("a.toml", "pool6", "", "no")], []))
    with pytest.raises(RefusedError) as refused:
        scene.reload(BASE + "[tun]\nmtu = 1400\nqueues = 2")
    assert [line.partition(": ")[2][:9] for line in str(refused.value).splitlines()] == [
        "[tun] mtu",
        "[tun] que",
        "pool6: no",
    ]


def test_a_host_that_refuses_stops_it(scene):
    scene.objection, before = HostError("no room"), scene.live.config
    with pytest.raises(RefusedError, match=r"^no room$"):
        scene.reload(BASE + "[timeouts]\nudp = 600")
    assert scene.done == ["held", "extend"]
    assert scene.live.config == before


def test_doubts_are_said_once(scene, caplog):
    answer = scene.reload(BASE + '[[pool4]]\naddresses = "10.0.0.1"')
    assert len(answer["warnings"]) == 1
    assert answer["warnings"][0].startswith('[[pool4]] addresses = "10.0.0.1" is private')
    assert answer["warnings"][0] in caplog.messages
    assert scene.reload(BASE + '[[pool4]]\naddresses = "10.0.0.1"\n[timeouts]\nudp = 600')["warnings"] == []


def test_before_packets_pass_and_after_it_is_not_ready(scene):
    async def after(reload: Reload) -> None:
        reload.close()
        assert scene.live.reloader is None
        await asyncio.to_thread(reload.reload)

    scene.path.write_text(BASE + "[timeouts]\nudp = 600")
    with pytest.raises(NotReadyError):
        scene.run(lambda reload: asyncio.to_thread(reload.reload), begun=False)
    with pytest.raises(NotReadyError):
        scene.run(after)
    with pytest.raises(NotReadyError, match=r"^the gateway is ready$"):
        scene.live.reload()


def test_one_at_a_time(scene):
    async def twice(reload: Reload) -> None:
        with reload._lock:
            await asyncio.to_thread(reload.reload)

    with pytest.raises(BusyError):
        scene.run(twice)


def test_while_code_is_compiled_many_sessions_are_not_taken_over(scene, monkeypatch):
    monkeypatch.setattr(module, "FEW", -1)
    scene.live.code = scene.live.code._replace(compiled=False)
    with pytest.raises(NotReadyError, match="being compiled"):
        scene.reload(BASE + '[[pool4]]\naddresses = "192.0.2.2"')
    assert scene.done == []
    assert scene.reload(BASE + "[timeouts]\nudp = 600")["changes"]


def test_when_nobody_knows_what_is_in_the_tables_the_daemon_ends(scene, monkeypatch):
    def broken(*_: object) -> None:
        raise MemoryError

    async def body(reload: Reload) -> None:
        with pytest.raises(MemoryError):
            await asyncio.to_thread(reload.reload)
        assert reload.failure == "A reload broke off, and packets no longer pass: MemoryError()"

    monkeypatch.setattr(module, "change_over", broken)
    scene.path.write_text(BASE + "[timeouts]\nudp = 600")
    scene.run(body)


def test_it_is_asked_for_again_and_again(scene, caplog):
    async def body(reload: Reload) -> None:
        for udp in (600, "soon", 700):
            scene.path.write_text(f"{BASE}[timeouts]\nudp = {udp!r}".replace("'", '"'))
            before = len(caplog.messages)
            reload._again.set()
            for _ in range(3000):
                if len(caplog.messages) > before:
                    break
                await asyncio.sleep(0.01)

    scene.run(body)
    assert scene.live.config.timeouts.udp == 700
    assert [message.split()[0] for message in caplog.messages] == ["Reloaded", "Not", "Reloaded"]


def test_a_discovered_prefix_stays_over_a_reload_and_another_one_is_a_reload(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('[clat]\nipv6 = "2001:db8:1::464"\n')
    scene = Scene(path)
    plat, other = loads(BASE).pool6, loads(BASE.replace("64:ff9b::", "2001:db8:64::")).pool6
    scene.live.config = scene.live.config.with_plat(plat)
    scene.retract = lambda _: None
    scene.reload('[clat]\nipv6 = "2001:db8:1::464"\n[timeouts]\nudp = 600')
    assert (scene.live.config.pool6, scene.live.config.timeouts.udp) == (plat, 600)
    assert scene.run(lambda reload: reload.use_prefix(other))
    assert scene.live.config.pool6 == other
    assert scene.live.settings.pool6_hi == 0x20010DB800640000
