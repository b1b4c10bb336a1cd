"""The way of a packet, in order, and the only place that counts.

A packet lies in a buffer with HEADROOM octets before it, its virtio_net_hdr right in front. It is decided first,
written then: as long as any verdict is possible the octets are as they came, so that an ICMP error can quote them.

    receive                count the verdict
      translate_or_answer    put datagrams together; build the ICMP error of a dropped packet
        translate              RFC 6146 section 3, step by step
    next_output            what goes out after a packet: more fragments, kept fragments that it released

What time alone brings about is in clock.py.
"""

from typing import NamedTuple

from translator.examine import Translated, examine, refused, tcp_flags
from translator.fragments.datagrams import Bound, bind_fragment, load_next, put_together
from translator.front6 import translate_front6
from translator.jit.compile import hot, int64, jit, rare
from translator.jit.lock import acquire, release
from translator.packet.answers import answer_packet, is_echo_request
from translator.packet.fields import (
    AUTHENTICATION,
    TCP_ACK,
    TCP_SYN,
    copy,
)
from translator.packet.fragments import cut, plan_output
from translator.packet.mss import lower_mss
from translator.packet.packet import Packet, needs_whole, quotes_packet
from translator.packet.parse import is_fragment, parse, parse_quoted
from translator.packet.rewrite import plan_error, write_error, write_packet
from translator.packet.transport import zero_checksum
from translator.packet.tuples import as_from_ipv4, incoming_tuple, is_other
from translator.packet.virtio import GSO_NONE, clear, decode
from translator.session.accounts import count_packet, forget_accounts
from translator.session.filtering import filter_and_update
from translator.session.services import answers_of_service, may_answer_for_service, mss_of
from translator.session.simultaneous_open import keep_syn
from translator.session.tcp_state import event_of
from translator.session.windows import note_segment
from translator.static.addresses import may_reach
from translator.static.errors import error_addresses
from translator.static.mapping import hairpins_within, map_tuple
from translator.static.rfc6052 import in_prefix
from translator.tables.gateway import HEADROOM, NEXT_IDENTIFICATION, SAMPLE
from translator.tables.handles import OFF
from translator.tables.layout import NONE
from translator.tables.ranges import within
from translator.verdict import Ask, Direction, Event, Verdict


class Outcome(NamedTuple):
    """How a packet ended: [at, end) of the buffer goes out, in IPv6 fragments if `fragment_payload` is not 0.

    Of a dropped packet at == end, and `answer` octets of Worker.answer[HEADROOM:] go back to its sender.
    """

    verdict: Verdict
    direction: int
    at: int
    end: int
    fragment_payload: int  # octets of the packet's payload in each fragment
    answer: int
    releases: int  # row of Tables.fragments whose kept fragments go out after it, or NONE


class Output(NamedTuple):
    """One packet to send: [at, end) of a buffer, with its virtio_net_hdr in front; at == end: there is none.

    No array is in it: compiled code without numba's runtime has none to give to Python.
    """

    in_answer: bool  # the buffer is Worker.answer, otherwise that of the packet that came in
    at: int
    end: int
    outcome: Outcome
    number: int  # which IPv6 fragment of the outcome it is


@hot()
def receive(gateway, now, p, at, end):
    """A packet that came in, in [at, end) of `p`: its Outcome, counted. `p` has room for the largest packet.

    What it becomes is given by `first_output` and then `next_output`, to be called before the next packet is received.
    """
    outcome = translate_or_answer(gateway, now, p, at, end)
    gateway.worker.counters[outcome.direction, int64(outcome.verdict)] += 1
    gateway.worker.octets[outcome.direction, int64(outcome.verdict)] += end - at
    if outcome.at == outcome.end and gateway.worker.sampled[int64(outcome.verdict)] == 0:
        sample(gateway, p, at, end, outcome.verdict)
    return outcome


@rare()
def sample(gateway, p, at, end, verdict):
    """Keep how a dropped packet begins, for the log."""
    copy(gateway.worker.samples[int64(verdict)], 0, p, at, min(end - at, SAMPLE))
    gateway.worker.sampled[int64(verdict)] = end - at


@hot()
def first_output(gateway, p, outcome):
    """The first packet that goes out for one that came in: itself, its first fragment, or an ICMP error back."""
    if outcome.fragment_payload > 0:
        return fragment_of(gateway, p, outcome, 0)
    if outcome.answer > 0:
        clear(gateway.worker.answer, HEADROOM)
        return Output(True, HEADROOM, HEADROOM + outcome.answer, outcome, 0)
    return Output(False, outcome.at, outcome.end, outcome, 0)


@hot()
def next_output(gateway, now, p, output):
    """The packet that goes out after another one: the next fragment of it, or one that was kept until it came."""
    outcome = output.outcome
    if outcome.fragment_payload == 0 and outcome.releases == NONE:
        return Output(False, 0, 0, outcome, 0)
    return next_fragment(gateway, now, p, output)


@hot()
def buffer_of(answer, p, output):
    """The buffer an output is in: Worker.answer, or `p` of the packet that came in.

    Two returns of arguments: compiled code without numba's runtime returns no other array.
    """
    if output.in_answer:
        return answer
    return p


@rare()
def next_fragment(gateway, now, p, output):
    """As next_output. Kept fragments were counted when they came; one that is refused now ends them."""
    outcome = output.outcome
    if outcome.fragment_payload > 0:
        more = fragment_of(gateway, p, outcome, output.number + 1)
        if more.end > more.at:
            return more
    end = load_next(gateway, outcome.releases, p) if outcome.releases != NONE else 0
    if end == 0:
        return Output(False, 0, 0, outcome, 0)
    one = translate_or_answer(gateway, now, p, HEADROOM, end)
    releases = outcome.releases if one.end > one.at else NONE
    one = Outcome(one.verdict, one.direction, one.at, one.end, one.fragment_payload, one.answer, int64(releases))
    return first_output(gateway, p, one)


@jit()
def fragment_of(gateway, p, outcome, number):
    """An IPv6 fragment of the packet an outcome is about, in Worker.answer."""
    answer = gateway.worker.answer
    size = cut(p, outcome.at, outcome.end, outcome.fragment_payload, number, answer)
    if size > 0:
        gateway.worker.events[int64(Event.FRAGMENTS_SENT)] += 1
        clear(answer, HEADROOM)
    return Output(True, HEADROOM, HEADROOM + size, outcome, number)


@hot()
def translate_or_answer(gateway, now, p, at, end):
    """The Outcome of the packet in [at, end) of `p`: translated, or the ICMP error its verdict asks for.

    The fragment that makes its datagram whole becomes that datagram.
    """
    while True:
        offload = decode(p, at)
        view = parse(p, at, end)
        done = translate(gateway, now, p, view, offload)
        end = put_together(gateway, done.held, p, at) if done.held != NONE else 0
        if end == 0:
            break
    direction = Direction.FOUR_TO_SIX if view.family == 4 else Direction.SIX_TO_FOUR
    answer, releases = 0, done.releases
    if done.at == done.end:
        releases = int64(NONE)  # what was kept for a first fragment that is refused does not go either
        answer = answer_packet(gateway, now, p, view, done.verdict, done.mtu_or_pointer)
    elif offload.gso_type != GSO_NONE:
        gateway.worker.events[int64(Event.SUPERFRAMES)] += 1
    return Outcome(done.verdict, int64(direction), done.at, done.end, done.fragment_payload, answer, releases)


@hot()
def translate(gateway, now, p, view, offload):
    """What the steps make of a packet: to the other IP version, unless it is of an IPv6 client of a service."""
    forget_accounts(gateway)
    if gateway.settings.front6 != OFF and view.family == 6 and not in_prefix(gateway, view.dst):
        done = translate_front6(gateway, now, p, view, offload)
        if done.verdict != Verdict.CONTINUE:
            return done
    return translate_family(gateway, now, p, view, offload)


@hot()
def translate_family(gateway, now, p, view, offload):
    """RFC 6146 section 3: the first step that objects names the verdict."""
    settings = gateway.settings
    quotes = view.verdict == Verdict.CONTINUE and quotes_packet(p, view)
    checksum = zero_checksum(settings, p, view)
    verdict = examine(gateway, p, view, offload, quotes, checksum)
    if verdict != Verdict.CONTINUE:
        return refused(verdict, view.source_route if verdict == Verdict.ROUTING_HEADER else 0, NONE)
    quoted = parse_quoted(p, view) if quotes else view
    if quoted.verdict != Verdict.CONTINUE:
        return refused(quoted.verdict, 0, NONE)
    incoming = incoming_tuple(p, view, quoted, quotes)  # 3.4
    flags = tcp_flags(gateway, now, p, view, incoming)
    whole = needs_whole(view, checksum)
    part = quoted.fragment_offset > 0 or whole
    packet = Packet(view, quoted, offload, incoming, quotes, checksum, flags, whole, part)
    bound = bind_packet(gateway, now, p, packet)  # 3.5, 3.6, 3.8
    if bound.verdict != Verdict.CONTINUE:
        return refused(bound.verdict, 0, bound.held)
    outgoing, identification = bound.outgoing, next_identification(gateway)
    done = Verdict.HAIRPINNED if outgoing.family == view.family else Verdict.TRANSLATED
    if quotes:
        verdict, src, dst = error_addresses(gateway, view, incoming, bound)
        if verdict != Verdict.CONTINUE:
            return refused(verdict, 0, NONE)
        error = plan_error(gateway, p, packet, outgoing.family, src, dst)
        if error.verdict != Verdict.CONTINUE:
            return refused(error.verdict, 0, NONE)
        # ---- decided; writing starts
        out_at = write_error(gateway, p, packet, error, outgoing, identification)
        return Translated(done, 0, out_at, error.quote.end, 0, NONE, bound.releases)
    plan = plan_output(gateway, p, packet, outgoing.family)
    if plan.verdict != Verdict.CONTINUE:
        return refused(plan.verdict, plan.mtu, NONE)
    # ---- decided; writing starts
    if flags & TCP_SYN and (settings.mss > 0 or settings.service_mss > 0):
        lower_mss(p, packet, mss_of(gateway, incoming, outgoing))
    count_packet(gateway, view.end - view.l3, incoming.src, outgoing.dst)
    out_at = write_packet(gateway, p, packet, plan, outgoing, identification)  # 3.7
    return Translated(done, 0, out_at, view.end, plan.fragment_payload, NONE, bound.releases)


@hot()
def bind_packet(gateway, now, p, packet):
    """The Bound of a packet; a later fragment goes where its first one went."""
    incoming, flags = packet.incoming, packet.flags
    verdict, ask, outgoing, stateful = bind(gateway, now, packet, incoming, False)
    hairpins = verdict == Verdict.CONTINUE and ask == Ask.NOBODY and returns_to_us(gateway, incoming, outgoing)
    second = incoming
    if hairpins:
        second = as_from_ipv4(outgoing)
        verdict, ask, outgoing, more = bind(gateway, now, packet, second, True)
        stateful = stateful or more
    if ask == Ask.HELD_SYNS:
        verdict = hold_syn(gateway, now, p, packet.parsed, second, verdict)
    elif ask == Ask.ECHO and is_echo_request(p, packet.parsed):
        verdict = Verdict.ECHOED if gateway.settings.echo else Verdict.FILTERED_ICMP_INFO
    if gateway.settings.check_rst and flags != 0 and verdict == Verdict.CONTINUE and ask == Ask.NOBODY:
        note_segment(gateway, now, p, packet, incoming)
        if hairpins:
            note_segment(gateway, now, p, packet, second)
    bound = Bound(verdict, outgoing, stateful, int64(NONE), int64(NONE))
    return bind_fragment(gateway, now, p, packet, ask, bound) if is_fragment(packet.parsed) else bound


@rare()
def hold_syn(gateway, now, p, view, t, verdict):
    """Section 3.5.2.2: the verdict of a SYN that opens no session: from IPv4 to an address of ours it may wait.

    With drop_inbound_tcp no SYN is kept; [[forward]] entries are exempt from it, only ADF can refuse them.
    """
    tables, settings = gateway.tables, gateway.settings
    if not within(settings.ranges4, t.dst.lo):
        return verdict
    if settings.drop_inbound_tcp and verdict == Verdict.NO_SESSION:
        return Verdict.FILTERED_INBOUND_TCP
    if may_reach(gateway, t.src, True) != Verdict.CONTINUE:
        return verdict
    acquire(tables.lock)
    held = keep_syn(gateway, now, t, p, view.l3, view.end)
    release(tables.lock)
    return Verdict.SYN_HELD if held else verdict


@hot()
def bind(gateway, now, packet, t, hairpin):
    """(verdict, whom to ask, outgoing tuple, whether tables were asked): a static mapping, or RFC 6146 sections 3.5 and
    3.6.

    A fragment without ports cannot be looked up here: Ask.FRAGMENTS. A quoted one identifies no session (3.4).
    """
    settings, tables = gateway.settings, gateway.tables
    verdict, ask, outgoing = map_tuple(gateway, packet.parsed, t, hairpin)
    event, answers = event_of(t.family, packet.flags), packet.flags & TCP_ACK != 0
    if ask == Ask.NOBODY:
        stateful = may_answer_for_service(gateway, packet, t)
        if not stateful or not (packet.part or answers_of_service(gateway, now, t, event, packet.quotes, answers)):
            return verdict, ask, outgoing, stateful and not packet.quotes
    if packet.quotes and packet.part:
        return Verdict.QUOTED_PACKET, Ask.NOBODY, t, False
    if t.family == 6:
        if not in_prefix(gateway, t.dst):
            return Verdict.NOT_OUR_PREFIX, Ask.NOBODY, t, False
        if in_prefix(gateway, t.src):
            return Verdict.SOURCE_IN_POOL6, Ask.NOBODY, t, False
    other = is_other(t)
    if packet.part and not other:
        return Verdict.CONTINUE, Ask.FRAGMENTS, t, False
    if t.family == 4 and not hairpin and hairpins_within(gateway, t.src):  # a host of ours, which has sent it as IPv6
        return Verdict.FORGED_SOURCE, Ask.NOBODY, t, False
    if other and (not settings.other_protocols or t.protocol == AUTHENTICATION):
        return Verdict.PROTOCOL, Ask.NOBODY, t, False
    acquire(tables.lock)
    verdict, ask, outgoing = filter_and_update(gateway, now, t, event, packet.quotes, answers)
    release(tables.lock)
    return verdict, ask, outgoing, True


@hot()
def returns_to_us(gateway, incoming, outgoing):
    """RFC 6146 section 3.8, RFC 7757 section 4.2.2: an IPv4 host, written under a prefix, that is an IPv6 host of
    ours."""
    if outgoing.family != 4 or not in_prefix(gateway, incoming.dst):
        return False
    return within(gateway.settings.ranges4, outgoing.dst.lo) or hairpins_within(gateway, outgoing.dst)


@hot()
def next_identification(gateway):
    """An unpredictable IPv4 Identification that no worker repeats within 65,536 packets (RFC 6864, RFC 7739 section
    5.4)."""
    settings, worker = gateway.settings, gateway.worker
    n = worker.state[NEXT_IDENTIFICATION]
    worker.state[NEXT_IDENTIFICATION] = n + 1
    return int64(settings.identifications[(n * settings.queues + worker.number) & 0xFFFF])
