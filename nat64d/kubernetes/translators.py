"""Translators: the rows of [[pool4]] that a gateway gets, the prefix under which endpoints see clients, and what the
status says of the rest."""

from collections.abc import Iterable
from ipaddress import IPv6Network
from typing import NamedTuple

from nat64d.kubernetes.addresses import Age
from nat64d.kubernetes.mappings import INVALID
from nat64d.kubernetes.objects import API, Kind, number_of
from nat64d.kubernetes.rows import Row
from nat64d.kubernetes.statuses import Gateways, some, spread
from nat64d.kubernetes.wishes import PROGRAMMED, WHOLE, CidrObject, Condition, Said, Whole, said_of
from translator.static.arithmetic import LENGTHS

KIND = "Translator"
OTHER_POOL6, PARTLY, UNENFORCED = "OtherPool6", "PartlyProgrammed", "NotEnforced"
SEED = "seed is not taken: gateways have [services] seed from their files"
SOURCES = "allowedSources are not enforced, and everybody may send through pool6: let a firewall before it see to that"


class Translator(NamedTuple):
    """A Translator, and what its status shows. `pool4`: gateways, each with a block; `seed`, `sources`: whether it has
    what no gateway takes from it."""

    name: str
    age: Age
    version: int
    pool6: str
    pool4: tuple[tuple[str, str], ...]
    client_prefix: str
    seed: bool
    sources: bool
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
        _spelled(spec.get("clientPrefix") or ""),
        bool(spec.get("seed")),
        bool(spec.get("allowedSources")),
        said_of(given.status or {}, PROGRAMMED),
    )


TRANSLATORS = Kind("Translators", f"apis/{API}/translators", "", WHOLE, translator_of, optional=True)


def pools_of(one: Translator, gateway: str) -> list[Row]:
    """The rows of [[pool4]] of a gateway."""
    return [{"addresses": block} for name, block in one.pool4 if name == gateway]


def prefix_of(translators: Iterable[Translator]) -> tuple[str, str]:
    """Under which prefix endpoints see clients, "" = as the files say, and the Translator that says so: the oldest that
    has one."""
    having = [one for one in translators if one.client_prefix and _may_be(one.client_prefix)]
    first = min(having, key=lambda one: (one.age, one.name), default=None)
    return (first.client_prefix, first.name) if first else ("", "")


def condition_of(one: Translator, gateways: Gateways, version: int, prefix: tuple[str, str]) -> Condition:
    """What its status is to show; `version`: of it when something last changed that gateways look at; `prefix`: of
    clients, and whose it is."""
    if one.client_prefix and not _may_be(one.client_prefix):
        return Condition("False", INVALID, f"clientPrefix: {one.client_prefix} is none of RFC 6052, as 2001:db8:c::/96")
    found = spread(f"{KIND} {one.name}", gateways, gateways.translated, version)
    if found.status != "True":
        return found
    others = [name for name, pool6 in gateways.pool6.items() if pool6 != one.pool6]
    if others:
        return Condition("False", OTHER_POOL6, f"in the configuration file of {some(others)} pool6 is not {one.pool6}")
    lacks = [SOURCES] * one.sources + [SEED] * one.seed
    if one.client_prefix and one.client_prefix != prefix[0]:
        lacks.append(f"clientPrefix is that of {KIND} {prefix[1]}, {prefix[0]}")
    if lacks:
        status, reason = ("False", UNENFORCED) if one.sources else ("True", PARTLY)
        return Condition(status, reason, "; ".join((*lacks, f"else {found.message}")))
    return found


def _may_be(prefix: str) -> bool:
    try:
        return IPv6Network(prefix).prefixlen in LENGTHS
    except ValueError:
        return False


def _spelled(prefix: str) -> str:
    try:
        return str(IPv6Network(prefix, strict=False))
    except ValueError:
        return prefix
