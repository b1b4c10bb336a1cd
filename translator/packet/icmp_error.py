"""RFC 7915 sections 4.4 and 5.4: the ICMP errors we originate for packets we drop, from the verdict's row."""

from typing import NamedTuple

import numpy as np

from translator.jit.compile import int64, jit, rare
from translator.packet.addresses import address4, address6, is_link_local4, is_unicast
from translator.packet.checksum import checksum, sum_octets
from translator.packet.error_limits import OTHERS, REFUSALS, TOO_BIG, may_send
from translator.packet.extensions import LARGEST4, LARGEST6
from translator.packet.fields import (
    ICMP,
    ICMP_CHECKSUM_AT,
    ICMP_HEADER,
    ICMP_REST_AT,
    ICMPV6,
    IPV4_HEADER,
    IPV6_HEADER,
    copy,
    put_u16,
    put_u32,
    u8,
)
from translator.packet.headers import Header, write
from translator.packet.icmp import REDIRECT6, is_error
from translator.packet.transport import pseudo_header
from translator.packet.tuples import tuple_of
from translator.tables.gateway import HEADROOM
from translator.tables.handles import find_vip6
from translator.tables.layout import NONE
from translator.tables.ranges import within
from translator.verdict import Answer, Event, Verdict

# LIMITS
HOP_LIMIT = 64
PORT_UNREACHABLE4, PORT_UNREACHABLE6 = 3 << 8 | 3, 1 << 8 | 4  # type and code

# meaning -> (ICMPv4 type, code), (ICMPv6 type, code); -1: this family has no such error. RFC 6146 section 3.4 asks for
# 1/4.
_TYPES = {
    Answer.NONE: ((-1, -1), (-1, -1)),
    Answer.TIME_EXCEEDED: ((11, 0), (3, 0)),
    Answer.PACKET_TOO_BIG: ((3, 4), (2, 0)),
    Answer.ADDRESS_UNREACHABLE: ((3, 1), (1, 3)),
    Answer.PROHIBITED: ((3, 13), (1, 1)),
    Answer.SOURCE_ROUTE_FAILED: ((3, 5), (-1, -1)),
    Answer.PARAMETER_PROBLEM: ((-1, -1), (4, 0)),
    Answer.PROTOCOL_UNREACHABLE: ((3, 2), (1, 4)),
    Answer.RESET: ((-1, -1), (-1, -1)),
    Answer.PORT_UNREACHABLE: ((3, 3), (1, 4)),
}
TYPES = np.array([_TYPES[answer] for answer in Answer])
ANSWERS = np.zeros(max(Verdict) + 1, np.int64)
for _verdict in Verdict:
    ANSWERS[_verdict] = _verdict.answer


@jit()
def wants_answer(verdict, family):
    """Whether the verdict's row asks for an ICMP error in this family."""
    return family != 0 and TYPES[ANSWERS[int64(verdict)], 0 if family == 4 else 1, 0] >= 0


@jit()
def may_be_answered(p, view):
    """RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e): no error about an error, a later fragment, or to or from no
    single host."""
    if view.fragment_offset > 0:
        return False
    if view.transport == ICMP and (is_error(view.family, u8(p, view.l4)) or u8(p, view.l4) == REDIRECT6):
        return False
    if is_link_local4(view.family, view.src):
        return False
    return is_unicast(view.family, view.src) and is_unicast(view.family, view.dst)


class Complaint(NamedTuple):
    """What an ICMP error says."""

    kind: int  # type << 8 | code
    rest_of_header: int  # the 32 bits behind the checksum: MTU or pointer


@jit()
def build(gateway, p, view, verdict, mtu_or_pointer):
    """Write the ICMP error about a dropped packet to its sender into the worker's answer, at HEADROOM; its length.

    `mtu_or_pointer`: 0 where the error has neither.
    """
    family, meaning = view.family, ANSWERS[int64(verdict)]
    type_, code = TYPES[meaning, 0 if family == 4 else 1]
    back = tuple_of(family, ICMP, complains(gateway, view, meaning), view.src)
    return describe(gateway, back, Complaint(int64(type_ << 8 | code), int64(mtu_or_pointer)), p, view.l3, view.end)


@jit()
def complains(gateway, view, meaning):
    """Who sends an ICMP error with this Answer: the translator; where a service has no such port or protocol, its
    address, so that a traceroute ends there."""
    if meaning == Answer.PORT_UNREACHABLE or (meaning == Answer.PROTOCOL_UNREACHABLE and is_vip(gateway, view)):
        return view.dst
    settings = gateway.settings
    return address4(settings.own4, 0) if view.family == 4 else address6(settings.own6_hi, settings.own6_lo, 0)


@jit()
def is_vip(gateway, view):
    """Whether a packet is to an address of a service."""
    if view.family == 4:
        return within(gateway.settings.vips4, view.dst.lo)
    return find_vip6(gateway, view.dst.hi, view.dst.lo) != NONE


@rare()
def describe(gateway, t, complaint, p, at, end):
    """Write an ICMP error from t.src to t.dst that quotes [at, end) of `p`, or as much of it as fits, into the worker's
    answer, at HEADROOM; returns its length."""
    header = IPV4_HEADER if t.family == 4 else IPV6_HEADER
    size = min(end - at, (LARGEST4 if t.family == 4 else LARGEST6) - header - ICMP_HEADER)
    out, l4 = gateway.worker.answer, HEADROOM + header
    put_u16(out, l4, complaint.kind)
    put_u16(out, l4 + ICMP_CHECKSUM_AT, 0)
    put_u32(out, l4 + ICMP_REST_AT, complaint.rest_of_header)
    copy(out, l4 + ICMP_HEADER, p, at, size)
    size += ICMP_HEADER
    put_u16(out, l4 + ICMP_CHECKSUM_AT, checksum(pseudo_header(t, size) + sum_octets(out, l4, l4 + size)))
    protocol = ICMP if t.family == 4 else ICMPV6
    # RFC 1812 section 4.3.2.5 gives an ICMPv4 error precedence 6; RFC 4443 gives an ICMPv6 error nothing.
    # With DF it needs no Identification of its own (RFC 6864 section 4.1).
    traffic_class = 0xC0 if t.family == 4 else 0
    ip = Header(t.family, traffic_class, size, protocol, HOP_LIMIT, 0, 1, 0, 0, 0)
    write(out, l4, ip, t.src, t.dst)
    return header + size


@rare()
def answer_sender(gateway, now, p, view, verdict, mtu_or_pointer):
    """Build the ICMP error of a dropped packet where one may be sent and the limit allows; returns its length."""
    if not may_be_answered(p, view):
        gateway.worker.events[int64(Event.ANSWER_FORBIDDEN)] += 1
        return 0
    meaning, kind = ANSWERS[int64(verdict)], OTHERS
    if meaning == Answer.PACKET_TOO_BIG or meaning == Answer.PORT_UNREACHABLE:
        kind = TOO_BIG if meaning == Answer.PACKET_TOO_BIG else REFUSALS
    if not may_send(gateway, now, view.family, view.src, kind):
        return 0
    return build(gateway, p, view, verdict, mtu_or_pointer)
