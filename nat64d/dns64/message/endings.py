"""The ways a query can end, and the other events that a name server counts: names, RFC sections and help texts in one
place."""

from enum import StrEnum
from typing import Self


class Ending(StrEnum):
    """Each query ends in one of these: its label in counters and metrics, the RFC section, the help text."""

    section: str
    help: str

    def __new__(cls, label: str, section: str, help_: str) -> Self:
        """A member's value is its label."""
        one = str.__new__(cls, label)
        one._value_, one.section, one.help = label, section, help_
        return one

    CACHED = "cached", "1035 7.4", "Answered from the cache."
    STALE = "stale", "8767 5", "No upstream server had an answer: an expired one from the cache was used."
    RELAYED = "relayed", "6147 5.1.1", "Answered as the upstream server did."
    SYNTHESISED = "synthesised", "6147 5.1.7", "Answered with AAAA records made from A records, or A from AAAA (dns46)."
    FILTERED = (
        "filtered",
        "6147 5.1.4",
        "Answered without AAAA records that are excluded, or without IPv4 addresses (filter_a).",
    )
    LOCAL = "local", "8880 7.1", "ipv4only.arpa, or a reverse name under the prefix (RFC 6147 5.3.1) or of an [[eam]]."
    ANY = "any", "8482 4.2", "A query for ANY got the minimal answer."
    FAILED = "failed", "1035 4.1.1", "SERVFAIL or another error: no upstream server gave an answer."
    REFUSED = "refused", "1035 4.1.1", "REFUSED: the client is not in [dns64] clients."
    UNREADABLE = (
        "unreadable",
        "1035 4.1.1",
        "FORMERR, NOTIMP, NOTAUTH or BADVERS: not a query that this server can answer.",
    )
    DROPPED = "dropped", "LIMITS", "Not answered: shorter than a DNS header, or a response."
    BY_TCP = (
        "by_tcp",
        "7766 5",
        "Answered with TC: the client is over its share of [dns64] rate and may use TCP.",
    )
    LIMITED = "limited", "LIMITS", "Not answered: the client is over its share of [dns64] rate."
    OVERLOADED = "overloaded", "LIMITS", "Not answered, or with TC: too many queries wait, most of them of this client."


class QueryCounters:
    """How queries ended, each counted once; and how many TCP connections were refused, closed or aborted."""

    def __init__(self) -> None:
        self.counts: dict[Ending, int] = {}
        self.turned_away = self.displaced = self.unread = self.overlong = 0
        self.stranger = ""  # the client that was last refused

    def add(self, outcome: Ending, number: int = 1) -> None:
        """Count queries that ended so."""
        self.counts[outcome] = self.counts.get(outcome, 0) + number


# Other events, by name.
EVENTS = {
    "dns64_answer_strange": "Answers of upstream servers that match no pending question: late or forged (RFC 5452).",
    "dns64_answer_mismatched": "Answers with the ID of a pending question but another question section (RFC 5452).",
    "dns64_answer_case": "Answers whose name differs in case from the question (0x20): asked again by TCP.",
    "dns64_question_displaced": "Questions given up for newer ones: too many wait for upstream servers.",
    "dns64_client_turned_away": "TCP connections refused: all are in use, and no client has more than this one.",
    "dns64_client_displaced": "TCP connections of the client with most, closed for others, idle ones first (RFC 7766).",
    "dns64_client_unread": "TCP connections aborted because the client did not read its answers.",
    "dns64_client_overlong": "TCP connections aborted because a query was longer than 4096 octets.",
    "dns64_process_restarted": "Processes of the name server that ended and were restarted.",
}
