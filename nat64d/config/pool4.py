"""[[pool4]]: IPv4 transport addresses that IPv6 hosts share, also with this host."""

from ipaddress import IPv4Address
from typing import Annotated, Literal

from netaddr import IPRange
from pydantic import BaseModel, ConfigDict, model_validator

from nat64d.config.addresses import (
    INTERFACE,
    PoolAddresses,
    PortRange,
    Prefix6,
    split_ipv4_range,
    split_port_range,
    with_ports,
)
from nat64d.config.values import Flag, Unique, listed

Shared = Literal["tcp", "udp", "icmp", "other"]


class Section(BaseModel):
    """A table of the file: cannot be changed, has no key but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pool4(Section):
    """IPv4 transport addresses that IPv6 hosts share; `source`: by which hosts (longest prefix wins), None = by all;
    `deterministic`: each subscriber of `source` has a block of ports that follows from its prefix (RFC 7422).

    For ICMP a port is a query identifier.
    """

    addresses: PoolAddresses
    ports: PortRange = "1024-65535"
    protocols: Annotated[tuple[Shared, ...], listed("protocols", 1), Unique] = ("tcp", "udp", "icmp")
    source: Prefix6 | None = None
    deterministic: Flag = False

    _with_ports = model_validator(mode="before")(with_ports)

    @property
    def interface(self) -> str | None:
        """The interface whose addresses this host shares with the pool, if it does."""
        return self.addresses.removeprefix(INTERFACE).partition("/")[0] if self._of_interface else None

    @property
    def known(self) -> bool:
        """Whether it has addresses; those of an interface are found out on the host (host/own4.py)."""
        return not self._of_interface or "/" in self.addresses

    @property
    def range(self) -> IPRange:
        """The addresses, if they are known."""
        given = self.addresses.partition("/")[2] if self._of_interface else self.addresses
        return IPRange(*map(int, split_ipv4_range(given)))

    @property
    def _of_interface(self) -> bool:
        return self.addresses.startswith(INTERFACE)

    def at(self, address: IPv4Address | None) -> "Pool4":
        """The same with an address of its interface, or without one."""
        text = f"{INTERFACE}{self.interface}{f'/{address}' if address else ''}"
        return self.model_copy(update={"addresses": text})

    @property
    def port_range(self) -> tuple[int, int]:
        """The lowest port and the highest one."""
        return split_port_range(self.ports)
