"""Binding information base and session table: RFC 6146 3.1, 3.2, 3.5.1.1, 4.

The IPv4 transport address of a new binding is the translator's to choose, within rules; so it is learnt from what the
translator sent, and the rules it broke are listed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from tests.reference.blocks import Blocks, objections_to_block, ports_beside
from tests.reference.displacement import objections_to
from tests.reference.rates import Rates
from tests.reference.shares import is_within, prefix_of
from tests.reference.tcp import State, Window

Host6 = tuple[IPv6Address, int]
Host4 = tuple[IPv4Address, int]
ALL_PORTS = range(65536)
CARRIED = ("tcp", "udp", "icmp")  # others are named by their number, and have port 0


@dataclass(frozen=True)
class Pool:
    """One `[[pool4]]`: addresses and ports inclusive, for some protocols, for hosts inside `source`."""

    first: IPv4Address
    last: IPv4Address
    port_first: int
    port_last: int
    protocols: tuple[str, ...]
    source: IPv6Network | None
    deterministic: bool = False  # RFC 7422

    def holds(self, address: IPv4Address, port: int) -> bool:
        return self.first <= address <= self.last and self.port_first <= port <= self.port_last

    def addresses(self) -> Iterator[IPv4Address]:
        return (IPv4Address(number) for number in range(int(self.first), int(self.last) + 1))


@dataclass
class Session:
    """A row of a session table under its BIB entry; `expires` on the caller's clock."""

    host4: Host4
    expires: float
    state: State = State.ESTABLISHED
    from_outside: bool = False
    is_answered: bool = False  # the side that did not open it has sent something; of TCP the state tells
    windows: dict[bool, Window] = field(default_factory=lambda: {True: Window(), False: Window()})  # from_v6


@dataclass
class Entry:
    """A BIB entry, RFC 6146 3.1: host6 (X',x) <-> mapped4 (T,t).

    `mapped4` is None as long as nobody has told what was chosen.
    """

    protocol: str
    host6: Host6
    mapped4: Host4 | None
    static: bool = False
    over: float = 0  # when its last session ended
    is_answered: bool = False  # something has come to it from outside
    of_service: bool = False  # nothing is looked up by its ends
    prefix: IPv6Network | None = None  # that its clients are written under, None: pool6
    sessions: dict[Host4, Session] = field(default_factory=dict)

    @property
    def outbound(self) -> int:
        """Sessions its host opened; those of a configured entry are there for who comes from outside."""
        return 0 if self.static else sum(not session.from_outside for session in self.sessions.values())


class Quarantine:
    """RFC 6888 REQ-8: the UDP ports and ICMP identifiers of bindings that ended, for `lifetime` seconds.

    A binding ends some time between the end of its last session and the moment somebody looks, so does the quarantine.
    """

    def __init__(self, lifetime: float) -> None:
        self.lifetime = lifetime
        self.ended: dict[tuple[str, Host4], tuple[float, float]] = {}

    def begin(self, entry: Entry, now: float) -> None:
        if entry.protocol in ("udp", "icmp") and entry.mapped4 is not None:
            self.ended[entry.protocol, entry.mapped4] = entry.over, now

    def holds(self, protocol: str, mapped4: Host4, now: float) -> bool:
        """For certain."""
        ended = self.ended.get((protocol, mapped4))
        return ended is not None and now < ended[0] + self.lifetime

    def may_hold(self, protocol: str, mapped4: Host4, now: float) -> bool:
        ended = self.ended.get((protocol, mapped4))
        return ended is not None and now <= ended[1] + self.lifetime + 1


class Bibs:
    """The three BIBs and session tables of RFC 6146 3.1 and 3.2."""

    def __init__(
        self,
        pools: list[Pool],
        static: list[Entry],
        quarantine: float = 0,
        *,
        is_strict: bool = False,
        subscriber: int = 64,
        blocks: Blocks | None = None,
    ) -> None:
        self.blocks = blocks
        self.pools = pools
        self.is_strict = is_strict  # pairing, RFC 7857 4
        self.subscriber = subscriber  # the length of its prefix
        self.quarantine = Quarantine(quarantine)
        self.rates = Rates()
        self.by_host6: dict[tuple[str, Host6], Entry] = {}
        self.members: list[Entry] = []  # of services
        self.served: set[IPv4Address] = set()  # addresses of services
        # The addresses a host has had since it has bindings: one that gave way for want of ports stays its own.
        self.paired: dict[IPv6Address, set[IPv4Address]] = {}
        self.first: dict[IPv6Address, IPv4Address] = {}  # the one of them that it had first
        self.by_mapped4: dict[tuple[str, Host4], Entry] = {}
        for entry in static:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        self.by_host6[entry.protocol, entry.host6] = entry
        if entry.mapped4 is not None:
            self.by_mapped4[entry.protocol, entry.mapped4] = entry
            if self.blocks is not None:
                self.blocks.join(entry)
            if not entry.static:
                self.paired.setdefault(entry.host6[0], set()).add(entry.mapped4[0])
                self.first.setdefault(entry.host6[0], entry.mapped4[0])

    now = 0.0

    def expire(self, now: float, tcp_trans: float) -> list[tuple[Entry, Host4]]:
        """RFC 6146 3.1: an entry made by a packet goes with its last session; a configured one stays.

        Returns the established TCP sessions whose time came: they are probed, and have TCP_TRANS more (3.5.2.2).
        """
        probed, ended = [], []
        self.now = now
        for entry in self.entries():
            entry.over = max((session.expires for session in entry.sessions.values()), default=now)
            for host4, session in list(entry.sessions.items()):
                if session.expires <= now and entry.protocol == "tcp" and session.state is State.ESTABLISHED:
                    probed.append((entry, host4))
                    session.state = State.TRANS
                    session.expires += tcp_trans
                if session.expires <= now:
                    del entry.sessions[host4]
            if not entry.sessions and not entry.static:
                self.quarantine.begin(entry, now)
                ended.append(entry)
                del self.by_host6[entry.protocol, entry.host6]
                if entry.mapped4 is not None:
                    del self.by_mapped4[entry.protocol, entry.mapped4]
        if self.blocks is not None:
            self.blocks.leave(self, ended, now)
        hosts = {entry.host6[0] for entry in self.by_host6.values() if not entry.static}
        self.paired = {host: addresses for host, addresses in self.paired.items() if host in hosts}
        self.first = {host: address for host, address in self.first.items() if host in hosts}
        self.rates.forget({entry.host6[0] for entry in self.entries()})
        return probed

    def ends(self, tcp_trans: float) -> Iterator[float]:
        """When sessions end, or begin to (an established one is probed first), and blocks of ports after them."""
        if self.blocks is not None:
            yield from self.blocks.ends()
        for entry in self.entries():
            for session in entry.sessions.values():
                yield session.expires
                if entry.protocol == "tcp" and session.state is State.ESTABLISHED:
                    yield session.expires + tcp_trans

    def count(self, host6: IPv6Address | None = None) -> int:
        """Sessions, of all or of one host."""
        return sum(len(entry.sessions) for entry in self.entries(host6))

    def entries(self, host6: IPv6Address | None = None) -> list[Entry]:
        known = (*self.by_host6.values(), *self.members)
        return [entry for entry in known if host6 is None or entry.host6[0] == host6]

    def is_ours(self, address: IPv4Address) -> bool:
        """RFC 6146 3.8: "an IPv4 address assigned to the NAT64 itself"."""
        if address in self.served:
            return True
        inside = any(pool.first <= address <= pool.last for pool in self.pools)
        return inside or any(entry.static and mapped4[0] == address for (_, mapped4), entry in self.by_mapped4.items())

    def pools_of(self, protocol: str, host: IPv6Address) -> list[Pool]:
        """The pools that serve this host and protocol: those with the longest source prefix around it."""
        wanted = protocol if protocol in CARRIED else "other"
        serving = [
            pool for pool in self.pools if wanted in pool.protocols and (pool.source is None or host in pool.source)
        ]
        longest = max((length_of(pool) for pool in serving), default=None)
        return [pool for pool in serving if length_of(pool) == longest]

    def free(
        self, protocol: str, pools: list[Pool], address: IPv4Address | None = None, among: range = ALL_PORTS
    ) -> Iterator[Host4]:
        """Every (T,t) in those pools that no entry of this BIB uses (RFC 6146 3.5.1.1, last rule)."""
        for pool in pools:
            for candidate in pool.addresses():
                if address is not None and candidate != address:
                    continue
                if protocol not in CARRIED:
                    if (protocol, (candidate, 0)) not in self.by_mapped4:
                        yield candidate, 0
                    continue
                for port in range(max(pool.port_first, among.start), min(pool.port_last + 1, among.stop)):
                    if (protocol, (candidate, port)) not in self.by_mapped4:
                        yield candidate, port

    def is_exhausted(self, protocol: str, pools: list[Pool], address: IPv4Address | None = None) -> bool:
        """No transport address is left for a new entry, of all or of one address."""
        return next(self.free(protocol, pools, address), None) is None

    def may_take(self, protocol: str, host: IPv6Address, pool: Pool, address: IPv4Address, spare: int = 0) -> bool:
        """RFC 6888 REQ-4: whether the host has less than its share of the ports of this address. What counts as its
        own is what it has of the protocol, but no more than its subscriber has here. `spare` ports count as free.
        """
        if protocol not in CARRIED:
            return True
        known = [entry for (name, _), entry in self.by_mapped4.items() if name == protocol]
        taken = [entry for entry in known if entry.mapped4[0] == address and pool.holds(*entry.mapped4)]  # type: ignore[index,misc]
        subscriber = prefix_of(host, self.subscriber)
        of_subscriber = sum(not entry.static and entry.host6[0] in subscriber for entry in taken)
        of_host = sum(not entry.static and entry.host6[0] == host for entry in known)
        free = pool.port_last - pool.port_first + 1 - len(taken) + spare
        return is_within(free, of_subscriber, min(of_host, of_subscriber), self.subscriber)

    def displace(self, entry: Entry) -> None:
        """It ends before its time, and what it had is another's at once."""
        assert entry.mapped4 is not None
        del self.by_host6[entry.protocol, entry.host6]
        del self.by_mapped4[entry.protocol, entry.mapped4]
        host = entry.host6[0]
        if all(one.static for one in self.entries(host)):
            self.paired.pop(host, None)
            self.first.pop(host, None)
        if not self.entries(host):
            self.rates.forget({other.host6[0] for other in self.entries()})

    def is_at_its_share(self, protocol: str, pools: list[Pool], host: IPv6Address, only: IPv4Address | None) -> bool:
        """There are ports, but none for this host."""
        rows = [(pool, address) for pool in pools for address in pool.addresses() if only in (None, address)]
        return not any(self.may_take(protocol, host, *row) for row in rows)

    def only_address(self, pools: list[Pool], host: IPv6Address) -> IPv4Address | None:
        """RFC 7857 4, RFC 6888 REQ-2: the address that all mappings of a host are to have, if it has one yet and these
        pools, which serve it, hold it.
        """
        first = self.first.get(host) if self.is_strict else None
        return first if first is not None and any(pool.first <= first <= pool.last for pool in pools) else None

    def _has_free(
        self, protocol: str, pools: list[Pool], address: IPv4Address | None = None, among: range = ALL_PORTS
    ) -> bool:
        return any(True for _ in self.unspent(protocol, self.free(protocol, pools, address, among)))

    def unspent(self, protocol: str, candidates: Iterator[Host4]) -> Iterator[Host4]:
        """Those that certainly are not in quarantine."""
        return (one for one in candidates if not self.quarantine.may_hold(protocol, one, self.now))

    def broken_rules(self, protocol: str, host6: Host6, chosen: Host4) -> list[str]:
        """What RFC 6146 3.5.1.1, 3.5.2.3 and 3.5.3 say against giving `chosen` to `host6`."""
        pools = self.pools_of(protocol, host6[0])
        where = f"{chosen[0]}:{chosen[1]} for [{host6[0]}]:{host6[1]} {protocol}"
        if self.blocks is not None and protocol in CARRIED:
            return [f"{where}: {why}" for why in self._broken_rules_of_blocks(self.blocks, protocol, host6, chosen)]
        if not any(
            pool.first <= chosen[0] <= pool.last if protocol not in CARRIED else pool.holds(*chosen) for pool in pools
        ):
            return [f"{where}: not in the pool4 of this host (RFC 6146 3.5.1.1)"]
        given, displaced = pools, self.by_mapped4.get((protocol, chosen))
        found = [f"{where}: {why}" for why in objections_to(self, displaced, host6[0])] if displaced is not None else []

        def open_at(address: IPv4Address) -> list[Pool]:
            return [pool for pool in given if self.may_take(protocol, host6[0], pool, address)]

        pools = open_at(chosen[0])
        if protocol in CARRIED and displaced is None and not any(pool.holds(*chosen) for pool in pools):
            found.append(f"{where}: of this address the host has its share (RFC 6888 REQ-4)")
        if self.quarantine.holds(protocol, chosen, self.now) and self._has_free(protocol, pools, chosen[0]):
            found.append(f"{where}: it was somebody else's {self.quarantine.lifetime} s ago (RFC 6888 REQ-8)")
        only = self.only_address(given, host6[0])
        if only is not None and chosen[0] != only:
            found.append(f"{where}: the host has {only} and no other (RFC 7857 4)")
        paired = self.paired.get(host6[0], set())
        if chosen[0] not in paired and any(self._has_free(protocol, open_at(one), one) for one in paired):
            found.append(f"{where}: the host already has {sorted(map(str, paired))} (RFC 6146 3.5.1.1, paired pooling)")
        if protocol not in ("tcp", "udp"):
            return found
        wished = range_of(host6[1])
        if chosen[1] not in wished and self._has_free(protocol, pools, chosen[0], wished):
            found.append(f"{where}: the port range (0-1023, 1024-65535) is not kept (RFC 6146 3.5.1.1)")
        if (
            protocol == "udp"
            and chosen[1] % 2 != host6[1] % 2
            and self._parity_was_free(protocol, pools, host6[1], chosen)
        ):
            found.append(f"{where}: the parity is not kept (RFC 6146 3.5.1.1)")
        return found

    def _broken_rules_of_blocks(self, blocks: Blocks, protocol: str, host6: Host6, chosen: Host4) -> list[str]:
        """The same where ports are handed out in blocks; within one, ports do not wait."""
        host = host6[0]
        found = objections_to_block(self, blocks, protocol, host, chosen)
        if (protocol, chosen) in self.by_mapped4:
            found.append("in use by another entry of the same BIB (RFC 6146 3.5.1.1)")
        only = self.only_address(self.pools_of(protocol, host), host)
        if only is not None and chosen[0] != only:
            found.append(f"the host has {only} and no other (RFC 7857 4)")
        beside, wished = ports_beside(self, blocks, protocol, host, chosen), range_of(host6[1])
        kept = chosen[1] in wished
        if protocol != "icmp" and not kept and any(port in wished for port in beside):
            found.append("the port range (0-1023, 1024-65535) is not kept (RFC 6146 3.5.1.1)")
        alike = [port for port in beside if port in range_of(chosen[1]) and port % 2 == host6[1] % 2]
        if protocol == "udp" and chosen[1] % 2 != host6[1] % 2 and alike:
            found.append("the parity is not kept (RFC 6146 3.5.1.1)")
        return found

    def _parity_was_free(self, protocol: str, pools: list[Pool], wanted: int, chosen: Host4) -> bool:
        among = self.unspent(protocol, self.free(protocol, pools, chosen[0], range_of(chosen[1])))
        return any(port % 2 == wanted % 2 for _, port in among)


def range_of(port: int) -> range:
    """RFC 6146 3.5.1.1: 0-1023 or 1024-65535, whichever holds the port."""
    return range(1024) if port < 1024 else range(1024, 65536)


def length_of(pool: Pool) -> int:
    return 0 if pool.source is None else pool.source.prefixlen
