"""What the program has to know of a configuration: its parameters, and the addresses that are ours."""

import numpy as np

from translator.fastpath.kernel import PARAMETERS
from translator.fastpath.sessions import RANGE_STEPS
from translator.tables.layout import NONE
from translator.tables.settings import Settings
from translator.tables.tables import Tables
from translator.tables.wheel import Timeout

# LIMITS
WAIT = 2  # ticks of 64 ms, rounded down: the daemon's queue is empty of a flow's first packets long before


def refusal(settings: Settings) -> str | None:
    """Why there is no fast path with this configuration."""
    if not settings.stateful or settings.pool6_length == NONE:
        return "there are no sessions: it translates those of [[pool4]] alone"
    if len(own_ranges(settings)) > 1 << RANGE_STEPS:
        return f"addresses of ours are in more than {1 << RANGE_STEPS} ranges"
    return None


def own_ranges(settings: Settings) -> np.ndarray:
    """int64[n, 2]: ranges of IPv4 addresses, sorted and apart, whose packets turn round here or are forged."""
    ranges = [(int(first), int(last)) for first, last in settings.ranges4]
    ranges += [(int(row.ipv4), int(row.ipv4) + (1 << 32 - int(row.length4)) - 1) for row in settings.eam]
    merged: list[list[int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1][1] = max(merged[-1][1], last)
        else:
            merged.append([first, last])
    return np.array(merged, np.int64).reshape(-1, 2)


def parameters_of(settings: Settings, tables: Tables, cpus: int, wait: int = WAIT) -> dict[str, int]:
    """The parameters of kernel.PARAMETERS, for a machine with so many CPUs."""
    assert len(tables.sessions6) == len(tables.sessions4)
    numbers = {
        "link_header": 0,
        "clock_in_mark": 0,
        "secret0": settings.secret[0],
        "secret1": settings.secret[1],
        "index_mask": len(tables.sessions6) - 1,
        "eams": len(settings.eam),
        "tcp_timeout": settings.timeouts[Timeout.TCP_EST],
        "udp_timeout": settings.timeouts[Timeout.UDP_DEFAULT],
        "service_udp_timeout": settings.timeouts[Timeout.SERVICE_UDP],
        "ranges": len(own_ranges(settings)),
        "wait": wait,
        "cpus": cpus,
    }
    return {name: int(numbers[name] if name in numbers else getattr(settings, name)) for name in PARAMETERS}
