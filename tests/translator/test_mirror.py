"""There and back: 4to6 of what 6to4 made restores the packet, but for hops, Identification and flow label."""

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.packet import Packet

from tests.case import Nat64, compare
from tests.packets import DATA, PORTS, fragment_of, from6, payload, ping6, whole

OPTIONS = [("Timestamp", (1, 2)), ("NOP", None), ("NOP", None)]
OCTET = st.integers(0, 255)
IDENTIFICATION = 0x1234


def transport(name: str, source: int, destination: int, data: bytes) -> Packet:
    if name == "echo":
        return ping6(True, data, id=source)
    if name == "tcp":
        return TCP(sport=source, dport=destination, flags="S", options=OPTIONS) / data
    return UDP(sport=source, dport=destination) / data


def swapped(octets: bytes, at: int, size: int) -> bytes:
    """Two neighbouring fields of `size` octets exchanged; no checksum notices."""
    return octets[:at] + octets[at + size : at + 2 * size] + octets[at : at + size] + octets[at + 2 * size :]


def turned(packet: Packet | bytes) -> bytes:
    """What the peer would send if it sent the same back: addresses exchanged, and ports where there are any."""
    packet, octets = whole(packet), bytes(packet)
    octets = swapped(octets, 12, 4) if packet.version == 4 else swapped(octets, 8, 16)
    begin = 20 if packet.version == 4 else 40
    if IPv6ExtHdrFragment in packet:
        begin += 8
    return swapped(octets, begin, 2) if TCP in packet or UDP in packet else octets


def returned(sent: Packet) -> Packet:
    """The packet as its sender gets it back: two hops less, no flow label."""
    back = whole(turned(sent))
    back.hlim, back.fl = back.hlim - 2, 0
    return back


@given(
    name=st.sampled_from(["udp", "tcp", "echo"]),
    source=PORTS,
    destination=PORTS,
    tos=OCTET,
    hops=st.integers(3, 255),
    data=DATA,
)
def test_mirror_4to6_of_6to4_restores_the_packet(name, source, destination, tos, hops, data):
    nat64 = Nat64()
    sent = from6(tc=tos, hlim=hops, fl=0x12345) / transport(name, source, destination, data)
    (there,) = nat64.send(sent).packets
    (back,) = nat64.send(turned(there)).packets
    compare([back], [returned(sent)])


@given(
    name=st.sampled_from(["udp", "tcp"]),
    source=PORTS,
    destination=PORTS,
    size=st.integers(700, 1200),
    eighths=st.integers(5, 80),
)
def test_mirror_restores_fragments(name, source, destination, size, eighths):
    nat64 = Nat64()
    sent = from6() / transport(name, source, destination, payload(size))
    for at, length in ((0, 8 * eighths), (8 * eighths, size)):
        (there,) = nat64.send(fragment_of(sent, at, length, IDENTIFICATION)).packets
        (back,) = nat64.send(turned(there)).packets
        compare([back], [fragment_of(returned(sent), at, length, IDENTIFICATION)])
