"""Protocols without ports through the session tables: [[pool4]] protocols = [..., "other"]."""

from ipaddress import IPv4Address
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from nat64d.control.filters import Filters
from nat64d.explain.explainer import explained
from nat64d.gateway.state import Live
from nat64d.offline.engine import Ended
from tests.case import BEGIN
from tests.listed import rows_of
from tests.packets import (
    HOST4,
    HOST6,
    MAPPED4,
    NEIGHBOUR6,
    OTHER4,
    Icmp,
    answer4,
    answer6,
    fragment_of,
    from4,
    from6,
    in6,
    seen4,
    seen6,
    whole,
)
from tests.sessions import Sessions
from translator.session import other_protocols as others
from translator.verdict import Verdict

GRE, ESP, AH, SCTP = 47, 50, 51, 132
ALL = ["tcp", "udp", "icmp", "other"]
DATA = Raw(b"\x00\x00\x08\x00 a tunnel's payload")


def gateway(addresses: str = MAPPED4, **changes: Any) -> Sessions:
    """A gateway whose pool is for other protocols too."""
    return Sessions(**{"pool4": [{"addresses": addresses, "protocols": ALL}], "forward": []} | changes)


def up(protocol: int = GRE, **fields: Any) -> bytes:
    """From HOST6, as sent."""
    return bytes(from6(nh=protocol, **fields) / DATA)


def down(protocol: int = GRE, **fields: Any) -> bytes:
    """From HOST4 to MAPPED4, as sent."""
    return bytes(from4(proto=protocol, **fields) / DATA)


def seen_up(protocol: int = GRE, **fields: Any) -> bytes:
    return bytes(seen4(proto=protocol, **fields) / DATA)


def seen_down(protocol: int = GRE, **fields: Any) -> bytes:
    return bytes(seen6(nh=protocol, **fields) / DATA)


def without_id(outcome: Ended) -> list[bytes]:
    """What left, with the Identification that packets.py expects."""
    packets = []
    for octets in outcome.packets:
        packet: Packet = whole(octets)
        if isinstance(packet, IP):
            packet.id, packet.chksum = seen4().id, None
        packets.append(bytes(packet))
    return packets


@pytest.mark.parametrize("protocol", [GRE, ESP, SCTP, 89, 115, 255])
def test_other_protocol_passes_both_ways(protocol):
    nat64 = gateway()
    assert without_id(nat64.say(up(protocol))) == [seen_up(protocol)]
    assert nat64.say(down(protocol)).packets == [seen_down(protocol)]
    row = next(row for row in nat64.tables.sessions if row.live)
    assert (row.protocol, row.host6_port, row.mapped4_port, row.host4_port) == (protocol, 0, 0, 0)


def test_rfc6146_3_4_other_protocols_are_refused_unless_asked_for():
    nat64 = Sessions()
    for sent, answer in ((up(), answer6(up(), 1, 4)), (down(), answer4(down(), 3, 2))):
        outcome = nat64.say(sent)
        assert (outcome.verdict, outcome.answer) == (Verdict.PROTOCOL, bytes(answer))


@pytest.mark.parametrize("sent", [up(AH), down(AH), down(58), down(0), up(1)])
def test_protocol_that_no_translator_can_carry_is_refused_all_the_same(sent):
    """AH signs the addresses; the others mean something in one family only."""
    assert gateway().say(sent).verdict == Verdict.PROTOCOL


def test_session_lives_as_long_as_one_of_udp():
    nat64 = gateway(timeouts={"udp": 500})
    nat64.say(up())
    nat64.wait(499.999)
    assert nat64.say(down()).verdict == Verdict.TRANSLATED
    nat64.wait(499.999)
    assert nat64.say(up()).verdict == Verdict.TRANSLATED
    nat64.wait(500)
    assert nat64.say(down()).verdict == Verdict.NO_BIB_ENTRY


def test_packet_from_outside_without_binding_is_answered_with_host_unreachable():
    outcome = gateway().say(down())
    assert (outcome.verdict, outcome.answer) == (Verdict.NO_BIB_ENTRY, bytes(answer4(down(), 3, 1)))


def test_an_address_is_one_hosts_for_each_protocol():
    nat64 = gateway("192.0.2.1-192.0.2.2")
    first = whole(nat64.say(up()).packets[0]).src
    second = whole(nat64.say(up(src=NEIGHBOUR6)).packets[0]).src
    assert {first, second} == {"192.0.2.1", "192.0.2.2"}
    third = up(src="2001:db8:1::30")
    outcome = nat64.say(third)
    assert (outcome.verdict, outcome.answer) == (Verdict.POOL4_EXHAUSTED, bytes(answer6(third, 1, 3)))
    assert nat64.say(up(ESP, src="2001:db8:1::30")).verdict == Verdict.TRANSLATED
    assert whole(nat64.say(up(dst=in6(OTHER4))).packets[0]).src == first  # a second peer, the same binding
    nat64.wait(301)
    assert nat64.say(third).verdict == Verdict.TRANSLATED


def test_rfc4787_req_2_host_keeps_its_address():
    for host in (HOST6, NEIGHBOUR6, "2001:db8::3", "2001:db8::4"):
        nat64 = gateway("192.0.2.0/28")
        mapped = nat64.opened("udp", 6000, host=host)[0]
        assert whole(nat64.say(up(src=host)).packets[0]).src == mapped


def one_whose_address_another_has(pairing: str) -> tuple[str, Ended]:
    """The address of a host that another one has for GRE, while a second one is free; what becomes of its packet."""
    nat64 = gateway("192.0.2.1-192.0.2.2", limits={"pairing": pairing})
    holder = {whole(nat64.say(up(src=host)).packets[0]).src: host for host in (HOST6, NEIGHBOUR6)}
    late = "2001:db8::3"
    address = nat64.opened("udp", 6000, host=late)[0]
    nat64.wait(290)
    nat64.opened("udp", 6000, host=late)
    nat64.say(up(src=holder[address]))
    nat64.wait(11)  # the other address is nobody's now
    return address, nat64.say(up(src=late))


def test_rfc4787_req_2_host_whose_address_another_one_has_for_a_protocol_gets_none():
    _, outcome = one_whose_address_another_has("strict")
    assert outcome.verdict in (Verdict.PAIRED_FULL, Verdict.POOL4_EXHAUSTED)


def test_with_soft_pairing_it_gets_the_other_one():
    address, outcome = one_whose_address_another_has("soft")
    assert {address, whole(outcome.packets[0]).src} == {"192.0.2.1", "192.0.2.2"}


def test_rfc4787_req_2_a_mapping_of_another_protocol_pairs_too():
    nat64 = gateway("192.0.2.1-192.0.2.2")
    address = nat64.opened("udp", 6000)[0]
    nat64.wait(200)
    assert whole(nat64.say(up()).packets[0]).src == address
    nat64.wait(101)
    assert [int(row.protocol) for row in nat64.tables.bibs if row.live] == [GRE]
    assert [int(row.mapped4) for row in nat64.tables.hosts if row.live] == [int(IPv4Address(address))]
    nat64 = gateway("192.0.2.0/29")
    first = {host: whole(nat64.say(up(src=host)).packets[0]).src for host in (f"2001:db8::{k}" for k in range(1, 9))}
    assert {host: nat64.opened("udp", 6000, host=host)[0] for host in first} == first


def test_address_whose_holder_is_over_is_free_though_the_wheel_has_not_come_by():
    nat64 = gateway()
    nat64.say(up())
    nat64.expire = lambda at: []
    nat64.wait(300)
    assert nat64.say(up(src=NEIGHBOUR6)).verdict == Verdict.TRANSLATED


@pytest.mark.no_cover
def test_search_for_an_address_is_bounded(monkeypatch):
    monkeypatch.setattr(others, "OTHER_WALK", 4)
    nat64 = gateway("192.0.2.0/28")
    verdicts = [nat64.say(up(src=f"2001:db8::{k:x}")).verdict for k in range(1, 200)]
    assert set(verdicts) == {Verdict.TRANSLATED, Verdict.POOL4_EXHAUSTED}
    assert 4 < verdicts.count(Verdict.TRANSLATED) <= 16


def test_host_whose_pool_is_not_for_them_is_prohibited():
    pools = [{"addresses": "192.0.2.1", "protocols": ALL}, {"addresses": "192.0.2.2", "source": "2001:db8:1::/48"}]
    nat64 = Sessions(pool4=pools, forward=[])
    assert nat64.say(up()).verdict == Verdict.NO_POOL4
    assert nat64.say(up(src="2001:db8:2::1")).verdict == Verdict.TRANSLATED
    assert Sessions(pool4=[pools[0] | {"source": "2001:db8:2::/48"}], forward=[]).say(up()).verdict == Verdict.NO_POOL4


def test_pool_of_other_protocols_alone():
    nat64 = gateway(pool4=[{"addresses": MAPPED4, "protocols": ["other"]}])
    assert nat64.say(up()).verdict == Verdict.TRANSLATED
    assert nat64.from6("udp", 6000).verdict == Verdict.NO_POOL4


def test_fragments_need_no_ports_and_no_order():
    nat64 = gateway()
    datagram = whole(from6(nh=GRE) / Raw(bytes(100)))
    for piece in (fragment_of(datagram, 64, 36), fragment_of(datagram, 0, 64)):
        assert nat64.say(bytes(piece)).verdict == Verdict.TRANSLATED
    answer = whole(from4(proto=GRE) / Raw(bytes(100)))
    for piece in (fragment_of(answer, 64, 36), fragment_of(answer, 0, 64)):
        assert nat64.say(bytes(piece)).verdict == Verdict.TRANSLATED


def test_address_dependent_filtering_knows_no_exception():
    nat64 = gateway(filtering={"address_dependent": True})
    nat64.say(up())
    assert nat64.say(down()).verdict == Verdict.TRANSLATED
    assert nat64.say(down(src=OTHER4)).verdict == Verdict.FILTERED_ADF
    nat64 = gateway()
    nat64.say(up())
    assert nat64.say(down(src=OTHER4)).verdict == Verdict.TRANSLATED


def test_error_about_such_a_packet_finds_its_host():
    nat64 = gateway()
    sent = IP(nat64.say(up()).packets[0])
    error = from4(src="203.0.113.9") / Icmp(type=3, code=1) / sent
    (got,) = nat64.say(bytes(error)).packets
    assert IPv6(got).dst == HOST6
    assert bytes(IPv6(got))[48:] == bytes(from6(nh=GRE, hlim=63) / DATA)
    stranger = from4(src="203.0.113.9") / Icmp(type=3, code=1) / IP(src=MAPPED4, dst=HOST4, proto=ESP) / DATA
    assert nat64.say(bytes(stranger)).verdict == Verdict.NO_SESSION


@pytest.mark.parametrize("open_", [True, False])
def test_rfc7857_7_address_dependent_filtering_refreshes_nothing(open_):
    nat64 = gateway(filtering={"address_dependent": True})
    nat64.say(up())
    if open_:
        nat64.say(down())
    nat64.wait(31)
    before = nat64.tables.sessions.tobytes()
    assert nat64.say(down(src=OTHER4)).verdict == Verdict.FILTERED_ADF
    assert nat64.tables.sessions.tobytes() == before


@pytest.mark.parametrize("open_", [True, False])
def test_rfc7857_7_1_errors_of_either_side_refresh_no_mapping(open_):
    nat64 = gateway()
    sent = IP(nat64.say(up()).packets[0])
    if open_:
        nat64.say(down())
    nat64.wait(31)
    before = nat64.tables.sessions.tobytes(), nat64.tables.bibs.tobytes()
    from_outside = from4() / Icmp(type=3, code=1) / sent
    from_inside = from6() / Icmp(type=1, code=3) / IPv6(seen_down())
    for error in (from_outside, from_inside):
        assert nat64.say(bytes(error)).verdict == Verdict.TRANSLATED
    assert (nat64.tables.sessions.tobytes(), nat64.tables.bibs.tobytes()) == before


def test_rfc6146_3_8_two_hosts_behind_us():
    nat64 = gateway("192.0.2.1-192.0.2.2")
    theirs = whole(nat64.say(up(src=NEIGHBOUR6)).packets[0]).src
    outcome = nat64.say(up(dst=in6(theirs)))
    assert outcome.verdict == Verdict.HAIRPINNED
    ours = {"192.0.2.1": "192.0.2.2", "192.0.2.2": "192.0.2.1"}[theirs]
    assert outcome.packets == [seen_down(src=in6(ours), dst=NEIGHBOUR6)]


def test_limits_of_a_host_hold():
    """Of sessions; of ports, these have none."""
    nat64 = gateway(limits={"per_host_ports": 1, "per_host_sessions": 2})
    nat64.opened("udp", 6000)
    assert nat64.say(up()).verdict == Verdict.TRANSLATED
    assert nat64.say(up(dst=in6(OTHER4))).verdict == Verdict.HOST_SESSIONS


def test_listings_show_the_number_of_the_protocol(monkeypatch):
    nat64 = gateway()
    monkeypatch.setattr("nat64d.gateway.state.now", lambda: round(BEGIN * 1000))
    live = Live(nat64.config)
    live.tables, live.state = nat64.tables, "ready"
    nat64.say(up())
    nat64.opened("udp", 6000)
    assert [row["protocol"] for row in rows_of(live.bib(Filters()))] == ["47", "udp"]
    assert [row["protocol"] for row in rows_of(live.sessions(Filters(proto="47")))] == ["47"]
    assert [row["protocol"] for row in rows_of(live.bib(Filters(proto="47")))] == ["47"]
    assert [row["protocol"] for row in rows_of(live.bib(Filters(proto="udp")))] == ["udp"]
    assert [pool["protocol"] for pool in live.pools()] == ["tcp", "udp", "icmp"]


def test_explanation_names_what_is_found():
    config = gateway().config
    steps, outcome = explained(config, [(0, up()), (1_000_000, down())])
    found = {step.name: step.found for step in steps}
    assert outcome.verdict == Verdict.TRANSLATED
    assert found["incoming tuple"] == [f"{HOST4} > {MAPPED4} protocol 47"]
    assert "BIB entry" in found["filter, update"][0]
    assert bytes(UDP()) not in outcome.packets[0]
