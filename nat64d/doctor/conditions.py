"""The conditions of the host watch: those of the daemon if it answers, else the same functions look from here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from shutil import which
from typing import Any

from nat64d.config.models import Config
from nat64d.config.warnings import warnings
from nat64d.doctor.daemon import TRANSLATES, Answer
from nat64d.doctor.finding import Said, Severity, note
from nat64d.doctor.look import NEEDS_ROOT, Look
from nat64d.host import standing
from nat64d.host.conditions import Situation, conditions
from nat64d.host.own4 import own4
from nat64d.host.ruleset import NFT
from nat64d.host.standing import Standing
from nat64d.host.wanted import Wanted

Row = Mapping[str, Any]  # of the API
FIREWALL = "firewall"

# What `nat64d run` sets right itself, by the name of the condition: no finding while there is no daemon.
SET_UP: Mapping[str, Callable[[Config], bool]] = {
    "forwarding_off": lambda config: config.host.sysctls,
    "reverse_path": lambda config: config.host.sysctls,
    FIREWALL: lambda config: config.host.firewall == "auto",
}


# ---- read


def host(look: Look) -> Standing:
    """How the host stands; of the device and its routes nothing counts while no daemon has set them up."""
    return standing.read(look.config, look.config.tun.name, ())


def standing_conditions(look: Look) -> Sequence[Row]:
    """A row for each condition that stands."""
    answered = look["answer"]
    if answered.status and answered.status["state"] in TRANSLATES:
        rows: Sequence[Row] = answered.status["conditions"]
        return rows
    return locally(look.config, look["host"], runs=answered.runs)


def obstacle(look: Look) -> str:
    """Why the rules of nftables cannot be read, without which no firewall is a condition; "" if they can."""
    if which(NFT[0]) is None:
        return f"there is no program {NFT[0]} (package nftables)"
    return "" if look["answer"].status or look["host"].ruleset is not None else NEEDS_ROOT


# ---- judged


def locally(config: Config, there: Standing, runs: bool) -> list[Row]:
    """What a watch would find; `runs`: whether a daemon has set this host up."""
    seen = there if runs else replace(there, device=None)
    config = config.with_pools(own4(config.pool4, there.facts))
    found = conditions(Situation(config, seen, Wanted(config.tun.name, {}, sysctls=config.host.sysctls)))
    return [
        {"condition": one.condition.name, "blocks": one.condition.blocks, "sentence": one.sentence}
        for one in found
        if runs or not (one.condition.name in SET_UP and SET_UP[one.condition.name](config))
    ]


def standing_but_firewall(_config: Config, rows: Sequence[Row]) -> Iterator[Said]:
    """Each condition under its own name."""
    yield from (_said(row) for row in rows if row["condition"] != FIREWALL)


def firewall(config: Config, rows: Sequence[Row], there: Standing, answered: Answer, why_not: str) -> Iterator[Said]:
    """Rules that drop: those the daemon has seen, and those seen from here, for not every daemon can read all."""
    ours = locally(config, there, runs=answered.runs or answered.status is not None)
    found = {row["sentence"]: _said(row) for row in (*rows, *ours) if row["condition"] == FIREWALL}
    yield from found.values()
    if why_not and not found:
        yield note(f"Not checked: {why_not}.")


def doubtful(config: Config) -> Iterator[Said]:
    """What `check` warns of."""
    yield from map(note, warnings(config))


def _said(row: Row) -> Said:
    return Said(Severity.ERROR if row["blocks"] else Severity.WARNING, row["sentence"], row["condition"])
