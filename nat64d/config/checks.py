"""What no key can know alone: features that are not there yet, and contradictions between keys."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from itertools import accumulate, islice, pairwise
from typing import Any, NamedTuple

from nat64d.config import toml
from nat64d.config.addresses import INTERFACE, split_listener, split_name_server, split_port_range
from nat64d.config.models import PRIVATE4, WELL_KNOWN, Config
from nat64d.config.problems import Finding, Path

POOL4_ADDRESSES = 4096  # each needs a bit a port and protocol: 24 KiB
RFC6791_ADDRESSES = 4096  # each is a row of Settings; RFC 6791 section 3.2 wishes a small pool

_SECTIONS_LATER = ("service",)
_KEYS_LATER = (  # their defaults are all there is
    ("limits", "port_block"),
    ("translation", "clamp_mss"),
    ("state", "file"),
    ("state", "keep"),
    ("log", "sessions"),
)


def not_supported_yet(raw: Mapping[str, Any], config: Config) -> Iterator[Finding]:
    """Well-formed wishes that this version cannot grant; `raw` is the file, of which `config` may lack faulty parts."""
    for name in _SECTIONS_LATER:
        if name in raw:
            yield Finding((name,), "no such section: not supported yet")
    for section, key in _KEYS_LATER:
        table = getattr(config, section)
        default = type(table).model_fields[key].default
        if getattr(table, key) != default:
            nothing = "no such key: not supported yet"
            expected = nothing if default is None else f"{toml.value(default)}: anything else is not supported yet"
            yield Finding((section, key), expected)
    for row, pool in enumerate(config.pool4):
        if pool.addresses.startswith(INTERFACE):
            yield Finding(
                ("pool4", row, "addresses"), "addresses of its own: sharing an interface's is not supported yet"
            )


def contradictions(raw: Mapping[str, Any], config: Config) -> Iterator[Finding]:
    """Keys that are right one by one and wrong together; arguments as above."""
    pools = list(_pools(config))
    yield from _too_many_addresses(pools)
    yield from _overlapping_pools(pools)
    yield from _forwards(config)
    yield from _inside_pool6(config)
    yield from _own_address4(config, pools)
    yield from _mappings(config, pools)
    yield from _clat(config)
    yield from _nothing_to_translate(raw, config)
    yield from _translation(config)
    yield from _dns64(raw, config)
    if config.host.masquerade == config.tun.name:
        yield Finding(("host", "masquerade"), "another interface than [tun] name")


def _translation(config: Config) -> Iterator[Finding]:
    """What does not go together in [translation]: MTUs, sources of ICMP errors, ports in two lists."""
    given = config.translation
    if given.mtu6 != "auto" and given.mtu6 < given.lowest_ipv6_mtu:
        yield Finding(("translation", "lowest_ipv6_mtu"), f"at most mtu6, {given.mtu6}")
    if (total := sum(prefix.num_addresses for prefix in given.rfc6791_ipv4)) > RFC6791_ADDRESSES:
        yield Finding(("translation", "rfc6791_ipv4"), f"at most {RFC6791_ADDRESSES} addresses, not {total}")
    if config.pool6 and given.rfc6791_ipv6 and given.rfc6791_ipv6.overlaps(config.pool6):
        yield Finding(("translation", "rfc6791_ipv6"), f"addresses outside pool6, {config.pool6}")
    ranges = sorted(
        (*split_port_range(text), name, text) for name, texts in given.udp_zero_checksum_ports for text in texts
    )
    for (_, last, name, text), (first, _, other, _) in pairwise(ranges):
        if first <= last:
            expected = f"a port once; {text} of {name} overlaps"
            yield Finding(("translation", "udp_zero_checksum_ports", other), expected)


def _dns64(raw: Mapping[str, Any], config: Config) -> Iterator[Finding]:
    """[dns64] writes prefixes that are right, asks others than itself, and listens at an address once."""
    given = config.dns64
    if given is None:
        return
    if not ("pool6" in raw or config.clat or given.dns46):
        yield Finding(("pool6",), "a prefix, which [dns64] writes addresses under")
    listeners = list(map(split_listener, given.listen))
    for text, (address, port) in zip(given.listen, listeners, strict=True):
        everywhere = type(address)(0)
        if address != everywhere and (everywhere, port) in listeners:
            yield Finding(("dns64", "listen"), f"all addresses of a port, or single ones; {text} is among all")
    for text in given.upstream if given.upstream != "system" else ():
        address, port, _ = split_name_server(text)
        if (address, port) in listeners:
            yield Finding(("dns64", "upstream"), f"other servers than itself, {text}")
    prefixed = [(("dns64", "ranges", at, "pool6"), row.pool6) for at, row in enumerate(given.ranges)]
    prefixed += [(("dns64", "policy", at, "pool6"), row.pool6) for at, row in enumerate(given.policy)]
    for place, pool6 in prefixed:
        if pool6 and pool6[0] == WELL_KNOWN[0] and pool6 != WELL_KNOWN:
            yield Finding(place, f"{WELL_KNOWN} and no other length of it (RFC 6052 section 2.1)")
    for at, row in enumerate(given.ranges):
        if row.pool6 == WELL_KNOWN and any(row.ipv4.overlaps(private) for private in PRIVATE4):
            expected = "another prefix: the well-known one carries no private addresses (RFC 6052 section 3.1)"
            yield Finding(("dns64", "ranges", at, "pool6"), expected)


class _Pool(NamedTuple):
    """A [[pool4]] with its place, in numbers."""

    first: int
    last: int
    port_first: int
    port_last: int
    protocols: frozenset[str]
    row: int
    text: str


def _pools(config: Config) -> Iterator[_Pool]:
    """The pools that have addresses of their own."""
    for row, pool in enumerate(config.pool4):
        if not pool.addresses.startswith(INTERFACE):
            text = f"{pool.addresses} ports {pool.ports}"
            yield _Pool(
                int(pool.first), int(pool.last), pool.port_first, pool.port_last, frozenset(pool.protocols), row, text
            )


def _too_many_addresses(pools: list[_Pool]) -> Iterator[Finding]:
    """More pool addresses than there is memory for; the row that goes too far is the culprit."""
    totals = accumulate(pool.last - pool.first + 1 for pool in pools)
    for pool, total in zip(pools, totals, strict=True):
        if total > POOL4_ADDRESSES:
            expected = f"at most {POOL4_ADDRESSES} addresses in all of [[pool4]], up to here there are {total}"
            yield Finding(("pool4", pool.row, "addresses"), expected)
            return


def _overlapping_pools(pools: list[_Pool]) -> Iterator[Finding]:
    """Rows that would hand out the same transport address twice, whatever their source; each later row once."""
    pools = sorted(pools)
    guilty = set()
    for at, pool in enumerate(pools):
        for other in islice(pools, at + 1, None):
            if other.first > pool.last:
                break
            earlier, later = sorted((pool, other), key=lambda each: each.row)
            ports_meet = pool.port_first <= other.port_last and other.port_first <= pool.port_last
            if ports_meet and pool.protocols & other.protocols and later.row not in guilty:
                guilty.add(later.row)
                yield Finding(("pool4", later.row, "addresses"), f"no overlap with the [[pool4]] of {earlier.text}")


def _forwards(config: Config) -> Iterator[Finding]:
    """A BIB entry is one to one (RFC 6146 section 3.1): neither end twice, and no IPv6 end that stands for IPv4."""
    seen: dict[tuple[object, ...], str] = {}
    for row, entry in enumerate(config.forward):
        ends = (("ipv4", entry.address4, entry.port4, entry.ipv6), ("ipv6", entry.address6, entry.port6, entry.ipv4))
        for key, address, port, other_end in ends:
            taken = seen.setdefault((entry.protocol, address, port), other_end)
            if taken is not other_end:
                expected = f"a transport address with one [[forward]]; {entry.protocol} here already has {taken}"
                yield Finding(("forward", row, key), expected)
        if config.pool6 and entry.address6 in config.pool6:
            yield Finding(("forward", row, "ipv6"), f"an IPv6 host outside pool6, {config.pool6}")


def _mappings(config: Config, pools: list[_Pool]) -> Iterator[Finding]:
    """RFC 7757 section 3.2: the IPv4 suffix must fit behind the IPv6 prefix; a prefix has one counterpart.

    An address is either a host's own, or shared by ports, or stands for an IPv4 host. In numbers, as there may be
    100,000 rows.
    """
    seen: set[tuple[int, int, int]] = set()
    pool6 = _span(config.pool6) if config.pool6 else (1, 0)
    for row, entry in enumerate(config.mappings):
        place: Path = ("clat",) if entry is config.clat else ("eam", row)
        needed, room = 32 - entry.ipv4.prefixlen, 128 - entry.ipv6.prefixlen
        if needed > room:
            yield Finding((*place, "ipv6"), f"at least {needed} bits behind the prefix, not {room}")
        for key, prefix in (("ipv4", entry.ipv4), ("ipv6", entry.ipv6)):
            number = (prefix.version, int(prefix.network_address), prefix.prefixlen)
            if number in seen:
                yield Finding((*place, key), f"a prefix with one [[eam]]; {prefix} has an earlier one")
            seen.add(number)
        if _meet(_span(entry.ipv6), pool6):
            yield Finding((*place, "ipv6"), f"IPv6 hosts outside pool6, {config.pool6}")
        if pools and any(_meet(_span(entry.ipv4), (pool.first, pool.last)) for pool in pools):
            yield Finding((*place, "ipv4"), "addresses outside [[pool4]]")
    yield from _mapped_twice(config, seen)


def _mapped_twice(config: Config, mapped: set[tuple[int, int, int]]) -> Iterator[Finding]:
    """An address that sessions use, or the translator itself, and that has a mapping (version, address, length) too.

    The translator may have an address inside a wide prefix.
    """
    lengths = {(version, length) for version, _, length in mapped}
    for place, address in _forwarded(config):
        around = (ip_network((address, n), strict=False) for version, n in lengths if version == address.version)
        covering = next((p for p in around if (p.version, int(p.network_address), p.prefixlen) in mapped), None)
        if covering is not None:
            yield Finding(place, f"an address outside [[eam]], unlike {covering}")
    for key, own in (("ipv4", config.tun.ipv4), ("ipv6", config.tun.ipv6)):
        if own and (own.version, int(own), own.max_prefixlen) in mapped:
            yield Finding(("tun", key), "an address of the translator's own, without a mapping")


def _clat(config: Config) -> Iterator[Finding]:
    """464XLAT: translation without state here, with state at the provider's; one prefix, the provider's."""
    if config.clat is None:
        return
    if config.pool4 or config.forward:
        yield Finding(("clat",), "no [[pool4]] or [[forward]] beside it: sessions are the provider's (RFC 6877)")
    if config.pool6 and config.clat.plat != config.pool6:
        yield Finding(("pool6",), "the prefix of [clat] plat, or none")


def _span(prefix: IPv4Network | IPv6Network) -> tuple[int, int]:
    """The first and the last address of a prefix."""
    first = int(prefix.network_address)
    return first, first + (1 << prefix.max_prefixlen - prefix.prefixlen) - 1


def _meet(span: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two spans share an address."""
    return span[0] <= other[1] and other[0] <= span[1]


def _forwarded(config: Config) -> Iterator[tuple[Path, IPv4Address | IPv6Address]]:
    """The addresses of [[forward]], and where each stands."""
    for row, forward in enumerate(config.forward):
        yield ("forward", row, "ipv4"), forward.address4
        yield ("forward", row, "ipv6"), forward.address6


def _nothing_to_translate(raw: Mapping[str, Any], config: Config) -> Iterator[Finding]:
    """Sessions need the prefix; without sessions there must be some mapping."""
    if "pool6" in raw or "clat" in raw:
        return
    if config.pool4 or config.forward or not config.eam:
        yield Finding(("pool6",), "a prefix such as 64:ff9b::/96, unless every address is mapped by [[eam]]")
    if config.translation.eam_hairpin == "simple":
        yield Finding(("translation", "eam_hairpin"), '"off" without pool6: "simple" writes every IPv4 source under it')


def _inside_pool6(config: Config) -> Iterator[Finding]:
    """pool6 holds IPv4 hosts only: neither the translator nor those who use it."""
    if config.pool6 is None:
        return
    if config.pool6[0] == WELL_KNOWN[0] and config.pool6 != WELL_KNOWN:
        place = ("clat", "plat") if config.clat else ("pool6",)
        yield Finding(place, f"{WELL_KNOWN} and no other length of it (RFC 6052 section 2.1)")
    if config.tun.ipv6 in config.pool6:
        yield Finding(("tun", "ipv6"), f"an address outside pool6, {config.pool6}, unlike {config.tun.ipv6}")
    for row, pool in enumerate(config.pool4):
        if pool.source and pool.source.overlaps(config.pool6):
            yield Finding(("pool4", row, "source"), f"IPv6 hosts outside pool6, {config.pool6}")


def _own_address4(config: Config, pools: list[_Pool]) -> Iterator[Finding]:
    """The translator's own IPv4 address is nobody else's."""
    own = config.tun.ipv4
    if own is None:
        return
    for pool in pools:
        if pool.first <= int(own) <= pool.last:
            yield Finding(("tun", "ipv4"), f"an address outside the [[pool4]] of {pool.text}")
    for entry in config.forward:
        if entry.address4 == own:
            yield Finding(("tun", "ipv4"), f"another address than the [[forward]] of {entry.ipv4}")
