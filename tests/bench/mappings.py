"""[[eam]] of 10 and of 100,000 rows: how long the configuration takes to load, and what a packet costs.

The same packets, of the ten hosts that both tables have, go through either table in the same round: what differs is the
lookup. "Uniform" takes any of the 100,000, so that the processor's caches miss as well.
"""

import time
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, IPv6Address

import numpy as np
from rich.console import Console

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.config.settings import settings_of, tables_of
from nat64d.config.words import words
from tests.bench import report
from tests.bench.core import BATCH, PLAYED, ROUNDS, Bed, Hand, busy, measure
from tests.bench.decks import from_host4, from_host6
from tests.bench.paths import NAT64D_POOL6
from translator.packet.fields import UDP
from translator.tables.gateway import SLOT, Gateway, new_worker
from translator.tables.layout import SESSION

FEW, MANY = 10, 100_000
FIRST4, FIRST6 = IPv4Address("11.0.0.0"), IPv6Address("2001:db8:e::")
HOST4 = 0xCB007101  # 203.0.113.1


def text(rows: int) -> str:
    """A configuration file with that many hosts of an address in both families."""
    table = "".join(f'[[eam]]\nipv4 = "{FIRST4 + at}"\nipv6 = "{FIRST6 + at}"\n\n' for at in range(rows))
    return f'pool6 = "{NAT64D_POOL6}"\nstrict_well_known_prefix = false\n\n{table}'


def load(rows: int) -> tuple[Config, float]:
    """A configuration of so many rows, and the seconds of CPU until the translator could use it."""
    file = text(rows)
    settings_of(loads(text(FEW)), bytes(16))  # compiles what it needs
    begun = time.process_time()
    config = loads(file, "bench")
    settings_of(config, bytes(16))
    return config, time.process_time() - begun


def hosts(count: int) -> np.ndarray:
    """The mapped hosts as sessions would have them, each with a peer of its own port."""
    rows, number = np.zeros(count, SESSION), np.arange(count)
    hi, lo = words(FIRST6)
    rows["host6_hi"], rows["host6_lo"], rows["host6_port"] = hi, lo + number, 5000
    rows["mapped4"], rows["mapped4_port"] = int(FIRST4) + number, 5000
    rows["host4"], rows["host4_port"] = HOST4, 1024 + number % 60000
    return rows


def any_host(rows: np.ndarray, six_to_four: bool, rng: np.random.Generator) -> Hand:
    """Packets of any of the hosts."""
    chosen = rows[rng.choice(len(rows), PLAYED)]
    return (from_host6 if six_to_four else from_host4)(chosen, UDP), np.arange(PLAYED)


def lay(config: Config) -> Bed:
    """The translator in front of those hosts."""
    settings = settings_of(config, bytes(range(16)))
    return Bed(Gateway(settings, tables_of(config, settings), new_worker(0)), np.zeros((BATCH, SLOT), np.uint8))


def run(say: Callable[[str], None], rounds: int = ROUNDS) -> tuple[list[report.Figure], float]:
    """Every measurement, rounds alternating, after one that is not counted; and the seconds to load MANY."""
    say(f"[[eam]]: loading {MANY:,} rows")
    config, seconds = load(MANY)
    few, many = lay(load(FEW)[0]), lay(config)
    rng, ten, all_hosts = np.random.default_rng(64), hosts(FEW), hosts(MANY)
    measures = {}
    for direction, build in (("6to4", from_host6), ("4to6", from_host4)):
        deal = partial(busy, build(ten, UDP))
        measures[f"UDP, 64 octets, {direction}, {FEW} rows of [[eam]]"] = few, deal
        measures[f"UDP, 64 octets, {direction}, {MANY:,} rows of [[eam]]"] = many, deal
        anywhere = partial(any_host, all_hosts, direction == "6to4")
        measures[f"UDP, 64 octets, {direction}, {MANY:,} rows of [[eam]], uniform"] = many, anywhere
    spent: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, (bed, deal) in measures.items():
            say(f"[[eam]]: round {number} of {rounds}: {name}")
            took = measure(bed, *deal(rng))
            if number:
                spent[name].append(took)
    return [report.figure(name, took) for name, took in spent.items()], seconds


def main() -> None:
    """`python -m tests.bench.mappings`."""
    with Console(stderr=True).status("[[eam]]") as status:
        figures, seconds = run(status.update)
    out = Console(width=report.WIDTH, highlight=False, markup=False)
    out.print(report.sentence(report.host()), report.loading(MANY, seconds), sep="\n")
    out.print(report.screen(report.MAPPINGS, *report.core_cells(figures)))


if __name__ == "__main__":
    main()
