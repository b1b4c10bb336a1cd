"""Services: an IPv4 transport address (a front) that many IPv6 endpoints serve.

A member, an endpoint of a front, is a BIB entry that stands in neither index of the BIB: which one a flow has is chosen
when its first packet comes (rendezvous.py), and the session says so from then on. Where there is no session, after a
failover or in a full table, the choice is the same one; a session only pins it while the members change.

Nothing here is met by a packet whose session is found.
"""

from translator.jit.compile import int64, jit, rare
from translator.jit.lock import acquire, release
from translator.packet.addresses import address4, address6
from translator.packet.fields import TCP, UDP
from translator.packet.tuples import tuple_of
from translator.session.bib import bib_hash4, bib_hash6, create_bib, host6_of
from translator.session.hosts import host_hash
from translator.session.rendezvous import distance, flow_hash, member_key, score
from translator.session.sessions import create_session, find_session6
from translator.session.subscribers import free_sessions
from translator.session.tcp_state import State, TcpEvent
from translator.static.rfc6052 import from_pool6, in_pool6, to_pool6
from translator.tables.hashing import find_candidate, insert, record_at
from translator.tables.layout import NONE, OF_SERVICE
from translator.tables.ranges import within
from translator.verdict import Event, Verdict

# What a packet is to a service: it opens a flow, it goes on with one, or it says something about one.
OPENS, GOES_ON, TELLS = 0, 1, 2
ANY_MSS = 65535
# LIMITS
RESERVED = 8  # one of so many sessions is left to hosts that open their own
UNANSWERED_PART = 4  # one of so many sessions may be of a service and not answered yet


@rare()
def find_front(gateway, protocol, mapped4):
    """The front with a transport address, or NONE."""
    tables, hashed = gateway.tables, bib_hash4(gateway, protocol, mapped4)
    at = find_candidate(tables.fronts4, hashed, hashed)
    while at != NONE:
        front = record_at(tables.fronts4, at)
        row = tables.fronts[front]
        if row.address4 == mapped4.lo and row.port == mapped4.port and row.protocol == protocol:
            return front
        at = find_candidate(tables.fronts4, hashed, at + 1)
    return int64(NONE)


@rare()
def find_members(gateway, protocol, host6, mapped4):
    """(the member of the front with this mapped4 or NONE, any member or NONE, how many there are) of an endpoint, as
    BIB entries."""
    tables, hashed = gateway.tables, bib_hash6(gateway, protocol, host6)
    found, other, count = int64(NONE), int64(NONE), 0
    at = find_candidate(tables.members6, hashed, hashed)
    while at != NONE:
        bib = int64(tables.members[record_at(tables.members6, at)].bib)
        row = tables.bibs[bib]
        is_host6 = row.host6_lo == host6.lo and row.host6_hi == host6.hi and row.host6_port == host6.port
        if is_host6 and row.protocol == protocol:
            other, count = bib, count + 1
            if row.mapped4 == mapped4.lo and row.mapped4_port == mapped4.port:
                found = bib
        at = find_candidate(tables.members6, hashed, at + 1)
    return found, other, count


@jit()
def is_endpoint(gateway, host6):
    """Whether an IPv6 address is that of an endpoint, whatever the port."""
    tables, hashed = gateway.tables, host_hash(gateway, host6.hi, host6.lo)
    at = find_candidate(tables.endpoints6, hashed, hashed)
    while at != NONE:
        row = tables.bibs[tables.members[record_at(tables.endpoints6, at)].bib]
        if row.host6_hi == host6.hi and row.host6_lo == host6.lo:
            return True
        at = find_candidate(tables.endpoints6, hashed, at + 1)
    return False


@jit()
def serves_source(tables, front, host4):
    """Whether a front serves an IPv4 address."""
    row = tables.fronts[front]
    ranges = tables.sources[row.first_source : row.first_source + row.sources]
    return row.sources == 0 or within(ranges, host4.lo)


# ---- from IPv4


@rare()
def enter_service(gateway, now, t, front, part):
    """(verdict, member) for a packet from IPv4 that no session knows; `part`: OPENS, GOES_ON or TELLS."""
    tables = gateway.tables
    if not serves_source(tables, front, t.src):
        return Verdict.SOURCE_RANGE, int64(NONE)
    bib = choose(gateway, now, t, front, part, False)
    if bib == NONE:
        return Verdict.NO_ENDPOINT, bib
    if part == TELLS:
        return Verdict.CONTINUE, bib
    if has_flow(gateway, now, t, bib):
        bib = choose(gateway, now, t, front, part, True)
        if bib == NONE:
            return Verdict.SERVICE_CLASH, bib
    if is_crowded(tables):
        tables.events[Event.SERVICE_UNPINNED] += 1
    else:
        state = State.V4_INIT if part == OPENS else State.TRANS
        create_session(gateway, now, bib, t.src, state, OF_SERVICE)
    return Verdict.CONTINUE, bib


@jit()
def part_of(t, event, is_error, answers):
    """What a packet from IPv4 is to a service. `answers`: its segment has ACK, so a SYN is none that opens."""
    if is_error or (t.protocol == TCP and (event == TcpEvent.V4_RST or (event == TcpEvent.V4_SYN and answers))):
        return TELLS
    return OPENS if t.protocol != TCP or event == TcpEvent.V4_SYN else GOES_ON


@rare()
def choose(gateway, now, t, front, part, apart):
    """The member of a front that a flow goes to, a BIB entry, or NONE: new ones to members that have a weight, if there
    are any, and none to one below 0. `apart`: none that has a flow with the same transport address of the client
    through another front."""
    settings, tables, row = gateway.settings, gateway.tables, gateway.tables.fronts[front]
    flow = flow_hash(settings.seed, row, t.src)
    for draining in range(2):
        best, best_score, best_distance, best_weight = int64(NONE), int64(-1), int64(0), int64(1)
        for at in range(row.first, row.first + row.count):
            member = tables.members[at]
            if member.weight < 0 or (part == OPENS and (member.weight == 0) != (draining == 1)):
                continue
            mine, weight, better = score(flow, member.key), max(int64(member.weight), int64(1)), False
            away = distance(mine) if row.weighted != 0 else int64(0)
            if row.weighted != 0 and best != NONE:
                better = away * best_weight < best_distance * weight
            else:
                better = mine > best_score
            if better and not (apart and has_flow(gateway, now, t, int64(member.bib))):
                best, best_score, best_distance, best_weight = int64(member.bib), mine, away, weight
        if best != NONE or part != OPENS:
            return best
    return int64(NONE)


@jit()
def has_flow(gateway, now, t, bib):
    """Whether the endpoint of a member has a session with this client already: it could not tell two apart."""
    host6 = host6_of(gateway.tables.bibs[bib])
    back = tuple_of(6, t.protocol, host6, to_pool6(gateway, t.src))
    return find_session6(gateway, now, back, t.src) != NONE


@jit()
def is_crowded(tables):
    """Whether flows of services get no sessions now: an eighth of the table is left to others, and floods of first
    packets have a quarter of it."""
    size = len(tables.sessions)
    return free_sessions(tables) <= size // RESERVED or tables.inbound[1] >= size // UNANSWERED_PART


# ---- from IPv6


@rare()
def find_answering(gateway, t, event, is_error, answers):
    """The member that a packet from IPv6 without a session is an answer of, as only another gateway may have its
    session; NONE: it is none, or of one front among several.

    A bare SYN opens a connection of the endpoint's own. So may a datagram, unless services get no sessions here.
    """
    tables = gateway.tables
    if len(tables.fronts) == 0 or (t.protocol == TCP and event == TcpEvent.V6_SYN and not answers and not is_error):
        return int64(NONE)
    if t.protocol != TCP and not is_error and not is_crowded(tables):
        return int64(NONE)
    _, bib, count = find_members(gateway, t.protocol, t.src, address4(0, 0))
    return bib if count == 1 else int64(NONE)


@jit()
def may_answer_for_service(gateway, packet, t):
    """Whether the source of a packet, which has an [[eam]], is an endpoint of a service, too: what it answers comes
    from the address of the service."""
    if len(gateway.tables.fronts) == 0 or t.family == 4 or (t.protocol != TCP and t.protocol != UDP):
        return False
    return not (packet.part and packet.quotes) and is_endpoint(gateway, t.src)


@rare()
def answers_of_service(gateway, now, t, event, is_error, answers):
    """Whether a packet of a host6, which may have an [[eam]], is of a flow of a service."""
    tables = gateway.tables
    if not in_pool6(gateway, t.dst):
        return False
    acquire(tables.lock)
    session = find_session6(gateway, now, t, from_pool6(gateway, t.dst))
    if session != NONE:
        found = tables.sessions[session].inbound == OF_SERVICE
    else:
        found = find_answering(gateway, t, event, is_error, answers) != NONE
    release(tables.lock)
    return found


@rare()
def is_of_service(gateway, incoming, outgoing):
    """Whether a packet goes to a front or comes from one."""
    to = from_pool6(gateway, incoming.dst) if incoming.family == 6 else incoming.dst
    by = from_pool6(gateway, outgoing.src) if outgoing.family == 6 else outgoing.src
    protocol = incoming.protocol
    return find_front(gateway, protocol, to) != NONE or find_front(gateway, protocol, by) != NONE


@rare()
def mss_of(gateway, incoming, outgoing):
    """What the MSS of a SYN may be at most: that of a service may have another limit."""
    settings = gateway.settings
    mss = settings.mss
    if len(gateway.tables.fronts) > 0 and settings.service_mss != mss and is_of_service(gateway, incoming, outgoing):
        mss = settings.service_mss
    return mss if mss > 0 else ANY_MSS


# ---- made


@jit()
def enter_services(gateway, endpoints):
    """Put fronts into the index, and make the members of them: int64[n, 3] `endpoints`, in the order of the members,
    have their addresses and ports. To be called once, when there are as many BIB entries as static ones."""
    tables = gateway.tables
    for front in range(len(tables.fronts)):
        row = tables.fronts[front]
        mapped4 = address4(row.address4, row.port)
        insert(tables.fronts4, bib_hash4(gateway, row.protocol, mapped4), front)
        for at in range(row.first, row.first + row.count):
            host6 = address6(endpoints[at, 0], endpoints[at, 1], endpoints[at, 2])
            member = tables.members[at]
            member.bib, member.front = create_bib(gateway, row.protocol, host6, mapped4, NONE, OF_SERVICE), front
            member.key = member_key(gateway.settings.seed, host6)
            insert(tables.members6, bib_hash6(gateway, row.protocol, host6), at)
            if not is_endpoint(gateway, host6):
                insert(tables.endpoints6, host_hash(gateway, host6.hi, host6.lo), at)
