"""What time alone brings about: sessions end, and packets of our own are due."""

from translator.jit.compile import int64, jit, rare
from translator.jit.lock import acquire, release
from translator.packet.addresses import address4, address6, under
from translator.packet.error_limits import OTHERS, may_send
from translator.packet.fields import ICMP, IPV6_DESTINATION_AT, IPV6_SOURCE_AT, u64, version
from translator.packet.icmp_error import PORT_UNREACHABLE4, PORT_UNREACHABLE6, Complaint, describe
from translator.packet.segments import write_probe
from translator.packet.tuples import tuple_of
from translator.session.bib import mapped4_of
from translator.session.filtering import towards_host6
from translator.session.pool4 import end_quarantines
from translator.session.sessions import expire, host4_of
from translator.session.simultaneous_open import take_overdue
from translator.static.rfc6052 import client_prefix_of, to_prefix
from translator.tables.layout import NONE
from translator.verdict import Event


@rare()
def tick(gateway, now, quota):
    """(sessions looked at, at most `quota`; octets of a packet at worker.answer[HEADROOM:], for the caller to send).

    It is to be called until it has looked at fewer than `quota` and leaves no packet.
    """
    tables = gateway.tables
    acquire(tables.lock)
    looked_at, session = 0, NONE
    size = refuse_syn(gateway, now)
    if size == 0:
        end_quarantines(tables, now, quota)
        looked_at, session = expire(gateway, now, quota)
    if session != NONE:
        size = probe(gateway, tables.sessions[session])
    release(tables.lock)
    return looked_at, size


@jit()
def refuse_syn(gateway, now):
    """Section 3.5.2.2: port unreachable, as if from the mapped4, about the next SYN that has waited in vain and of
    which the limit allows to tell; returns its length, or 0."""
    tables = gateway.tables
    syn = take_overdue(gateway, now)
    while syn != NONE:
        row, octets = tables.syns[syn], tables.syn_octets[syn]
        back = way_back(gateway, row, octets)
        if may_send(gateway, now, back.family, back.dst, OTHERS):
            kind = PORT_UNREACHABLE4 if back.family == 4 else PORT_UNREACHABLE6
            return describe(gateway, back, Complaint(kind, 0), octets, 0, int64(row.length))
        syn = take_overdue(gateway, now)
    return 0


@jit()
def way_back(gateway, row, octets):
    """The tuple of the answer to a SYN: from the mapped4 that it went to. The SYN of an IPv6 host behind us (section
    3.8) was kept as IPv6."""
    mapped4 = address4(row.mapped4, 0)
    if version(octets, 0) == 4:
        return tuple_of(4, ICMP, mapped4, address4(row.host4, 0))
    host6, sent_to = source_and_destination(octets)
    prefix = max(client_prefix_of(gateway, sent_to), 0)
    return tuple_of(6, ICMP, to_prefix(gateway, under(mapped4, prefix)), host6)


@jit()
def source_and_destination(octets):
    """The addresses in an IPv6 header."""
    src, dst = IPV6_SOURCE_AT, IPV6_DESTINATION_AT
    return (
        address6(u64(octets, src), u64(octets, src + 8), 0),
        address6(u64(octets, dst), u64(octets, dst + 8), 0),
    )


@jit()
def probe(gateway, row):
    """Write the probe to the host6 of a session, as if its host4 had sent it; returns its length."""
    from4 = tuple_of(4, row.protocol, host4_of(row), mapped4_of(row))
    gateway.worker.events[int64(Event.PROBE_SENT)] += 1
    return write_probe(gateway, towards_host6(gateway, from4, row))
