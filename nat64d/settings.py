"""Config -> Settings and Tables: the operator's words as the translator's numbers. Pure functions."""

from collections.abc import Sequence
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

import numpy as np

from nat64d.config import Config, Pool4
from nat64d.config.addresses import split_port_range
from translator.packet.fields import ICMP, TCP, UDP
from translator.packet.transport import CALCULATE, DROP, FORWARD
from translator.session.bib import create_bib
from translator.session.pool4 import slot_of
from translator.static.eam import enter_rows
from translator.static.mapping import INTRINSIC, OFF, SIMPLE
from translator.static.rfc6052 import LENGTHS
from translator.tables import EAM, GROUP, NONE, POOL, Settings, Tables, create, empty_index, records
from translator.verdict import Event

ZERO_CHECKSUM = {"calculate": CALCULATE, "drop": DROP, "forward": FORWARD}
PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP}
DUMMY4 = IPv4Address("192.0.0.8")  # RFC 7600: the source of ICMP errors of one that has no address
ANY = IPv6Network("::/0")


def words(address: IPv6Address) -> tuple[int, int]:
    """An IPv6 address as two int64."""
    hi, lo = int(address) >> 64, int(address) & (1 << 64) - 1
    return hi - (hi >> 63 << 64), lo - (lo >> 63 << 64)


def address6(hi: int, lo: int) -> IPv6Address:
    """Two int64 as an IPv6 address."""
    return IPv6Address((int(hi) & (1 << 64) - 1) << 64 | int(lo) & (1 << 64) - 1)


def _rows(*values: Sequence[int]) -> np.ndarray:
    """int64[n, 2], also for n = 0."""
    return np.array(sorted(map(list, values)), np.int64).reshape(-1, 2)


def _merged(ranges: np.ndarray) -> np.ndarray:
    """Sorted ranges, neighbours and overlaps joined: what a packet has to be compared with."""
    joined: list[list[int]] = []
    for first, last in ranges.tolist():
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return _rows(*joined)


def ordered_pools(config: Config) -> list[Pool4]:
    """[[pool4]] by source prefix, the longest first; rows of one source are neighbours."""
    return sorted(config.pool4, key=lambda pool: (-(pool.source or ANY).prefixlen, int((pool.source or ANY)[0])))


def pool_rows(config: Config) -> list[tuple[Pool4, IPv4Address]]:
    """The rows of Settings.pool: one an address."""
    return [(p, IPv4Address(a)) for p in ordered_pools(config) for a in range(int(p.first), int(p.last) + 1)]


def _pool(config: Config) -> np.ndarray:
    """POOL rows."""
    rows = pool_rows(config)
    pool = records(len(rows), POOL)
    for row, (given, address) in zip(pool, rows, strict=True):
        row.address, row.port_first, row.port_last = int(address), given.port_first, given.port_last
        row.tcp, row.udp, row.icmp = (int(name in given.protocols) for name in PROTOCOLS)
        row.other = int("other" in given.protocols)
    return pool


def _groups(config: Config) -> np.ndarray:
    """GROUP rows: which rows of the pool a source prefix has."""
    sources = [pool.source or ANY for pool, _ in pool_rows(config)]
    distinct = list(dict.fromkeys(sources))
    groups = records(len(distinct), GROUP)
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
    index4, index6 = empty_index(len(rows)), empty_index(len(rows))
    enter_rows(secret, rows, index4, index6)
    lengths4, lengths6 = ({int(length) for length in rows[name]} for name in ("length4", "length6"))
    return {
        "eam": rows,
        "eam_index4": index4,
        "eam_index6": index6,
        "eam_lengths4": np.array(sorted(lengths4, reverse=True), np.int64),
        "eam_lengths6": np.array(sorted(lengths6, reverse=True), np.int64),
        "eam_hairpin": {"off": OFF, "simple": SIMPLE, "intrinsic": INTRINSIC}[config.translation.eam_hairpin],
    }


def _filtering(config: Config) -> dict[str, Any]:
    """The attributes of Settings about [filtering]: flags of the same names."""
    return {name: int(wish) for name, wish in config.filtering}


def _rfc6791(sources: IPv6Network) -> dict[str, int]:
    """The attributes of Settings about rfc6791_ipv6: as much of a router's IPv4 address goes in as there is room."""
    hi, lo = words(sources[0])
    return {"rfc6791_hi": hi, "rfc6791_lo": lo, "rfc6791_bits": (1 << min(32, 128 - sources.prefixlen)) - 1}


def _translation(config: Config) -> dict[str, Any]:
    """The attributes of Settings about [translation]."""
    given = config.translation
    return {
        "denylist4": _merged(_rows(*((int(net[0]), int(net[-1])) for net in given.denylist4))),
        "rfc6791": np.array([int(a) for net in given.rfc6791_ipv4 for a in net], np.int64),
        **_rfc6791(given.rfc6791_ipv6 or IPv6Network(config.tun.ipv6)),
        "mtu4": 0 if given.mtu4 == "auto" else given.mtu4,
        "mtu6": 0 if given.mtu6 == "auto" else given.mtu6,
        "lowest_ipv6_mtu": given.lowest_ipv6_mtu,
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


def settings_of(config: Config, secret: bytes, queues: int = 1) -> Settings:
    """What the translator needs to know. `secret`: 16 octets, the key of all hashes and of the Identifications."""
    pool6_hi, pool6_lo = words(config.pool6[0]) if config.pool6 else (0, 0)
    own6_hi, own6_lo = words(config.tun.ipv6)
    timeouts = config.timeouts
    key = np.frombuffer(secret, "<i8").astype(np.int64)
    ours = [(int(pool.first), int(pool.last)) for pool in config.pool4]
    ours += [(int(forward.address4), int(forward.address4)) for forward in config.forward]
    seconds = [timeouts.udp, timeouts.tcp_established, timeouts.tcp_transitory]
    seconds += [timeouts.tcp_incoming_syn, timeouts.icmp, timeouts.fragment]
    shuffle = np.random.Generator(np.random.PCG64(int.from_bytes(sha256(secret).digest(), "big")))
    return Settings(
        pool6_hi=pool6_hi,
        pool6_lo=pool6_lo,
        pool6_row=LENGTHS.index(config.pool6.prefixlen) if config.pool6 else NONE,
        strict_well_known_prefix=int(config.strict_well_known_prefix),
        stateful=int(bool(config.pool4 or config.forward)),
        **_eam(config, key),
        groups=_groups(config),
        pool=_pool(config),
        other_protocols=int(any("other" in pool.protocols for pool in config.pool4)),
        ranges4=_merged(_rows(*ours)),
        own4=int(config.tun.ipv4 or DUMMY4),
        own6_hi=own6_hi,
        own6_lo=own6_lo,
        timeouts=np.array(seconds, np.int64) * 1000,
        **_filtering(config),
        **_translation(config),
        per_host_sessions=config.limits.per_host_sessions,
        per_host_ports=config.limits.per_host_ports,
        port_quarantine=config.limits.port_quarantine * 1000,
        errors_per_second=config.limits.icmp_errors_per_second,
        queues=queues,
        secret=key,
        identifications=shuffle.permutation(65536).astype(np.int32),
    )


def tables_of(config: Config, settings: Settings) -> Tables:
    """Empty tables with the static BIB entries of [[forward]] in them."""
    limits = config.limits
    tables = create(limits.sessions, len(settings.pool), len(config.forward), len(Event), limits.fragments_memory)
    for forward in config.forward:
        protocol, mapped4 = PROTOCOLS[forward.protocol], int(forward.address4)
        slot = NONE
        for at, row in enumerate(settings.pool):
            if row.address == mapped4 and row.port_first <= forward.port4 <= row.port_last and row[forward.protocol]:
                slot = slot_of(at, protocol)
        hi, lo = words(forward.address6)
        create_bib(settings, tables, protocol, hi, lo, forward.port6, mapped4, forward.port4, slot, 1)
    return tables
