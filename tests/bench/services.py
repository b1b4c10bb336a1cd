"""What a packet of a service costs beside one of a [[forward]]: of flows that are open, and the first one of a flow.

Three gateways, each with as many mappings of a [[forward]] as endpoints: one service of 100, one of 1000, and 1000
services of 100. The same clients send to either, in the same round; what counts are the ratios of neighbours in
time.
"""

from collections.abc import Callable
from ipaddress import IPv4Address
from statistics import median
from typing import NamedTuple

import numpy as np
from rich.console import Console

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from tests.bench import report
from tests.bench.core import BATCH, Bed, busy, measure
from tests.bench.decks import from_host4, from_host6
from tests.bench.paths import NAT64D_POOL6
from translator.packet.fields import UDP
from translator.session.services import UNANSWERED_PART
from translator.session.subscribers import INBOUND_PART
from translator.tables.gateway import SLOT, Gateway, new_worker
from translator.tables.layout import SESSION
from translator.tables.listing import usage

SESSIONS, NEW = 1 << 22, 20_000
CLIENTS = 0x0B000000  # 11.0.0.0 and on
FORWARD, VIP, PORT = IPv4Address("192.0.2.1"), IPv4Address("198.51.100.0"), 53
MOST = 50_000  # ports of an address
ROUNDS = 11
ACTIVE = 200  # established flows: of more, some have to be looked up in the index, by chance of the hash
# What the ratios are to be at most: of an established packet, and of the first one of a flow.
# Flows that are spread over 100,000 endpoints meet memory that no cache has, whatever the code does.
ESTABLISHED, FIRST = 1.05, {(1, 100): 1.6, (1, 1000): 6.0}


class Scene(NamedTuple):
    """So many services, of so many endpoints each."""

    services: int
    endpoints: int

    @property
    def addresses(self) -> int:
        """Of the forwards: there is one for each endpoint."""
        return -(-self.services * self.endpoints // MOST)

    @property
    def ports(self) -> int:
        """Of each of these addresses."""
        return min(self.services * self.endpoints, MOST)

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.services:,} service{'s' * (self.services > 1)} × {self.endpoints:,} endpoints"


SCENES = Scene(1, 100), Scene(1000, 100), Scene(1, 1000)


def text(scene: Scene) -> str:
    """The configuration file; a service at each address from VIP on."""
    head = f"""\
pool6 = "{NAT64D_POOL6}"
strict_well_known_prefix = false
limits = {{ sessions = {SESSIONS} }}

"""
    ports = f"{PORT}-{PORT + scene.ports - 1}"
    forwards = "".join(
        f'[[forward]]\nprotocol = "udp"\nipv4 = "{FORWARD + at}:{ports}"\n'
        f'ipv6 = "[2001:db8:5:ffff::{at + 1:x}]:{ports}"\n'
        for at in range(scene.addresses)
    )
    return (
        head
        + forwards
        + "".join(
            f'[[service]]\nname = "s{number}"\nprotocol = "udp"\nipv4 = "{VIP + number}:{PORT}"\nendpoints = ['
            + ", ".join(f'"[2001:db8:5:{number:x}::{at:x}]:{PORT}"' for at in range(1, scene.endpoints + 1))
            + "]\n"
            for number in range(scene.services)
        )
    )


def lay(scene: Scene) -> Bed:
    """A gateway that has no sessions."""
    config = loads(text(scene), "bench")
    settings = settings_of(config, bytes(range(16)))
    return Bed(Gateway(settings, tables_of(config, settings), new_worker(0)), np.zeros((BATCH, SLOT), np.uint8))


def clients(first: int, count: int, to: IPv4Address, addresses: int, ports: int) -> np.ndarray:
    """Flows of so many clients to so many addresses or ports in turn, from these on."""
    rows, number = np.zeros(count, SESSION), np.arange(count)
    rows["host4"], rows["host4_port"] = CLIENTS + first + number, 1024 + number % 60000
    rows["mapped4"], rows["mapped4_port"] = int(to) + number % addresses, PORT + number % ports
    return rows


def open_flows(bed: Bed, rows: np.ndarray) -> np.ndarray:
    """Open these flows, and have them answered; their sessions."""
    sessions, _ = usage(bed.gateway.tables)
    measure(bed, from_host4(rows, UDP), np.arange(len(rows)))
    opened = bed.gateway.tables.sessions[sessions : sessions + len(rows)]
    measure(bed, from_host6(opened, UDP), np.arange(len(rows)))
    return opened


class Course:
    """The measurements of one scene, round after round."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.bed = scene, lay(scene)
        self.next = ACTIVE
        self.spent: dict[str, list[tuple[float, float]]] = {}
        self.ends = (FORWARD, scene.addresses, scene.ports), (VIP, scene.services, 1)
        self.opened = [open_flows(self.bed, clients(0, ACTIVE, *end)) for end in self.ends]

    def play(self, rng: np.random.Generator) -> None:
        """One round: forward and service in turn, for each thing."""
        for name, deck_of in (("4to6", from_host4), ("6to4", from_host6)):
            took = [measure(self.bed, *busy(deck_of(rows, UDP), rng)) for rows in self.opened]
            self.note(f"established, {name}", took)
        before = usage(self.bed.gateway.tables)[0]
        decks = [from_host4(clients(self.next, NEW, *end), UDP) for end in self.ends]
        self.note("new flow", [measure(self.bed, deck, np.arange(NEW)) for deck in decks])
        self.next += NEW
        if usage(self.bed.gateway.tables)[0] != before + 2 * NEW:
            raise RuntimeError("packets passed without the sessions that they should have opened")

    def note(self, name: str, took: list[float]) -> None:
        """Remember what it took by a forward, and by a service."""
        self.spent.setdefault(name, []).append((took[0], took[1]))

    def ratios(self) -> list[report.Ratio]:
        """All of it, but for the first round."""
        found = []
        for name, pairs in self.spent.items():
            forward, service = zip(*pairs[1:], strict=True)
            ratio = median(b / a for a, b in pairs[1:])
            most = FIRST.get(self.scene) if name == "new flow" else ESTABLISHED
            whole = f"{self.scene.name}: {name}"
            figures = report.figure(f"{whole}, [[forward]]", forward), report.figure(f"{whole}, [[service]]", service)
            found.append(report.Ratio(whole, *figures, ratio, most))
        return found


def run(say: Callable[[str], None], rounds: int = ROUNDS) -> list[report.Ratio]:
    """Every measurement, rounds alternating, after one that is not counted. `say` is told what is being done."""
    assert NEW * (rounds + 1) + ACTIVE < SESSIONS // max(INBOUND_PART, UNANSWERED_PART)
    rng = np.random.default_rng(64)
    say("services: compiling, and loading a hundred thousand endpoints")
    courses = [Course(scene) for scene in SCENES]
    for number in range(rounds + 1):
        for course in courses:
            say(f"services: round {number} of {rounds}: {course.scene.name}")
            course.play(rng)
    return [ratio for course in courses for ratio in course.ratios()]


def main() -> None:
    """`python -m tests.bench.services`."""
    with Console(stderr=True).status("services") as status:
        ratios = run(status.update)
    Console(width=report.WIDTH, markup=False).print(
        report.sentence(report.host()), report.screen(report.SERVICES, *report.ratio_cells(ratios))
    )


if __name__ == "__main__":
    main()
