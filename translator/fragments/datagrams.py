"""Datagrams that come in fragments (RFC 6146 section 3.4): which fragments go, wait, or become one packet again."""

from typing import NamedTuple

from translator.fragments.reassembly import (
    admit_fragment,
    ends_of,
    is_whole,
    not_kept,
    remember,
    take_fragment,
    take_whole,
)
from translator.jit.compile import int64, jit, rare
from translator.jit.lock import acquire, release
from translator.packet.fields import ICMP, ICMPV6
from translator.packet.headers import Header, size_of, write
from translator.packet.tuples import Tuple
from translator.packet.virtio import clear
from translator.tables.gateway import HEADROOM
from translator.tables.layout import NONE
from translator.tables.ranges import within
from translator.verdict import Ask, Event, Verdict


class Bound(NamedTuple):
    """Where a packet goes: CONTINUE and the outgoing tuple, or why nowhere."""

    verdict: Verdict
    outgoing: Tuple
    stateful: bool  # sessions were asked
    held: int  # row of Tables.fragments under which a HELD fragment is kept, or NONE
    releases: int  # row of Tables.fragments whose kept fragments go on after this one, or NONE


@rare()
def bind_fragment(gateway, now, p, packet, ask, found):
    """The Bound of a fragment for which `bind` has found this: Ask.FRAGMENTS, or where its first fragment goes."""
    view, tables = packet.parsed, gateway.tables
    if ask == Ask.FRAGMENTS:
        return bind_by_datagram(gateway, now, p, packet, found)
    if found.verdict != Verdict.CONTINUE:
        return found
    if packet.whole and gateway.settings.clat:  # of one host, so that no other translator has fragments of it
        return gather(gateway, now, p, packet, found)
    if packet.whole:
        return Bound(not_kept(view), found.outgoing, found.stateful, found.held, found.releases)
    if not found.stateful or view.fragment_offset > 0:
        return found
    acquire(tables.lock)
    at = remember(gateway, now, packet.incoming, view.identification, found.outgoing)
    releases = at if tables.fragments[at].oldest != NONE else NONE
    release(tables.lock)
    return Bound(found.verdict, found.outgoing, found.stateful, found.held, int64(releases))


@jit()
def bind_by_datagram(gateway, now, p, packet, found):
    """The Bound of a fragment that cannot be looked up alone: as its first one, or it waits."""
    view = packet.parsed
    if view.family == 4 and not within(gateway.settings.ranges4, packet.incoming.dst.lo):
        return Bound(not_kept(view), found.outgoing, found.stateful, found.held, found.releases)
    return gather(gateway, now, p, packet, found)


@jit()
def gather(gateway, now, p, packet, found):
    """The Bound of a fragment of a datagram that may pass: as its first one, or it waits."""
    view, tables = packet.parsed, gateway.tables
    acquire(tables.lock)
    verdict, outgoing, at = admit_fragment(gateway, now, p, view, packet.incoming, packet.whole)
    release(tables.lock)
    held = at if verdict == Verdict.HELD else NONE
    return Bound(verdict, outgoing, found.stateful, int64(held), found.releases)


@rare()
def put_together(gateway, held, p, at):
    """After a fragment is HELD under row `held`: if its datagram is whole now, write it to p[at:] as one packet; where
    that ends, else 0.

    It has the header of the first fragment, and in IPv6 a Fragment header that makes it an atomic one (RFC 6946): its
    Identification is kept and it may be cut again, as in IPv4 without DF.
    """
    tables, end = gateway.tables, 0
    acquire(tables.lock)
    row = tables.fragments[held]
    if is_whole(row):
        protocol = int64(row.protocol)
        if row.family == 6 and protocol == ICMP:
            protocol = ICMPV6
        header = Header(
            family=int64(row.family),
            traffic_class=int64(row.traffic_class),
            payload=int64(row.total),
            protocol=protocol,
            hop_limit=int64(row.hop_limit),
            identification=row.identification,
            dont_fragment=0,
            fragment_header=1,
            fragment_offset=0,
            more_fragments=0,
        )
        l4 = at + size_of(header)
        gateway.worker.events[int64(Event.FRAGMENTS_RELEASED)] += row.count - 1
        take_whole(tables, held, p, l4)
        src, dst = ends_of(row)
        write(p, l4, header, src, dst)
        clear(p, at)
        end = l4 + header.payload
    release(tables.lock)
    return end


@rare()
def load_next(gateway, releases, p):
    """The next kept fragment of row `releases`, as a packet at p[HEADROOM:] that has just come in; where it ends, 0:
    there is none."""
    tables = gateway.tables
    acquire(tables.lock)
    end = take_fragment(tables, releases, p, HEADROOM)
    release(tables.lock)
    if end > 0:
        gateway.worker.events[int64(Event.FRAGMENTS_RELEASED)] += 1
        clear(p, HEADROOM)
    return end
