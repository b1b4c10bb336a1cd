"""The fast path: what the pipeline does to a whole TCP segment, UDP datagram or echo whose way is known, as one BPF
program.

It stands at the egress of the TUN device, where the kernel would queue a packet for the daemon. What it knows it
rewrites, and hands back as if the daemon had written it, to the ingress of the same device; of all else not an octet is
changed, and the daemon has it. So a rule here is a reason not to act (reasons.py). What a packet becomes is computed
with the pipeline's own functions.

It may stand at the ingress of other interfaces, too (`kernel.device`): there it takes packets of sessions of which the
daemon has no packet any more, before the kernel has routed them to the device; they become what they would have
become there. All else goes on to be forwarded, and is not counted.
"""

from typing import NamedTuple

from translator.fastpath import kernel
from translator.fastpath.packets import parse_ipv4, parse_ipv6, segment_of
from translator.fastpath.prefixes import prefix_of
from translator.fastpath.reasons import Reason
from translator.fastpath.sessions import account, touch
from translator.fastpath.ways import way_from_ipv4, way_from_ipv6
from translator.fastpath.write import head_of, lacks_sum, write_ipv4, write_ipv6
from translator.jit.bpf import be16, context32, divide, le64, put32, put64, stack
from translator.jit.compile import int64, jit
from translator.packet.fields import DONT_FRAGMENT, IPV4_FLAGS_AT, IPV4_HEADER, IPV6_HEADER
from translator.packet.fragments import plan_ipv4
from translator.tables.layout import NONE
from translator.verdict import Verdict


class Fixed(NamedTuple):
    """What is asked of Settings."""

    secret: tuple[int, int]
    pool6_hi: int
    pool6_lo: int
    pool6_length: int
    mtu4: int


class Here(NamedTuple):
    """What is asked of Gateway."""

    settings: Fixed


@jit()
def here():
    """The parameters, where the pipeline's functions look for them."""
    secret = (kernel.secret0(), kernel.secret1())
    return Here(Fixed(secret, kernel.pool6_hi(), kernel.pool6_lo(), kernel.pool6_length(), kernel.mtu4()))


@jit()
def now(skb):
    """Milliseconds of the daemon's clock."""
    if kernel.clock_in_mark() != 0:
        return context32(skb + kernel.MARK)
    return divide(kernel.coarse_clock(), 1000000)


@jit()
def from_ipv6(skb, at, end):
    """A packet from IPv6: why it was left, or that it is an IPv4 one now."""
    gateway, parsed = here(), parse_ipv6(skb, at, end)
    against = parsed.reason
    if against != Reason.SIX_TO_FOUR and parsed.t.family == 0:
        return against
    prefix = prefix_of(gateway, parsed.t.dst)
    if prefix.number == NONE:
        return Reason.NOT_OUR_PREFIX
    segment, moment = segment_of(skb, parsed), now(skb)
    plan = plan_ipv4(gateway.settings, parsed, segment, 0)
    if against == Reason.SIX_TO_FOUR:
        if 0 < kernel.device_mtu() < IPV6_HEADER + segment or plan.verdict != Verdict.CONTINUE:
            against = Reason.TOO_BIG
    return send_on(skb, parsed, way_from_ipv6(gateway, parsed, prefix, moment, against), moment, plan.dont_fragment)


@jit()
def from_ipv4(skb, at, end):
    """A packet from IPv4: why it was left, or that it is an IPv6 one now."""
    gateway, parsed = here(), parse_ipv4(skb, at, end)
    against = parsed.reason
    if against != Reason.SIX_TO_FOUR and parsed.t.family == 0:
        return against
    size, moment = IPV6_HEADER + segment_of(skb, parsed), now(skb)
    if against == Reason.SIX_TO_FOUR:
        if 0 < kernel.device_mtu() < size - IPV6_HEADER + IPV4_HEADER:
            against = Reason.TOO_BIG
        elif size > kernel.lowest_ipv6_mtu() and be16(at + IPV4_FLAGS_AT) & DONT_FRAGMENT == 0:
            against = Reason.CUT
        elif 0 < kernel.mtu6() < size:
            against = Reason.TOO_BIG
    return send_on(skb, parsed, way_from_ipv4(gateway, parsed, moment, against), moment, 0)


@jit()
def send_on(skb, parsed, way, moment, dont_fragment):
    """A packet with its way: why it was left all the same, or that it is one of the other IP version now."""
    if way.reason != Reason.SIX_TO_FOUR:
        return way.reason
    head = head_of(parsed, way.outgoing)
    if lacks_sum(parsed, head):
        return Reason.ZERO_CHECKSUM
    if way.found.address != 0:
        touch(way.found, moment)
    if parsed.t.family == 6:
        reason, octets = write_ipv4(skb, parsed, way.outgoing, head, dont_fragment), IPV6_HEADER + parsed.payload
    else:
        reason, octets = write_ipv6(skb, parsed, way.outgoing, head), IPV4_HEADER + parsed.payload
    if kernel.accounting() != 0 and way.found.address != 0 and reason != Reason.REFUSED:
        account(way.found.number, parsed.t.family, octets)
    return reason


@jit()
def count(reason, octets, superframe):
    """One packet more of a Reason."""
    key = stack(8)
    put32(key, int64(reason))
    row = kernel.lookup(kernel.counters(), key)
    if row != 0:
        put64(row, le64(row) + 1)
        put64(row + 8, le64(row + 8) + octets)
        put64(row + 16, le64(row + 16) + superframe)


@jit()
def is_for_others(skb):
    """Whether the host itself may not have a packet to forward: one that an interface merely overhears, or of a VLAN,
    whose interface is another one."""
    return context32(skb + kernel.PACKET_TYPE) != kernel.TO_US or context32(skb + kernel.VLAN_PRESENT) != 0


@jit()
def program(skb):
    """What the kernel is to do with the packet of a context (struct __sk_buff)."""
    protocol, octets = context32(skb + kernel.PROTOCOL), context32(skb + kernel.LENGTH) - kernel.link_header()
    superframe = 1 if context32(skb + kernel.GSO_SIZE) != 0 else 0
    at, end = context32(skb + kernel.DATA) + kernel.link_header(), context32(skb + kernel.DATA_END)
    if kernel.device() != 0 and is_for_others(skb):
        return kernel.NEXT
    if protocol == kernel.IPV6:
        reason = from_ipv6(skb, at, end)
    elif protocol == kernel.IPV4:
        reason = from_ipv4(skb, at, end)
    else:
        reason = Reason.NOT_IP
    is_taken = reason == Reason.SIX_TO_FOUR or reason == Reason.FOUR_TO_SIX
    if kernel.device() == 0:
        count(reason, octets, superframe)
        return kernel.redirect(context32(skb + kernel.IFINDEX), kernel.INGRESS) if is_taken else kernel.PASS
    if not is_taken:
        return kernel.NEXT
    count(reason, octets, superframe)
    return kernel.redirect(kernel.device(), kernel.INGRESS)
