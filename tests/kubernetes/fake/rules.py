"""What the API server fills in and refuses: what 1.36 was seen to do, of the kinds that nat64d uses.

A rule takes what was sent and what was there before, fills in, and says what is wrong.
"""

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from tests.kubernetes.fake.kinds import EVENTS, LEASES, SERVICES, SLICES, Kind

Object = dict[str, Any]
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
LOAD_BALANCER, NODE_PORT = "LoadBalancer", ("LoadBalancer", "NodePort")
NODE_PORTS = iter(range(30000, 32768))
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "number": (int, float)}
CLUSTER_IPS = iter(range(1, 1 << 16))


class UnreadableError(Exception):
    """What was sent is no such object (400)."""


def filled_in(kind: Kind, given: Object, before: Object | None) -> list[str]:
    """Fill in what was left out; what is wrong with the rest, as `field: why` (422). Raises UnreadableError."""
    wrong = []
    if before is None and not DNS_NAME.fullmatch(given["metadata"].get("name", "")):
        wrong.append("metadata.name: Invalid value: a lowercase RFC 1123 name is expected")
    rule = RULES.get((kind.group, kind.plural))
    if rule:
        wrong += rule(given, before or {})
    if kind.schema:
        wrong += _against(kind.schema, given, "")
    return wrong


def status_filled_in(kind: Kind, given: Object) -> list[str]:
    """The same for the status alone."""
    if kind is SERVICES:
        return [*_status_of_service(given)]
    return [*_against(kind.schema, given, "")] if kind.schema else []


def _service(given: Object, before: Object) -> Iterator[str]:
    spec, old = given.setdefault("spec", {}), before.get("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] != "ExternalName":
        yield from _families(spec, old)
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault("timeoutSeconds", 10800)
        if not 0 < spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] <= 86400:
            yield "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: must be greater than 0"
    yield from _ports(spec)
    yield from _balanced(spec, old)
    if spec["type"] != LOAD_BALANCER and old.get("type") == LOAD_BALANCER:
        spec.pop("loadBalancerClass", None)
        given.get("status", {}).get("loadBalancer", {}).pop("ingress", None)
    given.setdefault("status", {}).setdefault("loadBalancer", {})


def _families(spec: Object, old: Object) -> Iterator[str]:
    policy = spec.setdefault("ipFamilyPolicy", "SingleStack")
    if policy == "RequireDualStack":
        yield 'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack'
    if (families := spec.setdefault("ipFamilies", ["IPv6"])) != ["IPv6"]:
        yield f"spec.ipFamilies[0]: Invalid value: {families!r}: not configured on this cluster"
    if spec.get("clusterIP") != "None":
        spec.setdefault("clusterIP", old.get("clusterIP") or f"fd00:10:96::{next(CLUSTER_IPS):x}")
    spec["clusterIPs"] = [spec["clusterIP"]]


def _ports(spec: Object) -> Iterator[str]:
    ports = spec.get("ports") or []
    if not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield "spec.ports: Required value"
    seen: set[Any] = set()
    for number, port in enumerate(ports):
        place = f"spec.ports[{number}]"
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
        if len(ports) > 1 and not port.get("name"):
            yield f"{place}.name: Required value"
        if not 1 <= port.get("port", 0) <= 65535:
            yield f"{place}.port: Invalid value: must be between 1 and 65535, inclusive"
        if port["protocol"] not in ("TCP", "UDP", "SCTP"):
            yield f'{place}.protocol: Unsupported value: "{port["protocol"]}"'
        if spec["type"] in NODE_PORT and spec.get("allocateLoadBalancerNodePorts", True):
            port.setdefault("nodePort", next(NODE_PORTS))
        for one in (("name", port.get("name")), (port["protocol"], port.get("port"))):
            if one[1] and one in seen:
                yield f"{place}: Duplicate value: {one[1]}"
            seen.add(one)


def _balanced(spec: Object, old: Object) -> Iterator[str]:
    """What there is for a load balancer alone."""
    balancer = spec["type"] == LOAD_BALANCER
    if spec["type"] in NODE_PORT:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    else:
        spec.pop("externalTrafficPolicy", None)
    if balancer:
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        if spec["externalTrafficPolicy"] == "Local":
            spec.setdefault("healthCheckNodePort", next(NODE_PORTS))
    stays = balancer and old.get("type") == LOAD_BALANCER
    if "loadBalancerClass" in spec and not balancer and old.get("type") != LOAD_BALANCER:
        yield "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"
    if stays and spec.get("loadBalancerClass") != old.get("loadBalancerClass"):
        yield "spec.loadBalancerClass: Invalid value: may not change once set"
    for source in spec.get("loadBalancerSourceRanges") or []:
        try:
            ip_network(source.strip(), strict=False)
        except ValueError:
            yield f'spec.loadBalancerSourceRanges: Invalid value: "{source}": must be a list of IP ranges'


def _status_of_service(given: Object) -> Iterator[str]:
    for number, row in enumerate(given.get("status", {}).get("loadBalancer", {}).get("ingress") or []):
        place = f"status.loadBalancer.ingress[{number}]"
        if "ip" in row:
            row.setdefault("ipMode", "VIP")
            try:
                address = ip_address(row["ip"])
                mapped = address.version == 6 and address.ipv4_mapped
            except ValueError:
                mapped = True
            if mapped:
                yield f'{place}.ip: Invalid value: "{row["ip"]}": must be a valid IP address'
        for port, one in enumerate(row.get("ports") or []):
            if not re.fullmatch(r"([a-z0-9.-]+/)?[A-Za-z0-9][A-Za-z0-9_.-]*", one.get("error", "x")):
                yield f"{place}.ports[{port}].error: Invalid value: {one['error']!r}"


def _slice(given: Object, before: Object) -> Iterator[str]:
    family = given.get("addressType")
    if family not in ("IPv4", "IPv6", "FQDN"):
        yield f'addressType: Unsupported value: "{family}"'
    if before and before["addressType"] != family:
        yield f'addressType: Invalid value: "{family}": field is immutable'
    for key in ("endpoints", "ports"):  # absent is null to the server
        given[key] = given.get(key) or None
    if len(given["endpoints"] or []) > 1000:
        yield "endpoints: Too many: must have at most 1000 items"
    for number, endpoint in enumerate(given["endpoints"] or []):
        endpoint.setdefault("conditions", {})
        if not endpoint.get("addresses"):
            yield f"endpoints[{number}].addresses: Required value"
        for at, text in enumerate(endpoint.get("addresses") or []):
            if family in ("IPv4", "IPv6") and not _canonical(text, family):
                yield f'endpoints[{number}].addresses[{at}]: Invalid value: "{text}": must be in canonical form'
    names = [port.setdefault("name", "") for port in given["ports"] or []]
    if len(names) != len(set(names)):
        yield "ports: Duplicate value"
    for port in given["ports"] or []:
        port.setdefault("protocol", "TCP")


def _canonical(text: str, family: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return str(address) == text and f"IPv{address.version}" == family


def _lease(given: Object, _: Object) -> Iterator[str]:
    spec = given.setdefault("spec", {})
    _micro(spec, "renewTime", "acquireTime")
    if spec.get("leaseDurationSeconds", 1) <= 0:
        yield "spec.leaseDurationSeconds: Invalid value: must be greater than 0"


def _event(given: Object, _: Object) -> Iterator[str]:
    _micro(given, "eventTime")
    _micro(given.get("series") or {}, "lastObservedTime")
    if not given.get("eventTime"):
        yield "eventTime: Required value"
    for key, most in (("action", 128), ("reportingController", 0), ("reportingInstance", 128), ("reason", 128)):
        if not given.get(key):
            yield f"{key}: Required value"
        elif most and len(given[key]) > most:
            yield f"{key}: Invalid value: can have at most {most} characters"
    if len(given.get("note", "")) > 1024:
        yield "note: Invalid value: can have at most 1024 characters"
    if given.get("type") not in ("Normal", "Warning"):
        yield f'type: Invalid value: "{given.get("type")}"'


def _micro(given: Object, *keys: str) -> None:
    for key in keys:
        if given.get(key) is not None and not MICRO.fullmatch(given[key]):
            raise UnreadableError(
                f'parsing time "{given[key]}" as "2006-01-02T15:04:05.000000Z07:00": cannot parse as ".000000"'
            )


def _against(schema: Object, given: Any, place: str) -> list[str]:
    """What of an object is not as the schema of its CustomResourceDefinition says; what that does not know is left
    out, as the server does."""
    if given is None and schema.get("nullable"):
        return []
    kind = schema.get("type")
    if kind and (not isinstance(given, TYPES[kind]) or (kind == "integer" and isinstance(given, bool))):
        return [f'{place or "<root>"}: Invalid value: "{given}": must be of type {kind}']
    within = {"object": _object, "array": _array, "string": _string}.get(kind or "", lambda *_: [])
    wrong = [*within(schema, given, place)]
    if "enum" in schema and given not in schema["enum"]:
        wrong.append(f'{place}: Unsupported value: "{given}"')
    return wrong


def _object(schema: Object, given: Object, place: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in given:
            yield f"{place}.{key}: Required value".lstrip(".")
    own = () if place else ("apiVersion", "kind", "metadata")
    for key in [key for key in given if key not in own]:
        if key in known:
            yield from _against(known[key], given[key], f"{place}.{key}".lstrip("."))
        elif known and not schema.get("x-kubernetes-preserve-unknown-fields"):
            del given[key]
    for key, one in known.items():
        if "default" in one:
            given.setdefault(key, one["default"])


def _array(schema: Object, given: list[Any], place: str) -> Iterator[str]:
    if len(given) > schema.get("maxItems", len(given)):
        yield f"{place}: Too many: must have at most {schema['maxItems']} items"
    for number, item in enumerate(given):
        yield from _against(schema.get("items", {}), item, f"{place}[{number}]")


def _string(schema: Object, given: str, place: str) -> Iterator[str]:
    if len(given) > schema.get("maxLength", len(given)):
        yield f"{place}: Too long: may not be more than {schema['maxLength']} bytes"
    if not re.search(schema.get("pattern", ""), given):
        yield f"{place}: Invalid value: should match '{schema['pattern']}'"


RULES: dict[tuple[str, str], Callable[[Object, Object], Iterator[str]]] = {
    (SERVICES.group, SERVICES.plural): _service,
    (SLICES.group, SLICES.plural): _slice,
    (LEASES.group, LEASES.plural): _lease,
    (EVENTS.group, EVENTS.plural): _event,
}
