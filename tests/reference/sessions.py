"""Filtering and updating binding and session information: RFC 6146 3.5, protocol by protocol, and 3.6.

Each function looks first and changes last. What it would change is a list of actions in the `Passage`, which the caller
runs when the packet was indeed translated: one that dies of another reason (hop limit, size) may or may not have
touched the tables, the RFCs do not say.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from tests.reference.bib import CARRIED, Bibs, Entry, Host4, Host6, Session
from tests.reference.blocks import refusal_of
from tests.reference.displacement import has_to_give_way
from tests.reference.outcome import Refusal
from tests.reference.services import AMBIGUOUS, CLASH, CLOSED, NO_ENDPOINT, NO_FLOW, SOURCE, Services, tells
from tests.reference.shares import may_be_opened, may_open, shortened
from tests.reference.tcp import ACK, RST, SYN, Segment, State, Timer, step


@dataclass(frozen=True)
class Policy:
    """Lifetimes (RFC 6146 section 4), security policy and capacities, from the configuration."""

    lifetimes: dict[str, float]  # udp, icmp, and those of Timer by their names
    address_dependent: bool = False
    drop_inbound_tcp: bool = False
    sessions: int = 1 << 20
    subscriber: int = 64  # the length of its prefix
    per_host_sessions: int = 0
    per_host_ports: int = 0
    per_host_rate: int = 0
    check_rst: bool = False  # RFC 7857 2
    rst_during_fin: bool = False
    resets_until: float = 0.0

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
    prefix: IPv6Network | None = None  # from IPv6: that the destination stood under, None: pool6


@dataclass
class Passage:
    """What 3.5 and 3.6 say: reasons against, the BIB entry, and the changes to make if the packet goes."""

    refusals: list[Refusal] = field(default_factory=list)
    entry: Entry | None = None
    actions: list[Callable[[], None]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    session: Session | None = None  # that the packet belongs to


def answered_by_service(bibs: Bibs, services: Services, policy: Policy, now: float, incoming: Tuple) -> Passage | None:
    """A packet from IPv6 that is of a flow of a service, with its session or without; None: it is not."""
    entry = services.session_of(incoming.protocol, incoming.source, incoming.destination, incoming.prefix)  # type: ignore[arg-type]
    if entry is not None:
        session = entry.sessions[incoming.destination]
        return Passage([], entry, [refresh(bibs, policy, now, session, incoming, True)], session=session)
    if incoming.prefix is not None:
        return to_client(services, policy, now, incoming)
    own = bibs.by_host6.get((incoming.protocol, incoming.source))  # type: ignore[arg-type]
    if own is not None and incoming.destination in own.sessions:
        return None
    if services.accepts_for_several(bibs, incoming):
        return Passage([AMBIGUOUS])
    entry = services.answering(bibs, incoming)
    return None if entry is None else Passage([], entry)


def to_client(services: Services, policy: Policy, now: float, incoming: Tuple) -> Passage:
    """A packet without session to a prefix of clients, where nothing is opened."""
    found = services.judge(incoming)
    if isinstance(found, Entry):
        return Passage([], found)
    segment = incoming.segment
    if found is NO_FLOW and segment is not None and (segment.sign != SYN or segment.flags & ACK):
        lost = without_session(policy, now, incoming)
        found = lost if lost.answer else found
    return Passage([found])


def to_service(bibs: Bibs, services: Services, policy: Policy, now: float, incoming: Tuple) -> Passage:
    """A packet from IPv4 to the address of a service that no BIB entry has."""
    peer: Host4 = incoming.source  # type: ignore[assignment]
    front = services.fronts.get((incoming.protocol, incoming.destination))
    if front is None:
        return Passage([CLOSED])
    for entry, _ in front.members:
        if peer in entry.sessions:
            session = entry.sessions[peer]
            return Passage([], entry, [refresh(bibs, policy, now, session, incoming, True)], session=session)
    if front.sources and not any(peer[0] in one for one in front.sources):
        return Passage([SOURCE])
    segment = incoming.segment
    opens = not tells(incoming) and (segment is None or segment.sign == SYN)
    entry = home = services.home(front, peer, opens, now) or services.choose(front, peer, opens)
    if home is None:
        return Passage([NO_ENDPOINT])
    if tells(incoming):
        return Passage([], entry)
    near = (one for one in bibs.entries() if (one.protocol, one.prefix) == (incoming.protocol, front.prefix))
    own = [one for one in near if peer in one.sessions]
    if home.host6 in [one.host6 for one in own]:
        entry = services.choose(front, peer, opens, [one.host6 for one in own])
    if entry is None:
        return Passage([CLASH])
    if services.is_crowded(bibs):
        return Passage([], entry)
    timer = "service_udp" if segment is None else "service_syn" if opens else "TCP_TRANS"
    lifetime = policy.lifetimes[timer]
    if opens:
        lifetime = shortened(lifetime, policy.sessions, bibs.count() + 1)
    state = State.V4_INIT if opens else State.TRANS
    session = Session(peer, round(now + lifetime, 3), state, from_outside=True)
    settles = partial(services.settle, front, peer, home, now)
    return Passage([], entry, [lambda: entry.sessions.__setitem__(peer, session), settles], session=session)


def from_ipv6(bibs: Bibs, policy: Policy, now: float, incoming: Tuple, chosen: Host4 | None) -> Passage:
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
        return Passage([], entry, [refresh(bibs, policy, now, session, incoming)], complaints, session)
    opens = incoming.segment is None or incoming.segment.sign == SYN
    if not opens and entry is None:  # 3.5.2.2 CLOSED, any other packet
        return Passage([without_session(policy, now, incoming)])
    if not opens:
        return Passage([], entry, [], complaints)
    return opened_by_ipv6(bibs, policy, now, incoming, entry, chosen)


def opened_by_ipv6(
    bibs: Bibs,
    policy: Policy,
    now: float,
    incoming: Tuple,
    entry: Entry | None,
    chosen: Host4 | None,
) -> Passage:
    """A new session, and a BIB entry where there is none."""
    host6: Host6 = incoming.source  # type: ignore[assignment]
    is_static, complaints = entry is not None and entry.static, []
    if is_static and not may_be_opened(bibs, policy.sessions, entry, policy.subscriber):  # type: ignore[arg-type]
        return Passage([], entry)  # its mapping is configured, so it needs no session
    refusals = [] if is_static else room_for_session(bibs, policy, host6)
    if policy.per_host_rate and not is_static and not bibs.rates.has_token(host6[0], policy.per_host_rate, now):
        refusals.append(Refusal("6888 REQ-5 b", ("HOST_RATE",), "ADDRESS_UNREACHABLE"))
    created = [] if is_static else [lambda: bibs.rates.take(host6[0], policy.per_host_rate, now)]
    session = Session(incoming.destination, round(now + first_lifetime(bibs, policy, incoming), 3), State.V6_INIT)
    if entry is None:
        displaced = bibs.by_mapped4.get((incoming.protocol, chosen)) if chosen is not None else None
        refusals += room_for_binding(bibs, policy, incoming.protocol, host6, displaced)
        if chosen is not None:
            complaints = bibs.broken_rules(incoming.protocol, host6, chosen)
        entry = Entry(incoming.protocol, host6, chosen)
        if displaced is not None and not displaced.static:
            created.insert(0, lambda: bibs.displace(displaced))
        created.append(lambda: bibs.add(entry))
    created.append(lambda: entry.sessions.__setitem__(incoming.destination, session))
    return Passage(refusals, entry, created, complaints, session)


def room_for_session(bibs: Bibs, policy: Policy, host6: Host6) -> list[Refusal]:
    """ "If resources and policy permit": capacities of the configuration (RFC 6888 REQ-5)."""
    found = []
    own = sum(entry.outbound for entry in bibs.entries(host6[0]))
    if policy.per_host_sessions and own >= policy.per_host_sessions:
        found.append(Refusal("6888 REQ-5", ("HOST_SESSIONS",), "ADDRESS_UNREACHABLE"))
    if not may_open(bibs, policy.sessions, host6[0], policy.subscriber):
        found.append(Refusal("6888 REQ-5", ("SUBSCRIBER_SESSIONS",), "ADDRESS_UNREACHABLE"))
    if bibs.count() >= policy.sessions:
        found.append(Refusal("6146 3.5", ("SESSION_TABLE_FULL",), "ADDRESS_UNREACHABLE"))
    return found


def room_for_binding(bibs: Bibs, policy: Policy, protocol: str, host6: Host6, displaced: Entry | None) -> list[Refusal]:
    """3.5.1.1, last paragraph, and RFC 6888 REQ-4; `displaced` ends for the sake of the new binding."""
    found = []
    own = [entry for entry in bibs.entries(host6[0]) if entry.protocol == protocol and not entry.static]
    if policy.per_host_ports and protocol in CARRIED and len(own) >= policy.per_host_ports:
        found.append(Refusal("6888 REQ-4", ("HOST_PORTS",), "ADDRESS_UNREACHABLE"))
    pools = bibs.pools_of(protocol, host6[0])
    if not pools:
        return [*found, Refusal("6146 3.5.1.1", ("NO_POOL4",), "PROHIBITED")]
    if bibs.blocks is not None and protocol in CARRIED:
        refused = refusal_of(bibs, bibs.blocks, protocol, host6[0])
        if refused is not None:
            found.append(Refusal(refused[1], (refused[0],), "ADDRESS_UNREACHABLE", must_answer=True))
        return found
    only = bibs.only_address(pools, host6[0])
    if displaced is not None or has_to_give_way(bibs, protocol, host6[0]):
        return found
    if bibs.is_exhausted(protocol, pools, only):
        others = only is not None and len({address for pool in pools for address in pool.addresses()}) > 1
        verdict, source = ("PAIRED_FULL", "7857 4") if others else ("POOL4_EXHAUSTED", "6146 3.5.1.1")
        found.append(Refusal(source, (verdict,), "ADDRESS_UNREACHABLE", must_answer=True))
    elif bibs.is_at_its_share(protocol, pools, host6[0], only):
        found.append(Refusal("6888 REQ-4", ("SUBSCRIBER_PORTS",), "ADDRESS_UNREACHABLE", must_answer=True))
    return found


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
        nobody = nobody_of(bibs, policy, now, incoming)
        return Passage([nobody] if keep is None else [HELD], None, [keep] if keep else [])
    if incoming.is_error:
        return Passage([], entry)
    hear = partial(note_answer, entry, peer)
    if peer in entry.sessions:
        session = entry.sessions[peer]
        return Passage([], entry, [refresh(bibs, policy, now, session, incoming), hear], session=session)
    refusals = []
    known = any(host4[0] == peer[0] for host4 in entry.sessions)
    if policy.address_dependent and not known and keep is not None:
        return Passage([HELD], entry, [keep])
    if policy.address_dependent and not known:
        refusals.append(Refusal("6146 3.5", ("FILTERED_ADF",), "PROHIBITED"))
    if incoming.segment is not None and incoming.segment.sign != SYN:  # 3.5.2.2 CLOSED, any other packet
        return Passage(refusals, entry, [hear])
    if incoming.segment is not None and policy.drop_inbound_tcp:
        refusals.append(Refusal("6146 3.5.2.2", ("FILTERED_INBOUND_TCP",)))
    if not may_be_opened(bibs, policy.sessions, entry, policy.subscriber):
        if incoming.segment is not None and not entry.static:
            verdict = "SESSION_TABLE_FULL" if bibs.count() >= policy.sessions else "INBOUND_SESSIONS"
            refusals.append(Refusal("6146 3.5.2.2", (verdict,), "ADDRESS_UNREACHABLE"))
        return Passage(refusals, entry, [hear])  # RFC 4787 REQ-8: endpoint-independent filtering lets it pass
    session = Session(peer, round(now + first_lifetime(bibs, policy, incoming), 3), State.V4_INIT, from_outside=True)
    return Passage(refusals, entry, [lambda: entry.sessions.__setitem__(peer, session), hear], session=session)


def nobody_of(bibs: Bibs, policy: Policy, now: float, incoming: Tuple) -> Refusal:
    """Why a packet from IPv4 is for nobody behind us."""
    opens = incoming.segment is None or incoming.segment.sign == SYN
    if opens or not bibs.is_ours(incoming.destination[0]):
        return without_binding(incoming)
    return without_session(policy, now, incoming)


HELD = Refusal("6146 3.5.2.2", ("SYN_HELD",))


def note_answer(entry: Entry, peer: Host4) -> None:
    """Something came for it from outside. What leaves a session of a host as unanswered as it was (a RST) does not
    count.
    """
    session = entry.sessions.get(peer)
    waits = session is not None and session.state in (State.V4_INIT, State.V6_INIT) and not session.is_answered
    entry.is_answered = entry.is_answered or not waits or (session is not None and session.from_outside)


def without_session(policy: Policy, now: float, incoming: Tuple) -> Refusal:
    """3.5.2.2 CLOSED, any other packet: silence, or for a while after a start what RFC 9293 3.10.7.1 asks of a host."""
    if incoming.segment is None or incoming.segment.sign == RST or now >= policy.resets_until:
        return Refusal("6146 3.5.2.2", ("NO_SESSION", "NO_BIB_ENTRY"))
    return Refusal("9293 3.10.7.1", ("LOST_SESSION",), "RESET", must_answer=True)


def without_binding(incoming: Tuple) -> Refusal:
    """Nobody inside uses (T,t): 3.5.1 may answer type 3, 3.5.3 may answer 3/1; 3.5.2.2 says nothing at once, for
    simultaneous open.
    """
    answer = None if incoming.protocol == "tcp" or incoming.is_error else "ADDRESS_UNREACHABLE"
    return Refusal("6146 3.5", ("NO_BIB_ENTRY", "NO_SESSION"), answer)


def first_lifetime(bibs: Bibs, policy: Policy, incoming: Tuple) -> float:
    """3.5.1, 3.5.3: the protocol's; 3.5.2.2: TCP_TRANS from CLOSED on either side, which is that of RFC 7857 2.1."""
    own = policy.lifetimes["TCP_OPENING"] if incoming.protocol == "tcp" else policy.lifetime_of(incoming.protocol)
    return shortened(own, policy.sessions, bibs.count() + 1)


def refresh(
    bibs: Bibs, policy: Policy, now: float, session: Session, incoming: Tuple, served: bool = False
) -> Callable[[], None]:
    """A packet of an existing session: 3.5.1 and 3.5.3 reset the timer, 3.5.2.2 steps the state machine. As long as
    one side only has sent, the time is that of a first packet, and is never taken away. `served`: it is of a service.
    """

    def prolong(lifetime: float) -> None:
        short = shortened(lifetime, policy.sessions, bibs.count())
        session.expires = max(session.expires, round(now + short, 3))

    def change() -> None:
        if incoming.segment is None:
            lifetime, from_v4 = policy.lifetime_of(incoming.protocol), incoming.source[0].version == 4
            lifetime = policy.lifetimes["service_udp"] if served else lifetime
            session.is_answered = session.is_answered or from_v4 != session.from_outside
            if not session.is_answered:
                prolong(lifetime)
            else:
                session.expires = now + lifetime
            return
        segment, timer = incoming.segment, Timer.KEEP
        believed = not policy.check_rst or session.windows[segment.from_v6].believes(segment.sequence)
        if served and session.state is State.V4_INIT and not segment.from_v6 and segment.sign not in (SYN, RST):
            prolong(policy.lifetimes["TCP_TRANS"])
        elif segment.sign != RST or believed:
            session.state, timer = step(session.state, segment, policy.rst_during_fin)
        if timer is Timer.TCP_OPENING:
            prolong(policy.lifetimes["TCP_OPENING"])
        elif timer is not Timer.KEEP:
            session.expires = now + policy.lifetimes[timer.name]

    return change
