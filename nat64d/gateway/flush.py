"""Sessions that are ended on request, and TCP of sessions that are lost."""

from dataclasses import replace

import numpy as np

from nat64d.control.filters import Filters
from nat64d.dataplane.worker import now
from nat64d.gateway.listings import SLICE, Slice, wanted
from nat64d.gateway.serving import found
from nat64d.gateway.state import Live
from translator.tables.gateway import Gateway, new_worker
from translator.tables.layout import SESSION, records
from translator.tables.records import as_records
from translator.tables.tables import SESSIONS

AT_ONCE = 64  # sessions ended each time the lock is held


def flush(live: Live, filters: Filters) -> int:
    """End the sessions that match the filters; returns how many. Packets pass meanwhile. Raises NotReadyError,
    FilterError."""
    rows, places = records(SLICE, SESSION), np.empty(SLICE, np.int64)
    start, more, ended = 0, True, 0
    while more:
        with live.still() as (settings, tables):
            start, count, more = live.code.copy_live(tables, SESSIONS, tables.sessions, start, rows, places)
            part = Slice(rows[:count].view(np.ndarray), places[:count], now(), "", tables)
            chosen = part.only(wanted(part, found(filters, tables)))
            gateway, over = Gateway(settings, tables, new_worker(0)), as_records(chosen.rows)
            for at in range(0, len(over), AT_ONCE):
                batch = slice(at, at + AT_ONCE)
                ended += int(live.code.end_those(gateway, now(), over[batch], chosen.places[batch]))
    return ended


def answer_lost(live: Live) -> int:
    """Let TCP segments of no session be answered with RST for [filtering] reset_unknown seconds from now on, which it
    returns; packets pass."""
    seconds = live.config.filtering.reset_unknown
    if seconds:
        assert live.settings is not None
        live.exchange(live.config, replace(live.settings, reset_until=now() + 1000 * seconds))
    return seconds
