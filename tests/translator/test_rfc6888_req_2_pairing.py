"""RFC 6888 REQ-2, RFC 4787 REQ-2, RFC 7857 section 4: a host keeps its pool address (paired pooling), full or not."""

from collections.abc import Iterator

import numpy as np
import pytest

from tests.packets import HOST6, NEIGHBOUR6, OTHER4
from tests.restarts import restart
from tests.sessions import Sessions
from tests.translator.test_pool4 import pools, refusal
from translator.verdict import Verdict

MANY = {"addresses": "192.0.2.0/28", "ports": "2000-2003"}


def test_rfc4787_req_2_host_keeps_its_address_for_every_protocol():
    for host in (HOST6, NEIGHBOUR6, "2001:db8::3"):
        for order in (("tcp", "udp", "icmp"), ("udp", "icmp", "tcp"), ("icmp", "tcp", "udp")):
            nat64 = pools(MANY)
            assert len({nat64.opened(p, 6000 + k, host=host)[0] for p in order for k in range(4)}) == 1


def test_rfc4787_req_2_whichever_address_it_is():
    nat64 = pools({"addresses": "192.0.2.0/30"}, limits={"sessions": 256})
    hosts = [f"2001:db8::{number:x}" for number in range(1, 25)]
    tcp = {host: nat64.opened("tcp", 6000, host=host)[0] for host in hosts}
    udp = {host: nat64.opened("udp", 6000, host=host)[0] for host in reversed(hosts)}
    assert len(set(tcp.values())) == 4
    assert udp == tcp


def test_rfc4787_req_2_over_a_restart_too():
    changes = {"pool4": [{"addresses": "192.0.2.0/30"}], "forward": [], "limits": {"sessions": 256}}
    nat64, hosts = Sessions(**changes), [f"2001:db8::{number:x}" for number in range(1, 25)]
    before = [nat64.opened("tcp", 6000, host=host)[0] for host in hosts]
    restart(nat64, changes=changes)
    assert [nat64.opened("udp", 6000, host=host)[0] for host in hosts] == before


def test_rfc4787_req_2_hosts_are_spread_over_the_addresses():
    nat64 = pools(MANY)
    assert len({nat64.opened("udp", 6000, host=f"2001:db8::{k:x}")[0] for k in range(1, 40)}) > 8


def test_rfc7857_4_host_whose_address_is_exhausted_gets_no_other():
    nat64 = pools({"addresses": "192.0.2.0/28", "ports": "2000-2001"})
    for protocol in ("udp", "tcp", "icmp"):
        first = {nat64.opened(protocol, 6000 + k)[0] for k in range(2)}
        assert len(first) == 1
        assert refusal(nat64, protocol, 6002) == (Verdict.PAIRED_FULL, (1, 3))
    nat64.opened("udp", 6000, to=(OTHER4, 53))  # an old binding may still have new peers
    assert nat64.opened("udp", 6002, host=next(hosts_elsewhere(nat64, first.pop())))[1] in (2000, 2001)


def hosts_elsewhere(nat64: Sessions, address: str) -> Iterator[str]:
    """Hosts that have another pool address than this one."""
    for number in range(1, 99):
        host = f"2001:db8::{number:x}"
        if nat64.opened("udp", 6000, host=host)[0] != address:
            yield host


def test_rfc7857_4_host_whose_address_is_exhausted_gets_a_port_of_it_again():
    nat64 = pools({"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2001"}, limits={"port_quarantine": 0})
    first = [nat64.opened("udp", 6000 + k) for k in range(2)]
    nat64.wait(200)
    nat64.opened("udp", 6000)
    assert nat64.from6("udp", 6002).verdict == Verdict.PAIRED_FULL
    nat64.wait(101)
    assert nat64.opened("udp", 6002) == first[1]


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_rfc6888_req_2_host_without_a_mapping_is_free_to_get_another_address(protocol):
    """CONFIG has a [[forward]] of each protocol to HOST6, which does not pair it."""
    pool = {"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2000"}
    nat64 = Sessions(pool4=[pool], limits={"port_quarantine": 0})
    first = nat64.opened(protocol, 6000)
    nat64.wait(301)
    for number in range(1, 99):
        if nat64.opened(protocol, 6000, host=f"2001:db8::{number:x}") == first:
            break
        nat64.wait(301)
    assert nat64.opened(protocol, 6000)[0] != first[0]


@pytest.mark.parametrize(("protocol", "other"), [("udp", "tcp"), ("tcp", "icmp"), ("icmp", "udp")])
def test_soft_pairing_host_whose_address_is_exhausted_gets_another_and_its_old_one_back(protocol, other):
    alike = {"udp": 300, "tcp_opening": 300, "icmp": 300}
    pool = {"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2001"}
    nat64 = pools(pool, limits={"pairing": "soft"}, timeouts=alike)
    first = [nat64.opened(protocol, 6000 + k) for k in range(2)]
    nat64.wait(200)
    second = [nat64.opened(protocol, 6002 + k) for k in range(2)]
    assert len({address for address, _ in first}) == 1
    assert len({address for address, _ in second}) == 1
    assert first[0][0] != second[0][0]
    assert nat64.opened(other, 6000)[0] == first[0][0]
    nat64.wait(101)
    assert nat64.opened(protocol, 6005)[0] == first[0][0]
    assert len({*first, *second}) == 4


def test_rfc4787_req_2_pairing_ends_with_the_last_binding():
    nat64 = pools(MANY)
    nat64.opened("udp", 6000)
    assert np.count_nonzero(nat64.tables.hosts.live) == 1
    nat64.wait(301)
    assert np.count_nonzero(nat64.tables.hosts.live) == 0
    nat64.opened("udp", 6000)


@pytest.mark.parametrize(("first", "other"), [("tcp", "udp"), ("udp", "tcp"), ("tcp", "icmp"), ("icmp", "tcp")])
def test_paired_address_without_a_row_for_the_protocol_leaves_the_choice_to_the_others(first, other):
    nat64 = pools(
        {"addresses": "192.0.2.1", "protocols": [first]},
        {"addresses": "192.0.2.2", "protocols": [other]},
    )
    nat64.opened(first, 6000)
    assert nat64.opened(other, 6000)[0] == "192.0.2.2"
    assert nat64.opened(first, 6001)[0] == "192.0.2.1"


def test_rfc6888_req_2_what_its_address_does_not_serve_moves_nothing_else():
    """A host at the first address has UDP from the second one, which would have TCP too."""
    moved = 0
    for number in range(1, 9):
        nat64 = pools({"addresses": "192.0.2.1", "protocols": ["tcp"]}, {"addresses": "192.0.2.2"})
        host = f"2001:db8::{number:x}"
        first = nat64.opened("tcp", 6000, host=host)[0]
        assert nat64.opened("udp", 6000, host=host)[0] == "192.0.2.2"
        assert {nat64.opened("tcp", 6001 + k, host=host)[0] for k in range(4)} == {first}
        moved += first != "192.0.2.2"
    assert moved > 0
