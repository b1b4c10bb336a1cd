"""Change to other settings between two batches of packets, and take the sessions over into tables that fit them.

Sessions and waiting ports stay where they are, as at a restart (translator/session/restore.py); what follows from them
is made anew. Packets wait in the queues of the TUN device meanwhile.
"""

import ctypes
import time
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nat64d.config.models import Config
from nat64d.config.settings import settings_of, tables_of
from nat64d.dataplane.worker import now
from nat64d.gateway.measure import used_of
from nat64d.gateway.state import Live
from nat64d.gateway.state_file import REASONS
from translator.session.fates import Fate
from translator.session.pool4 import NEXT
from translator.session.restore import Kept
from translator.tables.gateway import Gateway, new_worker
from translator.tables.settings import Settings
from translator.tables.tables import BLOCKS, NEVER_USED, SESSIONS, Tables
from translator.verdict import Event

M_MMAP_THRESHOLD = -3  # malloc.h
# LIMITS
LARGE = 1 << 20  # octets: an array of so many is a mapping of its own
MANY = 1000  # sessions: where there are so many, most pages of an index are in use

# What the same settings of sizes and the same secret leave valid, whatever else changes.
STAYS = (
    *("sessions", "quarantine", "blocks", "fragments", "stored", "stored_octets", "stored_at"),
    *("syns", "syn_octets", "syns4", "syns_of", "syns_at"),
    *("log", "log_at", "lock"),  # the log is read by whoever has the lock, while packets wait too
)


PAGE = 4096
INDEXES = ("sessions6", "sessions4", "bibs6", "bibs4", "hosts6", "subscribers6", "uses_of")
RECORDS = ("links", "bibs", "hosts", "subscribers", "uses", "unanswered")


class Prepared(NamedTuple):
    """What is made while packets still pass; `tables` is None where those there are will do."""

    config: Config
    settings: Settings
    tables: Tables | None


class Outcome(NamedTuple):
    """What became of the sessions: how many go on, how many ended by reason, and for how many seconds packets
    waited."""

    kept: int
    ended: dict[str, int]
    pause: float

    @property
    def sentence(self) -> str:
        """The same in words."""
        why = ", ".join(f"{count} {reason}" for reason, count in self.ended.items())
        ended = f", ended {sum(self.ended.values())} ({why})" if self.ended else ""
        return f"kept {self.kept} sessions{ended}; packets waited {1000 * self.pause:.1f} ms"


def keep_large_arrays_apart() -> None:
    """Let the tables that a reload replaces go back to the kernel. glibc would keep their memory for the next ones, and
    clear all of it, where fresh memory is there only when it is used. Other C libraries have no such habit."""
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def statics_of(tables: Tables) -> int:
    """BIB entries of [[forward]], the first ones."""
    return len(tables.bibs) - len(tables.sessions)


def records_of(tables: Tables) -> Kept:
    """What is to be taken over, without what was never used."""
    sessions, ports = int(tables.free[SESSIONS, NEVER_USED]), int(tables.quarantine_at[NEXT])
    blocks = tables.blocks[: int(tables.free[BLOCKS, NEVER_USED])]
    return Kept(tables.sessions[:sessions], tables.quarantine[:ports], statics_of(tables), blocks)


def prepare(live: Live, config: Config, judges_sessions: bool) -> Prepared:
    """Settings with the secret there is, and new tables if sessions are to be judged by them."""
    before, tables = live.settings, live.tables
    assert before is not None
    assert tables is not None
    settings = settings_of(config, before.secret.astype("<i8").tobytes(), before.queues)
    settings = replace(settings, reset_until=before.reset_until)
    if not judges_sessions:
        return Prepared(config, settings, None)
    new = tables_of(config, settings)
    if (sessions := int(live.code.usage(tables)[0])) > MANY:
        have_memory(new, sessions)
    return Prepared(config, settings, replace(new, **{name: getattr(tables, name) for name in STAYS}))


def have_memory(tables: Tables, sessions: int) -> None:
    """Write to every page that so many sessions will need, what is there: the kernel gives memory when it is first
    written to, and is not to do so while packets wait."""
    for name in INDEXES:
        getattr(tables, name).view(np.uint8)[::PAGE] |= 0
    for name in RECORDS:
        getattr(tables, name)[:sessions].view(np.ndarray).view(np.uint8)[::PAGE] |= 0


def change_over(live: Live, prepared: Prepared) -> Outcome:
    """Let packets pass by other settings from now on, and end the sessions that these do not allow.

    An exception means that nobody knows what is in the tables: packets do not pass any more.
    """
    config, settings, tables = prepared
    began, fates, before = time.monotonic(), [0] * len(Fate), live.tables
    assert before is not None
    with live.paused():
        if tables is not None:
            kept = records_of(before)
            opened = live.code.usage(before)
            restored = live.code.restore(Gateway(settings, tables, new_worker(0)), now(), kept)
            fates = restored.fates.tolist()
            live.session_log.ended.append(restored.ended)
            carry_counts(before, tables, opened, live.code.usage(tables))
            if sum(fates[Fate.UNMAPPED :]):
                settings = replace(settings, reset_until=now() + 1000 * config.filtering.reset_unknown)
        live.replace(config, settings, tables or before)
    pause = time.monotonic() - began
    if tables is not None and live.state_file is not None:
        live.state_file.change_to(config, statics_of(tables))
    ended = {reason: count for reason, count in zip(REASONS[1:], fates[Fate.UNMAPPED :], strict=True) if count}
    return Outcome(int(live.code.usage(live.tables)[0]), ended, pause)


def carry_counts(before: Tables, after: Tables, opened: tuple[int, int], opened_now: tuple[int, int]) -> None:
    """Events are counted on, and what was not taken over has ended; (sessions, BIB entries) that there were, and
    are."""
    after.events[:] = before.events
    after.events[Event.SESSION_ENDED] += opened[0] - opened_now[0]
    bibs = opened_now[1] - opened[1]
    after.events[Event.BIB_CREATED if bibs > 0 else Event.BIB_ENDED] += abs(bibs)
    blocks = used_of(after, BLOCKS) - used_of(before, BLOCKS)
    after.events[Event.BLOCK_ALLOCATED if blocks > 0 else Event.BLOCK_FREED] += abs(blocks)
