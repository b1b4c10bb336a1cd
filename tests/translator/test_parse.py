"""Octets that are no packet: too short at every length, lengths that lie, versions, checksums: a verdict each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, Jumbo
from scapy.packet import Packet, Raw

from tests.case import Case, Nat64, Step
from tests.mapped import ALONE, at_eam6, to_eam4
from tests.packets import (
    FROM_HOST6,
    TO_MAPPED,
    cut,
    fragment_of,
    from4,
    from6,
    patch,
    payload,
    ping4,
    ping6,
    with_options,
)
from translator.verdict import Verdict

MSS = {"options": [("MSS", 1460)], "flags": "S"}
PACKETS: dict[str, Packet | bytes] = {
    "udp_in_ipv4": from4() / UDP(**TO_MAPPED) / b"abc",
    "tcp_in_ipv4": from4() / TCP(**TO_MAPPED, **MSS) / b"abc",
    "echo_in_ipv4": from4() / ping4(True, b"abc"),
    "options_in_ipv4": with_options(from4() / UDP(**TO_MAPPED) / b"abc", b"\x07\x27" + bytes(37)),
    "udp_in_ipv6": from6() / UDP(**FROM_HOST6) / b"abc",
    "tcp_in_ipv6": from6() / TCP(**FROM_HOST6, **MSS) / b"abc",
    "echo_in_ipv6": from6() / ping6(True, b"abc"),
    "extension_headers": from6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting(segleft=0) / UDP(**FROM_HOST6) / b"abc",
    "fragment_header": from6() / IPv6ExtHdrFragment(id=7) / UDP(**FROM_HOST6) / b"abc",
}
LAST4 = to_eam4(proto=17, frag=8189, id=7) / payload(3)
LAST6 = at_eam6() / IPv6ExtHdrFragment(nh=17, offset=8189, id=7) / payload(3)
TRANSPORT = {"udp": 8, "tcp": 20, "echo": 8}  # octets of header that have to be there


def refused(name: str, packet: Packet | bytes, verdict: Verdict = Verdict.TRUNCATED) -> Case:
    return Case(name, sent=packet, verdict=verdict)


def shortened(packet: Packet | bytes, size: int) -> bytes:
    """The packet cut to `size` octets with an honest IP length."""
    octets = cut(packet, size)
    if octets[0] >> 4 == 4:
        return patch(octets, 2, size.to_bytes(2))
    return patch(octets, 4, (size - 40).to_bytes(2))


def transport_cut(name: str) -> list[Case]:
    """A packet that ends before its transport header does, and says so."""
    packet, header = PACKETS[name], 20 if name.endswith("4") else 40
    needed = TRANSPORT[name.partition("_")[0]]
    first = 0 if header == 20 else 1
    return [refused(f"{name}_of_{n}_octets", shortened(packet, header + n)) for n in range(first, needed)]


UDP4, UDP6, TCP4, TCP6 = (PACKETS[name] for name in ("udp_in_ipv4", "udp_in_ipv6", "tcp_in_ipv4", "tcp_in_ipv6"))
BAD, CUT = Verdict.BAD_LENGTH, Verdict.TRUNCATED
CASES = [
    *(
        refused(f"{name}_cut_to_{size}", cut(packet, size), Verdict.NOT_IP if size == 0 else CUT)
        for name, packet in PACKETS.items()
        for size in range(len(packet))
    ),
    *(
        case
        for name in ("udp_in_ipv4", "tcp_in_ipv4", "echo_in_ipv4", "udp_in_ipv6", "tcp_in_ipv6", "echo_in_ipv6")
        for case in transport_cut(name)
    ),
    *(
        refused(f"version_{version}_is_not_ip", bytes([version << 4 | 5]) + bytes(UDP4)[1:], Verdict.NOT_IP)
        for version in range(16)
        if version not in {4, 6}
    ),
    *(
        refused(
            f"rfc791_3_1_header_length_{words}_is_too_short", patch(UDP4, 0, bytes([0x40 | words]), mend=False), BAD
        )
        for words in range(5)
    ),
    refused("rfc791_3_1_total_length_within_the_header", patch(UDP4, 2, b"\0\x13"), BAD),
    refused("rfc791_3_1_total_length_within_the_options", patch(PACKETS["options_in_ipv4"], 2, b"\0\x3b"), BAD),
    refused("rfc791_3_1_total_length_0", patch(UDP4, 2, b"\0\0"), BAD),
    refused("rfc791_3_1_header_longer_than_the_packet", patch(cut(UDP4, 24), 0, b"\x4f\0\0\x18", mend=False), BAD),
    refused("rfc791_3_1_wrong_header_checksum", patch(UDP4, 10, b"\x12\x34", mend=False), Verdict.HEADER_CHECKSUM),
    refused(
        "rfc791_3_1_wrong_octet_in_the_options",
        patch(PACKETS["options_in_ipv4"], 59, b"\x01", mend=False),
        Verdict.HEADER_CHECKSUM,
    ),
    refused("rfc8200_3_payload_length_0_without_a_transport_header", patch(UDP6, 4, b"\0\0"), CUT),
    refused("rfc2675_2_a_jumbogram", patch(from6() / IPv6ExtHdrHopByHop(options=Jumbo()) / UDP(), 4, b"\0\0"), CUT),
    refused("rfc768_length_within_the_header", patch(UDP4, 24, b"\0\x07"), BAD),
    refused("rfc768_length_0", patch(UDP6, 44, b"\0\0"), BAD),
    refused("rfc768_length_beyond_the_packet", patch(UDP4, 24, b"\0\x0c"), BAD),
    refused("rfc768_length_beyond_the_packet_in_ipv6", patch(UDP6, 44, b"\0\x0c"), BAD),
    *(
        refused(f"rfc9293_3_1_data_offset_{words}_is_too_short", patch(TCP4, 32, bytes([words << 4])), BAD)
        for words in range(5)
    ),
    refused("rfc9293_3_1_data_offset_beyond_the_packet", patch(TCP6, 52, b"\x70"), BAD),
    refused("rfc9293_3_1_data_offset_15_of_a_bare_header", patch(from4() / TCP(**TO_MAPPED), 32, b"\xf0"), BAD),
    refused(
        "rfc8200_4_2_extension_header_longer_than_the_packet",
        from6(nh=60) / Raw(b"\x11\x05\x01\x04\0\0\0\0") / Raw(bytes(39)),
        CUT,
    ),
    refused("rfc8200_4_2_a_last_header_longer_than_the_packet", from6(nh=60) / Raw(b"\x2f\x01" + bytes(6)), CUT),
    refused("rfc8200_4_extension_header_that_ends_the_packet", from6(nh=60) / Raw(b"\x11\0\x01\x04\0\0\0"), CUT),
    refused("rfc8200_4_extension_header_with_nothing_behind", from6() / IPv6ExtHdrDestOpt(nh=17), CUT),
    refused("a_later_fragment_of_nothing_in_ipv4", from4(proto=17, frag=100), BAD),
    # RFC 791 section 3.2, RFC 8200 section 4.5: cut again, its offset would begin anew at 0.
    refused("a_fragment_that_ends_beyond_octet_65535_in_ipv4", from4(proto=17, frag=8189) / payload(4), BAD),
    Case("a_fragment_that_ends_with_octet_65535_in_ipv4", config=ALONE, sent=LAST4, expect=LAST6),
    refused(
        "a_fragment_that_ends_beyond_octet_65535_in_ipv6",
        from6() / IPv6ExtHdrFragment(nh=17, offset=8191) / payload(8),
        BAD,
    ),
    refused("a_later_fragment_of_nothing_in_ipv6", from6() / IPv6ExtHdrFragment(nh=17, offset=100), BAD),
    refused("a_first_fragment_without_its_tcp_header", fragment_of(TCP4, 0, 16), CUT),
    refused("a_first_fragment_without_its_tcp_options", fragment_of(from4() / TCP(**TO_MAPPED, **MSS), 0, 20), BAD),
    refused("a_fragment_of_a_ping", fragment_of(from4() / ping4(True, payload(64)), 0, 32), Verdict.HELD),
    refused("a_fragment_of_a_ping6", fragment_of(from6() / ping6(True, payload(64)), 0, 32), Verdict.HELD),
    refused("a_later_fragment_of_a_ping", fragment_of(from4() / ping4(True, payload(64)), 32, 40), Verdict.HELD),
    Case(
        "rfc768_length_of_a_first_fragment_is_that_of_the_datagram",
        sent=fragment_of(from4() / UDP(**TO_MAPPED) / payload(64), 0, 32),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_parse(case):
    case.check()


@pytest.mark.no_cover
@pytest.mark.parametrize("name", PACKETS)
@pytest.mark.parametrize("value", [0x00, 0x7F, 0x80, 0xFF])
def test_parse_a_wrong_octet_anywhere_harms_nothing_but_the_packet(name, value):
    nat64 = Nat64()
    verdicts = set()
    for at in range(len(PACKETS[name])):
        verdicts.add(nat64.send(patch(PACKETS[name], at, bytes([value])), damaged=True).verdict)
    assert Verdict.TRANSLATED in verdicts
    assert len(verdicts) > 1


@given(octets=st.binary(max_size=120), family=st.sampled_from([b"\x45", b"\x46", b"\x60", b""]))
def test_parse_any_octets_get_a_verdict(octets, family):
    assert Nat64().send(family + octets, damaged=True).verdict in set(Verdict) - {Verdict.CONTINUE}


@pytest.mark.parametrize("packet", PACKETS.values(), ids=PACKETS)
def test_parse_what_is_cut_above_was_whole(nat64, packet):
    nat64.check(Step(packet))
