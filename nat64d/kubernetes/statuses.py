"""What the status of a Service is to show: pure, made of what it wants and gets, and what gateways and slices say."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from nat64d.kubernetes.addresses import Given, Problem
from nat64d.kubernetes.rows import CARRIED, CLOSED, NO_PREFIX, NOT_CARRIED, sources_of
from nat64d.kubernetes.wishes import OF_SERVICE, PROGRAMMED, UNSUPPORTED, Condition, Ingress, Said, Shown, Wish, written

NO_GATEWAY, PENDING, REFUSED = "NoGateway", "Pending", "Refused"
NO_ENDPOINTS, SHARED, PROTOCOL, SOURCES = "NoEndpoints", "EndpointsShared", "UnsupportedProtocol", "InvalidSourceRange"
OTHER_FAMILY, AS_CLUSTER, LEFT = "IPv4Endpoints", "TreatedAsCluster", "IPv6FrontOff"
MANAGER = "nat64d"  # of the fields
NAMED = 5  # of many that could be named in a sentence


class Facts(NamedTuple):
    """Of the endpoints of a Service: how many get new flows, how many slices are of IPv4, and the Services that have
    some of the same under the same client prefix."""

    ready: int = 0
    slices4: int = 0
    shared: tuple[str, ...] = ()


class Gateways(NamedTuple):
    """Those that are alive: what each has applied (versions by gateway, of Services, StaticMappings and Translators),
    its pool6, and why it refuses what (sentences by gateway and object). `inside`: they run on nodes."""

    applied: dict[str, int]
    inside: bool = False
    mapped: dict[str, int] = {}
    translated: dict[str, int] = {}
    pool6: dict[str, str] = {}
    refused: dict[str, dict[str, str]] = {}


class Rules(NamedTuple):
    """What is so for all Services: whether nat64d translates IPv6 addresses of theirs too."""

    ipv6_front: bool = False


def shown_of(wish: Wish, given: Given, facts: Facts, gateways: Gateways, version: int, rules: Rules) -> Shown:
    """What the status is to show; `version`: of the Service when something last changed that gateways look at."""
    errors = tuple((one.port, UNSUPPORTED) for one in wish.ports if one.protocol not in CARRIED)
    ingress = tuple(
        Ingress(one, "Proxy" if one.version == 6 and rules.ipv6_front else "VIP", errors) for one in given.addresses
    )
    problems = [*given.problems, *_problems(wish, given, facts, rules, gateways)]
    return Shown(ingress, _condition(wish, given, problems, gateways, version))


def _problems(wish: Wish, given: Given, facts: Facts, rules: Rules, gateways: Gateways) -> Iterable[Problem]:
    """From what hinders most to what hinders least."""
    good, bad = sources_of(wish.sources)
    if bad and not good:
        yield Problem(SOURCES, CLOSED)
    for one in wish.ports:
        if one.protocol not in CARRIED:
            yield Problem(PROTOCOL, NOT_CARRIED.format(one))
    for text in bad:
        yield Problem(SOURCES, NO_PREFIX.format(text))
    if not facts.ready:
        yield Problem(NO_ENDPOINTS, "no IPv6 endpoint is ready, so connections are refused")
    if facts.shared:
        yield Problem(
            SHARED,
            f"has endpoints of {some(facts.shared)}: answers of which no gateway knows the connection are dropped;"
            " give one of them an annotation nat64d.io/client-prefix",
        )
    if facts.slices4:
        yield Problem(OTHER_FAMILY, f"{facts.slices4} EndpointSlices of IPv4 are left out")
    if wish.local and not gateways.inside:
        yield Problem(AS_CLUSTER, "externalTrafficPolicy Local is as Cluster, as no gateway runs on a node")
    if any(one.version == 6 for one in given.addresses) and not rules.ipv6_front:
        yield Problem(LEFT, "the IPv6 address is left to kube-proxy, as [services] ipv6_front is off")


def some(names: Iterable[str]) -> str:
    """The first of them, and how many more there are."""
    there = sorted(names)
    more = len(there) - NAMED
    return ", ".join(there[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _condition(wish: Wish, given: Given, problems: list[Problem], gateways: Gateways, version: int) -> Condition:
    """True where packets to an address reach what the Service has; the reason is that of the first problem."""
    said = "; ".join(one.sentence for one in problems)
    if not given.addresses:
        first = problems[0].reason if problems else PENDING
        return Condition("False", first, said or "no address is wanted")
    if any(one.sentence == CLOSED for one in problems):
        return Condition("False", SOURCES, said)
    done = spread(f"Service {'/'.join(wish.key)}", gateways, gateways.applied, version)
    if done.status == "True":
        return Condition("True", problems[0].reason if problems else PROGRAMMED, said or done.message)
    return done._replace(message="; ".join(filter(None, (done.message, said))))


def spread(what: str, gateways: Gateways, applied: dict[str, int], version: int) -> Condition:
    """Whether all gateways have what they should have of an object in this version; `applied`: versions by gateway."""
    if not gateways.applied:
        return Condition("False", NO_GATEWAY, "no gateway renews its Lease")
    behind = [name for name in gateways.applied if applied.get(name, 0) < version]
    refusing: defaultdict[str, list[str]] = defaultdict(list)
    for name, refused in gateways.refused.items():
        if what in refused and name not in behind:
            refusing[refused[what]].append(name)
    waits = f"{some(behind)} of {len(gateways.applied)} gateways have not applied it yet" if behind else ""
    if refusing:
        sentences = (f"refused by {some(names)}: {why}" for why, names in sorted(refusing.items()))
        return Condition("False", REFUSED, "; ".join(filter(None, (*sentences, waits))))
    if behind:
        return Condition("False", PENDING, waits)
    return Condition("True", PROGRAMMED, f"applied by {some(gateways.applied)}")


def patch_of(wish: Wish, shown: Shown, now: str) -> dict[str, Any]:
    """The body of a server-side apply of `services/status`, to this version of the Service and no other. What is not in
    it is taken back; nothing of NOTHING_SHOWN stays."""
    status: dict[str, Any] = {}
    if shown.ingress:
        status["loadBalancer"] = {"ingress": [_written(one, wish) for one in shown.ingress]}
    if shown.condition:
        status["conditions"] = [written(OF_SERVICE, shown.condition, Said(wish.shown.condition, wish.since), now)]
    namespace, name = wish.key
    meta = {"name": name, "namespace": namespace, "resourceVersion": str(wish.version)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "status": status}


def _written(one: Ingress, wish: Wish) -> dict[str, Any]:
    row: dict[str, Any] = {"ip": str(one.address), "ipMode": one.mode}
    if one.errors:
        errors = dict(one.errors)
        row["ports"] = [
            {
                "port": each.port,
                "protocol": each.protocol,
                **({"error": errors[each.port]} if each.protocol not in CARRIED else {}),
            }
            for each in wish.ports
        ]
    return row
