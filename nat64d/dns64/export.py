"""The same DNS64 and prefix as configurations of other programs, for sites that need another name server.

What a program cannot express is returned as a list of losses. tests/dns64/side runs unbound and BIND with these
configurations and compares what they answer with the losses.
"""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

from nat64d.dns64.message.wire import text_of
from nat64d.dns64.rules.local import IPV4ONLY, TTL, WELL_KNOWN4, reverse4_name
from nat64d.dns64.rules.policy import Policy, embed
from nat64d.dns64.upstreams.exchange import DNS, ServerAddress

# RFC 8781 section 4.1: seconds of a PREF64 option, a multiple of 8, and the default of a router's own lifetime
LIFETIME = 1800

PRIVATE = (
    "all IPv4 addresses are synthesised, also private and loopback ones (RFC 6052 section 3.1) and those of denylist4."
)
ONE_PREFIX = "there is one prefix for all of IPv4; [dns64] ranges are not exported."
ONE_POLICY = "all clients get the same answers; [dns64] policy is not exported."
NO_EXCLUDE = "exclude is not exported; IPv4-mapped AAAA records pass (RFC 6147 section 5.1.4)."
NO_SPARING = "exclude_names is not exported; these names get synthetic records."
NO_FORCING = "force_names is not exported; the real AAAA records of these names pass."
NO_ERRORS = "an AAAA query that fails or times out gets SERVFAIL; A is not tried (RFC 6147 sections 5.1.2, 5.1.3)."
NO_TLS = "it forwards without TLS; TLS servers are not exported. If none is left, it asks the root servers itself."
VALIDATORS = "clients that validate for themselves (DO and CD) get synthetic records too (RFC 6147 section 5.5)."
ONLY_AN_HOUR = f"the TTL of ipv4only.arpa is one hour, not {TTL // 3600}."
WELL_KNOWN_REVERSE = (
    "the reverse names of 192.0.0.170 and .171 are answered without asking an upstream server (RFC 8880)."
)
NO_FILTER = "filter_a is not exported; all clients see A records and IPv4 hints."
NO_DNS46 = "dns46 is not exported; IPv4 hosts get no A records for names that have only AAAA records."
NO_MAPS = "reverse names of IPv4 addresses in [[eam]] do not lead to those of their IPv6 hosts."
NO_READY = "it also synthesises while nat64d does not translate."


class Intent(NamedTuple):
    """What is to be exported: the policies as the name server has them, that of [dns64] itself last; the addresses to
    listen on and the upstream servers; whether there are mappings, and whether A records are made from them."""

    policies: tuple[Policy, ...]
    listen: tuple[tuple[IPv4Address | IPv6Address, int], ...]
    upstream: tuple[ServerAddress, ...]
    maps: bool
    dns46: bool

    @property
    def base(self) -> Policy:
        """The policy for clients that no entry of [dns64] policy covers."""
        return self.policies[-1]

    @property
    def pool6(self) -> IPv6Network:
        """The prefix for the whole of IPv4."""
        pool6 = self.base.ranges[-1].pool6
        assert pool6 is not None
        return pool6

    @property
    def elsewhere(self) -> bool:
        """Whether an IPv4 range has a prefix of its own."""
        return any(row.pool6 not in {None, self.pool6} for row in self.base.ranges)

    @property
    def refused(self) -> bool:
        """Whether some IPv4 addresses are not synthesised at all."""
        return any(row.pool6 is None for row in self.base.ranges)


class Export(NamedTuple):
    """The text of a configuration, and a sentence for each thing that it cannot express."""

    text: str
    losses: list[str]


def unbound(intent: Intent) -> Export:
    """An unbound.conf(5)."""
    base = intent.base
    lines = [
        "server:",
        *(f"  interface: {address}@{port}" for address, port in intent.listen),
        '  module-config: "dns64 validator iterator"',
        f"  dns64-prefix: {intent.pool6}",
        *(f'  dns64-ignore-aaaa: "{text_of(name)}"' for name in base.force_names),
        *(f"  private-address: {network}" for network in base.exclude),  # taken out of answers before dns64 sees them
        *(f"  access-control: {network} allow" for policy in intent.policies for network in policy.clients),
        *_ipv4only_of_unbound(intent.pool6),
        *_forward_zone(intent.upstream),
    ]
    secured = any(server.tls for server in intent.upstream)
    losses = [
        *_lost(intent.refused, PRIVATE),
        *_lost(intent.elsewhere, ONE_PREFIX),
        *_lost(len(intent.policies) > 1, ONE_POLICY),
        *_lost(base.exclude_names, NO_SPARING),
        *_lost(
            base.exclude,
            "a signed answer from which AAAA records are removed keeps its signature, which is then wrong.",
        ),
        *_lost(secured and not all(server.tls for server in intent.upstream), "servers without TLS are not exported."),
        "a name whose AAAA query ends in NXDOMAIN still gets synthetic records (RFC 6147 section 5.1.2).",
        "an AAAA query that times out is not answered; A is not tried (RFC 6147 section 5.1.3).",
        "an A query that fails after an empty AAAA answer is answered as if it were empty (RFC 6147 section 5.1.6).",
        "synthetic records have the TTL of the A record, not bounded by the SOA record (RFC 6147 section 5.1.7).",
        *_lost_by_all(intent),
    ]
    return Export(_text(lines), losses)


def _ipv4only_of_unbound(pool6: IPv6Network) -> Iterator[str]:
    """RFC 8880: local data, because unbound has no support for ipv4only.arpa."""
    name = text_of(IPV4ONLY)
    yield f'  local-zone: "{name}" static'
    for data in WELL_KNOWN4:
        yield f'  local-data: "{name} {TTL} IN A {IPv4Address(data)}"'
        yield f'  local-data: "{name} {TTL} IN AAAA {IPv6Address(embed(pool6, data))}"'
    for data in WELL_KNOWN4:
        reverse = IPv6Address(embed(pool6, data)).reverse_pointer + "."
        yield f'  local-zone: "{reverse}" static'
        yield f'  local-data: "{reverse} {TTL} IN PTR {name}"'


def _forward_zone(servers: Iterable[ServerAddress]) -> Iterator[str]:
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


def bind(intent: Intent) -> Export:
    """A named.conf(5): options and zones, and a view for each policy if there are several."""
    plain = [server for server in intent.upstream if not server.tls]
    lines = ["options {", *_listen_on(intent)]
    if plain:
        ports = (f"{server.address}{f' port {server.port}' if server.port != DNS else ''}" for server in plain)
        lines += ["    forward only;", f"    forwarders {{ {_list(ports)} }};"]
    lines.append(f"    allow-query {{ {_list(network for policy in intent.policies for network in policy.clients)} }};")
    if len(intent.policies) == 1:
        lines += [*(f"    {line}" for line in _dns64(intent.base)), "};", *_ipv4only_of_bind(plain)]
    else:
        lines.append("};")
        for number, policy in enumerate(intent.policies, 1):  # the first that matches has the client
            own = [*_dns64(policy), *(_ipv4only_of_bind(plain) if policy.synthesise else ())]
            clients = _list(("any",) if policy is intent.base else policy.clients)
            inner = (f"match-clients {{ {clients} }};", *own)
            lines += [f'view "policy{number}" {{', *(f"    {line}" for line in inner), "};"]
    losses = [
        *_lost(intent.base.exclude_names, NO_SPARING),
        *_lost(intent.base.force_names, NO_FORCING),
        *_lost(len(plain) < len(intent.upstream), NO_TLS),
        NO_ERRORS,
        VALIDATORS,
        ONLY_AN_HOUR,
        WELL_KNOWN_REVERSE,
        *_lost_by_all(intent),
    ]
    return Export(_text(lines), losses)


def _listen_on(intent: Intent) -> Iterator[str]:
    """A statement for each address; "none" for a family without one, which BIND would listen on by default."""
    for version, statement in ((4, "listen-on"), (6, "listen-on-v6")):
        here = [(address, port) for address, port in intent.listen if address.version == version]
        for address, port in here:
            yield f"    {statement} port {port} {{ {'any' if address.is_unspecified else address}; }};"
        if not here:
            yield f"    {statement} {{ none; }};"


def _dns64(policy: Policy) -> Iterator[str]:
    """A statement for each prefix of a policy. An address that an earlier range covers is not mapped."""
    prefixes = dict.fromkeys(row.pool6 for row in policy.ranges if row.pool6) if policy.synthesise else ()
    for prefix in prefixes:
        rows = [f"{'' if row.pool6 == prefix else '!'}{row.ipv4}" for row in policy.ranges]  # the first match decides
        if prefix == policy.ranges[-1].pool6:  # RFC 7050 section 3, although both are non-global
            rows = [*map(str, map(IPv4Address, WELL_KNOWN4)), *rows]
        yield f"dns64 {prefix} {{"
        yield f"    mapped {{ {_list(rows)} }};"
        yield f"    exclude {{ {_list(policy.exclude) or 'none;'} }};"
        yield "    break-dnssec yes;"  # clients that set DO need synthetic records of signed names too
        yield "};"


def _ipv4only_of_bind(forwarders: list[ServerAddress]) -> Iterator[str]:
    """RFC 8880: `forward only` overrides BIND's own zones, so these are excepted from it."""
    for name in (IPV4ONLY, *map(reverse4_name, WELL_KNOWN4)) if forwarders else ():
        yield f'zone "{text_of(name)}" {{ type forward; forwarders {{ }}; }};'


def coredns(intent: Intent) -> Export:
    """The server blocks of a Corefile; names with rules of their own come first."""
    base = intent.base
    names = sorted({server.tls for server in intent.upstream if server.tls})
    servers = [server for server in intent.upstream if server.tls in {None, *names[:1]}]
    lines = [
        *(line for name in base.exclude_names for line in _block(text_of(name), intent, servers, ())),
        *(
            line
            for name in base.force_names
            for line in _block(text_of(name), intent, servers, ("translate_all", "allow_ipv4"))
        ),
        *_block(".", intent, servers, ("allow_ipv4",)),
    ]
    losses = [
        *_lost(base.exclude, NO_EXCLUDE),
        *_lost(intent.refused, PRIVATE),
        *_lost(intent.elsewhere, ONE_PREFIX),
        *_lost(len(intent.policies) > 1, ONE_POLICY),
        *_lost(
            names[1:], f"it supports one TLS name, {''.join(names[:1])}; servers with other names are not exported."
        ),
        "reverse names under the prefix and ipv4only.arpa are not answered (RFC 8880).",
        "an AAAA query that fails gets the error; A is not tried (RFC 6147 section 5.1.2).",
        VALIDATORS,
        *_lost_by_all(intent),
    ]
    return Export(_text(lines), losses)


def radvd(intent: Intent) -> Export:
    """A radvd.conf(5): the PREF64 option in router advertisements (RFC 8781)."""
    lines = [f"    nat64prefix {intent.pool6}", "    {", f"        AdvValidLifetime {LIFETIME};", "    };"]
    text = _text(["interface eth0", "{", "    AdvSendAdvert on;", *lines, "};"])
    notes = ['replace "eth0" by the interface of the IPv6 hosts.', "radvd 2.20 or newer is needed."]
    return Export(text, [*notes, *_announced(intent)])


def networkd(intent: Intent) -> Export:
    """A systemd.network(5): the PREF64 option in router advertisements (RFC 8781)."""
    lines = [
        "[Network]",
        "IPv6SendRA=yes",
        "",
        "[IPv6PREF64Prefix]",
        f"Prefix={intent.pool6}",
        f"LifetimeSec={LIFETIME}",
    ]
    notes = ["put this into the .network file of the interface of the IPv6 hosts.", "systemd 255 or newer is needed."]
    return Export(_text(lines), [*notes, *_announced(intent)])


PROGRAMS: dict[str, Callable[[Intent], Export]] = {
    "unbound": unbound,
    "bind": bind,
    "coredns": coredns,
    "radvd": radvd,
    "networkd": networkd,
}


def _block(name: str, intent: Intent, servers: list[ServerAddress], words: tuple[str, ...]) -> list[str]:
    """A server block of a Corefile, with DNS64 if there are `words` for it."""
    to = " ".join(_endpoint(server) for server in servers) or "/etc/resolv.conf"
    tls = next((server.tls for server in servers if server.tls), None)
    clients = _list((network for policy in intent.policies for network in policy.clients), "")
    ports = " ".join(f"{name}:{port}" for port in sorted({port for _, port in intent.listen}))
    addresses = _list((address for address, _ in intent.listen), "")
    everywhere = any(address.is_unspecified for address, _ in intent.listen)
    return [
        f"{ports} {{",
        *(() if everywhere else (f"    bind {addresses}",)),
        "    acl {",
        f"        allow net {clients}",
        "        block",
        "    }",
        *(
            ("    dns64 {", f"        prefix {intent.pool6}", *(f"        {word}" for word in words), "    }")
            if words
            else ()
        ),
        *((f"    forward . {to} {{", f"        tls_servername {tls}", "    }") if tls else (f"    forward . {to}",)),
        "    cache",
        "    errors",
        "}",
    ]


def _endpoint(server: ServerAddress) -> str:
    host = f"[{server.address}]" if server.address.version == 6 else str(server.address)
    return f"{'tls://' if server.tls else ''}{host}:{server.port}"


def _announced(intent: Intent) -> list[str]:
    return [
        *_lost(intent.elsewhere, ONE_PREFIX),
        *_lost(len({policy.ranges[-1].pool6 for policy in intent.policies}) > 1, ONE_POLICY),
    ]


def _lost_by_all(intent: Intent) -> list[str]:
    return [
        *_lost(any(policy.filter_a for policy in intent.policies), NO_FILTER),
        *_lost(intent.dns46, NO_DNS46),
        *_lost(intent.maps, NO_MAPS),
        NO_READY,
    ]


def _lost(configured: object, sentence: str) -> list[str]:
    return [sentence] if configured else []


def _list(items: Iterable[object], mark: str = ";") -> str:
    """The elements of an address match list."""
    return " ".join(f"{item}{mark}" for item in items)


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
