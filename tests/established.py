"""Random packets of flows that are mostly established, or need no session: the whole range of sizes, marks, and what is
wrong with some."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from random import Random

from tests.fastpath import Twin
from tests.reference import packets as make
from translator.session.tcp_state import State

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
ACK, PUSH_ACK, SYN, SYN_ACK, FIN_ACK, RST = 0x10, 0x18, 0x02, 0x12, 0x11, 0x04
POOL = '[[pool4]]\naddresses = "192.0.2.1/32"\n'
MAPPINGS = "".join(
    f'[[eam]]\nipv4 = "{ipv4}"\nipv6 = "{ipv6}"\n'
    for ipv4, ipv6 in (
        ("198.51.100.8", "2001:db8:9::1"),  # one of HOSTS
        ("203.0.113.64/28", "2001:db8:e::/64"),
        ("203.0.113.80/28", "2001:db8:f::/60"),
        ("203.0.113.70", "2001:db8:c::1"),  # inside the range before
        ("10.1.0.0/16", "2001:db8:d::/112"),
    )
)
CLIENT_PREFIXES = ("2a00:db8:1::/96", "2a00:db8:200::/40", "2a00:db8:3:1::/64", "2a00:db8:4::/48", "2a00:db8:5::/96")
CONFIGS = {
    "well-known": 'pool6 = "64:ff9b::/96"\n' + POOL,
    **{
        f"/{length}": f'pool6 = "{prefix}/{length}"\n' + POOL
        for length, prefix in ((32, "2a00:db8::"), (40, "2a00:db8:100::"), (48, "2a00:db8:1::"))
    },
    "/56": 'pool6 = "2a00:db8:1:100::/56"\n' + POOL,
    "/64": 'pool6 = "2a00:db8:1:1::/64"\n' + POOL,
    "sizes, one class": 'pool6 = "64:ff9b::/96"\n'
    + POOL
    + "[translation]\nmtu4 = 1400\nmtu6 = 1420\nlowest_ipv6_mtu = 1300\ntraffic_class = 184\n"
    + "[timeouts]\nudp = 130\nicmp = 70\n",
    "hairpins": 'pool6 = "64:ff9b::/96"\n[[pool4]]\naddresses = "198.51.100.1-198.51.100.2"\n'
    '[[eam]]\nipv4 = "203.0.113.7"\nipv6 = "2001:db8:e::7"\n',
    "mappings beside sessions": 'pool6 = "64:ff9b::/96"\n'
    + POOL
    + MAPPINGS
    + '[translation]\ndenylist4 = ["9.9.9.0/24"]\nclamp_mss = false\neam_hairpin = "off"\n',
    "no sessions": 'pool6 = "64:ff9b::/96"\n' + MAPPINGS + "[translation]\nmtu6 = 1400\n",
    "no sessions, another prefix": 'pool6 = "2a00:db8:1::/48"\n' + MAPPINGS + '[translation]\neam_hairpin = "simple"\n',
    "no echoes": 'pool6 = "64:ff9b::/96"\n'
    + POOL
    + MAPPINGS
    + "[filtering]\ndrop_icmp_info = true\n[timeouts]\ntcp_established = 9000\n",
    "check_rst": 'pool6 = "64:ff9b::/96"\n' + POOL + "[filtering]\ncheck_rst = true\naddress_dependent = true\n",
    "service": 'pool6 = "64:ff9b::/96"\n' + POOL + '[[service]]\nname = "s"\nprotocol = "udp"\nipv4 = "192.0.2.80:53"\n'
    'endpoints = ["[2001:db8:5::1]:53", "[2001:db8:5::2]:5353"]\n[timeouts]\nservice_udp = 90\n',
    "services under prefixes": 'pool6 = "64:ff9b::/96"\n'
    + POOL
    + "".join(
        f'[[service]]\nname = "s{number}"\nprotocol = "udp"\nipv4 = "192.0.2.{80 + number}:53"\n'
        f'endpoints = ["[2001:db8:5::{number}]:53"]\nclient_prefix = "{prefix}"\n'
        for number, prefix in enumerate(CLIENT_PREFIXES, 1)
    ),
}
SERVERS = [IPv4Address(address) for address in ("8.8.8.8", "9.9.9.9", "198.51.100.1", "203.0.113.7")]
STRANGE = [IPv4Address(address) for address in ("10.9.9.9", "224.0.0.9", "169.254.9.9", "198.51.100.8", "127.0.0.1")]
HOSTS = [IPv6Address(f"2001:db8:9::{number:x}") for number in range(1, 6)]
SIZES = (0, 1, 7, 64, 500, 1200, 1212, 1213, 1220, 1232, 1240, 1252, 1253, 1400, 1460)
HOPS = (64,) * 16 + (2, 1, 0, 255)
CLASSES = (0, 1, 2, 3, 0xB8, 0xFF)
PAUSES = (0.0, 0.001, 0.1, 1.5, 30.0)
SEGMENTS = (100, 1200, 1208, 1228, 1248, 1400, 1460)  # of super-frames, octets of data


def under(prefix: IPv6Network, server: IPv4Address) -> IPv6Address:
    """RFC 6052 section 2.2."""
    at = prefix.prefixlen // 8
    octets = prefix.network_address.packed[:at] + server.packed
    octets = octets if at == 12 else octets[:8] + b"\0" + octets[8:]
    return IPv6Address(octets.ljust(16, b"\0"))


class Traffic:
    """What a Twin gets."""

    def __init__(self, rng: Random, twin: Twin) -> None:
        self.rng, self.twin, self.at = rng, twin, 10.0
        self.flags = ACK  # of most segments
        self.prefixes = [
            IPv6Network(((int(hi) % 2**64) << 64 | int(lo) % 2**64, int(length)))
            for hi, lo, length in twin.settings.prefixes
        ]
        self.fronts = [row for row in twin.tables.fronts if row["protocol"]]
        self.flows = [self.flow() for _ in range(6)]

    def flow(self) -> tuple[int, IPv6Address, int, IPv4Address, int]:
        """A host and a server."""
        rng = self.rng
        ports = rng.randrange(1, 65536), rng.randrange(1, 65536)
        return rng.choice((TCP, TCP, UDP, UDP, ICMP)), rng.choice(HOSTS), ports[0], rng.choice(SERVERS), ports[1]

    def send(self) -> None:
        """One packet more."""
        rng = self.rng
        self.at = round(self.at + (rng.choice(PAUSES) if rng.randrange(60) else 400.0), 3)
        if rng.randrange(50) == 0:
            self.flows[rng.randrange(len(self.flows))] = self.flow()
        rows = [row for row in self.twin.sessions() if row["live"] and row["prefix"] >= 0]
        packet = self.from_session(rng.choice(rows)) if rows and rng.randrange(3) else self.from_host()
        if self.fronts and rng.randrange(3) == 0:
            front, client = rng.choice(self.fronts), rng.choice(SERVERS[:2])
            vip, port = IPv4Address(int(front["address4"])), int(front["port"])
            packet = self.ipv4(UDP, client, rng.randrange(50, 60), vip, port)
        if self.twin.config.eam and rng.randrange(2):
            packet = self.without_session()
        is_tcp = packet[9 if packet[0] >> 4 == 4 else 6] == TCP
        self.twin.gso_size = rng.choice(SEGMENTS) if is_tcp and len(packet) > 200 and rng.randrange(4) == 0 else 0
        self.twin.send(packet, self.at)

    def from_host(self) -> bytes:
        """Of one of the flows, towards its server."""
        protocol, host, port, server, server_port = self.rng.choice(self.flows)
        self.flags = SYN
        return self.ipv6(protocol, host, port, server, server_port)

    def from_session(self, row: object) -> bytes:
        """Of a session, either way."""
        host = IPv6Address((int(row["host6_hi"]) % 2**64) << 64 | int(row["host6_lo"]) % 2**64)  # type: ignore[index]
        server, mapped = IPv4Address(int(row["host4"])), IPv4Address(int(row["mapped4"]))  # type: ignore[index]
        names = ("protocol", "host6_port", "host4_port", "mapped4_port")
        protocol, port, server_port, mapped_port = (int(row[name]) for name in names)  # type: ignore[index]
        opens = row["state"] == State.V6_INIT  # type: ignore[index]
        self.flags = SYN_ACK if opens else ACK
        if protocol not in (TCP, UDP, ICMP) or (not opens and self.rng.randrange(2)):
            return self.ipv6(protocol, host, port, server, server_port, int(row["prefix"]))  # type: ignore[index]
        return self.ipv4(protocol, server, server_port, mapped, mapped_port)

    def ipv6(
        self, protocol: int, host: IPv6Address, port: int, server: IPv4Address, server_port: int, prefix: int = 0
    ) -> bytes:
        """A packet to pool6, or to the client prefix of a number."""
        rng, to = self.rng, under(self.prefixes[prefix], server)
        payload, covered = self.payload(protocol, port, server_port, (128, 129))
        protocol = ICMPV6 if protocol == ICMP else protocol
        extensions = (make.options_header(60),) if rng.randrange(40) == 0 else ()
        more = {"hop_limit": rng.choice(HOPS), "traffic_class": rng.choice(CLASSES), "flow_label": rng.getrandbits(20)}
        return self.damaged(make.ipv6(host, to, protocol, payload, extensions=extensions, covered=covered, **more))

    def ipv4(self, protocol: int, server: IPv4Address, port: int, mapped: IPv4Address, mapped_port: int) -> bytes:
        """A packet to the pool."""
        rng = self.rng
        payload, covered = self.payload(protocol, port, mapped_port, (8, 0))
        options = b"\1\1\1\0" if rng.randrange(40) == 0 else b""
        more = {"ttl": rng.choice(HOPS), "tos": rng.choice(CLASSES), "identification": rng.getrandbits(16)}
        more |= {"dont_fragment": rng.randrange(4) > 0, "more": rng.randrange(40) == 0}
        return self.damaged(make.ipv4(server, mapped, protocol, payload, options=options, covered=covered, **more))

    def without_session(self) -> bytes:
        """Of a host with an [[eam]], or an address under pool6, and an IPv4 host; either way."""
        rng = self.rng
        row, server = rng.choice(self.twin.config.eam), rng.choice(SERVERS * 3 + STRANGE)
        suffix, behind = rng.randrange(row.ipv4.num_addresses), 128 - row.ipv6.prefixlen - 32 + row.ipv4.prefixlen
        host4 = row.ipv4[suffix]
        host6 = IPv6Address(int(row.ipv6.network_address) + (suffix << behind) + rng.randrange(min(1 << behind, 5)))
        if rng.randrange(6) == 0:
            host4, host6 = (rng.choice((other, server)) for other in (SERVERS[0], host6))
            host6 = under(self.twin.config.pool6, host4)
        protocol, port, to = rng.choice((TCP, UDP, ICMP)), rng.randrange(1, 65536), rng.randrange(1, 65536)
        self.flags = rng.choice((ACK, SYN, FIN_ACK, RST))
        if rng.randrange(2):
            return self.ipv6(protocol, host6, port, server, to)
        return self.ipv4(protocol, server, port, host4, to)

    def payload(self, protocol: int, port: int, to: int, kinds: tuple[int, int]) -> tuple[bytes, bool]:
        """A transport header and data, and whether it gets a checksum; `kinds` of an echo."""
        rng = self.rng
        data = rng.randbytes(rng.choice((*SIZES, rng.randrange(1480))))
        if protocol == ICMP:
            kind = rng.choice(kinds) if rng.randrange(20) else rng.randrange(256)
            identifier = port if kinds[0] == 128 else to
            return make.echo(kind, identifier, data, rng.choice((0, 0, 0, 7)), rng.getrandbits(16)), True
        if protocol == UDP:
            length = None if rng.randrange(30) else rng.choice((7, 8, 9 + len(data)))
            return make.udp(port, to, data, length), rng.randrange(20) > 0
        flags = self.flags if rng.randrange(12) else rng.choice((ACK, PUSH_ACK, SYN, SYN_ACK, FIN_ACK, RST, 0))
        options = rng.choice((b"", b"", b"\1" * 12, b"\1" * 40))
        numbers = rng.getrandbits(32), rng.getrandbits(32)
        return make.tcp(port, to, flags, data, options, numbers), True

    def damaged(self, packet: bytes) -> bytes:
        """Perhaps with one octet that is another one, or one less, or one more."""
        rng = self.rng
        if rng.randrange(12):
            return packet
        at = rng.randrange(min(len(packet), 60))
        changed = packet[:at] + bytes([packet[at] ^ 1 << rng.randrange(8)]) + packet[at + 1 :]
        return rng.choice((changed, changed, packet[:-1], packet + b"\0"))
