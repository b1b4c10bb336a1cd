"""Readers (see values.py) of addresses, prefixes, ranges and transport addresses.

`split_` functions take text apart and raise ValueError as readers do; the reader of the same thing returns the text as
given, so that the configuration can be shown back in the words of its author.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeVar

from nat64d.config.values import interface_name

T = TypeVar("T")
Network = TypeVar("Network", IPv4Network, IPv6Network)

RFC6052_LENGTHS = (32, 40, 48, 56, 64, 96)
INTERFACE = "interface:"

# What several readers expect.
UNICAST4 = "unicast addresses, outside 0.0.0.0/8, 127.0.0.0/8 and 224.0.0.0/3"
UNICAST6 = "unicast addresses, outside ::/64, fe80::/10 and ff00::/8"
RANGE4 = 'a prefix such as "192.0.2.0/28" or a range such as "192.0.2.1-192.0.2.9"'
PORTS = 'ports such as "1024-65535", each from 1 to 65535'
TRANSPORT4 = 'an address and a port from 1 to 65535 such as "192.0.2.1:80"'
TRANSPORT6 = 'an address in brackets and a port from 1 to 65535 such as "[2001:db8::1]:80"'
SERVERS = "name servers"
NAME_SERVER = 'a name server such as "2001:db8::53", "[2001:db8::53]:53" or "tls://[2001:db8::53]:853#dns.example"'
LISTENER = 'an address and a port such as "127.0.0.1:6464" or "[::1]:6464"'

# No IPv6 host, no translation prefix: unspecified, loopback, IPv4-mapped and -compatible; link-local; multicast.
_NO_HOSTS6 = tuple(IPv6Network(prefix) for prefix in ("::/64", "fe80::/10", "ff00::/8"))

_PLAIN = re.compile(r"[0-9a-fA-F:.]+(/[0-9]+)?")


def address4(value: object) -> IPv4Address:
    """An IPv4 address that a host beyond a router can have."""
    address = _parse(IPv4Address, value, "an IPv4 address such as 192.0.2.1")
    if not _is_host4(address.packed[0]):
        raise ValueError(UNICAST4)
    return address


def address6(value: object) -> IPv6Address:
    """An IPv6 address that a host beyond a router can have."""
    address = _parse(IPv6Address, value, "an IPv6 address such as 2001:db8::1")
    if any(address in prefix for prefix in _NO_HOSTS6):
        raise ValueError(UNICAST6)
    return address


def prefix4(value: object) -> IPv4Network:
    """An IPv4 prefix with zero host bits; a bare address is a /32."""
    return _prefix(IPv4Network, value, "an IPv4 prefix such as 192.0.2.0/24")


def prefix6(value: object) -> IPv6Network:
    """An IPv6 prefix with zero host bits; a bare address is a /128."""
    return _prefix(IPv6Network, value, "an IPv6 prefix such as 2001:db8::/32")


def hosts4(value: object) -> IPv4Network:
    """A prefix of IPv4 addresses that hosts beyond a router can have."""
    prefix = prefix4(value)
    if not all(_is_host4(octet) for octet in range(prefix[0].packed[0], prefix[-1].packed[0] + 1)):
        raise ValueError(UNICAST4)
    return prefix


def hosts6(value: object) -> IPv6Network:
    """A prefix of IPv6 addresses that hosts beyond a router can have."""
    prefix = prefix6(value)
    if any(prefix.overlaps(other) for other in _NO_HOSTS6):
        raise ValueError(UNICAST6)
    return prefix


def translation_prefix(value: object) -> IPv6Network:
    """A prefix for IPv4-embedded IPv6 addresses (RFC 6052 section 2.2): one of six lengths, bits 64 to 71 zero."""
    prefix = _prefix(IPv6Network, value, "an IPv6 prefix such as 64:ff9b::/96")
    if prefix.prefixlen not in RFC6052_LENGTHS:
        raise ValueError("a prefix length of 32, 40, 48, 56, 64 or 96 (RFC 6052 section 2.2)")
    if prefix.network_address.packed[8]:
        raise ValueError("a prefix whose bits 64 to 71 are zero (RFC 6052 section 2.2)")
    if any(prefix.overlaps(other) for other in _NO_HOSTS6):
        raise ValueError(UNICAST6)
    return prefix


def ipv4_range(value: object) -> str:
    """The addresses of a pool: prefix, address, "first-last" or "interface:NAME"."""
    if isinstance(value, str) and value.startswith(INTERFACE):
        return INTERFACE + interface_name(value.removeprefix(INTERFACE))
    return _as_given(split_ipv4_range, value, RANGE4)


def split_ipv4_range(text: str) -> tuple[IPv4Address, IPv4Address]:
    """First and last address of a prefix, an address or "first-last"."""
    first_text, dash, last_text = text.partition("-")
    if dash:
        first, last = _parse(IPv4Address, first_text, RANGE4), _parse(IPv4Address, last_text, RANGE4)
    else:
        prefix = _prefix(IPv4Network, text, RANGE4)
        first, last = prefix[0], prefix[-1]
    if first > last:
        raise ValueError("a range whose first address is not above its last")
    if not all(_is_host4(octet) for octet in range(first.packed[0], last.packed[0] + 1)):
        raise ValueError(UNICAST4)
    return first, last


def port_range(value: object) -> str:
    """Ports, or ICMP query identifiers: "first-last" or one number."""
    return _as_given(split_port_range, value, PORTS)


def split_port_range(text: str) -> tuple[int, int]:
    """First and last port of "first-last" or of one number."""
    first_text, dash, last_text = text.partition("-")
    first = _port(first_text, PORTS)
    last = _port(last_text, PORTS) if dash else first
    if first > last:
        raise ValueError("a range whose first port is not above its last")
    return first, last


def transport4(value: object) -> str:
    """An IPv4 transport address: "192.0.2.1:80"."""
    return _as_given(split_transport4, value, TRANSPORT4)


def split_transport4(text: str) -> tuple[IPv4Address, int]:
    """Address and port of "192.0.2.1:80"."""
    address, _, port = text.rpartition(":")
    _parse(IPv4Address, address, TRANSPORT4)
    return address4(address), _port(port, TRANSPORT4)


def transport6(value: object) -> str:
    """An IPv6 transport address: "[2001:db8::1]:80"."""
    return _as_given(split_transport6, value, TRANSPORT6)


def split_transport6(text: str) -> tuple[IPv6Address, int]:
    """Address and port of "[2001:db8::1]:80"."""
    match = re.fullmatch(r"\[(.+)]:(.+)", text)
    if not match:
        raise ValueError(TRANSPORT6)
    _parse(IPv6Address, match[1], TRANSPORT6)
    return address6(match[1]), _port(match[2], TRANSPORT6)


def listener(value: object) -> str:
    """Where a server of ours listens: address and port of either family, loopback and unspecified included."""
    return _as_given(split_listener, value, LISTENER)


def split_listener(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """Its address and its port."""
    match = re.fullmatch(r"(?:\[(?P<six>[^]]+)]|(?P<four>[^:]+)):(?P<port>.+)", text)
    if not match:
        raise ValueError(LISTENER)
    kind: Callable[[str], IPv4Address | IPv6Address] = IPv6Address if match["six"] else IPv4Address
    return _parse(kind, match["six"] or match["four"], LISTENER), _port(match["port"], LISTENER)


def prefix(value: object) -> IPv4Network | IPv6Network:
    """A prefix of either family with zero host bits; a bare address is itself alone."""
    expected = "a prefix such as 2001:db8::/32 or 192.0.2.0/24"
    if isinstance(value, str) and ":" in value:
        return _prefix(IPv6Network, value, expected)
    return _prefix(IPv4Network, value, expected)


def name_server(value: object) -> str:
    """Where a name server answers, port 53 unless one is given; "tls://…#name" by TLS (RFC 7858), at port 853."""
    return _as_given(split_name_server, value, NAME_SERVER)


def split_name_server(text: str) -> tuple[IPv4Address | IPv6Address, int, str | None]:
    """Address, port and the name in its certificate, None for plain DNS."""
    match = re.fullmatch(
        r"(?P<tls>tls://)?(?P<host>\[[^]]+](?=:|#|$)|[^]#[]+?)(?::(?P<port>\d+))?(?:#(?P<name>\S+))?", text
    )
    bare = _address(text)
    if bare is not None:
        return bare, 53, None
    if not match or bool(match["tls"]) != bool(match["name"]):
        raise ValueError(NAME_SERVER)
    address = _address(match["host"].strip("[]"))
    if address is None or match["host"].startswith("[") != (address.version == 6):
        raise ValueError(NAME_SERVER)
    name = domain(match["name"]) if match["name"] else None
    return address, _port(match["port"], NAME_SERVER) if match["port"] else 853 if match["tls"] else 53, name


def domain(value: object) -> str:
    """A domain name in ASCII; without the final dot."""
    if (
        not isinstance(value, str)
        or len(value) > 253
        or not re.fullmatch(r"(?:[!-\-/-~]{1,63}\.)*[!-\-/-~]{1,63}\.?", value)
    ):
        raise ValueError("a domain name such as example.org")
    return value.removesuffix(".")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address of either family, or None."""
    try:
        return ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def _is_host4(octet: int) -> bool:
    """Whether addresses of this first octet are neither "this network", loopback, multicast nor reserved (RFC 6890)."""
    return octet not in (0, 127) and octet < 224


def _port(text: str, expected: str) -> int:
    """A decimal number from 1 to 65535."""
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text) or int(text) > 65535:
        raise ValueError(expected)
    return int(text)


def _as_given(split: Callable[[str], object], value: object, expected: str) -> str:
    """Text that `split` can take apart."""
    if isinstance(value, str):
        split(value)
        return value
    raise ValueError(expected)


def _parse(kind: Callable[[str], T], value: object, expected: str) -> T:
    """What `kind` of ipaddress makes of text, without the zones (%eth0) and spelled-out netmasks it would take too."""
    if not isinstance(value, str) or not _PLAIN.fullmatch(value):
        raise ValueError(expected)
    try:
        return kind(value)
    except ValueError:
        raise ValueError(expected) from None


def _prefix(kind: type[Network], value: object, expected: str) -> Network:
    """A network with zero host bits; a stray host bit is told apart from nonsense, with the prefix probably meant."""
    try:
        return _parse(kind, value, expected)
    except ValueError:
        prefix = _parse(lambda text: kind(text, strict=False), value, expected)
        raise ValueError(f"zeros beyond the prefix length, as in {prefix}") from None
