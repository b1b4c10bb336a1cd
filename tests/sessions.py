"""Words for tests about sessions: who says what to whom and when, and what then stands in the tables.

    nat64 = Sessions(limits={"sessions": 16})
    nat64.from6("udp", 5000)                     host6 HOST6:5000 -> HOST4:HOST4_PORT
    nat64.from4("udp", nat64.mapped("udp", 5000))            and back to its mapped4
    nat64.wait(299.9)
    assert nat64.sessions() == [...]

Time moves by `wait` only. After every packet and every wait all invariants of the tables are checked, in the pass that
is compiled as in production.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from nat64d.config.words import address6
from nat64d.offline.engine import Ended
from tests import invariants
from tests.case import BEGIN, Nat64
from tests.conftest import LOOKS
from tests.packets import HOST4, HOST4_PORT, HOST6, POOL6, in6
from tests.reference import packets as make
from translator.session.tcp_state import State
from translator.tables.layout import LOGGED, records
from translator.verdict import Verdict

_POOL6 = IPv6Address(POOL6.removesuffix("/96")).packed[:12]
NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1}
NAMES = {number: name for name, number in NUMBERS.items()}
FLAGS = {"SYN": 0x02, "SYN-ACK": 0x12, "ACK": 0x10, "FIN": 0x11, "RST": 0x04}

Address4 = tuple[str, int]  # an IPv4 transport address


class Flow(NamedTuple):
    """The transport addresses of a packet; for an ICMP echo both ports are its identifier."""

    src: str
    src_port: int
    dst: str
    dst_port: int


class Session(NamedTuple):
    """A row of the session table, and the seconds it has left."""

    protocol: str
    host6: tuple[str, int]
    mapped4: Address4
    host4: Address4
    state: str
    left: float


class Sessions(Nat64):
    """The gateway, and a clock."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.now = 0.0
        self.ended = records(0, LOGGED)  # what a restart leaves for the log
        self.monotonic = True

    def wait(self, seconds: float) -> list[bytes]:
        """Time passes (or the clock goes back), nobody says anything; the packets of our own that are due then."""
        self.monotonic = self.monotonic and seconds >= 0
        self.now = round(self.now + seconds, 3)
        due = self.expire(BEGIN + self.now)
        self.watch()
        return due

    def check_invariants(self) -> None:
        """Every one of tests/invariants.py."""
        invariants.check(self.tables, self.settings, self.monotonic)

    def watch(self) -> None:
        """check_invariants(), but only in the pass that is compiled as in production: in the others the tables are
        those of the same history there, or the translator raises."""
        if LOOKS:
            self.check_invariants()

    def say(self, packet: bytes) -> Ended:
        """Send a packet now."""
        outcome = self.send(packet, self.now)
        self.watch()
        return outcome

    def from6(
        self, protocol: str, port: int, to: Address4 = (HOST4, HOST4_PORT), flags: str | int = "SYN", host: str = HOST6
    ) -> Ended:
        """A packet of an IPv6 host; `port` is the identifier of a ping, which has no other."""
        src, dst = IPv6Address(host), IPv6Address(in6(to[0]))
        number = 58 if protocol == "icmp" else NUMBERS[protocol]
        return self.say(make.ipv6(src, dst, number, _segment(protocol, 128, port, to[1], flags)))

    def from4(
        self, protocol: str, to: Address4, peer: Address4 = (HOST4, HOST4_PORT), flags: str | int = "SYN-ACK"
    ) -> Ended:
        """A packet of an IPv4 host to a mapped4."""
        src, dst = IPv4Address(peer[0]), IPv4Address(to[0])
        return self.say(make.ipv4(src, dst, NUMBERS[protocol], _segment(protocol, 8, peer[1], to[1], flags)))

    def opened(self, protocol: str, port: int, *args: Any, **named: Any) -> Address4:
        """from6(), which must be translated; the mapped4 it left from."""
        outcome = self.from6(protocol, port, *args, **named)
        assert outcome.verdict == Verdict.TRANSLATED, outcome.verdict.name
        out = flow(outcome.packets[0])
        return out.src, out.src_port

    def bib(self) -> dict[tuple[str, str, int], Address4]:
        """(protocol, host6, port) -> mapped4 of every BIB entry."""
        rows = [row for row in self.tables.bibs if row.live]
        return {
            (NAMES[int(row.protocol)], str(address6(row.host6_hi, row.host6_lo)), int(row.host6_port)): _mapped(row)
            for row in rows
        }

    def mapped(self, protocol: str, port: int, host: str = HOST6) -> Address4 | None:
        """The mapped4 of a host6, or None."""
        return self.bib().get((protocol, host, port))

    def sessions(self, which: Callable[[Session], bool] = lambda _: True) -> list[Session]:
        """The live sessions, in the order of the table."""
        now = round((BEGIN + self.now) * 1000)
        found = [
            Session(
                NAMES[int(row.protocol)],
                (str(address6(row.host6_hi, row.host6_lo)), int(row.host6_port)),
                _mapped(row),
                (str(IPv4Address(int(row.host4))), int(row.host4_port)),
                State(row.state).name,
                (int(row.expires) - now) / 1000,
            )
            for row in self.tables.sessions
            if row.live
        ]
        return [session for session in found if which(session)]

    def session(self) -> Session:
        """The only session."""
        (only,) = self.sessions()
        return only


def _segment(protocol: str, request: int, src_port: int, dst_port: int, flags: str | int) -> bytes:
    """A transport header and some payload. The identifier of a ping is the port on our side, whichever that is."""
    if protocol == "udp":
        return make.udp(src_port, dst_port, b"data")
    if protocol == "tcp":
        return make.tcp(src_port, dst_port, FLAGS[flags] if isinstance(flags, str) else flags)
    return make.echo(request, src_port if request == 128 else dst_port, b"data")


def _mapped(row: Any) -> Address4:
    return str(IPv4Address(int(row.mapped4))), int(row.mapped4_port)


def flow(octets: bytes) -> Flow:
    """Who a packet says it is from and for; it may have a Fragment header."""
    if octets[0] >> 4 == 4:
        src, dst, protocol, at = octets[12:16], octets[16:20], octets[9], 20
    else:
        src, dst, protocol, at = octets[8:24], octets[24:40], octets[6], 40
        if protocol == 44:
            protocol, at = octets[40], 48
    if protocol in (6, 17):
        ports = octets[at : at + 2], octets[at + 2 : at + 4]
    else:
        assert (protocol, octets[at]) in ((1, 0), (1, 8), (58, 128), (58, 129)), "neither TCP nor UDP nor an echo"
        ports = (octets[at + 4 : at + 6],) * 2
    return Flow(_name(src), int.from_bytes(ports[0]), _name(dst), int.from_bytes(ports[1]))


def _name(address: bytes) -> str:
    """An address as tests/packets.py writes it: one under pool6 with its IPv4 address."""
    if len(address) == 16 and address[:12] == _POOL6:
        return in6(str(IPv4Address(address[12:])))
    return str(ip_address(address))
