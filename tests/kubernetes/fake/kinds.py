"""The kinds of objects that the fake API server has; a CustomResourceDefinition adds its own."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What there may be objects of."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    has_status: bool = False
    schema: Any = field(default=None, compare=False)

    @property
    def api_version(self) -> str:
        """As objects have it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """Of the API."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"


SERVICES = Kind("", "v1", "services", "Service", has_status=True)
NODES = Kind("", "v1", "nodes", "Node", namespaced=False, has_status=True)
NAMESPACES = Kind("", "v1", "namespaces", "Namespace", namespaced=False, has_status=True)
SLICES = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES = Kind("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS = Kind("events.k8s.io", "v1", "events", "Event")
CIDRS = Kind("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", namespaced=False, has_status=True)
CRDS = Kind(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
    has_status=True,
)
KINDS = (SERVICES, NODES, NAMESPACES, SLICES, LEASES, EVENTS, CIDRS, CRDS)


def defined_by(definition: dict[str, Any]) -> list[Kind]:
    """The kinds that a CustomResourceDefinition adds."""
    spec = definition["spec"]
    return [
        Kind(
            spec["group"],
            version["name"],
            spec["names"]["plural"],
            spec["names"]["kind"],
            spec["scope"] == "Namespaced",
            "status" in version.get("subresources", {}),
            version["schema"]["openAPIV3Schema"],
        )
        for version in spec["versions"]
        if version.get("served")
    ]
