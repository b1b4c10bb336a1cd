"""How many ICMP errors may go out: RFC 4443 2.4 (f), RFC 1812 4.3.2.8, as this translator promises it to its operator.

Every prefix that errors go to has a share of its own, of each kind; all prefixes together have the whole of that kind.
"""

from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address, ip_network

from tests.reference.outcome import Expected
from tests.reference.rates import milliseconds

TOO_BIG = {4: (3, 4), 6: (2, 0)}
Key = tuple[object, ...]


class ErrorLimits:
    """Buckets that are full at first and hold what a second brings."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self.buckets: dict[Key, tuple[Fraction, Fraction]] = {}  # tokens, and when it had them

    def objections(self, expected: Expected, verdict: str, answer: bytes | None, at: float) -> list[str]:
        """Against an error that was one too many. One that was due and has no token is not `expected` any more."""
        if answer is not None:
            buckets = self.buckets_of(answer)
            if not self.have_tokens(buckets, at):
                return ["an ICMP error beyond the limit of them"]
            for key, rate in buckets.items():
                self.buckets[key] = self.tokens(key, rate, at) - 1, milliseconds(at)
            return []
        for refusal in expected.refusals:
            due = expected.answers.get(refusal.answer or "")
            if verdict in refusal.verdicts and due is not None and not self.have_tokens(self.buckets_of(due), at):
                del expected.answers[refusal.answer or ""]
        return []

    def buckets_of(self, error: bytes) -> dict[Key, int]:
        """The buckets an ICMP error takes from, and what each gains in a second."""
        family = error[0] >> 4
        at, to = (20, IPv4Address(error[16:20])) if family == 4 else (40, IPv6Address(error[24:40]))
        kind = "too big" if tuple(error[at : at + 2]) == TOO_BIG[family] else "others"
        whole = self.per_second * 10 if kind == "too big" else self.per_second
        prefix = ip_network((to, 24 if family == 4 else 64), strict=False)
        return {(kind, prefix): max(whole // 10, min(whole, 3)), (kind, family): whole}

    def have_tokens(self, buckets: dict[Key, int], at: float) -> bool:
        return all(self.tokens(key, rate, at) >= 1 for key, rate in buckets.items())

    def tokens(self, key: Key, rate: int, at: float) -> Fraction:
        now = milliseconds(at)
        tokens, since = self.buckets.get(key, (Fraction(rate), now))
        return min(Fraction(rate), tokens + (now - since) * rate)
