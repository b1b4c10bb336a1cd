"""A Service and its slices as rows of [[service]]: one a port and address, with the endpoints that its slices name."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network, ip_address, ip_network
from socket import AF_INET6, inet_pton
from typing import Any, NamedTuple

from nat64d.kubernetes.objects import Endpoint, Service, ServicePort, Slice, is_ours

MOST = 1000  # endpoints of a row: more the daemon does not take
CARRIED = {"TCP": "tcp", "UDP": "udp"}
NOT_CARRIED = "port {0.port}: {0.protocol} is not translated"
NO_PREFIX = "loadBalancerSourceRanges: {!r} is no prefix, and lets nobody in"
CLOSED = "none of its loadBalancerSourceRanges is a prefix, so nobody is let in"
NOBODY = ["0.0.0.0/32", "::/128"]  # sources that no packet may have: an empty list would let everybody in
Row = dict[str, Any]
UNNAMED = {"eam": "ipv4", "pool4": "addresses"}  # sections, and what tells their rows apart; services have names


class Made(NamedTuple):
    """What a Service has become: rows by name, and sentences about what it has not."""

    rows: dict[str, Row]
    lacks: tuple[str, ...] = ()


class Rules(NamedTuple):
    """How a Service is read: the node on which the gateway runs, "" = outside; whether it is its business if no class
    is named; the prefix that stands for IPv4 hosts: no endpoint can be one of these; the name of the gateway; the
    prefix of clients of Services that do not say, "" = that of the daemon's file."""

    node: str = ""
    default_class: bool = False
    pool6: IPv6Network | None = None
    gateway: str = ""
    client_prefix: str = ""


NOTHING = Made({})


def name_of(row: Row) -> str:
    """What a row is known by: the name of a service, which has no spaces; or its section, and what tells it apart."""
    section = _section(row)
    name: str = f"{section} {row[UNNAMED[section]]}" if section in UNNAMED else row["name"]
    return name


def is_unnamed(name: str) -> bool:
    """Whether the row that is known so is of another section than [[service]]."""
    return " " in name


def _section(row: Row) -> str:
    return "service" if "name" in row else next(section for section, key in UNNAMED.items() if key in row)


def by_section(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows as the API of the daemon takes them."""
    found: dict[str, list[Row]] = {"service": []}
    for row in rows:
        found.setdefault(_section(row), []).append(row)
    return found


def named(names: Iterable[str]) -> dict[str, list[Row]]:
    """The same for rows that are to go."""
    parts = (name.partition(" ") for name in names)
    return by_section({UNNAMED[first]: rest} if space else {"name": first} for first, space, rest in parts)


def rows_of(service: Service, slices: Iterable[Slice], rules: Rules) -> Made:
    """The rows of a Service. One that has no address yet has none."""
    if not is_ours(service, rules.default_class):
        return NOTHING
    sources, bad = sources_of(service.sources)
    lacks = [NO_PREFIX.format(text) for text in bad]
    if bad and not sources:
        sources, lacks = NOBODY, [*lacks, CLOSED]
    fronts, unused = _fronts(service.addresses)
    lacks += unused
    known = [one for one in slices if one.family == "IPv6"]
    rows: dict[str, Row] = {}
    for port in service.ports:
        if port.protocol not in CARRIED:
            lacks.append(NOT_CARRIED.format(port))
            continue
        ends, egress = _ends(port, known, rules.node if service.local else "", rules.pool6)
        if egress:
            lacks.append(f"port {port.port}: {egress} endpoints are inside pool6, and left out")
        if len(ends) > MOST:
            lacks.append(f"port {port.port}: {len(ends)} endpoints, of which {MOST} are used")
        for suffix, front in fronts:
            row: Row = {"protocol": CARRIED[port.protocol], "endpoints": ends[:MOST]}
            row |= {family: f"[{ip}]:{port.port}" if family == "ipv6" else f"{ip}:{port.port}" for family, ip in front}
            name = "/".join(filter(None, (*service.key, port.name, suffix)))
            rows[name] = {"name": name, **row, **_common(service, sources, rules)}
    return Made(rows, tuple(lacks))


def _common(service: Service, sources: list[str], rules: Rules) -> Row:
    """What all rows of a Service have."""
    row: Row = {}
    if service.affinity:
        row |= {"affinity": "client", "affinity_timeout": min(service.affinity, 86400)}
    if sources:
        row["sources"] = sources
    if prefix := service.client_prefix or rules.client_prefix:
        row["client_prefix"] = prefix
    return row


def sources_of(given: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The prefixes, as the daemon spells them, and what is none."""
    good: dict[str, None] = {}
    bad = []
    for text in given:
        try:
            good[str(ip_network(text.strip(), strict=False))] = None
        except ValueError:
            bad.append(text)
    return [*good], bad


def _fronts(addresses: tuple[tuple[str, str], ...]) -> tuple[list[tuple[str, list[tuple[str, str]]]], list[str]]:
    """The addresses of a status, one of each family together: what follows the name of the row, and the address by
    key. An IPv6 address of mode VIP is kube-proxy's."""
    lacks, ips = [], {4: [], 6: []}  # type: tuple[list[str], dict[int, list[str]]]
    for text, mode in addresses:
        try:
            address = ip_address(text)
        except ValueError:
            lacks.append(f"status: {text!r} is no address")
            continue
        if (address.version == 4 or mode == "Proxy") and str(address) not in ips[address.version]:
            ips[address.version].append(str(address))
    fronts = []
    for number in range(max(len(ips[4]), len(ips[6]))):
        front = [(f"ipv{family}", ips[family][number]) for family in (4, 6) if number < len(ips[family])]
        fronts.append((front[0][1].replace(":", "-") if number else "", front))
    return fronts, lacks


def _ends(port: ServicePort, slices: Iterable[Slice], node: str, pool6: IPv6Network | None) -> tuple[list[Any], int]:
    """The endpoints of a port, in an order that is the same on every gateway, and how many are IPv4 hosts. One that is
    in two slices counts once, and is ready if it is so in one; with a node only those on it, if one of them is."""
    found: dict[tuple[str, int], Endpoint] = {}
    for one, number in numbers(port, slices):
        for endpoint in one.endpoints:
            place = (endpoint.address, number)
            if place not in found or (endpoint.ready and not found[place].ready):
                found[place] = endpoint
    inside = [place for place in found if pool6 and _is_in(place[0], pool6)]
    for place in inside:
        del found[place]
    if node and any(one.ready and one.node == node for one in found.values()):
        found = {place: one for place, one in found.items() if one.node == node}
    ordered = sorted(found, key=lambda place: (not found[place].ready, place))
    return [_end(*place, ready=found[place].ready) for place in ordered], len(inside)


def _is_in(address: str, prefix: IPv6Network) -> bool:
    """As ipaddress says it, in a fifth of the time: it is asked for each endpoint whenever one changes."""
    host = 128 - prefix.prefixlen
    return int.from_bytes(inet_pton(AF_INET6, address)) >> host == int(prefix.network_address) >> host


def numbers(port: ServicePort, slices: Iterable[Slice]) -> Iterator[tuple[Slice, int]]:
    """The slices that have a port, each with its number there: of the port's name, never of its own number."""
    for one in slices:
        for its in one.ports:
            if (its.name, its.protocol) == (port.name, port.protocol):
                yield one, its.port


def _end(address: str, number: int, *, ready: bool) -> Any:
    end = f"[{address}]:{number}"
    return end if ready else {"address": end, "weight": 0}
