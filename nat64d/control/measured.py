"""What only the metrics show of the data plane: shapes that `Gateway.measured` fills."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class QueueCounts(NamedTuple):
    """What one queue of the TUN device has carried since the start; pairs are 6to4, 4to6."""

    packets: tuple[int, int]
    octets: tuple[int, int]  # of those packets, as they came
    superframes: int  # those of them that were translated in one piece
    batches: Sequence[int]  # how many batches had so many packets, by that number


class SessionCount(NamedTuple):
    """How many sessions of a protocol are in a state."""

    protocol: str
    state: str
    sessions: int


class Fill(NamedTuple):
    """How much of a table is in use."""

    table: str
    used: int
    size: int


class AddressUse(NamedTuple):
    """The share of the ports of one pool address that is in use, for one protocol of one [[pool4]]."""

    address: str
    ports: str
    protocol: str
    source: str  # "": all hosts
    share: float


class ServiceUse(NamedTuple):
    """What one [[service]] has and does, since the start."""

    service: str
    sessions: int  # that are open
    flows: int  # that got a session
    unpinned: int  # packets that went where the hash said without one
    refused: Mapping[str, int]  # packets that were not let in, by verdict
    ready: int  # endpoints that get new flows
    draining: int  # those that get some only if none is ready
    down: int  # those that get none


class Measured(NamedTuple):
    """All of it. Numbers are read while packets pass, so two of them may be a packet apart."""

    queues: Sequence[QueueCounts]
    sessions: Sequence[SessionCount]
    tables: Sequence[Fill]
    addresses: Sequence[AddressUse]  # none where pool4 has too many of them
    expiry_lag: float  # seconds that the timer wheel is behind the clock
    services: Sequence[ServiceUse]  # many of them are one, serving.OTHERS
    restored: Mapping[str, int] | None  # sessions of the run before by their fate, None: [state] keeps none
