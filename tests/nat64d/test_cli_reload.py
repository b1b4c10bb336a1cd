"""`nat64d reload`: what it prints, and how it exits."""

import json

import pytest

from nat64d.control.rows import BusyError, NotReadyError, RefusedError, WrongConfigurationError
from tests.nat64d.fake_gateway import FakeGateway, serving
from tests.nat64d.test_cli import run


@pytest.fixture
def gateway():
    return FakeGateway()


@pytest.fixture
def path(gateway, tmp_path):
    with serving(gateway, tmp_path / "api.sock"):
        yield str(tmp_path / "api.sock")


def test_reload_prints_what_has_changed(path, gateway):
    result = run("reload", "--socket", path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "[timeouts] udp = 600 (was 300)",
        "warning: The cat sleeps.",
        "Reloaded /etc/nat64d/nat64d.toml: kept 2 sessions.",
    ]
    assert json.loads(run("reload", "--json", "--socket", path).stdout) == gateway.reload()


@pytest.mark.parametrize(
    ("error", "code"), [(WrongConfigurationError, 2), (RefusedError, 1), (BusyError, 1), (NotReadyError, 3)]
)
def test_reload_prints_why_it_is_refused(path, gateway, error, code):
    gateway.refusal = error("one line\nanother")
    result = run("reload", "--socket", path)
    assert result.exit_code == code
    assert "one line\n" in result.stderr
    assert result.stderr.endswith("nat64d: another\n")
    assert not result.stdout
