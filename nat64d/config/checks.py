"""What no key can know alone: what this version does not support, and contradictions between keys."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from os.path import normpath
from typing import Any

from nat64d.config.addresses import is_well_known_cut, split_listener, split_name_server, split_port_range
from nat64d.config.client_prefixes import client_prefixes
from nat64d.config.computed import blocks
from nat64d.config.models import Config
from nat64d.config.owners import owners
from nat64d.config.problems import UNSUPPORTED, Finding
from nat64d.config.service_owners import service_owners
from translator.static.blocks import NON_GLOBAL4, WELL_KNOWN

RFC6791_ADDRESSES = 4096  # each is a row of Settings; RFC 6791 section 3.2 recommends a small pool

RDNSS_ADDRESSES = 8  # an advertisement is one packet; hosts use three (RFC 8106 section 5.3.1)

LATER: tuple[tuple[str, str], ...] = ()  # keys whose default is the only value that this version supports


def not_supported_yet(config: Config) -> Iterator[Finding]:
    """Keys and values that are known, but that this version does not support."""
    for section, key in LATER:
        table = getattr(config, section)
        if getattr(table, key) != type(table).model_fields[key].default:
            yield Finding((section, key), UNSUPPORTED)


def contradictions(raw: Mapping[str, Any], config: Config) -> Iterator[Finding]:
    """Keys that are right one by one and wrong together; `raw` is the file, of which `config` may lack faulty parts."""
    yield from owners(config)
    yield from _interfaces(config)
    yield from service_owners(config)
    yield from client_prefixes(config)
    yield from blocks(config)
    yield from _inside_pool6(config)
    yield from _clat(config)
    yield from _nothing_to_translate(raw, config)
    yield from _translation(config)
    yield from _dns64(raw, config)
    yield from _ra(raw, config)
    if config.host.masquerade == config.tun.name:
        yield Finding(("host", "masquerade"), "expected another interface than the TUN device")
    if config.tun.name in config.fastpath.interfaces:
        yield Finding(("fastpath", "interfaces"), f"expected other interfaces than the TUN device, {config.tun.name}")
    if normpath(config.log.session_file) == normpath(config.state_path):
        yield Finding(("log", "session_file"), "expected another file than that of [state]")


def _interfaces(config: Config) -> Iterator[Finding]:
    """A [[pool4]] of an interface shares ports: what has none stays with this host, and nobody knows how many addresses
    there will be."""
    for row, pool in enumerate(config.pool4):
        if pool.interface == config.tun.name:
            yield Finding(("pool4", row, "addresses"), "expected another interface than the TUN device")
        if pool.interface and "other" in pool.protocols:
            yield Finding(("pool4", row, "protocols"), 'expected no "other": this host shares ports alone')
        if pool.interface and pool.deterministic:
            yield Finding(("pool4", row, "deterministic"), "expected false: the addresses of an interface change")


def _translation(config: Config) -> Iterator[Finding]:
    """What does not go together in [translation]: MTUs, sources of ICMP errors, ports in two lists."""
    given = config.translation
    if given.mtu6 != "auto" and given.mtu6 < given.lowest_ipv6_mtu:
        yield Finding(("translation", "lowest_ipv6_mtu"), f"expected at most {given.mtu6}, the value of mtu6")
    if (total := sum(prefix.num_addresses for prefix in given.rfc6791_ipv4)) > RFC6791_ADDRESSES:
        yield Finding(("translation", "rfc6791_ipv4"), f"expected at most {RFC6791_ADDRESSES} addresses, not {total}")
    if config.pool6 and given.rfc6791_ipv6 and given.rfc6791_ipv6.overlaps(config.pool6):
        yield Finding(("translation", "rfc6791_ipv6"), f"expected addresses outside pool6, {config.pool6}")
    ranges = sorted(
        (*split_port_range(text), name, text) for name, texts in given.udp_zero_checksum_ports for text in texts
    )
    for (_, last, name, text), (first, _, other, _) in pairwise(ranges):
        if first <= last:
            expected = f"expected ports in one list only; {text} in {name} overlaps"
            yield Finding(("translation", "udp_zero_checksum_ports", other), expected)


def _dns64(raw: Mapping[str, Any], config: Config) -> Iterator[Finding]:
    """[dns64] writes prefixes that are right, asks others than itself, and listens at an address once."""
    given = config.dns64
    if given is None:
        return
    if not ("pool6" in raw or config.clat or given.dns46):
        yield Finding(("pool6",), "expected a prefix: [dns64] needs one for synthetic addresses")
    listeners = list(map(split_listener, given.listen))
    for text, (address, port) in zip(given.listen, listeners, strict=True):
        everywhere = type(address)(0)
        if address != everywhere and (everywhere, port) in listeners:
            yield Finding(("dns64", "listen"), f"expected all addresses of a port or single ones; {text} is one of all")
    for text in given.upstream if given.upstream != "system" else ():
        address, port, _ = split_name_server(text)
        everywhere = type(address)(0)
        if (address, port) in listeners or (address.is_loopback and (everywhere, port) in listeners):
            yield Finding(("dns64", "upstream"), f"expected other servers than nat64d itself, {text}")
    prefixed = [(("dns64", "ranges", at, "pool6"), row.pool6) for at, row in enumerate(given.ranges)]
    prefixed += [(("dns64", "policy", at, "pool6"), row.pool6) for at, row in enumerate(given.policy)]
    for place, pool6 in prefixed:
        if pool6 and is_well_known_cut(pool6):
            yield Finding(place, f"expected {WELL_KNOWN}, in no other length, or another prefix (RFC 6052 section 2.1)")
    for at, row in enumerate(given.ranges):
        if row.pool6 == WELL_KNOWN and any(row.ipv4.overlaps(block) for block in NON_GLOBAL4):
            expected = "expected another prefix: the well-known one is for global addresses (RFC 6052 section 3.1)"
            yield Finding(("dns64", "ranges", at, "pool6"), expected)


def _ra(raw: Mapping[str, Any], config: Config) -> Iterator[Finding]:
    """[ra] has a prefix to announce, on links with neighbours."""
    if config.ra is None:
        return
    if not ("pool6" in raw or config.clat):
        yield Finding(("pool6",), "expected a prefix: [ra] announces it")
    if config.tun.name in config.ra.interface:
        yield Finding(("ra", "interface"), f"expected other interfaces than the TUN device, {config.tun.name}")
    if len(config.ra.rdnss) > RDNSS_ADDRESSES:
        yield Finding(("ra", "rdnss"), f"expected at most {RDNSS_ADDRESSES} addresses, not {len(config.ra.rdnss)}")


def _clat(config: Config) -> Iterator[Finding]:
    """464XLAT: translation without state here, with state at the provider's; one prefix, the provider's."""
    if config.clat is None:
        return
    if config.is_stateful:
        yield Finding(
            ("clat",),
            "expected no [[pool4]], [[forward]] or [[service]] beside it: the provider keeps the sessions (RFC 6877)",
        )
    if config.pool6 and config.clat.plat != config.pool6:
        yield Finding(("pool6",), "expected the same prefix as in [clat] plat, or no pool6")


def _nothing_to_translate(raw: Mapping[str, Any], config: Config) -> Iterator[Finding]:
    """Sessions need the prefix; without sessions there must be some mapping."""
    if "pool6" in raw or "clat" in raw:
        return
    if config.is_stateful or not config.eam:
        yield Finding(("pool6",), "expected a prefix such as 64:ff9b::/96, unless every address is mapped by [[eam]]")
    if config.translation.eam_hairpin == "simple":
        complaint = 'expected "intrinsic" or "off" without pool6: "simple" writes every IPv4 source under it'
        yield Finding(("translation", "eam_hairpin"), complaint)


def _inside_pool6(config: Config) -> Iterator[Finding]:
    """pool6 holds IPv4 hosts only: neither the translator nor those who use it."""
    if config.pool6 is None:
        return
    if is_well_known_cut(config.pool6):
        place = ("clat", "plat") if config.clat else ("pool6",)
        yield Finding(place, f"expected {WELL_KNOWN}, in no other length, or another prefix (RFC 6052 section 2.1)")
    if config.tun.ipv6 in config.pool6:
        yield Finding(
            ("tun", "ipv6"), f"expected an address outside pool6, {config.pool6}; {config.tun.ipv6} is inside"
        )
    for row, pool in enumerate(config.pool4):
        if pool.source and pool.source.overlaps(config.pool6):
            yield Finding(("pool4", row, "source"), f"expected IPv6 hosts outside pool6, {config.pool6}")
