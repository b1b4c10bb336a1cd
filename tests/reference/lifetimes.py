"""TCP conversations whose pauses are around the lifetimes of RFC 6146 4 and RFC 7857 2.1, as configured in TIMEOUTS.

With ONE_PORT, SYNs that wait at the one transport address there is, longer than the session of the other side lives.
"""

from collections.abc import Callable
from ipaddress import IPv4Address
from random import Random

from tests.reference import packets as make
from tests.reference.reading import TCP
from tests.reference.tcp import ACK, FIN, RST, SYN
from tests.reference.traffic import turn
from tests.reference.world import World

TIMEOUTS = """
        timeouts = { tcp_opening = 30, tcp_closing = 300, tcp_transitory = 270 }
"""
ONE_PORT = """
        pool6 = "64:ff9b::/96"
        pool4 = [{ addresses = "192.0.2.1", ports = "5000" }]
        timeouts = { tcp_opening = 6, tcp_incoming_syn = 20 }
"""
MAPPED4 = IPv4Address("192.0.2.1"), 5000
Send = Callable[[float, bytes], None]
AROUND = tuple(seconds + 0.013 for seconds in (0, 0, 28, 32, 268, 272, 298, 302))
LONG = tuple(seconds + 0.013 for seconds in (3600, 3600, 238, 242, 7438))
MEETING = tuple(seconds + 0.013 for seconds in (0, 0, 1, 3, 5, 7, 11, 19, 21))
FLAGS = (SYN, SYN | ACK, ACK, FIN | ACK, FIN, RST, RST | ACK)


def short(rng: Random, world: World, send: Send) -> None:
    """A connection that opens, closes, or is reset: RFC 7857 2.1."""
    opened(rng, world, send)
    for _ in range(rng.randint(1, 6)):
        send(rng.choice(AROUND), turn(rng, world, rng.random() < 0.5, rng.choice(FLAGS)))


def half_closed(rng: Random, world: World, send: Send) -> None:
    """A connection of which one side has sent its FIN, and then one of them speaks or resets it: RFC 7857 7.1."""
    send(0.013, turn(rng, world, True, SYN))
    send(0.013, turn(rng, world, False, SYN | ACK))
    send(0.013, turn(rng, world, rng.random() < 0.5, FIN | ACK))
    for _ in range(rng.randint(2, 5)):
        send(rng.choice(LONG), turn(rng, world, rng.random() < 0.5, rng.choice((RST, RST | ACK, ACK))))


def opened(rng: Random, world: World, send: Send) -> None:
    """SYN from IPv6; mostly answered."""
    send(0.013, turn(rng, world, True, SYN))
    if rng.random() < 0.7:
        send(rng.choice(AROUND), turn(rng, world, False, SYN | ACK))


def met(rng: Random, world: World, send: Send) -> None:
    """SYNs from both sides, some of them of one connection: RFC 5382 REQ-4."""
    for _ in range(rng.randint(2, 8)):
        host6, host4, port = rng.choice(world.hosts6), rng.choice(world.hosts4), rng.choice((53, 80))
        if rng.random() < 0.5:
            packet = make.ipv4(host4, MAPPED4[0], TCP, make.tcp(port, MAPPED4[1], rng.choice((SYN, SYN, SYN | ACK))))
        else:
            packet = make.ipv6(host6, world.seen_from_ipv6(host4), TCP, make.tcp(5000, port, SYN))
        send(rng.choice(MEETING), packet)
