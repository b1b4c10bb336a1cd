"""What the attackers send is what kernels and translators take for real: lengths and checksums are right."""

from typing import Any

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from tests.e2e.attack import decks
from tests.e2e.attack.decks import DECKS

# What scapy computes where it is missing.
COMPUTED = ((IP, "chksum"), (UDP, "chksum"), (TCP, "chksum"), (IP, "len"), (IPv6, "plen"), (UDP, "len"))
ARGUMENTS: dict[str, dict[str, Any]] = {
    "flows": {"sources": "2001:db8:a::/48"},
    "mixed_flows": {"sources": "2001:db8:a::/64"},
    "crowd": {"prefix": "2001:db8:a::66", "hosts": 10_000},
    "even_ports": {"sources": "2001:db8:a::/61"},
    "last_hop": {"source": "2001:db8:a::66"},
    "from_outside": {"mapped": "192.0.2.1", "port": 4444},
    "syns_from_anywhere": {"address": "198.51.100.80", "port": 7},
    "held_syns": {"server": "203.0.113.10", "server_port": 7, "pool": "192.0.2.0/29", "port": 4444},
    "forged_pairs": {"mapped": "192.0.2.1", "one": 1111, "other": 2222},
    "queries": {"sources": ["2001:db8:a::/64", "2001:db8:a:1::/64"], "resolver": "2001:db8:b::1"},
}


@pytest.fixture(autouse=True)
def small_decks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decks, "FRAMES", 1 << 10)


@pytest.mark.parametrize("name", DECKS)
def test_frames_are_as_the_kernel_makes_them(name: str) -> None:
    frames = DECKS[name](**ARGUMENTS[name])
    for frame in frames[[0, 1, -1]]:
        octets = bytes(frame)
        packet = Ether(octets)
        for layer, field in COMPUTED:
            if layer in packet:
                delattr(packet[layer], field)
        assert bytes(packet) == octets
        assert UDP in packet or packet[TCP].flags == "S"


def test_queries_have_names_of_their_own() -> None:
    frames = DECKS["queries"](**ARGUMENTS["queries"])
    names = {Ether(bytes(frame))[DNS].qd[0].qname for frame in frames[:100]}
    assert len(names) == 100


def test_even_ports_are_even() -> None:
    frames = DECKS["even_ports"](**ARGUMENTS["even_ports"])
    assert not any(Ether(bytes(frame))[UDP].sport % 2 for frame in frames[:100])
