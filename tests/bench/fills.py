"""Nanoseconds of a packet that asks for a new session where an attacker has taken what he can, and how many times those
of a gateway at rest: no packet may cost more than a bounded search.

As core.py measures: a compiled loop over `pipeline.receive`. Every packet comes from a host not seen before.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rich.console import Console

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.config.words import words
from tests.bench import report
from tests.bench.core import BATCH, Bed, measure
from tests.bench.decks import SYN, Deck, from_host4, from_host6
from tests.bench.paths import CLIENT6, NAT64D_POOL6
from tests.occupied import Wanted, even, everything, nothing, occupy
from translator.packet.fields import TCP, UDP
from translator.tables.gateway import SLOT, Gateway, new_worker
from translator.tables.layout import SESSION, SYNS
from translator.tables.tables import SESSIONS_OF_BLOCK
from translator.verdict import Verdict

NEW = 4000  # hosts a round
ROUNDS = 5
SERVER4, SERVER_PORT = 0xCB007101, 443
MAPPED4 = 0xC6120001  # 198.18.0.1
CONFIG = """\
pool6 = "{pool6}"
strict_well_known_prefix = false
pool4 = [{{ addresses = "{addresses}", ports = "1024-{last}" }}]
limits = {{ sessions = {sessions}, port_block = {block} }}
"""


class Fill(NamedTuple):
    """A pool, what of it is taken, and what becomes of a packet that asks for a port of it."""

    name: str
    addresses: str
    taken: Wanted
    protocol: int = UDP
    syns: int = 0  # that wait, from the server to which all connections go
    unanswered: int = (
        0  # the ports of the pool, if not all that there are: each has a mapping of a subscriber of its own
    )
    verdict: Verdict = Verdict.TRANSLATED
    block: int = 0  # ports; each host is a subscriber, so each gets a new block


FULL = Verdict.POOL4_EXHAUSTED
# The first of each protocol is the gateway at rest.
FILLS = (
    Fill("UDP, one address, at rest", "198.18.0.1", nothing),
    Fill("UDP, one address, even ports taken", "198.18.0.1", even),
    Fill("UDP, one address, full: refused", "198.18.0.1", everything, verdict=FULL),
    Fill("UDP, one address, nobody answered: displaced", "198.18.0.1", nothing, unanswered=4 * NEW),
    Fill("UDP, 31 addresses, even ports taken", "198.18.0.1-198.18.0.31", even),
    Fill("UDP, 31 addresses, full: refused", "198.18.0.1-198.18.0.31", everything, verdict=FULL),
    Fill("UDP, 4096 addresses", "198.18.0.0/20", nothing),
    Fill("UDP, 4096 addresses, even ports taken", "198.18.0.0/20", even),
    Fill("UDP, 4096 addresses, full: refused", "198.18.0.0/20", everything, verdict=FULL),
    Fill("UDP, 4096 addresses, a block of 512 each", "198.18.0.0/20", nothing, block=512),
    Fill("TCP, one address, at rest", "198.18.0.1", nothing, TCP),
    Fill(f"TCP, one address, {SYNS} SYNs of the server wait", "198.18.0.1", nothing, TCP, SYNS),
)


def lay(fill: Fill, sessions: int) -> Bed:
    """A gateway of which that much is taken."""
    last = 1023 + fill.unanswered if fill.unanswered else 65535
    room = (sessions + fill.unanswered) * (SESSIONS_OF_BLOCK if fill.block else 1)
    text = CONFIG.format(pool6=NAT64D_POOL6, addresses=fill.addresses, last=last, sessions=room, block=fill.block)
    config = loads(text, "bench")
    settings = settings_of(config, bytes(range(16)))
    bed = Bed(Gateway(settings, tables_of(config, settings), new_worker(0)), np.zeros((BATCH, SLOT), np.uint8))
    if fill.taken is not nothing:
        occupy(bed.gateway.tables, settings, range(len(settings.pool)), fill.taken)
    for first in range(-fill.unanswered, 0, NEW):
        measure(bed, newcomers(fill, first), np.arange(NEW), Verdict.TRANSLATED)
    if fill.syns:
        rows = np.zeros(fill.syns, SESSION)
        rows["mapped4"], rows["mapped4_port"] = MAPPED4, 2000 + np.arange(fill.syns)
        rows["host4"], rows["host4_port"] = SERVER4, SERVER_PORT
        bed.gateway.tables.syns_of[:] = -fill.syns  # room for all of one server
        measure(bed, from_host4(rows, TCP, SYN), np.arange(fill.syns), Verdict.SYN_HELD)
    return bed


def newcomers(fill: Fill, first: int) -> Deck:
    """The first packets of NEW hosts, of numbers from `first` on."""
    rows = np.zeros(NEW, SESSION)
    hi, lo = words(CLIENT6)
    rows["host6_hi"], rows["host6_lo"], rows["host6_port"] = hi + first + np.arange(NEW), lo, 6000  # subscribers
    rows["host4"], rows["host4_port"] = SERVER4, SERVER_PORT
    return from_host6(rows, fill.protocol, SYN)


def run(say: Callable[[str], None], rounds: int = ROUNDS) -> list[report.Figure]:
    """Every fill, rounds alternating, after one that is not counted. `say` is told what is being done."""
    beds = {fill: lay(fill, NEW * (rounds + 1)) for fill in FILLS}
    spent: dict[str, list[float]] = {fill.name: [] for fill in FILLS}
    for number in range(rounds + 1):
        for fill, bed in beds.items():
            say(f"fills: round {number} of {rounds}: {fill.name}")
            took = measure(bed, newcomers(fill, number * NEW), np.arange(NEW), fill.verdict)
            if number:
                spent[fill.name].append(took)
    return [report.figure(name, took) for name, took in spent.items()]


def at_rest(figures: list[report.Figure]) -> list[float]:
    """The figure that each is to be compared with."""
    by_name = {figure.name: figure.median for figure in figures}
    rest = {protocol: by_name[next(f.name for f in FILLS if f.protocol == protocol)] for protocol in (UDP, TCP)}
    return [rest[fill.protocol] for fill in FILLS]


def main() -> None:
    """`python -m tests.bench.fills`."""
    with Console(stderr=True).status("fills") as status:
        figures = run(status.update)
    table = report.screen(report.FILLS, *report.fill_cells(figures, at_rest(figures)))
    Console().print(report.sentence(report.host()), table)


if __name__ == "__main__":
    main()
