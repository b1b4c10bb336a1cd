"""IPv6 clients of services, and the oracle of tests/reference/front6.py, side by side, octet for octet."""

from ipaddress import IPv6Address
from random import Random

import pytest

from nat64d.config.load import loads
from nat64d.offline.engine import Engine
from tests.reference import packets as make
from tests.reference.front6 import Both, Front6, ends_of
from tests.reference.reading import DESTINATION_OPTIONS, HOP_BY_HOP, ICMPV6, TCP, UDP, read

pytestmark = pytest.mark.no_cover  # much computing, of code that others measure

CLIENTS = [IPv6Address(f"2001:db8:9::{n}") for n in (1, 2, 3)]
VIPS = [IPv6Address("2001:db8:ff::1"), IPv6Address("2001:db8:ff::2")]
HOSTS = [IPv6Address(f"2001:db8:5::{n}") for n in (1, 2, 3)]
ROUTER, OTHER = IPv6Address("2001:db8:7::1"), IPv6Address("2001:db8:8::8")
WAYS = {"dnat": 'ipv6_front = "dnat"', "fullnat": 'ipv6_front = "fullnat", source6 = "fd00:64::/64"'}
CONFIG = """
pool6 = "64:ff9b::/96"
services = {{ {way} }}
service = [
    {{ name = "web", ipv4 = "192.0.2.1:80", ipv6 = "[2001:db8:ff::1]:80", endpoints = [
        "[2001:db8:5::1]:8080", "[2001:db8:5::2]:8080", {{ address = "[2001:db8:5::3]:8080", weight = 0 }},
    ] }},
    {{ name = "again", ipv6 = "[2001:db8:ff::2]:80", protocol = ["tcp", "udp"], endpoints = [
        "[2001:db8:5::1]:8080", "[2001:db8:5::2]:8080",
    ] }},
    {{ name = "weighted", protocol = "udp", ipv6 = "[2001:db8:ff::1]:53", endpoints = [
        {{ address = "[2001:db8:5::1]:53", weight = 3 }}, {{ address = "[2001:db8:5::2]:53", weight = 2 }},
    ] }},
    {{ name = "some", ipv6 = "[2001:db8:ff::1]:22", affinity = "client", sources = ["2001:db8:9::2/127"], endpoints = [
        "[2001:db8:5::1]:22", "[2001:db8:5::3]:22",
    ] }},
    {{ name = "nobody", ipv6 = "[2001:db8:ff::2]:22", endpoints = [] }},
]
translation = {{ clamp_mss = false }}
limits = {{ sessions = 4096, icmp_errors_per_second = 1000000 }}
"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(2, 6))
def test_every_history_of_ipv6_clients_ends_as_the_page_says(way: str, seed: int) -> None:
    rng, config = Random(seed), loads(CONFIG.format(way=WAYS[way]))
    both, left = Both(Engine(config, bytes(16)), Front6(config)), list[bytes]()
    seen = set()
    for _ in range(150):
        for packet in some(rng, left):
            outcome = both.send(packet)
            seen.add(outcome.verdict.name)
            left += outcome.packets if outcome.verdict.name == "HAIRPINNED" else []
    common = {"HAIRPINNED", "ECHOED", "CLOSED_PORT", "NO_ENDPOINT", "HOP_LIMIT_EXPIRED", "ROUTING_HEADER"}
    assert seen >= common | ({"PASSED"} if way == "dnat" else {"NO_SESSION"})


def some(rng: Random, left: list[bytes]) -> list[bytes]:
    """A packet of a client, an answer to one that has left, an error about one, something else; at times in parts."""
    kind = rng.choice((of_client, of_client, of_client, answer, answer, answer, about, about, foreign, ping))
    packet = kind(rng, left)
    plain = packet[6] in (TCP, UDP) and len(packet) > 64
    if plain and rng.randrange(6) == 0:
        return make.fragments6(packet, 24, rng.randrange(1 << 32))
    return [packet]


def fields(rng: Random) -> dict[str, object]:
    chain = []
    if rng.randrange(5) == 0:
        chain = [make.options_header(HOP_BY_HOP, 16), make.options_header(DESTINATION_OPTIONS, 8)]
    if rng.randrange(12) == 0:
        chain.append(make.routing_header(rng.choice((0, 1))))
    if rng.randrange(8) == 0:
        chain.append(make.fragment_header(0, False, 7))
    hop_limit = rng.choice((64, 64, 64, 64, 64, 255, 2, 1))
    return {
        "hop_limit": hop_limit,
        "traffic_class": rng.choice((0, 0x28)),
        "flow_label": 77,
        "extensions": tuple(chain),
    }


def segment(rng: Random, source: int, destination: int, answers: bool = False) -> tuple[int, bytes]:
    data = bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 7, 40))))
    if rng.randrange(2):
        return UDP, make.udp(source, destination, data)
    flags = rng.choice((0x12, 0x10, 0x11, 0x04)) if answers else rng.choice((0x02, 0x02, 0x10, 0x18, 0x12, 0x04))
    return TCP, make.tcp(source, destination, flags, data)


def of_client(rng: Random, _: list[bytes]) -> bytes:
    source = rng.choice((*CLIENTS * 4, VIPS[0], IPv6Address("64:ff9b::808:808")))
    protocol, payload = segment(rng, rng.choice((7, 8, 9)), rng.choice((80, 80, 53, 22, 22, 81)))
    covered = rng.randrange(8) != 0 or protocol == TCP
    return make.ipv6(source, rng.choice(VIPS), protocol, payload, covered=covered, **fields(rng))  # type: ignore[arg-type]


def ping(rng: Random, _: list[bytes]) -> bytes:
    message = make.echo(rng.choice((128, 128, 129, 133)), 5, bytes(rng.randrange(30)))
    return make.ipv6(rng.choice(CLIENTS), rng.choice(VIPS), ICMPV6, message, **fields(rng))  # type: ignore[arg-type]


def answer(rng: Random, left: list[bytes]) -> bytes:
    """Of who got a packet, to who is seen as its sender: an endpoint's, and a client's."""
    got = [packet for packet in map(read, left[-40:]) if packet.is_first and packet.protocol in (TCP, UDP)]
    if not got:
        return of_client(rng, left)
    (source, port), (destination, peer) = ends_of(rng.choice(got))
    protocol, payload = segment(rng, peer, port, answers=True)
    return make.ipv6(destination, source, protocol, payload, **fields(rng))  # type: ignore[arg-type]


def about(rng: Random, left: list[bytes]) -> bytes:
    """An error about a packet that has left, to its sender, or to somebody else."""
    got = [packet for packet in left[-40:] if read(packet).is_first and read(packet).protocol in (TCP, UDP)]
    if not got:
        return ping(rng, left)
    octets = rng.choice(got)
    quoted = read(octets)
    source = rng.choice((ROUTER, ROUTER, quoted.destination))
    target = rng.choice((quoted.source,) * 6 + (VIPS[1],))
    kind, code = rng.choice(((1, 0), (1, 4), (1, 6), (2, 0), (3, 0), (4, 1), (4, 2)))
    word = rng.choice((bytes(4), (1300).to_bytes(4)))
    chain = {"hop_limit": rng.choice((64, 1)), "traffic_class": 0}
    return make.ipv6(source, target, ICMPV6, make.error(kind, code, octets, word), **chain)  # type: ignore[arg-type]


def foreign(rng: Random, _: list[bytes]) -> bytes:
    """What endpoints say to others than clients."""
    protocol, payload = segment(rng, rng.choice((8080, 53, 22, 99)), rng.choice((7, 8)), answers=True)
    target = rng.choice((OTHER, CLIENTS[0], IPv6Address("fd00:64::77")))
    return make.ipv6(rng.choice(HOSTS), target, protocol, payload, **fields(rng))  # type: ignore[arg-type]
