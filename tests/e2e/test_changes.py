"""Rows that are set beside the file while packets pass: `nat64d set`, `unset`, and what stays."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab
from tests.e2e.test_reload import memory_of, passed, small_pages, stream, transfer
from tests.e2e.topology import (
    CLIENT6A,
    CLIENT6B,
    GATEWAY4,
    POOL4,
    SERVER4,
    Daemon,
    Topology,
    embed,
    eventually,
    hear,
    serve,
    tell,
    traces,
)

pytestmark = pytest.mark.e2e

MAPPED = "192.0.2.50"


@pytest.fixture(scope="module")
def fresh(namespaces: None) -> Iterator[Topology]:
    """A network of its own: here the configuration changes."""
    with Lab("changes") as lab:
        net = Topology(lab)
        serve(net.server4, "udp_echo", SERVER4, "7")
        serve(net.server4, "tcp_echo", SERVER4, "7")
        serve(net.client6b, "udp_echo", CLIENT6B, "7")
        yield net


@pytest.fixture(scope="module")
def daemon(fresh: Topology, memory: Path) -> Iterator[Daemon]:
    """The daemon, which keeps its sessions."""
    directory = memory / "changes"
    directory.mkdir()
    with small_pages():
        daemon = Daemon(fresh.gateway, directory, keep=True).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()


@pytest.fixture(scope="module")
def talker(fresh: Topology) -> subprocess.Popen[str]:
    """A socket of server4."""
    return serve(fresh.server4, "udp_talk", "0.0.0.0")


def echoes(talker: subprocess.Popen[str], address: str, port: int) -> bool:
    """Whether server4 is answered from there."""
    tell(talker, "send", address, port, "Is somebody there?")
    tell(talker, "receive")
    answer = json.loads(hear(talker))
    return answer["text"] is not None and answer["from"] == [address, port]


def set_by_api(daemon: Daemon) -> list[str]:
    return [row["ipv4"] for row in daemon.rows("mappings") if row["source"] == "api"]


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_set_works_at_once_and_over_a_kill(daemon: Daemon, talker: subprocess.Popen[str]) -> None:
    rows = ("eam", MAPPED, "2001:db8:a::50", "forward", "udp", f"{POOL4[1]}:77", f"[{CLIENT6B}]:7")
    foreseen = good(daemon.ask("set", "--dry-run", *rows)).splitlines()
    assert set_by_api(daemon) == []
    lines = good(daemon.ask("set", *rows)).splitlines()
    assert lines[:-1] == foreseen[:-1]
    assert [line.split(" (")[0] for line in lines[:-1]] == ["[[eam]] added", "[[forward]] added"]
    assert echoes(talker, POOL4[1], 77)
    assert good(daemon.ask("reload")).endswith("nothing has changed\n")
    for by in (signal.SIGKILL, signal.SIGTERM):
        daemon.stop(by)
        daemon.start()
        assert set_by_api(daemon) == [f"{MAPPED}/32", POOL4[1]]
        assert echoes(talker, POOL4[1], 77)
    assert good(daemon.ask("unset", "eam", MAPPED, "forward", "udp", f"{POOL4[1]}:77"))
    assert set_by_api(daemon) == []


@pytest.mark.parametrize(
    ("rows", "code", "said"),
    [
        (("eam", "198.51.100.300", "::1"), 2, 'set: [[eam]] #2 ipv4 = "198.51.100.300": expected an IPv4 prefix'),
        (("eam", POOL4[0], "2001:db8:a::51"), 2, f'api: [[eam]] #2 ipv4 = "{POOL4[0]}/32": expected addresses outside'),
        (("eam", GATEWAY4, "2001:db8:a::51"), 1, GATEWAY4),
    ],
    ids=["not_valid", "contradicts_the_file", "does_not_fit_the_host"],
)
def test_half_a_change_set_changes_nothing(
    fresh: Topology, daemon: Daemon, rows: tuple[str, ...], code: int, said: str
) -> None:
    before = traces(fresh.gateway), daemon.rows("mappings")
    refused = daemon.ask("set", "eam", MAPPED, "2001:db8:a::50", *rows)
    assert refused.returncode == code, refused.stderr
    assert said in refused.stderr
    assert not refused.stdout
    assert (traces(fresh.gateway), daemon.rows("mappings")) == before


@pytest.mark.parametrize("times", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_again_and_again_beside_a_flow(fresh: Topology, daemon: Daemon, times: int) -> None:
    """No packet of a flow that a change does not concern is lost, and nothing is left behind."""
    eam = ("eam", MAPPED, "2001:db8:a::50")
    rows = (
        eam,
        (*eam, "forward", "tcp", f"{POOL4[1]}:81", f"[{CLIENT6B}]:81"),
        ("pool4", "192.0.2.64/29", "5000-5999"),
    )
    used = []
    with stream(fresh) as end, transfer(fresh) as end_transfer:
        for number in range(times):
            given = rows[number // 2 % len(rows)]
            assert "[[" in good(daemon.ask("unset" if number % 2 else "set", *given))
            used.append(memory_of(daemon))
        counts, carried = end(), end_transfer()
    print(f"{times} changes: {counts} datagrams, {carried} octets, {used[times // 2]} to {used[-1]} KiB")
    assert counts["received"] == counts["sent"] > 0
    assert passed(carried), carried
    assert set_by_api(daemon) == []
    # Soon: whoever reads the tables at that moment has those of before for a moment longer.
    eventually(lambda: memory_of(daemon) < used[times // 2] * 1.02 + 4096, daemon)


def test_a_flush_ends_the_sessions_that_are_meant_and_no_other(fresh: Topology, daemon: Daemon) -> None:
    other = serve(fresh.client6b, "udp_talk", "::")

    def answered() -> bool:
        tell(other, "send", embed(SERVER4), 7, "again")
        tell(other, "receive")
        return json.loads(hear(other))["text"] == "again"

    with stream(fresh) as end:
        assert answered()
        assert good(daemon.ask("flush", "--host6", CLIENT6B, "--proto", "udp")) == "Ended 1 sessions\n"
        assert answered()
        assert daemon.rows("sessions", "--host", CLIENT6A)
        counts = end()
    assert counts["received"] == counts["sent"] > 0
    assert daemon.ask("flush").returncode == 2
    assert good(daemon.ask("flush", "--all")).startswith("Ended ")
    assert daemon.rows("sessions") == []
    events = daemon.rows("events")
    assert [row["event"] for row in events][:2] == ["start", "ready"]
    assert events[-1]["text"].endswith("sessions on request")
    assert {"change", "flush"} <= {row["event"] for row in events}
