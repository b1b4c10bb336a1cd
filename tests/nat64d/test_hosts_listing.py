"""The hosts of /v1/hosts: who has how much of the tables."""

from ipaddress import IPv6Network

from nat64d.control.filters import Filters
from tests.listed import rows_of
from tests.nat64d.test_measure import live_of
from tests.packets import HOST6, NEIGHBOUR6, OTHER4
from tests.sessions import Sessions

FIELDS = ("host6", "mapped4", "sessions", "bib", "tcp", "udp", "icmp", "other")


def test_a_host_has_its_address_its_sessions_and_its_mappings_by_protocol():
    nat64 = Sessions(forward=[])
    mapped, _ = nat64.opened("tcp", 5000)
    nat64.opened("udp", 5000)
    nat64.opened("icmp", 7)
    nat64.opened("udp", 5000, to=(OTHER4, 53))
    assert rows_of(live_of(nat64).hosts(Filters(fields=FIELDS))) == [
        {"host6": HOST6, "mapped4": mapped, "sessions": 4, "bib": 3, "tcp": 1, "udp": 1, "icmp": 1, "other": 0}
    ]


def test_the_top_of_the_hosts_comes_first_and_a_prefix_chooses():
    nat64 = Sessions(forward=[])
    nat64.opened("udp", 5000)
    for port in (6000, 6001):
        nat64.opened("udp", port, host=NEIGHBOUR6)
    live = live_of(nat64)
    both = [row["host6"] for row in rows_of(live.hosts(Filters()))]
    assert sorted(both) == sorted([HOST6, NEIGHBOUR6])
    assert [(row["host6"], row["sessions"]) for row in rows_of(live.hosts(Filters(top=1)))] == [(NEIGHBOUR6, 2)]
    assert [row["host6"] for row in rows_of(live.hosts(Filters(top=9)))] == [NEIGHBOUR6, HOST6]
    assert [row["host6"] for row in rows_of(live.hosts(Filters(host6=IPv6Network(f"{HOST6}/128"))))] == [HOST6]
