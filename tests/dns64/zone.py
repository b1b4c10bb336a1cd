"""A scripted upstream server: its answer to each question is in a table. It uses dnspython, so that the product reads
what other code wrote."""

import asyncio
from collections.abc import Callable, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

AUTHORITY = "AUTHORITY"
SOA = "ns.example. admin.example. 1 3600 600 86400 120"


class Zone:
    """Answers by (name, type): lines of a zone file, an RCODE, or a function from the octets of a query to those of
    answers."""

    def __init__(self, table: dict[tuple[str, str], object]) -> None:
        self.table = table
        self.asked: list[tuple[str, str]] = []

    def answer(self, query_octets: bytes, tcp: bool = False) -> list[bytes]:
        """The datagrams sent for a query: none, one or several."""
        query = dns.message.from_wire(query_octets)
        question = query.question[0]
        key = (question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype))
        self.asked.append(key)
        said = self.table.get(key, "NODATA" if any(name == key[0] for name, _ in self.table) else "NXDOMAIN")
        if callable(said):
            return said(query_octets, tcp)
        answer = reply(query, said)
        octets = answer.to_wire(max_size=65535)
        if not tcp and len(octets) > max(query.payload, 512):
            answer.flags |= dns.flags.TC
            answer.answer.clear()
            octets = answer.to_wire()
        return [octets]


def reply(query: dns.message.Message, said: object) -> dns.message.Message:
    """An answer with these lines ("name ttl IN type data"), with an RCODE, or without data (NODATA). A first line of
    one word is the RCODE, a SOA record at the end is in the authority section, as is all behind a line AUTHORITY."""
    answer = dns.message.make_response(query, recursion_available=True)
    if query.edns >= 0:
        answer.use_edns(0, query.ednsflags, 1232)
    lines = list(said) if isinstance(said, list) else []
    if isinstance(said, str) and said != "NODATA":
        answer.set_rcode(dns.rcode.from_text(said))
    elif lines and " " not in lines[0] and lines[0] != AUTHORITY:
        answer.set_rcode(dns.rcode.from_text(lines.pop(0)))
    if said in ("NXDOMAIN", "NODATA"):
        lines = [AUTHORITY, f"example. 300 IN SOA {SOA}"]
    elif lines and " SOA " in lines[-1] and AUTHORITY not in lines:
        lines.insert(-1, AUTHORITY)
    section = answer.answer
    for line in lines:
        if line == AUTHORITY:
            section = answer.authority
            continue
        name, ttl, class_, type_, data = line.split(None, 4)
        rrset = dns.rrset.from_text(name, int(ttl), class_, type_, data)
        match = answer.find_rrset(section, rrset.name, rrset.rdclass, rrset.rdtype, rrset.covers, create=True)
        match.update(rrset)
    return answer


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for octets in self.zone.answer(data):
            self.transport.sendto(octets, addr)  # type: ignore[attr-defined]


async def serve(zone: Zone, addresses: Sequence[str] = ("127.0.0.1",)) -> tuple[int, Callable[[], None]]:
    """Serve a zone on one port of these addresses by UDP and TCP: (port, function that stops it)."""
    for patience in reversed(range(20)):
        try:
            return await _serve(zone, addresses)
        except OSError:  # the port that was free by TCP is somebody's by UDP
            if not patience:
                raise
    raise AssertionError


async def _serve(zone: Zone, addresses: Sequence[str]) -> tuple[int, Callable[[], None]]:
    loop = asyncio.get_running_loop()
    writers: list[asyncio.StreamWriter] = []
    ends: list[asyncio.Server | asyncio.DatagramTransport] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                octets = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                for answer in zone.answer(octets, tcp=True):
                    writer.write(len(answer).to_bytes(2, "big") + answer)
        except (EOFError, OSError):
            writer.close()

    def end() -> None:
        for each in (*ends, *writers):
            each.close()

    port = 0
    try:
        for address in addresses:
            tcp = await asyncio.start_server(connected, address, port)
            ends.append(tcp)
            port = tcp.sockets[0].getsockname()[1]
            udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(zone), (address, port))
            ends.append(udp)
    except OSError:
        end()
        raise
    return port, end
