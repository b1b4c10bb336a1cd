"""Filtering and updating binding and session information: RFC 6146 3.5, protocol by protocol, and 3.6.

Each function looks first and changes last. What it would change is a list of actions in the `Passage`, which the caller
runs when the packet was indeed translated: one that dies of another reason (hop limit, size) may or may not have
touched the tables, the RFCs do not say.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from tests.reference.bib import Bibs, Entry, Host4, Host6, Session
from tests.reference.outcome import Refusal
from tests.reference.tcp import RST, SYN, Segment, State, Timer, step
from tests.reference.waiting import WaitingSyns


@dataclass(frozen=True)
class Policy:
    """Lifetimes (RFC 6146 section 4), security policy and capacities, from the configuration."""

    lifetimes: dict[str, float]  # udp, icmp, TCP_EST, TCP_TRANS, TCP_INCOMING_SYN
    address_dependent: bool = False
    drop_inbound_tcp: bool = False
    sessions: int = 1 << 20
    per_host_sessions: int = 0
    per_host_ports: int = 0
    check_rst: bool = False  # RFC 7857 2
    rst_during_fin: bool = False

    def lifetime_of(self, protocol: str) -> float:
        """RFC 6146 4; of other protocols as of UDP."""
        return self.lifetimes["icmp" if protocol == "icmp" else "udp"]


@dataclass(frozen=True)
class Tuple:
    """RFC 6146 3.4: an incoming packet's transport addresses. `segment` for TCP only."""

    protocol: str  # udp | tcp | icmp | the number of another
    source: tuple[IPv4Address | IPv6Address, int]
    destination: tuple[IPv4Address, int]  # from IPv6: already extracted (3.5.4)
    is_error: bool = False
    segment: Segment | None = None


@dataclass
class Passage:
    """What 3.5 and 3.6 say: reasons against, the BIB entry, and the changes to make if the packet goes."""

    refusals: list[Refusal] = field(default_factory=list)
    entry: Entry | None = None
    actions: list[Callable[[], None]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    session: Session | None = None  # that the packet belongs to


def from_ipv6(
    bibs: Bibs, syns: WaitingSyns, policy: Policy, now: float, incoming: Tuple, chosen: Host4 | None
) -> Passage:
    """3.5.1, 3.5.2, 3.5.3 for a packet from an IPv6 host; `chosen` is what the translator took as (T,t), if it sent
    something.
    """
    host6: Host6 = incoming.source  # type: ignore[assignment]
    entry = bibs.by_host6.get((incoming.protocol, host6))
    if incoming.is_error:  # 3.5: no effect on any table; 3.6: the BIB entry is needed
        missing = [] if entry else [Refusal("6146 3.6", ("NO_BIB_ENTRY", "NO_SESSION"))]
        return Passage(missing, entry)
    complaints = []
    if entry and entry.mapped4 is None and chosen is not None:
        complaints = bibs.broken_rules(incoming.protocol, host6, chosen)
        entry.mapped4 = chosen
        bibs.add(entry)
    if entry and incoming.destination in entry.sessions:
        session = entry.sessions[incoming.destination]
        return Passage([], entry, [refresh(policy, now, session, incoming)], complaints, session)
    opens = incoming.segment is None or incoming.segment.sign == SYN
    if not opens and entry is None:  # 3.5.2.2 CLOSED, any other packet
        return Passage([Refusal("6146 3.5.2.2", ("NO_SESSION", "NO_BIB_ENTRY"))])
    if not opens:
        return Passage([], entry, [], complaints)
    return opened_by_ipv6(bibs, syns, policy, now, incoming, entry, chosen)


def opened_by_ipv6(
    bibs: Bibs,
    syns: WaitingSyns,
    policy: Policy,
    now: float,
    incoming: Tuple,
    entry: Entry | None,
    chosen: Host4 | None,
) -> Passage:
    """A new session, and a BIB entry where there is none."""
    host6: Host6 = incoming.source  # type: ignore[assignment]
    refusals, complaints = room_for_session(bibs, policy, host6), []
    created = []
    session = Session(incoming.destination, now + first_lifetime(policy, incoming), State.V6_INIT)
    met = syns.met_by(bibs, host6, incoming.destination, entry) if incoming.protocol == "tcp" else None
    if met is not None:  # 3.5.2.2: state V4_INIT, event V6 SYN
        session = Session(incoming.destination, now + policy.lifetimes["TCP_EST"], State.ESTABLISHED)
        created.append(lambda: syns.forget(met))
    if entry is None:
        refusals += room_for_binding(bibs, policy, incoming.protocol, host6)
        if met is not None and chosen is not None and chosen != met.mapped4:
            complaints = [f"{chosen}: a SYN waits at {met.mapped4} (RFC 6146 3.5.2.2)"]
        elif met is None and chosen is not None:
            complaints = bibs.broken_rules(incoming.protocol, host6, chosen)
        entry = Entry(incoming.protocol, host6, chosen)
        created.append(lambda: bibs.add(entry))
    created.append(lambda: entry.sessions.__setitem__(incoming.destination, session))
    return Passage(refusals, entry, created, complaints, session)


def room_for_session(bibs: Bibs, policy: Policy, host6: Host6) -> list[Refusal]:
    """ "If resources and policy permit": capacities of the configuration (RFC 6888 REQ-5)."""
    found = []
    if policy.per_host_sessions and bibs.count(host6[0]) >= policy.per_host_sessions:
        found.append(Refusal("6888 REQ-5", ("HOST_SESSIONS",), "ADDRESS_UNREACHABLE"))
    if bibs.count() >= policy.sessions:
        found.append(Refusal("6146 3.5", ("SESSION_TABLE_FULL",), "ADDRESS_UNREACHABLE"))
    return found


def room_for_binding(bibs: Bibs, policy: Policy, protocol: str, host6: Host6) -> list[Refusal]:
    """3.5.1.1, last paragraph, and RFC 6888 REQ-4."""
    pools = bibs.pools_of(protocol, host6[0])
    if not pools:
        return [Refusal("6146 3.5.1.1", ("NO_POOL4",), "PROHIBITED")]
    if bibs.is_exhausted(protocol, pools):
        return [Refusal("6146 3.5.1.1", ("POOL4_EXHAUSTED",), "ADDRESS_UNREACHABLE", must_answer=True)]
    if policy.per_host_ports and len(bibs.entries(host6[0])) >= policy.per_host_ports:
        return [Refusal("6888 REQ-4", ("HOST_PORTS",), "ADDRESS_UNREACHABLE")]
    return []


def from_ipv4(bibs: Bibs, policy: Policy, now: float, incoming: Tuple, keep: Callable[[], None] | None) -> Passage:
    """3.5.1, 3.5.2, 3.5.3 for a packet from an IPv4 host; `keep` lets a SYN wait, None if it cannot."""
    peer: Host4 = incoming.source  # type: ignore[assignment]
    entry = bibs.by_mapped4.get((incoming.protocol, incoming.destination))
    opens = incoming.segment is not None and incoming.segment.sign == SYN
    if policy.drop_inbound_tcp or not opens:
        keep = None
    if entry is None:
        if opens and policy.drop_inbound_tcp:
            return Passage([Refusal("6146 3.5.2.2", ("FILTERED_INBOUND_TCP", "NO_BIB_ENTRY", "NO_SESSION"))])
        return Passage([without_binding(incoming)] if keep is None else [HELD], None, [keep] if keep else [])
    if incoming.is_error:
        return Passage([], entry)
    if peer in entry.sessions:
        session = entry.sessions[peer]
        return Passage([], entry, [refresh(policy, now, session, incoming)], session=session)
    refusals = []
    known = any(host4[0] == peer[0] for host4 in entry.sessions)
    if policy.address_dependent and not known and keep is not None:
        return Passage([HELD], entry, [keep])
    if policy.address_dependent and not known:
        refusals.append(Refusal("6146 3.5", ("FILTERED_ADF",), "PROHIBITED"))
    if incoming.segment is not None and incoming.segment.sign != SYN:  # 3.5.2.2 CLOSED, any other packet
        return Passage(refusals, entry)
    if incoming.segment is not None and policy.drop_inbound_tcp:
        refusals.append(Refusal("6146 3.5.2.2", ("FILTERED_INBOUND_TCP",)))
    refusals += room_for_session(bibs, policy, entry.host6)
    session = Session(peer, now + first_lifetime(policy, incoming), State.V4_INIT)
    return Passage(refusals, entry, [lambda: entry.sessions.__setitem__(peer, session)], session=session)


HELD = Refusal("6146 3.5.2.2", ("SYN_HELD",))


def without_binding(incoming: Tuple) -> Refusal:
    """Nobody inside uses (T,t): 3.5.1 may answer type 3, 3.5.3 may answer 3/1; 3.5.2.2 says nothing at once, for
    simultaneous open.
    """
    answer = None if incoming.protocol == "tcp" or incoming.is_error else "ADDRESS_UNREACHABLE"
    return Refusal("6146 3.5", ("NO_BIB_ENTRY", "NO_SESSION"), answer)


def first_lifetime(policy: Policy, incoming: Tuple) -> float:
    """3.5.1, 3.5.3: the protocol's; 3.5.2.2: TCP_TRANS from CLOSED on either side."""
    return policy.lifetimes["TCP_TRANS"] if incoming.protocol == "tcp" else policy.lifetime_of(incoming.protocol)


def refresh(policy: Policy, now: float, session: Session, incoming: Tuple) -> Callable[[], None]:
    """A packet of an existing session: 3.5.1 and 3.5.3 reset the timer, 3.5.2.2 steps the state machine."""

    def change() -> None:
        if incoming.segment is None:
            session.expires = now + policy.lifetime_of(incoming.protocol)
            return
        segment, timer = incoming.segment, Timer.KEEP
        believed = not policy.check_rst or session.windows[segment.from_v6].believes(segment.sequence)
        if segment.sign != RST or believed:
            session.state, timer = step(session.state, segment, policy.rst_during_fin)
        if timer is not Timer.KEEP:
            session.expires = now + policy.lifetimes[timer.name]

    return change
