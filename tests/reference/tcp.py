"""The TCP state machine of RFC 6146 3.5.2.2, state by state in the order of the text."""

from dataclasses import dataclass
from enum import Enum, auto

FIN, SYN, RST, ACK = 1, 2, 4, 16


class State(Enum):
    """RFC 6146 3.5.2.1. CLOSED is the absence of a session."""

    V4_INIT = auto()
    V6_INIT = auto()
    ESTABLISHED = auto()
    V4_FIN_RCV = auto()
    V6_FIN_RCV = auto()
    V4_FIN_V6_FIN_RCV = auto()
    TRANS = auto()


class Timer(Enum):
    """Which lifetime a step gives the session; KEEP leaves the one that runs."""

    KEEP = auto()
    TCP_EST = auto()
    TCP_TRANS = auto()
    TCP_OPENING = auto()  # RFC 7857 2.1: of "partially open" connections
    TCP_CLOSING = auto()  # and of "closing" ones


@dataclass(frozen=True)
class Segment:
    """What the state machine sees of a packet: the side it came from and three flags."""

    from_v6: bool
    flags: int
    sequence: int = 0
    acknowledgment: int = 0
    length: int | None = 0  # octets of data; None: a fragment of who knows how many

    @property
    def sign(self) -> int:
        """The flag that counts. The RFC is silent on several at once; their receivers look at RST, SYN, FIN in this
        order (RFC 9293 3.10.7).
        """
        return next((flag for flag in (RST, SYN, FIN) if self.flags & flag), 0)

    def has(self, flag: int, from_v6: bool) -> bool:
        return self.from_v6 == from_v6 and self.sign == flag


@dataclass
class Window:
    """RFC 7857 2, RFC 5961: between which numbers the RST of one end is believed; None is not known."""

    sent: int | None = None  # the last number that end has sent, SYN and FIN counted as one each
    acknowledged: int | None = None  # what the other end has acknowledged of it

    def believes(self, number: int) -> bool:
        below = self.sent is None or reaches(self.sent, number)
        return below and (self.acknowledged is None or reaches(number, self.acknowledged))


def reaches(one: int, other: int) -> bool:
    """RFC 9293 3.4: one >= other modulo 2^32."""
    return (one - other) % (1 << 32) < 1 << 31


def later(known: int | None, number: int) -> int:
    return number if known is None or reaches(number, known) else known


def watch(windows: dict[bool, Window], state: State, segment: Segment) -> None:
    """Note the numbers of a segment that passed and left the session in `state`. A RST may be anybody's, and without
    any flag it is none (RFC 9293 3.10.7.4).
    """
    if not segment.flags:
        return
    if state in (State.TRANS, State.V4_FIN_V6_FIN_RCV):  # what comes now is another connection
        windows[True], windows[False] = Window(), Window()
    elif not segment.flags & RST:
        own, other = windows[segment.from_v6], windows[not segment.from_v6]
        end = None
        if segment.length is not None:
            count = bool(segment.flags & SYN) + bool(segment.flags & FIN) + segment.length
            end = (segment.sequence + count) % (1 << 32)
        anew = state in (State.V4_INIT, State.V6_INIT) and segment.flags & SYN
        own.sent = end if anew or end is None else later(own.sent, end)
        if segment.flags & ACK:
            other.acknowledged = later(other.acknowledged, segment.acknowledgment)


def step(state: State, segment: Segment, rst_during_fin: bool = False) -> tuple[State, Timer]:
    """Next state and lifetime; `rst_during_fin`: an option that the RFC does not have."""
    if state is State.V4_INIT:
        if segment.has(SYN, from_v6=True):
            return State.ESTABLISHED, Timer.TCP_EST
        return state, Timer.KEEP
    if state is State.V6_INIT:
        if segment.has(SYN, from_v6=False):  # with or without ACK
            return State.ESTABLISHED, Timer.TCP_EST
        if segment.has(SYN, from_v6=True):
            return state, Timer.TCP_OPENING
        return state, Timer.KEEP
    if state is State.ESTABLISHED:
        if segment.sign == FIN:  # no lifetime is named
            return (State.V6_FIN_RCV if segment.from_v6 else State.V4_FIN_RCV), Timer.KEEP
        if segment.sign == RST:
            return State.TRANS, Timer.TCP_TRANS
        return state, Timer.TCP_EST
    if state in (State.V4_FIN_RCV, State.V6_FIN_RCV):
        return step_half_closed(state, segment, rst_during_fin)
    if state is State.TRANS and segment.sign != RST:
        return State.ESTABLISHED, Timer.TCP_EST
    return state, Timer.KEEP  # V4 FIN + V6 FIN RCV: all packets; TRANS: a further RST, of which the text says nothing


def step_half_closed(state: State, segment: Segment, rst_during_fin: bool) -> tuple[State, Timer]:
    """One end has sent its FIN."""
    if segment.has(FIN, from_v6=state is State.V4_FIN_RCV):
        return State.V4_FIN_V6_FIN_RCV, Timer.TCP_CLOSING
    if rst_during_fin and segment.sign == RST:
        return State.TRANS, Timer.TCP_TRANS
    if segment.has(RST, from_v6=True):  # RFC 7857 7.1: an outbound RST does not refresh
        return state, Timer.KEEP
    return state, Timer.TCP_EST
