"""The translator and the oracle side by side where tables and pools are so small that everybody reaches a share."""

from random import Random

import pytest

from tests.histories import EXAMPLES, compare
from tests.reference.comparison import Comparison
from tests.reference.floods import flood, many_hosts

POOL6 = 'pool6 = "2001:db8:64::/96"\n'
CONFIGS = {
    "sixteen sessions": """
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2" }]
        limits = { sessions = 16, icmp_errors_per_second = 1000000 }
    """,
    "forty sessions, each host a subscriber": """
        pool4 = [{ addresses = "192.0.2.1" }]
        limits = { sessions = 40, subscriber = 128, icmp_errors_per_second = 1000000 }
    """,
    "forwards in a table of thirty": """
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2" }]
        forward = [
            { protocol = ["udp", "tcp"], ipv4 = "192.0.2.1:5353", ipv6 = "[2001:db8:6::1]:53" },
            { protocol = "tcp", ipv4 = "192.0.2.77:80", ipv6 = "[2001:db8:7::1]:5000" },
        ]
        limits = { sessions = 30, subscriber = 48, per_host_rate = 3, icmp_errors_per_second = 1000000 }
    """,
    "address-dependent filtering in a table of twenty": """
        pool4 = [{ addresses = "192.0.2.1" }]
        forward = [{ protocol = ["udp", "tcp"], ipv4 = "192.0.2.1:5353", ipv6 = "[2001:db8:6::1]:53" }]
        filtering = { address_dependent = true }
        limits = { sessions = 20, per_host_sessions = 8, icmp_errors_per_second = 1000000 }
    """,
    "six ports, each host a subscriber": """
        pool4 = [{ addresses = "192.0.2.1", ports = "2000-2005" }]
        limits = { sessions = 64, subscriber = 128, icmp_errors_per_second = 1000000 }
    """,
    "six ports around forwarded ones": """
        pool4 = [{ addresses = "192.0.2.1", ports = "2000-2005" }]
        forward = [
            { protocol = ["udp", "tcp"], ipv4 = "192.0.2.1:2002", ipv6 = "[2001:db8:6::1]:53" },
            { protocol = ["udp", "icmp"], ipv4 = "192.0.2.1:2005", ipv6 = "[2001:db8:7::1]:5000" },
        ]
        limits = { sessions = 64, icmp_errors_per_second = 1000000 }
    """,
    "two addresses of six ports, soft pairing": """
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2", ports = "2000-2005" }]
        limits = { sessions = 64, subscriber = 48, pairing = "soft", icmp_errors_per_second = 1000000 }
    """,
    "four blocks of eight ports, two a subscriber": """
        pool4 = [{ addresses = "192.0.2.1", ports = "2000-2034" }]
        limits = { sessions = 80, port_block = 8, blocks = 2, icmp_errors_per_second = 1000000 }
    """,
    "blocks on both sides of 1024, one of them forwarded, each host a subscriber": """
        pool4 = [{ addresses = "192.0.2.1-192.0.2.2", ports = "1016-1047" }]
        forward = [{ protocol = ["udp", "tcp"], ipv4 = "192.0.2.1:1025-1026", ipv6 = "[2001:db8:6::1]:5000-5001" }]
        limits = { sessions = 90, subscriber = 128, port_block = 8, icmp_errors_per_second = 1000000 }
    """,
    "blocks with soft pairing, protocols apart, free at once": """
        pool4 = [
            { addresses = "192.0.2.1-192.0.2.2", ports = "2000-2015", protocols = ["udp", "icmp"] },
            { addresses = "192.0.2.2-192.0.2.3", ports = "2000-2015", protocols = ["tcp"] },
        ]
        [limits]
        sessions = 90
        port_block = 8
        port_quarantine = 0
        pairing = "soft"
        icmp_errors_per_second = 1000000
    """,
    "computed blocks, some to hand out besides, and a tenant without": """
        pool4 = [
            { addresses = "192.0.2.8", ports = "3000-3015" },
            { addresses = "192.0.2.0/31", ports = "2000-2031", deterministic = true, source = "2001:db8:6::/62" },
        ]
        limits = { sessions = 90, port_block = 8, blocks = 2, icmp_errors_per_second = 1000000 }
    """,
    "computed blocks alone, of hosts": """
        pool4 = [
            { addresses = "192.0.2.1", ports = "2000-2031", deterministic = true, source = "2001:db8:6::/126" },
            { addresses = "192.0.2.8", ports = "3000-3023" },
        ]
        limits = { sessions = 90, subscriber = 128, port_block = 8, blocks = 1, icmp_errors_per_second = 1000000 }
    """,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_flood_is_kept_to_its_shares(name: str) -> None:
    def tell(rng: Random, both: Comparison) -> None:
        flood(rng, both.world, both.send)

    compare(POOL6 + CONFIGS[name], EXAMPLES // (4 if "block" in name else 2), tell)


@pytest.mark.parametrize("name", ["six ports around forwarded ones", "sixteen sessions"])
def test_a_subscriber_of_many_hosts_is_kept_to_its_shares(name: str) -> None:
    def tell(rng: Random, both: Comparison) -> None:
        many_hosts(rng, both.world, both.send)

    compare(POOL6 + CONFIGS[name], EXAMPLES // 2, tell)
