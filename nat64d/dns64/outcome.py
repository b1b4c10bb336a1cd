"""How a query can end, and what else a name server counts: one place for names, rules and words."""

from enum import StrEnum
from typing import Self


class Outcome(StrEnum):
    """Each query ends in one of these: its name in counters and metrics, RFC and section, meaning."""

    section: str
    help: str

    def __new__(cls, label: str, section: str, help_: str) -> Self:
        """A member is its label."""
        one = str.__new__(cls, label)
        one._value_, one.section, one.help = label, section, help_
        return one

    CACHED = "cached", "1035 7.4", "Answered from the cache."
    STALE = "stale", "8767 5", "No server helped: answered from the cache, though the time of that was over."
    RELAYED = "relayed", "6147 5.1.1", "Answered as the server did."
    SYNTHESISED = "synthesised", "6147 5.1.7", "AAAA records made from A records, or the other way round (dns46)."
    FILTERED = (
        "filtered",
        "6147 5.1.4",
        "Answered without the AAAA records that are excluded, or the A records (filter_a).",
    )
    LOCAL = "local", "8880 7.1", "ipv4only.arpa, or a reverse name under the prefix (RFC 6147 5.3.1) or of a mapping."
    ANY = "any", "8482 4.2", "A query for ANY got the short answer."
    FAILED = "failed", "1035 4.1.1", "SERVFAIL or another error: no server gave an answer."
    REFUSED = "refused", "1035 4.1.1", "REFUSED: the client is not in [dns64] clients."
    UNREADABLE = "unreadable", "1035 4.1.1", "FORMERR, NOTIMP or BADVERS: not a query that can be understood."
    DROPPED = "dropped", "LIMITS", "Not answered: shorter than a header, or an answer."
    LIMITED = "limited", "LIMITS", "Not answered: the client is over [dns64] rate."
    OVERLOADED = "overloaded", "LIMITS", "Not answered: too many queries wait for servers."


class Counters:
    """How queries ended, each once; and how many TCP clients were turned away or hung up on."""

    def __init__(self) -> None:
        self.counts: dict[Outcome, int] = {}
        self.turned_away = self.unread = 0
        self.stranger = ""  # the client that was refused last

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.counts[outcome] = self.counts.get(outcome, 0) + 1


# What else happens, by its name among the events.
EVENTS = {
    "dns64_answer_strange": "Answers of name servers to no question of ours: late ones, or forged (RFC 5452).",
    "dns64_answer_mismatched": "Answers with the ID of a question of ours, to another question (RFC 5452).",
    "dns64_answer_case": "Answers in other letters than the question (0x20): it was asked again by TCP.",
    "dns64_client_turned_away": "TCP clients that found all connections taken, or all of one client.",
    "dns64_client_unread": "TCP clients that asked and did not read: they were hung up on.",
    "dns64_process_restarted": "A process of the name server ended, and was started again.",
}
