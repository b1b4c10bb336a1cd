"""Flows of a way, opened: both sides have sent, and the frames of both sides are there."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tests.bench.path import frames
from tests.bench.path.frames import Ends, Flows, Numbers, Octets
from tests.bench.path.places import Way
from tests.bench.path.wire import End, Offered

CHUNK = 8192  # flows opened at a time: no more than the ring of the capture holds
OPENING_RATE = 50_000  # a second, which every way takes
QUIET, FEW = 0.2, 1  # seconds in which no more than so many frames come at a time: those of neighbour discovery
PATIENCE = 5.0  # seconds after which it has not ended
ATTEMPTS = 4
SETTLE = 0.3  # seconds after which the fast path takes flows that it has seen, in each direction

SIX_TO_FOUR, FOUR_TO_SIX = "6to4", "4to6"
DIRECTIONS = (SIX_TO_FOUR, FOUR_TO_SIX)


class FlowsError(Exception):
    """Flows could not be opened; one sentence."""


class Load(NamedTuple):
    """Who sends, who receives, and what a frame that arrives has before its payload."""

    sender: End
    receiver: End
    header: int
    payload: int
    width: int  # octets of an address at the receiver

    def arrived(self, before: tuple[int, int], expected: int = 0) -> int:
        """Datagrams since a count: once so many as `expected` have come, or nothing more comes. A frame may be a
        super-frame: one header before several payloads."""

        def datagrams(count: tuple[int, int]) -> int:
            return round((count[0] - before[0] - (count[1] - before[1]) * self.header) / self.payload)

        return datagrams(settled(self.receiver, lambda count: datagrams(count) >= expected))

    def run(self, rate: float, seconds: float, rests: bool = False) -> tuple[Offered, int]:
        """Send; what was sent and how much of it arrived."""
        before = self.receiver.count()
        offered = self.sender.offer(rate, seconds, rests)
        return offered, self.arrived(before, offered.sent)


def settled(end: End, enough: Callable[[tuple[int, int]], bool] = lambda count: False) -> tuple[int, int]:
    """The count of an end once it is enough, or nothing more comes."""
    count, since = end.count(), time.monotonic()
    deadline = since + PATIENCE
    while not enough(count) and time.monotonic() < min(since + QUIET, deadline):
        time.sleep(0.01)
        before, count = count, end.count()
        if count[1] - before[1] > FEW:
            since = time.monotonic()
    return count


def from_client(way: Way, flows: Flows, payload: Octets) -> Octets:
    """The frames of clients, a row for each flow."""
    hosts = frames.addresses(way.hosts)
    ends = Ends(hosts[flows.host], flows.client_port, frames.addresses([way.target]), flows.server_port)
    return frames.build(way.client_gateway + way.client_end.mac(), ends, payload)


def open_flows(way: Way, flows: Flows) -> Ends:
    """Let clients send first, and the server answer; returns what the server sees them as. FlowsError."""
    first = from_client(way, flows, frames.opening(flows.number))
    seen = Ends(
        np.zeros((flows.number, way.width[1]), np.uint8),
        np.zeros(flows.number, np.int64),
        frames.addresses([way.server]),
        flows.server_port,
    )
    missing: Numbers = np.arange(flows.number)
    way.server_end.listen(False)
    try:
        for _ in range(ATTEMPTS):
            for at in range(0, len(missing), CHUNK):
                way.client_end.load(first[missing[at : at + CHUNK]], once=True)
                way.client_end.offer(OPENING_RATE, len(missing[at : at + CHUNK]) / OPENING_RATE, True)
                _hear(way, seen)
            missing = np.flatnonzero(seen.source_port == 0)
            if not len(missing):
                break
    finally:
        way.server_end.heard()
    if len(missing):
        raise FlowsError(f"{way.name}: {len(missing)} of {flows.number} flows did not open")
    _answer(way, flows, seen)
    return seen


def _hear(way: Way, seen: Ends) -> None:
    """Note what the server sees until nothing more comes."""
    settled(way.server_end)
    heard, _ = frames.read(way.server_end.hear().rows, way.width[1])
    numbers = heard.numbers
    seen.source[numbers], seen.source_port[numbers] = heard.ends.source, heard.ends.source_port


def _answer(way: Way, flows: Flows, seen: Ends) -> None:
    """Let the server send a datagram in every flow."""
    way.server_end.load(from_server(way, flows, seen, frames.opening(flows.number)), once=True)
    way.server_end.offer(OPENING_RATE, flows.number / OPENING_RATE, True)
    settled(way.client_end)
    time.sleep(SETTLE)


def from_server(way: Way, flows: Flows, seen: Ends, payload: Octets) -> Octets:
    """The frames of the server, a row for each flow."""
    ends = Ends(seen.target, flows.server_port, seen.source, seen.source_port)
    return frames.build(way.server_gateway + way.server_end.mac(), ends, payload)


def ready(way: Way, direction: str, flows: Flows, seen: Ends, payload: int, tagged: bool = False) -> Load:
    """Make the sender of a direction ready to send in all flows in turn, datagrams of `payload` octets. It has sent one
    in each already: what is done at the first ones of a flow is not measured."""
    one = slice(0, 1)

    def build(rows: slice, octets: Octets) -> Octets:
        chosen = Flows(*frames.some(flows, rows))
        if direction == SIX_TO_FOUR:
            return from_client(way, chosen, octets)
        return from_server(way, chosen, Ends(*frames.some(seen, rows)), octets)

    ends = (way.client_end, way.server_end) if direction == SIX_TO_FOUR else (way.server_end, way.client_end)
    width = way.width[1 if direction == SIX_TO_FOUR else 0]
    header = frames.ETHERNET + (frames.IPV6 if width == 16 else frames.IPV4) + frames.UDP
    everything = build(slice(None), np.zeros((flows.number, payload), np.uint8))
    ends[0].load(everything, once=True)
    ends[0].offer(OPENING_RATE, flows.number / OPENING_RATE, True)
    settled(ends[1])
    time.sleep(SETTLE)
    ends[0].load(everything[1:], build(one, frames.tagged(payload))[0] if tagged else None)
    return Load(*ends, header, payload, width)
