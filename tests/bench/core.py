"""Nanoseconds a packet of the translator core: a compiled loop over `pipeline.receive`, no TUN, no Python in between.

A million sessions are opened first. Packets are laid into a batch of slots as a worker's reads would, then translated;
only the translation is timed. A measurement in which one packet was not translated is an error.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import NamedTuple

import numpy as np
from numba import types
from rich.console import Console

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.config.words import words
from tests.bench import report
from tests.bench.decks import ACK, SYN, Deck, from_host4, from_host6, unreachable
from tests.bench.paths import CLIENT6, NAT64D_POOL6
from translator.jit.compile import jit
from translator.packet.fields import TCP, UDP, copy
from translator.packet.virtio import VNET_HEADER
from translator.pipeline import receive
from translator.tables.gateway import HEADROOM, SLOT, Gateway, new_worker
from translator.tables.layout import SESSION
from translator.verdict import Verdict

SESSIONS = 1_000_000
ACTIVE = 1000  # TCP sessions, and UDP sessions of the busy measures
PLAYED = 200_000  # packets a round
NEW = 50_000  # sessions opened a round
ROUNDS = 5
BATCH = 64
PER_HOST = 16  # sessions of one host6
NOW = 1_000_000  # ms; stands still, so nothing expires
THREAD = 3  # CLOCK_THREAD_CPUTIME_ID: a busy machine takes turns

CONFIG = """\
pool6 = "{pool6}"
strict_well_known_prefix = false
pool4 = [{{ addresses = "{pool}" }}]
limits = {{ sessions = {sessions} }}
"""

POOL = "198.51.100.0/27"

_clock_gettime = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.intp))


class Bed(NamedTuple):
    """What every measurement works on."""

    gateway: Gateway
    slots: np.ndarray  # uint8[BATCH, SLOT]


@jit()
def nanoseconds(clock: np.ndarray) -> int:
    """Of CPU of this thread; `clock` is int64[2] of scratch."""
    _clock_gettime(THREAD, clock.ctypes.data)
    return clock[0] * 1_000_000_000 + clock[1]


@jit()
def play(
    clock: np.ndarray,
    gateway: Gateway,
    slots: np.ndarray,
    octets: np.ndarray,
    length: int,
    order: np.ndarray,
) -> int:
    """Translate the packets octets[order], batch by batch; the nanoseconds of that alone. `clock` is int64[2]."""
    spent = 0
    for first in range(0, len(order), BATCH):
        size = min(BATCH, len(order) - first)
        for k in range(size):
            copy(slots[k], HEADROOM - VNET_HEADER, octets[order[first + k]], 0, octets.shape[1])
        start = nanoseconds(clock)
        for k in range(size):
            receive(gateway, NOW, slots[k], HEADROOM, HEADROOM + length)
        spent += nanoseconds(clock) - start
    return spent


def measure(bed: Bed, deck: Deck, order: np.ndarray, verdict: Verdict = Verdict.TRANSLATED) -> float:
    """Nanoseconds a packet. RuntimeError when a packet met another verdict than this one."""
    before = bed.gateway.worker.counters.copy()
    spent: int = play(np.zeros(2, np.int64), *bed, deck.octets, deck.length, order)
    counted = (bed.gateway.worker.counters - before).sum(axis=0)
    if counted[verdict] != len(order):
        ends = ", ".join(f"{counted[other]} {other.name}" for other in Verdict if counted[other])
        raise RuntimeError(f"{len(order)} packets should have been {verdict.name}: {ends}")
    return spent / len(order)


def strangers(count: int, first_port: int) -> np.ndarray:
    """Sessions that could be: PER_HOST of each IPv6 host, from `first_port` on, to some hundred IPv4 servers."""
    rows, number = np.zeros(count, SESSION), np.arange(count)
    hi, lo = words(CLIENT6)
    rows["host6_hi"], rows["host6_lo"] = hi + number // PER_HOST, lo  # each host of another subscriber
    rows["host6_port"] = first_port + number % PER_HOST
    rows["host4"], rows["host4_port"] = 0xCB007101 + number % 199, 53
    return rows


def written(sessions: int, pool: str = POOL) -> str:
    """A configuration with room for so many sessions."""
    return CONFIG.format(pool6=NAT64D_POOL6, sessions=sessions, pool=pool)


def lay(new: int, sessions: int = SESSIONS, pool: str = POOL) -> Bed:
    """Empty tables with room for `sessions` and `new` more, and as much again: nobody comes near his share."""
    config = loads(written(2 * (sessions + new), pool), "bench")
    settings = settings_of(config, bytes(range(16)))
    return Bed(Gateway(settings, tables_of(config, settings), new_worker(0)), np.zeros((BATCH, SLOT), np.uint8))


def open_sessions(bed: Bed, sessions: int = SESSIONS) -> tuple[np.ndarray, np.ndarray]:
    """So many sessions, opened by packets: the UDP ones and the established TCP ones."""
    udp, tcp = sessions - ACTIVE, strangers(ACTIVE, 2000)
    measure(bed, from_host6(strangers(udp, 1024), UDP), np.arange(udp))
    measure(bed, from_host6(tcp, TCP, SYN), np.arange(ACTIVE))
    opened = bed.gateway.tables.sessions[udp:sessions]
    measure(bed, from_host4(opened, TCP, SYN | ACK), np.arange(ACTIVE))
    return bed.gateway.tables.sessions[:udp], opened


def answer_all(bed: Bed, udp: np.ndarray, rng: np.random.Generator) -> float:
    """The first answer to each of these sessions, in random order: from then on they are as those of flows that go on.
    Nanoseconds a packet."""
    return measure(bed, from_host4(udp, UDP), rng.permutation(len(udp)))


Hand = tuple[Deck, np.ndarray]  # packets, and the order they come in
Deal = Callable[[np.random.Generator], Hand]


def busy(deck: Deck, rng: np.random.Generator) -> Hand:
    """The same few sessions in random order, as a busy gateway's caches see them."""
    return deck, rng.integers(len(deck.octets), size=PLAYED)


def uniform(build: Callable[[np.ndarray], Deck], rows: np.ndarray, rng: np.random.Generator) -> Hand:
    """Any session, none twice: no cache helps."""
    return build(rows[rng.choice(len(rows), PLAYED, replace=False)]), np.arange(PLAYED)


def newcomers(ports: Iterator[int], _: np.random.Generator) -> Hand:
    """Sessions not seen before, of known hosts."""
    return from_host6(strangers(NEW, next(ports)), UDP), np.arange(NEW)


def deals(udp: np.ndarray, tcp: np.ndarray, rng: np.random.Generator) -> dict[str, Deal]:
    """What is measured, by name."""
    few = udp[rng.choice(len(udp), ACTIVE, replace=False)]
    udp6, udp4 = partial(from_host6, protocol=UDP), partial(from_host4, protocol=UDP)
    return {
        "UDP, 64 octets, 6to4, 1000 active": partial(busy, udp6(few)),
        "UDP, 64 octets, 4to6, 1000 active": partial(busy, udp4(few)),
        "UDP, 64 octets, 6to4, uniform": partial(uniform, udp6, udp),
        "UDP, 64 octets, 4to6, uniform": partial(uniform, udp4, udp),
        "TCP, 64 octets, 6to4, 1000 active": partial(busy, from_host6(tcp, TCP)),
        "TCP, 64 octets, 4to6, 1000 active": partial(busy, from_host4(tcp, TCP)),
        "TCP, 64 KiB super-frame, 6to4": partial(busy, from_host6(tcp, TCP, superframe=True)),
        "ICMP error, 4to6, 1000 active": partial(busy, unreachable(few)),
        "UDP, 64 octets, 6to4, new session": partial(newcomers, count(10_000, PER_HOST)),
    }


def run(say: Callable[[str], None], rounds: int = ROUNDS) -> list[report.Figure]:
    """Every measurement, rounds alternating, after one that is not counted. `say` is told what is being done."""
    say(f"core: compiling, and opening {SESSIONS:,} sessions")
    rng = np.random.default_rng(64)
    bed = lay(NEW * (rounds + 1))
    udp, tcp = open_sessions(bed)
    answer_all(bed, udp, rng)
    measures = deals(udp, tcp, rng)
    spent: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, deal in measures.items():
            say(f"core: round {number} of {rounds}: {name}")
            took = measure(bed, *deal(rng))
            if number:
                spent[name].append(took)
    return [report.figure(name, took) for name, took in spent.items()]


def main() -> None:
    """`python -m tests.bench.core`."""
    with Console(stderr=True).status("core") as status:
        figures = run(status.update)
    Console().print(report.sentence(report.host()), report.screen(report.CORE, *report.core_cells(figures)))


if __name__ == "__main__":
    main()
