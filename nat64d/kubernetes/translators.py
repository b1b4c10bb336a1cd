"""Translators: the rows of [[pool4]] that a gateway gets, and what the status says of the rest."""

from collections.abc import Iterable
from ipaddress import IPv6Network
from typing import NamedTuple

from nat64d.kubernetes.addresses import Age
from nat64d.kubernetes.objects import API, Kind, number_of
from nat64d.kubernetes.rows import Row
from nat64d.kubernetes.statuses import Gateways, some, spread
from nat64d.kubernetes.wishes import PROGRAMMED, WHOLE, CidrObject, Condition, Said, Whole, said_of

KIND = "Translator"
OTHER_POOL6, PARTLY = "OtherPool6", "PartlyProgrammed"
OF_FILES = ("clientPrefix", "seed", "allowedSources")  # keys that no gateway takes from here


class Translator(NamedTuple):
    """A Translator, and what its status shows. `pool4`: gateways, each with a block; `unused`: keys that are given, and
    that gateways have from their files."""

    name: str
    age: Age
    version: int
    pool6: str
    pool4: tuple[tuple[str, str], ...]
    unused: tuple[str, ...]
    said: Said

    @property
    def taken(self) -> CidrObject:
        """What no VIPPool may have."""
        return CidrObject(f"pool4 of {KIND} {self.name}", tuple(block for _, block in self.pool4))


def translator_of(given: Whole) -> Translator:
    """What counts of it."""
    about, spec = given.metadata, given.spec or {}
    rows = spec.get("pool4") or []
    return Translator(
        about.name,
        (about.creation_timestamp or "", about.uid),
        number_of(about.resource_version),
        _spelled(spec.get("pool6") or ""),
        tuple((row.get("gateway", ""), block.strip()) for row in rows for block in row.get("addresses") or ()),
        tuple(key for key in OF_FILES if spec.get(key)),
        said_of(given.status or {}, PROGRAMMED),
    )


TRANSLATORS = Kind("Translators", f"apis/{API}/translators", "", WHOLE, translator_of, optional=True)


def pools_of(one: Translator, gateway: str) -> list[Row]:
    """The rows of [[pool4]] of a gateway."""
    return [{"addresses": block} for name, block in one.pool4 if name == gateway]


def condition_of(one: Translator, gateways: Gateways, version: int) -> Condition:
    """What its status is to show; `version`: of it when something last changed that gateways look at."""
    found = spread(f"{KIND} {one.name}", gateways, gateways.translated, version)
    if found.status != "True":
        return found
    others = [name for name, pool6 in gateways.pool6.items() if pool6 != one.pool6]
    if others:
        return Condition("False", OTHER_POOL6, f"in the configuration file of {some(others)} pool6 is not {one.pool6}")
    if one.unused:
        return Condition(
            "True", PARTLY, f"{found.message}, but for {_listed(one.unused)}: gateways have these from files"
        )
    return found


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _spelled(prefix: str) -> str:
    try:
        return str(IPv6Network(prefix, strict=False))
    except ValueError:
        return prefix
