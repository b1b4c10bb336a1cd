"""The three kinds of objects of nat64d itself, and the definitions (CRDs) that an API server takes for them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from nat64d.kubernetes.objects import GROUP, VERSION


def checked(*rules: tuple[str, str]) -> dict[str, Any]:
    """What the API server checks by CEL: pairs of a rule and of what it says when the rule does not hold."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


IS_PREFIX = "isCIDR(self) && cidr(self).ip().family() == {}"
Prefix4 = Annotated[
    str,
    Field(max_length=18, json_schema_extra=checked((IS_PREFIX.format(4), "expected an IPv4 prefix, as 192.0.2.0/24"))),
]
Prefix6 = Annotated[
    str,
    Field(max_length=43, json_schema_extra=checked((IS_PREFIX.format(6), "expected an IPv6 prefix, as 2001:db8::/96"))),
]
Block = Annotated[
    str,
    Field(
        max_length=87,
        json_schema_extra=checked(
            (
                "isCIDR(self) || isIP(self) || (self.split('-').size() == 2 && self.split('-').all(x, isIP(x)))",
                "expected a prefix, an address, or FIRST-LAST",
            )
        ),
    ),
]
Name = Annotated[str, Field(min_length=1, max_length=253)]


class Part(BaseModel):
    """Keys as the API spells them; unknown ones are refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class VIPPoolSpec(Part):
    """Addresses of Services: VIPs."""

    blocks: list[Block] = Field(
        min_length=1, max_length=64, description="Prefixes, addresses and ranges (FIRST-LAST) of IPv4 and IPv6."
    )
    auto_assign: bool = Field(True, description="Give addresses also to Services that do not name this pool.")
    families: list[Literal["IPv4", "IPv6"]] | None = Field(
        None,
        min_length=1,
        max_length=2,
        description="Of which families a Service gets an address that does not say; absent: of those of the blocks.",
    )


class ServiceReference(Part):
    """A Service of which the one endpoint that is ready is meant."""

    namespace: Name
    name: Name


class StaticMappingSpec(Part):
    """An IPv4 prefix that stands for an IPv6 prefix (RFC 7757), or for the endpoint of a Service."""

    model_config = ConfigDict(
        json_schema_extra=checked(
            ("has(self.ipv6) != has(self.serviceRef)", "expected either ipv6 or serviceRef"),
            ("!has(self.serviceRef) || self.ipv4.endsWith('/32')", "a serviceRef takes one address, as 192.0.2.7/32"),
        )
    )
    ipv4: Prefix4
    ipv6: Prefix6 | None = None
    service_ref: ServiceReference | None = None


class GatewayPool(Part):
    """The IPv4 addresses that one gateway sends from."""

    gateway: Name
    addresses: list[Block] = Field(min_length=1, max_length=16)


class TranslatorSpec(Part):
    """What all gateways have in common."""

    pool6: Prefix6 = Field(description="The prefix that IPv4 servers have in IPv6 (RFC 6052).")
    client_prefix: Prefix6 | None = Field(
        None, description="The prefix under which endpoints see IPv4 clients; absent: that of the gateways' files."
    )
    pool4: list[GatewayPool] = Field(
        default_factory=list, max_length=256, description="For each gateway addresses of its own; they do not overlap."
    )
    seed: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Not taken: gateways have [services] seed from their files; the condition says so.",
    )
    allowed_sources: list[Prefix6] = Field(
        default_factory=list,
        max_length=64,
        description="Not enforced: everybody may send through pool6, and the condition says so.",
    )


class Condition(Part):
    """Of metav1.Condition."""

    type: str = Field(max_length=316)
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(max_length=1024)
    message: str = Field(max_length=32768)
    observed_generation: int | None = None
    last_transition_time: str = Field(json_schema_extra={"format": "date-time"})


class Status(Part):
    """Written by the controller."""

    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class VIPPoolStatus(Status):
    """Of a pool: how many Services have how many of its addresses."""

    used: int = 0


KINDS: dict[str, tuple[type[Part], type[Part], tuple[tuple[str, str, str], ...]]] = {
    "VIPPool": (
        VIPPoolSpec,
        VIPPoolStatus,
        (("Blocks", "string", ".spec.blocks"), ("Used", "integer", ".status.used")),
    ),
    "StaticMapping": (
        StaticMappingSpec,
        Status,
        (
            ("IPv4", "string", ".spec.ipv4"),
            ("IPv6", "string", ".spec.ipv6"),
            ("Service", "string", ".spec.serviceRef.name"),
        ),
    ),
    "Translator": (
        TranslatorSpec,
        Status,
        (("Pool6", "string", ".spec.pool6"), ("Client-prefix", "string", ".spec.clientPrefix")),
    ),
}


def definitions() -> list[dict[str, Any]]:
    """The CustomResourceDefinition of each kind."""
    return [_definition(kind, *parts) for kind, parts in KINDS.items()]


def _definition(
    kind: str, spec: type[Part], status: type[Part], columns: tuple[tuple[str, str, str], ...]
) -> dict[str, Any]:
    plural, holds = f"{kind.lower()}s", "Ready" if kind == "VIPPool" else "Programmed"
    schema = {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(spec.model_json_schema(by_alias=True)),
            "status": structural(status.model_json_schema(by_alias=True)),
        },
    }
    shown = [
        *({"name": name, "type": type_, "jsonPath": path} for name, type_, path in columns),
        {"name": holds, "type": "string", "jsonPath": f'.status.conditions[?(@.type=="{holds}")].status'},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    version = {"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{**version, "subresources": {"status": {}}, "additionalPrinterColumns": shown}],
        },
    }


def structural(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema of pydantic as an API server takes it: references written out, and what may be `null` is
    left out (the server does so itself)."""
    known = schema.get("$defs", {})

    def plain(node: Any, *, of_names: bool = False) -> Any:
        if isinstance(node, list):
            return [plain(one) for one in node]
        if not isinstance(node, dict):
            return node
        if of_names:
            return {name: plain(one) for name, one in node.items()}
        if "$ref" in node:
            return plain({**known[node["$ref"].rpartition("/")[2]], **{k: v for k, v in node.items() if k != "$ref"}})
        if "anyOf" in node:
            (kept,) = (one for one in node["anyOf"] if one != {"type": "null"})
            rest = {key: one for key, one in node.items() if key not in {"anyOf", "default"}}
            return plain({**kept, **rest})
        left_out = {"title", "$defs", "additionalProperties"}
        return {key: plain(one, of_names=key == "properties") for key, one in node.items() if key not in left_out}

    found: dict[str, Any] = plain(schema)
    return found
