"""[services] and [[service]]: a transport address, of IPv4 or IPv6 or both, that several IPv6 endpoints serve."""

import re
from functools import cached_property
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from operator import itemgetter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from nat64d.config.addresses import (
    Ports,
    Prefix,
    Prefix6,
    TranslationPrefix,
    Transport4,
    Transport6,
    numbers6,
    split_transport4,
    split_transport6,
)
from nat64d.config.pool4 import Section
from nat64d.config.values import Flag, Unique, listed, whole

Carried = Literal["tcp", "udp"]


def _service_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,252}", text):
        raise ValueError
    return text


ServiceName = Annotated[
    str,
    AfterValidator(_service_name),
    Field(description='a name of ASCII letters, digits, ".", "_", "/" and "-", at most 253'),
]


def _of_http(pattern: str) -> Any:
    def checked(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return AfterValidator(checked)


HttpPath = Annotated[
    str, _of_http(r"/[!-~]{0,1023}"), Field(description='a path that begins with "/", percent-encoded')
]
HttpHost = Annotated[str, _of_http(r"[0-9A-Za-z.:\[\]-]{0,255}"), Field(description="a host name, or nothing")]


class Services(Section):
    """What holds for every [[service]]; `client_prefix`: under which clients are written, "" = pool6; `seed`: of the
    hash that chooses endpoints, "" = what all gateways of one prefix have; `ipv6_front`: what becomes of IPv6 clients,
    "fullnat" gives them addresses of `source6`; `no_endpoint` and `closed_port`: what a client is told;
    `endpoint_gone`: what becomes of TCP connections of an endpoint that is in no list any more; `announce`: how their
    addresses are made known; `drain`: seconds for which packets still pass after that is taken back."""

    client_prefix: Literal[""] | TranslationPrefix = ""
    seed: str = ""
    ipv6_front: Literal["off", "dnat", "fullnat"] = "off"
    source6: Literal[""] | Prefix6 = ""
    no_endpoint: Literal["reset", "drop"] = "reset"
    closed_port: Literal["reset", "drop"] = "reset"
    endpoint_gone: Literal["keep", "reset"] = "keep"
    echo: Flag = True
    announce: Literal["routes", "neighbours"] = "routes"
    drain: Annotated[int, whole(0, 3600)] = 5


class Health(Section):
    """How endpoints are asked, every `interval` seconds, whether they serve: by a connection ("tcp") or a request for
    `path` ("http"; `host`: its Host header, "" = the address). `rise` and `fall` answers in a row count; one that is
    back has its whole share after `slow_start` seconds; with `panic` all are used where none serves."""

    kind: Literal["tcp", "http"] = "tcp"
    interval: Annotated[int, whole(1, 3600)] = 5
    timeout: Annotated[int, whole(1, 60)] = 2
    rise: Annotated[int, whole(1, 100)] = 2
    fall: Annotated[int, whole(1, 100)] = 3
    slow_start: Annotated[int, whole(0, 3600)] = 0
    path: HttpPath = "/"
    host: HttpHost = ""
    panic: Flag = False

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        """ "tcp" is short for { kind = "tcp" }."""
        return {"kind": given} if isinstance(given, str) else given


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Endpoint:
    """An IPv6 host and port that serves; one of weight 2 gets twice as many connections as one of weight 1, and one of
    weight 0 no new ones. No model: there may be 100,000, and it is a fifth as large."""

    address: Transport6
    weight: Annotated[int, whole(0, 65535)] = 1

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        """ "[2001:db8::1]:80" is short for { address = "[2001:db8::1]:80" }."""
        return {"address": given} if isinstance(given, str) else given

    @property
    def end6(self) -> Ports[IPv6Address]:
        """`address` taken apart."""
        number, first, last = numbers6(self.address)
        return Ports(IPv6Address(number), first, last)

    @property
    def place(self) -> tuple[int, int]:
        """Address and port as numbers."""
        return numbers6(self.address)[:2]

    def is_said_by(self, given: Any) -> bool:
        """Whether JSON says this."""
        if isinstance(given, str):
            return given == self.address and self.weight == 1
        if not isinstance(given, dict) or not given.keys() <= {"address", "weight"}:
            return False
        weight = given.get("weight", 1)
        return given.get("address") == self.address and type(weight) is int and weight == self.weight


class Service(Section):
    """Packets to `ipv4` and to `ipv6` reach one of the `endpoints`; with `affinity` "client" the same one for all
    connections of a client, until it has opened none for `affinity_timeout` seconds. `client_prefix`: another one for
    its IPv4 clients, "" = that of [services]; `sources`: whom it serves, () = all; `health`: whether endpoints are
    asked, None = all count as serving."""

    name: ServiceName
    protocol: Carried | Annotated[tuple[Carried, ...], listed("protocols", 1), Unique] = "tcp"
    ipv4: Transport4 | None = None
    ipv6: Transport6 | None = None
    endpoints: tuple[Endpoint, ...] = ()
    client_prefix: Literal[""] | TranslationPrefix = ""
    affinity: Literal["none", "client"] = "none"
    affinity_timeout: Annotated[int, whole(1, 86400)] = 10800
    sources: Annotated[tuple[Prefix, ...], listed("prefixes"), Unique] = ()
    health: Health | None = None

    def __hash__(self) -> int:
        """By few of what two services rarely share: one may have a thousand endpoints."""
        return hash((self.name, self.ipv4, self.ipv6, len(self.endpoints)))

    @property
    def protocols(self) -> tuple[Carried, ...]:
        """`protocol`, always as a tuple."""
        return (self.protocol,) if isinstance(self.protocol, str) else self.protocol

    @property
    def end4(self) -> Ports[IPv4Address] | None:
        """`ipv4` taken apart."""
        return split_transport4(self.ipv4) if self.ipv4 else None

    @property
    def end6(self) -> Ports[IPv6Address] | None:
        """`ipv6` taken apart."""
        return split_transport6(self.ipv6) if self.ipv6 else None

    @property
    def ends(self) -> list[Ports[IPv4Address] | Ports[IPv6Address]]:
        """Both, if it has both."""
        return [end for end in (self.end4, self.end6) if end]

    @property
    def members(self) -> int:
        """How many its endpoints are, each counted for every protocol and address."""
        return len(self.endpoints) * len(self.protocols) * ((self.ipv4 is not None) + (self.ipv6 is not None))

    @property
    def address(self) -> str:
        """The transport address that it is known by."""
        return self.ipv4 or self.ipv6 or ""

    @property
    def ordered(self) -> list[Endpoint]:
        """The endpoints by address and port, the same on every gateway."""
        return [endpoint for _, endpoint in self.places]

    @property
    def places(self) -> list[tuple[tuple[int, int], Endpoint]]:
        """The same, each behind its place."""
        return sorted(((one.place, one) for one in self.endpoints), key=itemgetter(0))

    @cached_property
    def text(self) -> bytes:
        """It as JSON, without what has the default."""
        return self.model_dump_json(exclude_defaults=True).encode()

    @cached_property
    def digest(self) -> bytes:
        """Other octets where anything is different."""
        return sha256(self.text).digest()

    def is_said_by(self, row: dict[str, Any]) -> bool:
        """Whether a row of JSON says this. No may mean that it says so in other words."""
        ends = row.get("endpoints", [])
        if not isinstance(ends, list) or len(ends) != len(self.endpoints):
            return False
        if {key: value for key, value in row.items() if key != "endpoints"} != self._others:
            return False
        return all(one.is_said_by(end) for one, end in zip(self.endpoints, ends, strict=True))

    @cached_property
    def _others(self) -> dict[str, Any]:
        """What is said of it but for `endpoints`, as JSON has it."""
        return self.model_dump(mode="json", exclude={"endpoints"}, exclude_unset=True)

    @property
    def key(self) -> int:
        """What stands for the service in the hash of a client, never 0."""
        return int.from_bytes(sha256(self.name.encode()).digest()[:7], "big") | 1
