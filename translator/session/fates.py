"""What becomes of the sessions of a run before, or of other settings (restore.py), and what of it is logged."""

from enum import IntEnum

import numpy as np

from translator.jit.compile import jit, rare
from translator.session.bib import find_bib6, host6_of
from translator.session.log import MAPPINGS, SESSIONS, Cause, Kind, describe_session
from translator.tables.layout import NONE


class Fate(IntEnum):
    """What becomes of a record."""

    KEPT = 0
    EXPIRED = 1  # its time is over
    UNMAPPED = 2  # the configuration does not have its mapping, or lets nothing pass
    LIMITED = 3  # there is no room for it, or its host has what it may have
    DAMAGED = 4  # it says what no session says, or what another one denies


# What a session has ended by, as the log has it. Nobody knows what a damaged record was.
CAUSES = np.array([Cause.INSIDE, Cause.EXPIRED, Cause.UNMAPPED, Cause.LIMITED, Cause.INSIDE])
assert len(CAUSES) == len(Fate)


def is_told(logged: int) -> bool:
    """Whether Settings.logged has what follows from the end of sessions."""
    return logged & (SESSIONS | MAPPINGS) != 0


def entries_of(ended: np.ndarray, logged: int) -> np.ndarray:
    """LOGGED about sessions that have ended, as judge_end has left them: what the log has to say."""
    if logged & SESSIONS:
        ended["kind"] = Kind.SESSION_ENDED
        return ended
    ended = ended[ended["kind"] == Kind.MAPPING_ENDED]
    return ended[np.unique(ended[["host6_hi", "host6_lo", "host6_port", "protocol"]], return_index=True)[1]]


@rare()
def note_end(tables, now, row, fate, was_static, entry):
    """A session that is not kept, and its mapping with it, as far as anybody knows yet."""
    describe_session(tables, entry, row)
    entry.time, entry.cause = now, CAUSES[fate]
    entry.kind = Kind.SESSION_ENDED if was_static else Kind.MAPPING_ENDED


@jit()
def judge_end(gateway, entry):
    """All that is kept is: whether the mapping of a session that is not has another one."""
    bib = find_bib6(gateway, entry.protocol, host6_of(entry))
    if bib == NONE:
        return
    row = gateway.tables.bibs[bib]
    if row.mapped4 == entry.mapped4 and row.mapped4_port == entry.mapped4_port:
        entry.kind = Kind.SESSION_ENDED
