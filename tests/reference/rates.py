"""RFC 6888 REQ-4 c and REQ-5 b: how many new sessions a host may open in a second; a bucket of so many tokens."""

from fractions import Fraction
from ipaddress import IPv6Address


class Rates:
    """A bucket for each host that has bindings: full at first, it gains `rate` tokens a second, and a session takes
    one.
    """

    def __init__(self) -> None:
        self.buckets: dict[IPv6Address, tuple[Fraction, Fraction]] = {}  # tokens, and when it had them

    def tokens(self, host: IPv6Address, rate: int, now: float) -> Fraction:
        at = milliseconds(now)
        tokens, since = self.buckets.get(host, (Fraction(rate), at))
        return min(Fraction(rate), tokens + (at - since) * rate)

    def has_token(self, host: IPv6Address, rate: int, now: float) -> bool:
        return self.tokens(host, rate, now) >= 1

    def take(self, host: IPv6Address, rate: int, now: float) -> None:
        if rate:
            self.buckets[host] = self.tokens(host, rate, now) - 1, milliseconds(now)

    def forget(self, known: set[IPv6Address]) -> None:
        """A host without bindings begins anew."""
        self.buckets = {host: bucket for host, bucket in self.buckets.items() if host in known}


def milliseconds(now: float) -> Fraction:
    """The translator's clock counts them."""
    return Fraction(round(now * 1000), 1000)
