"""RFC 7050: which prefix an answer means, when the question is repeated, and what happens without an answer; without a
network."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from nat64d.config.load import loads
from nat64d.gateway import announced
from nat64d.gateway import run as daemon
from nat64d.gateway.clat_prefix import (
    Addresses,
    DiscoveryError,
    Found,
    ask,
    change_of,
    discover,
)
from nat64d.gateway.host_resolver import HostResolver
from nat64d.gateway.reload import Reload
from nat64d.gateway.state import Live
from nat64d.offline.engine import Engine
from tests.reference import addresses as reference

NAME, WELL_KNOWN = "ipv4only.arpa.", (IPv4Address("192.0.0.170"), IPv4Address("192.0.0.171"))
ODD = IPv6Address("2001:db8::1")
WKP, OTHER = IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8:122:344::/64")
THIRD = IPv6Network("2001:db8:43::/96")


def embedded(prefix: str | IPv6Network, *addresses: str | IPv4Address) -> list[IPv6Address]:
    """The addresses a DNS64 makes of IPv4 ones, those of the well-known name unless told."""
    return [reference.embed(IPv6Network(prefix), IPv4Address(address)) for address in addresses or WELL_KNOWN]


PREFIXES = [
    *("2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56", "2001:db8:122:344::/64"),
]


class Network:
    """A resolver that gives these answers one after the other, and a clock that only notes how long was waited."""

    def __init__(self, *answers: Addresses | str) -> None:
        self.answers = list(answers)
        self.waited = [0.0]  # seconds before each question
        self.said: list[str] = []
        self.other_network_after = float("inf")  # seconds of waiting
        self.announcements: dict[float, Found | None] = {}  # by the seconds of waiting from which on they hold

    def close(self) -> None:
        """Nothing to close."""

    async def announced(self) -> Found | None:
        return next((found for when, found in [*self.announcements.items()][::-1] if sum(self.waited) >= when), None)

    async def ask(self) -> Addresses:
        self.waited.append(0)
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise DiscoveryError(answer)
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waited[-1] += seconds

    def servers(self) -> list[str]:
        return ["::1" if sum(self.waited) < self.other_network_after else "::2"]

    def change(self, ttl: int) -> IPv6Network:
        """The prefix that takes the place of WKP, which holds for so many seconds."""
        return asyncio.run(change_of(WKP, ttl, self, self.said.append, self.sleep)).prefixes[0]

    def found(self) -> Found:
        """The first prefix there is."""
        return asyncio.run(discover(self, self.said.append, self.sleep))


def answer(*prefixes: IPv6Network, ttl: int = 300) -> Addresses:
    return Addresses(tuple(address for prefix in prefixes for address in embedded(prefix)), ttl)


NO_DNS64 = Addresses((), 0)


def test_rfc7050_3_without_an_answer_it_is_asked_again_ever_more_slowly():
    network = Network("no answer", NO_DNS64, *["no answer"] * 6, Addresses((ODD,), 9), answer(WKP))
    assert network.found() == Found((WKP,), 300)
    assert network.waited[:-1] == [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    waiting = "waiting for the prefix of the provider's NAT64: "
    assert network.said[:2] + network.said[-1:] == [
        f"{waiting}no answer; asking again in 1 s",
        f"{waiting}the resolver knows no IPv6 address of ipv4only.arpa., so it is no DNS64; asking again in 2 s",
        f"{waiting}no NAT64 prefix in 2001:db8::1, the addresses of ipv4only.arpa.; asking again in 60 s",
    ]


@pytest.mark.parametrize("useless", [(), (ODD,)], ids=["negative", "no_prefix"])
@pytest.mark.parametrize(("ttl", "waited"), [(900, 900), (86400, 86400), (2**31, 86400), (0, 1)])
def test_rfc7050_3_the_ttl_of_a_negative_answer_is_obeyed(useless, ttl, waited):
    network = Network(Addresses(useless, ttl), answer(WKP))
    assert network.found() == Found((WKP,), 300)
    assert network.waited[:-1] == [0, waited]


@pytest.mark.parametrize(("ttl", "kept"), [(0, 0), (59, 59), (86400, 86400), (2**31 - 1, 86400)])
def test_rfc7050_3_an_answer_holds_for_its_ttl_and_a_day_at_most(ttl, kept):
    assert asyncio.run(ask(Network(answer(WKP, ttl=ttl)))) == Found((WKP,), kept)


@pytest.mark.parametrize(("ttl", "waited"), [(0, 10), (15, 10), (21, 11), (300, 290), (86400, 86390)])
def test_rfc7050_3_the_question_is_repeated_ten_seconds_before_the_ttl_ends(ttl, waited):
    network = Network(answer(OTHER))
    assert network.change(ttl) == OTHER
    assert network.waited[:-1] == [waited]


def test_rfc7050_3_no_answer_is_no_change_nor_is_another_prefix_beside_ours():
    network = Network(answer(WKP, ttl=100), "no answer", answer(OTHER, WKP, ttl=200), NO_DNS64, answer(OTHER, THIRD))
    assert network.change(300) == OTHER
    assert network.waited[:-1] == [290, 90, 1, 190, 1]
    assert network.answers == []


def test_in_another_network_no_ttl_is_waited_for():
    network = Network(Addresses((), 86400), answer(WKP))
    network.other_network_after = 25
    assert network.found() == Found((WKP,), 300)
    assert network.waited[:-1] == [0, 30]
    network = Network(answer(OTHER))
    network.other_network_after = 25
    assert network.change(86400) == OTHER
    assert network.waited[:-1] == [30]


# The resolver of the host


@pytest.fixture
def queries(monkeypatch) -> Iterator[list[dns.message.Message]]:
    """The queries that arrived at the host's resolver, which answers the name in `records`."""
    seen: list[dns.message.Message] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while True:
                octets, client = server.recvfrom(512)
                if octets == b"end":
                    return
                query = dns.message.from_wire(octets)
                seen.append(query)
                server.sendto(reply(query).to_wire(), client)

        def configured() -> dns.asyncresolver.Resolver:
            resolver = real(configure=False)
            resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
            return resolver

        real = dns.asyncresolver.Resolver
        monkeypatch.setattr(dns.asyncresolver, "Resolver", configured)
        thread = threading.Thread(target=serve)
        thread.start()
        yield seen
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"end", server.getsockname())
        thread.join()


records: dict[str, list[str]] = {}


def reply(query: dns.message.Message) -> dns.message.Message:
    response = dns.message.make_response(query)
    response.flags |= dns.flags.RA
    if records.get("SOA"):
        ttl, minimum = records["SOA"]
        soa = f"ns.arpa. admin.arpa. 1 1 1 1 {minimum}"
        response.authority.append(dns.rrset.from_text("arpa.", int(ttl), "IN", "SOA", soa))
    if "rcode" in records:
        response.set_rcode(dns.rcode.from_text(records["rcode"][0]))
    elif records["AAAA"]:
        response.answer.append(dns.rrset.from_text(query.question[0].name, 77, "IN", "AAAA", *records["AAAA"]))
    return response


def test_rfc7050_3_the_question_asks_for_synthesis(queries):
    records.clear()
    given = [*embedded(WKP), *embedded(OTHER), *embedded(THIRD)]
    records["AAAA"] = [str(address) for address in given]
    addresses, ttl = asyncio.run(HostResolver().ask())
    assert (sorted(addresses), ttl) == (sorted(given), 77)
    (query,) = queries
    assert query.question[0].to_text() == f"{NAME} IN AAAA"
    assert not query.flags & dns.flags.CD
    assert not query.ednsflags & dns.flags.DO  # RFC 8880 section 7.1: the answer is not validated
    assert query.flags & dns.flags.RD


@pytest.mark.parametrize("said", [{"AAAA": []}, {"rcode": ["NXDOMAIN"]}], ids=["no_data", "nxdomain"])
@pytest.mark.parametrize(("soa", "ttl"), [([], 0), (["120", "900"], 120), (["900", "120"], 120)])
def test_rfc7050_3_no_address_means_no_dns64_for_the_ttl_of_the_answer(queries, said, soa, ttl):
    records.clear()
    records.update(said | {"SOA": soa})
    assert asyncio.run(HostResolver().ask()) == Addresses((), ttl)


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_a_resolver_that_fails_is_a_sentence(queries, rcode):
    records.clear()
    records["rcode"] = [rcode]
    with pytest.raises(DiscoveryError, match=rf"no answer about ipv4only\.arpa\. .*{rcode}"):
        asyncio.run(HostResolver().ask())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (dns.resolver.NoResolverConfiguration, "/etc/resolv.conf names no server"),
        (ValueError, "/etc/resolv.conf has a line that cannot be understood"),
        (dns.resolver.LifetimeTimeout(timeout=1.0, errors=[]), "no server of /etc/resolv.conf answered within "),
    ],
)
def test_a_host_without_resolver_is_a_sentence(monkeypatch, error, reason):
    def unconfigured() -> None:
        raise error

    monkeypatch.setattr(dns.asyncresolver, "Resolver", unconfigured)
    with pytest.raises(DiscoveryError, match=rf"no answer about ipv4only\.arpa\. \({reason}"):
        asyncio.run(HostResolver().ask())
    assert HostResolver().servers() == ()


def test_the_name_servers_of_the_host_are_those_of_resolv_conf(monkeypatch, tmp_path):
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\nnameserver 2001:db8::53\n")
    real = dns.asyncresolver.Resolver
    monkeypatch.setattr(dns.asyncresolver, "Resolver", lambda: real(tmp_path / "resolv.conf"))
    assert HostResolver().servers() == ["192.0.2.53", "2001:db8::53"]


# The daemon


class Notes:
    """What systemd is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def notify(self, text: str) -> None:
        self.lines += text.splitlines()


CLAT = '[clat]\nipv6 = "2001:db8:1::464"\n'


async def find(live: Live, notes: Notes, stopped: bool = False) -> bool:
    """Let the daemon find the prefix; whether it looks for another one from then on."""
    stopping = asyncio.get_running_loop().create_future()
    if stopped:
        stopping.set_result(True)
    with ExitStack() as up:
        return await daemon._find_plat(live, reload_of(live), notes, stopping, up) is not None


def reload_of(live: Live) -> Reload:
    return Reload(live, None, lambda _: None, asyncio.Event())


def test_the_daemon_says_what_it_waits_for_and_takes_the_first_prefix(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("nat64d.gateway.clat_prefix.FIRST_PAUSE", 0)
    monkeypatch.setattr(announced, "HostSources", lambda _: Network("no answer", answer(OTHER, WKP)))
    live, notes = Live(loads(CLAT)), Notes()
    assert asyncio.run(asyncio.wait_for(find(live, notes), 20))
    assert live.config.pool6 == OTHER
    assert notes.lines == ["STATUS=discovering the provider's NAT64 prefix", "EXTEND_TIMEOUT_USEC=60000000"]
    assert live.state == "waiting for the prefix of the provider's NAT64: no answer; asking again in 0 s"
    said = [record.getMessage() for record in caplog.records]
    assert said[-2:] == [
        f"The provider's NAT64 prefix is {OTHER}, for 300 s, by ipv4only.arpa (RFC 7050)",
        f"The provider has more NAT64 prefixes, which are not used: {WKP}",
    ]


@pytest.mark.parametrize("prefix", [*PREFIXES, "2001:db8:122:344::/96", "64:ff9b::/96"])
def test_rfc7050_3_a_single_prefix_is_what_packets_are_sent_under(monkeypatch, prefix):
    monkeypatch.setattr(announced, "HostSources", lambda _: Network(answer(IPv6Network(prefix))))
    live = Live(loads(CLAT.replace("2001:db8:1::", "fd00:1::")))
    assert asyncio.run(asyncio.wait_for(find(live, Notes()), 20))
    assert live.config.pool6 == IPv6Network(prefix)
    sent = IP(src="192.0.0.1", dst="198.51.100.7") / UDP(sport=5000, dport=53)
    (packet,) = Engine(live.config).send(bytes(sent), 1).packets
    assert IPv6Address(IPv6(packet).dst) == embedded(prefix, "198.51.100.7")[0]


def test_the_daemon_asks_nobody_for_a_prefix_it_was_given(monkeypatch):
    monkeypatch.setattr(announced, "HostSources", lambda _: Network())
    live, notes = Live(loads(f'{CLAT}plat = "{WKP}"\n')), Notes()
    assert not asyncio.run(find(live, notes))
    assert (live.config.pool6, notes.lines) == (WKP, [])


def test_the_daemon_can_be_stopped_while_it_waits(monkeypatch):
    monkeypatch.setattr(announced, "HostSources", lambda _: Network("no answer"))
    live = Live(loads(CLAT))
    assert not asyncio.run(find(live, Notes(), stopped=True))
    assert live.config.pool6 is None


@pytest.mark.parametrize("clat6", [str(embedded(OTHER, "192.0.2.1")[0]), f"{OTHER}", "2001:db8:122:300::/56"])
def test_an_address_inside_the_prefix_is_refused(monkeypatch, clat6):
    """Or a network that has the prefix inside."""
    monkeypatch.setattr(announced, "HostSources", lambda _: Network(answer(OTHER)))
    live = Live(loads(CLAT.replace("2001:db8:1::464", clat6)))
    with pytest.raises(DiscoveryError, match=f"is inside the provider's NAT64 prefix {OTHER}: choose"):
        asyncio.run(find(live, Notes()))


@pytest.mark.parametrize(("clat6", "why"), [("fd00::1", "the gateway is"), ("2001:db8:122:344::9", "is inside")])
def test_another_prefix_that_cannot_be_used_leaves_the_one_there_was(caplog, clat6, why):
    """It does not fit this host, or [clat] ipv6 is inside of it."""

    async def use() -> bool:
        live = Live(loads(f'[clat]\nipv6 = "{clat6}"\nplat = "{WKP}"\n'))
        reload = reload_of(live)
        reload._begun.set()
        done = await reload.use_prefix(OTHER)
        assert live.config.pool6 == WKP
        return done

    assert not asyncio.run(use())
    assert all(each in caplog.text for each in (f"Still with the prefix {WKP}: ", why))
