"""What becomes of a packet that meets the program: taken, or left to the daemon, and why. The program counts each."""

from enum import IntEnum
from typing import Self


class Reason(IntEnum):
    """Rows of the counters. The first two are packets that were translated; every other one is passed on untouched."""

    help: str

    def __new__(cls, number: int, text: str) -> Self:
        """A row: its number, and what people are told."""
        row = int.__new__(cls, number)
        row._value_, row.help = number, text
        return row

    SIX_TO_FOUR = 0, "Translated to IPv4 in the kernel."
    FOUR_TO_SIX = 1, "Translated to IPv6 in the kernel."
    NOT_IP = 2, "Neither IPv4 nor IPv6."
    HEADERS = 3, "Its headers are not all in the first part of its buffer, or it is shorter than they are."
    LENGTH = 4, "Its length is not the one its header states, or too much for IPv4: the parser finds out what it is."
    OPTIONS = 5, "IPv4 options: only the daemon looks for source routes."
    FRAGMENT = 6, "A fragment: ports and checksum are those of the whole datagram, which the daemon knows."
    HOP_LIMIT = 7, "Its hop limit is used up: the daemon answers."
    NOT_OUR_PREFIX = (
        8,
        "Neither to pool6 nor to one of the first four client prefixes: to an IPv6 client of a service, or to nobody.",
    )
    PROTOCOL = 9, "Neither TCP, UDP nor an echo: ICMP errors quote packets; extension headers, other protocols."
    DAMAGED = 10, "Its transport header is not sound."
    TCP_FLAGS = (
        11,
        "SYN, FIN or RST of a session: the state machine has to see them. Also: a SYN whose MSS may be lowered.",
    )
    CHECK_RST = 12, "TCP with [filtering] check_rst: sequence numbers of every segment have to be noted."
    ZERO_CHECKSUM = 13, "UDP without checksum, or an echo whose new one is zero: the data may have to be summed."
    UDP_SUPERFRAME = 14, "Several UDP datagrams in one buffer: it cannot be told from a tunnel's packets."
    TOO_BIG = 15, "Larger than the next MTU: the daemon answers."
    CUT = 16, "Without DF, and too large for lowest_ipv6_mtu: it has to be cut into fragments."
    OURS = 17, "The other end is an address of ours: it turns round here, or its source is forged."
    NO_SESSION = 18, "No session: new flows are opened by the daemon. Also: a session that has just ended."
    OTHER_PREFIX = (
        19,
        "A session of an IPv6 client of a service; or a host with an [[eam]] that sends to a client prefix.",
    )
    SERVICE = (
        20,
        "A session of a service where there are [[eam]], or of an endpoint that is gone; an [[eam]] beside services.",
    )
    NOT_ESTABLISHED = 21, "Its session is not established: a connection that opens or ends, or only one side has sent."
    EXPIRED = 22, "The time of its session is over."
    YOUNG = (
        23,
        "The first packets of a flow, or after a start: what the daemon still has in its queue is not overtaken.",
    )
    REFUSED = 24, "The kernel would not change the size of its header."
    ECHO = 25, "An echo, with [filtering] drop_icmp_info."
    MAPPING = 26, "Whether its host has an [[eam]] was not found out in a few steps."
    NO_MAPPING = 27, "Its source has neither an [[eam]] nor an address under pool6, and there are no sessions."
    BARRED = 28, "One of its addresses is no host's, is denied, or must not be under pool6: the daemon says which."
