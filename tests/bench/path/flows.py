"""Flows of a way, opened: both sides have sent, and the frames of both sides are there."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tests.bench.path import frames
from tests.bench.path.frames import Ends, Flows, Octets
from tests.bench.path.places import Way
from tests.bench.path.wire import End, Offered
from tests.bench.traffic import ETHERNET, IPV4, IPV6, UDP, datagrams

CHUNK = 250  # flows opened at a time: half of what the queue of a TUN device holds
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

        def came(count: tuple[int, int]) -> int:
            octets, number = count[0] - before[0], count[1] - before[1]
            return round(datagrams(octets, number, self.header, self.payload))

        return came(settled(self.receiver, lambda count: came(count) >= expected))

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
        time.sleep(0.005)
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
    way.server_end.listen(False)
    try:
        for at in range(0, flows.number, CHUNK):
            part = slice(at, at + CHUNK)
            for _ in range(ATTEMPTS):
                missing = np.flatnonzero(seen.source_port[part] == 0)
                deliver(way.client_end, way.server_end, first[part][missing])
                _note(way, seen)
            answers = from_server(way, Flows(*frames.some(flows, part)), Ends(*frames.some(seen, part)))
            if not seen.source_port[part].all() or not deliver(way.server_end, way.client_end, answers):
                raise FlowsError(f"{at} of {flows.number} flows opened, and then no more")
    finally:
        way.server_end.heard()
    time.sleep(SETTLE)
    return seen


def deliver(sender: End, receiver: End, rows: Octets) -> bool:
    """Send frames until as many have arrived, but not for ever; whether they have."""
    for _ in range(ATTEMPTS if len(rows) else 0):
        before = receiver.count()[1]
        sender.load(rows, once=True)
        sender.send_all()
        wanted = before + len(rows)
        if settled(receiver, lambda count, wanted=wanted: count[1] >= wanted)[1] >= wanted:  # type: ignore[misc]
            return True
    return not len(rows)


def _note(way: Way, seen: Ends) -> None:
    """Note what the server sees."""
    heard, _ = frames.read(way.server_end.hear().rows, way.width[1])
    numbers = heard.numbers
    seen.source[numbers], seen.source_port[numbers] = heard.ends.source, heard.ends.source_port


def from_server(way: Way, flows: Flows, seen: Ends, payload: Octets | None = None) -> Octets:
    """The frames of the server, a row for each flow."""
    if payload is None:
        payload = np.zeros((flows.number, frames.SMALLEST), np.uint8)
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
    header = ETHERNET + (IPV6 if width == 16 else IPV4) + UDP
    everything = build(slice(None), np.zeros((flows.number, payload), np.uint8))
    for at in range(0, flows.number, CHUNK):
        deliver(*ends, everything[at : at + CHUNK])
    time.sleep(SETTLE)
    ends[0].load(everything[1:], build(one, frames.tagged(payload))[0] if tagged else None)
    return Load(*ends, header, payload, width)
