"""The steps of pipeline.process, one at a time, and what each of them found.

It calls what the pipeline calls, in the same order, on tables of its own, and keeps every result; nothing is compiled
that is not compiled already. tests/nat64d/test_explain.py holds it to what the pipeline does, over every capture.
"""

from typing import NamedTuple

import numpy as np

from translator.datagrams import DATAGRAM, bind_fragment, load_next, needs_whole, put_together
from translator.packet.fields import TCP, TCP_FLAGS_AT, TCP_RST, u8
from translator.packet.fragments import Plan, plan_output
from translator.packet.icmp_error import wants_answer
from translator.packet.parse import View, is_fragment, parse, parse_quoted
from translator.packet.rewrite import Error, plan_error, write_error, write_packet
from translator.packet.tuples import Tuple, arriving, incoming_tuple
from translator.packet.virtio import Offload, decode
from translator.pipeline import (
    HEADROOM,
    Outcome,
    Worker,
    answer_sender,
    bind,
    examine,
    hold_syn,
    next_identification,
    quotes_packet,
    returns_to_us,
)
from translator.session.bib import find_bib4, find_bib6
from translator.session.lifetimes import Timeout
from translator.session.sessions import find_session4, find_session6, first_timeout
from translator.session.tcp_state import TIMER, State, event_of
from translator.session.windows import doubt, watch
from translator.static.eam import find_eam4, find_eam6
from translator.static.rfc6052 import extract, in_pool6
from translator.tables import NONE, Settings, Tables
from translator.verdict import Direction, Event, Verdict

BEFORE_ALL = -1  # a time at which no session's time is over: a lookup then ends none


class Found(NamedTuple):
    """What the tables hold about a tuple: copies of a SESSION and a BIB row, None where there is none."""

    session: np.record | None
    bib: np.record | None


class Pass(NamedTuple):
    """One search for the other family's tuple (RFC 6146 sections 3.5 and 3.6, RFC 7757); hairpinned there are two."""

    incoming: Tuple
    verdict: Verdict
    outgoing: Tuple  # if the verdict is CONTINUE
    stateful: bool  # the tables were asked
    eam: int  # row of Settings.eam that covers the host behind us, or NONE
    before: Found  # without a session whose time is over
    after: Found
    timeout: Timeout  # what the session's lifetime was set to; KEEP: it was left as it is
    opened_bib: bool
    opened_session: bool


class Steps(NamedTuple):
    """What the steps found before the first one that objected; the later ones are None or empty."""

    verdict: Verdict
    rest: int = 0  # MTU or pointer for the answer
    quoted: View | None = None
    passes: tuple[Pass, ...] = ()
    recalled: Tuple | None = None  # where the first fragment of the same datagram went
    remembered: bool = False
    kept: np.record | None = None  # the FRAGMENT row of its datagram, if it is HELD
    plan: Plan | None = None
    error: Error | None = None
    at: int = 0  # [at, end) goes out, as in Outcome
    end: int = 0


class Explanation(NamedTuple):
    """How a packet ended, and why."""

    view: View
    steps: Steps
    outcome: Outcome
    answer: Event | None  # what became of the ICMP error its verdict asks for, if it does
    joined: bytes = b""  # the packet that it and the fragments before it became
    whole: "Explanation | None" = None  # what became of that; the outcome is the same
    released: "tuple[Explanation, ...]" = ()  # fragments that were kept for want of this one

    @property
    def outgoing(self) -> Tuple | None:
        """The tuple it goes out with, if it came that far."""
        if self.steps.recalled is not None:
            return self.steps.recalled
        return self.steps.passes[-1].outgoing if self.steps.passes else None


def explain(
    settings: Settings, tables: Tables, worker: Worker, now: int, p: np.ndarray, at: int, end: int
) -> Explanation:
    """pipeline.carry: all that is done to the packet in [at, end) of `p` but to count it."""
    offload = decode(p, at)
    view = parse(p, at, end)
    steps = translate(settings, tables, worker, now, p, view, offload)
    if steps.verdict == Verdict.HELD and (end := put_together(tables, worker, p, at)):
        joined = bytes(p[at:end])
        whole = explain(settings, tables, worker, now, p, at, end)
        return Explanation(view, steps, whole.outcome, whole.answer, joined, whole)
    if steps.at == steps.end:
        worker.state[DATAGRAM] = 0
    direction = Direction.FOUR_TO_SIX if view.family == 4 else Direction.SIX_TO_FOUR
    answer, told = 0, None
    if steps.at == steps.end and wants_answer(steps.verdict, view.family):
        before = worker.events.copy()
        answer = answer_sender(settings, worker, now, p, view, steps.verdict, steps.rest)
        told = next(event for event in Event if worker.events[event] != before[event])
    piece = steps.plan.piece if steps.plan else 0
    return Explanation(view, steps, Outcome(steps.verdict, int(direction), steps.at, steps.end, piece, answer), told)


def released(settings: Settings, tables: Tables, worker: Worker, now: int, p: np.ndarray) -> Explanation | None:
    """pipeline.released; None: there is no such fragment."""
    end = load_next(tables, worker, p, HEADROOM)
    return explain(settings, tables, worker, now, p, HEADROOM, end) if end else None


def translate(
    settings: Settings, tables: Tables, worker: Worker, now: int, p: np.ndarray, view: View, offload: Offload
) -> Steps:
    """pipeline.translate."""
    verdict = examine(settings, p, view, offload)
    steps = Steps(verdict, view.source_route if verdict == Verdict.ROUTING_HEADER else 0)
    if steps.verdict != Verdict.CONTINUE:
        return steps
    quotes = quotes_packet(p, view)
    quoted = parse_quoted(p, view) if quotes else view
    if quotes:
        steps = steps._replace(verdict=quoted.verdict, quoted=quoted)
    if steps.verdict == Verdict.CONTINUE:
        incoming = incoming_tuple(p, view, quoted, quotes)
        steps = bind_packet(settings, tables, worker, now, p, view, quoted, incoming, steps)
    if steps.verdict != Verdict.CONTINUE:
        return steps
    identification = next_identification(settings, worker)
    return write(settings, p, view, offload, incoming, identification, steps)


def write(
    settings: Settings, p: np.ndarray, view: View, offload: Offload, incoming: Tuple, identification: int, steps: Steps
) -> Steps:
    """The end of pipeline.translate: the last possible verdict, and the packet."""
    outgoing = steps.recalled or steps.passes[-1].outgoing
    hairpins = len(steps.passes) > 1 or (steps.recalled is not None and outgoing.family == view.family)
    done = Verdict.HAIRPINNED if hairpins else Verdict.TRANSLATED
    if steps.quoted is not None:
        error = plan_error(settings, p, view, steps.quoted, incoming, outgoing.family)
        if error.verdict != Verdict.CONTINUE:
            return steps._replace(verdict=error.verdict)
        at = write_error(settings, p, view, steps.quoted, error, incoming, outgoing, identification)
        return steps._replace(verdict=done, error=error, at=at, end=error.quote.end)
    plan = plan_output(settings, p, view, offload, outgoing.family)
    if plan.verdict != Verdict.CONTINUE:
        return steps._replace(verdict=plan.verdict, rest=plan.mtu, plan=plan)
    at = write_packet(settings, p, view, offload, plan, incoming, outgoing, identification)
    return steps._replace(verdict=done, plan=plan, at=at, end=view.end)


def bind_packet(
    settings: Settings,
    tables: Tables,
    worker: Worker,
    now: int,
    p: np.ndarray,
    view: View,
    quoted: View,
    incoming: Tuple,
    steps: Steps,
) -> Steps:
    """pipeline.bind_packet."""
    flags = u8(p, view.l4 + TCP_FLAGS_AT) if view.transport == TCP and view.fragment_offset == 0 else 0
    whole = is_fragment(view) and needs_whole(settings, p, view)
    quotes, part = quoted.l3 != view.l3, quoted.fragment_offset > 0 or whole
    if settings.check_rst and flags & TCP_RST:
        flags = doubt(settings, tables, now, p, view, incoming, flags)
    passes = [search(settings, tables, now, incoming, flags, quotes, part, False)]
    if passes[0].verdict == Verdict.CONTINUE and returns_to_us(settings, incoming, passes[0].outgoing):
        passes.append(search(settings, tables, now, arriving(passes[0].outgoing), flags, quotes, part, True))
    found, outgoing, stateful = passes[-1].verdict, passes[-1].outgoing, any(one.stateful for one in passes)
    if found in (Verdict.NO_SESSION, Verdict.FILTERED_ADF):
        found = hold_syn(settings, tables, now, p, view, incoming, flags, found)
    if found == Verdict.CONTINUE and settings.check_rst and flags != 0:
        for one in passes:
            watch(settings, tables, now, p, view, one.incoming, flags)
    if not is_fragment(view):
        return steps._replace(verdict=found, passes=tuple(passes))
    verdict, outgoing = bind_fragment(
        settings, tables, worker, now, p, view, incoming, found, outgoing, stateful, whole
    )
    recalls = verdict == Verdict.CONTINUE and found == Verdict.FRAGMENT_UNKNOWN
    return steps._replace(
        verdict=verdict,
        passes=tuple(passes[:1] if recalls else passes),
        recalled=outgoing if recalls else None,
        remembered=verdict == Verdict.CONTINUE and stateful,
        kept=tables.fragments[worker.state[DATAGRAM] - 1].copy() if verdict == Verdict.HELD else None,
    )


def search(
    settings: Settings, tables: Tables, now: int, t: Tuple, flags: int, quotes: bool, part: bool, hairpin: bool
) -> Pass:
    """pipeline.bind, and what it changed."""
    before, events = look_up(settings, tables, now, t), tables.events.copy()
    verdict, outgoing, stateful = bind(settings, tables, now, t, flags, quotes, part, hairpin)
    after = look_up(settings, tables, now, t)
    happened = tables.events - events
    opened = bool(happened[Event.SESSION_CREATED])
    timeout = Timeout.KEEP
    if after.session is not None and verdict == Verdict.CONTINUE and stateful and not quotes:
        timeout = Timeout(int(first_timeout(t.protocol)))
        if opened and after.session.state == State.ESTABLISHED:
            timeout = Timeout.TCP_EST
        if t.protocol == TCP and before.session is not None and not opened:
            timeout = Timeout(int(TIMER[settings.rst_during_fin, before.session.state, event_of(t.family, flags)]))
    eam = find_eam6(settings, t.src_hi, t.src_lo) if t.family == 6 else find_eam4(settings, t.dst_lo)
    opened_bib = bool(happened[Event.BIB_CREATED])
    return Pass(t, verdict, outgoing, bool(stateful), int(eam), before, after, timeout, opened_bib, opened)


def look_up(settings: Settings, tables: Tables, now: int, t: Tuple) -> Found:
    """What the tables hold about a tuple, changing nothing."""
    if t.family == 4:
        session = find_session4(settings, tables, BEFORE_ALL, t)
        bib = find_bib4(settings, tables, t.protocol, t.dst_lo, t.dst_port)
    elif in_pool6(settings, t.dst_hi, t.dst_lo):
        host4 = extract(settings.pool6_row, t.dst_hi, t.dst_lo)
        session = find_session6(settings, tables, BEFORE_ALL, t, host4)
        bib = find_bib6(settings, tables, t.protocol, t.src_hi, t.src_lo, t.src_port)
    else:
        return Found(None, None)
    found = living_copy(settings, tables.sessions[session], now) if session != NONE else None
    return Found(found, tables.bibs[bib].copy() if bib != NONE else None)


def living_copy(settings: Settings, row: np.record, now: int) -> np.record | None:
    """A session as a packet finds it now (sessions.living), None if it is over."""
    row = row.copy()
    if row.state == State.ESTABLISHED and row.expires <= now:
        row.state, row.expires = State.TRANS, row.expires + settings.timeouts[Timeout.TCP_TRANS]
    return row if row.expires > now else None
