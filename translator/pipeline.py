"""The steps of one packet, in order, and the only place that counts.

A packet lies in a buffer with HEADROOM octets before it, its virtio_net_hdr right in front. It is decided first,
written then: as long as any verdict is possible the octets are as they came, so that an ICMP error can quote them.
"""

from typing import NamedTuple

import numpy as np

from translator.compile import hot, int64, jit
from translator.datagrams import DATAGRAM, bind_fragment, load_next, needs_whole, put_together
from translator.lock import acquire, release
from translator.packet.fields import AUTHENTICATION, ICMP, IGMP, TCP, TCP_FLAGS_AT, TCP_RST, u8
from translator.packet.fragments import plan_output
from translator.packet.icmp import is_echo, is_error
from translator.packet.icmp_error import PORT_UNREACHABLE4, build, describe, may_be_answered, wants_answer
from translator.packet.parse import is_foreign, is_fragment, parse, parse_quoted
from translator.packet.probe import write_probe
from translator.packet.rewrite import plan_error, write_error, write_packet
from translator.packet.transport import CALCULATE, DROP, zero_checksum
from translator.packet.tuples import addresses, arriving, incoming_tuple, is_other, tuple_of
from translator.packet.virtio import GSO_NONE, decode, is_sound
from translator.reference import by_reference
from translator.session.filtering import filter_and_update, towards_host6
from translator.session.pool4 import end_quarantines
from translator.session.sessions import expire
from translator.session.tcp_state import Event as TcpEvent
from translator.session.tcp_state import event_of
from translator.session.waiting import hold, take_overdue
from translator.session.windows import doubt, watch
from translator.static.addresses import is_unicast, may_reach, within
from translator.static.mapping import hairpins_within, map_tuple
from translator.static.rfc6052 import extract, in_pool6
from translator.tables import NONE
from translator.verdict import Direction, Event, Verdict

# LIMITS
HEADROOM = 64  # IPv4 error to IPv6: two headers grow by 20, a Fragment header, RFC 4884 padding, a virtio_net_hdr
SLOT = HEADROOM + 65535 + 57  # a multiple of 8
WORKER_STATE = 8
NEXT_IDENTIFICATION, REFILLED, TOKENS = 0, 1, 2  # words of Worker.state; TOKENS + 1 for IPv6, then DATAGRAM


@by_reference
class Worker:
    """What one worker has for itself."""

    number: int
    counters: np.ndarray  # int64[direction, verdict]
    events: np.ndarray  # int64[event]
    state: np.ndarray  # int64[WORKER_STATE]
    answer: np.ndarray  # uint8: where ICMP errors are built, and fragments cut


class Outcome(NamedTuple):
    """How a packet ended: [at, end) of the buffer goes out, in IPv6 fragments of `piece` payload octets if that is not
    0.

    Of a dropped packet at == end, and `answer` octets of Worker.answer[HEADROOM:] go back to its sender.
    """

    verdict: Verdict
    direction: int
    at: int
    end: int
    piece: int
    answer: int


def new_worker(number: int) -> Worker:
    """A worker that has counted nothing."""
    return Worker(
        number=number,
        counters=np.zeros((len(Direction), max(Verdict) + 1), np.int64),
        events=np.zeros(len(Event), np.int64),
        state=np.zeros(WORKER_STATE, np.int64),
        answer=np.zeros(SLOT, np.uint8),
    )


@hot()
def process(settings, tables, worker, now, p, at, end):
    """Translate the packet in [at, end) of `p`, count it, and build the ICMP error its verdict asks for.

    Fragments kept for want of this one follow from `released`: to be called while worker.state[DATAGRAM] is not 0.
    """
    outcome = carry(settings, tables, worker, now, p, at, end)
    worker.counters[outcome.direction, int64(outcome.verdict)] += 1
    return outcome


@jit()
def released(settings, tables, worker, now, p):
    """The Outcome of the next kept fragment, at HEADROOM of `p`; it was counted when it came. One that sends nothing
    ends it."""
    end = load_next(tables, worker, p, HEADROOM)
    if end == 0:
        return Outcome(Verdict.CONTINUE, 0, 0, 0, 0, 0)
    return carry(settings, tables, worker, now, p, HEADROOM, end)


@jit()
def carry(settings, tables, worker, now, p, at, end):
    """All that is done to a packet but to count it. The fragment that makes its datagram whole becomes that datagram:
    `p` has room for the largest."""
    while True:
        offload = decode(p, at)
        view = parse(p, at, end)
        verdict, rest, out_at, out_end, piece = translate(settings, tables, worker, now, p, view, offload)
        if verdict != Verdict.HELD:
            break
        end = put_together(tables, worker, p, at)
        if end == 0:
            break
    direction = Direction.FOUR_TO_SIX if view.family == 4 else Direction.SIX_TO_FOUR
    answer = 0
    if out_at == out_end:
        worker.state[DATAGRAM] = 0  # what was kept for a first fragment that is refused does not go either
        if wants_answer(verdict, view.family):
            answer = answer_sender(settings, worker, now, p, view, verdict, rest)
    elif offload.gso_type != GSO_NONE:
        worker.events[int64(Event.SUPERFRAMES)] += 1
    return Outcome(verdict, int64(direction), out_at, out_end, piece, answer)


@hot()
def translate(settings, tables, worker, now, p, view, offload):
    """RFC 6146 section 3: (verdict, MTU or pointer for its answer, at, end, piece). The first step that objects names
    the verdict."""
    verdict = examine(settings, p, view, offload)
    if verdict != Verdict.CONTINUE:
        return verdict, view.source_route if verdict == Verdict.ROUTING_HEADER else 0, 0, 0, 0
    quotes = quotes_packet(p, view)
    quoted = parse_quoted(p, view) if quotes else view
    if quoted.verdict != Verdict.CONTINUE:
        return quoted.verdict, 0, 0, 0, 0
    incoming = incoming_tuple(p, view, quoted, quotes)  # 3.4
    verdict, outgoing, hairpins = bind_packet(settings, tables, worker, now, p, view, quoted, incoming)  # 3.5, 3.6, 3.8
    if verdict != Verdict.CONTINUE:
        return verdict, 0, 0, 0, 0
    done = Verdict.HAIRPINNED if hairpins else Verdict.TRANSLATED
    identification = next_identification(settings, worker)
    if quotes:
        error = plan_error(settings, p, view, quoted, incoming, outgoing.family)
        if error.verdict != Verdict.CONTINUE:
            return error.verdict, 0, 0, 0, 0
        out_at = write_error(settings, p, view, quoted, error, incoming, outgoing, identification)
        return done, 0, out_at, error.quote.end, 0
    plan = plan_output(settings, p, view, offload, outgoing.family)
    if plan.verdict != Verdict.CONTINUE:
        return plan.verdict, plan.mtu, 0, 0, 0
    # ---- decided; writing starts
    out_at = write_packet(settings, p, view, offload, plan, incoming, outgoing, identification)  # 3.7
    return done, 0, out_at, view.end, plan.piece


@hot()
def examine(settings, p, view, offload):
    """What RFC 7915 and RFC 6146 section 3.4 refuse whatever the tables say."""
    if view.verdict != Verdict.CONTINUE:
        return view.verdict
    if not is_sound(view, offload):
        return Verdict.BAD_LENGTH
    if view.source_route != 0:
        return Verdict.SOURCE_ROUTED if view.family == 4 else Verdict.ROUTING_HEADER
    src_hi, src_lo, dst_hi, dst_lo = addresses(p, view)
    if not is_unicast(view.family, dst_hi, dst_lo):
        return Verdict.NOT_UNICAST
    # RFC 7915 section 4.1: an ICMP error is translated even from an illegal source; a fragment of one may not tell.
    if not is_unicast(view.family, src_hi, src_lo) and not quotes_packet(p, view):
        if view.transport != ICMP or not is_fragment(view):
            return Verdict.NOT_UNICAST
    # RFC 7915 section 4.2: IGMP stays where it is, silently.
    if view.family == 4 and view.protocol == IGMP:
        return Verdict.ICMP_TYPE
    if view.hop_limit <= 1:
        return Verdict.HOP_LIMIT_EXPIRED
    if is_foreign(view):
        return Verdict.PROTOCOL
    if view.transport == ICMP:
        if is_fragment(view):
            return Verdict.CONTINUE if settings.stateful else Verdict.FRAGMENTED_ICMP
        if is_echo(view.family, u8(p, view.l4)):
            return Verdict.FILTERED_ICMP_INFO if settings.drop_icmp_info else Verdict.CONTINUE
        return Verdict.CONTINUE if quotes_packet(p, view) else Verdict.ICMP_TYPE
    # RFC 7915 section 4.5: a checksum cannot be calculated over a part of the datagram.
    missing = zero_checksum(settings, p, view)
    if missing == DROP or (missing == CALCULATE and is_fragment(view) and not (settings.stateful and view.family == 4)):
        return Verdict.ZERO_UDP_CHECKSUM
    return Verdict.CONTINUE


@hot()
def quotes_packet(p, view):
    """A whole ICMP error."""
    return view.transport == ICMP and not is_fragment(view) and is_error(view.family, u8(p, view.l4))


@hot()
def bind_packet(settings, tables, worker, now, p, view, quoted, incoming):
    """(verdict, outgoing tuple, whether it hairpins) of a packet; a later fragment goes where its first one went.

    `quoted`: what an ICMP error quotes, or the packet itself.
    """
    flags = u8(p, view.l4 + TCP_FLAGS_AT) if view.transport == TCP and view.fragment_offset == 0 else 0
    whole = is_fragment(view) and needs_whole(settings, p, view)
    quotes, part, again = quoted.l3 != view.l3, quoted.fragment_offset > 0 or whole, incoming
    if settings.check_rst and flags & TCP_RST:
        flags = doubt(settings, tables, now, p, view, incoming, flags)
    verdict, outgoing, remembers = bind(settings, tables, now, incoming, flags, quotes, part, False)
    hairpins = verdict == Verdict.CONTINUE and returns_to_us(settings, incoming, outgoing)
    if hairpins:
        again = arriving(outgoing)
        verdict, outgoing, stateful = bind(settings, tables, now, again, flags, quotes, part, True)
        remembers = remembers or stateful
    if verdict == Verdict.NO_SESSION or verdict == Verdict.FILTERED_ADF:
        verdict = hold_syn(settings, tables, now, p, view, incoming, flags, verdict)
    if verdict == Verdict.CONTINUE and settings.check_rst and flags != 0:
        watch(settings, tables, now, p, view, incoming, flags)
        if hairpins:
            watch(settings, tables, now, p, view, again, flags)
    if is_fragment(view):
        verdict, outgoing = bind_fragment(
            settings, tables, worker, now, p, view, incoming, verdict, outgoing, remembers, whole
        )
        hairpins = outgoing.family == view.family
    return verdict, outgoing, hairpins


@jit()
def hold_syn(settings, tables, now, p, view, t, flags, verdict):
    """Section 3.5.2.2: the verdict of a packet that opens no session: a SYN from IPv4 to an address of ours may wait.

    drop_inbound_tcp knows no SYN to wait for; it spares the [[forward]]s, which ADF alone can refuse.
    """
    if view.family != 4 or event_of(4, flags) != TcpEvent.V4_SYN or not within(settings.ranges4, t.dst_lo):
        return verdict
    if settings.drop_inbound_tcp and verdict == Verdict.NO_SESSION:
        return Verdict.FILTERED_INBOUND_TCP
    if may_reach(settings, t.src_lo, True) != Verdict.CONTINUE:
        return verdict
    acquire(tables.lock)
    held = hold(settings, tables, now, t, p, view.l3, view.end)
    release(tables.lock)
    return Verdict.SYN_HELD if held else verdict


@hot()
def bind(settings, tables, now, t, flags, quotes, part, hairpin):
    """(verdict, outgoing tuple, whether tables were asked): a static mapping, or RFC 6146 sections 3.5 and 3.6.

    Where the tables know ports, or want the whole packet, a `part` of one has not got it: FRAGMENT_UNKNOWN, until
    bind_fragment knows more. Quoted it tells nobody's session (3.4).
    """
    verdict, outgoing = map_tuple(settings, t, hairpin)
    if verdict != Verdict.NO_MAPPING or not settings.stateful:
        return verdict, outgoing, False
    if quotes and part:
        return Verdict.QUOTED_PACKET, t, False
    host4 = t.src_lo
    if t.family == 6:
        if not in_pool6(settings, t.dst_hi, t.dst_lo):
            return Verdict.NOT_OUR_PREFIX, t, False
        if in_pool6(settings, t.src_hi, t.src_lo):
            return Verdict.SOURCE_IN_POOL6, t, False
        host4 = extract(settings.pool6_row, t.dst_hi, t.dst_lo)
    other = is_other(t)
    if other and (not settings.other_protocols or t.protocol == AUTHENTICATION):
        return Verdict.PROTOCOL, t, False
    if part and not other:
        return Verdict.FRAGMENT_UNKNOWN, t, False
    acquire(tables.lock)
    verdict, outgoing = filter_and_update(settings, tables, now, t, host4, event_of(t.family, flags), quotes)
    release(tables.lock)
    return verdict, outgoing, True


@hot()
def returns_to_us(settings, incoming, outgoing):
    """RFC 6146 section 3.8, RFC 7757 section 4.2.2: an IPv4 host, written under pool6, that is an IPv6 host of ours."""
    if outgoing.family != 4 or not in_pool6(settings, incoming.dst_hi, incoming.dst_lo):
        return False
    return within(settings.ranges4, outgoing.dst_lo) or hairpins_within(settings, outgoing.dst_lo)


@hot()
def next_identification(settings, worker):
    """An unpredictable IPv4 Identification that no worker repeats within 65,536 packets (RFC 6864, RFC 7739 section
    5.4)."""
    n = worker.state[NEXT_IDENTIFICATION]
    worker.state[NEXT_IDENTIFICATION] = n + 1
    return int64(settings.identifications[(n * settings.queues + worker.number) & 0xFFFF])


@jit()
def answer_sender(settings, worker, now, p, view, verdict, rest):
    """Build the ICMP error of a dropped packet where one may be sent and the limit allows; returns its length."""
    if not may_be_answered(p, view):
        worker.events[int64(Event.ANSWER_UNDUE)] += 1
        return 0
    if not take_token(settings, worker, now, view.family):
        worker.events[int64(Event.ANSWER_LIMITED)] += 1
        return 0
    worker.events[int64(Event.ANSWER_SENT)] += 1
    return build(settings, p, view, verdict, rest, worker.answer, HEADROOM)


@jit()
def take_token(settings, worker, now, family):
    """RFC 4443 section 2.4 (f): a token bucket a family, one second deep; tokens are thousandths of an error. A rate of
    0 allows none (RFC 7915 sections 4.4, 5.4)."""
    rate = max(settings.errors_per_second // settings.queues, min(settings.errors_per_second, 1))
    elapsed = min(max(now - worker.state[REFILLED], 0), 1000)
    for k in range(2):
        worker.state[TOKENS + k] = min(worker.state[TOKENS + k] + elapsed * rate, 1000 * rate)
    worker.state[REFILLED] = now
    bucket = TOKENS + (1 if family == 6 else 0)
    if worker.state[bucket] < 1000:
        return False
    worker.state[bucket] -= 1000
    return True


@jit()
def tick(settings, tables, worker, now, quota):
    """What time alone brings about: sessions end, and packets of our own are due.

    (sessions looked at, no more than `quota`; octets of a packet at worker.answer[HEADROOM:], which the caller sends.)
    It is to be called until it has looked at fewer than `quota` and leaves no packet.
    """
    acquire(tables.lock)
    looked_at, session = 0, NONE
    size = refuse_syn(settings, tables, worker, now)
    if size == 0:
        end_quarantines(tables, now, quota)
        looked_at, session = expire(settings, tables, now, quota)
    if session != NONE:
        size = probe(settings, worker, tables.sessions[session])
    release(tables.lock)
    return looked_at, size


@jit()
def refuse_syn(settings, tables, worker, now):
    """Section 3.5.2.2: port unreachable, as if from the mapped4, about the next SYN that has waited in vain and of
    which the limit allows to tell; returns its length, or 0."""
    syn = take_overdue(settings, tables, now)
    while syn != NONE:
        if take_token(settings, worker, now, 4):
            worker.events[int64(Event.ANSWER_SENT)] += 1
            row = tables.syns[syn]
            back = tuple_of(4, ICMP, 0, row.mapped4, 0, 0, row.host4, 0)
            size, out = int64(row.length), worker.answer
            return describe(back, PORT_UNREACHABLE4, 0, tables.syn_octets[syn], 0, size, out, HEADROOM)
        worker.events[int64(Event.ANSWER_LIMITED)] += 1
        syn = take_overdue(settings, tables, now)
    return 0


@jit()
def probe(settings, worker, row):
    """Write the probe to the host6 of a session, as if its host4 had sent it; returns its length."""
    from4 = tuple_of(4, row.protocol, 0, row.host4, row.host4_port, 0, row.mapped4, row.mapped4_port)
    worker.events[int64(Event.PROBE_SENT)] += 1
    return write_probe(towards_host6(settings, from4, row), worker.answer, HEADROOM)
