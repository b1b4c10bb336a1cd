"""Every way a packet can end, one row each. Counters, metrics, logs, replay, explain and docs/verdicts.md are made from
these rows.

Numbers never change (replay files refer to them); each group leaves a gap for new ones. `answer` says what the sender
is told; `packet/icmp_error.py` maps it to an ICMP type and code of either IP version.
"""

from enum import IntEnum
from typing import Self

DEBUG, INFO, WARNING = 10, 20, 30  # the numbers of the standard log levels


class Answer(IntEnum):
    """What the sender of a dropped packet is told; the ICMP type and code follow from it and the IP version."""

    NONE = 0
    TIME_EXCEEDED = 1
    PACKET_TOO_BIG = 2
    ADDRESS_UNREACHABLE = 3
    PROHIBITED = 4
    SOURCE_ROUTE_FAILED = 5
    PARAMETER_PROBLEM = 6
    PROTOCOL_UNREACHABLE = 7
    RESET = 8  # no ICMP error, but a TCP RST, as if from the other end
    PORT_UNREACHABLE = 9  # as if from the other end; a TCP segment is answered with a RST


class Ask(IntEnum):
    """Who has to be asked before a packet's verdict is final. Internal: no packet ends in one of these."""

    NOBODY = 0  # the verdict is final
    SESSIONS = 1  # no static mapping: BIB and sessions decide
    FRAGMENTS = 2  # a fragment that cannot be looked up alone: the memory of its datagram decides
    ECHO = 4  # an ICMP query to the address of a service, which answers pings
    HELD_SYNS = 3  # a SYN from IPv4 that matches no session: it may wait for a simultaneous open


class Direction(IntEnum):
    """The direction of translation; a hairpinned packet counts as 6to4."""

    SIX_TO_FOUR = 0
    FOUR_TO_SIX = 1

    @property
    def label(self) -> str:
        """The name of the direction in text and metrics: "6to4" or "4to6"."""
        return ("6to4", "4to6")[self]


class Verdict(IntEnum):
    """Every way a packet can end: number, RFC section, answer to the sender, log level, help."""

    section: str
    answer: Answer
    level: int
    help: str

    # Two lines a row.
    # fmt: off
    CONTINUE = (0, "", Answer.NONE, DEBUG,
        "Internal: no decision yet.")
    TRANSLATED = (1, "7915", Answer.NONE, DEBUG,
        "Translated to the other IP version.")
    HAIRPINNED = (2, "6146 3.8", Answer.NONE, DEBUG,
        "Sent back to IPv6: both ends are IPv6 hosts behind this gateway, or it is of an IPv6 client of a [[service]].")
    ECHOED = (3, "792", Answer.NONE, DEBUG,
        "A ping of the address of a [[service]], answered by nat64d itself.")
    PASSED = (4, "LIMITS", Answer.NONE, DEBUG,
        "A packet of an endpoint that is of no flow of a [[service]]: sent on as it came (ipv6_front dnat).")
    # Not a packet we can read.
    NOT_IP = (10, "8200 3", Answer.NONE, INFO,
        "The first octet is neither IP version 4 nor 6.")
    TRUNCATED = (11, "7915 4.1", Answer.NONE, INFO,
        "The packet is shorter than its headers or length fields say.")
    BAD_LENGTH = (12, "791 3.1", Answer.NONE, INFO,
        "A length field contradicts another one or the size of the headers.")
    HEADER_CHECKSUM = (13, "791 3.1", Answer.NONE, INFO,
        "The IPv4 header checksum is wrong.")
    ICMP_CHECKSUM = (14, "7915 4.3", Answer.NONE, INFO,
        "The checksum of an ICMP error is wrong.")
    EXTENSION_HEADERS = (15, "7915 5.1.1", Answer.NONE, INFO,
        "Too many IPv6 extension headers, or one after the Fragment header of a fragment.")
    # RFC 7915 says no.
    HOP_LIMIT_EXPIRED = (20, "7915 4.1", Answer.TIME_EXCEEDED, DEBUG,
        "The TTL or Hop Limit was 0 or 1 on arrival.")
    SOURCE_ROUTED = (21, "7915 4.1", Answer.SOURCE_ROUTE_FAILED, INFO,
        "An IPv4 source route option with hops left to visit.")
    ROUTING_HEADER = (22, "7915 5.1", Answer.PARAMETER_PROBLEM, INFO,
        "An IPv6 Routing header with segments left.")
    ZERO_UDP_CHECKSUM = (23, "7915 4.5", Answer.NONE, INFO,
        "UDP over IPv4 without a checksum: dropped by udp_zero_checksum, or a fragment that cannot be given one.")
    TOO_BIG = (24, "7915 4.1", Answer.PACKET_TOO_BIG, DEBUG,
        "Larger than the MTU of the next hop, and must not be fragmented.")
    ICMP_TYPE = (25, "7915 4.2", Answer.NONE, DEBUG,
        "An ICMP type or code that the other IP version does not have, or IGMP.")
    ERROR_IN_ERROR = (26, "7915 4.2", Answer.NONE, DEBUG,
        "An ICMP error that quotes another ICMP error.")
    FRAGMENTED_ICMP = (27, "7915 4.3", Answer.NONE, INFO,
        "A fragment of an ICMP message that cannot be reassembled here.")
    PROTOCOL = (28, "6146 3.4", Answer.PROTOCOL_UNREACHABLE, INFO,
        'Neither TCP, UDP nor ICMP; [[pool4]] protocols = ["other"] lets other protocols pass.')
    QUOTED_PACKET = (29, "7915 4.3", Answer.NONE, INFO,
        "The packet quoted in an ICMP error cannot be read, or is a fragment without ports.")
    # Addresses.
    NOT_OUR_PREFIX = (40, "6146 3.5", Answer.NONE, DEBUG,
        "The IPv6 destination is neither in pool6 nor in a client_prefix.")
    SOURCE_IN_POOL6 = (41, "6146 3.5", Answer.NONE, INFO,
        "The IPv6 source is in pool6 or a client_prefix: a routing loop or a spoofed address.")
    NON_GLOBAL_ADDRESS = (42, "6052 3.1", Answer.PROHIBITED, INFO,
        "A private or other non-global IPv4 address under 64:ff9b::/96 (strict_well_known_prefix).")
    NOT_UNICAST = (43, "1812 5.3.7", Answer.PROHIBITED, DEBUG,
        "The source or destination is never forwarded: multicast, loopback, link-local, unspecified or reserved.")
    DENIED_ADDRESS = (44, "LIMITS", Answer.PROHIBITED, INFO,
        "The IPv4 address is in [translation] denylist4.")
    NO_MAPPING = (45, "7757 3.3", Answer.PROHIBITED, INFO,
        "An address that neither an [[eam]] row nor pool6 covers.")
    CLAT_SOURCE = (46, "6877 2", Answer.PROHIBITED, INFO,
        "The IPv4 source is not in [clat] ipv4.")
    FORGED_SOURCE = (47, "2827 3", Answer.NONE, INFO,
        "The source is an address of pool4, [[forward]], [[service]] or [clat], or the destination: forged, or a loop.")
    # Stateful NAT64.
    NO_BIB_ENTRY = (50, "6146 3.5", Answer.ADDRESS_UNREACHABLE, DEBUG,
        "No IPv6 host uses this IPv4 address and port: there is no BIB entry.")
    NO_SESSION = (51, "6146 3.5", Answer.NONE, DEBUG,
        "A TCP segment or ICMP error that matches no session and cannot open one.")
    LOST_SESSION = (69, "6146 3.5.2.2", Answer.RESET, DEBUG,
        "A TCP segment that matches no session, soon after sessions were lost or ended ([filtering] reset_unknown).")
    FILTERED_ADF = (52, "6146 3.5", Answer.NONE, INFO,
        "[filtering] address_dependent: the IPv6 host has not sent to this IPv4 address.")
    FILTERED_INBOUND_TCP = (53, "6146 3.5.2.2", Answer.NONE, INFO,
        "[filtering] drop_inbound_tcp: a TCP connection opened from IPv4.")
    FILTERED_ICMP_INFO = (54, "LIMITS", Answer.NONE, INFO,
        "[filtering] drop_icmp_info: an ICMP echo request or reply.")
    POOL4_EXHAUSTED = (55, "6146 3.5", Answer.ADDRESS_UNREACHABLE, WARNING,
        "No free IPv4 address and port in the [[pool4]] of this IPv6 host.")
    NO_POOL4 = (56, "6146 3.5", Answer.PROHIBITED, WARNING,
        "No [[pool4]] serves this IPv6 host and protocol.")
    SESSION_TABLE_FULL = (57, "LIMITS", Answer.ADDRESS_UNREACHABLE, WARNING,
        "The session table is full: raise [limits] sessions.")
    HOST_SESSIONS = (58, "6888 REQ-5", Answer.ADDRESS_UNREACHABLE, INFO,
        "The IPv6 host has reached [limits] per_host_sessions.")
    HOST_PORTS = (59, "6888 REQ-4", Answer.ADDRESS_UNREACHABLE, INFO,
        "The IPv6 host has reached [limits] per_host_ports.")
    PAIRED_FULL = (67, "7857 4", Answer.ADDRESS_UNREACHABLE, WARNING,
        "The IPv4 address this IPv6 host is paired with has no free port; see [limits] pairing.")
    HOST_RATE = (68, "6888 REQ-5", Answer.ADDRESS_UNREACHABLE, INFO,
        "The IPv6 host has opened [limits] per_host_rate sessions within a second.")
    SUBSCRIBER_SESSIONS = (64, "6888 REQ-5", Answer.ADDRESS_UNREACHABLE, INFO,
        "The IPv6 host, or its whole [limits] subscriber prefix, has its share of the session table.")
    SUBSCRIBER_PORTS = (65, "6888 REQ-4", Answer.ADDRESS_UNREACHABLE, INFO,
        "The IPv6 host, or its whole [limits] subscriber prefix, has its share of the ports of its IPv4 address.")
    INBOUND_SESSIONS = (66, "6146 3.5.2.2", Answer.ADDRESS_UNREACHABLE, INFO,
        "A TCP connection opened from IPv4, while those opened so have their share of the session table.")
    FRAGMENT_UNKNOWN = (60, "6146 3.4", Answer.NONE, DEBUG,
        "A later fragment of a datagram whose first fragment has not been seen.")
    SYN_HELD = (61, "6146 3.5.2.2", Answer.NONE, DEBUG,
        "A TCP SYN from IPv4, kept in case an IPv6 host opens the same connection (simultaneous open).")
    HELD = (62, "6146 3.4", Answer.NONE, DEBUG,
        "A fragment, kept until the other fragments it needs arrive.")
    FRAGMENT_OVERLAP = (63, "5722 3", Answer.NONE, INFO,
        "The fragments of a datagram overlap: all of them are discarded.")
    # Services.
    NO_ENDPOINT = (70, "LIMITS", Answer.PORT_UNREACHABLE, INFO,
        "The [[service]] has no endpoint.")
    CLOSED_PORT = (71, "LIMITS", Answer.PORT_UNREACHABLE, DEBUG,
        "A port that no [[service]] has, of an address that one has.")
    SOURCE_RANGE = (72, "LIMITS", Answer.NONE, DEBUG,
        "The IPv4 source is not in the sources of the [[service]].")
    SERVICE_CLASH = (73, "LIMITS", Answer.PORT_UNREACHABLE, INFO,
        "Every endpoint of the [[service]] has a flow with this transport address of the client already.")
    SERVICE_AMBIGUOUS = (74, "LIMITS", Answer.NONE, INFO,
        "An answer without session, of an endpoint that several [[service]]s have: give each its own client_prefix.")
    NO_SERVICE_FLOW = (75, "LIMITS", Answer.NONE, DEBUG,
        "No session of a [[service]], and no answer of an endpoint; nothing else may go to a client_prefix.")
    # fmt: on

    def __new__(cls, number: int, section: str, answer: Answer, level: int, help: str) -> Self:
        """A member that carries its row."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.section, member.answer, member.level, member.help = section, answer, level, help
        return member


class Event(IntEnum):
    """What is counted besides the verdict of each packet: number and help."""

    help: str

    BIB_CREATED = 0, "BIB entries created."
    BIB_ENDED = 1, "BIB entries removed."
    SESSION_CREATED = 2, "Sessions opened."
    SESSION_ENDED = 3, "Sessions ended."
    ANSWER_SENT = 4, "ICMP errors sent for dropped packets."
    ANSWER_LIMITED = (
        5,
        "ICMP errors, packet too big apart, not sent because a limit was reached ([limits] icmp_errors_per_second).",
    )
    ANSWER_FORBIDDEN = (
        6,
        "ICMP errors not sent because none may be sent about such a packet (RFC 1122 3.2.2, RFC 4443 2.4).",
    )
    FRAGMENTS_SENT = 7, "IPv6 fragments written for IPv4 packets without DF."
    SUPERFRAMES = 8, "GSO super-frames translated in one piece."
    COALESCED = 9, "UDP datagrams written as part of a super-frame."
    WRITE_FAILED = 10, "Packets that the TUN device did not accept."
    PROBE_SENT = 11, "TCP segments sent to find out whether a silent connection still exists (RFC 6146 3.5.2.2)."
    FRAGMENTS_RELEASED = 12, "Kept fragments that were sent on, alone or as part of their datagram."
    RST_IGNORED = (
        13,
        "TCP RSTs outside their connection's window: forwarded, but the session stays open ([filtering] check_rst).",
    )
    TOO_BIG_LIMITED = 14, "Packet too big, or fragmentation needed, not sent because a limit was reached."
    UNPINNED = (
        15,
        "Packets of a mapping that passed without a session: those opened from IPv4 have their share of the table.",
    )
    PORT_DISPLACED = (
        16,
        "Mappings that nobody had answered and that ended so that another flow could have their port.",
    )
    BIB_RESTORED = 17, "BIB entries taken over from before a restart."
    SESSION_RESTORED = 18, "Sessions taken over from before a restart."
    RESET_SENT = (
        19,
        "TCP RSTs sent: for segments whose session was lost with a restart, and to clients that no [[service]] serves.",
    )
    RESET_LIMITED = 20, "TCP RSTs not sent because a limit was reached."
    BLOCK_ALLOCATED = 21, "Blocks of ports handed out to a subscriber ([limits] port_block)."
    BLOCK_FREED = 22, "Blocks of ports that were a subscriber's no more."
    BLOCK_RESTORED = 23, "Blocks of ports taken over from before a restart."
    SERVICE_UNPINNED = 24, "Packets of a service that passed without a session: too much of the table is taken."
    ECHO_SENT = 25, "Answers to pings of the address of a [[service]]."

    def __new__(cls, number: int, help: str) -> Self:
        """A member that carries its row."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.help = help
        return member
