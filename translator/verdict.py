"""Every way a packet can end: one row each. Counters, metrics, logs, replay, explain and the README table are made from
these rows.

Numbers are stable (they appear in replay files); gaps are left by group. `answer` is a meaning: `packet/icmp_error.py`
maps it to type and code per family. A row is the only text about its drop.
"""

from enum import IntEnum
from typing import Self

DEBUG, INFO, WARNING = 10, 20, 30  # the numbers of the standard log levels


class Answer(IntEnum):
    """What the sender of a dropped packet is told, whatever its family."""

    NONE = 0
    TIME_EXCEEDED = 1
    PACKET_TOO_BIG = 2
    ADDRESS_UNREACHABLE = 3
    PROHIBITED = 4
    SOURCE_ROUTE_FAILED = 5
    PARAMETER_PROBLEM = 6
    PROTOCOL_UNREACHABLE = 7


class Direction(IntEnum):
    """Where a packet came from and would go; a hairpinned one counts as 6to4."""

    SIX_TO_FOUR = 0
    FOUR_TO_SIX = 1

    @property
    def label(self) -> str:
        """The direction in text and metrics."""
        return ("6to4", "4to6")[self]


class Verdict(IntEnum):
    """Every way a packet can end: number, RFC section, answer to the sender, log level, help."""

    section: str
    answer: Answer
    level: int
    help: str

    CONTINUE = 0, "", Answer.NONE, DEBUG, "Internal: no decision yet."
    TRANSLATED = 1, "7915", Answer.NONE, DEBUG, "Translated and written to the TUN device."
    HAIRPINNED = 2, "6146 3.8", Answer.NONE, DEBUG, "Translated; both ends are IPv6 hosts behind us."
    # Not a packet we can read.
    NOT_IP = 10, "8200 3", Answer.NONE, INFO, "First octet is neither IP version 4 nor 6."
    TRUNCATED = 11, "7915 4.1", Answer.NONE, INFO, "Shorter than the headers or lengths it claims."
    BAD_LENGTH = 12, "791 3.1", Answer.NONE, INFO, "A length field contradicts the headers."
    HEADER_CHECKSUM = 13, "791 3.1", Answer.NONE, INFO, "The IPv4 header checksum is wrong."
    ICMP_CHECKSUM = 14, "7915 4.3", Answer.NONE, INFO, "The checksum of an ICMP error is wrong."
    EXTENSION_HEADERS = 15, "7915 5.1.1", Answer.NONE, INFO, "Extension headers in a fragment, or too many of them."
    # RFC 7915 says no.
    HOP_LIMIT_EXPIRED = 20, "7915 4.1", Answer.TIME_EXCEEDED, DEBUG, "TTL or Hop Limit was 0 or 1 on arrival."
    SOURCE_ROUTED = 21, "7915 4.1", Answer.SOURCE_ROUTE_FAILED, INFO, "An IPv4 source route option has not expired."
    ROUTING_HEADER = 22, "7915 5.1", Answer.PARAMETER_PROBLEM, INFO, "A Routing header has segments left."
    ZERO_UDP_CHECKSUM = 23, "7915 4.5", Answer.NONE, INFO, "A UDP checksum of zero, and none could be calculated."
    TOO_BIG = 24, "7915 4.1", Answer.PACKET_TOO_BIG, DEBUG, "Larger than the next MTU and not to be fragmented."
    ICMP_TYPE = (
        25,
        "7915 4.2",
        Answer.NONE,
        DEBUG,
        "An ICMP type or code without counterpart in the other family; IGMP.",
    )
    ERROR_IN_ERROR = 26, "7915 4.2", Answer.NONE, DEBUG, "An ICMP error that quotes another ICMP error."
    FRAGMENTED_ICMP = 27, "7915 4.3", Answer.NONE, INFO, "A fragment of an ICMP message."
    PROTOCOL = (
        28,
        "6146 3.4",
        Answer.PROTOCOL_UNREACHABLE,
        INFO,
        "Stateful NAT64 carries TCP, UDP and ICMP; pool4 may allow others.",
    )
    QUOTED_PACKET = 29, "7915 4.3", Answer.NONE, INFO, "The packet quoted in an ICMP error cannot be read."
    # Addresses.
    NOT_OUR_PREFIX = 40, "6146 3.5", Answer.NONE, DEBUG, "The IPv6 destination is in no pool6 prefix."
    SOURCE_IN_POOL6 = 41, "6146 3.5", Answer.NONE, INFO, "The IPv6 source is inside pool6: a loop or a forgery."
    NON_GLOBAL_ADDRESS = 42, "6052 3.1", Answer.ADDRESS_UNREACHABLE, INFO, "Non-global IPv4, well-known prefix."
    NOT_UNICAST = 43, "6146 3.4", Answer.NONE, DEBUG, "Source or destination is no unicast address."
    DENIED_ADDRESS = 44, "LIMITS", Answer.PROHIBITED, INFO, "The IPv4 address is on denylist4."
    NO_MAPPING = 45, "7757 3.3", Answer.ADDRESS_UNREACHABLE, INFO, "An address with neither [[eam]] nor pool6 for it."
    # Stateful NAT64.
    NO_BIB_ENTRY = 50, "6146 3.5", Answer.ADDRESS_UNREACHABLE, DEBUG, "Nobody inside uses this address."
    NO_SESSION = 51, "6146 3.5", Answer.NONE, DEBUG, "TCP, or an ICMP error, of no session; it may open none."
    FILTERED_ADF = 52, "6146 3.5", Answer.NONE, INFO, "Address-dependent filtering: unknown IPv4 peer."
    FILTERED_INBOUND_TCP = 53, "6146 3.5.2.2", Answer.NONE, INFO, "drop_inbound_tcp: a TCP connection from outside."
    FILTERED_ICMP_INFO = 54, "LIMITS", Answer.NONE, INFO, "drop_icmp_info: an ICMP echo."
    POOL4_EXHAUSTED = 55, "6146 3.5", Answer.ADDRESS_UNREACHABLE, WARNING, "No free IPv4 transport address in pool4."
    NO_POOL4 = 56, "6146 3.5", Answer.PROHIBITED, WARNING, "No pool4 serves this IPv6 host and protocol."
    SESSION_TABLE_FULL = 57, "LIMITS", Answer.ADDRESS_UNREACHABLE, WARNING, "Table full: raise [limits] sessions."
    HOST_SESSIONS = 58, "6888 REQ-5", Answer.ADDRESS_UNREACHABLE, INFO, "The host is at [limits] per_host_sessions."
    HOST_PORTS = 59, "6888 REQ-4", Answer.ADDRESS_UNREACHABLE, INFO, "The host is at [limits] per_host_ports."
    FRAGMENT_UNKNOWN = 60, "6146 3.4", Answer.NONE, DEBUG, "A later fragment; its first one was not seen."
    SYN_HELD = 61, "6146 3.5.2.2", Answer.NONE, DEBUG, "A SYN from IPv4; it waits for the one of an IPv6 host."
    HELD = 62, "6146 3.4", Answer.NONE, DEBUG, "Kept until the fragments come that it cannot go without."
    FRAGMENT_OVERLAP = 63, "5722 3", Answer.NONE, INFO, "Fragments of a datagram overlap: all of it is discarded."

    def __new__(cls, number: int, section: str, answer: Answer, level: int, help: str) -> Self:
        """A member that carries its row."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.section, member.answer, member.level, member.help = section, answer, level, help
        return member


class Event(IntEnum):
    """What happened beside the end of a packet; counted in the same way."""

    help: str

    BIB_CREATED = 0, "BIB entries opened."
    BIB_ENDED = 1, "BIB entries ended."
    SESSION_CREATED = 2, "Sessions opened."
    SESSION_ENDED = 3, "Sessions ended."
    ANSWER_SENT = 4, "ICMP errors sent for dropped packets."
    ANSWER_LIMITED = 5, "ICMP errors not sent: [limits] icmp_errors_per_second."
    ANSWER_UNDUE = 6, "ICMP errors not sent: none may be sent about such a packet (RFC 1122 3.2.2, RFC 4443 2.4)."
    FRAGMENTS_SENT = 7, "IPv6 fragments written for IPv4 packets without DF."
    SUPERFRAMES = 8, "GSO super-frames translated in one piece."
    COALESCED = 9, "UDP datagrams written as part of a super-frame."
    WRITE_FAILED = 10, "Packets the TUN device did not take."
    PROBE_SENT = 11, "TCP segments sent to ask whether a silent connection is still there (RFC 6146 3.5.2.2)."
    FRAGMENTS_RELEASED = 12, "Kept fragments that went on, alone or as part of their datagram."
    RST_IGNORED = 13, "TCP RSTs out of their connection's window: passed, but not believed ([filtering] check_rst)."

    def __new__(cls, number: int, help: str) -> Self:
        """A member that carries its row."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.help = help
        return member
