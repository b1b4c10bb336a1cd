"""SYNs from outside that wait for the one of the other side: RFC 6146 3.5.2.2, RFC 5382 REQ-2 and REQ-4."""

from dataclasses import dataclass, field

from tests.reference.bib import Bibs, Entry, Host4, Host6

CAPACITY = 256  # RFC 6146 5.3: bounded; ours
QUOTED = 128  # octets kept of each, for the answer


@dataclass(frozen=True)
class Waiting:
    """A SYN from `peer` (Y,y) to `mapped4` (T,t), and the packet it came in."""

    peer: Host4
    mapped4: Host4
    expires: float
    packet: bytes


@dataclass
class WaitingSyns:
    """Those that wait, oldest first."""

    lifetime: float
    waiting: list[Waiting] = field(default_factory=list)

    def keep(self, peer: Host4, mapped4: Host4, packet: bytes, now: float) -> None:
        """The time of the first of several counts."""
        if not any((one.peer, one.mapped4) == (peer, mapped4) for one in self.waiting):
            self.waiting.append(Waiting(peer, mapped4, now + self.lifetime, packet[:QUOTED]))

    @property
    def is_full(self) -> bool:
        return len(self.waiting) >= CAPACITY

    def expire(self, now: float, bibs: Bibs) -> list[Waiting]:
        """Those whose time is over; without those that came through in the end and have a session."""
        over = [one for one in self.waiting if one.expires <= now]
        self.waiting = [one for one in self.waiting if one.expires > now]
        return [one for one in over if not has_session(bibs, one)]

    def met_by(self, bibs: Bibs, host6: Host6, peer: Host4, entry: Entry | None) -> Waiting | None:
        """The one that a SYN of `host6` to `peer` meets: its own binding's, or one to an address it may have."""
        for one in self.waiting:
            if one.peer != peer:
                continue
            if entry is not None and entry.mapped4 == one.mapped4:
                return one
            may_have = any(pool.holds(*one.mapped4) for pool in bibs.pools_of("tcp", host6[0]))
            if entry is None and may_have and ("tcp", one.mapped4) not in bibs.by_mapped4:
                return one
        return None

    def forget(self, one: Waiting) -> None:
        self.waiting.remove(one)


def has_session(bibs: Bibs, one: Waiting) -> bool:
    entry = bibs.by_mapped4.get(("tcp", one.mapped4))
    return entry is not None and one.peer in entry.sessions
