"""The same DNS64 and prefix in the words of other programs, for those who outgrow the embedded one; what a program
cannot say is told."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from nat64d.config.addresses import split_name_server
from nat64d.dns64.local import WELL_KNOWN4
from nat64d.dns64.policy import embed

LIFETIME = (
    1800  # seconds of a PREF64 option; RFC 8781 section 4.1 wants a multiple of 8 and at least three RA intervals
)


class Wish(NamedTuple):
    """What is to be said: the prefix, whom it is for, and what differs from the plain DNS64 of RFC 6147."""

    pool6: IPv6Network
    clients: tuple[str, ...]
    exclude: tuple[IPv6Network, ...]
    refused4: tuple[IPv4Network, ...]  # IPv4 addresses that get no AAAA record
    elsewhere4: tuple[tuple[IPv4Network, IPv6Network], ...]  # ... or one under another prefix
    exclude_names: tuple[str, ...]
    upstream: tuple[str, ...]


class Export(NamedTuple):
    """The text of a configuration, and a sentence for each thing it does not say."""

    text: str
    losses: list[str]


def unbound(wish: Wish) -> Export:
    """unbound.conf(5)."""
    prefix = wish.pool6
    lines = [
        "server:",
        '  module-config: "dns64 validator iterator"',
        f"  dns64-prefix: {prefix}",
        *(f"  access-control: {network} allow" for network in wish.clients),
        '  local-zone: "ipv4only.arpa." static',  # RFC 8880: never asked of others
        *(f'  local-data: "ipv4only.arpa. 86400 IN A {IPv4Address(data)}"' for data in WELL_KNOWN4),
        *(f'  local-data: "ipv4only.arpa. 86400 IN AAAA {IPv6Address(embed(prefix, data))}"' for data in WELL_KNOWN4),
        *_forward_zone(wish),
    ]
    losses = [
        *_lost(wish.exclude, "AAAA records are not excluded", "IPv4-mapped ones pass"),
        *_lost(wish.refused4, "every IPv4 address is written under the prefix", "also private and loopback ones"),
        *_lost(wish.elsewhere4, "one prefix for all of IPv4", "ranges of their own are left out"),
        *_lost(wish.exclude_names, "no name is spared from synthesis", "exclude_names is left out"),
        "synthetic records have the TTL of the A record, not bounded by the SOA record (RFC 6147 section 5.1.7).",
    ]
    return Export(_text(lines), losses)


def bind(wish: Wish) -> Export:
    """named.conf(5), a statement for the options."""
    mapped = [f"!{network};" for network in (*wish.refused4, *(row for row, _ in wish.elsewhere4))]
    lines = ["options {"]
    if wish.upstream:
        lines += ["    forward only;", f"    forwarders {{ {' '.join(map(_bind_server, wish.upstream))} }};"]
    lines.append(f"    allow-query {{ {' '.join(f'{network};' for network in wish.clients)} }};")
    for network, prefix in wish.elsewhere4:
        lines += [f"    dns64 {prefix} {{", f"        mapped {{ {network}; }};", *_bind_exclude(wish), "    };"]
    lines += [
        f"    dns64 {wish.pool6} {{",
        f"        mapped {{ {' '.join((*mapped, 'any;'))} }};",
        *_bind_exclude(wish),
    ]
    lines += ["    };", "};"]
    losses = [
        *_lost(wish.exclude_names, "no name is spared from synthesis", "exclude_names is left out"),
        "an AAAA query that fails is answered SERVFAIL, A is not tried (RFC 6147 section 5.1.2).",
        "ipv4only.arpa is asked of the forwarders (RFC 8880 section 7.1).",
    ]
    return Export(_text(lines), losses)


def coredns(wish: Wish) -> Export:
    """A server block of a Corefile."""
    servers = " ".join(wish.upstream) or "/etc/resolv.conf"
    lines = [".:53 {", f"    dns64 {wish.pool6}", f"    forward . {servers}", "    cache 300", "    errors", "}"]
    losses = [
        *_lost(wish.exclude, "AAAA records are not excluded", "IPv4-mapped ones pass"),
        *_lost(wish.refused4, "every IPv4 address is written under the prefix", "also private and loopback ones"),
        *_lost(wish.elsewhere4, "one prefix for all of IPv4", "ranges of their own are left out"),
        *_lost(wish.exclude_names, "no name is spared from synthesis", "exclude_names is left out"),
        "who may ask is not said: add the acl plugin.",
        "reverse names under the prefix are not answered, nor is ipv4only.arpa (RFC 8880).",
        "an AAAA query that fails is answered as it failed, A is not tried (RFC 6147 section 5.1.2).",
    ]
    return Export(_text(lines), losses)


def radvd(wish: Wish) -> Export:
    """radvd.conf(5): PREF64 in router advertisements (RFC 8781)."""
    lines = ["    nat64prefix " + str(wish.pool6), "    {", f"        AdvValidLifetime {LIFETIME};", "    };"]
    text = _text(["interface eth0", "{", "    AdvSendAdvert on;", *lines, "};"])
    return Export(text, ['put the name of the link to the IPv6 hosts in place of "eth0".', *_announced(wish)])


def networkd(wish: Wish) -> Export:
    """systemd.network(5): PREF64 in router advertisements (RFC 8781)."""
    lines = ["[Network]", "IPv6SendRA=yes", "", "[IPv6PREF64Prefix]", f"Prefix={wish.pool6}", f"LifetimeSec={LIFETIME}"]
    return Export(_text(lines), ["put this into the .network file of the link to the IPv6 hosts.", *_announced(wish)])


PROGRAMS: dict[str, Callable[[Wish], Export]] = {
    "unbound": unbound,
    "bind": bind,
    "coredns": coredns,
    "radvd": radvd,
    "networkd": networkd,
}


def _announced(wish: Wish) -> list[str]:
    return _lost(wish.elsewhere4, "one prefix for all of IPv4", "ranges of their own are left out")


def _lost(wished: tuple[object, ...], what: str, more: str) -> list[str]:
    return [f"{what}; {more}."] if wished else []


def _forward_zone(wish: Wish) -> list[str]:
    if not wish.upstream:
        return []
    return ["forward-zone:", '  name: "."', *(f"  forward-addr: {_unbound_server(text)}" for text in wish.upstream)]


def _unbound_server(text: str) -> str:
    host, port = _split(text)
    return f"{host}@{port}" if port != "53" else host


def _bind_server(text: str) -> str:
    host, port = _split(text)
    return f"{host} port {port};" if port != "53" else f"{host};"


def _split(text: str) -> tuple[str, str]:
    address, port, _ = split_name_server(text)
    return str(address), str(port)


def _bind_exclude(wish: Wish) -> list[str]:
    return [f"        exclude {{ {' '.join(f'{prefix};' for prefix in wish.exclude)} }};"] if wish.exclude else []


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
