"""Datagrams in pieces: to cut one, and to put together what came of it by few lines that share nothing with the
translator (RFC 791 section 3.2, RFC 8200 section 4.5).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from tests.packets import fragment_of, whole

FRAGMENT_HEADER = 44


class Datagram(NamedTuple):
    """One that came in fragments, or whole; `identification`: None in an IPv6 packet that has none."""

    src: str
    dst: str
    protocol: int
    hop_limit: int
    identification: int | None
    data: bytes

    def packet(self) -> bytes:
        """It as one packet, to look at its checksums."""
        if ":" in self.src:
            header = IPv6(src=self.src, dst=self.dst, nh=self.protocol, hlim=self.hop_limit)
        else:
            header = IP(src=self.src, dst=self.dst, proto=self.protocol, ttl=self.hop_limit)
        return bytes(header / Raw(self.data))


def in_pieces(packet: Packet | bytes, *edges: int, identification: int = 0x1234) -> list[bytes]:
    """What lies behind the IP header, in fragments that begin at 0 and at each edge."""
    end = len(bytes(whole(packet).payload))
    starts = [0, *edges]
    sizes = [after - start for start, after in zip(starts, [*edges, end], strict=True)]
    return [bytes(fragment_of(packet, at, size, identification)) for at, size in zip(starts, sizes, strict=True)]


def every(packet: Packet | bytes, size: int, identification: int = 0x1234) -> list[bytes]:
    """The same, in fragments of `size` octets."""
    end = len(bytes(whole(packet).payload))
    return in_pieces(packet, *range(size, end, size), identification=identification)


def joined(packets: Iterable[bytes]) -> Datagram:
    """The one datagram that these packets are, in whatever order they come."""
    heads, pieces = set(), {}
    for octets in packets:
        head, offset, more, data = taken_apart(octets)
        heads.add(head)
        pieces[offset] = more, data
    (head,) = heads
    whole_data = b""
    for offset in sorted(pieces):
        assert offset == len(whole_data), f"octets {len(whole_data)} to {offset} are missing, or come twice"
        more, data = pieces[offset]
        whole_data += data
    assert not more, "the end is missing"
    return Datagram(*head, whole_data)


def taken_apart(octets: bytes) -> tuple[tuple[str, str, int, int, int | None], int, bool, bytes]:
    """Of one packet: the fields of Datagram but its data, offset, whether more follow, data."""
    if octets[0] >> 4 == 4:
        ip = IP(octets)
        size = ip.ihl * 4
        return (ip.src, ip.dst, ip.proto, ip.ttl, ip.id), ip.frag * 8, bool(ip.flags.MF), octets[size : ip.len]
    ip = IPv6(octets)
    data = octets[40 : 40 + ip.plen]
    if ip.nh != FRAGMENT_HEADER:
        return (ip.src, ip.dst, ip.nh, ip.hlim, None), 0, False, data
    word = int.from_bytes(data[2:4])
    return (ip.src, ip.dst, data[0], ip.hlim, int.from_bytes(data[4:8])), word & 0xFFF8, bool(word & 1), data[8:]


def orders(packets: Sequence[bytes]) -> list[list[bytes]]:
    """Some orders of many packets: as they are, backwards, the first last, the last first, odd ones before even."""
    forth = list(packets)
    return [forth, forth[::-1], forth[1:] + forth[:1], forth[-1:] + forth[:-1], forth[1::2] + forth[::2]]
