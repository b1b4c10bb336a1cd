"""[[forward]]: static BIB entries (RFC 6146 section 3.1), inside and outside pool4."""

import numpy as np
import pytest
from scapy.layers.inet import UDP

from tests.datagrams import in_pieces
from tests.invariants import ports_taken
from tests.packets import HOST4, HOST6, NEIGHBOUR6, OTHER4, from4, in6, payload
from tests.sessions import Flow, Sessions, flow
from translator.tables.layout import NONE
from translator.verdict import Verdict

PEER = (OTHER4, 4000)


def forward(protocol: str, ipv4: str, ipv6: str) -> dict[str, str]:
    return {"protocol": protocol, "ipv4": ipv4, "ipv6": ipv6}


def door(ipv4: str = "192.0.2.1:80", protocol: str = "tcp", **changes) -> Sessions:
    """A gateway with one way in: `ipv4` leads to port 8080 of HOST6."""
    return Sessions(forward=[forward(protocol, ipv4, f"[{HOST6}]:8080")], **changes)


PLACES = {
    "inside_pool4": ("192.0.2.1", 2000),
    "pool_address_other_port": ("192.0.2.1", 80),
    "outside_pool4": ("203.0.113.80", 80),
}


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
@pytest.mark.parametrize("place", PLACES)
def test_forward_leads_in_and_out(place, protocol):
    address, port = PLACES[place]
    nat64 = door(f"{address}:{port}", protocol)
    (packet,) = nat64.from4(protocol, (address, port), PEER, flags="SYN").packets
    peer_port, to = (8080, 8080) if protocol == "icmp" else (PEER[1], 8080)
    assert flow(packet) == Flow(in6(OTHER4), peer_port, HOST6, to)
    (packet,) = nat64.from6(protocol, 8080, PEER, flags="SYN-ACK").packets
    assert flow(packet) == Flow(address, port, OTHER4, port if protocol == "icmp" else PEER[1])
    assert len(nat64.sessions()) == 1


@pytest.mark.parametrize("place", PLACES)
def test_rfc6146_3_4_fragments_reach_a_forward_in_any_order(place):
    address, port = PLACES[place]
    sent = from4(dst=address) / UDP(sport=PEER[1], dport=port) / payload(64)
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        nat64, parts = door(f"{address}:{port}", "udp"), in_pieces(sent, 24, 48)
        verdicts = [nat64.say(parts[at]).verdict for at in order]
        assert verdicts == [Verdict.HELD] * order.index(0) + [Verdict.TRANSLATED] * (3 - order.index(0))


def test_rfc6146_3_4_so_they_do_at_whichever_address_of_ours():
    addresses = ("192.0.2.1", "198.51.100.9", "203.0.113.80")
    forwards = [forward("udp", f"{address}:80", f"[{HOST6}]:{8080 + at}") for at, address in enumerate(addresses)]
    nat64 = Sessions(forward=forwards)
    for address in addresses:
        first, last = in_pieces(from4(dst=address) / UDP(sport=PEER[1], dport=80) / payload(64), 24)
        assert [nat64.say(part).verdict for part in (last, first)] == [Verdict.HELD, Verdict.TRANSLATED]


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
@pytest.mark.parametrize("place", PLACES)
def test_forward_outlives_its_sessions(place, protocol):
    address, port = PLACES[place]
    nat64 = door(f"{address}:{port}", protocol)
    for _ in range(3):
        assert nat64.from4(protocol, (address, port), PEER, flags="SYN").verdict == Verdict.TRANSLATED
        nat64.wait(8000)
        assert nat64.sessions() == []
        assert nat64.bib() == {(protocol, HOST6, 8080): (address, port)}
    assert nat64.events() == {"BIB_CREATED": 1, "SESSION_CREATED": 3, "SESSION_ENDED": 3}


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
@pytest.mark.parametrize(("port", "to"), [(10000, 30000), (10030, 30030), (10049, 30049)])
def test_forward_of_ranges_leads_each_port_to_its_own(port, to, protocol):
    ends = {"ipv4": "192.0.2.1:10000-10049", "ipv6": f"[{HOST6}]:30000-30049"}
    nat64 = Sessions(forward=[{"protocol": ["tcp", "udp", "icmp"], **ends}])
    (packet,) = nat64.from4(protocol, ("192.0.2.1", port), PEER, flags="SYN").packets
    assert flow(packet) == Flow(in6(OTHER4), to if protocol == "icmp" else PEER[1], HOST6, to)
    (packet,) = nat64.from6(protocol, to, PEER, flags="SYN-ACK").packets
    assert flow(packet) == Flow("192.0.2.1", port, OTHER4, port if protocol == "icmp" else PEER[1])


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_forward_of_a_range_that_pools_are_in_leads_each_port_to_its_own(protocol):
    pool4 = [{"addresses": "192.0.2.1", "ports": ports} for ports in ("2000-2009", "2020-2029")]
    nat64 = Sessions(pool4=pool4, forward=[forward(protocol, "192.0.2.1:1990-2039", f"[{HOST6}]:5000-5049")])
    for at in (0, 9, 10, 19, 20, 29, 30, 39, 40, 49):
        (packet,) = nat64.from4(protocol, ("192.0.2.1", 1990 + at), PEER, flags="SYN").packets
        assert flow(packet) == Flow(in6(OTHER4), 5000 + at if protocol == "icmp" else PEER[1], HOST6, 5000 + at)
    assert nat64.from6(protocol, 6000, host=NEIGHBOUR6).verdict == Verdict.POOL4_EXHAUSTED


@pytest.mark.parametrize("port", [9999, 10050])
def test_forward_of_ranges_ends_where_it_says(port):
    nat64 = Sessions(forward=[forward("udp", "203.0.113.80:10000-10049", f"[{HOST6}]:10000-10049")])
    assert nat64.from4("udp", ("203.0.113.80", port), PEER).verdict == Verdict.NO_BIB_ENTRY


def test_forward_is_for_its_protocol_only():
    nat64 = door()
    assert nat64.from4("udp", ("192.0.2.1", 80), PEER).verdict == Verdict.NO_BIB_ENTRY


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_forwarded_port_is_handed_out_to_nobody(protocol):
    nat64 = door("192.0.2.1:2001", protocol, pool4=[{"addresses": "192.0.2.1", "ports": "2000-2002"}])
    chosen = {nat64.opened(protocol, 6000 + k, host=NEIGHBOUR6)[1] for k in range(2)}
    assert chosen == {2000, 2002}
    assert nat64.from6(protocol, 6002, host=NEIGHBOUR6).verdict == Verdict.POOL4_EXHAUSTED
    assert nat64.from4(protocol, ("192.0.2.1", 2001), PEER, flags="SYN").verdict == Verdict.TRANSLATED
    nat64.wait(8000)
    assert {nat64.opened(protocol, 6000 + k, host=NEIGHBOUR6)[1] for k in range(2)} == {2000, 2002}


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_forwarded_ports_of_a_range_are_handed_out_to_nobody(protocol):
    """At the second of two addresses."""
    pool4 = [{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2005"}]
    nat64 = Sessions(pool4=pool4, forward=[forward(protocol, "192.0.2.2:2001-2003", f"[{HOST6}]:8001-8003")])
    chosen = [nat64.opened(protocol, 6000, host=f"2001:db8:{k + 16:x}::1") for k in range(9)]
    there = {(f"192.0.2.{last}", port) for last in (1, 2) for port in range(2000, 2006)}
    assert sorted(chosen) == sorted(there - {("192.0.2.2", port) for port in (2001, 2002, 2003)})
    assert nat64.from6(protocol, 6000, host=NEIGHBOUR6).verdict == Verdict.POOL4_EXHAUSTED


def test_forwarded_port_of_one_protocol_is_free_for_another():
    nat64 = door("192.0.2.1:2000", pool4=[{"addresses": "192.0.2.1", "ports": "2000-2000"}])
    assert nat64.opened("udp", 6000) == ("192.0.2.1", 2000)


@pytest.mark.parametrize("place", PLACES)
def test_forward_marks_the_bitmap_of_the_row_it_is_in(place):
    address, port = PLACES[place]
    nat64 = door(
        f"{address}:{port}",
        pool4=[{"addresses": "192.0.2.0/31"}, {"addresses": "192.0.2.1", "ports": "80-90", "protocols": ["udp"]}],
    )
    (bib,) = np.flatnonzero(nat64.tables.bibs.live)
    slot = nat64.tables.bibs[bib].slot
    assert slot == (3 if place == "inside_pool4" else NONE)  # second row, TCP
    assert ports_taken(nat64.tables) == (slot != NONE)


def test_forward_needs_no_pool_that_serves_its_host():
    nat64 = door("203.0.113.80:80", pool4=[{"addresses": "192.0.2.1", "source": "2001:db8:ffff::/48"}])
    assert nat64.from6("tcp", 8080, (HOST4, 9)).verdict == Verdict.TRANSLATED
    assert nat64.from6("tcp", 8081, (HOST4, 9)).verdict == Verdict.NO_POOL4


def test_other_ports_of_a_forwarded_host_are_mapped_as_ever():
    nat64 = door("203.0.113.80:80")
    assert nat64.opened("tcp", 9000)[0].startswith("192.0.2.")
    assert nat64.opened("udp", 8080)[0].startswith("192.0.2.")


def test_forwards_of_one_host_and_of_many():
    rows = [forward("tcp", f"192.0.2.1:{80 + k}", f"[{host}]:8080") for k, host in enumerate((HOST6, NEIGHBOUR6))]
    rows.append(forward("tcp", "192.0.2.2:80", f"[{HOST6}]:8081"))
    nat64 = Sessions(forward=rows)
    reached = [
        flow(nat64.from4("tcp", to, PEER, flags="SYN").packets[0])[2:]
        for to in (("192.0.2.1", 80), ("192.0.2.1", 81), ("192.0.2.2", 80))
    ]
    assert reached == [(HOST6, 8080), (NEIGHBOUR6, 8080), (HOST6, 8081)]
    nat64.wait(8000)
    assert len(nat64.bib()) == 3


def test_forwards_take_no_room_from_sessions():
    rows = [forward("tcp", f"192.0.2.1:{2000 + k}", f"[{HOST6}]:{2000 + k}") for k in range(20)]
    nat64 = Sessions(forward=rows, limits={"sessions": 16})
    for k in range(16):
        nat64.opened("udp", 6000, host=f"2001:db8:{k + 16:x}::1")
    assert nat64.from6("udp", 7000).verdict == Verdict.SESSION_TABLE_FULL
