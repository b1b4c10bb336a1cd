"""The records that are remembered: dtypes, and how big the tables are.

    host6 (X',x)  ----------  [ nat64d ]  mapped4 (T,t)  ----------  host4 (Z,z)
    BIB entry:  host6 <-> mapped4         session: + host4;   (Y',y) = prefix + host4, never stored

The prefix is pool6, or the client prefix of a service: a record has its number, a row of Settings.prefixes.

All records are of fixed size, so that they can live in one shared mapping. Addresses are int64: IPv4 in one word, IPv6
in two (`_hi`, `_lo`); times are milliseconds of the caller's clock; links between records are indexes, `NONE` ends a
list.
"""

import numpy as np

from translator.tables.records import as_records

NONE = -1

# SPEC
PORTS = 65536
# LIMITS
WHEEL = 16384  # seconds one turn of the timer wheel takes; power of two that LINKS.bucket has room for
FRAGMENTS, FRAGMENT_WAYS = 8192, 4  # datagrams of which fragments are known, and how many of them share a set
STORED_SHARE = 256  # octets of fragments_memory for each fragment that can be kept
SYNS, SYN_OCTETS = 256, 128  # TCP SYNs that wait for the one of the other side, and what is kept of each
FULLEST = 5  # eighths of an index: 12.8 octets for a record, and one slot in fifty is more than eight from its home
RECENT = 4096  # sessions found last, of each direction: 32 KiB, which a core's second-level cache holds easily
LOG = 65536  # what the log keeps until it is read; 8 MiB, which take no memory while nothing is logged
SYN_PREFIXES = 64  # counts of them, by a hash of the source prefix

OF_SERVICE = 2  # `static` of a BIB entry that is a member of a service, and `inbound` of its sessions
OF_GONE = 3  # `inbound` of sessions of services whose client gets a RST for its next segment
LEAVING = 2  # `live` of a member that is of no front any more, and stays until its last session has ended

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
        ("state", "i1"),  # of a session without TCP: which side has sent, until the other one has (sessions.answered)
        ("inbound", "i1"),  # 1: counted as opened from outside (subscribers.py); OF_SERVICE, OF_GONE
        ("live", "i2"),
        ("prefix", "i2"),  # that host4 is written under
    ],
    align=True,
)
# Cold: the lists a session is in. `older`/`newer` link its timer bucket, `previous`/`next` the sessions of its BIB
# entry.
LINKS = np.dtype(
    [
        ("older", "i4"),
        ("newer", "i4"),
        ("previous", "i4"),
        ("next", "i4"),
        ("bucket", "i2"),
        ("reset", "i2"),  # a RST has moved it to TRANS, not its time
    ],
    align=True,
)
BIB = np.dtype(
    [
        ("host6_hi", "i8"),
        ("host6_lo", "i8"),
        ("mapped4", "i8"),
        ("host6_port", "i4"),
        ("mapped4_port", "i4"),
        ("host", "i4"),
        ("slot", "i4"),  # row of Tables.ports_used, NONE: outside pool4, or no ports
        ("use", "i4"),  # row of Tables.uses, NONE: static, or no slot
        ("sessions", "i4"),
        ("inbound", "i4"),  # those of them that count as opened from outside, or are of a service
        ("first_session", "i4"),
        ("protocol", "i2"),
        ("static", "i1"),  # 1: of [[forward]]; OF_SERVICE
        ("answered", "i1"),  # something has come from outside
        ("live", "i2"),  # LEAVING
        ("prefix", "i2"),  # that the clients of a member are written under
    ],
    align=True,
)
HOST = np.dtype(
    [
        ("host6_hi", "i8"),
        ("host6_lo", "i8"),
        ("mapped4", "i8"),  # paired pooling (RFC 4787 REQ-2); 0 while there is no dynamic BIB entry
        ("rate_until", "i8"),  # what it may open in a second (hosts.may_open)
        ("subscriber", "i4"),
        ("bibs", "i4"),  # BIB entries, static ones too
        ("sessions", "i4"),  # those it opened itself, from dynamic mappings
        ("tcp", "i4"),  # dynamic BIB entries of each protocol
        ("udp", "i4"),
        ("icmp", "i4"),
        ("other", "i4"),
        ("live", "i4"),
    ],
    align=True,
)
# Hosts of one prefix, which share what one customer may take (session/subscribers.py).
SUBSCRIBER = np.dtype(
    [
        ("host6_hi", "i8"),  # the prefix, other bits 0
        ("host6_lo", "i8"),
        ("hosts", "i4"),
        ("sessions", "i4"),  # those of its hosts
        ("inbound", "i4"),  # those of its mappings that count as opened from outside
        ("live", "i4"),
    ],
    align=True,
)
# How many ports of a slot of Tables.ports_used the mappings of a subscriber have, and how many of those are listed as
# unanswered.
USE = np.dtype(
    [("subscriber", "i4"), ("slot", "i4"), ("ports", "i4"), ("unanswered", "i4"), ("live", "i4")], align=True
)
# Ports that are handed out together (session/port_blocks.py), to all hosts of one prefix.
BLOCK = np.dtype(
    [
        ("host6_hi", "i8"),  # the prefix, other bits 0
        ("host6_lo", "i8"),
        ("mapped4", "i8"),
        ("since", "i8"),  # when it was handed out
        ("until", "i8"),  # 0: in use; else nobody uses it, and so long nobody else gets it
        ("row", "i4"),  # of Settings.pool
        ("first", "i4"),  # port
        ("last", "i4"),
        ("ports", "i4"),  # mappings that have one, of all protocols
        ("next", "i4"),  # the block that its subscriber got next
        ("older", "i4"),  # those that nobody uses, in the order of their times
        ("newer", "i4"),
        ("length", "i2"),  # of the prefix
        ("live", "i2"),
    ],
    align=True,
)
# One a BIB entry: its place among those of its slot that nobody has answered (session/unanswered.py).
UNANSWERED = np.dtype([("older", "i4"), ("newer", "i4"), ("listed", "i4")], align=True)
# One row per [[eam]], as it was written.
EAM = np.dtype(
    [("ipv4", "i8"), ("ipv6_hi", "i8"), ("ipv6_lo", "i8"), ("length4", "i4"), ("length6", "i4")],
    align=True,
)
# One row of Settings.pool per address of each [[pool4]]; rows of one source prefix (a group) are neighbours, in the
# order of their addresses.
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
# BIB entries that are there from the start: `count` of them, with ports that rise by one at both ends.
STATIC_BIB = np.dtype(
    [
        ("protocol", "i8"),
        ("host6_hi", "i8"),
        ("host6_lo", "i8"),
        ("host6_port", "i8"),
        ("mapped4", "i8"),
        ("mapped4_port", "i8"),
        ("count", "i8"),
        ("pool_row", "i8"),  # the row of Settings.pool that has the ports, or NONE
    ],
    align=True,
)
# A transport address of a service (session/services.py), IPv4 or a handle: its members are `count` rows of
# Tables.members, in the order of their endpoints, the IPv4 addresses it serves `sources` rows of Tables.sources. What
# changes is written where nothing lies, and then the front changes over to it (session/members.py).
FRONT = np.dtype(
    [
        ("address4", "i8"),
        ("affinity", "i8"),  # what stands for the service in the hash of a client, 0: each flow is hashed
        ("affinity_time", "i8"),  # milliseconds between two flows of a client that stays at its member
        ("port", "i4"),
        ("protocol", "i4"),  # 0: there is none
        ("first", "i4"),
        ("count", "i4"),
        ("first_source", "i4"),
        ("sources", "i4"),
        ("weighted", "i4"),  # its members have weights that differ
        ("service", "i4"),  # the row of Tables.names that has the name of its [[service]]
        ("prefix", "i4"),  # that its clients are written under; FRONT6 for IPv6 clients
        ("hashed", "i8"),  # what stands for its address in the hash of a flow
        ("first_source6", "i4"),  # the IPv6 prefixes it serves: rows of Tables.sources6
        ("sources6", "i4"),
        ("restricted", "i4"),  # it serves those alone
    ],
    align=True,
)
# An IPv6 client of services: its address, and the one that endpoints see (session/clients6.py).
CLIENT = np.dtype([("hi", "i8"), ("lo", "i8"), ("written_hi", "i8"), ("written_lo", "i8")], align=True)
MEMBER = np.dtype([("bib", "i4"), ("key", "i4"), ("weight", "i4"), ("front", "i4")], align=True)
# Which member a client of a service with affinity is at (session/affinity.py).
AFFINITY = np.dtype([("service", "i8"), ("client", "i8"), ("expires", "i8"), ("key", "i4"), ("live", "i4")], align=True)
GROUP = np.dtype(
    [
        ("hi", "i8"),
        ("lo", "i8"),
        ("length", "i4"),
        ("first", "i4"),
        ("count", "i4"),
        ("computed", "i4"),  # so many blocks of each row are computed (RFC 7422), 0: none
    ],
    align=True,
)
# A TCP SYN from IPv4 that waits for the one of a host6 (RFC 6146 section 3.5.2.2).
SYN = np.dtype(
    [
        ("mapped4", "i8"),
        ("host4", "i8"),
        ("expires", "i8"),
        ("mapped4_port", "i4"),
        ("host4_port", "i4"),
        ("length", "i4"),  # octets kept of the packet
        ("live", "i4"),  # 0: it waits no longer, and only has its place in the ring
    ],
    align=True,
)
# A port that is assigned to no host for a while (RFC 6888 REQ-8); `newer`: the next one of the same slot.
WAITING_PORT = np.dtype(
    [("until", "i8"), ("mapped4", "i8"), ("slot", "i4"), ("port", "i4"), ("newer", "i4"), ("live", "i4")], align=True
)
# What begins or ends, for the log (session/log.py). Of a session, of a mapping (no host4), or of a block of ports of a
# subscriber (mapped4_port to last_port).
LOGGED = np.dtype(
    [
        ("time", "i8"),
        ("host6_hi", "i8"),
        ("host6_lo", "i8"),
        ("mapped4", "i8"),
        ("host4", "i8"),
        ("host6_port", "i4"),
        ("mapped4_port", "i4"),
        ("host4_port", "i4"),
        ("last_port", "i4"),
        ("protocol", "i2"),
        ("kind", "i2"),
        ("cause", "i2"),
        ("length", "i2"),  # of the prefix of a subscriber
        ("vip6_hi", "i8"),  # what mapped4 and host4 stand for, if they are handles
        ("vip6_lo", "i8"),
        ("client6_hi", "i8"),
        ("client6_lo", "i8"),
        ("packets_6to4", "i8"),  # of a session that has ended: as a row of Tables.accounts; NONE: nobody knows
        ("octets_6to4", "i8"),
        ("packets_4to6", "i8"),
        ("octets_4to6", "i8"),
    ],
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
        ("noted", "i8"),  # of the first one, as Worker.state has it: which sessions it is counted for
        ("noted_too", "i8"),
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


def records(count: int, dtype: np.dtype) -> np.ndarray:
    """Zeroed records with attribute access, compiled or not; pages are touched only when used."""
    return as_records(np.zeros(count, dtype))


def empty_index(count: int) -> np.ndarray:
    """An open-addressing index of `count` entries at most, at most FULLEST eighths full."""
    return np.zeros(max(-(-8 * count // FULLEST), 2), np.int64)
