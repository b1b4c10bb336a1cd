"""A first start: packets pass before anything is compiled, and nothing breaks when the compiled code takes over."""

import shutil
import time
from collections.abc import Iterator

import pytest

from nat64d.cli.lab import Lab
from tests.e2e.topology import CLIENT6A, SERVER4, Daemon, Topology, embed, hear, serve, talk, tell, traces
from translator.jit.cache import cache_directory

pytestmark = pytest.mark.e2e

PATIENCE = 600  # seconds until all code is compiled or loaded on a busy machine
FULL_SPEED = "Packets pass at full speed"


@pytest.fixture(scope="module")
def net(namespaces: None) -> Iterator[Topology]:
    """A network of its own."""
    with Lab("first") as lab:
        net = Topology(lab)
        serve(net.server4, "udp_echo", SERVER4, "7")
        serve(net.server4, "tcp_echo", SERVER4, "7")
        yield net


def echoes(talker, text: str) -> bool:
    """Whether a datagram comes back from the server."""
    tell(talker, "send", embed(SERVER4), 7, text)
    tell(talker, "receive")
    return text in hear(talker)


def test_packets_pass_before_anything_is_compiled(net, tmp_path, monkeypatch):
    monkeypatch.setenv("NAT64D_CACHE", str(tmp_path / "cache"))
    before = traces(net.gateway)
    daemon = Daemon(net.gateway, tmp_path).start()
    talker = serve(net.client6a, "udp_talk", CLIENT6A)
    assert [echoes(talker, f"number {n}") for n in range(20)] == [True] * 20
    net.client6a.run("ping", "-6", "-n", "-c3", "-i0.2", "-W5", "-s1400", embed(SERVER4))
    holder = talk(net.client6a, "tcp_hold", embed(SERVER4), "7", "3")
    assert hear(holder)
    assert len(daemon.rows("sessions", "--proto", "tcp")) == 3
    assert len(daemon.rows("bib", "--proto", "udp")) == 1 + 2, "and two of [[forward]]"
    assert "plain Python" in daemon.ask("status").stdout
    asked = daemon.ask("explain", f"{CLIENT6A} > {embed(SERVER4)} udp 5000 7", "--live")
    assert asked.returncode != 0
    assert "is being compiled" in asked.stderr
    daemon.config += '\n[[pool4]]\naddresses = "192.0.2.32/27"\n'
    daemon.command()
    assert "[[pool4]] added" in daemon.ask("reload").stdout, daemon.said()
    assert echoes(talker, "after a reload")
    assert FULL_SPEED not in daemon.said()
    holder.communicate()
    talker.communicate()
    assert daemon.stop() == 0, daemon.said()
    assert traces(net.gateway) == before
    assert net.server4.ip("netns", "pids", net.gateway.netns) == ""


def test_sessions_go_on_when_compiled_code_takes_over(net, tmp_path, monkeypatch):
    known = cache_directory()
    monkeypatch.setenv("NAT64D_CACHE", str(tmp_path / "cache"))
    kept = tmp_path / "cache" / "nat64d" / known.name
    shutil.copytree(known, kept)
    (kept / "complete").unlink()
    daemon = Daemon(net.gateway, tmp_path).start()
    talker = serve(net.client6a, "udp_talk", CLIENT6A)
    assert echoes(talker, "the first")
    before = daemon.rows("sessions", "--proto", "udp")
    deadline, lost = time.monotonic() + PATIENCE, 0
    while FULL_SPEED not in daemon.said() and time.monotonic() < deadline:
        lost += not echoes(talker, "meanwhile")
    assert (FULL_SPEED in daemon.said(), lost) == (True, 0), daemon.said()
    assert echoes(talker, "the last")
    after = daemon.rows("sessions", "--proto", "udp")
    for row in (*before, *after):
        del row["expires_in"]
    assert after == before
    assert "plain Python" not in daemon.ask("status").stdout
    talker.communicate()
    while not (kept / "complete").exists():
        assert time.monotonic() < deadline, daemon.said()
        time.sleep(0.1)
    assert daemon.stop() == 0, daemon.said()
