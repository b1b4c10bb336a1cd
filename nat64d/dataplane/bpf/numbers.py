"""What the program has to know of a configuration: its parameters, and arrays beside the tables of sessions."""

from collections.abc import Iterator

import numpy as np

from translator.fastpath.kernel import BARRED, MAPPED, NOT_EMBEDDED, OURS, PARAMETERS
from translator.fastpath.mappings import EAM_LENGTHS, RANGE_STEPS
from translator.static.addresses import NON_GLOBAL, WELL_KNOWN_HI
from translator.static.blocks import LINK_LOCAL4, NO_HOSTS4
from translator.tables.layout import EAM, NONE, records
from translator.tables.settings import Settings
from translator.tables.tables import MEMBERS, NEVER_USED, Tables
from translator.tables.wheel import Timeout

BEHIND = 1 << 40  # behind every IPv4 address

Holding = tuple[int, int, int]  # first and last address, and what holds for them


def refusal(settings: Settings) -> str | None:
    """Why there is no fast path with this configuration."""
    if settings.clat:
        return "packets of [clat] are the daemon's"
    if settings.pool6_length == NONE:
        return "there is no pool6: it translates packets from and to hosts under it"
    if max(len(settings.eam_lengths4), len(settings.eam_lengths6)) > EAM_LENGTHS:
        return f"[[eam]] have more than {EAM_LENGTHS} prefix lengths"
    if len(ranges_of(settings)) >= 1 << RANGE_STEPS:
        return f"something holds for {1 << RANGE_STEPS} ranges of IPv4 addresses or more"
    return None


def _holding(settings: Settings) -> Iterator[Holding]:
    """What holds for IPv4 addresses; ranges overlap."""
    yield from ((int(first), int(last), OURS) for first, last in settings.ranges4)
    for first, length in zip(settings.eam["ipv4"].tolist(), settings.eam["length4"].tolist(), strict=True):
        yield first, first + (1 << 32 - length) - 1, OURS | MAPPED
    yield from ((int(block[0]), int(block[-1]), BARRED) for block in (*NO_HOSTS4, LINK_LOCAL4))
    yield from ((int(first), int(last), BARRED) for first, last in settings.denylist4)
    if settings.strict_well_known_prefix and settings.pool6_hi == WELL_KNOWN_HI and settings.pool6_lo == 0:
        yield from ((int(first), int(last), NOT_EMBEDDED) for first, last in NON_GLOBAL)


def ranges_of(settings: Settings) -> np.ndarray:
    """int64[n, 3]: what holds for IPv4 addresses, in ranges that are sorted and apart."""
    begin, end = dict[int, list[int]](), dict[int, list[int]]()
    for first, last, what in _holding(settings):
        begin.setdefault(first, []).append(what)
        end.setdefault(last + 1, []).append(what)
    count, ranges = dict.fromkeys((OURS, MAPPED, BARRED, NOT_EMBEDDED), 0), list[list[int]]()
    for at in sorted({*begin, *end}):
        for flag in count:
            count[flag] += sum(bool(what & flag) for what in begin.get(at, ()))
            count[flag] -= sum(bool(what & flag) for what in end.get(at, ()))
        holds = sum(flag for flag, times in count.items() if times)
        if ranges and ranges[-1][1] < 0:
            ranges[-1][1] = at - 1
        if not holds:
            continue
        if ranges and ranges[-1][1] == at - 1 and ranges[-1][2] == holds:
            ranges[-1][1] = -1
        else:
            ranges.append([at, -1, holds])
    return np.array(ranges, np.int64).reshape(-1, 3)


def _padded(ranges: np.ndarray) -> np.ndarray:
    """Ranges behind one that is before all addresses, as many as a power of two by some that are behind them."""
    rows = np.tile(np.array((BEHIND, 0, 0), np.int64), (1 << len(ranges).bit_length(), 1))
    rows[0], rows[1 : len(ranges) + 1] = (-1, -1, 0), ranges
    return rows


def arrays_of(settings: Settings) -> dict[str, np.ndarray]:
    """The arrays of a configuration, by the names of their maps; each has a row, if need be one of zeros."""
    lengths = np.zeros((EAM_LENGTHS, 2), np.int64)
    lengths[: len(settings.eam_lengths4), 0] = settings.eam_lengths4
    lengths[: len(settings.eam_lengths6), 1] = settings.eam_lengths6
    return {
        "addresses": _padded(ranges_of(settings)),
        "identifications": settings.identifications,
        "eam": settings.eam if len(settings.eam) else records(1, EAM),
        "eam_index4": settings.eam_index4,
        "eam_index6": settings.eam_index6,
        "eam_lengths": lengths,
        "prefixes": settings.prefixes,
    }


def parameters_of(settings: Settings, tables: Tables, cpus: int, queues: int = 0, begins: int = 0) -> dict[str, int]:
    """The parameters of kernel.PARAMETERS, for a machine with so many CPUs and a device with so many queues."""
    assert len(tables.sessions6) == len(tables.sessions4)
    numbers = {
        "link_header": 0,
        "device": 0,
        "device_mtu": 0,
        "clock_in_mark": 0,
        "secret0": settings.secret[0],
        "secret1": settings.secret[1],
        "index_size": len(tables.sessions6),
        "mss": max(settings.mss, settings.service_mss),
        "services": len(settings.vips4) > 0 or bool(tables.free[MEMBERS, NEVER_USED]),
        "eams": len(settings.eam),
        "eam_mask": len(settings.eam_index4) - 1,
        "eam_lengths4": len(settings.eam_lengths4),
        "eam_lengths6": len(settings.eam_lengths6),
        "tcp_timeout": settings.timeouts[Timeout.TCP_EST],
        "udp_timeout": settings.timeouts[Timeout.UDP_DEFAULT],
        "icmp_timeout": settings.timeouts[Timeout.ICMP_DEFAULT],
        "service_udp_timeout": settings.timeouts[Timeout.SERVICE_UDP],
        "ranges": 1 << len(ranges_of(settings)).bit_length(),
        "queues": queues,
        "begins": begins,
        "cpus": cpus,
    }
    return {name: int(numbers[name] if name in numbers else getattr(settings, name)) for name in PARAMETERS}
