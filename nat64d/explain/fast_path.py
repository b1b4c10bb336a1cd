"""Which way a packet would take where there is a fast path: through the kernel, or up to the daemon, and why."""

import numpy as np

from nat64d.dataplane.bpf.numbers import arrays_of, parameters_of, refusal
from nat64d.dataplane.bpf.stand import Kernel
from nat64d.dataplane.drained import rows_of
from nat64d.explain.step import Step
from translator.fastpath.kernel import COUNTED, SINCE
from translator.fastpath.program import program
from translator.fastpath.reasons import Reason
from translator.jit.bpf import Stand
from translator.jit.compile import COMPILED
from translator.tables.settings import Settings
from translator.tables.tables import NEVER_USED, SESSIONS, Tables, accounts_of

ETHERNET = 14  # octets before the packet
TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}


def path_step(settings: Settings, tables: Tables, packet: bytes, now: int) -> Step | None:
    """What the program would do with a packet that comes now, a flow's first moments aside; it changes no table. None
    where it is compiled."""
    if COMPILED:
        return None
    if why := refusal(settings):
        return Step("path", "", [f"up to the daemon: there is no fast path, as {why}"])
    reason = reason_of(settings, tables, packet, now)
    if reason <= Reason.FOUR_TO_SIX:
        return Step(
            "path", "", ["through the kernel ([fastpath]), once the daemon has written what it has of its flow"]
        )
    return Step("path", "", [f"up to the daemon ({reason.name.lower()}): {reason.help}"])


def reason_of(settings: Settings, tables: Tables, packet: bytes, now: int) -> Reason:
    """The row of the program's counters that a packet would be in."""
    used = max(int(tables.free[SESSIONS, NEVER_USED]), 1)
    counters = np.zeros((len(Reason), COUNTED // 8), np.int64)
    maps = {"sessions6": tables.sessions6, "sessions4": tables.sessions4, "sessions": tables.sessions[:used].copy()}
    maps |= {"since": np.zeros((used, SINCE // 8), np.int64), "counters": counters} | arrays_of(settings)
    maps |= accounts_of(1) | {"drained": rows_of(1)}
    numbers = parameters_of(settings, tables, cpus=1)
    numbers |= {"link_header": ETHERNET, "clock_in_mark": 1, "accounting": 0}
    before, Stand.kernel = Stand.kernel, Kernel(maps, numbers)
    try:
        kind = TYPES.get(packet[0] >> 4 if packet else 0, b"\0\0")
        program(Stand.kernel.receive(bytes(12) + kind + packet, now, 0))
    finally:
        Stand.kernel = before
    return Reason(int(np.flatnonzero(counters[:, 0])[0]))  # type: ignore[call-arg]  # its rows have more columns
