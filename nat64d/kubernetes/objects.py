"""What of a Service and of an EndpointSlice counts here: read from JSON, and kept small, as there are many."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

GROUP, VERSION = "nat64d.io", "v1alpha1"  # of our own kinds
API = f"{GROUP}/{VERSION}"
CLASS = f"{GROUP}/gateway"
SERVICE_NAME = "kubernetes.io/service-name"  # the label of a slice that names its Service
CLIENT_PREFIX = f"{GROUP}/client-prefix"
Key: TypeAlias = tuple[str, str]  # namespace and name


# Where the extra is not installed nothing is known of the base class.
class Read(msgspec.Struct, rename="camel"):  # type: ignore[call-arg, unused-ignore]
    """JSON as the API has it, of which unknown keys are left out."""


class Metadata(Read):
    """Of an object, or of a list."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: str | None = None
    resource_version: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    continue_: str = msgspec.field(name="continue", default="")


class _Port(Read):
    port: int | None = None
    name: str | None = None
    protocol: str | None = None


class _ClientIp(Read):
    timeout_seconds: int | None = None


class _Affinity(Read):
    client_ip: _ClientIp | None = msgspec.field(name="clientIP", default=None)


class _ServiceSpec(Read):
    type: str = "ClusterIP"
    ports: list[_Port] | None = None
    load_balancer_class: str | None = None
    session_affinity: str | None = None
    session_affinity_config: _Affinity | None = None
    external_traffic_policy: str | None = None
    load_balancer_source_ranges: list[str] | None = None


class _Ingress(Read):
    ip: str | None = None
    ip_mode: str | None = None


class _LoadBalancer(Read):
    ingress: list[_Ingress] | None = None


class _ServiceStatus(Read):
    load_balancer: _LoadBalancer | None = None


class ServiceObject(Read):
    """A Service as the API has it."""

    metadata: Metadata
    spec: _ServiceSpec | None = None
    status: _ServiceStatus | None = None


class _Conditions(Read):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class _Endpoint(Read):
    addresses: list[str] | None = None
    conditions: _Conditions | None = None
    node_name: str | None = None


class SliceObject(Read):
    """An EndpointSlice as the API has it."""

    metadata: Metadata
    address_type: str = ""
    endpoints: list[_Endpoint] | None = None
    ports: list[_Port] | None = None


class ServicePort(NamedTuple):
    """One port of a Service."""

    name: str
    protocol: str
    port: int


class Service(NamedTuple):
    """A Service: who it is, and what it wants. `addresses`: of its status, each with its mode."""

    key: Key
    age: tuple[str, str]  # the older is the smaller
    type: str
    class_: str
    ports: tuple[ServicePort, ...]
    addresses: tuple[tuple[str, str], ...]
    affinity: int  # seconds; 0 = none
    local: bool
    sources: tuple[str, ...]
    client_prefix: str


class Balanced(Protocol):
    """What a Service is, whatever else is known of it."""

    @property
    def type(self) -> str:
        """As ClusterIP, LoadBalancer."""

    @property
    def class_(self) -> str:
        """Of its load balancer, "" = it names none."""


def is_ours(service: Balanced, default_class: bool) -> bool:
    """Whether its class is ours; `default_class`: also if it names none."""
    return service.type == "LoadBalancer" and (service.class_ == CLASS or (default_class and not service.class_))


class Endpoint(NamedTuple):
    """One of a slice. `ready`: gets new flows; otherwise it is draining, and keeps those that it has."""

    address: str
    ready: bool
    node: str


class Slice(NamedTuple):
    """An EndpointSlice: of which Service, and what is in it; those that do not serve are left out."""

    service: Key
    family: str
    ports: tuple[ServicePort, ...]
    endpoints: tuple[Endpoint, ...]


def service_of(given: ServiceObject) -> Service:
    """What counts of it."""
    about, spec = given.metadata, given.spec or _ServiceSpec()
    balancer = given.status.load_balancer if given.status else None
    ingress = (balancer.ingress if balancer else None) or []
    timeout = 0
    if spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        timeout = (config.client_ip.timeout_seconds if config and config.client_ip else None) or 10800
    return Service(
        (about.namespace, about.name),
        (about.creation_timestamp or "", about.uid),
        spec.type,
        spec.load_balancer_class or "",
        _ports(spec.ports),
        tuple((one.ip, one.ip_mode or "VIP") for one in ingress if one.ip),
        timeout,
        spec.external_traffic_policy == "Local",
        tuple(spec.load_balancer_source_ranges or ()),
        (about.annotations or {}).get(CLIENT_PREFIX, ""),
    )


def slice_of(given: SliceObject) -> Slice:
    """What counts of it."""
    about = given.metadata
    key = (sys.intern(about.namespace), sys.intern((about.labels or {}).get(SERVICE_NAME, "")))
    rows = (_endpoint(one) for one in given.endpoints or [])
    return Slice(key, sys.intern(given.address_type), _ports(given.ports), tuple(row for row in rows if row))


def _ports(given: list[_Port] | None) -> tuple[ServicePort, ...]:
    """A port without a number is all ports, which nobody can translate."""
    return tuple(
        ServicePort(sys.intern(one.name or ""), sys.intern(one.protocol or "TCP"), one.port)
        for one in given or []
        if one.port
    )


def _endpoint(given: _Endpoint) -> Endpoint | None:
    """Absent conditions: it is ready, and serves, and does not terminate. None of what gets no packets."""
    says = given.conditions or _Conditions()
    ready = says.ready is not False
    draining = says.serving is not False and says.terminating is True
    if not given.addresses or not (ready or draining):
        return None
    return Endpoint(given.addresses[0], ready, sys.intern(given.node_name or ""))


class Kind(NamedTuple):
    """A kind of objects that is followed: where the API has it, and what is made of each. `optional`: where there is no
    such kind, there are none of them."""

    name: str
    path: str
    labels: str
    decoder: Any
    made: Callable[[Any], Any]
    optional: bool = False


class Page(Read):
    """A list, or a part of one; its items are decoded by those who know their kind."""

    metadata: Metadata
    items: list[msgspec.Raw] | None = None


class Told(Read):
    """A line of a watch."""

    type: str
    object: msgspec.Raw


class Status(Read):
    """What is wrong, in the words of the API server."""

    code: int = 0
    reason: str = ""
    message: str = ""


class _Bare(Read):
    metadata: Metadata


SERVICES = Kind("Services", "api/v1/services", "", msgspec.json.Decoder(ServiceObject), service_of)
SLICES = Kind(
    "EndpointSlices",
    "apis/discovery.k8s.io/v1/endpointslices",
    f"{SERVICE_NAME},!service.kubernetes.io/headless",
    msgspec.json.Decoder(SliceObject),
    slice_of,
)
PAGE: Any = msgspec.json.Decoder(Page)
TOLD: Any = msgspec.json.Decoder(Told)
STATUS: Any = msgspec.json.Decoder(Status)
BARE: Any = msgspec.json.Decoder(_Bare)


def number_of(version: str) -> int:
    """Versions are numbers, and may be compared (since 1.35); what is none is as old as can be."""
    return int(version) if version.isdecimal() else 0
