"""Packets for the tests: names instead of literals, and helpers that damage what scapy built.

    host6 HOST6:HOST6_PORT  ------  [ nat64d ]  MAPPED4:MAPPED4_PORT  ------  host4 HOST4:HOST4_PORT
       HOST4 is HOST4_IN6 under POOL6          ROUTER6, ROUTER4: somebody on the way; OUR6, OUR4: nat64d

CONFIG maps HOST6:HOST6_PORT to MAPPED4:MAPPED4_PORT for TCP, UDP and ICMP (static BIB entries; for ICMP the "ports"
are query identifiers), so a test knows every octet of a translated packet. Other ports of HOST6 get ports of pool4.

* IP headers: from4() as HOST4 sent it -> seen6() as HOST6 gets it; from6() as HOST6 sent it -> seen4() as HOST4 gets
  it. seen6 and seen4 have one hop less, seen4 the Identification GENERATED_ID (case.py lets the generator give no
  other). Any field may be given: from4(ttl=1), seen4(flags="DF").
* Ports: UDP(**TO_MAPPED) -> UDP(**TO_HOST6); UDP(**FROM_HOST6) -> UDP(**FROM_MAPPED). The same for TCP.
* ping4, ping6 are echoes with the right identifier: ping6(True, b"x") is a request, ping4(False) a reply.
* Icmp(type=, code=, rest=) / quoted: a message of any type; ICMP behind IP, ICMPv6 behind IPv6, checksum included.
* answer4(sent, type, code, rest), answer6(...): the whole ICMP error of ours to the sender of `sent`.
* whole(p) is a packet built and parsed again; fragment_of(p, at, size) a fragment of it; with_options, cut,
  patch, flip_checksum change it (and give octets).
"""

from typing import Any, ClassVar

from hypothesis import strategies as st
from scapy.fields import ByteField, XIntField, XShortField
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, in6_chksum
from scapy.packet import Packet, Raw
from scapy.utils import checksum

POOL6 = "64:ff9b::/96"
POOL4 = "192.0.2.0/30"  # MAPPED4 and its neighbours
HOST6, HOST6_PORT = "2001:db8:1::10", 5000
NEIGHBOUR6 = "2001:db8:1::20"
MAPPED4, MAPPED4_PORT = "192.0.2.1", 40000
HOST4, HOST4_PORT = "198.51.100.7", 53
OTHER4 = "198.51.100.8"
ROUTER4, ROUTER6 = "203.0.113.9", "2001:db8:9::1"
OUR4, OUR6 = "192.0.2.254", "2001:db8:64::1"


def in6(addr4: str, prefix: str = "64:ff9b::") -> str:
    """An IPv4 address under a /96 prefix."""
    return prefix + addr4


HOST4_IN6, OTHER4_IN6, ROUTER4_IN6, MAPPED4_IN6 = in6(HOST4), in6(OTHER4), in6(ROUTER4), in6(MAPPED4)

TO_MAPPED = {"sport": HOST4_PORT, "dport": MAPPED4_PORT}
TO_HOST6 = {"sport": HOST4_PORT, "dport": HOST6_PORT}
FROM_HOST6 = {"sport": HOST6_PORT, "dport": HOST4_PORT}
FROM_MAPPED = {"sport": MAPPED4_PORT, "dport": HOST4_PORT}
GENERATED_ID = 0x4444  # the Identification of every packet that has none of its own

CONFIG: dict[str, Any] = {
    "pool6": POOL6,
    "pool4": [{"addresses": POOL4, "ports": "1024-65535"}],
    "forward": [
        {"protocol": name, "ipv4": f"{MAPPED4}:{MAPPED4_PORT}", "ipv6": f"[{HOST6}]:{HOST6_PORT}"}
        for name in ("tcp", "udp", "icmp")
    ],
    "tun": {"ipv4": OUR4, "ipv6": OUR6},
    "limits": {"sessions": 64, "service_members": 64},
}


def built(kind: Any, fields: dict[str, Any], changes: dict[str, Any]) -> Packet:
    """A layer with `fields`, some of them changed."""
    layer: Packet = kind(**fields | changes)
    return layer


def from4(**fields: Any) -> Packet:
    """The IPv4 header of a packet of HOST4."""
    return built(IP, {"src": HOST4, "dst": MAPPED4, "ttl": 64}, fields)


def seen6(**fields: Any) -> Packet:
    """from4() as it reaches HOST6."""
    return built(IPv6, {"src": HOST4_IN6, "dst": HOST6, "hlim": 63}, fields)


def from6(**fields: Any) -> Packet:
    """The IPv6 header of a packet of HOST6."""
    return built(IPv6, {"src": HOST6, "dst": HOST4_IN6, "hlim": 64}, fields)


def seen4(**fields: Any) -> Packet:
    """from6() as it reaches HOST4; `flags="DF"` is for the caller to add above 1260 octets."""
    return built(IP, {"src": MAPPED4, "dst": HOST4, "ttl": 63, "id": GENERATED_ID}, fields)


def ping4(request: bool, data: bytes = b"", **fields: Any) -> Packet:
    """An ICMP echo with the identifier of MAPPED4."""
    return built(ICMP, {"type": 8 if request else 0, "id": MAPPED4_PORT, "seq": 1}, fields) / Raw(data)


def ping6(request: bool, data: bytes = b"", **fields: Any) -> Packet:
    """An ICMPv6 echo with the identifier of HOST6."""
    kind = ICMPv6EchoRequest if request else ICMPv6EchoReply
    return built(kind, {"id": HOST6_PORT, "seq": 1}, fields) / Raw(data)


def payload(size: int) -> bytes:
    """Octets that differ from their neighbours, so that a lost, doubled or moved one shows."""
    return bytes((7 * at + at // 256) % 256 for at in range(size))


def whole(packet: Packet | bytes) -> Packet:
    """A packet with every length and checksum filled in."""
    octets = octets_of(packet)
    return (IP if octets[0] >> 4 == 4 else IPv6)(octets)


def octets_of(packet: Packet | bytes) -> bytes:
    """bytes(), without the copy that scapy makes to choose among the values of a field, which have one."""
    if isinstance(packet, Packet):
        for layer in packet.iterpayloads():
            layer.explicit = 1
    return bytes(packet)


class Icmp(Packet):
    """A message of any type, ICMP or ICMPv6 as the header in front says. `rest`: the 32 bits behind the checksum."""

    name = "ICMP or ICMPv6"
    fields_desc: ClassVar = [
        ByteField("type", 0),
        ByteField("code", 0),
        XShortField("cksum", None),
        XIntField("rest", 0),
    ]
    overload_fields: ClassVar = {IP: {"proto": 1}, IPv6: {"nh": 58}, IPv6ExtHdrFragment: {"nh": 58}}

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the checksum: with a pseudo-header for ICMPv6."""
        octets = pkt + pay
        if self.cksum is None:
            below = self.underlayer
            total = checksum(octets) if below is None or isinstance(below, IP) else in6_chksum(58, below, octets)
            octets = octets[:2] + total.to_bytes(2) + octets[4:]
        return octets


def answer4(sent: Packet | bytes, type_: int, code: int, rest: int = 0) -> Packet:
    """The ICMP error of ours about an IPv4 packet. RFC 1812 section 4.3.2: at most 576 octets, precedence 6."""
    header = IP(src=OUR4, dst=whole(sent).src, tos=0xC0, ttl=64, id=0, flags="DF")
    return header / Icmp(type=type_, code=code, rest=rest) / Raw(bytes(sent)[: 576 - 28])


def answer6(sent: Packet | bytes, type_: int, code: int, rest: int = 0) -> Packet:
    """The ICMPv6 error of ours about an IPv6 packet. RFC 4443 section 2.4 (c): at most 1280 octets."""
    header = IPv6(src=OUR6, dst=whole(sent).src, hlim=64)
    return header / Icmp(type=type_, code=code, rest=rest) / Raw(bytes(sent)[: 1280 - 48])


def fragment_of(packet: Packet | bytes, at: int, size: int, identification: int = 0x1234) -> Packet:
    """[at, at + size) of what lies behind the IP header, as a fragment; the last one has More Fragments 0."""
    packet = whole(packet)
    data = bytes(packet.payload)
    more = int(at + size < len(data))
    header = packet.copy()
    header.remove_payload()
    piece = Raw(data[at : at + size])
    if isinstance(packet, IP):
        header.len = header.chksum = None
        header.id, header.flags, header.frag = identification, "MF" if more else 0, at // 8
        return whole(header / piece)
    header.plen, header.nh = None, 44
    return whole(header / IPv6ExtHdrFragment(nh=packet.nh, id=identification, offset=at // 8, m=more) / piece)


def with_options(packet: Packet, options: bytes) -> bytes:
    """An IPv4 packet with these octets as options, padded with zeros; scapy would think a source route changes it."""
    octets = bytes(packet)
    options += bytes(-len(options) % 4)
    size = (20 + len(options)) // 4
    longer = bytes([0x40 | size, octets[1]]) + (len(octets) + len(options)).to_bytes(2) + octets[4:20]
    return patch(longer + options + octets[20:], 0, b"")


def cut(packet: Packet | bytes, size: int) -> bytes:
    """The first `size` octets; every length field still says what it said."""
    return bytes(packet)[:size]


def patch(packet: Packet | bytes, at: int, octets: bytes, mend: bool = True) -> bytes:
    """The packet with other octets at `at`; `mend`: with the right checksum in its IPv4 header."""
    damaged = bytearray(bytes(packet))
    damaged[at : at + len(octets)] = octets
    if mend and damaged[0] >> 4 == 4:
        size = (damaged[0] & 15) * 4
        damaged[10:12] = bytes(2)
        damaged[10:12] = checksum(bytes(damaged[:size])).to_bytes(2)
    return bytes(damaged)


def flip_checksum(packet: Packet | bytes) -> bytes:
    """The packet with a wrong checksum in its innermost header that has one."""
    packet = whole(packet)
    layer = packet
    names = ("chksum", "cksum")
    for candidate in packet.iterpayloads():
        if any(name in candidate.fields for name in names):
            layer = candidate
    name = next(name for name in names if name in layer.fields)
    setattr(layer, name, getattr(layer, name) ^ 0x5500)
    return bytes(packet)


def sent6(**fields: Any) -> Packet:
    """from6() as the translator restores it in an error's quote: the hop that seen4() has lost stays lost."""
    return from6(**{"hlim": 63} | fields)


def sent4(**fields: Any) -> Packet:
    """from4() in a quote, likewise; what was no fragment has no Identification."""
    return from4(**{"ttl": 63, "id": 0} | fields)


PORTS = st.integers(1, 65535)
DATA = st.binary(max_size=64)
