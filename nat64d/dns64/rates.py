"""How many queries a client may ask."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

CLIENTS = 4096  # whose rates are remembered


class Rates:
    """A token bucket a client, one second deep (of an IPv6 client: its /64).

    What is kept of a bucket is the time at which it will be full again; who is not known has a full one.
    """

    def __init__(self, rate: int) -> None:
        """`rate`: queries a second; 0: no limit."""
        self._cost = 1 / rate if rate else 0.0
        self._full: dict[str, float] = {}

    def allows(self, client: str, now: float) -> bool:
        """Whether one more query is within the client's rate."""
        if not self._cost:
            return True
        key = subscriber(client)
        full = self._full.get(key, now)
        full = (full if full > now else now) + self._cost  # noqa: FURB136  max() takes twice as long
        if full > now + 1 + self._cost / 2:
            return False
        self._full[key] = full
        if len(self._full) > CLIENTS:
            self._forget(now)
        return True

    def _forget(self, now: float) -> None:
        """Those whose buckets are full again, and of the others those that are known longest."""
        kept = [(key, full) for key, full in self._full.items() if full > now]
        self._full = dict(kept[-CLIENTS // 2 :])


@lru_cache(CLIENTS)
def subscriber(client: str) -> str:
    """The IPv4 address, or the /64 of an IPv6 one."""
    address = ip_address(client.partition("%")[0])
    return client if address.version == 4 else str(IPv6Address(int(address) >> 64 << 64))
