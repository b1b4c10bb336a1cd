"""A resolver with a scripted upstream server, asked as a client would. The resolver's clock moves only when a test
moves it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Network, ip_network

import dns.flags
import dns.message

from nat64d.dns64.message.wire import Message
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.rules.maps import Maps
from nat64d.dns64.rules.policy import Policy, ranges_for
from nat64d.dns64.upstreams.cache import Cache
from nat64d.dns64.upstreams.exchange import ServerAddress
from nat64d.dns64.upstreams.upstream import Upstreams
from tests.dns64.clock import Loop
from tests.dns64.zone import Zone, serve

ADDRESS = IPv4Address("127.0.0.1")
CLIENT4, CLIENT6 = "127.0.0.1", "2001:db8::c"
EVERYBODY = (ip_network("127.0.0.0/8"), ip_network("::/0"))
POLICY = Policy(EVERYBODY, ranges_for(IPv6Network("64:ff9b::/96"), [], None))
WWW = "www.example."


class Gateway:
    """`zone` is the upstream server's script, `ready` whether packets are translated, `clock` the time."""

    def __init__(self, zone: Zone, upstreams: Upstreams, runner: asyncio.Runner) -> None:
        self.zone = zone
        self.upstreams = upstreams
        self.ready = True
        self.clock = 1000.0
        self.resolver = Resolver(upstreams, Cache(1 << 20), lambda: self.ready, lambda: self.clock)
        self._runner = runner

    def ask(
        self, query: dns.message.Message, client: str = CLIENT4, tell: Callable[[str], None] | None = None
    ) -> dns.message.Message:
        """The answer to a client's query."""
        return dns.message.from_wire(self.octets(query, client, tell))

    def octets(
        self, query: dns.message.Message, client: str = CLIENT4, tell: Callable[[str], None] | None = None
    ) -> bytes:
        """The answer to a client's query, as octets."""

        return self._runner.run(self._octets(query, client, tell))

    def octets_of(self, octets: bytes) -> bytes:
        """The answer that octets of a client get at once."""
        answer, _, _ = self.at_once_of(octets)
        assert answer is not None
        return answer

    def answer_late(self, octets: bytes) -> None:
        """Let the upstream server send an answer to a question that is still waiting for one."""

        async def take() -> None:
            (server,) = self.upstreams.all
            assert server.datagrams is not None
            (port,) = [port for port in server.datagrams._open.values() if port.waiting]
            (number,) = port.waiting
            port.take(number.to_bytes(2, "big") + octets[2:])

        self._runner.run(take())

    async def _octets(
        self, query: dns.message.Message, client: str, tell: Callable[[str], None] | None = None
    ) -> bytes:
        answer, parsed, number = self.resolver.at_once(query.to_wire(), client)
        if answer is None:
            assert parsed is not None
            answer = await self.resolver.resolve(parsed, number, tell)
        return answer

    def together(self, queries: list[dns.message.Message], *clients: str) -> list[dns.message.Message]:
        """The answers to queries that arrive at the same time, of each of these clients."""

        async def all_of() -> list[bytes]:
            asking = [self._octets(query, client) for client in clients or [CLIENT4] for query in queries]
            return await asyncio.gather(*asking)

        return [dns.message.from_wire(octets) for octets in self._runner.run(all_of())]

    def at_once(self, query: dns.message.Message) -> tuple[bytes | None, Message | None, int]:
        """What `Resolver.at_once` returns for a query."""
        return self.at_once_of(query.to_wire())

    def at_once_of(self, octets: bytes) -> tuple[bytes | None, Message | None, int]:
        """What `Resolver.at_once` returns for octets."""

        async def begun() -> tuple[bytes | None, Message | None, int]:
            return self.resolver.at_once(octets, CLIENT4)

        return self._runner.run(begun())

    def resolve(self, query: Message, number: int) -> dns.message.Message:
        """What `Resolver.resolve` answers."""
        return dns.message.from_wire(self._runner.run(self.resolver.resolve(query, number)))

    def addresses(self, type_: str = "AAAA", name: str = WWW, client: str = CLIENT4) -> list[str]:
        """The addresses that a plain query gets."""
        return addresses(self.ask(query(type_, name), client))

    def asked(self) -> list[tuple[str, str]]:
        """The questions that the upstream server got since the last call."""
        asked, self.zone.asked = sorted(self.zone.asked), []
        return asked

    def count(self, how: str) -> int:
        """How many queries ended so."""
        return self.resolver.counters.counts.get(how, 0)


@contextmanager
def gateway(
    table: dict[tuple[str, str], object], *policies: Policy, maps: Maps | None = None, dns46: bool = False
) -> Iterator[Gateway]:
    """A gateway with these policies (without any: an ordinary one) and an upstream server with this table."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        zone = Zone(dict(table))
        port, end = runner.run(serve(zone))
        upstreams = Upstreams([ServerAddress(ADDRESS, port)])
        one = Gateway(zone, upstreams, runner)
        one.resolver.use(policies or [POLICY], maps, dns46)
        try:
            yield one
        finally:

            async def close() -> None:
                upstreams.close()
                end()
                await asyncio.sleep(0.01)  # transports close in the loop's next turns

            runner.run(close())


def query(
    type_: str = "AAAA", name: str = WWW, flags: int = 0, rd: bool = True, **options: object
) -> dns.message.Message:
    """A query as dnspython makes it, with more header bits, or without RD."""
    made = dns.message.make_query(name, type_, **options)  # type: ignore[arg-type]
    made.flags |= flags
    if not rd:
        made.flags &= ~dns.flags.RD
    return made


def addresses(answer: dns.message.Message) -> list[str]:
    """The addresses in the answer section."""
    return sorted(item.address for rrset in answer.answer for item in rrset if hasattr(item, "address"))


def errors(answer: dns.message.Message) -> list[int]:
    """The codes of its Extended DNS Errors."""
    return [int(option.code) for option in answer.options if option.otype == 15]  # type: ignore[attr-defined]


def silent(_octets: bytes, _tcp: bool) -> list[bytes]:
    """Never answers: for the table of a zone."""
    return []
