"""A resolver with a scripted server behind it, asked as a client would; its clock stands still but when it is moved."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Network, ip_network

import dns.message

from nat64d.dns64.cache import Cache
from nat64d.dns64.exchange import Server
from nat64d.dns64.maps import Maps
from nat64d.dns64.policy import Policy, ranges_for
from nat64d.dns64.resolver import Resolver
from nat64d.dns64.upstream import Upstreams
from nat64d.dns64.wire import Message
from tests.dns64.zone import Zone, serve

ADDRESS = IPv4Address("127.0.0.1")
CLIENT4, CLIENT6 = "127.0.0.1", "2001:db8::c"
EVERYBODY = (ip_network("127.0.0.0/8"), ip_network("::/0"))
POLICY = Policy(EVERYBODY, ranges_for(IPv6Network("64:ff9b::/96"), [], None))
WWW = "www.example."


class Gateway:
    """`zone` is what the server says, `ready` whether packets are translated."""

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
        """What a client is answered."""
        return dns.message.from_wire(self.octets(query, client, tell))

    def octets(
        self, query: dns.message.Message, client: str = CLIENT4, tell: Callable[[str], None] | None = None
    ) -> bytes:
        """The same as it came."""

        return self._runner.run(self._octets(query, client, tell))

    async def _octets(
        self, query: dns.message.Message, client: str, tell: Callable[[str], None] | None = None
    ) -> bytes:
        answer, parsed, number = self.resolver.at_once(query.to_wire(), client)
        if answer is None:
            assert parsed is not None
            answer = await self.resolver.resolve(parsed, number, tell)
        return answer

    def together(self, queries: list[dns.message.Message]) -> list[dns.message.Message]:
        """What queries are answered that come at the same time."""

        async def all_of() -> list[bytes]:
            return await asyncio.gather(*(self._octets(query, CLIENT4) for query in queries))

        return [dns.message.from_wire(octets) for octets in self._runner.run(all_of())]

    def at_once(self, query: dns.message.Message) -> tuple[bytes | None, Message | None, int]:
        """The first half of a query's way."""

        async def begun() -> tuple[bytes | None, Message | None, int]:
            return self.resolver.at_once(query.to_wire(), CLIENT4)

        return self._runner.run(begun())

    def resolve(self, query: Message, number: int) -> dns.message.Message:
        """The second half."""
        return dns.message.from_wire(self._runner.run(self.resolver.resolve(query, number)))

    def addresses(self, type_: str = "AAAA", name: str = WWW, client: str = CLIENT4) -> list[str]:
        """The addresses that a plain query gets."""
        return addresses(self.ask(query(type_, name), client))

    def asked(self) -> list[tuple[str, str]]:
        """What the server was asked since the last time."""
        asked, self.zone.asked = sorted(self.zone.asked), []
        return asked

    def count(self, how: str) -> int:
        """How many queries ended so."""
        return self.resolver.counters.counts.get(how, 0)


@contextmanager
def gateway(
    table: dict[tuple[str, str], object], *policies: Policy, maps: Maps | None = None, dns46: bool = False
) -> Iterator[Gateway]:
    """A gateway of these policies (none: an ordinary one) before a server that says what the table says."""
    with asyncio.Runner() as runner:
        zone = Zone(dict(table))
        port, end = runner.run(serve(zone))
        upstreams = Upstreams([Server(ADDRESS, port)])
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


def query(type_: str = "AAAA", name: str = WWW, flags: int = 0, **options: object) -> dns.message.Message:
    """As dnspython makes it; with more header bits."""
    made = dns.message.make_query(name, type_, **options)  # type: ignore[arg-type]
    made.flags |= flags
    return made


def addresses(answer: dns.message.Message) -> list[str]:
    """Those of the answer section."""
    return sorted(item.address for rrset in answer.answer for item in rrset if hasattr(item, "address"))


def errors(answer: dns.message.Message) -> list[int]:
    """The codes of its Extended DNS Errors."""
    return [int(option.code) for option in answer.options if option.otype == 15]  # type: ignore[attr-defined]


def silent(_octets: bytes, _tcp: bool) -> list[bytes]:
    """What a server says that says nothing."""
    return []
