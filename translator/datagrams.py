"""Datagrams that come in fragments (RFC 6146 section 3.4): which fragments go, wait, or become one packet again.

The row of Tables.fragments whose kept fragments may go on is handed from a packet to what comes after it in
worker.state[DATAGRAM], as row + 1: to put_together after a fragment that is HELD, to pipeline.released after a first
one that passed.
"""

from translator.compile import int64, jit
from translator.lock import acquire, release
from translator.packet.fields import ICMP, ICMPV6
from translator.packet.headers import Header, size_of, write
from translator.packet.transport import CALCULATE, zero_checksum
from translator.packet.virtio import clear
from translator.session.reassembly import admit, is_whole, not_kept, remember, take, take_whole
from translator.static.addresses import within
from translator.tables import NONE
from translator.verdict import Event, Verdict

DATAGRAM = 4  # word of Worker.state


@jit()
def needs_whole(settings, p, view):
    """Whether a fragment can only be translated with all others of its datagram, by sessions: ICMP, whose checksum
    covers it and in ICMPv6 its addresses, and UDP over IPv4 without a checksum, which has to be calculated."""
    if view.transport == ICMP:
        return True
    return view.family == 4 and zero_checksum(settings, p, view) == CALCULATE


@jit()
def bind_fragment(settings, tables, worker, now, p, view, incoming, verdict, outgoing, remembers, whole):
    """(verdict, outgoing tuple) of a fragment for which `bind` has found these; FRAGMENT_UNKNOWN: it has no ports.

    `remembers`: sessions were asked about the first one. `whole`: it cannot go without the others.
    """
    if verdict == Verdict.CONTINUE:
        if whole:
            return not_kept(view), outgoing
        if remembers and view.fragment_offset == 0:
            acquire(tables.lock)
            at = remember(settings, tables, now, incoming, view.identification, outgoing)
            worker.state[DATAGRAM] = at + 1 if tables.fragments[at].oldest != NONE else 0
            release(tables.lock)
        return verdict, outgoing
    if verdict != Verdict.FRAGMENT_UNKNOWN:
        return verdict, outgoing
    if view.family == 4 and not within(settings.ranges4, incoming.dst_lo):
        return not_kept(view), outgoing
    acquire(tables.lock)
    verdict, outgoing, at = admit(settings, tables, now, p, view, incoming, whole)
    release(tables.lock)
    if verdict == Verdict.HELD:
        worker.state[DATAGRAM] = at + 1
    return verdict, outgoing


@jit()
def put_together(tables, worker, p, at):
    """After a fragment that is HELD: if its datagram is whole now, write it to p[at:] as one packet; where that ends,
    else 0.

    It has the header of the first fragment, and in IPv6 a Fragment header that makes it an atomic one (RFC 6946): its
    Identification is kept and it may be cut again, as in IPv4 without DF.
    """
    index = worker.state[DATAGRAM] - 1
    worker.state[DATAGRAM] = 0
    end = 0
    acquire(tables.lock)
    row = tables.fragments[index]
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
        worker.events[int64(Event.FRAGMENTS_RELEASED)] += row.count - 1
        take_whole(tables, index, p, l4)
        write(p, l4, header, row.src_hi, row.src_lo, row.dst_hi, row.dst_lo)
        clear(p, at)
        end = l4 + header.payload
    release(tables.lock)
    return end


@jit()
def load_next(tables, worker, p, at):
    """The next kept fragment that may go on, as a packet at p[at:] that has just come in; where it ends, 0: there is
    none."""
    end, index = 0, worker.state[DATAGRAM] - 1
    if index != NONE:
        acquire(tables.lock)
        end = take(tables, index, p, at)
        release(tables.lock)
    if end == 0:
        worker.state[DATAGRAM] = 0
        return 0
    worker.events[int64(Event.FRAGMENTS_RELEASED)] += 1
    clear(p, at)
    return end
