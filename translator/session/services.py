"""Services: an IPv4 transport address (a front) that many IPv6 endpoints serve.

A member, an endpoint of a front, is a BIB entry that stands in neither index of the BIB: which one a flow has is chosen
when its first packet comes (rendezvous.py), and the session says so from then on. Where there is no session, after a
failover or in a full table, the choice is the same one; a session only pins it while the members change.

Nothing here is met by a packet whose session is found.
"""

from translator.jit.compile import int64, jit, rare
from translator.jit.lock import acquire, release
from translator.packet.addresses import address4, under
from translator.packet.fields import TCP, UDP
from translator.packet.tuples import tuple_of
from translator.session.affinity import find_held, hold
from translator.session.bib import bib_hash4, host6_of, mapped4_of, member_hash
from translator.session.hosts import host_hash
from translator.session.rendezvous import distance, flow_hash, score
from translator.session.sessions import create_session, find_session6
from translator.session.subscribers import free_sessions
from translator.session.tcp_state import State, TcpEvent
from translator.static.rfc6052 import from_pool6, from_prefix, in_pool6
from translator.tables.handles import hashed_address, is_handle, words_of
from translator.tables.hashing import find_candidate, first_candidate, record_at
from translator.tables.layout import LEAVING, NONE, OF_SERVICE
from translator.tables.ranges import within
from translator.tables.slots import had_members
from translator.tables.tables import PINNED, UNPINNED
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
    at = first_candidate(tables.fronts4, hashed)
    while at != NONE:
        front = record_at(tables.fronts4, at)
        row = tables.fronts[front]
        if row.address4 == mapped4.lo and row.port == mapped4.port and row.protocol == protocol:
            return front
        at = find_candidate(tables.fronts4, hashed, at + 1)
    return int64(NONE)


@jit()
def is_member(row, protocol, host6, prefix):
    """Whether a BIB entry is that of such a member."""
    return (row.host6_lo == host6.lo and row.host6_hi == host6.hi and row.host6_port == host6.port) and (
        row.protocol == protocol and row.prefix == prefix
    )


@rare()
def find_member(gateway, protocol, host6, mapped4, prefix):
    """The member with this mapped4 that an endpoint is, as a BIB entry, or NONE: of the front with that and this client
    prefix, or LEAVING."""
    tables, hashed = gateway.tables, member_hash(gateway, protocol, host6, prefix)
    at = first_candidate(tables.members6, hashed)
    while at != NONE:
        bib = int64(record_at(tables.members6, at))
        row = tables.bibs[bib]
        is_of_front = row.mapped4 == mapped4.lo and row.mapped4_port == mapped4.port
        if is_of_front and is_member(row, protocol, host6, prefix):
            return bib
        at = find_candidate(tables.members6, hashed, at + 1)
    return int64(NONE)


@rare()
def find_serving(gateway, protocol, host6, prefix):
    """(a member that an endpoint is, as a BIB entry, or NONE; whether it is one of several) of the fronts with this
    client prefix."""
    tables, hashed, found = gateway.tables, member_hash(gateway, protocol, host6, prefix), int64(NONE)
    at = first_candidate(tables.members6, hashed)
    while at != NONE:
        bib = int64(record_at(tables.members6, at))
        if tables.bibs[bib].live != LEAVING and is_member(tables.bibs[bib], protocol, host6, prefix):
            if found != NONE:
                return found, True
            found = bib
        at = find_candidate(tables.members6, hashed, at + 1)
    return found, False


@jit()
def is_endpoint(gateway, host6):
    """Whether an IPv6 address is that of an endpoint, whatever the port."""
    tables, hashed, found = gateway.tables, host_hash(gateway, host6.hi, host6.lo), False
    acquire(tables.lock)
    at = first_candidate(tables.endpoints6, hashed)
    while at != NONE and not found:
        row = tables.hosts[record_at(tables.endpoints6, at)]
        found = row.host6_hi == host6.hi and row.host6_lo == host6.lo
        at = find_candidate(tables.endpoints6, hashed, at + 1)
    release(tables.lock)
    return found


@jit()
def serves_source(tables, front, host4):
    """Whether a front serves an IPv4 address, or the IPv6 address of a handle."""
    row = tables.fronts[front]
    if row.restricted == 0:
        return True
    if not is_handle(host4.lo):
        return within(tables.sources[row.first_source : row.first_source + row.sources], host4.lo)
    hi, lo = words_of(tables, host4.lo)
    for at in range(row.first_source6, row.first_source6 + row.sources6):
        prefix = tables.sources6[at]
        if hi & prefix[2] == prefix[0] and lo & prefix[3] == prefix[1]:
            return True
    return False


# ---- from IPv4


@rare()
def enter_service(gateway, now, t, front, part):
    """(verdict, member) for a packet from IPv4 that no session knows; `part`: OPENS, GOES_ON or TELLS."""
    tables = gateway.tables
    if not serves_source(tables, front, t.src):
        return Verdict.SOURCE_RANGE, int64(NONE)
    stays = tables.fronts[front].affinity != 0
    bib = find_held(gateway, now, front, as_hashed(gateway, t.src), part == OPENS) if stays else int64(NONE)
    if bib == NONE:
        bib = choose(gateway, now, t, front, part, False)
    if bib == NONE:
        return Verdict.NO_ENDPOINT, bib
    if part == TELLS:
        return Verdict.CONTINUE, bib
    home = bib
    if has_flow(gateway, now, t, bib):
        bib = choose(gateway, now, t, front, part, True)
        if bib == NONE:
            return Verdict.SERVICE_CLASH, bib
    flows = tables.flows[tables.fronts[front].service]
    if is_crowded(tables):
        if is_handle(t.src.lo):  # answers are of a flow by its session alone
            return Verdict.SESSION_TABLE_FULL, int64(NONE)
        tables.events[Event.SERVICE_UNPINNED] += 1
        flows[UNPINNED] += 1
    else:
        state = State.V4_INIT if part == OPENS else State.TRANS
        create_session(gateway, now, bib, t.src, state, OF_SERVICE)
        flows[PINNED] += 1
        if stays:
            hold(gateway, now, front, as_hashed(gateway, t.src), home)
    return Verdict.CONTINUE, bib


@jit()
def part_of(t, event, is_error, answers):
    """What a packet from IPv4 is to a service. `answers`: its segment has ACK, so a SYN is none that opens."""
    if is_error or (t.protocol == TCP and (event == TcpEvent.V4_RST or (event == TcpEvent.V4_SYN and answers))):
        return TELLS
    return OPENS if t.protocol != TCP or event == TcpEvent.V4_SYN else GOES_ON


@jit()
def as_hashed(gateway, client):
    """A client as it stands in the hash of its flows: an IPv6 one by 31 bits of its address, above all of IPv4."""
    if is_handle(client.lo):
        hi, lo = words_of(gateway.tables, client.lo)
        return address4(1 << 32 | hashed_address(gateway, hi, lo), client.port)
    return client


@rare()
def choose(gateway, now, t, front, part, apart):
    """The member of a front that a flow goes to, a BIB entry, or NONE: new ones to members that have a weight, if there
    are any, and none to one below 0. `apart`: none that has a flow with the same transport address of the client
    through another front."""
    settings, row = gateway.settings, gateway.tables.fronts[front]
    flow = flow_hash(settings.seed, row, as_hashed(gateway, t.src))
    best = best_of(gateway, now, t, front, flow, 1, apart) if part == OPENS else int64(NONE)
    return best if best != NONE else best_of(gateway, now, t, front, flow, 0, apart)


@jit()
def best_of(gateway, now, t, front, flow, least, apart):
    """As choose, of the members that have such a weight at least: the one with the highest score, or where weights
    differ, the shortest distance for its weight."""
    row = gateway.tables.fronts[front]
    members = gateway.tables.members[row.first : row.first + row.count]
    if row.weighted == 0 and not apart:
        return highest(members, flow, least)
    weighted, best, best_score = row.weighted != 0, int64(NONE), int64(-1)
    best_distance, best_weight = int64(0), int64(1)
    for at in range(len(members)):
        mine, away, weight = score(flow, members[at].key), int64(0), int64(1)
        if weighted:
            away, weight = distance(mine), max(int64(members[at].weight), int64(1))
        better = mine > best_score
        if weighted and best != NONE:
            better = away * best_weight < best_distance * weight
        if better and members[at].weight >= least and not (apart and has_flow(gateway, now, t, int64(members[at].bib))):
            best, best_score, best_distance, best_weight = int64(members[at].bib), mine, away, weight
    return best


@jit()
def highest(members, flow, least):
    """The one with the highest score of those that have such a weight at least, or NONE; of equals the first. Without a
    branch, so that the processor does several at a time: members are most of what a new flow costs."""
    count, best = len(members), int64(NONE)
    for at in range(count):
        mine = score(flow, members[at].key) << 32 | (count - at)
        best = max(best, mine if members[at].weight >= least else int64(NONE))
    return int64(members[count - (best & 0xFFFFFFFF)].bib) if best != NONE else best


@jit()
def has_flow(gateway, now, t, bib):
    """Whether the endpoint of a member has a session with this client already: it could not tell two apart."""
    row = gateway.tables.bibs[bib]
    client = under(t.src, row.prefix)
    return find_session6(gateway, now, tuple_of(6, t.protocol, host6_of(row), client), client) != NONE


@jit()
def is_crowded(tables):
    """Whether flows of services get no sessions now: an eighth of the table is left to others, and floods of first
    packets have a quarter of it."""
    size = len(tables.sessions)
    return free_sessions(tables) <= size // RESERVED or tables.inbound[1] >= size // UNANSWERED_PART


# ---- from IPv6


@jit()
def is_bare_syn(t, event, is_error, answers):
    """Whether a packet from IPv6 opens a connection, and so is no answer."""
    return t.protocol == TCP and event == TcpEvent.V6_SYN and not answers and not is_error


@rare()
def find_answering(gateway, t, event, is_error, answers):
    """The member that a packet to pool6 without a session is an answer of, as only another gateway may have its
    session; NONE: it is none, or of one front among several.

    A bare SYN opens a connection of the endpoint's own. So may a datagram, unless services get no sessions here.
    """
    tables = gateway.tables
    if not had_members(tables) or is_bare_syn(t, event, is_error, answers):
        return int64(NONE)
    if t.protocol != TCP and not is_error and not is_crowded(tables):
        return int64(NONE)
    bib, several = find_serving(gateway, t.protocol, t.src, 0)
    return int64(NONE) if several else bib


@rare()
def judge_answer(gateway, t, event, is_error, answers, prefix):
    """(CONTINUE or why not, the member) of a packet to a client prefix that is not pool6, without a session: an answer,
    as nothing else goes there. An endpoint of several fronts does not say by which one: it is counted at one of them.
    """
    if is_bare_syn(t, event, is_error, answers):
        return Verdict.NO_SERVICE_FLOW, int64(NONE)
    bib, several = find_serving(gateway, t.protocol, t.src, prefix)
    if several:
        count_ambiguous(gateway, t, bib)
        return Verdict.SERVICE_AMBIGUOUS, bib
    return Verdict.CONTINUE if bib != NONE else Verdict.NO_SESSION, bib


@rare()
def accepts_for_one_of_several(gateway, t):
    """Whether a SYN that acknowledges another one, to pool6 and without a session, is of an endpoint of several fronts:
    an answer, as nobody opens a connection so; from whom is not known."""
    if not had_members(gateway.tables):
        return False
    bib, several = find_serving(gateway, t.protocol, t.src, 0)
    if several:
        count_ambiguous(gateway, t, bib)
    return several


@rare()
def count_ambiguous(gateway, t, bib):
    """Count an answer of an endpoint of several fronts at the one that has this member."""
    tables = gateway.tables
    front = find_front(gateway, t.protocol, mapped4_of(tables.bibs[bib]))
    if front != NONE:  # else it is about to be there
        tables.refused[tables.fronts[front].service, int64(Verdict.SERVICE_AMBIGUOUS)] += 1


@jit()
def may_answer_for_service(gateway, packet, t):
    """Whether the source of a packet, which has an [[eam]], is an endpoint of a service, too: what it answers comes
    from the address of the service."""
    if not had_members(gateway.tables) or t.family == 4 or (t.protocol != TCP and t.protocol != UDP):
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
        found = tables.sessions[session].inbound >= OF_SERVICE
    else:
        found = find_answering(gateway, t, event, is_error, answers) != NONE
    release(tables.lock)
    return found


@rare()
def is_of_service(gateway, incoming, outgoing):
    """Whether a packet goes to a front or comes from one."""
    to = from_prefix(gateway, incoming.dst) if incoming.family == 6 else incoming.dst
    by = from_prefix(gateway, outgoing.src) if outgoing.family == 6 else outgoing.src
    protocol = incoming.protocol
    return find_front(gateway, protocol, to) != NONE or find_front(gateway, protocol, by) != NONE


@rare()
def mss_of(gateway, incoming, outgoing):
    """What the MSS of a SYN may be at most: that of a service may have another limit."""
    settings = gateway.settings
    mss = settings.mss
    if had_members(gateway.tables) and settings.service_mss != mss and is_of_service(gateway, incoming, outgoing):
        mss = settings.service_mss
    return mss if mss > 0 else ANY_MSS
