"""Sizes: DF, "too big", and cutting a packet without DF into IPv6 fragments (RFC 7915 sections 4 and 5.1)."""

from typing import NamedTuple

from translator.jit.compile import hot, jit
from translator.packet.fields import (
    FRAGMENT_HEADER,
    IPV4_HEADER,
    IPV6_HEADER,
    IPV6_LENGTH_AT,
    TCP,
    UDP_HEADER,
    copy,
    put_u16,
    tcp_header_length,
    u16,
)
from translator.packet.icmp import IPV6_MINIMUM_MTU
from translator.packet.parse import LARGEST_PACKET, is_fragment
from translator.packet.virtio import GSO_NONE
from translator.tables.gateway import HEADROOM
from translator.verdict import Verdict


class Plan(NamedTuple):
    """How a packet leaves: `verdict` CONTINUE, or TOO_BIG with the `mtu` to tell its sender."""

    verdict: Verdict
    mtu: int
    dont_fragment: int
    fragment_header: int
    fragment_payload: int  # payload octets of one IPv6 fragment when it has to be cut, or 0
    gso_size: int


@hot()
def plan_output(gateway, p, packet, out_family):
    """How a packet that is no ICMP error leaves, by its size: the last possible verdict."""
    settings, view, offload = gateway.settings, packet.parsed, packet.offload
    segment = view.payload
    if offload.gso_type != GSO_NONE:
        transport = tcp_header_length(p, view.l4) if view.transport == TCP else UDP_HEADER
        segment = min(segment, transport + offload.gso_size)
    fragment_header = 1 if out_family == 6 and is_fragment(view) else 0
    if out_family == 4:
        return plan_ipv4(settings, view, segment, offload.gso_size)
    size = IPV6_HEADER + segment + fragment_header * FRAGMENT_HEADER
    if size > settings.lowest_ipv6_mtu and may_be_cut(view):
        return plan_cut(settings, p, view, offload)
    if settings.mtu6 > 0 and size > settings.mtu6:
        grows = IPV6_HEADER - IPV4_HEADER + fragment_header * FRAGMENT_HEADER if view.family == 4 else 0
        return Plan(Verdict.TOO_BIG, settings.mtu6 - grows, 0, 0, 0, 0)
    return Plan(Verdict.CONTINUE, 0, 0, fragment_header, 0, offload.gso_size)


@jit()
def may_be_cut(view):
    """A packet without DF; hairpinned, one that would be without DF in IPv4 (section 5.1.1), unless it is a fragment
    already: as it came it fits."""
    if view.family == 4:
        return view.dont_fragment == 0
    return view.has_fragment_header != 0 and not is_fragment(view)


@hot()
def plan_ipv4(settings, view, segment, gso_size):
    """Section 5.1: DF only above 1260 octets, so that a 1280-octet IPv6 packet passes any IPv4 path; never with a
    Fragment header."""
    size = IPV4_HEADER + segment
    dont_fragment = 1 if size > IPV6_MINIMUM_MTU - 20 and not view.has_fragment_header else 0
    if (dont_fragment and 0 < settings.mtu4 < size) or IPV4_HEADER + view.payload > LARGEST_PACKET:
        return Plan(Verdict.TOO_BIG, max(IPV6_MINIMUM_MTU, settings.mtu4 + 20), 0, 0, 0, 0)
    return Plan(Verdict.CONTINUE, 0, dont_fragment, 0, 0, gso_size)


@jit()
def plan_cut(settings, p, view, offload):
    """Section 4: without DF, pieces that fit lowest_ipv6_mtu. A TCP super-frame is given smaller segments instead; a
    UDP one passes: its datagrams have the size that the sender chose."""
    room = settings.lowest_ipv6_mtu - IPV6_HEADER
    if offload.gso_type == GSO_NONE:
        return Plan(Verdict.CONTINUE, 0, 0, 1, (room - FRAGMENT_HEADER) & ~7, 0)
    gso_size = room - tcp_header_length(p, view.l4) if view.transport == TCP else offload.gso_size
    return Plan(Verdict.CONTINUE, 0, 0, 0, 0, gso_size)


@jit()
def cut(p, at, end, fragment_payload, k, out):
    """Write the k-th fragment of the IPv6 packet [at, end), which has a Fragment header, to out[HEADROOM:]; its length,
    0 when there is no k-th. `fragment_payload`: payload octets of a fragment."""
    headers, out_at = IPV6_HEADER + FRAGMENT_HEADER, HEADROOM
    start = at + headers + k * fragment_payload
    if start >= end:
        return 0
    size = min(fragment_payload, end - start)
    copy(out, out_at, p, at, headers)
    copy(out, out_at + headers, p, start, size)
    offset = u16(p, at + IPV6_HEADER + 2)
    more = 1 if start + size < end else offset & 1
    put_u16(out, out_at + IPV6_LENGTH_AT, FRAGMENT_HEADER + size)
    put_u16(out, out_at + IPV6_HEADER + 2, (offset & 0xFFF8) + k * fragment_payload | more)
    return headers + size
