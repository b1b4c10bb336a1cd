"""StaticMappings: the row of [[eam]] that each is, or what keeps it from being one."""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Address
from typing import NamedTuple

from nat64d.kubernetes.addresses import ADDRESS_IN_USE, Age, Problem
from nat64d.kubernetes.objects import API, Key, Kind, Slice, number_of
from nat64d.kubernetes.rows import Row
from nat64d.kubernetes.statuses import NO_ENDPOINTS, Gateways, spread
from nat64d.kubernetes.wishes import PROGRAMMED, WHOLE, Condition, Said, Whole, said_of

KIND = "StaticMapping"
INVALID, SEVERAL = "InvalidPrefix", "SeveralEndpoints"


class StaticMapping(NamedTuple):
    """A StaticMapping, and what its status shows. `service`: None = `ipv6` is given."""

    name: str
    age: Age
    version: int
    ipv4: str
    ipv6: str
    service: Key | None
    said: Said

    @property
    def prefix(self) -> str:
        """Its IPv4 prefix as the daemon spells it, "" = it is none."""
        try:
            return str(IPv4Network(self.ipv4))
        except ValueError:
            return ""


class Mapped(NamedTuple):
    """What one has become: a row, or why there is none."""

    row: Row | None = None
    problem: Problem | None = None


def mapping_of(given: Whole) -> StaticMapping:
    """What counts of it."""
    about, spec = given.metadata, given.spec or {}
    meant = spec.get("serviceRef")
    return StaticMapping(
        about.name,
        (about.creation_timestamp or "", about.uid),
        number_of(about.resource_version),
        spec.get("ipv4") or "",
        spec.get("ipv6") or "",
        (meant.get("namespace", ""), meant.get("name", "")) if meant else None,
        said_of(given.status or {}, PROGRAMMED),
    )


MAPPINGS = Kind("StaticMappings", f"apis/{API}/staticmappings", "", WHOLE, mapping_of, optional=True)


def mapped_of(mappings: Iterable[StaticMapping], slices_of: Callable[[Key], list[Slice]]) -> dict[str, Mapped]:
    """What all of them become, by name. Of two with the same IPv4 prefix the older one has it."""
    found: dict[str, Mapped] = {}
    holders: dict[str, str] = {}
    for one in sorted(mappings, key=lambda one: (one.age, one.name)):
        made = _mapped(one, slices_of)
        if made.row and (holder := holders.setdefault(made.row["ipv4"], one.name)) != one.name:
            made = Mapped(None, Problem(ADDRESS_IN_USE, f"StaticMapping {holder} has {one.ipv4}"))
        found[one.name] = made
    return found


def condition_of(one: StaticMapping, made: Mapped, gateways: Gateways, version: int) -> Condition:
    """What its status is to show; `version`: of it when something last changed that gateways look at."""
    if made.problem:
        return Condition("False", made.problem.reason, made.problem.sentence)
    return spread(f"{KIND} {one.name}", gateways, gateways.mapped, version)


def _mapped(one: StaticMapping, slices_of: Callable[[Key], list[Slice]]) -> Mapped:
    ipv4 = one.prefix
    if not ipv4:
        return Mapped(None, Problem(INVALID, f"ipv4: {one.ipv4} is no prefix without host bits, as 192.0.2.0/24"))
    if one.service is None:
        return Mapped({"ipv4": ipv4, "ipv6": one.ipv6})
    ready = {
        end.address for its in slices_of(one.service) if its.family == "IPv6" for end in its.endpoints if end.ready
    }
    if len(ready) == 1:
        return Mapped({"ipv4": ipv4, "ipv6": f"{IPv6Address(ready.pop())}/128"})
    whose = f"Service {'/'.join(one.service)}"
    if ready:
        return Mapped(None, Problem(SEVERAL, f"{len(ready)} endpoints of {whose} are ready, and one is expected"))
    return Mapped(None, Problem(NO_ENDPOINTS, f"no IPv6 endpoint of {whose} is ready"))
