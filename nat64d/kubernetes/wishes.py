"""What a Service asks of the controller, and what its status shows: read from JSON."""

import sys
from ipaddress import ip_address
from typing import Any, NamedTuple

import msgspec

from nat64d.kubernetes.addresses import Address, Age, Claim, Key, Pool, Problem
from nat64d.kubernetes.objects import API, GROUP, Kind, Metadata, Read, ServicePort, number_of

OURS = f"{GROUP}/"
PROGRAMMED, READY = "Programmed", "Ready"  # reasons, and types of the conditions of our own kinds
OF_SERVICE = f"{OURS}{PROGRAMMED}"  # the type of that of a Service
UNSUPPORTED = f"{OURS}UnsupportedProtocol"  # the error of a port
INVALID = "InvalidAnnotation"
FAMILIES = {"ipv4": 4, "ipv6": 6}


class Whole(Read):
    """Any object of the API; what is in it is for those who know its kind."""

    metadata: Metadata
    spec: Any = None
    status: Any = None


class Condition(NamedTuple):
    """Ours, as a status shows it."""

    status: str
    reason: str
    message: str


class Said(NamedTuple):
    """A condition that a status shows, None = it has none of this type, and since when it is so."""

    condition: Condition | None
    since: str


NOTHING_SAID = Said(None, "")


def said_of(status: dict[str, Any], type_: str) -> Said:
    """The condition of a type in a status."""
    for one in status.get("conditions") or []:
        if one.get("type") == type_:
            condition = Condition(one.get("status", ""), one.get("reason", ""), one.get("message", ""))
            return Said(condition, one.get("lastTransitionTime", ""))
    return NOTHING_SAID


def written(type_: str, condition: Condition, before: Said, now: str) -> dict[str, str]:
    """A condition as a status has it: its time stays while its state does."""
    stays = before.condition is not None and before.condition.status == condition.status
    return {"type": type_, **condition._asdict(), "lastTransitionTime": (stays and before.since) or now}


class Ingress(NamedTuple):
    """An address of a status: how it is reached, and the ports that have an error."""

    address: Address
    mode: str
    errors: tuple[tuple[int, str], ...] = ()


class Shown(NamedTuple):
    """What of a status is ours; `condition`: None = there is none."""

    ingress: tuple[Ingress, ...] = ()
    condition: Condition | None = None


NOTHING_SHOWN = Shown()


class Wish(NamedTuple):
    """A Service as the controller sees it. `version`: of the object; `since`: of its condition."""

    key: Key
    age: Age
    version: int
    type: str
    class_: str
    ports: tuple[ServicePort, ...]
    local: bool
    sources: tuple[str, ...]
    notes: tuple[tuple[str, str], ...]
    shown: Shown
    since: str = ""

    def note(self, name: str) -> str:
        """An annotation of ours, "" = there is none."""
        return dict(self.notes).get(f"{OURS}{name}", "").strip()


def wish_of(given: Whole) -> Wish:
    """What counts of a Service."""
    about, spec, status = given.metadata, given.spec or {}, given.status or {}
    ports = tuple(
        ServicePort(one.get("name", ""), sys.intern(one.get("protocol", "TCP")), one["port"])
        for one in spec.get("ports") or []
    )
    condition, since = said_of(status, OF_SERVICE)
    return Wish(
        (about.namespace, about.name),
        (about.creation_timestamp or "", about.uid),
        number_of(about.resource_version),
        spec.get("type", ""),
        spec.get("loadBalancerClass") or "",
        ports,
        spec.get("externalTrafficPolicy") == "Local",
        tuple(spec.get("loadBalancerSourceRanges") or ()),
        tuple(sorted(pair for pair in (about.annotations or {}).items() if pair[0].startswith(OURS))),
        Shown(
            _ingress((status.get("loadBalancer") or {}).get("ingress") or []),
            condition,
        ),
        since,
    )


def _ingress(given: list[dict[str, Any]]) -> tuple[Ingress, ...]:
    found = []
    for one in given:
        try:
            address = ip_address(one.get("ip", ""))
        except ValueError:
            continue
        errors = tuple((port["port"], port["error"]) for port in one.get("ports") or [] if port.get("error"))
        found.append(Ingress(address, one.get("ipMode") or "VIP", errors))
    return tuple(found)


def claim_of(wish: Wish) -> tuple[Claim, list[Problem]]:
    """Which addresses it wants, and what of its annotations says nothing."""
    problems: list[Problem] = []
    asked: dict[int, Address] = {}
    for text in filter(None, (one.strip() for one in wish.note("load-balancer-ips").split(","))):
        try:
            address = ip_address(text)
        except ValueError:
            problems.append(_invalid("load-balancer-ips", text, "an IPv4 and an IPv6 address at most"))
            continue
        if asked.setdefault(address.version, address) != address:
            problems.append(_invalid("load-balancer-ips", text, "one address of each family"))
    families = []
    for text in filter(None, (one.strip() for one in wish.note("vip-families").split(","))):
        if text.lower() in FAMILIES:
            families.append(FAMILIES[text.lower()])
        else:
            problems.append(_invalid("vip-families", text, "IPv4, IPv6 or IPv4,IPv6"))
    claim = Claim(
        wish.key,
        wish.age,
        frozenset((one.protocol, one.port) for one in wish.ports),
        tuple(one.address for one in wish.shown.ingress),
        tuple(asked.values()),
        wish.note("vip-pool"),
        tuple(dict.fromkeys(families)),
        wish.note("allow-shared-ip"),
    )
    return claim, problems


def _invalid(name: str, text: str, expected: str) -> Problem:
    return Problem(INVALID, f"annotation {OURS}{name}: {text!r}; expected {expected}")


class PoolObject(NamedTuple):
    """A VIPPool, and what its status shows."""

    pool: Pool
    used: int | None
    said: Said

    @property
    def name(self) -> str:
        """Of the pool."""
        return self.pool.name

    @property
    def age(self) -> Age:
        """Of the pool."""
        return self.pool.age


def pool_of(given: Whole) -> PoolObject:
    """What counts of a VIPPool."""
    about, spec, status = given.metadata, given.spec or {}, given.status or {}
    families = tuple(FAMILIES[one.lower()] for one in spec.get("families") or () if one.lower() in FAMILIES)
    return PoolObject(
        Pool(
            about.name,
            (about.creation_timestamp or "", about.uid),
            tuple(spec.get("blocks") or ()),
            families,
            spec.get("autoAssign") is not False,
        ),
        status.get("used"),
        said_of(status, READY),
    )


class CidrObject(NamedTuple):
    """Prefixes that are of somebody else, and whose."""

    whose: str
    blocks: tuple[str, ...]


def cidrs_of(given: Whole) -> CidrObject:
    """What counts of a ServiceCIDR."""
    return CidrObject(f"ServiceCIDR {given.metadata.name}", tuple((given.spec or {}).get("cidrs") or ()))


WHOLE: Any = msgspec.json.Decoder(Whole)
WISHES = Kind("Services", "api/v1/services", "", WHOLE, wish_of)
POOLS = Kind("VIPPools", f"apis/{API}/vippools", "", WHOLE, pool_of)
CIDRS = Kind("ServiceCIDRs", "apis/networking.k8s.io/v1/servicecidrs", "", WHOLE, cidrs_of)
