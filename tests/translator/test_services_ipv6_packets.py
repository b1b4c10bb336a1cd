"""Packets of IPv6 clients of services, octet by octet: errors, extension headers, fragments, checksums."""

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)
from scapy.packet import Raw

from tests.packets import HOST4, whole
from tests.translator.front6 import (
    CLIENT6,
    OTHER6,
    SOURCE6,
    VIP6,
    WAYS,
    Front,
    from_endpoint,
    syn6,
    udp6,
)
from tests.translator.services import E, in6_
from translator.verdict import Event, Verdict

BOTH = pytest.mark.parametrize("way", WAYS)
ROUTER = "2001:db8:7::1"


def verdict(nat64, packet):
    return nat64.send(packet).verdict


# ---- errors


def error_to(src, dst, quoted, kind=None):
    return whole(IPv6(src=src, dst=dst, hlim=64) / (kind or ICMPv6PacketTooBig(mtu=1300)) / quoted)


@BOTH
def test_an_error_about_what_goes_to_an_endpoint_reaches_the_client(way):
    nat64 = Front(way)
    seen, there = nat64.client6()
    quoted = IPv6(src=seen, dst=there, hlim=60) / TCP(sport=7, dport=8080, seq=5)
    for source, shown in ((ROUTER, ROUTER), (there, VIP6)):
        out = nat64.passed(error_to(source, seen, quoted))
        assert (out.src, out.dst, out.hlim, out[ICMPv6PacketTooBig].mtu) == (shown, CLIENT6, 63, 1300)
        inner = out[ICMPv6PacketTooBig].payload
        assert (inner.src, inner.dst, inner.payload.sport, inner.payload.dport) == (CLIENT6, VIP6, 7, 80)


@BOTH
def test_an_error_about_what_goes_to_a_client_reaches_the_endpoint(way):
    nat64 = Front(way)
    seen, there = nat64.client6()
    quoted = IPv6(src=VIP6, dst=CLIENT6, hlim=60) / TCP(sport=80, dport=7, seq=5)
    for source, shown in ((ROUTER, ROUTER), (CLIENT6, seen)):
        out = nat64.passed(error_to(source, VIP6, quoted, ICMPv6TimeExceeded()))
        assert (out.src, out.dst) == (shown, there)
        inner = out[ICMPv6TimeExceeded].payload
        assert (inner.src, inner.dst, inner.payload.sport, inner.payload.dport) == (there, seen, 8080, 7)


@BOTH
def test_a_quoted_packet_has_a_right_checksum_again_and_extensions_stay(way):
    nat64 = Front(way)
    there = nat64.passed(udp6(7, 53, data=b"some question"))
    options = IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
    quoted = whole(IPv6(src=there.src, dst=there.dst) / options / UDP(sport=7, dport=53) / b"some question")
    out = nat64.passed(error_to(ROUTER, there.src, quoted, ICMPv6DestUnreach(code=1)))
    inner = IPv6(bytes(out[ICMPv6DestUnreach].payload))
    assert IPv6ExtHdrDestOpt in inner
    assert bytes(inner) == bytes(
        whole(IPv6(src=CLIENT6, dst=VIP6) / options / UDP(sport=7, dport=53) / b"some question")
    )


@BOTH
def test_an_error_to_somebody_else_than_it_is_about(way):
    nat64 = Front(way)
    seen, there = nat64.client6()
    quoted = IPv6(src=VIP6, dst=CLIENT6) / TCP(sport=80, dport=7)
    error = error_to(ROUTER, VIP6 if way == "dnat" else f"{SOURCE6}77", quoted)
    assert verdict(nat64, error) == (Verdict.HAIRPINNED if way == "dnat" else Verdict.NO_SESSION)
    other = IPv6(src=seen, dst=there) / TCP(sport=7, dport=8080)
    assert verdict(nat64, error_to(ROUTER, VIP6, other)) == Verdict.NO_SESSION
    unknown = IPv6(src=VIP6, dst=CLIENT6) / TCP(sport=81, dport=7)
    assert verdict(nat64, error_to(ROUTER, VIP6, unknown)) == Verdict.NO_SESSION
    late = IPv6(src=VIP6, dst=CLIENT6) / IPv6ExtHdrFragment(offset=1, nh=6) / Raw(bytes(20))
    assert verdict(nat64, error_to(ROUTER, VIP6, late)) == Verdict.QUOTED_PACKET
    assert verdict(nat64, error_to(ROUTER, VIP6, Raw(b"nothing"))) == Verdict.QUOTED_PACKET


@BOTH
def test_a_packet_larger_than_the_mtu(way):
    nat64 = Front(way, translation={"mtu6": 1400})
    outcome = nat64.send(udp6(7, 53, data=bytes(1400)))
    assert (outcome.verdict, whole(outcome.answer)[ICMPv6PacketTooBig].mtu) == (Verdict.TOO_BIG, 1400)
    assert verdict(nat64, udp6(7, 53, data=bytes(1352))) == Verdict.HAIRPINNED


# ---- headers


@BOTH
def test_extension_headers_and_flow_labels_are_carried(way):
    nat64 = Front(way)
    there = nat64.client6()
    options = IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
    sent = whole(IPv6(src=CLIENT6, dst=VIP6, hlim=64, fl=77, tc=9) / options / TCP(sport=7, dport=80, flags="A") / b"x")
    seen = IPv6(src=there[0], dst=there[1], hlim=63, fl=77, tc=9) / options / TCP(sport=7, dport=8080, flags="A") / b"x"
    assert bytes(nat64.passed(sent)) == bytes(whole(seen))


@BOTH
def test_fragments_follow_the_first_one_both_ways(way):
    nat64 = Front(way)
    datagram = bytes(udp6(7, 53, data=bytes(range(64))))[40:]

    def pieces(src, dst, payload, number):
        for at, more in ((0, 1), (32, 0)):
            part = payload[at : at + 32] if more else payload[at:]
            yield whole(
                IPv6(src=src, dst=dst, hlim=64)
                / IPv6ExtHdrFragment(nh=17, offset=at // 8, m=more, id=number)
                / Raw(part)
            )

    first, last = pieces(CLIENT6, VIP6, datagram, 5)
    assert nat64.send(last).verdict == Verdict.HELD
    outcome = nat64.send(first)
    assert outcome.verdict == Verdict.HAIRPINNED
    out = [whole(one) for one in outcome.packets]
    there = out[0]
    expected = bytes(whole(IPv6(src=there.src, dst=there.dst) / UDP(sport=7, dport=53) / bytes(range(64))))[40:]
    assert b"".join(bytes(one)[48:] for one in out) == expected
    assert [one[IPv6ExtHdrFragment].id for one in out] == [5, 5]
    answer = bytes(whole(IPv6(src=there.dst, dst=there.src) / UDP(sport=53, dport=7) / bytes(64)))[40:]
    back = [nat64.passed(one) for one in pieces(there.dst, there.src, answer, 6)]
    assert {(one.src, one.dst) for one in back} == {(VIP6, CLIENT6)}
    late = whole(
        IPv6(src=there.dst, dst=there.src, hlim=1) / IPv6ExtHdrFragment(nh=17, offset=9, m=0, id=6) / Raw(b"x")
    )
    assert nat64.send(late).verdict == Verdict.HOP_LIMIT_EXPIRED


@BOTH
def test_a_datagram_without_checksum_stays_without(way):
    packet = IPv6(src=CLIENT6, dst=VIP6) / UDP(sport=7, dport=53, chksum=0) / b"x"
    out = Front(way).send(bytes(packet))
    assert out.verdict == Verdict.HAIRPINNED
    assert bytes(out.packets[0])[46:48] == bytes(2)


@BOTH
def test_the_mss_of_a_syn_is_lowered(way):
    nat64 = Front(way, tun={"mtu": 1400})
    sent = whole(IPv6(src=CLIENT6, dst=VIP6) / TCP(sport=7, dport=80, flags="S", options=[("MSS", 1460)]))
    assert dict(nat64.passed(sent)[TCP].options)["MSS"] == 1340
    nat64 = Front(way, tun={"mtu": 1400}, translation={"clamp_mss": False})
    assert dict(nat64.passed(sent)[TCP].options)["MSS"] == 1460


# ---- RST


@BOTH
def test_a_rst_outside_the_window_is_not_believed(way):
    nat64 = Front(way, filtering={"check_rst": True})
    there = nat64.client6()
    nat64.back(there)
    nat64.client6(flags="A")
    assert verdict(nat64, syn6(7, 80, "R", seq=1 << 30)) == Verdict.HAIRPINNED
    assert nat64.tables.events[Event.RST_IGNORED] == 1
    assert verdict(nat64, from_endpoint(there, 8080, 7, "R", seq=1 << 30)) == Verdict.HAIRPINNED
    assert nat64.tables.events[Event.RST_IGNORED] == 2
    assert verdict(nat64, from_endpoint((there[0] if way == "dnat" else f"{SOURCE6}9", E(1)), 8080, 999, "R")) in (
        *(Verdict.PASSED, Verdict.NO_SESSION),
    )
    assert verdict(nat64, syn6(7, 80, "R", src=OTHER6)) == Verdict.HAIRPINNED


def test_soon_after_a_start_without_sessions_segments_of_endpoints_are_answered_with_rst():
    nat64 = Front("fullnat")
    nat64.gateway = type(nat64.gateway)(
        type(nat64.settings)(**vars_of(nat64.settings) | {"reset_until": 1 << 60}), nat64.tables, nat64.worker
    )
    outcome = nat64.send(from_endpoint((f"{SOURCE6}1", E(1)), 8080, 7, "A"))
    assert outcome.verdict == Verdict.LOST_SESSION
    assert outcome.answer is not None
    assert verdict(nat64, from_endpoint((f"{SOURCE6}1", E(1)), 8080, 7, "R")) == Verdict.NO_SESSION
    outcome = nat64.send(from_endpoint((f"{SOURCE6}1", in6_("198.51.100.9")), 8080, 7, "A"))
    assert (outcome.verdict, outcome.answer) == (Verdict.SOURCE_IN_POOL6, None)


def vars_of(settings):
    from dataclasses import fields

    return {one.name: getattr(settings, one.name) for one in fields(settings)}


# ---- off


def test_without_it_nothing_is_to_an_ipv6_address():
    from tests.translator.services import Serving

    assert Serving().send(syn6(7, 80)).verdict == Verdict.NOT_OUR_PREFIX
    assert Serving().client(src=HOST4)
