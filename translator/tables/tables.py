"""Everything that is remembered between packets: flat arrays of the records of layout.py, shared by all workers."""

import numpy as np

from translator.jit.reference import by_reference
from translator.tables.bitmaps import count_words
from translator.tables.layout import (
    AFFINITY,
    BIB,
    BLOCK,
    CLIENT,
    FRAGMENT,
    FRAGMENTS,
    FRONT,
    HOST,
    LINKS,
    LOG,
    LOGGED,
    MEMBER,
    NONE,
    PORTS,
    RECENT,
    SESSION,
    STORED,
    STORED_SHARE,
    SUBSCRIBER,
    SYN,
    SYN_OCTETS,
    SYN_PREFIXES,
    SYNS,
    UNANSWERED,
    USE,
    WAITING_PORT,
    WHEEL,
    empty_index,
    records,
)
from translator.verdict import Verdict


@by_reference
class Tables:
    """Everything remembered, shared by all workers; only the holder of `lock` may write."""

    lock: np.ndarray  # int64[8]; word 0 is the spinlock
    sessions: np.ndarray  # SESSION
    links: np.ndarray  # LINKS, one a session
    accounts: np.ndarray  # int64[sessions, 4]: PACKETS and OCTETS from host6, then from host4; one row: they are off
    changed: np.ndarray  # int64[n], changes.py: sessions opened, ended, or in another state since somebody looked
    windows: np.ndarray  # int64[sessions, 4], cold: see session/windows.py
    bibs: np.ndarray  # BIB
    hosts: np.ndarray  # HOST
    subscribers: np.ndarray  # SUBSCRIBER
    uses: np.ndarray  # USE
    unanswered: np.ndarray  # UNANSWERED, one a BIB entry
    sessions6: np.ndarray  # int64[n] index: (protocol, host6, host4) -> session
    sessions4: np.ndarray  # int64[n] index: (protocol, mapped4, host4) -> session
    recent6: np.ndarray  # int64[RECENT], session/recent.py: by (protocol, host6, host4), the session found last
    recent4: np.ndarray  # int64[RECENT]: by (protocol, mapped4, host4)
    bibs6: np.ndarray  # int64[n] index: (protocol, host6) -> BIB entry
    bibs4: np.ndarray  # int64[n] index: (protocol, mapped4) -> BIB entry
    hosts6: np.ndarray  # int64[n] index: host6 address -> host
    subscribers6: np.ndarray  # int64[n] index: prefix -> subscriber
    uses_of: np.ndarray  # int64[n] index: (subscriber, slot) -> use
    inbound: np.ndarray  # int64[2]: sessions that count as opened from outside; of services, those not answered yet
    sessions_in: np.ndarray  # int64[4, 8]: sessions by the number of their protocol (pool4.py) and their State
    free: np.ndarray  # int64[kind, 2]: height of the stack of given-back records, first never-used record
    freed: np.ndarray  # int32[kind, records]: that stack
    wheel: np.ndarray  # int32[WHEEL]: newest session of each second's bucket
    wheel_at: np.ndarray  # int64[1]: the last second whose bucket was emptied
    ports_used: np.ndarray  # int64[slots, 1024], bitmaps.py: ports in use or waiting; slot = 3 * pool row + protocol
    ports_full: np.ndarray  # int64[slots, 16]: which of those words are full
    ports_free: np.ndarray  # int32[slots, 4]: how many ports of each kind (pool4.py) are free
    ports_next: np.ndarray  # int32[slots]: next_ephemeral of RFC 6056 algorithm 3
    rows_lacking: np.ndarray  # int64[4, 7, n], bitmaps.py: by protocol and what it is (pool4.py), who lacks it
    rows_full: np.ndarray  # int64[4, 7, m]: which of those words are full
    blocks: np.ndarray  # BLOCK
    blocks_of: np.ndarray  # int64[n] index: prefix -> the first block of a subscriber
    blocks_held: np.ndarray  # int64[2]: oldest and newest block that nobody uses
    blocks_used: np.ndarray  # int64[rows, n], bitmaps.py: by pool row, the blocks that are not to be handed out
    blocks_full: np.ndarray  # int64[rows, m]: which of those words are full
    blocks_free: np.ndarray  # int32[rows]: how many blocks are to be handed out
    quarantine: np.ndarray  # WAITING_PORT, a ring
    quarantine_at: np.ndarray  # int64[2]: number of the oldest port that waits, and of the next one to come
    quarantine_of: np.ndarray  # int32[slots, 3]: oldest and newest port of a slot that waits, how many do
    unanswered_of: np.ndarray  # int32[slots, 4]: oldest and newest BIB entry of a slot listed so; how many, of how many
    fronts: np.ndarray  # FRONT
    fronts4: np.ndarray  # int64[n] index: (protocol, mapped4) -> front
    members: np.ndarray  # MEMBER
    members6: np.ndarray  # int64[n] index: (protocol, host6) -> BIB entries of members
    endpoints6: np.ndarray  # int64[n] index: host6 address -> host that has members
    members_of: np.ndarray  # int32, one a host: how many it has
    sources: np.ndarray  # int64[n, 2]: ranges of IPv4 addresses
    affinities: np.ndarray  # AFFINITY, in groups (session/affinity.py)
    sources6: np.ndarray  # int64[n, 4]: prefixes of IPv6 addresses, and their masks
    vips6: np.ndarray  # int64[2^k, 2]: IPv6 addresses of services, or 0, each in a row that it says (handles.py)
    clients6: np.ndarray  # CLIENT
    clients6_by: np.ndarray  # int64[n] index: address -> client
    written6: np.ndarray  # int64[n] index: the address that endpoints see -> client
    uses6: np.ndarray  # int32[clients6]: sessions of each
    names: np.ndarray  # uint8[services, NAME]: what each [[service]] is called, for people
    flows: np.ndarray  # int64[services, 2]: flows that got a session, packets that went on without one
    refused: np.ndarray  # int64[services, verdict]: packets that were not let in
    fragments: np.ndarray  # FRAGMENT
    syns: np.ndarray  # SYN[SYNS], a ring
    syn_octets: np.ndarray  # uint8[SYNS, SYN_OCTETS]: how the packet of each begins
    syns4: np.ndarray  # int64[n] index: (mapped4, host4) -> SYN
    syns_of: np.ndarray  # int32[SYN_PREFIXES]: how many wait, by a hash of the source prefix
    syns_at: np.ndarray  # int64[2]: number of the oldest SYN that waits, and of the next one to come
    stored: np.ndarray  # STORED: a ring; fragment number n lies at n modulo its length
    stored_octets: np.ndarray  # uint8: a ring, too
    stored_at: np.ndarray  # int64[3]: number of the oldest kept fragment and of the next one, position behind the last
    log: np.ndarray  # LOGGED, a ring
    log_at: np.ndarray  # int64[3]: numbers of the oldest entry to be read and of the next to come; how many were lost
    events: np.ndarray  # int64[Event]


# Kinds: rows of Tables.free and Tables.freed. MEMBERS are the first BIB entries, BIBS all others.
SESSIONS, BIBS, HOSTS, SUBSCRIBERS, USES, BLOCKS, MEMBERS, CLIENTS6 = range(8)
HEIGHT, NEVER_USED = 0, 1  # columns of Tables.free
PINNED, UNPINNED = 0, 1  # columns of Tables.flows
PACKETS, OCTETS = 0, 1  # columns of Tables.accounts, and two further on
# LIMITS
NAME = 253  # octets
SESSIONS_OF_CLIENT = 8  # so many sessions there may be for each client that stays with its endpoint
ROOM = 2  # there is so many times the room that members take: what comes is there before what goes is not
SESSIONS_OF_BLOCK = 8  # there is a record of a block for so many sessions: many have one subscriber, and live in one
OLDEST_FRAGMENT, NEXT_FRAGMENT, NEXT_POSITION = 0, 1, 2  # words of Tables.stored_at


def _inside(bibs: int) -> dict[str, np.ndarray]:
    """The attributes of Tables about hosts, subscribers and what they have, for so many BIB entries."""
    return {
        "hosts": records(bibs, HOST),
        "hosts6": empty_index(bibs),
        "subscribers": records(bibs, SUBSCRIBER),
        "uses": records(bibs, USE),
        "unanswered": records(bibs, UNANSWERED),
        "subscribers6": empty_index(bibs),
        "uses_of": empty_index(bibs),
        "members_of": np.zeros(bibs, np.int32),
        "inbound": np.zeros(2, np.int64),
    }


def _optional(sessions: int) -> dict[str, np.ndarray]:
    """The attributes of Tables about sessions that only an option touches."""
    return {"windows": np.zeros((sessions, 4), np.int64), **accounts_of(1)}


def _indexes(sessions: int, bibs: int) -> dict[str, np.ndarray]:
    """The attributes of Tables that find sessions and BIB entries: by their ends, and those that have changed."""
    return {
        "sessions6": empty_index(sessions),
        "sessions4": empty_index(sessions),
        "changed": np.zeros(count_words(sessions), np.int64),
        "recent6": np.zeros(RECENT, np.int64),
        "recent4": np.zeros(RECENT, np.int64),
        "bibs6": empty_index(bibs),
        "bibs4": empty_index(bibs),
    }


def _blocks(records_: int, pool_rows: int, size: int) -> dict[str, np.ndarray]:
    """The attributes of Tables about blocks of `size` ports, 0: there are none."""
    words = count_words(PORTS // size if size else 0)
    return {
        "blocks": records(records_, BLOCK),
        "blocks_of": empty_index(records_),
        "blocks_held": np.full(2, NONE, np.int64),
        "blocks_used": np.zeros((max(pool_rows, 1), words), np.int64),
        "blocks_full": np.zeros((max(pool_rows, 1), count_words(words)), np.int64),
        "blocks_free": np.zeros(max(pool_rows, 1), np.int32),
    }


def _services(members: int, clients: int) -> dict[str, np.ndarray]:
    """The attributes of Tables about services, for so many members, as many fronts and ranges of sources, and so many
    clients that stay with their endpoint."""
    return {
        "affinities": records(clients, AFFINITY),
        "fronts": records(members, FRONT),
        "fronts4": empty_index(members),
        "members": records(ROOM * members, MEMBER),
        "members6": empty_index(ROOM * members),
        "endpoints6": empty_index(ROOM * members),
        "sources": np.zeros((ROOM * members, 2), np.int64),
        "sources6": np.zeros((ROOM * members, 4), np.int64),
        "vips6": np.zeros((0, 2), np.int64),
        **clients_of_services(0),
        "names": np.zeros((members, NAME), np.uint8),
        "flows": np.zeros((members, 2), np.int64),
        "refused": np.zeros((members, max(Verdict) + 1), np.int64),
    }


def _free(bibs: int, members: int) -> dict[str, np.ndarray]:
    """The attributes of Tables about records that are free: so many BIB entries, of which the first are for members."""
    free = np.zeros((CLIENTS6 + 1, 2), np.int64)
    free[BIBS, NEVER_USED] = ROOM * members
    return {"free": free, "freed": np.zeros((CLIENTS6 + 1, bibs), np.int32)}


def accounts_of(sessions: int) -> dict[str, np.ndarray]:
    """The attributes of Tables about what so many sessions have carried."""
    return {"accounts": np.zeros((sessions, 4), np.int64)}


def has_accounts(tables: Tables) -> bool:
    """Whether it is counted what sessions carry."""
    return len(tables.accounts) == len(tables.sessions)


def clients_of_services(count: int) -> dict[str, np.ndarray]:
    """The attributes of Tables about IPv6 clients of services, for so many of them."""
    return {
        "clients6": records(count, CLIENT),
        "clients6_by": empty_index(count),
        "written6": empty_index(count),
        "uses6": np.zeros(count, np.int32),
    }


def _fragments(memory: int) -> dict[str, np.ndarray]:
    """The attributes of Tables about fragments, for so many octets of them."""
    return {
        "fragments": records(FRAGMENTS, FRAGMENT),
        "stored": records(max(memory // STORED_SHARE, 1), STORED),
        "stored_octets": np.zeros(memory, np.uint8),
        "stored_at": np.zeros(3, np.int64),
    }


def create(
    sessions: int, pool_rows: int, static_bibs: int, events: int, fragments_memory: int, block: int, members: int = 0
) -> Tables:
    """Empty tables for `sessions` sessions (and as many BIB entries, hosts and subscribers, besides the static ones),
    for `fragments_memory` octets of fragments, for blocks of `block` ports, and for `members` members of services."""
    bibs, slots = ROOM * members + static_bibs + sessions, max(pool_rows, 1) * 3
    return Tables(
        lock=np.zeros(8, np.int64),
        sessions=records(sessions, SESSION),
        links=records(sessions, LINKS),
        **_optional(sessions),
        sessions_in=np.zeros((4, 8), np.int64),
        bibs=records(bibs, BIB),
        **_indexes(sessions, static_bibs + sessions),  # members are in none of these
        **_inside(bibs),
        **_blocks(max(sessions // SESSIONS_OF_BLOCK, 16), pool_rows, block),
        **_free(bibs, members),
        wheel=np.full(WHEEL, NONE, np.int32),
        wheel_at=np.full(1, NONE, np.int64),
        ports_used=np.zeros((slots, count_words(PORTS)), np.int64),
        ports_full=np.zeros((slots, count_words(count_words(PORTS))), np.int64),
        ports_free=np.zeros((slots, 4), np.int32),
        ports_next=np.zeros(slots, np.int32),
        rows_lacking=np.zeros((4, 7, count_words(pool_rows)), np.int64),
        rows_full=np.zeros((4, 7, count_words(count_words(pool_rows))), np.int64),
        quarantine=records(sessions + static_bibs, WAITING_PORT),
        quarantine_at=np.zeros(2, np.int64),
        quarantine_of=np.tile(np.array([NONE, NONE, 0], np.int32), (slots, 1)),
        unanswered_of=np.tile(np.array([NONE, NONE, 0, 0], np.int32), (slots, 1)),
        **_services(members, max(sessions // SESSIONS_OF_CLIENT, 16)),
        **_fragments(fragments_memory),
        syns=records(SYNS, SYN),
        syn_octets=np.zeros((SYNS, SYN_OCTETS), np.uint8),
        syns4=empty_index(SYNS),
        syns_of=np.zeros(SYN_PREFIXES, np.int32),
        syns_at=np.zeros(2, np.int64),
        log=records(LOG, LOGGED),
        log_at=np.zeros(3, np.int64),
        events=np.zeros(events, np.int64),
    )
