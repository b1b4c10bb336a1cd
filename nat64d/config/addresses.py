"""Types of addresses, prefixes, ranges and transport addresses, for models.py. values.py explains the descriptions.

What has no type of its own stays the text that it is, so that the configuration can be shown in the words of its
author. `split_` functions take such text apart; they raise ValueError.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
    summarize_address_range,
)
from socket import AF_INET6, inet_pton
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidatorFunctionWrapHandler, WrapValidator

from nat64d.config.errors import ExpectedError
from nat64d.config.values import interface_name
from translator.static.arithmetic import LENGTHS
from translator.static.blocks import LINK_LOCAL4, NO_HOSTS4, NO_HOSTS6, WELL_KNOWN

Address = TypeVar("Address", IPv4Address, IPv6Address)
Parsed = TypeVar("Parsed", IPv4Address, IPv6Address, IPv4Network, IPv6Network)

INTERFACE = "interface:"
SHARED_PORTS = "61001-65535"  # of a pool that shares the address of an interface: above what Linux gives to programs
DNS, DNS_OVER_TLS = 53, 853  # ports
# LIMIT
KNOWN = 1 << 17  # transport addresses of each version that are taken apart once, 0.4 KiB each

_NO_HOSTS6 = [(int(block[0]), int(block.netmask)) for block in NO_HOSTS6]


def plain(value: object) -> object:
    """Text without what ipaddress would take too: zones (%eth0), netmasks, numbers, octets."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F:.]+(/[0-9]+)?", value):
        raise ValueError
    return value


def host_bits(text: str, version: int) -> str:
    """What is expected instead of a prefix with bits beyond its length; "" if this is no prefix of this version."""
    try:
        prefix = ip_network(text, strict=False)
    except ValueError:
        return ""
    return f"zeros beyond the prefix length, as in {prefix}" if prefix.version == version else ""


def of_hosts(value: Parsed) -> Parsed:
    """Addresses that hosts can have (RFC 1122 section 3.2.1.3, RFC 4291)."""
    given: Any = value
    blocks = NO_HOSTS4 if given.version == 4 else NO_HOSTS6
    is_one = isinstance(value, IPv4Address | IPv6Address)
    if any(given in block if is_one else given.overlaps(block) for block in blocks):
        outside = "0.0.0.0/8, 127.0.0.0/8 and 224.0.0.0/3" if given.version == 4 else "::/64, fe80::/10 and ff00::/8"
        raise ExpectedError(f"unicast addresses, outside {outside}")
    return value


def routable4(prefix: IPv4Network) -> IPv4Network:
    """Addresses that hosts beyond a router can have: packets from link-local ones are not forwarded (RFC 3927 section
    2.7)."""
    if of_hosts(prefix).overlaps(LINK_LOCAL4):
        raise ExpectedError(f"addresses outside {LINK_LOCAL4}, whose packets routers drop (RFC 3927 section 2.7)")
    return prefix


def translation_prefix(prefix: IPv6Network) -> IPv6Network:
    """A prefix for IPv4-embedded IPv6 addresses (RFC 6052 section 2.2): one of six lengths, bits 64 to 71 zero."""
    if prefix.prefixlen not in LENGTHS:
        raise ExpectedError("a prefix length of 32, 40, 48, 56, 64 or 96 (RFC 6052 section 2.2)")
    if prefix.network_address.packed[8]:
        raise ExpectedError("a prefix whose bits 64 to 71 are zero (RFC 6052 section 2.2)")
    return of_hosts(prefix)


def is_well_known_cut(prefix: IPv6Network) -> bool:
    """Whether it is the well-known prefix in another length than its own (RFC 6052 section 2.1)."""
    return prefix[0] == WELL_KNOWN[0] and prefix != WELL_KNOWN


def found_prefix(prefix: IPv6Network) -> IPv6Network:
    """A prefix of a network's NAT64 as somebody told it: one that could be configured. Raises ValueError."""
    if is_well_known_cut(prefix):
        raise ValueError
    return translation_prefix(prefix)


def split_ipv4_range(text: str) -> tuple[IPv4Address, IPv4Address]:
    """First and last address of a prefix, an address or "first-last"."""
    first_text, dash, last_text = text.partition("-")
    if dash:
        first, last = _address4(first_text), _address4(last_text)
    else:
        prefix = _network4(text)
        first, last = prefix[0], prefix[-1]
    if first > last:
        raise ExpectedError("a range whose first address is not above its last")
    return first, last


def _pool_addresses(text: str) -> str:
    """The addresses of a pool: prefix, address, "first-last" or "interface:NAME"."""
    if text.startswith(INTERFACE):
        return INTERFACE + interface_name(text.removeprefix(INTERFACE))
    for network in summarize_address_range(*split_ipv4_range(text)):
        of_hosts(network)
    return text


def with_ports(row: object) -> object:
    """A row of [[pool4]] as it is given, with the default of `ports` where its addresses are those of an interface."""
    if isinstance(row, dict) and str(row.get("addresses")).startswith(INTERFACE):
        return {"ports": SHARED_PORTS, **row}
    return row


def split_port_range(text: str) -> tuple[int, int]:
    """First and last port of "first-last" or of one number."""
    first_text, dash, last_text = text.partition("-")
    first = _port(first_text)
    last = _port(last_text) if dash else first
    if first > last:
        raise ExpectedError("a range whose first port is not above its last")
    return first, last


class Ports(NamedTuple, Generic[Address]):
    """An address with some of its ports (for ICMP: query identifiers), the last included."""

    address: Address
    first: int
    last: int

    @property
    def size(self) -> int:
        """How many ports."""
        return self.last - self.first + 1


@lru_cache(KNOWN)
def split_transport4(text: str) -> Ports[IPv4Address]:
    """Address and ports of "192.0.2.1:80" or "192.0.2.1:1000-1999"."""
    address, _, ports = text.rpartition(":")
    return Ports(of_hosts(_address4(address)), *split_port_range(ports))


@lru_cache(KNOWN)
def split_transport6(text: str) -> Ports[IPv6Address]:
    """Address and ports of "[2001:db8::1]:80" or "[2001:db8::1]:1000-1999"."""
    number, first, last = numbers6(text)
    return Ports(IPv6Address(number), first, last)


def numbers6(text: str) -> tuple[int, int, int]:
    """The same as numbers: quick, and nothing is kept."""
    address, _, ports = text.rpartition(":")
    if not address.startswith("[") or not address.endswith("]"):
        raise ValueError
    try:
        number = int.from_bytes(inet_pton(AF_INET6, address[1:-1]))
    except OSError:
        raise ValueError from None
    if any(number & mask == block for block, mask in _NO_HOSTS6):
        of_hosts(IPv6Address(number))
    return number, *split_port_range(ports)


def split_listener(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """Address and port of "127.0.0.1:53" or "[::1]:53"; loopback and unspecified addresses included."""
    address, _, port = text.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        return _address6(address[1:-1]), _port(port)
    return _address4(address), _port(port)


def split_name_server(text: str) -> tuple[IPv4Address | IPv6Address, int, str | None]:
    """Address, port (53, or 853 for DNS over TLS, RFC 7858) and the name in its certificate, None for plain DNS."""
    if (bare := _bare(text)) is not None:
        return bare, DNS, None
    match = re.fullmatch(
        r"(?P<tls>tls://)?(?:\[(?P<six>[^]]+)]|(?P<four>[^]:#[]+))(?::(?P<port>\d+))?(?:#(?P<name>\S+))?", text
    )
    if not match or bool(match["tls"]) != bool(match["name"]):
        raise ValueError
    address = _address6(match["six"]) if match["six"] else _address4(match["four"])
    usual = DNS_OVER_TLS if match["tls"] else DNS
    return address, _port(match["port"]) if match["port"] else usual, domain(match["name"]) if match["name"] else None


def domain(text: str) -> str:
    """A domain name in ASCII; without the final dot."""
    if len(text) > 253 or not re.fullmatch(r"(?:[!-\-/-~]{1,63}\.)*[!-\-/-~]{1,63}\.?", text):
        raise ValueError
    return text.removesuffix(".")


def _address4(text: str) -> IPv4Address:
    plain(text)
    return IPv4Address(text)


def _address6(text: str) -> IPv6Address:
    plain(text)
    return IPv6Address(text)


def _network4(text: str) -> IPv4Network:
    plain(text)
    try:
        return IPv4Network(text)
    except ValueError:
        raise ExpectedError(host_bits(text, 4)) from None


def _port(text: str) -> int:
    """A decimal number from 1 to 65535."""
    if not (text.isascii() and text.isdecimal()) or text.startswith("0") or len(text) > 5 or int(text) > 65535:
        raise ValueError
    return int(text)


def _bare(text: str) -> IPv4Address | IPv6Address | None:
    """An address of either family with nothing around it, or None."""
    try:
        plain(text)
        return ip_address(text)
    except ValueError:
        return None


def as_given(split: Callable[[str], object]) -> AfterValidator:
    """Text that `split` can take apart, but left whole."""

    def check(text: str) -> str:
        split(text)
        return text

    return AfterValidator(check)


BEHIND = IPv6Network("fd6e:6174:3634::464")  # of a CLAT that is hidden behind an address of an interface


class OfInterface(IPv6Network):
    """What an interface gives, "interface:eth0", as long as that is not known: until then it is BEHIND."""

    def __init__(self, text: str) -> None:
        """Raises ExpectedError."""
        super().__init__(BEHIND)
        self.interface = interface_name(text.removeprefix(INTERFACE))

    def __str__(self) -> str:
        return INTERFACE + self.interface

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))


def _own(value: object, check: ValidatorFunctionWrapHandler) -> IPv6Network:
    if isinstance(value, str) and value.startswith(INTERFACE):
        return OfInterface(value)
    network: IPv6Network = check(value)
    return network


Prefix4 = Annotated[IPv4Network, BeforeValidator(plain), Field(description="an IPv4 prefix such as 192.0.2.0/24")]
Prefix6 = Annotated[IPv6Network, BeforeValidator(plain), Field(description="an IPv6 prefix such as 2001:db8::/32")]
Prefix = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(plain),
    Field(description="a prefix such as 2001:db8::/32 or 192.0.2.0/24"),
]
Routable4 = Annotated[Prefix4, AfterValidator(routable4)]
Hosts6 = Annotated[Prefix6, AfterValidator(of_hosts)]
Own6 = Annotated[Hosts6, WrapValidator(_own)]
Host4 = Annotated[
    IPv4Address,
    BeforeValidator(plain),
    AfterValidator(of_hosts),
    Field(description="an IPv4 address such as 192.0.2.1"),
]
Host6 = Annotated[
    IPv6Address,
    BeforeValidator(plain),
    AfterValidator(of_hosts),
    Field(description="an IPv6 address such as 2001:db8::1"),
]
TranslationPrefix = Annotated[
    IPv6Network,
    BeforeValidator(plain),
    AfterValidator(translation_prefix),
    Field(description="an IPv6 prefix such as 64:ff9b::/96"),
]
PoolAddresses = Annotated[
    str,
    AfterValidator(_pool_addresses),
    Field(
        description='a prefix such as "192.0.2.0/28", a range such as "192.0.2.1-192.0.2.9", or an interface such as '
        '"interface:eth0"'
    ),
]
PortRange = Annotated[
    str, as_given(split_port_range), Field(description='ports such as "1024-65535", each from 1 to 65535')
]
Transport4 = Annotated[
    str,
    as_given(split_transport4),
    Field(
        description="an address and a port from 1 to 65535, or a range of ports, "
        'such as "192.0.2.1:80" or "192.0.2.1:80-89"'
    ),
]
Transport6 = Annotated[
    str,
    as_given(numbers6),
    Field(
        description='an address in brackets and a port from 1 to 65535, or a range of ports, such as "[2001:db8::1]:80"'
    ),
]
Listener = Annotated[
    str,
    as_given(split_listener),
    Field(description='an address and a port such as "127.0.0.1:6464" or "[::1]:6464"'),
]
NameServer = Annotated[
    str,
    as_given(split_name_server),
    Field(
        description='a name server such as "2001:db8::53", "[2001:db8::53]:53" '
        'or "tls://[2001:db8::53]:853#dns.example"'
    ),
]
Domain = Annotated[str, AfterValidator(domain), Field(description="a domain name such as example.org")]
