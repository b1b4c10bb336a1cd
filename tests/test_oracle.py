"""The translator and the oracle of tests/reference side by side: same packets, same histories, octet for octet equal.

A disagreement prints the history as Python; it becomes a named row of REGRESSIONS, whatever side was wrong. The number
of histories is taken from ORACLE_EXAMPLES (`make fuzz-long` sets it high).
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nat64d.config import Config, loads
from nat64d.engine import Engine
from tests.reference.comparison import Comparison
from tests.reference.oracle import Scope
from tests.reference.strategies import Turn, conversations, packets, pauses, segment_of

EXAMPLES = int(os.environ.get("ORACLE_EXAMPLES", "40"))

# What the translator does by design and by now: see Scope.
SCOPE = Scope(extensions=False, hairpins_directly=True)

# The tables are small so that they fill, the limit of errors is high so that each is seen.
CONFIGS = {
    "two addresses": """
        pool6 = "2001:db8:64::/96"
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2" }]
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "the well-known prefix over a private pool": """
        pool6 = "64:ff9b::/96"
        pool4 = [{ addresses = "169.254.64.0/30" }]
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "eight ports, small MTUs, zero checksums dropped": """
        pool6 = "2001:db8:64::/64"
        pool4 = [{ addresses = "192.0.2.1", ports = "1020-1027" }]
        translation = { mtu4 = 1400, mtu6 = 1400, lowest_ipv6_mtu = 1300, udp_zero_checksum = "drop" }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "address-dependent filtering, traffic class set, zero checksums forwarded": """
        pool6 = "3fff:64::/32"
        pool4 = [{ addresses = "192.0.2.1" }]
        filtering = { address_dependent = true }
        translation = { udp_zero_checksum = "forward", traffic_class = 7 }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "nothing from outside, three sessions a host, an IPv4 hop of 1000 octets": """
        pool6 = "2001:db8:6400::/40"
        pool4 = [{ addresses = "192.0.2.1" }]
        filtering = { drop_inbound_tcp = true, drop_icmp_info = true }
        translation = { mtu4 = 1000 }
        limits = { sessions = 64, icmp_errors_per_second = 1000000, per_host_sessions = 3 }
    """,
    "forwards in and outside the pool, low ports, three ports a host": """
        pool6 = "2001:db8:100:6400::/56"
        pool4 = [{ addresses = "192.0.2.1", ports = "1-65535" }]
        forward = [
            { protocol = "tcp", ipv4 = "192.0.2.1:80", ipv6 = "[2001:db8:6::1]:5000" },
            { protocol = "udp", ipv4 = "192.0.2.77:53", ipv6 = "[2001:db8:6::2]:5001" },
        ]
        limits = { sessions = 64, icmp_errors_per_second = 1000000, per_host_ports = 3 }
    """,
    "tenants by source prefix, denied addresses": """
        pool6 = "2001:db8:64::/48"
        pool4 = [
            { addresses = "192.0.2.1", protocols = ["udp", "tcp"] },
            { addresses = "192.0.2.2", source = "2001:db8:6::2/128" },
        ]
        translation = { denylist4 = ["9.9.9.9/32"] }
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_history_ends_as_the_rfcs_say(name: str) -> None:
    config = loads(CONFIGS[name])

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        comparison = Comparison(Engine(config), config, SCOPE)
        for _ in range(data.draw(st.integers(1, 14))):
            comparison.wait(data.draw(pauses(long=True)))
            for packet in data.draw(packets(comparison.world)):
                comparison.send(packet)

    check()


@settings(max_examples=EXAMPLES * 4, deadline=None, suppress_health_check=list(HealthCheck))
@given(conversations())
def test_every_tcp_conversation_lives_as_long_as_rfc6146_3_5_2_2_says(conversation: list[Turn]) -> None:
    config = loads(CONFIGS["two addresses"])
    comparison = Comparison(Engine(config), config, SCOPE)
    for turn in conversation:
        comparison.wait(turn.pause)
        comparison.send(segment_of(comparison.world, turn))


# name: (configuration, steps of a time in seconds and a packet)
REGRESSIONS: dict[str, tuple[str, list[tuple[float, str]]]] = {
    "rfc792_the_unused_word_of_source_route_failed_is_zero": (
        "two addresses",
        [(1000.0, "4700002cffff00004011981b09090909c00002010189070401020304ffff07d0001044f0a2a9b0b7bec5ccd3")],
    ),
    "rfc6146_3_5_1_1_parity_is_kept_although_the_port_range_cannot_be": (
        "two addresses",
        [
            (
                1000.0,
                "60000000000a114020010db800060000000000000000000120010db80064000000000000080808080050ffff000a93960007",
            )
        ],
    ),
    "rfc7915_5_1_1_an_error_in_an_atomic_fragment_keeps_its_identification": (
        "two addresses",
        [
            (
                1059.0,
                (
                    "6b8000000030004020010db800060000000000000000000220010db80064000000000000080808083c01010c"
                    "0000000000000000000000002b000104000000001100fd00000000001388138800100000adb4bbc2c9d0d7de"
                ),
            ),
            (
                1089.0,
                (
                    "6000000000502c4020010db800060000000000000000000220010db80064000000000000080808083a000000"
                    "027400010101e452000000006000000000183c4020010db800640000000000000808080820010db800060000"
                    "000000000000000211000104000000001388138800100a52838a91989f"
                ),
            ),
        ],
    ),
}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_a_difference_found_before_stays_settled(name: str) -> None:
    world, steps = REGRESSIONS[name]
    config: Config = loads(CONFIGS[world])
    comparison = Comparison(Engine(config), config, SCOPE)
    for at, octets in steps:
        comparison.at = at
        comparison.send(bytes.fromhex(octets))
