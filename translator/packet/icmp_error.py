"""RFC 7915 sections 4.4 and 5.4: the ICMP errors we originate for packets we drop, from the verdict's row."""

import numpy as np

from translator.compile import int64, jit
from translator.packet.checksum import checksum, sum_octets
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
from translator.packet.tuples import addresses, tuple_of
from translator.static.addresses import is_unicast
from translator.verdict import Answer, Verdict

# LIMITS
HOP_LIMIT = 64
PORT_UNREACHABLE4 = 3 << 8 | 3  # type and code

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
    src_hi, src_lo, dst_hi, dst_lo = addresses(p, view)
    return is_unicast(view.family, src_hi, src_lo) and is_unicast(view.family, dst_hi, dst_lo)


@jit()
def build(settings, p, view, verdict, rest, out, out_at):
    """Write the ICMP error about a packet to its sender at out[out_at:]; returns its length. `rest`: MTU or pointer,
    else 0."""
    family = view.family
    type_, code = TYPES[ANSWERS[int64(verdict)], 0 if family == 4 else 1]
    dst_hi, dst_lo, _, _ = addresses(p, view)
    src_hi, src_lo = (0, settings.own4) if family == 4 else (settings.own6_hi, settings.own6_lo)
    t = tuple_of(family, ICMP, src_hi, src_lo, 0, dst_hi, dst_lo, 0)
    return describe(t, type_ << 8 | code, rest, p, view.l3, view.end, out, out_at)


@jit()
def describe(t, kind, rest, p, at, end, out, out_at):
    """Write an ICMP error from t.src to t.dst that quotes [at, end) of `p`, or as much of it as fits, at out[out_at:];
    returns its length. `kind`: type and code."""
    header = IPV4_HEADER if t.family == 4 else IPV6_HEADER
    size = min(end - at, (LARGEST4 if t.family == 4 else LARGEST6) - header - ICMP_HEADER)
    l4 = out_at + header
    put_u16(out, l4, kind)
    put_u16(out, l4 + ICMP_CHECKSUM_AT, 0)
    put_u32(out, l4 + ICMP_REST_AT, rest)
    copy(out, l4 + ICMP_HEADER, p, at, size)
    size += ICMP_HEADER
    put_u16(out, l4 + ICMP_CHECKSUM_AT, checksum(pseudo_header(t, size) + sum_octets(out, l4, l4 + size)))
    protocol = ICMP if t.family == 4 else ICMPV6
    # RFC 1812 section 4.3.2.5 gives an ICMPv4 error precedence 6; RFC 4443 gives an ICMPv6 error nothing.
    # With DF it needs no Identification of its own (RFC 6864 section 4.1).
    traffic_class = 0xC0 if t.family == 4 else 0
    ip = Header(t.family, traffic_class, size, protocol, HOP_LIMIT, 0, 1, 0, 0, 0)
    write(out, l4, ip, t.src_hi, t.src_lo, t.dst_hi, t.dst_lo)
    return header + size
