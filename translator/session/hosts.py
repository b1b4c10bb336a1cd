"""The IPv6 hosts that have BIB entries: which pool address each is paired with (RFC 4787 REQ-2), and what it uses and
how fast (RFC 6888 REQ-4, REQ-5)."""

from translator.jit.compile import int64, jit, rare
from translator.packet.fields import ICMP, TCP, UDP
from translator.session.subscribers import join_subscriber, leave_subscriber
from translator.tables.hashing import find_candidate, first_candidate, hash3, insert, record_at, remove
from translator.tables.layout import NONE
from translator.tables.slots import give_back, take
from translator.tables.tables import HOSTS


@jit()
def host_hash(gateway, hi, lo):
    """Keyed hash of a host's address."""
    return hash3(gateway.settings.secret, hi, lo, 0)


@jit()
def find_host(gateway, host6):
    """The record of a host6, or NONE."""
    tables, hashed = gateway.tables, host_hash(gateway, host6.hi, host6.lo)
    at = first_candidate(tables.hosts6, hashed)
    while at != NONE:
        host = record_at(tables.hosts6, at)
        if tables.hosts[host].host6_hi == host6.hi and tables.hosts[host].host6_lo == host6.lo:
            return host
        at = find_candidate(tables.hosts6, hashed, at + 1)
    return NONE


@jit()
def paired_with(tables, host):
    """The pool address that a host is paired with, 0 for none (NONE: a host without any)."""
    return tables.hosts[host].mapped4 if host != NONE else int64(0)


@rare()
def find_or_create_host(gateway, host6):
    """The record of a host6, new if need be. There are as many records as BIB entries, so one is free."""
    tables, host = gateway.tables, find_host(gateway, host6)
    if host == NONE:
        host = take(tables, HOSTS, len(tables.hosts))
        row = tables.hosts[host]
        row.host6_hi, row.host6_lo, row.mapped4 = host6.hi, host6.lo, 0
        row.subscriber = join_subscriber(gateway, host6)
        row.bibs, row.sessions, row.rate_until, row.live = 0, 0, 0, 1
        row.tcp, row.udp, row.icmp, row.other = 0, 0, 0, 0
        insert(tables.hosts6, host_hash(gateway, host6.hi, host6.lo), host)
    return host


@jit()
def ports_of(row, protocol):
    """How many ports or identifiers of a protocol a host has, without those of static BIB entries; 0 of a protocol
    without ports."""
    if protocol == TCP:
        return int64(row.tcp)
    if protocol == UDP:
        return int64(row.udp)
    return int64(row.icmp if protocol == ICMP else 0)


@jit()
def count_bib(row, protocol, change):
    """A host gets a dynamic BIB entry (`change` 1) or loses one (-1); with the last one its pairing ends."""
    if protocol == TCP:
        row.tcp += change
    elif protocol == UDP:
        row.udp += change
    elif protocol == ICMP:
        row.icmp += change
    else:
        row.other += change
    if row.tcp + row.udp + row.icmp + row.other == 0:
        row.mapped4 = 0


@jit()
def may_open(gateway, host, now):
    """RFC 6888 REQ-5 b: whether a host may open another session now.

    A token bucket of one second's worth, kept as the time at which it will be full again: `rate_until`, in units of
    which a millisecond has `per_host_rate` and a session takes 1000.
    """
    rate = gateway.settings.per_host_rate
    if rate == 0 or host == NONE:
        return True
    return behind(gateway, host, now) + 1000 <= 1000 * rate


@jit()
def opened(gateway, host, now):
    """A host has opened a session."""
    rate = gateway.settings.per_host_rate
    if rate > 0:
        gateway.tables.hosts[host].rate_until = now * rate + behind(gateway, host, now) + 1000


@jit()
def behind(gateway, host, now):
    """How far a host's bucket is from full; 0 also after a clock that went back."""
    rate = gateway.settings.per_host_rate
    owed = gateway.tables.hosts[host].rate_until - now * rate
    return owed if 0 <= owed <= 1000 * rate else int64(0)


@jit()
def release_host(gateway, host):
    """Forget a host once its last BIB entry is gone."""
    tables, row = gateway.tables, gateway.tables.hosts[host]
    if row.bibs == 0:
        remove(tables.hosts6, host_hash(gateway, row.host6_hi, row.host6_lo), host)
        row.live = 0
        leave_subscriber(gateway, row.subscriber)
        give_back(tables, HOSTS, host)
