"""The same DNS64 and prefix in the words of other programs, for those who outgrow the embedded one; what a program
cannot say is told. tests/dns64/side runs unbound and BIND by these texts and holds the losses against what they do."""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

from nat64d.dns64.exchange import DNS, Server
from nat64d.dns64.local import IPV4ONLY, TTL, WELL_KNOWN4, reverse4_name
from nat64d.dns64.policy import Policy, embed
from nat64d.dns64.wire import text_of

# RFC 8781 section 4.1: seconds of a PREF64 option, a multiple of 8, and the default of a router's own lifetime
LIFETIME = 1800

PRIVATE = "every IPv4 address is written under the prefix, also private and loopback ones (RFC 6052 section 3.1)."
ONE_PREFIX = "one prefix for all of IPv4: ranges under a prefix of their own are left out."
ONE_POLICY = "all clients get the same: policies are left out."
NO_EXCLUDE = "no AAAA record is taken for none, IPv4-mapped ones pass (RFC 6147 section 5.1.4)."
NO_SPARING = "exclude_names is left out: names below them get synthetic records."
NO_FORCING = "force_names is left out: AAAA records of names below them pass."
NO_ERRORS = (
    "an AAAA query that fails or times out is answered SERVFAIL, A is not tried (RFC 6147 sections 5.1.2, 5.1.3)."
)
NO_TLS = "it forwards without TLS: servers asked by TLS are left out; if none is left, it asks the root servers itself."
VALIDATORS = "clients that validate themselves (DO and CD) get synthetic records too (RFC 6147 section 5.5)."
ONLY_AN_HOUR = f"the records of ipv4only.arpa hold an hour, not {TTL // 3600}."
NO_FILTER = "filter_a is left out: A records are shown to everybody."
NO_DNS46 = "dns46 is left out: IPv4 hosts get no A records of names that have AAAA records only."
NO_MAPS = "reverse names of IPv4 addresses in [[eam]] are not those of the hosts they stand for."
NO_READY = "synthesis goes on while nat64d does not translate."


class Wish(NamedTuple):
    """What is to be said: the policies as the name server has them, that of [dns64] itself last; where it listens and
    whom it asks; whether there are mappings, and whether A records are made by them."""

    policies: tuple[Policy, ...]
    listen: tuple[tuple[IPv4Address | IPv6Address, int], ...]
    upstream: tuple[Server, ...]
    maps: bool
    dns46: bool

    @property
    def base(self) -> Policy:
        """What a client of no [[dns64.policy]] gets."""
        return self.policies[-1]

    @property
    def pool6(self) -> IPv6Network:
        """The prefix for the whole of IPv4."""
        pool6 = self.base.ranges[-1].pool6
        assert pool6 is not None
        return pool6

    @property
    def elsewhere(self) -> bool:
        """Whether a range of IPv4 has a prefix of its own."""
        return any(row.pool6 not in {None, self.pool6} for row in self.base.ranges)

    @property
    def refused(self) -> bool:
        """Whether some of IPv4 is written under no prefix."""
        return any(row.pool6 is None for row in self.base.ranges)


class Export(NamedTuple):
    """The text of a configuration, and a sentence for each thing it does not say."""

    text: str
    losses: list[str]


def unbound(wish: Wish) -> Export:
    """unbound.conf(5)."""
    base = wish.base
    lines = [
        "server:",
        *(f"  interface: {address}@{port}" for address, port in wish.listen),
        '  module-config: "dns64 validator iterator"',
        f"  dns64-prefix: {wish.pool6}",
        *(f'  dns64-ignore-aaaa: "{text_of(name)}"' for name in base.force_names),
        *(f"  private-address: {network}" for network in base.exclude),  # taken out of answers before dns64 sees them
        *(f"  access-control: {network} allow" for policy in wish.policies for network in policy.clients),
        *_ipv4only_of_unbound(wish.pool6),
        *_forward_zone(wish.upstream),
    ]
    secured = any(server.tls for server in wish.upstream)
    losses = [
        *_lost(wish.refused, PRIVATE),
        *_lost(wish.elsewhere, ONE_PREFIX),
        *_lost(len(wish.policies) > 1, ONE_POLICY),
        *_lost(base.exclude_names, NO_SPARING),
        *_lost(base.exclude, "a signed answer that AAAA records are taken out of keeps a signature that fits no more."),
        *_lost(secured and not all(server.tls for server in wish.upstream), "servers asked without TLS are left out."),
        "a name whose AAAA query ends in NXDOMAIN gets synthetic records all the same (RFC 6147 section 5.1.2).",
        "an AAAA query that times out is not answered, A is not tried (RFC 6147 section 5.1.3).",
        "an A query that fails after an empty AAAA answer is answered as if it were empty (RFC 6147 section 5.1.6).",
        "synthetic records have the TTL of the A record, not bounded by the SOA record (RFC 6147 section 5.1.7).",
        *_lost_by_all(wish),
    ]
    return Export(_text(lines), losses)


def _ipv4only_of_unbound(pool6: IPv6Network) -> Iterator[str]:
    """RFC 8880: unbound knows nothing of it."""
    name = text_of(IPV4ONLY)
    yield f'  local-zone: "{name}" static'
    for data in WELL_KNOWN4:
        yield f'  local-data: "{name} {TTL} IN A {IPv4Address(data)}"'
        yield f'  local-data: "{name} {TTL} IN AAAA {IPv6Address(embed(pool6, data))}"'
    for data in WELL_KNOWN4:
        for reverse in (text_of(reverse4_name(data)), IPv6Address(embed(pool6, data)).reverse_pointer + "."):
            yield f'  local-zone: "{reverse}" static'
            yield f'  local-data: "{reverse} {TTL} IN PTR {name}"'


def _forward_zone(servers: Iterable[Server]) -> Iterator[str]:
    secured = [server for server in servers if server.tls]
    if not servers:
        return
    if secured:
        yield "  tls-system-cert: yes"
    yield from ("forward-zone:", '  name: "."')
    if secured:
        yield "  forward-tls-upstream: yes"
    for server in secured or servers:
        port = f"@{server.port}" if server.port != DNS else ""
        yield f"  forward-addr: {server.address}{port}{f'#{server.tls}' if server.tls else ''}"


def bind(wish: Wish) -> Export:
    """named.conf(5): options and zones; a view for each policy where there are several."""
    plain = [server for server in wish.upstream if not server.tls]
    lines = ["options {", *_listen_on(wish)]
    if plain:
        ports = (f"{server.address}{f' port {server.port}' if server.port != DNS else ''}" for server in plain)
        lines += ["    forward only;", f"    forwarders {{ {_list(ports)} }};"]
    lines.append(f"    allow-query {{ {_list(network for policy in wish.policies for network in policy.clients)} }};")
    if len(wish.policies) == 1:
        lines += [*(f"    {line}" for line in _dns64(wish.base)), "};", *_ipv4only_of_bind(plain)]
    else:
        lines.append("};")
        for number, policy in enumerate(wish.policies, 1):  # the first that matches has the client
            own = [*_dns64(policy), *(_ipv4only_of_bind(plain) if policy.synthesise else ())]
            clients = _list(("any",) if policy is wish.base else policy.clients)
            inner = (f"match-clients {{ {clients} }};", *own)
            lines += [f'view "policy{number}" {{', *(f"    {line}" for line in inner), "};"]
    losses = [
        *_lost(wish.base.exclude_names, NO_SPARING),
        *_lost(wish.base.force_names, NO_FORCING),
        *_lost(len(plain) < len(wish.upstream), NO_TLS),
        NO_ERRORS,
        VALIDATORS,
        ONLY_AN_HOUR,
        *_lost_by_all(wish),
    ]
    return Export(_text(lines), losses)


def _listen_on(wish: Wish) -> Iterator[str]:
    """It listens everywhere in a family of which nothing is said."""
    for version, statement in ((4, "listen-on"), (6, "listen-on-v6")):
        here = [(address, port) for address, port in wish.listen if address.version == version]
        for address, port in here:
            yield f"    {statement} port {port} {{ {'any' if address.is_unspecified else address}; }};"
        if not here:
            yield f"    {statement} {{ none; }};"


def _dns64(policy: Policy) -> Iterator[str]:
    """A statement for each prefix of a policy, which maps no address that an earlier range has."""
    prefixes = dict.fromkeys(row.pool6 for row in policy.ranges if row.pool6) if policy.synthesise else ()
    for prefix in prefixes:
        rows = [f"{'' if row.pool6 == prefix else '!'}{row.ipv4}" for row in policy.ranges]  # the first match decides
        if prefix == policy.ranges[-1].pool6:  # RFC 7050 section 3, however non-global the two are
            rows = [*map(str, map(IPv4Address, WELL_KNOWN4)), *rows]
        yield f"dns64 {prefix} {{"
        yield f"    mapped {{ {_list(rows)} }};"
        yield f"    exclude {{ {_list(policy.exclude) or 'none;'} }};"
        yield "    break-dnssec yes;"  # who sets DO has to reach signed names too
        yield "};"


def _ipv4only_of_bind(forwarders: list[Server]) -> Iterator[str]:
    """RFC 8880: the zones that BIND has of its own give way to `forward only`, but for these."""
    for name in (IPV4ONLY, *map(reverse4_name, WELL_KNOWN4)) if forwarders else ():
        yield f'zone "{text_of(name)}" {{ type forward; forwarders {{ }}; }};'


def coredns(wish: Wish) -> Export:
    """Server blocks of a Corefile, those of names that are answered otherwise first."""
    base = wish.base
    names = sorted({server.tls for server in wish.upstream if server.tls})
    servers = [server for server in wish.upstream if server.tls in {None, *names[:1]}]
    lines = [
        *(line for name in base.exclude_names for line in _block(text_of(name), wish, servers, ())),
        *(
            line
            for name in base.force_names
            for line in _block(text_of(name), wish, servers, ("translate_all", "allow_ipv4"))
        ),
        *_block(".", wish, servers, ("allow_ipv4",)),
    ]
    losses = [
        *_lost(base.exclude, NO_EXCLUDE),
        *_lost(wish.refused, PRIVATE),
        *_lost(wish.elsewhere, ONE_PREFIX),
        *_lost(len(wish.policies) > 1, ONE_POLICY),
        *_lost(names[1:], f"it asks by TLS under one name, {''.join(names[:1])}: servers of other names are left out."),
        "reverse names under the prefix are not answered, nor is ipv4only.arpa (RFC 8880).",
        "an AAAA query that fails is answered as it failed, A is not tried (RFC 6147 section 5.1.2).",
        VALIDATORS,
        *_lost_by_all(wish),
    ]
    return Export(_text(lines), losses)


def radvd(wish: Wish) -> Export:
    """radvd.conf(5): PREF64 in router advertisements (RFC 8781)."""
    lines = [f"    nat64prefix {wish.pool6}", "    {", f"        AdvValidLifetime {LIFETIME};", "    };"]
    text = _text(["interface eth0", "{", "    AdvSendAdvert on;", *lines, "};"])
    notes = ['put the name of the link to the IPv6 hosts in place of "eth0".', "it must be radvd 2.20 or newer."]
    return Export(text, [*notes, *_announced(wish)])


def networkd(wish: Wish) -> Export:
    """systemd.network(5): PREF64 in router advertisements (RFC 8781)."""
    lines = ["[Network]", "IPv6SendRA=yes", "", "[IPv6PREF64Prefix]", f"Prefix={wish.pool6}", f"LifetimeSec={LIFETIME}"]
    notes = ["put this into the .network file of the link to the IPv6 hosts.", "it must be systemd 255 or newer."]
    return Export(_text(lines), [*notes, *_announced(wish)])


PROGRAMS: dict[str, Callable[[Wish], Export]] = {
    "unbound": unbound,
    "bind": bind,
    "coredns": coredns,
    "radvd": radvd,
    "networkd": networkd,
}


def _block(name: str, wish: Wish, servers: list[Server], words: tuple[str, ...]) -> list[str]:
    """A server block of a Corefile: with DNS64 when it has words about it."""
    to = " ".join(_endpoint(server) for server in servers) or "/etc/resolv.conf"
    tls = next((server.tls for server in servers if server.tls), None)
    clients = _list((network for policy in wish.policies for network in policy.clients), "")
    ports = " ".join(f"{name}:{port}" for port in sorted({port for _, port in wish.listen}))
    addresses = _list((address for address, _ in wish.listen), "")
    everywhere = any(address.is_unspecified for address, _ in wish.listen)
    return [
        f"{ports} {{",
        *(() if everywhere else (f"    bind {addresses}",)),
        "    acl {",
        f"        allow net {clients}",
        "        block",
        "    }",
        *(
            ("    dns64 {", f"        prefix {wish.pool6}", *(f"        {word}" for word in words), "    }")
            if words
            else ()
        ),
        *((f"    forward . {to} {{", f"        tls_servername {tls}", "    }") if tls else (f"    forward . {to}",)),
        "    cache",
        "    errors",
        "}",
    ]


def _endpoint(server: Server) -> str:
    host = f"[{server.address}]" if server.address.version == 6 else str(server.address)
    return f"{'tls://' if server.tls else ''}{host}:{server.port}"


def _announced(wish: Wish) -> list[str]:
    return [
        *_lost(wish.elsewhere, ONE_PREFIX),
        *_lost(len({policy.ranges[-1].pool6 for policy in wish.policies}) > 1, ONE_POLICY),
    ]


def _lost_by_all(wish: Wish) -> list[str]:
    return [
        *_lost(any(policy.filter_a for policy in wish.policies), NO_FILTER),
        *_lost(wish.dns46, NO_DNS46),
        *_lost(wish.maps, NO_MAPS),
        NO_READY,
    ]


def _lost(wished: object, sentence: str) -> list[str]:
    return [sentence] if wished else []


def _list(items: Iterable[object], mark: str = ";") -> str:
    """Address match elements."""
    return " ".join(f"{item}{mark}" for item in items)


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
