"""Services and slices as a cluster has them."""

from typing import Any

from nat64d.kubernetes.resources import definitions
from tests.kubernetes.fake.kinds import SERVICES, SLICES, defined_by
from tests.kubernetes.fake.server import Fake

CLASS = "nat64d.io/gateway"
READY = {"ready": True, "serving": True, "terminating": False}
DRAINING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}
NOT_READY = {"ready": False, "serving": False, "terminating": False}
Object = dict[str, Any]
OUR_KINDS = [kind for one in definitions() for kind in defined_by(one)]
_, STATIC, TRANSLATOR = OUR_KINDS


def port(number: int = 80, name: str = "http", protocol: str = "TCP") -> Object:
    return {"port": number, "name": name, "protocol": protocol, "targetPort": name}


def service(name: str = "web", ip: str | tuple[str, ...] = "192.0.2.2", *ports: Object, **spec: Any) -> Object:
    """A Service with addresses, "" = none yet; `mode`, `annotations`, `created` are not of its spec."""
    ips = (ip,) if isinstance(ip, str) else ip
    mode, annotations, created = (spec.pop(key, None) for key in ("mode", "annotations", "created"))
    ingress = [{"ip": one, "ipMode": mode or "VIP"} for one in ips if one]
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            **({"annotations": annotations} if annotations else {}),
            **({"creationTimestamp": created} if created else {}),
        },
        "spec": {"type": "LoadBalancer", "loadBalancerClass": CLASS, "ports": [*(ports or (port(),))], **spec},
        "status": {"loadBalancer": {"ingress": ingress} if ingress else {}},
    }


def end(address: str, conditions: Object | None = None, node: str = "") -> Object:
    return {
        "addresses": [address],
        "conditions": READY if conditions is None else conditions,
        **({"nodeName": node} if node else {}),
    }


def slice_(name: str, *ends: Object | str, of: str = "web", ports: Any = None, family: str = "IPv6") -> Object:
    rows = [end(one) if isinstance(one, str) else one for one in ends]
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": of}},
        "addressType": family,
        "endpoints": rows or None,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}] if ports is None else ports,
    }


def mapping(name: str, ipv4: str, ipv6: str = "", service: str = "") -> Object:
    """A StaticMapping, of a prefix or of a Service."""
    given = {"ipv6": ipv6} if ipv6 else {"serviceRef": {"namespace": "default", "name": service}}
    return {"metadata": {"name": name}, "spec": {"ipv4": ipv4, **given}}


def fill(fake: Fake, services: int, endpoints: int, per_slice: int = 100) -> None:
    """A large cluster: so many Services, each with so many endpoints."""
    for number in range(services):
        name = f"web-{number}"
        fake.set(SERVICES, service(name, f"10.{64 + number // 250}.{number % 250}.1"))
        for first in range(0, endpoints, per_slice):
            many = [f"2001:db8:{number:x}::{one + 1:x}" for one in range(first, min(first + per_slice, endpoints))]
            fake.set(SLICES, slice_(f"{name}-{first}", *many, of=name))
