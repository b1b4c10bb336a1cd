"""Config -> Settings and Tables: the operator's words as the translator's numbers. Pure functions."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Network
from typing import Any

import numpy as np
from netaddr import IPRange, IPSet

from nat64d.config.addresses import Ports, split_port_range
from nat64d.config.computed import computed_of
from nat64d.config.fronts import VIPS6, change_fronts, fronts_of, given_weight, prefixes_of, seed_of
from nat64d.config.models import Config, Limits
from nat64d.config.pool4 import Pool4
from nat64d.config.words import PROTOCOLS, ranges, words
from translator.packet.fields import IPV4_HEADER, IPV6_HEADER, TCP_HEADER
from translator.packet.transport import CALCULATE, DROP, FORWARD
from translator.session import members
from translator.session.bib import create_static_bibs
from translator.session.log import BLOCKS, MAPPINGS, SESSIONS
from translator.session.pool4 import enter_pool
from translator.session.port_blocks import enter_blocks
from translator.static.eam import enter_rows
from translator.static.mapping import INTRINSIC, OFF, SIMPLE
from translator.tables.gateway import Gateway, new_worker
from translator.tables.handles import DNAT, FULLNAT, VIPS
from translator.tables.handles import OFF as NO_FRONT6
from translator.tables.layout import EAM, GROUP, NONE, POOL, STATIC_BIB, records
from translator.tables.records import as_records
from translator.tables.settings import Settings
from translator.tables.tables import Tables, accounts_of, clients_of_services, create
from translator.verdict import Event, Verdict

ZERO_CHECKSUM = {"calculate": CALCULATE, "drop": DROP, "forward": FORWARD}
LOGGED = {"off": 0, "blocks": BLOCKS, "mappings": MAPPINGS, "sessions": SESSIONS}
DUMMY4 = IPv4Address("192.0.0.8")  # RFC 7600: the source of ICMP errors of one that has no address
FRONTS6 = {"off": NO_FRONT6, "dnat": DNAT, "fullnat": FULLNAT}
LEAST_MSS = 536  # RFC 9293 section 3.7.1: without the option, that is what an IPv4 host sends
ANY = IPv6Network("::/0")


def ordered_pools(config: Config) -> list[Pool4]:
    """[[pool4]] with addresses by source prefix, the longest first; rows of one source are neighbours."""
    return sorted((pool for pool in config.pool4 if pool.known), key=_source_order)


def pool_rows(config: Config) -> list[tuple[Pool4, IPv4Address]]:
    """The rows of Settings.pool: one an address, and those of one source in the order of their addresses."""
    rows = [(p, address) for p in ordered_pools(config) for address in range(p.range.first, p.range.last + 1)]
    rows.sort(key=lambda row: (*_source_order(row[0]), row[1]))
    return [(pool, IPv4Address(address)) for pool, address in rows]


def rows_by_pool(config: Config) -> list[tuple[Pool4, list[int]]]:
    """Every [[pool4]] with the numbers of its rows in Settings.pool."""
    pools = ordered_pools(config)
    places: dict[int, list[int]] = {id(pool): [] for pool in pools}
    for number, (pool, _) in enumerate(pool_rows(config)):
        places[id(pool)].append(number)
    return [(pool, places[id(pool)]) for pool in pools]


def _source_order(pool: Pool4) -> tuple[int, int]:
    """The longest source prefix first; the same for rows of one source."""
    source = pool.source or ANY
    return -source.prefixlen, int(source[0])


def _pool(config: Config) -> np.ndarray:
    """Settings.pool: a POOL record for each address of each [[pool4]]."""
    rows = pool_rows(config)
    ports = {id(given): given.port_range for given in config.pool4}
    pool = records(len(rows), POOL)
    pool["address"] = [int(address) for _, address in rows]
    pool["port_first"] = [ports[id(given)][0] for given, _ in rows]
    pool["port_last"] = [ports[id(given)][1] for given, _ in rows]
    for name in (*PROTOCOLS, "other"):
        pool[name] = [name in given.protocols for given, _ in rows]
    return pool


def _groups(config: Config) -> np.ndarray:
    """GROUP rows: which rows of the pool a source prefix has, and how many blocks of each are computed."""
    sources = [pool.source or ANY for pool, _ in pool_rows(config)]
    distinct = list(dict.fromkeys(sources))
    computed = {pool.source: computed_of(pool, config.limits).each for pool in config.pool4 if pool.deterministic}
    groups = records(len(distinct), GROUP)
    groups["computed"] = [computed.get(source, 0) for source in distinct]
    for row, source in zip(groups, distinct, strict=True):
        row.hi, row.lo = words(source[0])
        row.length, row.first, row.count = source.prefixlen, sources.index(source), sources.count(source)
    return groups


def _eam(config: Config, secret: np.ndarray) -> dict[str, Any]:
    """The attributes of Settings about [[eam]] and [clat]: rows, and either way an index and the prefix lengths in
    use."""
    rows = records(len(config.mappings), EAM)
    rows["ipv4"] = [int(row.ipv4.network_address) for row in config.mappings]
    rows["length4"] = [row.ipv4.prefixlen for row in config.mappings]
    octets6 = b"".join(row.ipv6.network_address.packed for row in config.mappings)
    rows["ipv6_hi"], rows["ipv6_lo"] = np.frombuffer(octets6, ">i8").reshape(-1, 2).T
    rows["length6"] = [row.ipv6.prefixlen for row in config.mappings]
    slots = 1 << (2 * len(rows)).bit_length()  # half full at most, and for the program in the kernel a power of two
    index4, index6 = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
    enter_rows(secret, rows, index4, index6)
    lengths4, lengths6 = ({int(length) for length in rows[name]} for name in ("length4", "length6"))
    return {
        "eam": rows,
        "eam_index4": index4,
        "eam_index6": index6,
        "eam_lengths4": np.array(sorted(lengths4, reverse=True), np.int64),
        "eam_lengths6": np.array(sorted(lengths6, reverse=True), np.int64),
        "clat": int(config.clat is not None),
        "eam_hairpin": {"off": OFF, "simple": SIMPLE, "intrinsic": INTRINSIC}[config.translation.eam_hairpin],
    }


def _filtering(config: Config) -> dict[str, Any]:
    """The attributes of Settings about [filtering]: flags of the same names, and that no RST is due."""
    return {name: int(flag) for name, flag in config.filtering if name != "reset_unknown"} | {"reset_until": 0}


def _subscriber(length: int) -> dict[str, Any]:
    """The attributes of Settings about the prefix that is one subscriber."""
    hi, lo = words(IPv6Network((0, length)).netmask)
    return {"subscriber": length, "subscriber_hi": hi, "subscriber_lo": lo}


def _limits(limits: Limits) -> dict[str, Any]:
    """The attributes of Settings about what a host or a subscriber may have."""
    names = ("per_host_sessions", "per_host_ports", "per_host_rate", "port_block", "blocks")
    return {
        **{name: getattr(limits, name) for name in names},
        "strict_pairing": int(limits.pairing == "strict"),
        "port_quarantine": limits.port_quarantine * 1000,
    }


def _rfc6791(sources: IPv6Network) -> dict[str, int]:
    """The attributes of Settings about rfc6791_ipv6: as much of a router's IPv4 address goes in as there is room."""
    hi, lo = words(sources[0])
    return {"rfc6791_hi": hi, "rfc6791_lo": lo, "rfc6791_bits": (1 << min(32, 128 - sources.prefixlen)) - 1}


def _translation(config: Config) -> dict[str, Any]:
    """The attributes of Settings about [translation]."""
    given = config.translation
    return {
        "denylist4": ranges(config.denied4),
        "rfc6791": np.array([int(a) for net in given.rfc6791_ipv4 for a in net], np.int64),
        **_rfc6791(given.rfc6791_ipv6 or IPv6Network(config.clat.ipv6[0] if config.clat else config.tun.ipv6)),
        "mtu4": 0 if given.mtu4 == "auto" else given.mtu4,
        "mtu6": 0 if given.mtu6 == "auto" else given.mtu6,
        "lowest_ipv6_mtu": given.lowest_ipv6_mtu,
        "mss": 0 if given.clamp_mss == "services" else _mss(config),
        "service_mss": _mss(config),
        "zero_udp_checksum": ZERO_CHECKSUM[given.udp_zero_checksum],
        "zero_udp_checksum_ports": np.array(
            [
                (*split_port_range(ports), what)
                for name, what in ZERO_CHECKSUM.items()
                for ports in getattr(given.udp_zero_checksum_ports, name)
            ],
            np.int64,
        ).reshape(-1, 3),
        "traffic_class": NONE if given.traffic_class == "copy" else given.traffic_class,
        "plateaus": np.array(given.mtu_plateaus, np.int64),
    }


def _mss(config: Config) -> int:
    """What the MSS of SYNs is lowered to, 0 for not at all: what both MTUs leave for TCP, of IPv6 also in the longer
    header; the TUN device's where the kernel's routes decide. Any IPv4 path carries LEAST_MSS (RFC 879)."""
    given = config.translation
    if isinstance(given.clamp_mss, int) and not isinstance(given.clamp_mss, bool):
        return given.clamp_mss
    mtu4, mtu6 = (config.tun.mtu if mtu == "auto" else mtu for mtu in (given.mtu4, given.mtu6))
    room = min(mtu4 - IPV4_HEADER, mtu6 - IPV6_HEADER, config.tun.mtu - IPV6_HEADER) - TCP_HEADER
    return max(LEAST_MSS, room) if given.clamp_mss else 0


def _services(config: Config) -> dict[str, Any]:
    """The attributes of Settings about services."""
    given, vips = config.services, IPSet(map(str, config.vips4))
    silent = np.zeros(max(Verdict) + 1, np.int64)
    silent[[Verdict.NO_ENDPOINT, Verdict.SERVICE_CLASH]] = given.no_endpoint == "drop"
    silent[Verdict.CLOSED_PORT] = given.closed_port == "drop"
    front6 = FRONTS6[given.ipv6_front]
    handles = IPRange(VIPS, VIPS + VIPS6 - 1) if front6 != NO_FRONT6 else ()
    return {
        "prefixes": prefixes_of(config),
        "client_prefixes": len(config.prefixes) - 1,
        "vips4": ranges(vips | IPSet(handles)),
        "closed4": ranges((vips - config.pool4_addresses) | IPSet(handles)),
        "front6": front6,
        "source6_hi": words(given.source6[0])[0] if given.source6 else 0,
        "seed": seed_of(config),
        "echo": int(given.echo),
        "endpoint_gone": {"keep": members.KEEP, "reset": members.RESET}[given.endpoint_gone],
        "silent": silent,
    }


def settings_of(config: Config, secret: bytes, queues: int = 1) -> Settings:
    """What the translator needs to know. `secret`: 16 octets, the key of all hashes and of the Identifications."""
    pool6_hi, pool6_lo = words(config.pool6[0]) if config.pool6 else (0, 0)
    own6_hi, own6_lo = words(config.tun.ipv6)
    timeouts = config.timeouts
    key = np.frombuffer(secret, "<i8").astype(np.int64)
    seconds = [timeouts.udp, timeouts.tcp_established, timeouts.tcp_transitory]
    seconds += [timeouts.tcp_incoming_syn, timeouts.icmp, timeouts.fragment]
    seconds += [timeouts.tcp_opening, timeouts.tcp_closing, timeouts.service_syn, timeouts.service_udp]
    shuffle = np.random.Generator(np.random.PCG64(int.from_bytes(sha256(secret).digest(), "big")))
    return Settings(
        pool6_hi=pool6_hi,
        pool6_lo=pool6_lo,
        pool6_length=config.pool6.prefixlen if config.pool6 else NONE,
        strict_well_known_prefix=int(config.strict_well_known_prefix),
        stateful=int(config.is_stateful),
        **_services(config),
        **_eam(config, key),
        groups=_groups(config),
        pool=_pool(config),
        other_protocols=int(any("other" in pool.protocols for pool in config.pool4)),
        ranges4=ranges(config.shared4),
        own4=int(config.tun.ipv4 or DUMMY4),
        own6_hi=own6_hi,
        own6_lo=own6_lo,
        timeouts=np.array(seconds, np.int64) * 1000,
        **_filtering(config),
        **_translation(config),
        **_subscriber(config.limits.subscriber),
        **_limits(config.limits),
        logged=LOGGED[config.log.sessions],
        accounting=int(config.log.accounting),
        errors_per_second=config.limits.icmp_errors_per_second,
        resets_per_second=config.limits.resets_per_second,
        queues=queues,
        secret=key,
        identifications=shuffle.permutation(65536).astype(np.int32),
    )


def tables_of(config: Config, settings: Settings) -> Tables:
    """Empty tables with the static BIB entries of [[forward]] and [[service]] in them."""
    limits, rows = config.limits, _static_bibs(config)
    sizes = limits.sessions, len(settings.pool), int(rows["count"].sum()), len(Event)
    tables = create(*sizes, limits.fragments_memory, limits.port_block, limits.service_members)
    if settings.front6 != NO_FRONT6:
        tables = replace(tables, **clients_of_services(limits.sessions), vips6=np.zeros((VIPS6, 2), np.int64))
    if settings.accounting:
        tables = replace(tables, **accounts_of(limits.sessions))
    enter_pool(tables, settings.pool)
    enter_blocks(tables, settings)
    gateway = Gateway(settings, tables, new_worker(0))
    create_static_bibs(gateway, rows)
    change_fronts(members, gateway, 0, fronts_of(config, given_weight))
    return tables


def _static_bibs(config: Config) -> np.ndarray:
    """STATIC_BIB rows: each [[forward]], one protocol at a time, cut where a row of the pool begins or ends."""
    forwarded = {forward.end4.address for forward in config.forward}
    pool: dict[tuple[IPv4Address, str], list[tuple[int, int, int]]] = {}
    for at, (given, address) in enumerate(pool_rows(config) if forwarded else ()):
        for name in given.protocols if address in forwarded else ():
            pool.setdefault((address, name), []).append((*given.port_range, at))
    cut = [
        (PROTOCOLS[name], *words(end6.address), end6.first + first - end4.first, int(end4.address), first, size, row)
        for end4, end6, names in ((forward.end4, forward.end6, forward.protocols) for forward in config.forward)
        for name in names
        for first, size, row in _pieces(end4, sorted(pool.get((end4.address, name), ())))
    ]
    return as_records(np.array(cut, STATIC_BIB))


def _pieces(ports: Ports[IPv4Address], pool: Iterable[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """A range of ports as first port, number of ports and row of the pool, NONE outside. `pool`: first, last, row."""
    at = ports.first
    for first, last, row in pool:
        if first <= ports.last and at <= last:
            if at < first:
                yield at, first - at, NONE
            at, begin = min(ports.last, last) + 1, max(at, first)
            yield begin, at - begin, row
    if at <= ports.last:
        yield at, ports.last + 1 - at, NONE
