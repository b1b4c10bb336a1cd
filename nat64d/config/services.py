"""[services] and [[service]]: an IPv4 transport address that several IPv6 endpoints serve."""

import re
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from nat64d.config.addresses import Ports, Prefix4, Transport4, Transport6, split_transport4, split_transport6
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
    """What holds for every [[service]]; `seed`: of the hash that chooses endpoints, "" = what all gateways of one pool6
    have; `no_endpoint` and `closed_port`: what a client is told."""

    seed: str = ""
    no_endpoint: Literal["reset", "drop"] = "reset"
    closed_port: Literal["reset", "drop"] = "reset"
    echo: Flag = True


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


class Endpoint(Section):
    """An IPv6 host and port that serves; one of weight 2 gets twice as many connections as one of weight 1, and one of
    weight 0 no new ones."""

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
        return split_transport6(self.address)


class Service(Section):
    """Packets to `ipv4` reach one of the `endpoints`; with `affinity` "client" the same one for all connections of a
    client. `sources`: whom it serves, () = all; `health`: whether endpoints are asked, None = all count as serving."""

    name: ServiceName
    protocol: Carried | Annotated[tuple[Carried, ...], listed("protocols", 1), Unique] = "tcp"
    ipv4: Transport4
    endpoints: tuple[Endpoint, ...] = ()
    affinity: Literal["none", "client"] = "none"
    sources: Annotated[tuple[Prefix4, ...], listed("IPv4 prefixes"), Unique] = ()
    health: Health | None = None

    @property
    def protocols(self) -> tuple[Carried, ...]:
        """`protocol`, always as a tuple."""
        return (self.protocol,) if isinstance(self.protocol, str) else self.protocol

    @property
    def end4(self) -> Ports[IPv4Address]:
        """`ipv4` taken apart."""
        return split_transport4(self.ipv4)

    @property
    def ordered(self) -> list[Endpoint]:
        """The endpoints by address and port, the same on every gateway."""
        return sorted(self.endpoints, key=lambda one: (int(one.end6.address), one.end6.first))

    @property
    def key(self) -> int:
        """What stands for the service in the hash of a client, never 0."""
        return int.from_bytes(sha256(self.name.encode()).digest()[:7], "big") | 1
