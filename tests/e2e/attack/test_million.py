"""A million flows of one host, then as many of 10,000 hosts: a quiet host goes on as before, and all is counted.

`-m slow`, with `-s` to see the figures.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np
import pytest

from nat64d.cli.lab import Lab
from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from tests.e2e.attack.network import ATTACKER6, ECHO, SERVER6, Network
from tests.e2e.attack.scenarios import Attack
from tests.e2e.attack.stage import KEPT, PATIENCE, SLICE, Stage
from tests.e2e.attack.test_attack import ATTEMPTS
from tests.e2e.topology import hear, tell

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FLOWS, HOSTS = 1_000_000, 10_000
ALONE = 5.0  # seconds before and after, in which the transfer has the gateway to itself
MORE = 64 << 10  # KiB that a daemon may take besides its tables, for listings and the like
TRANSFER = Path(__file__).parents[1] / "transfer.py"
FLOODS = (
    Attack("one host", "attacker6", 50_000, "mixed_flows", lambda *_: {"sources": f"{ATTACKER6[0]}/128"}, fill=1),
    Attack(
        "10,000 hosts", "attacker6", 50_000, "crowd", lambda *_: {"prefix": "2001:db8:a::66", "hosts": HOSTS}, fill=1
    ),
)


class Figures(NamedTuple):
    """What a flood was, and how the gateway took it."""

    flows: int
    rate: int  # flows a second
    sessions: int
    throughput: float  # of a transfer that was there before, in percent of what it has alone
    counted: int  # packets and what found the queue full
    memory: tuple[int, int]  # KiB that are resident, before and after
    tables: int  # KiB that all tables have, whatever is in them


class Million(Stage):
    """Beside the quiet hosts a transfer goes on."""

    def set_up(self) -> None:
        super().set_up()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
        command = (sys.executable, str(TRANSFER), SERVER6, ECHO)
        self.transfer = self.network.victim6.popen(*command, start_new_session=True, **pipes)
        self.programs.append(self.transfer)
        assert hear(self.transfer, PATIENCE) == "listening"

    def octets(self) -> tuple[int, float]:
        """What has come back so far, and when."""
        tell(self.transfer)
        return json.loads(hear(self.transfer, PATIENCE))["received"], time.monotonic()

    def alone(self) -> float:
        """Octets a second while nobody floods: of a machine that others use, it is not the same all the time."""
        before = self.octets()
        time.sleep(ALONE)
        return rate(before, self.octets())

    def counted(self) -> int:
        """Packets from inside, however they ended."""
        rows = (row for row in self.daemon.rows("counters") if row["direction"] == "6to4")
        return sum(row["packets"] for row in rows) + self.daemon.overflowed()

    def tables(self) -> int:
        """What the tables of the daemon have: memory is taken when it is used."""
        config = loads(self.daemon.config)
        tables = tables_of(config, settings_of(config, bytes(16)))
        arrays = (getattr(tables, field.name) for field in fields(tables))
        return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray)) >> 10

    def memory(self) -> int:
        """KiB that are resident."""
        assert self.daemon.process is not None
        lines = Path(f"/proc/{self.daemon.process.pid}/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    def flood(self) -> Figures:
        """Open FLOWS flows."""
        resident, counted = self.memory(), self.counted()
        alone = [self.alone()]
        filled, _ = self.fill()
        self.begin("during")
        began, sent = self.octets(), filled.packets
        while sent < FLOWS:
            tell(self.attacker, SLICE, self.rate)
            sent += self.attacked().packets
        ended = self.octets()
        sessions = self.daemon.sessions()
        self.begin("after")
        alone.append(self.alone())
        return Figures(
            sent,
            round((sent - filled.packets) / (ended[1] - began[1])),
            sessions,
            100 * rate(began, ended) / mean(alone),
            self.counted() - counted,
            (resident, self.memory()),
            self.tables(),
        )


def rate(before: tuple[int, float], after: tuple[int, float]) -> float:
    """Octets a second."""
    return (after[0] - before[0]) / (after[1] - before[1])


def faults(stage: Million, seen: Figures) -> list[str]:
    """What is not as it must be, in words."""
    found = []
    if seen.throughput < KEPT:
        found.append(f"a transfer had {seen.throughput:.0f} % of its throughput")
    if seen.counted < seen.flows:
        found.append(f"{seen.flows} packets were sent, {seen.counted} counted")
    if seen.memory[1] > seen.memory[0] + seen.tables + MORE:
        found.append(f"memory grew from {seen.memory[0]} to {seen.memory[1]} KiB, tables have {seen.tables}")
    for kind, (begun, succeeded) in stage.tally()["during"].items():
        needed = 90 if kind.startswith("kept") else 99
        print(f"  {kind}: {succeeded} of {begun}")
        if succeeded * 100 < begun * needed:
            found.append(f"{kind}: {succeeded} of {begun}")
    return found


@pytest.fixture(scope="module")
def network(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """The hosts of network.py."""
    with Lab("million") as lab:
        yield Network(lab, tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("attack", FLOODS, ids=lambda attack: attack.name)
def test_a_million_flows(network: Network, attack: Attack, tmp_path: Path) -> None:
    found = []
    for attempt in range(ATTEMPTS):
        (directory := tmp_path / str(attempt)).mkdir()
        with Million(network, attack, "/24", directory) as stage:
            seen = stage.flood()
            print(f"{attack.name}: {seen}")
            if not (found := faults(stage, seen)):
                return
    pytest.fail("\n".join(found))
