"""Two IPv6 hosts that know each other only by IPv4 addresses (RFC 6146 section 3.8)."""

import json
from pathlib import Path

import pytest

from tests.e2e.topology import (
    CLIENT6A,
    CLIENT6B,
    FORWARD4,
    POOL4,
    SERVER4,
    Daemon,
    Topology,
    embed,
    hear,
    run,
    serve,
    sha256,
    tell,
)

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("servers")]


def test_tcp_to_a_forward(net: Topology, nat64d: Daemon, memory: Path, files: dict[str, str]) -> None:
    web = f"http://[{embed(FORWARD4)}]"
    net.client6a.run("curl", "-sS", "--max-time", "30", f"{web}/medium", "-o", str(memory / "hairpin"), timeout=35)
    assert sha256(memory / "hairpin") == files["medium"]
    whoami = net.client6a.run("curl", "-sS", "--max-time", "10", f"{web}/whoami").stdout
    assert whoami in {embed(address) for address in POOL4}, "the other host is seen under pool6 as well"
    counted = [row["packets"] for row in nat64d.rows("counters") if row.get("verdict") == "hairpinned"]
    assert sum(counted) > 0


def test_udp_to_a_forward(net: Topology) -> None:
    assert run(net.client6a, "udp_sizes", embed(FORWARD4), "7", "0", "64", "1200", "1452")["failed"] == []


def test_an_error_from_behind_a_forward(net: Topology) -> None:
    """RFC 5508 REQ-7: ICMP errors about hairpinned packets are hairpinned too."""
    error = run(net.client6a, "udp_error", embed(FORWARD4), "9", "64", "100")
    assert (error["type"], error["code"], error["offender"]) == (1, 4, embed(FORWARD4)), error
    assert error["same"]


def test_udp_between_two_dynamic_mappings(net: Topology) -> None:
    talkers = [serve(net.client6a, "udp_talk", CLIENT6A), serve(net.client6b, "udp_talk", CLIENT6B)]
    seen = []
    for talker in talkers:  # each asks the server outside how it is seen
        tell(talker, "send", embed(SERVER4), 3478, "who am I?")
        tell(talker, "receive")
        seen.append(json.loads(json.loads(hear(talker))["text"]))
    for talker, other, me, them in ((*talkers, *seen), (*talkers[::-1], *seen[::-1])):
        tell(talker, "send", embed(them[0]), them[1], "from inside")
        tell(other, "receive")
        assert json.loads(hear(other)) == {"text": "from inside", "from": [embed(me[0]), me[1]]}
    for talker in talkers:
        talker.communicate(timeout=5)
