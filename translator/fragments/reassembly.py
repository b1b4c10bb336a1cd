"""RFC 6146 section 3.4: what is known of datagrams that come in fragments, and the fragments kept meanwhile.

Most datagrams pass fragment by fragment: the first one has the ports, so where it went is remembered for those that
follow, and those that came before it are kept until it comes. A datagram that must be whole before it can be
translated is kept whole.

Datagrams stand in a set-associative memory of fixed size: a new one takes the entry of its set that ends soonest.
Anybody can send a later fragment, so what waits for its first one never takes the place of what has it. Kept fragments
lie in two rings, records and octets, where the newest overwrites the oldest: all are kept for the same time.
"""

from translator.jit.compile import jit
from translator.packet.addresses import address6
from translator.packet.fields import ICMP, copy
from translator.packet.tuples import tuple_of
from translator.tables.gateway import NOTED
from translator.tables.hashing import hash3
from translator.tables.layout import FRAGMENT_WAYS, FRAGMENTS, NONE
from translator.tables.tables import NEXT_FRAGMENT, NEXT_POSITION, OLDEST_FRAGMENT
from translator.tables.wheel import Timeout
from translator.verdict import Verdict

# Stages of a datagram: its first fragment has not come; the outgoing tuple is known; it is being put together; it was,
# until two of its fragments overlapped.
FIRST_AWAITED, KNOWN, GATHERING, OVERLAPPING = range(4)
# LIMITS
LARGEST_DATAGRAM = 65535 - 20  # octets of a datagram's data, in IPv4
SHARE = 4  # the largest fragment that is kept takes no more than one in so many octets of the memory
DATAGRAM_FRAGMENTS = 256  # kept of one datagram
CONGESTION_EXPERIENCED = 3  # RFC 3168 section 5


@jit()
def set_of(settings, t, identification):
    """The first entry of a datagram's set."""
    hashed = hash3(settings.secret, t.src.hi ^ t.dst.hi, t.src.lo ^ t.protocol, t.dst.lo ^ identification << 16)
    return hashed % (FRAGMENTS // FRAGMENT_WAYS) * FRAGMENT_WAYS


@jit()
def is_datagram(row, t, identification):
    """Whether an entry is about this datagram."""
    return (
        row.src_lo == t.src.lo and row.src_hi == t.src.hi and row.dst_lo == t.dst.lo and row.dst_hi == t.dst.hi
    ) and (row.identification == identification and row.protocol == t.protocol and row.family == t.family)


@jit()
def find_datagram(gateway, now, t, identification):
    """The entry of a datagram whose time is not over, or NONE."""
    settings, tables = gateway.settings, gateway.tables
    first = set_of(settings, t, identification)
    for k in range(FRAGMENT_WAYS):
        row = tables.fragments[first + k]
        if is_datagram(row, t, identification):
            return first + k if row.expires > now else NONE
    return NONE


@jit()
def open_datagram(gateway, now, t, identification, stage):
    """A new entry for a datagram, in place of its old one; NONE where a set is full of entries that
    have precedence."""
    settings, tables = gateway.settings, gateway.tables
    first, at, known = set_of(settings, t, identification), NONE, False
    for k in range(FRAGMENT_WAYS):
        row = tables.fragments[first + k]
        if is_datagram(row, t, identification):
            at = first + k
            break
        goes_before = row.stage == KNOWN and row.expires > now
        if goes_before and stage != KNOWN:
            continue
        if at == NONE or (known and not goes_before):
            at, known = first + k, goes_before
        elif known == goes_before and row.expires < tables.fragments[at].expires:
            at = first + k
    if at == NONE:
        return NONE
    row = tables.fragments[at]
    row.src_hi, row.src_lo, row.dst_hi, row.dst_lo = t.src.hi, t.src.lo, t.dst.hi, t.dst.lo
    row.identification, row.protocol, row.family, row.stage = identification, t.protocol, t.family, stage
    row.oldest, row.newest, row.count, row.received = NONE, NONE, 0, 0
    row.reach, row.total, row.overlaps, row.traffic_class = 0, 0, 0, 0
    row.expires = now + settings.timeouts[Timeout.FRAGMENT_MIN]
    return at


@jit()
def remember(gateway, now, t, identification, out):
    """Note the outgoing tuple of a first fragment, for those that follow and those that are kept; returns its entry."""
    settings, tables = gateway.settings, gateway.tables
    at = find_datagram(gateway, now, t, identification)
    if at == NONE or tables.fragments[at].stage >= GATHERING:
        at = open_datagram(gateway, now, t, identification, KNOWN)
    row = tables.fragments[at]
    row.stage, row.out_family = KNOWN, out.family
    row.out_src_hi, row.out_src_lo, row.out_dst_hi, row.out_dst_lo = out.src.hi, out.src.lo, out.dst.hi, out.dst.lo
    row.noted, row.noted_too = gateway.worker.state[NOTED], gateway.worker.state[NOTED + 1]
    row.expires = now + settings.timeouts[Timeout.FRAGMENT_MIN]
    return at


@jit()
def outgoing_of(row, t):
    """The outgoing tuple, without ports, of a datagram whose way is known."""
    src, dst = address6(row.out_src_hi, row.out_src_lo, 0), address6(row.out_dst_hi, row.out_dst_lo, 0)
    return tuple_of(row.out_family, t.protocol, src, dst)


@jit()
def ends_of(row):
    """(source, destination) of a datagram."""
    return address6(row.src_hi, row.src_lo, 0), address6(row.dst_hi, row.dst_lo, 0)


@jit()
def admit_fragment(gateway, now, p, view, t, whole):
    """(verdict, outgoing tuple, entry) of a fragment that cannot go by itself: CONTINUE and where its first one went,
    HELD and the entry it is kept under, or why it is not kept.

    `whole`: it has to be put together with the others.
    """
    tables = gateway.tables
    at = find_datagram(gateway, now, t, view.identification)
    known = at != NONE and tables.fragments[at].stage == KNOWN
    if known and not whole:
        note_again(gateway, tables.fragments[at])
        return Verdict.CONTINUE, outgoing_of(tables.fragments[at], t), at
    if view.end - view.l3 > len(tables.stored_octets) // SHARE:
        return not_kept(view), t, NONE
    # RFC 8200 section 4.5: such a fragment is discarded, here as by the receiver.
    length = view.end - view.l4
    if view.fragment_offset + length > LARGEST_DATAGRAM or (view.more_fragments and length & 7):
        return Verdict.BAD_LENGTH, t, NONE
    if at == NONE or known:
        at = open_datagram(gateway, now, t, view.identification, FIRST_AWAITED)
        if at == NONE:
            return not_kept(view), t, NONE
    if whole and tables.fragments[at].stage == FIRST_AWAITED:
        tables.fragments[at].stage = GATHERING
    return keep_fragment(tables, p, view, at), t, at


@jit()
def note_again(gateway, row):
    """A fragment is of the sessions that the first one of its datagram was of."""
    state = gateway.worker.state
    state[NOTED], state[NOTED + 1] = row.noted, row.noted_too


@jit()
def not_kept(view):
    """Why a fragment that cannot go by itself is dropped when it is not kept either."""
    if view.transport == ICMP:
        return Verdict.FRAGMENTED_ICMP
    return Verdict.FRAGMENT_UNKNOWN if view.fragment_offset > 0 else Verdict.ZERO_UDP_CHECKSUM


@jit()
def keep_fragment(tables, p, view, at):
    """Keep a fragment under the entry of its datagram, unless it is there already; HELD, or why not.

    RFC 5722 section 3, RFC 8200 section 4.5: where fragments overlap, and are no duplicates, a datagram that is put
    together is discarded with all that still comes of it. One that passes in fragments is the receiver's to judge.
    """
    row, offset, end = tables.fragments[at], view.fragment_offset, view.fragment_offset + view.end - view.l4
    number = row.oldest
    while number != NONE:
        one = tables.stored[number % len(tables.stored)]
        if one.offset == offset and one.offset + one.length == end:
            return Verdict.HELD
        if one.offset < end and offset < one.offset + one.length:
            row.overlaps = 1
        number = one.next
    if (row.total > 0 and end > row.total) or (not view.more_fragments and row.reach > end):
        row.overlaps = 1
    if row.stage == GATHERING and row.overlaps:
        row.stage, row.oldest, row.count = OVERLAPPING, NONE, 0
    if row.stage == OVERLAPPING:
        return Verdict.FRAGMENT_OVERLAP
    if row.count >= DATAGRAM_FRAGMENTS:
        return not_kept(view)
    store(tables, p, view, at)
    return Verdict.HELD


@jit()
def store(tables, p, view, at):
    """Write a fragment into the rings, over the oldest ones if need be."""
    size, capacity, number = view.end - view.l3, len(tables.stored_octets), tables.stored_at[NEXT_FRAGMENT]
    position = tables.stored_at[NEXT_POSITION]
    if position % capacity + size > capacity:  # no packet lies in two pieces
        position += capacity - position % capacity
    while tables.stored_at[OLDEST_FRAGMENT] < number:
        oldest = tables.stored[tables.stored_at[OLDEST_FRAGMENT] % len(tables.stored)]
        has_room = position + size <= oldest.position + capacity
        if has_room and number - tables.stored_at[OLDEST_FRAGMENT] < len(tables.stored):
            break
        forget_oldest(tables)
    one, row = tables.stored[number % len(tables.stored)], tables.fragments[at]
    one.position, one.octets, one.header, one.datagram, one.next = position, size, view.l4 - view.l3, at, NONE
    one.offset, one.length = view.fragment_offset, view.end - view.l4
    copy(tables.stored_octets, position % capacity, p, view.l3, size)
    tables.stored_at[NEXT_FRAGMENT], tables.stored_at[NEXT_POSITION] = number + 1, position + size
    if row.oldest == NONE:
        row.oldest = number
    else:
        tables.stored[row.newest % len(tables.stored)].next = number
    row.newest = number
    note_kept(row, view)


@jit()
def note_kept(row, view):
    """What a datagram's entry knows of a fragment that is kept now."""
    end = view.fragment_offset + view.end - view.l4
    row.count += 1
    row.received += view.end - view.l4
    row.reach = max(row.reach, end)
    if not view.more_fragments:
        row.total = end
    congested = row.traffic_class & CONGESTION_EXPERIENCED == CONGESTION_EXPERIENCED
    if view.fragment_offset == 0:
        row.hop_limit, row.traffic_class = view.hop_limit, view.traffic_class
    if congested or view.traffic_class & CONGESTION_EXPERIENCED == CONGESTION_EXPERIENCED:
        row.traffic_class |= CONGESTION_EXPERIENCED  # RFC 3168 section 5.3: the mark of one fragment is that of all


@jit()
def forget_oldest(tables):
    """Give up the oldest kept fragment."""
    number = tables.stored_at[OLDEST_FRAGMENT]
    one = tables.stored[number % len(tables.stored)]
    row = tables.fragments[one.datagram]
    if row.oldest == number:
        row.oldest = one.next
        row.count -= 1
        row.received -= one.length
    tables.stored_at[OLDEST_FRAGMENT] = number + 1


@jit()
def take_fragment(tables, at, p, start):
    """Take the oldest kept fragment of a datagram whose way is known out, to p[start:]; where it ends, 0: there is
    none."""
    row = tables.fragments[at]
    if row.stage != KNOWN or row.oldest == NONE:
        return 0
    one = tables.stored[row.oldest % len(tables.stored)]
    copy(p, start, tables.stored_octets, one.position % len(tables.stored_octets), one.octets)
    row.oldest = one.next
    row.count -= 1
    row.received -= one.length
    return start + one.octets


@jit()
def is_whole(row):
    """Whether every octet of a datagram that is put together has come: what is kept of it does not overlap."""
    return row.stage == GATHERING and row.total > 0 and row.received == row.total


@jit()
def take_whole(tables, at, p, start):
    """Take all fragments of a whole datagram out, their data to p[start:], and forget it."""
    row, octets = tables.fragments[at], tables.stored_octets
    number = row.oldest
    while number != NONE:
        one = tables.stored[number % len(tables.stored)]
        copy(p, start + one.offset, octets, one.position % len(octets) + one.header, one.length)
        number = one.next
    row.oldest, row.count, row.received, row.expires = NONE, 0, 0, 0
