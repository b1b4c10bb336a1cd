"""virtio_net_hdr (virtio 1.2 section 5.1.6): super-frames and checksums left undone, in the other family.

What comes out is finished by hand, as a device would do it, and then compared with the packet scapy builds.
"""

import struct
from dataclasses import astuple, dataclass, replace

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet
from scapy.utils import checksum

from tests.case import Nat64, compare
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST6,
    MAPPED4_IN6,
    NEIGHBOUR6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    fragment_of,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
)
from translator.verdict import Verdict

NEEDS_CSUM, DATA_VALID = 1, 2
TCPV4, TCPV6, UDP_SEGMENTS, ECN = 1, 4, 5, 0x80
SYN = {"flags": "S"}
TIMESTAMP = {"options": [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]}  # 12 octets
BLOCK = payload(5000)


@dataclass(frozen=True)
class Header:
    """A virtio_net_hdr, little-endian as on this machine."""

    flags: int = 0
    gso_type: int = 0
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    def __bytes__(self) -> bytes:
        return struct.pack("<BBHHHH", *astuple(self))

    @classmethod
    def of(cls, octets: bytes) -> "Header":
        return cls(*struct.unpack("<BBHHHH", octets))


def undone(packet: Packet) -> bytes:
    """The packet with nothing but the pseudo-header sum in its checksum field, not complemented."""
    packet = whole(packet)
    segment = packet.getlayer(TCP) or packet.getlayer(UDP)
    size = len(bytes(segment))
    number = 6 if TCP in packet else 17
    addresses = bytes(packet)[12:20] if isinstance(packet, IP) else bytes(packet)[8:40]
    segment.chksum = 0xFFFF ^ checksum(addresses + struct.pack("!IHH", size, 0, number))
    return bytes(packet)


def finished(header: Header, octets: bytes) -> bytes:
    """What a device makes of it: the sum of everything from csum_start, complemented, at csum_offset behind."""
    assert header.flags == NEEDS_CSUM
    at = header.csum_start + header.csum_offset
    return octets[:at] + checksum(octets[header.csum_start :]).to_bytes(2) + octets[at + 2 :]


def checked(nat64: Nat64, header: Header, sent: bytes, expect: Packet) -> Header:
    """Send it, compare what comes out, once finished, with the packet, and return the header it has then."""
    verdict, raw, out = nat64.offloaded(bytes(header), sent)
    assert verdict == Verdict.TRANSLATED
    made = Header.of(raw)
    compare([finished(made, out[0])], [expect])
    compare(out, [undone(expect)])
    return made


@dataclass(frozen=True)
class Frame:
    """A super-frame and what it becomes, headers and packets."""

    name: str
    header: Header
    sent: Packet
    becomes: Header
    expect: Packet
    mtu6: int | str = "auto"
    lowest: int = 1280

    def __str__(self) -> str:
        return self.name


TCP6, TCP4 = from6() / TCP(**FROM_HOST6, **SYN) / BLOCK, seen4(flags="DF") / TCP(**FROM_MAPPED, **SYN) / BLOCK
TCP4_IN, TCP6_IN = from4(flags="DF") / TCP(**TO_MAPPED) / BLOCK, seen6() / TCP(**TO_HOST6) / BLOCK
UDP6, UDP4 = from6() / UDP(**FROM_HOST6) / BLOCK, seen4(flags="DF") / UDP(**FROM_MAPPED) / BLOCK
UDP4_IN, UDP6_IN = from4() / UDP(**TO_MAPPED) / BLOCK, seen6() / UDP(**TO_HOST6) / BLOCK

FRAMES = [
    Frame(
        "tcpv6_super_frame_becomes_tcpv4",
        Header(NEEDS_CSUM, TCPV6, 60, 1440, 40, 16),
        TCP6,
        Header(NEEDS_CSUM, TCPV4, 40, 1440, 20, 16),
        TCP4,
    ),
    Frame(
        "small_segments_have_no_df",
        Header(NEEDS_CSUM, TCPV6, 60, 1220, 40, 16),
        TCP6,
        Header(NEEDS_CSUM, TCPV4, 40, 1220, 20, 16),
        seen4() / TCP(**FROM_MAPPED, **SYN) / BLOCK,
    ),
    *(
        Frame(
            f"segments_of_{name}_that_are_{total}_octets_in_ipv4_have_{'a' if df else 'no'}_df",
            Header(NEEDS_CSUM, kind6, 40 + layer, total - 20 - layer, 40, at),
            sent,
            Header(NEEDS_CSUM, kind4, 20 + layer, total - 20 - layer, 20, at),
            seen4(flags=df) / body,
        )
        for name, kind6, kind4, layer, at, sent, body in (
            ("tcp", TCPV6, TCPV4, 20, 16, TCP6, TCP(**FROM_MAPPED, **SYN) / BLOCK),
            ("udp", UDP_SEGMENTS, UDP_SEGMENTS, 8, 6, UDP6, UDP(**FROM_MAPPED) / BLOCK),
        )
        for total, df in ((1260, 0), (1261, "DF"))
    ),
    Frame(
        "tcpv4_super_frame_with_df_becomes_tcpv6",
        Header(NEEDS_CSUM, TCPV4, 40, 1440, 20, 16),
        TCP4_IN,
        Header(NEEDS_CSUM, TCPV6, 60, 1440, 40, 16),
        TCP6_IN,
    ),
    Frame(
        "tcpv4_super_frame_with_df_whose_segments_fill_the_next_mtu",
        Header(NEEDS_CSUM, TCPV4, 40, 1440, 20, 16),
        TCP4_IN,
        Header(NEEDS_CSUM, TCPV6, 60, 1440, 40, 16),
        TCP6_IN,
        mtu6=1500,
    ),
    Frame(
        "tcpv4_super_frame_without_df_gets_segments_of_1280_octets",
        Header(NEEDS_CSUM, TCPV4, 40, 1460, 20, 16),
        from4() / TCP(**TO_MAPPED) / BLOCK,
        Header(NEEDS_CSUM, TCPV6, 60, 1220, 40, 16),
        TCP6_IN,
    ),
    Frame(
        "tcpv4_super_frame_without_df_gets_segments_of_lowest_ipv6_mtu",
        Header(NEEDS_CSUM, TCPV4, 40, 1460, 20, 16),
        from4() / TCP(**TO_MAPPED) / BLOCK,
        Header(NEEDS_CSUM, TCPV6, 60, 1340, 40, 16),
        TCP6_IN,
        lowest=1400,
    ),
    Frame(
        "tcpv4_super_frame_without_df_and_with_options_gets_segments_of_1280_octets",
        Header(NEEDS_CSUM, TCPV4, 52, 1448, 20, 16),
        from4() / TCP(**TO_MAPPED, **TIMESTAMP) / BLOCK,
        Header(NEEDS_CSUM, TCPV6, 72, 1208, 40, 16),
        seen6() / TCP(**TO_HOST6, **TIMESTAMP) / BLOCK,
    ),
    Frame(
        "tcpv4_super_frame_without_df_and_small_segments_keeps_them",
        Header(NEEDS_CSUM, TCPV4, 40, 500, 20, 16),
        from4() / TCP(**TO_MAPPED) / BLOCK,
        Header(NEEDS_CSUM, TCPV6, 60, 500, 40, 16),
        TCP6_IN,
    ),
    Frame(
        "tcpv4_super_frame_without_df_that_is_smaller_than_its_segments",
        Header(NEEDS_CSUM, TCPV4, 40, 6000, 20, 16),
        from4() / TCP(**TO_MAPPED) / BLOCK,
        Header(NEEDS_CSUM, TCPV6, 60, 1220, 40, 16),
        TCP6_IN,
    ),
    Frame(
        "ecn_stays_with_a_super_frame",
        Header(NEEDS_CSUM, TCPV6 | ECN, 60, 1440, 40, 16),
        TCP6,
        Header(NEEDS_CSUM, TCPV4 | ECN, 40, 1440, 20, 16),
        TCP4,
    ),
    Frame(
        "hdr_len_is_what_the_headers_are_not_what_was_claimed",
        Header(NEEDS_CSUM, TCPV6, 7, 1440, 40, 16),
        from6() / TCP(**FROM_HOST6, **SYN, **TIMESTAMP) / BLOCK,
        Header(NEEDS_CSUM, TCPV4, 52, 1440, 20, 16),
        seen4(flags="DF") / TCP(**FROM_MAPPED, **SYN, **TIMESTAMP) / BLOCK,
    ),
    Frame(
        "udp_segments_from_ipv6",
        Header(NEEDS_CSUM, UDP_SEGMENTS, 48, 1400, 40, 6),
        UDP6,
        Header(NEEDS_CSUM, UDP_SEGMENTS, 28, 1400, 20, 6),
        UDP4,
    ),
    Frame(
        "udp_segments_from_ipv4_cannot_be_made_smaller",
        Header(NEEDS_CSUM, UDP_SEGMENTS, 28, 1400, 20, 6),
        UDP4_IN,
        Header(NEEDS_CSUM, UDP_SEGMENTS, 48, 1400, 40, 6),
        UDP6_IN,
    ),
    Frame(
        "a_checksum_left_undone_in_udp_from_ipv6",
        Header(NEEDS_CSUM, 0, 0, 0, 40, 6),
        from6() / UDP(**FROM_HOST6) / b"abc",
        Header(NEEDS_CSUM, 0, 28, 0, 20, 6),
        seen4() / UDP(**FROM_MAPPED) / b"abc",
    ),
    Frame(
        "a_checksum_left_undone_in_udp_from_ipv4",
        Header(NEEDS_CSUM, 0, 0, 0, 20, 6),
        from4() / UDP(**TO_MAPPED) / b"abc",
        Header(NEEDS_CSUM, 0, 48, 0, 40, 6),
        seen6() / UDP(**TO_HOST6) / b"abc",
    ),
    Frame(
        "a_checksum_left_undone_in_tcp_from_ipv6",
        Header(NEEDS_CSUM | DATA_VALID, 0, 0, 0, 40, 16),
        from6() / TCP(**FROM_HOST6, **SYN),
        Header(NEEDS_CSUM, 0, 40, 0, 20, 16),
        seen4() / TCP(**FROM_MAPPED, **SYN),
    ),
    Frame(
        "a_checksum_left_undone_in_tcp_from_ipv4",
        Header(NEEDS_CSUM, 0, 0, 0, 20, 16),
        from4() / TCP(**TO_MAPPED, **SYN) / b"x",
        Header(NEEDS_CSUM, 0, 60, 0, 40, 16),
        seen6() / TCP(**TO_HOST6, **SYN) / b"x",
    ),
]


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_virtio(frame):
    nat64 = Nat64(translation={"mtu6": frame.mtu6, "lowest_ipv6_mtu": frame.lowest})
    assert checked(nat64, frame.header, undone(frame.sent), frame.expect) == frame.becomes
    assert nat64.events().get("SUPERFRAMES", 0) == (frame.header.gso_type != 0)


def test_virtio_segments_larger_than_the_next_mtu_are_answered():
    nat64 = Nat64(translation={"mtu6": 1500})
    verdict, _, out = nat64.offloaded(bytes(Header(NEEDS_CSUM, TCPV4, 40, 1441, 20, 16)), undone(TCP4_IN))
    assert (verdict, out) == (Verdict.TOO_BIG, [])
    assert nat64.events()["ANSWER_SENT"] == 1


def test_virtio_segments_of_ipv6_larger_than_the_next_mtu_are_answered():
    nat64 = Nat64(translation={"mtu4": 1400})
    verdict, _, out = nat64.offloaded(bytes(Header(NEEDS_CSUM, TCPV6, 60, 1361, 40, 16)), undone(TCP6))
    assert (verdict, out) == (Verdict.TOO_BIG, [])
    checked(nat64, Header(NEEDS_CSUM, TCPV6, 60, 1360, 40, 16), undone(TCP6), TCP4)


def test_virtio_a_complete_packet_needs_nothing(nat64):
    verdict, raw, out = nat64.offloaded(bytes(Header(flags=DATA_VALID)), from6() / UDP(**FROM_HOST6) / b"abc")
    assert (verdict, Header.of(raw)) == (Verdict.TRANSLATED, Header())
    compare(out, [seen4() / UDP(**FROM_MAPPED) / b"abc"])


def test_virtio_a_checksum_left_undone_is_finished_before_a_packet_is_cut(nat64):
    sent = undone(from4(id=0x1234) / UDP(**TO_MAPPED) / payload(1472))
    verdict, raw, out = nat64.offloaded(bytes(Header(NEEDS_CSUM, 0, 0, 0, 20, 6)), sent)
    assert (verdict, Header.of(raw)) == (Verdict.TRANSLATED, Header())
    compare(out, [fragment_of(seen6() / UDP(**TO_HOST6) / payload(1472), at, 1232) for at in (0, 1232)])


def test_virtio_a_checksum_left_undone_elsewhere_is_finished_there(nat64):
    """ICMPv6 has its checksum in another place than TCP and UDP, and its pseudo-header does not survive translation."""
    sent = whole(from6() / ping6(True, b"abc"))
    octets = bytes(sent)
    pseudo_header = 0xFFFF ^ checksum(octets[8:40] + struct.pack("!IHH", len(octets) - 40, 0, 58))
    sent.payload.cksum = pseudo_header
    verdict, raw, out = nat64.offloaded(bytes(Header(NEEDS_CSUM, 0, 0, 0, 40, 2)), sent)
    assert (verdict, Header.of(raw)) == (Verdict.TRANSLATED, Header())
    compare(out, [seen4() / ping4(True, b"abc")])


def test_virtio_a_udp_checksum_left_undone_that_is_0_counts_as_none(nat64):
    sent = from6() / UDP(**FROM_HOST6, chksum=0) / b"abc"
    checked(nat64, Header(NEEDS_CSUM, 0, 0, 0, 40, 6), bytes(sent), seen4() / UDP(**FROM_MAPPED) / b"abc")


def test_virtio_a_super_frame_with_a_complete_checksum_keeps_it(nat64):
    header = Header(0, UDP_SEGMENTS, 48, 1400, 0, 0)
    verdict, raw, out = nat64.offloaded(bytes(header), UDP6)
    assert (verdict, Header.of(raw)) == (Verdict.TRANSLATED, replace(header, hdr_len=28))
    compare(out, [UDP4])


def test_virtio_a_hairpinned_super_frame_stays_one_of_ipv6(nat64):
    sent = from6(src=NEIGHBOUR6, dst=MAPPED4_IN6) / TCP(sport=6000, dport=TO_MAPPED["dport"], **SYN) / BLOCK
    verdict, raw, out = nat64.offloaded(bytes(Header(NEEDS_CSUM, TCPV6, 60, 1440, 40, 16)), undone(sent))
    assert (verdict, Header.of(raw)) == (Verdict.HAIRPINNED, Header(NEEDS_CSUM, TCPV6, 60, 1440, 40, 16))
    packet = whole(out[0])
    source = {"sport": packet.sport, "dport": FROM_HOST6["sport"]}
    expect = seen6(src=packet.src, dst=HOST6) / TCP(**source, **SYN) / BLOCK
    compare([finished(Header.of(raw), out[0])], [expect])


LAYERS = [UDP(**FROM_HOST6) / b"abc", ping6(True, b"abc"), Icmp(type=1) / seen6() / UDP(**TO_HOST6)]
UNSOUND = [
    Header(NEEDS_CSUM, TCPV6, 60, 0, 40, 16),
    Header(0, UDP_SEGMENTS, 60, 0, 0, 0),
    Header(NEEDS_CSUM, 0, 0, 0, 40, 200),
    Header(NEEDS_CSUM, 0, 0, 0, 200, 0),
    Header(NEEDS_CSUM, 0, 0, 0, 0xFFFF, 0xFFFF),
    Header(NEEDS_CSUM, 0, 0, 0, 0, 0xFFFF),
]


def test_virtio_without_needs_csum_nothing_is_said_about_a_checksum(nat64):
    header = Header(0, 0, 0, 0, 0xFFFF, 0xFFFF)
    verdict, raw, out = nat64.offloaded(bytes(header), from6() / UDP(**FROM_HOST6) / b"abc")
    assert (verdict, Header.of(raw)) == (Verdict.TRANSLATED, Header())
    compare(out, [seen4() / UDP(**FROM_MAPPED) / b"abc"])


@pytest.mark.parametrize(
    ("start", "offset", "verdict"), [(40, 9, "TRANSLATED"), (40, 10, "BAD_LENGTH"), (49, 0, "TRANSLATED")]
)
def test_virtio_the_last_two_octets_may_be_the_checksum(nat64, start, offset, verdict):
    header = Header(NEEDS_CSUM, 0, 0, 0, start, offset)
    assert nat64.offloaded(bytes(header), from6() / UDP(**FROM_HOST6) / b"abc")[0].name == verdict


@pytest.mark.parametrize("header", UNSOUND, ids=lambda header: "_".join(map(str, astuple(header))))
@pytest.mark.parametrize("layer", LAYERS, ids=["udp", "echo", "error"])
def test_virtio_a_promise_outside_of_the_packet_is_not_believed(nat64, header, layer):
    sent = from6() / layer
    verdict, _, out = nat64.offloaded(bytes(header), sent)
    assert (verdict, out) == (Verdict.BAD_LENGTH, [])


def test_virtio_a_dropped_super_frame_is_not_counted_as_translated(nat64):
    sent = undone(from6(dst="2001:db8:5::5") / TCP(**FROM_HOST6) / BLOCK)
    verdict, _, _ = nat64.offloaded(bytes(Header(NEEDS_CSUM, TCPV6, 60, 1440, 40, 16)), sent)
    assert verdict == Verdict.NOT_OUR_PREFIX
    assert "SUPERFRAMES" not in nat64.events()
