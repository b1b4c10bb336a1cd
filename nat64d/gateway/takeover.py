"""Change to other settings between two batches of packets, and take the sessions over into tables that fit them.

Sessions stay where they are; what follows from them is made anew while packets still pass by the settings there are
(translator/session/draft.py). In the queues of the TUN device packets wait only for what changed in the last moment.
"""

import ctypes
import time
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nat64d.config.fronts import NoRoomError, names_of
from nat64d.config.models import Config
from nat64d.config.settings import settings_of, tables_of
from nat64d.dataplane.worker import now
from nat64d.gateway.measure import used_of
from nat64d.gateway.service_changes import change_services, keeps_settings, needs_other_tables
from nat64d.gateway.state import Live
from nat64d.gateway.state_file import REASONS, StateFile, take_up_if_there_is_room
from translator.session.draft import Draft
from translator.session.fates import Fate
from translator.session.kept_prefixes import renumber, renumbered
from translator.session.pool4 import NEXT
from translator.session.restore import Kept, Restored
from translator.tables.gateway import Gateway, new_worker
from translator.tables.settings import Settings
from translator.tables.tables import BLOCKS, NEVER_USED, SESSIONS, Tables
from translator.verdict import Event

M_MMAP_THRESHOLD = -3  # malloc.h
# LIMITS
LARGE = 1 << 20  # octets: an array of so many is a mapping of its own

ROUNDS, FEW = 8, 256  # at most so often, until so few sessions have changed meanwhile: 256 are judged in 0.1 ms

# What the same settings of sizes and the same secret leave valid, whatever else changes.
KEPT = ("quarantine", "blocks")  # as are the sessions, in [state] file
STAYS = (
    *("fragments", "stored", "stored_octets", "stored_at"),
    "affinities",
    *("syns", "syn_octets", "syns4", "syns_of", "syns_at"),
    *("log", "log_at", "lock"),  # the log is read by whoever has the lock, while packets wait too
)


class Prepared(NamedTuple):
    """What is made while packets still pass; `tables` is None where those there are will do, and `file` is [state] file
    where there are sessions for the first time."""

    config: Config
    settings: Settings
    tables: Tables | None
    drafted: bool  # the sessions can be judged while packets pass: their ports are not in blocks
    file: StateFile | None = None


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
    """BIB entries for members of services and of [[forward]], the first ones."""
    return len(tables.bibs) - len(tables.sessions)


def records_of(tables: Tables) -> Kept:
    """What is to be taken over, without what was never used."""
    sessions, ports = int(tables.free[SESSIONS, NEVER_USED]), int(tables.quarantine_at[NEXT])
    blocks = tables.blocks[: int(tables.free[BLOCKS, NEVER_USED])]
    return Kept(
        tables.sessions[:sessions], tables.quarantine[:ports], statics_of(tables), blocks, clients6=tables.clients6
    )


def prepare(live: Live, config: Config, judges_sessions: bool) -> Prepared:
    """Settings with the secret there is, and new tables if sessions are to be judged by them. Raises StateError."""
    before, tables = live.settings, live.tables
    assert before is not None
    assert tables is not None
    if not judges_sessions and keeps_settings(live.config, config):
        return Prepared(config, before, None, before.port_block == 0)
    settings = settings_of(config, before.secret.astype("<i8").tobytes(), before.queues)
    settings = replace(settings, reset_until=before.reset_until)
    drafted = before.port_block == settings.port_block == 0
    if not judges_sessions and not needs_other_tables(live.config, config):
        return Prepared(config, settings, None, drafted)
    if settings.stateful and not before.stateful and live.state_file is None and config.state.keep:
        new = replace(tables_of(config, settings), **{name: getattr(tables, name) for name in STAYS})
        new, file = take_up_if_there_is_room(config, settings, new, lambda _: live.code)
        return Prepared(config, settings, new, False, file)
    stays = (*STAYS, *KEPT) if drafted else (*STAYS, *KEPT, "sessions")
    if drafted and before.check_rst and settings.check_rst:
        stays = (*stays, "windows")
    if before.accounting and settings.accounting:
        stays = (*stays, "accounts")
    new = replace(tables_of(config, settings), **{name: getattr(tables, name) for name in stays})
    live.endpoints.weigh(config, new)
    return Prepared(config, settings, new, drafted)


def change_over(live: Live, prepared: Prepared) -> Outcome:
    """Let packets pass by other settings from now on, and end the sessions that these do not allow.

    An exception means that nobody knows what is in the tables: packets do not pass any more.
    """
    before = live.settings
    with live.changing:
        if prepared.tables is None:
            try:
                pause, fates = _exchange(live, prepared.config, prepared.settings)
            except NoRoomError:
                prepared = prepare(live, prepared.config, True)
        if prepared.tables is not None:
            pause, fates = _take_over(live, prepared, prepared.tables)
        if live.state_file is not None and prepared.settings is not before:
            assert live.tables is not None
            live.state_file.change_to(prepared.config, statics_of(live.tables))
    ended = {reason: count for reason, count in zip(REASONS[1:], fates[Fate.UNMAPPED :], strict=False) if count}
    return Outcome(int(live.code.usage(live.tables)[0]), ended, pause)


def _exchange(live: Live, config: Config, settings: Settings) -> tuple[float, list[int]]:
    """Other settings and services for the same tables, as _take_over. Raises NoRoomError: nothing has changed."""
    assert live.tables is not None
    with live.endpoints.lock:
        fates = [0] * len(Fate)
        fates[Fate.UNMAPPED] = change_services(live, config)
        if settings is live.settings:
            live.replace(config, settings, live.tables)
            return 0.0, fates
        return live.exchange(config, settings), fates


def _take_over(live: Live, prepared: Prepared, tables: Tables) -> tuple[float, list[int]]:
    """Other tables, too. Returns for how many seconds packets waited, and how many sessions were judged with which
    Fate, but for those that are kept."""
    config, settings, _, drafted, file = prepared
    code, before = live.code, live.tables
    assert before is not None
    draft = begin(live, settings, tables) if drafted else None
    after = Gateway(settings, tables if file else _with_rows_of(tables, before), new_worker(0))
    code.usage(after.tables)  # what numba finds out about them takes a millisecond
    began = time.monotonic()
    with live.paused():
        opened = code.usage(before)
        if file:
            live.state_file, restored = file, Restored(np.zeros(len(Fate), np.int64), file.ended)
        elif draft:
            code.draft.catch_up(draft, now())
            restored = code.draft.finish(draft, after, now())
        else:
            renumber(before.sessions, numbers_of(live, settings))
            with live.session_log.reading:
                restored = code.restore(after, now(), records_of(before))
        fates: list[int] = restored.fates.tolist()
        live.session_log.ended.append(restored.ended)
        carry_counts(before, after.tables, opened, code.usage(after.tables))
        if sum(fates[Fate.UNMAPPED :]):
            settings = replace(settings, reset_until=now() + 1000 * config.filtering.reset_unknown)
        live.replace(config, settings, after.tables)
    return time.monotonic() - began, fates


def _with_rows_of(tables: Tables, before: Tables) -> Tables:
    """The records that are in [state] file, as they lie."""
    return replace(tables, sessions=before.sessions, clients6=before.clients6)


def begin(live: Live, settings: Settings, tables: Tables) -> Draft:
    """The sessions judged by other settings, but for few that have changed in the last moment; packets still pass by
    those there are."""
    judge = Gateway(replace(settings, port_quarantine=0, check_rst=0, logged=0), tables, new_worker(0))
    draft: Draft = live.code.draft.begin(judge, live.tables, now(), numbers_of(live, settings))
    for _ in range(ROUNDS):
        if live.code.draft.catch_up(draft, now()) <= FEW:
            break
    return draft


def numbers_of(live: Live, settings: Settings) -> np.ndarray | None:
    """The numbers that prefixes have by other settings, None where they are the same."""
    assert live.settings is not None
    return renumbered(live.settings.prefixes, settings.prefixes)


def carry_counts(before: Tables, after: Tables, opened: tuple[int, int], opened_now: tuple[int, int]) -> None:
    """Events are counted on, those of services by their names, and what was not taken over has ended; (sessions, BIB
    entries) that there were, and are."""
    after.events[:] = before.events
    numbers = {name: number for number, name in names_of(before).items()}
    for number, name in names_of(after).items():
        if (old := numbers.get(name)) is not None:
            after.flows[number], after.refused[number] = before.flows[old], before.refused[old]
    after.events[Event.SESSION_ENDED] += opened[0] - opened_now[0]
    bibs = opened_now[1] - opened[1]
    after.events[Event.BIB_CREATED if bibs > 0 else Event.BIB_ENDED] += abs(bibs)
    blocks = used_of(after, BLOCKS) - used_of(before, BLOCKS)
    after.events[Event.BLOCK_ALLOCATED if blocks > 0 else Event.BLOCK_FREED] += abs(blocks)
