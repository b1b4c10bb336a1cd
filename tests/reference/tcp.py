"""The TCP state machine of RFC 6146 3.5.2.2, state by state in the order of the text."""

from dataclasses import dataclass
from enum import Enum, auto

FIN, SYN, RST = 1, 2, 4


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


@dataclass(frozen=True)
class Segment:
    """What the state machine sees of a packet: the side it came from and three flags."""

    from_v6: bool
    flags: int

    @property
    def sign(self) -> int:
        """The flag that counts. The RFC is silent on several at once; their receivers look at RST, SYN, FIN in this
        order (RFC 9293 3.10.7).
        """
        return next((flag for flag in (RST, SYN, FIN) if self.flags & flag), 0)

    def has(self, flag: int, from_v6: bool) -> bool:
        return self.from_v6 == from_v6 and self.sign == flag


def step(state: State, segment: Segment) -> tuple[State, Timer]:
    """Next state and lifetime."""
    if state is State.V4_INIT:
        if segment.has(SYN, from_v6=True):
            return State.ESTABLISHED, Timer.TCP_EST
        return state, Timer.KEEP
    if state is State.V6_INIT:
        if segment.has(SYN, from_v6=False):  # with or without ACK
            return State.ESTABLISHED, Timer.TCP_EST
        if segment.has(SYN, from_v6=True):
            return state, Timer.TCP_TRANS
        return state, Timer.KEEP
    if state is State.ESTABLISHED:
        if segment.sign == FIN:  # no lifetime is named
            return (State.V6_FIN_RCV if segment.from_v6 else State.V4_FIN_RCV), Timer.KEEP
        if segment.sign == RST:
            return State.TRANS, Timer.TCP_TRANS
        return state, Timer.TCP_EST
    if state in (State.V4_FIN_RCV, State.V6_FIN_RCV):
        if segment.has(FIN, from_v6=state is State.V4_FIN_RCV):
            return State.V4_FIN_V6_FIN_RCV, Timer.TCP_TRANS
        return state, Timer.TCP_EST
    if state is State.TRANS and segment.sign != RST:
        return State.ESTABLISHED, Timer.TCP_EST
    return state, Timer.KEEP  # V4 FIN + V6 FIN RCV: all packets; TRANS: a further RST, of which the text says nothing
