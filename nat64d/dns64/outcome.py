"""How a query can end, and what else a name server counts: one place for names, rules and words."""

from enum import Enum


class Outcome(Enum):
    """Each query ends in one of these."""

    def __init__(self, section: str, help_: str) -> None:
        self.section, self.help = section, help_

    CACHED = "1035 7.4", "Answered from the cache."
    STALE = "8767 5", "No server helped: answered from the cache, though the time of that was over."
    RELAYED = "6147 5.1.1", "Answered as the server did."
    SYNTHESISED = "6147 5.1.7", "AAAA records made from A records, or the other way round (dns46)."
    FILTERED = "6147 5.1.4", "Answered without the AAAA records that are excluded, or the A records (filter_a)."
    LOCAL = "8880 7.1", "ipv4only.arpa, or a reverse name under the prefix (RFC 6147 5.3.1) or of a mapping."
    ANY = "8482 4.2", "A query for ANY got the short answer."
    FAILED = "1035 4.1.1", "SERVFAIL or another error: no server gave an answer."
    REFUSED = "1035 4.1.1", "REFUSED: the client is not in [dns64] clients."
    UNREADABLE = "1035 4.1.1", "FORMERR, NOTIMP or BADVERS: not a query that can be understood."
    DROPPED = "LIMITS", "Not answered: shorter than a header, or an answer."
    LIMITED = "LIMITS", "Not answered: the client is over [dns64] rate."
    OVERLOADED = "LIMITS", "Not answered: too many queries wait for servers."

    @property
    def label(self) -> str:
        """The name in counters and metrics."""
        return self.name.lower()


# What else happens, by its name among the events.
EVENTS = {
    "dns64_answer_strange": "Answers of name servers to no question of ours: late ones, or forged (RFC 5452).",
    "dns64_answer_mismatched": "Answers with the ID of a question of ours, to another question (RFC 5452).",
    "dns64_answer_case": "Answers in other letters than the question (0x20): it was asked again by TCP.",
    "dns64_process_restarted": "A process of the name server ended, and was started again.",
}
