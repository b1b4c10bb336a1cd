"""What is remembered between packets, and what the operator wished.

    host6 (X',x)  ----------  [ nat64d ]  mapped4 (T,t)  ----------  host4 (Z,z)
    BIB entry:  host6 <-> mapped4         session: + host4;   (Y',y) = pool6 prefix + host4, never stored

`Tables` are flat NumPy arrays of fixed-size records, so that they can live in one shared mapping. `Settings` are
immutable; a reload makes new ones. Addresses are int64: IPv4 in one word, IPv6 in two (`_hi`, `_lo`); times are
milliseconds of the caller's clock; links between records are indexes, `NONE` ends a list.
"""

import numpy as np

from translator.reference import by_reference

NONE = -1

# SPEC
PORTS = 65536
# LIMITS
WHEEL = 16384  # seconds one turn of the timer wheel takes; power of two
FRAGMENTS, FRAGMENT_WAYS = 8192, 4  # datagrams of which fragments are known, and how many of them share a set
STORED_SHARE = 256  # octets of fragments_memory for each fragment that can be kept
SYNS, SYN_OCTETS = 256, 128  # TCP SYNs that wait for the one of the other side, and what is kept of each

# Hot: what an established packet reads and writes, one cache line.
SESSION = np.dtype(
    [
        ("host6_hi", "i8"),
        ("host6_lo", "i8"),
        ("mapped4", "i8"),
        ("host4", "i8"),
        ("expires", "i8"),
        ("host6_port", "i4"),
        ("mapped4_port", "i4"),
        ("host4_port", "i4"),
        ("bib", "i4"),
        ("protocol", "i2"),
        ("state", "i2"),
        ("live", "i4"),
    ],
    align=True,
)
# Cold: the lists a session is in. `older`/`newer` link its timer bucket, `previous`/`next` the sessions of its BIB
# entry.
LINKS = np.dtype([("older", "i4"), ("newer", "i4"), ("previous", "i4"), ("next", "i4"), ("bucket", "i4")], align=True)
BIB = np.dtype(
    [
        ("host6_hi", "i8"),
        ("host6_lo", "i8"),
        ("mapped4", "i8"),
        ("host6_port", "i4"),
        ("mapped4_port", "i4"),
        ("host", "i4"),
        ("slot", "i4"),  # row of Tables.ports_used, NONE: outside pool4, or no ports
        ("sessions", "i4"),
        ("first_session", "i4"),
        ("protocol", "i2"),
        ("static", "i2"),
        ("live", "i4"),
    ],
    align=True,
)
HOST = np.dtype(
    [
        ("host6_hi", "i8"),
        ("host6_lo", "i8"),
        ("mapped4", "i8"),  # paired pooling (RFC 4787 REQ-2); 0 until the first dynamic mapping
        ("bibs", "i4"),
        ("sessions", "i4"),
        ("live", "i4"),
    ],
    align=True,
)
# One row per [[eam]], as it was written.
EAM = np.dtype(
    [("ipv4", "i8"), ("ipv6_hi", "i8"), ("ipv6_lo", "i8"), ("length4", "i4"), ("length6", "i4")],
    align=True,
)
# One row of Settings.pool per address of each [[pool4]]; rows of one source prefix (a group) are neighbours.
POOL = np.dtype(
    [
        ("address", "i8"),
        ("port_first", "i4"),
        ("port_last", "i4"),
        ("tcp", "i2"),
        ("udp", "i2"),
        ("icmp", "i2"),
        ("other", "i2"),
    ],
    align=True,
)
GROUP = np.dtype([("hi", "i8"), ("lo", "i8"), ("length", "i4"), ("first", "i4"), ("count", "i4")], align=True)
# A TCP SYN from IPv4 that waits for the one of a host6 (RFC 6146 section 3.5.2.2).
SYN = np.dtype(
    [
        ("mapped4", "i8"),
        ("host4", "i8"),
        ("expires", "i8"),
        ("mapped4_port", "i4"),
        ("host4_port", "i4"),
        ("length", "i4"),  # octets kept of the packet
        ("live", "i4"),
    ],
    align=True,
)
# A port that nobody gets for a while (RFC 6888 REQ-8).
WAITING_PORT = np.dtype(
    [("until", "i8"), ("slot", "i4"), ("port", "i4"), ("newer", "i4"), ("live", "i4")],  # newer: of the same slot
    align=True,
)
# A datagram that comes in fragments (RFC 6146 section 3.4): where its first one went, for those that follow, or which
# ones are kept. `stage` is one of session/reassembly.py.
FRAGMENT = np.dtype(
    [
        ("src_hi", "i8"),
        ("src_lo", "i8"),
        ("dst_hi", "i8"),
        ("dst_lo", "i8"),
        ("identification", "i8"),
        ("expires", "i8"),
        ("out_src_hi", "i8"),
        ("out_src_lo", "i8"),
        ("out_dst_hi", "i8"),
        ("out_dst_lo", "i8"),
        ("oldest", "i8"),  # numbers of its first and last kept fragment, NONE: none is kept
        ("newest", "i8"),
        ("protocol", "i4"),
        ("count", "i4"),  # fragments kept
        ("received", "i4"),  # octets of them, without headers
        ("reach", "i4"),  # where the farthest of them ends
        ("total", "i4"),  # octets of the datagram, 0: its last fragment was not seen
        ("family", "i2"),
        ("out_family", "i2"),
        ("stage", "i2"),
        ("overlaps", "i2"),
        ("hop_limit", "i2"),  # of the first fragment
        ("traffic_class", "i2"),
    ],
    align=True,
)
# A kept fragment: a packet of so many `octets` in Tables.stored_octets, from `position` on.
STORED = np.dtype(
    [
        ("position", "i8"),  # counts on without end; modulo the length of stored_octets
        ("next", "i8"),  # number of the next one of its datagram, NONE: the last
        ("datagram", "i4"),  # row of Tables.fragments
        ("octets", "i4"),
        ("header", "i4"),  # octets in front of its data
        ("offset", "i4"),  # of its data in the datagram
        ("length", "i4"),
    ],
    align=True,
)


@by_reference
class Settings:
    """What the operator wished, as numbers. Made by the daemon from its config; never changed."""

    pool6_hi: int
    pool6_lo: int
    pool6_row: int  # row of rfc6052.OCTETS, NONE: there is no pool6
    strict_well_known_prefix: int
    stateful: int  # hosts without a static mapping get sessions; otherwise they need an IPv4-translatable address
    eam: np.ndarray  # EAM
    eam_index4: np.ndarray  # int64[2^k] index: (ipv4 prefix, length) -> row of eam
    eam_index6: np.ndarray  # int64[2^k] index: (ipv6 prefix, length) -> row of eam
    eam_lengths4: np.ndarray  # int64: prefix lengths in use, descending
    eam_lengths6: np.ndarray  # int64
    eam_hairpin: int  # mapping.OFF, SIMPLE, INTRINSIC
    groups: np.ndarray  # GROUP, longest source prefix first
    pool: np.ndarray  # POOL
    ranges4: np.ndarray  # int64[n, 2], sorted: IPv4 addresses that are ours (pool4 and forwards), first and last
    denylist4: np.ndarray  # int64[n, 2]
    rfc6791: np.ndarray  # int64[n]: sources for ICMP errors of untranslatable IPv6 routers
    rfc6791_hi: int  # the source for those of untranslatable IPv4 routers,
    rfc6791_lo: int
    rfc6791_bits: int  # and which bits of a router's address go into it
    own4: int  # the source of our ICMP errors
    own6_hi: int
    own6_lo: int
    other_protocols: int  # some row of pool is for them
    timeouts: np.ndarray  # int64[Timeout], milliseconds
    address_dependent: int
    drop_inbound_tcp: int
    drop_icmp_info: int
    check_rst: int
    rst_during_fin: int
    mtu4: int  # 0: the kernel's route answers for its own links
    mtu6: int
    lowest_ipv6_mtu: int
    zero_udp_checksum: int  # transport.CALCULATE, DROP or FORWARD
    zero_udp_checksum_ports: np.ndarray  # int64[n, 3]: first and last destination port, and what holds for them
    traffic_class: int  # NONE: copy
    plateaus: np.ndarray  # int64, descending
    per_host_sessions: int  # 0: no limit
    per_host_ports: int
    port_quarantine: int  # milliseconds
    errors_per_second: int
    queues: int
    secret: np.ndarray  # int64[2]: key of every hash
    identifications: np.ndarray  # int32[65536]: a secret permutation


@by_reference
class Tables:
    """Everything remembered, shared by all workers; whoever holds `lock` may write."""

    lock: np.ndarray  # int64[8]; word 0 is the spinlock
    sessions: np.ndarray  # SESSION
    links: np.ndarray  # LINKS, one a session
    windows: np.ndarray  # int64[sessions, 4], cold: see session/windows.py
    bibs: np.ndarray  # BIB
    hosts: np.ndarray  # HOST
    sessions6: np.ndarray  # int64[2^k] index: (protocol, host6, host4) -> session
    sessions4: np.ndarray  # int64[2^k] index: (protocol, mapped4, host4) -> session
    bibs6: np.ndarray  # int64[2^k] index: (protocol, host6) -> BIB entry
    bibs4: np.ndarray  # int64[2^k] index: (protocol, mapped4) -> BIB entry
    hosts6: np.ndarray  # int64[2^k] index: host6 address -> host
    free: np.ndarray  # int64[kind, 2]: height of the stack of given-back records, first never-used record
    freed: np.ndarray  # int32[kind, records]: that stack
    wheel: np.ndarray  # int32[WHEEL]: newest session of each second's bucket
    wheel_at: np.ndarray  # int64[1]: the last second whose bucket was emptied
    ports_used: np.ndarray  # uint8[slots, 8192]: one bit a port, in use or waiting; slot = 3 * pool row + protocol
    ports_count: np.ndarray  # int32[slots]: bits set
    ports_next: np.ndarray  # int32[slots]: next_ephemeral of RFC 6056 algorithm 3
    quarantine: np.ndarray  # WAITING_PORT, a ring
    quarantine_at: np.ndarray  # int64[2]: number of the oldest port that waits, and of the next one to come
    quarantine_of: np.ndarray  # int32[slots, 3]: oldest and newest port of a slot that waits, how many do
    fragments: np.ndarray  # FRAGMENT
    syns: np.ndarray  # SYN[SYNS], a ring
    syn_octets: np.ndarray  # uint8[SYNS, SYN_OCTETS]: how the packet of each begins
    syns_at: np.ndarray  # int64[2]: number of the oldest SYN that waits, and of the next one to come
    stored: np.ndarray  # STORED: a ring; fragment number n lies at n modulo its length
    stored_octets: np.ndarray  # uint8: a ring, too
    stored_at: np.ndarray  # int64[3]: number of the oldest kept fragment and of the next one, position behind the last
    events: np.ndarray  # int64[Event]


SESSIONS, BIBS, HOSTS = 0, 1, 2  # kinds: rows of Tables.free and Tables.freed
HEIGHT, NEVER_USED = 0, 1  # columns of Tables.free
OLDEST, NEXT, HEAD = 0, 1, 2  # words of Tables.stored_at


def records(count: int, dtype: np.dtype) -> np.ndarray:
    """Zeroed records with attribute access, compiled or not; pages are touched only when used."""
    return np.zeros(count, dtype).view(np.recarray)


def empty_index(count: int) -> np.ndarray:
    """An open-addressing index at most half full."""
    return np.zeros(1 << max(2 * count - 1, 1).bit_length(), np.int64)


def create(sessions: int, pool_rows: int, static_bibs: int, events: int, fragments_memory: int) -> Tables:
    """Empty tables for `sessions` sessions (and as many BIB entries and hosts, besides the static ones), and for
    `fragments_memory` octets of fragments."""
    bibs, slots = sessions + static_bibs, max(pool_rows, 1) * 3
    return Tables(
        lock=np.zeros(8, np.int64),
        sessions=records(sessions, SESSION),
        links=records(sessions, LINKS),
        windows=np.zeros((sessions, 4), np.int64),
        bibs=records(bibs, BIB),
        hosts=records(bibs, HOST),
        sessions6=empty_index(sessions),
        sessions4=empty_index(sessions),
        bibs6=empty_index(bibs),
        bibs4=empty_index(bibs),
        hosts6=empty_index(bibs),
        free=np.zeros((3, 2), np.int64),
        freed=np.zeros((3, bibs), np.int32),
        wheel=np.full(WHEEL, NONE, np.int32),
        wheel_at=np.full(1, NONE, np.int64),
        ports_used=np.zeros((slots, PORTS // 8), np.uint8),
        ports_count=np.zeros(slots, np.int32),
        ports_next=np.zeros(slots, np.int32),
        quarantine=records(bibs, WAITING_PORT),
        quarantine_at=np.zeros(2, np.int64),
        quarantine_of=np.tile(np.array([NONE, NONE, 0], np.int32), (slots, 1)),
        fragments=records(FRAGMENTS, FRAGMENT),
        syns=records(SYNS, SYN),
        syn_octets=np.zeros((SYNS, SYN_OCTETS), np.uint8),
        syns_at=np.zeros(2, np.int64),
        stored=records(max(fragments_memory // STORED_SHARE, 1), STORED),
        stored_octets=np.zeros(fragments_memory, np.uint8),
        stored_at=np.zeros(3, np.int64),
        events=np.zeros(events, np.int64),
    )
