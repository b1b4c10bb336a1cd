"""`nat64d explain --live`: asked of a daemon at work, which goes on as if it had not been asked."""

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.topology import CLIENT6A, POOL6, SERVER4, Daemon, Topology, embed, hear, talk

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers")]

ECHO = 7


@pytest.fixture
def connection(net: Topology, nat64d: Daemon) -> Iterator[dict[str, Any]]:
    """A TCP connection from client6a to server4, as the daemon lists it."""
    before = nat64d.rows("sessions", "--host6", CLIENT6A, "--proto", "tcp")
    holder = talk(net.client6a, "tcp_hold", embed(SERVER4), str(ECHO), "1")
    assert hear(holder)
    known = {row["host6_port"] for row in before}
    (session,) = [
        row for row in nat64d.rows("sessions", "--host6", CLIENT6A, "--proto", "tcp") if row["host6_port"] not in known
    ]
    yield session
    holder.communicate()


def explain(nat64d: Daemon, packet: str) -> tuple[dict[str, str], dict[str, Any]]:
    """What each step found, and the end."""
    asked = nat64d.ask("explain", packet, "--live", "--json")
    assert (asked.returncode, asked.stderr) == (0, "")
    *steps, end = map(json.loads, asked.stdout.splitlines())
    return {step["step"]: "\n".join(step["found"]) for step in steps}, end


def left_alone(nat64d: Daemon) -> Any:
    """All that must be the same when nothing was sent, and how long each session has to live; without ICMP queries of
    other tests, which end after a minute, and without the counters of drops, which the kernel's own multicast on the
    device can move."""
    sessions, bib = ([row for row in nat64d.rows(kind) if row["protocol"] != "icmp"] for kind in ("sessions", "bib"))
    counters = [row for row in nat64d.rows("counters") if row.get("verdict") in ("translated", "hairpinned")]
    return sessions, bib, counters


def test_a_session_its_state_and_the_time_it_has_are_told_and_nothing_changes(nat64d, connection):
    time.sleep(1.1)
    sessions, bib, counters = left_alone(nat64d)
    ports = f"{connection['host6_port']} {ECHO}"
    found, end = explain(nat64d, f"{CLIENT6A} > {embed(SERVER4)} tcp {ports} flags A")
    ends = f"[{CLIENT6A}]:{connection['host6_port']} <> {connection['mapped4']}:{connection['mapped4_port']}"
    assert f"BIB entry {ends}" in found["filter, update"]
    known = f"session with {SERVER4}:{ECHO}, ESTABLISHED; expires in 7440 s (TCP_EST) instead of 74"
    assert known in found["filter, update"]
    assert (end["verdict"], end["direction"], len(end["outputs"])) == ("translated", "6to4", 1)

    found, _ = explain(nat64d, f"{SERVER4} > {connection['mapped4']} tcp {ECHO} {connection['mapped4_port']} flags R")
    assert "ESTABLISHED -> TRANS; expires in 240 s (TCP_TRANS) instead of 743" in found["filter, update"]

    found, _ = explain(nat64d, f"2001:db8:a::77 > {POOL6}203.0.113.77 udp 5000 53")
    assert "new BIB entry [2001:db8:a::77]:5000 <> " in found["filter, update"]

    after, bib_after, counters_after = left_alone(nat64d)
    assert (bib_after, counters_after) == (bib, counters)
    lived = [old.pop("expires_in") - new.pop("expires_in") for old, new in zip(sessions, after, strict=True)]
    assert after == sessions
    assert max(lived) - min(lived) < 1, "no session was kept alive"


def test_the_text_is_that_of_the_offline_explain(nat64d, net):
    packet = f"{CLIENT6A} > {embed('203.0.113.99')} udp 5000 53"
    asked = nat64d.ask("explain", packet, "--live")
    text = asked.stdout.partition("\n")[2] if asked.stdout.startswith("path ") else asked.stdout
    assert text.startswith("parse           8200 3    IPv6 UDP, 48 octets, hop limit 64, not a fragment\n")
    assert asked.stdout.endswith("verdict         7915      translated: Translated to the other IP version.\n")


def test_packets_pass_while_one_is_explained(nat64d, net):
    command = ("ping", "-6", "-n", "-q", "-c", "300", "-i", "0.01", "-W", "2", embed(SERVER4))
    ping = net.client6a.popen(*command, stdout=subprocess.PIPE)
    explain(nat64d, f"{CLIENT6A} > {embed(SERVER4)} icmp echo 1")
    while ping.poll() is None:
        explain(nat64d, f"{CLIENT6A} > {embed(SERVER4)} icmp echo 1")
    assert "300 received, 0% packet loss" in ping.communicate()[0]
