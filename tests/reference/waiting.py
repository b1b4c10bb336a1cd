"""SYNs from outside that nobody expects, and that are not answered at once: RFC 6146 3.5.2.2, RFC 5382 REQ-4.

They decide nothing (3.5.2.2 would let one name the mapping of a host6): the SYN of the other side opens a session as if
none waited, and one of the same side may come through later. Either way the one that waits is never answered.
"""

from dataclasses import dataclass, field, replace

from tests.reference.bib import Host4

CAPACITY = 256  # RFC 6146 5.3: bounded; ours
OF_NETWORK = 32  # of one /24
QUOTED = 128  # octets kept of each, for the answer


@dataclass(frozen=True)
class Waiting:
    """A SYN from `peer` (Y,y) to `mapped4` (T,t), and the packet it came in."""

    peer: Host4
    mapped4: Host4
    expires: float
    packet: bytes
    is_met: bool = False  # a SYN of its connection went through; its place is taken until its time is over


@dataclass
class WaitingSyns:
    """Those that wait, oldest first."""

    lifetime: float
    waiting: list[Waiting] = field(default_factory=list)

    def keep(self, peer: Host4, mapped4: Host4, packet: bytes, now: float) -> None:
        """The time of the first of several counts."""
        if not any((one.peer, one.mapped4) == (peer, mapped4) for one in self.waiting if not one.is_met):
            self.waiting.append(Waiting(peer, mapped4, now + self.lifetime, packet[:QUOTED]))

    def meet(self, peer: Host4, mapped4: Host4 | None) -> None:
        """RFC 5382 REQ-4: it is dropped in silence."""
        self.waiting = [
            replace(one, is_met=one.is_met or (one.peer, one.mapped4) == (peer, mapped4)) for one in self.waiting
        ]

    def has_room(self, peer: Host4) -> bool:
        """RFC 6146 5.3. What the /24 networks share by chance is not known here; too few wait in a test for that."""
        waiting = [one for one in self.waiting if not one.is_met]
        of_network = sum(1 for one in waiting if int(one.peer[0]) >> 8 == int(peer[0]) >> 8)
        return len(self.waiting) < CAPACITY and of_network < OF_NETWORK

    def expire(self, now: float) -> list[Waiting]:
        """Those whose time is over in vain."""
        over = [one for one in self.waiting if one.expires <= now]
        self.waiting = [one for one in self.waiting if one.expires > now]
        return [one for one in over if not one.is_met]
