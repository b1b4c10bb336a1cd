"""RFC 6146 section 3.4: where the datagram of a first fragment went, so that the fragments that follow can go there
too.

A set-associative memory of fixed size: a new datagram takes the entry of its set that ends soonest. Fragments that
arrive before their first one are dropped.
"""

from translator.compile import jit
from translator.hashing import hash3
from translator.packet.tuples import tuple_of
from translator.session.lifetimes import Timeout
from translator.tables import FRAGMENT_WAYS, FRAGMENTS, NONE


@jit()
def set_of(settings, t, identification):
    """The first entry of a datagram's set."""
    hashed = hash3(settings.secret, t.src_hi ^ t.dst_hi, t.src_lo ^ t.protocol, t.dst_lo ^ identification << 16)
    return hashed % (FRAGMENTS // FRAGMENT_WAYS) * FRAGMENT_WAYS


@jit()
def is_datagram(row, t, identification):
    """Whether an entry is about this datagram."""
    return (
        row.src_lo == t.src_lo and row.src_hi == t.src_hi and row.dst_lo == t.dst_lo and row.dst_hi == t.dst_hi
    ) and (row.identification == identification and row.protocol == t.protocol and row.family == t.family)


@jit()
def remember(settings, tables, now, t, identification, out):
    """Note the outgoing tuple of a first fragment."""
    first, at = set_of(settings, t, identification), NONE
    for k in range(FRAGMENT_WAYS):
        row = tables.fragments[first + k]
        if is_datagram(row, t, identification):
            at = first + k
            break
        if at == NONE or row.expires < tables.fragments[at].expires:
            at = first + k
    row = tables.fragments[at]
    row.src_hi, row.src_lo, row.dst_hi, row.dst_lo = t.src_hi, t.src_lo, t.dst_hi, t.dst_lo
    row.identification, row.protocol, row.family, row.out_family = identification, t.protocol, t.family, out.family
    row.out_src_hi, row.out_src_lo, row.out_dst_hi, row.out_dst_lo = out.src_hi, out.src_lo, out.dst_hi, out.dst_lo
    row.expires = now + settings.timeouts[Timeout.FRAGMENT_MIN]


@jit()
def recall(settings, tables, now, t, identification):
    """(whether its first fragment was seen, the outgoing tuple without ports) of a later fragment."""
    first = set_of(settings, t, identification)
    for k in range(FRAGMENT_WAYS):
        row = tables.fragments[first + k]
        if is_datagram(row, t, identification) and row.expires > now:
            return True, tuple_of(
                row.out_family, t.protocol, row.out_src_hi, row.out_src_lo, 0, row.out_dst_hi, row.out_dst_lo, 0
            )
    return False, t
