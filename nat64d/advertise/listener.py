"""The NAT64 prefixes that routers announce on the links of this host (RFC 8781), for one who looks now and then.

The kernel keeps nothing of that option. Messages wait in the socket until somebody looks.
"""

import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv6Address, IPv6Network
from typing import NamedTuple, Self

from nat64d.advertise import wire
from nat64d.advertise.message import ADVERTISEMENT, parsed, solicitation

SOLICITATIONS, INTERVAL = 3, 4  # SPEC: RFC 4861 section 10: how many, and seconds between two of them
# LIMITS
PATIENCE = 1.0  # seconds: a router answers within half a second (MAX_RA_DELAY_TIME)
LINKS = 16  # that are asked
BATCH = 256  # messages that are read in one look: neighbours may flood
OFFERS = 64  # that are remembered


class Offer(NamedTuple):
    """A prefix that a router announces on a link, and for how many seconds it may be used; 0: not any more."""

    link: int  # index of the interface
    router: IPv6Address
    prefix: IPv6Network
    lifetime: float


class Listener:
    """Looks are to be taken from one thread at a time; the first few ask the routers, as long as none has answered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises OSError without CAP_NET_RAW."""
        self._clock, self._asked, self._again = clock, 0, clock()
        self._until: dict[tuple[int, IPv6Address, IPv6Network], float] = {}
        self._socket = wire.open_socket([ADVERTISEMENT])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()

    def solicit(self, links: Iterable[str]) -> None:
        """Ask the routers of these links (RFC 4861 section 6.3.7)."""
        for name in links:
            with suppress(OSError):  # the link is down, or went away
                wire.send(self._socket, solicitation(), wire.ALL_ROUTERS, socket.if_nametoindex(name))

    def offers(self, patience: float) -> Iterator[Offer]:
        """What advertisements offer within so many seconds; what is malformed or was forwarded is passed over."""
        deadline = self._clock() + patience
        for _ in range(BATCH):
            self._socket.settimeout(max(deadline - self._clock(), 0.0))
            try:
                message = wire.receive(self._socket)
            except OSError:  # there is no more, or the link went down
                return
            said = parsed(message.message) if message and message.source.is_link_local else None
            if message and said:  # RFC 4861 section 6.1.2
                for prefix, lifetime in said.pref64:
                    yield Offer(message.link, message.source, prefix, lifetime)

    def look(self) -> list[Offer]:
        """What may be used now, what was offered first in front."""
        self._take_in(0.0)
        if not self._until and self._asked < SOLICITATIONS and self._clock() >= self._again:
            self._asked, self._again = self._asked + 1, self._clock() + INTERVAL
            self.solicit(wire.links()[:LINKS])
            self._take_in(PATIENCE)
        now = self._clock()
        return [Offer(*offer, until - now) for offer, until in self._until.items()]

    def _take_in(self, patience: float) -> None:
        """Read what has come, or the first offer that comes within so many seconds."""
        for link, router, prefix, lifetime in self.offers(patience):
            known = (link, router, prefix) in self._until
            if known or len(self._until) < OFFERS:
                self._until[link, router, prefix] = self._clock() + lifetime
            if patience:
                break
        now = self._clock()
        self._until = {offer: until for offer, until in self._until.items() if until > now}
