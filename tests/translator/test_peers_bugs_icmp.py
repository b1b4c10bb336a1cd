"""What other translators get wrong about ICMP errors: each bug as a test that says it (see test_peers_bugs.py)."""

import pytest
from scapy.layers.inet import GRE, IP, TCP, UDP
from scapy.packet import Packet, Raw

from tests.case import Case, Nat64, Step
from tests.mapped import ALONE, as_eam4, at_eam6, of_eam6, to_eam4
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    ROUTER4,
    ROUTER4_IN6,
    ROUTER6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    cut,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    sent4,
    sent6,
)
from translator.verdict import Verdict

OPENED = [
    Step(from6() / UDP(**FROM_HOST6)),
    Step(from6() / TCP(**FROM_HOST6, flags="S")),
    Step(from6() / ping6(True)),
]


def error_from4(rest: int, quoted: Packet | bytes, type_: int = 3, code: int = 4) -> Packet:
    """An ICMP error of a router on the IPv4 side to MAPPED4."""
    return from4(src=ROUTER4) / Icmp(type=type_, code=code, rest=rest) / Raw(bytes(quoted))


def error_seen6(rest: int, quoted: Packet | bytes, type_: int = 2, code: int = 0) -> Packet:
    """What HOST6 sees of one."""
    return seen6(src=ROUTER4_IN6) / Icmp(type=type_, code=code, rest=rest) / Raw(bytes(quoted))


def error_from6(rest: int, quoted: Packet | bytes, type_: int = 2, code: int = 0) -> Packet:
    """An ICMPv6 error of a router on the IPv6 side to HOST4."""
    return from6(src=ROUTER6) / Icmp(type=type_, code=code, rest=rest) / Raw(bytes(quoted))


def error_seen4(rest: int, quoted: Packet | bytes, type_: int = 3, code: int = 4) -> Packet:
    """What HOST4 sees of one."""
    return seen4() / Icmp(type=type_, code=code, rest=rest) / Raw(bytes(quoted))


def check(sent: Packet | bytes, expect: Packet | bytes | list[Packet], **translation: object) -> None:
    """That is translated so, after OPENED."""
    Case("", steps=OPENED, sent=sent, expect=expect, config={"translation": translation}).check()


def test_an_error_about_an_echo_reply_is_not_lost():
    check(error_from4(0, seen4() / ping4(False), 11, 0), error_seen6(0, sent6() / ping6(False), 3, 0))
    check(error_from6(0, seen6() / ping6(False), 3, 0), error_seen4(0, sent4() / ping4(False), 11, 0))
    Case(
        "of a mapped host",
        config=ALONE,
        steps=[
            Step(
                to_eam4(src=ROUTER4) / Icmp(type=11) / as_eam4() / ping4(False, id=7),
                at_eam6(src=ROUTER4_IN6) / Icmp(type=3) / of_eam6(hlim=63) / ping6(False, id=7),
            ),
            Step(
                of_eam6() / Icmp(type=3) / at_eam6() / ping6(False, id=7),
                as_eam4() / Icmp(type=11) / to_eam4(ttl=63, id=0) / ping4(False, id=7),
            ),
        ],
    ).check()


def test_an_error_that_quotes_8_octets_of_tcp_is_not_lost():
    outward4, outward6 = seen4(flags="DF") / TCP(**FROM_MAPPED, seq=1) / b"x", sent6() / TCP(**FROM_HOST6, seq=1) / b"x"
    outward4.len, outward6.plen = 1500, 1480
    check(error_from4(1400, cut(outward4, 20 + 8)), error_seen6(1420, cut(outward6, 40 + 8)))
    inward6, inward4 = seen6() / TCP(**TO_HOST6, seq=1) / b"x", sent4(flags="DF") / TCP(**TO_MAPPED, seq=1) / b"x"
    inward6.plen, inward4.len = 1480, 1500
    check(error_from6(1400, cut(inward6, 40 + 8)), error_seen4(1380, cut(inward4, 20 + 8)))


@pytest.mark.parametrize("how", ["drop", "calculate", "forward"])
def test_an_error_that_quotes_udp_without_checksum_is_not_lost(how):
    bare4, bare6 = seen4() / UDP(**FROM_MAPPED, chksum=0) / b"x", sent6() / UDP(**FROM_HOST6, chksum=0) / b"x"
    check(error_from4(0, bare4, 11, 0), error_seen6(0, bare6, 3, 0), udp_zero_checksum=how)
    bare6, bare4 = seen6() / UDP(**TO_HOST6, chksum=0) / b"x", sent4() / UDP(**TO_MAPPED, chksum=0) / b"x"
    check(error_from6(0, bare6, 3, 0), error_seen4(0, bare4, 11, 0), udp_zero_checksum=how)


EXTENSION = bytes.fromhex("2000dead 00080101 0badcafe")  # RFC 4884 section 7, of some class and type


def test_an_error_with_extensions_is_not_lost(nat64):
    nat64.check(OPENED[0])
    quoted4, quoted6 = seen4() / UDP(**FROM_MAPPED) / payload(100), sent6() / UDP(**FROM_HOST6) / payload(100)
    (out,) = nat64.send(error_from4(32 << 16, bytes(quoted4) + EXTENSION, 11, 0)).packets
    assert out[40:42] == bytes([3, 0])
    assert out[48:].startswith(bytes(quoted6))
    quoted6, quoted4 = seen6() / UDP(**TO_HOST6) / payload(80), sent4() / UDP(**TO_MAPPED) / payload(80)
    (out,) = nat64.send(error_from6(16 << 24, bytes(quoted6) + EXTENSION, 3, 0)).packets
    assert out[20:22] == bytes([11, 0])
    assert out[28:].startswith(bytes(quoted4))


@pytest.mark.parametrize("kind", [UDP, TCP])
def test_the_checksum_of_a_quoted_packet_follows_its_addresses_and_ports(kind):
    check(
        error_from4(0, seen4() / kind(**FROM_MAPPED) / b"abc", 3, 1),
        error_seen6(0, sent6() / kind(**FROM_HOST6) / b"abc", 1, 0),
    )
    check(
        error_from6(0, seen6() / kind(**TO_HOST6) / b"abc", 1, 4),
        error_seen4(0, sent4() / kind(**TO_MAPPED) / b"abc", 3, 3),
    )


def test_an_error_about_an_echo_request_is_not_lost():
    check(error_from4(0, seen4() / ping4(True), 11, 0), error_seen6(0, sent6() / ping6(True), 3, 0))
    check(error_from6(0, seen6() / ping6(True), 3, 0), error_seen4(0, sent4() / ping4(True), 11, 0))


def test_the_destination_of_a_parameter_problem_is_octet_16_of_an_ipv4_header():
    quoted6, quoted4 = seen6() / UDP(**TO_HOST6) / b"x", sent4() / UDP(**TO_MAPPED) / b"x"
    for octet in (24, 39):
        check(error_from6(octet, quoted6, 4, 0), error_seen4(16 << 24, quoted4, 12, 0))


def test_an_unrecognized_next_header_is_a_protocol_and_no_port_unreachable():
    quoted6, quoted4 = seen6() / UDP(**TO_HOST6) / b"x", sent4() / UDP(**TO_MAPPED) / b"x"
    check(error_from6(6, quoted6, 4, 1), error_seen4(0, quoted4, 3, 2))


def test_another_parameter_problem_is_no_protocol_unreachable(nat64):
    quoted = seen6() / UDP(**TO_HOST6) / b"x"
    for code in (2, 3, 255):
        nat64.check(Step(error_from6(6, quoted, 4, code), verdict=Verdict.ICMP_TYPE))


@pytest.mark.parametrize(("length", "mtu"), [(1500, 1492), (1492, 1280), (4000, 2002), (600, 1280)])
def test_an_mtu_of_zero_is_a_plateau_and_not_1000(length, mtu):
    quoted4, quoted6 = (
        seen4(flags="DF" if length > 1260 else 0) / UDP(**FROM_MAPPED) / payload(length - 28),
        sent6() / UDP(**FROM_HOST6) / payload(length - 28),
    )
    told = mtu + 20 if mtu > 1280 else mtu
    check(error_from4(0, cut(quoted4, 100)), error_seen6(told, cut(quoted6, 120)))


@pytest.mark.parametrize("mtu", [1, 68, 576, 1000, 1259, 1260])
def test_a_packet_too_big_never_says_less_than_1280(mtu):
    quoted4, quoted6 = seen4() / UDP(**FROM_MAPPED) / b"x", sent6() / UDP(**FROM_HOST6) / b"x"
    check(error_from4(mtu, quoted4), error_seen6(1280, quoted6))


def test_an_mtu_follows_the_difference_of_the_headers():
    quoted4, quoted6 = seen4() / UDP(**FROM_MAPPED) / b"x", sent6() / UDP(**FROM_HOST6) / b"x"
    check(error_from4(1400, quoted4), error_seen6(1420, quoted6))
    quoted6, quoted4 = seen6() / UDP(**TO_HOST6) / b"x", sent4() / UDP(**TO_MAPPED) / b"x"
    check(error_from6(1420, quoted6), error_seen4(1400, quoted4))


@pytest.mark.parametrize("inner", [GRE() / IP() / b"x", IP() / UDP(), Raw(b""), Raw(b"1234567")], ids=Packet.summary)
def test_an_error_about_gre_or_ipip_kills_nobody(inner):
    number = 4 if isinstance(inner, IP) else 47
    beside, alone = Nat64(), Nat64(**ALONE)
    for error in (
        from4(src=ROUTER4) / Icmp(type=3, code=4, rest=1400) / seen4(proto=number) / inner,
        from6(src=ROUTER6) / Icmp(type=2, rest=1400) / seen6(nh=number) / inner,
    ):
        assert beside.send(error).verdict == Verdict.PROTOCOL
    for error in (
        to_eam4(src=ROUTER4) / Icmp(type=3, code=4, rest=1400) / as_eam4(proto=number) / inner,
        of_eam6(src=ROUTER6) / Icmp(type=2, rest=1400) / at_eam6(nh=number) / inner,
    ):
        assert alone.send(error).verdict == Verdict.TRANSLATED
