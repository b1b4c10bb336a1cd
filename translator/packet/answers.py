"""What goes back to the sender of a packet that is not translated: by its verdict's row an ICMP error or a TCP RST, or
the answer to its ping."""

from translator.jit.compile import int64, jit, rare
from translator.packet.checksum import replace, settle_zero
from translator.packet.error_limits import ECHOES, REFUSALS, RESETS, take_token
from translator.packet.fields import (
    ICMP_CHECKSUM_AT,
    IPV4_HEADER,
    IPV6_HEADER,
    TCP,
    copy,
    put_u8,
    put_u16,
    u8,
    u16,
)
from translator.packet.headers import Header, write
from translator.packet.icmp import ECHO_REPLY4, ECHO_REPLY6, ECHO_REQUEST4, ECHO_REQUEST6
from translator.packet.icmp_error import ANSWERS, HOP_LIMIT, answer_sender, wants_answer
from translator.packet.segments import reset_sender
from translator.tables.gateway import HEADROOM
from translator.tables.handles import find_vip6
from translator.tables.layout import NONE
from translator.verdict import Answer, Event, Verdict


@rare()
def answer_packet(gateway, now, p, view, verdict, mtu_or_pointer):
    """Write what a packet with this verdict is answered with into the worker's answer, at HEADROOM; its length, 0 for
    nothing."""
    if verdict == Verdict.ECHOED:
        if view.family == 6 and find_vip6(gateway, view.dst.hi, view.dst.lo) != NONE:
            return 0  # it was made its answer itself, if the limit allowed
        return answer_echo(gateway, now, p, view)
    meaning = ANSWERS[int64(verdict)]
    if gateway.settings.silent[int64(verdict)] != 0:
        return 0
    if meaning == Answer.RESET or (meaning == Answer.PORT_UNREACHABLE and view.transport == TCP):
        kind = RESETS if meaning == Answer.RESET else REFUSALS
        return reset_sender(gateway, now, p, view, kind)
    if wants_answer(verdict, view.family):
        return answer_sender(gateway, now, p, view, verdict, mtu_or_pointer)
    return 0


@jit()
def is_echo_request(p, view):
    """Whether a whole ICMP message is an echo request."""
    return u8(p, view.l4) == (ECHO_REQUEST4 if view.family == 4 else ECHO_REQUEST6)


@jit()
def answer_echo(gateway, now, p, view):
    """RFC 792, RFC 4443 section 4.2: the reply to an echo request, as if from where it went, if the limit allows."""
    if not take_token(gateway, now, view.family, view.src, ECHOES):
        gateway.worker.events[int64(Event.ANSWER_LIMITED)] += 1
        return 0
    out, header, size = gateway.worker.answer, IPV4_HEADER if view.family == 4 else IPV6_HEADER, view.end - view.l4
    l4 = HEADROOM + header
    copy(out, l4, p, view.l4, size)
    reply = ECHO_REPLY4 if view.family == 4 else ECHO_REPLY6
    field = replace(u16(p, view.l4 + ICMP_CHECKSUM_AT), u8(p, view.l4) << 8, reply << 8)
    put_u16(out, l4 + ICMP_CHECKSUM_AT, field)
    put_u8(out, l4, reply)
    if field == 0:
        settle_zero(out, l4, l4 + size, l4 + ICMP_CHECKSUM_AT)
    # What the sender has cut may be cut again on the way back, under the number that the sender gave it.
    ip = Header(
        view.family,
        view.traffic_class,
        size,
        view.protocol,
        HOP_LIMIT,
        view.identification,
        view.dont_fragment,
        0,
        0,
        0,
    )
    write(out, l4, ip, view.dst, view.src)
    gateway.worker.events[int64(Event.ECHO_SENT)] += 1
    return header + size
