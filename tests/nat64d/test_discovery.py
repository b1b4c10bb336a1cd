"""RFC 7050: what prefix an answer means, what is done without one, when it is asked for again; without a network."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import dns.asyncresolver
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from nat64d import daemon
from nat64d.config import loads
from nat64d.discovery import (
    NAME,
    WELL_KNOWN,
    Answer,
    DiscoveryError,
    Found,
    ask,
    ask_resolver,
    change_of,
    discover,
    prefixes_in,
)
from nat64d.live import Live
from translator.static.rfc6052 import LENGTHS, OCTETS

WKP, OTHER = IPv6Network("64:ff9b::/96"), IPv6Network("2001:db8:122:344::/64")


def embedded(prefix: str | IPv6Network, *addresses: str | IPv4Address) -> list[IPv6Address]:
    """The addresses a DNS64 makes of IPv4 ones, those of the well-known name unless told."""
    network = IPv6Network(prefix)
    made = []
    for address in map(IPv4Address, addresses or WELL_KNOWN):
        octets = bytearray(network[0].packed)
        for at, octet in zip(OCTETS[LENGTHS.index(network.prefixlen)], address.packed, strict=True):
            octets[at] = octet
        made.append(IPv6Address(bytes(octets)))
    return made


@pytest.mark.parametrize(
    "prefix",
    [
        *("2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56"),
        *("2001:db8:122:344::/64", "2001:db8:122:344::/96", "64:ff9b::/96"),
    ],
)
@pytest.mark.parametrize("which", [WELL_KNOWN, WELL_KNOWN[:1], WELL_KNOWN[1:]], ids=["both", "170", "171"])
def test_rfc7050_3_the_prefix_is_what_stands_around_the_well_known_address(prefix, which):
    assert prefixes_in(embedded(prefix, *which)) == (IPv6Network(prefix),)


def test_rfc7050_3_several_prefixes_in_the_order_of_the_answer():
    assert prefixes_in(embedded(OTHER) + embedded(WKP)) == (OTHER, WKP)
    assert prefixes_in(embedded(WKP) + embedded(OTHER)) == (WKP, OTHER)


@pytest.mark.parametrize("prefix", ["2001:db8:c000:aa::/96", "2001:db8:c000:ab::/96", "2001:dbc:0:aac0:0:ab::/96"])
def test_rfc7050_3_a_prefix_that_holds_one_of_the_addresses_itself(prefix):
    assert prefixes_in(embedded(prefix)) == (IPv6Network(prefix),)


def test_rfc7050_3_an_address_that_leaves_a_choice_says_nothing():
    assert prefixes_in(embedded("2001:db8:c000:aa::/96", WELL_KNOWN[0])) == ()


@pytest.mark.parametrize(
    "address",
    [
        *("2001:db8::c000:a9", "2001:db8::1", "2001:db8::c000:aa00", "2001:db8:aa:c000::"),
        "2001:db8:0:0:100::c000:aa",  # bits 64 to 71 of a prefix are zero (RFC 6052 section 2.2)
        "::ffff:192.0.0.170",
        "fe80::192.0.0.170",
    ],
)
def test_rfc7050_3_what_is_no_prefix(address):
    assert prefixes_in([IPv6Address(address)]) == ()


class Network:
    """A resolver that gives these answers one after the other, and a clock that only notes how long was waited."""

    def __init__(self, *answers: Answer | str) -> None:
        self.answers = list(answers)
        self.slept: list[float] = []
        self.said: list[str] = []

    async def resolve(self) -> Answer:
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            raise DiscoveryError(answer)
        return answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def answer(*prefixes: IPv6Network, ttl: int = 300) -> Answer:
    return Answer(tuple(address for prefix in prefixes for address in embedded(prefix)), ttl)


NO_DNS64 = Answer((), 0)


def test_rfc7050_3_without_an_answer_it_is_asked_again_ever_more_slowly():
    network = Network("no answer", NO_DNS64, *["no answer"] * 6, Answer((IPv6Address("2001:db8::1"),), 9), answer(WKP))
    found = asyncio.run(discover(network.resolve, network.said.append, network.sleep))
    assert found == Found((WKP,), 300)
    assert network.slept == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    waiting = "waiting for the prefix of the provider's NAT64: "
    assert network.said[:2] + network.said[-1:] == [
        f"{waiting}no answer",
        f"{waiting}the resolver knows no IPv6 address of ipv4only.arpa., so it does no DNS64",
        f"{waiting}no NAT64 prefix in 2001:db8::1, the addresses of ipv4only.arpa.",
    ]


@pytest.mark.parametrize(("ttl", "kept"), [(0, 60), (59, 60), (61, 61), (86400, 86400), (2**31 - 1, 86400)])
def test_rfc7050_3_an_answer_is_good_for_its_ttl_within_reason(ttl, kept):
    assert asyncio.run(ask(Network(answer(WKP, ttl=ttl)).resolve)) == Found((WKP,), kept)


def test_rfc7050_3_the_prefix_is_asked_for_again_when_the_ttl_is_over():
    network = Network(answer(WKP, ttl=100), "no answer", answer(OTHER, WKP, ttl=200), NO_DNS64, answer(OTHER))
    other = asyncio.run(change_of(WKP, 300, network.resolve, network.said.append, network.sleep))
    assert other == OTHER
    assert network.slept == [300, 100, 1, 200, 1], "no answer is no change, nor is a second prefix beside ours"
    assert network.answers == []


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
    if "rcode" in records:
        response.set_rcode(dns.rcode.from_text(records["rcode"][0]))
    elif records["AAAA"]:
        response.answer.append(dns.rrset.from_text(query.question[0].name, 77, "IN", "AAAA", *records["AAAA"]))
    return response


def test_rfc7050_3_the_question_asks_for_synthesis(queries):
    records.clear()
    records["AAAA"] = [str(address) for address in embedded(WKP)]
    addresses, ttl = asyncio.run(ask_resolver())
    assert (sorted(addresses), ttl) == (embedded(WKP), 77)
    (query,) = queries
    assert query.question[0].to_text() == f"{NAME} IN AAAA"
    assert not query.flags & dns.flags.CD
    assert query.flags & dns.flags.RD


@pytest.mark.parametrize("told", [{"AAAA": []}, {"rcode": ["NXDOMAIN"]}], ids=["no_data", "nxdomain"])
def test_rfc7050_3_no_address_means_no_dns64(queries, told):
    records.clear()
    records.update(told)
    assert asyncio.run(ask_resolver()) == NO_DNS64


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
def test_a_resolver_that_fails_is_a_sentence(queries, rcode):
    records.clear()
    records["rcode"] = [rcode]
    with pytest.raises(DiscoveryError, match=rf"no answer about ipv4only\.arpa\. .*{rcode}"):
        asyncio.run(ask_resolver())


def test_a_host_without_resolver_is_a_sentence(monkeypatch):
    def unconfigured() -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.asyncresolver, "Resolver", unconfigured)
    with pytest.raises(DiscoveryError, match=r"no answer about ipv4only\.arpa\."):
        asyncio.run(ask_resolver())


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
    return await daemon._find_plat(live, notes, stopping) is not None


def test_the_daemon_says_what_it_waits_for_and_takes_the_first_prefix(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr("nat64d.discovery.FIRST_PAUSE", 0)
    monkeypatch.setattr(daemon, "ask_resolver", Network("no answer", answer(OTHER, WKP)).resolve)
    live, notes = Live(loads(CLAT)), Notes()
    assert asyncio.run(find(live, notes))
    assert live.config.pool6 == OTHER
    assert notes.lines == [
        "STATUS=waiting for the prefix of the provider's NAT64: no answer",
        "EXTEND_TIMEOUT_USEC=120000000",
    ]
    said = [record.getMessage() for record in caplog.records]
    assert said[-2:] == [f"prefix of the provider's NAT64: {OTHER}, for 300 s", f"not used: {WKP}"]


def test_the_daemon_asks_nobody_for_a_prefix_it_was_given(monkeypatch):
    monkeypatch.setattr(daemon, "ask_resolver", Network().resolve)
    live, notes = Live(loads(f'{CLAT}plat = "{WKP}"\n')), Notes()
    assert not asyncio.run(find(live, notes))
    assert (live.config.pool6, notes.lines) == (WKP, [])


def test_the_daemon_can_be_stopped_while_it_waits(monkeypatch):
    monkeypatch.setattr(daemon, "ask_resolver", Network("no answer").resolve)
    live = Live(loads(CLAT))
    assert not asyncio.run(find(live, Notes(), stopped=True))
    assert live.config.pool6 is None


def test_an_address_inside_the_prefix_is_refused(monkeypatch):
    monkeypatch.setattr(daemon, "ask_resolver", Network(answer(OTHER)).resolve)
    live = Live(loads(CLAT.replace("2001:db8:1::464", str(embedded(OTHER, "192.0.2.1")[0]))))
    with pytest.raises(DiscoveryError, match=f"is in the prefix of the provider's NAT64, {OTHER}"):
        asyncio.run(find(live, Notes()))


def test_another_prefix_ends_the_daemon_so_that_it_is_started_anew():
    async def watch() -> str | None:
        change = asyncio.get_running_loop().create_future()
        change.set_result(OTHER)
        return await daemon._watch(Live(loads(CLAT)), asyncio.Event(), change)

    sentence = f"the prefix of the provider's NAT64 is {OTHER} now: to be started anew with it"
    assert asyncio.run(watch()) == sentence
