"""What is measured over each way. A measure returns its figures by name; report.py says what they are."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.bench.path import frames
from tests.bench.path.flows import (
    DIRECTIONS,
    FOUR_TO_SIX,
    SIX_TO_FOUR,
    Load,
    from_client,
    open_flows,
    ready,
    settled,
)
from tests.bench.path.places import CLIENTS, Network, Way
from tests.bench.path.search import Found, Trial, loss_free
from tests.bench.path.soak import Soak
from tests.bench.path.wire import latencies
from tests.bench.traffic import ETHERNET, IPV4, IPV6, UDP, measure_tcp

SIZES = (84, 148, 276, 532, 1044, 1300, 1518)  # octets of an Ethernet frame of IPv6 with its FCS (RFC 8219 5.1, + 20)
OVERHEAD = ETHERNET + IPV6 + UDP + frames.FCS
MANY = 10_000  # flows
CPU_FLOWS, CPU_RATE = 32, 40_000  # a second
NEW = 100_000  # sessions at most that are opened in one trial
TORN = 50_000  # sessions that are ended at once
SETTLED = 0.05  # seconds between what is captured last and its end

Figures = dict[str, float]


class Bench(NamedTuple):
    """What measures need."""

    network: Network
    soak: Soak
    seconds: float  # of a trial
    seeds: "count[int]"


class Measure(NamedTuple):
    """One thing that is measured; without `main` only when everything is wanted."""

    name: str
    run: Callable[[Bench, Way], Figures]
    main: bool = True


def throughput(flows: int, direction: str, size: int = SIZES[0], delays: bool = False) -> Measure:
    """The rate at which nothing is lost, what is lost at full load, and the delays at half of that rate."""

    def run(bench: Bench, way: Way) -> Figures:
        drawn = frames.draw(flows, CLIENTS, next(bench.seeds))
        figures = {}
        if way.forget and flows > MANY:
            way.forget()
            before = memory()
            seen = open_flows(way, drawn)
            figures["memory"] = (memory() - before) / flows
        else:
            seen = open_flows(way, drawn)
        load = ready(way, direction, drawn, seen, size - OVERHEAD, tagged=delays)
        found = loss_free(lambda rate: offered(load, rate, bench.seconds))
        figures |= at_full_load(found)
        if delays:
            figures |= {f"idle {key}": value for key, value in delay(load, 0, 2 * bench.seconds).items()}
            half = delay(load, found.rate / 2, 2 * bench.seconds)
            figures |= {f"half {key}": value for key, value in half.items()}
        return figures

    return Measure(_title("UDP", flows, direction, size), run, flows <= MANY and size == SIZES[0])


def memory() -> float:
    """Octets of memory that are used, but for those of this process."""
    meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    ours = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = (int(text.split()[0]) for text in (meminfo["MemTotal"], meminfo["MemAvailable"], ours["VmRSS"]))
    total, available, own = kilobytes
    return 1024.0 * (total - available - own)


def full_load(flows: int, direction: str) -> Measure:
    """What arrives of all that the sender can."""

    def run(bench: Bench, way: Way) -> Figures:
        drawn = frames.draw(flows, CLIENTS, next(bench.seeds))
        load = ready(way, direction, drawn, open_flows(way, drawn), SIZES[0] - OVERHEAD)
        full = offered(load, 0, bench.seconds)
        return {"rate": full.rate * (1 - full.loss)}

    return Measure(_title("UDP at full load", flows, direction, SIZES[0]), run)


def _title(what: str, flows: int, direction: str, size: int) -> str:
    return (
        f"{what}, {flows:,} flow{'s' if flows > 1 else ''}, {f'{size} octets, ' if size != SIZES[0] else ''}{direction}"
    )


def offered(load: Load, rate: float, seconds: float) -> Trial:
    """One trial."""
    sent, arrived = load.run(rate, seconds)
    return Trial(sent.sent, sent.rate, sent.kept, arrived)


def at_full_load(found: Found) -> Figures:
    """The figures of a search."""
    full = found.full
    return {"rate": found.rate, "offered": full.rate, "loss": full.loss, "delivered": full.rate * (1 - full.loss)}


def delay(load: Load, rate: float, seconds: float) -> Figures:
    """One-way delays of tagged frames, beside so many others a second, in seconds (RFC 8219 7.2, 7.3)."""
    load.receiver.listen(True)
    try:
        sent = load.sender.offer(rate, seconds).sent if rate else load.sender.probe(seconds)
        time.sleep(SETTLED)
        settled(load.receiver)
        took = latencies(load.receiver.hear(), load.width)
    finally:
        load.receiver.heard()
    if not len(took):
        return {}
    low, half, most, last = (float(part) for part in np.percentile(took, [0, 50, 99, 99.9]))
    return {"p50": half, "p99": most, "pdv": last - low, "tagged": len(took), "sent": sent}


def cost(direction: str) -> Measure:
    """CPU time of the whole machine for each datagram, at a rate that every way takes."""

    def run(bench: Bench, way: Way) -> Figures:
        drawn = frames.draw(CPU_FLOWS, CLIENTS, next(bench.seeds))
        load = ready(way, direction, drawn, open_flows(way, drawn), SIZES[0] - OVERHEAD)
        return {"cpu": bench.soak.used(lambda: load.run(CPU_RATE, 3 * bench.seconds, rests=True)[1])}

    return Measure(f"CPU for a datagram, {direction}", run)


def established() -> Measure:
    """How many first packets of flows a second pass without a loss (RFC 9693 4.4), and how soon sessions end (4.6)."""

    def run(bench: Bench, way: Way) -> Figures:
        found = loss_free(lambda rate: _new(bench, way, rate))
        figures = at_full_load(found)
        if way.forget:
            _new(bench, way, CPU_RATE, TORN)
            start = time.monotonic()
            way.forget()
            figures["ended"] = TORN / (time.monotonic() - start)
        return figures

    return Measure("New flows", run)


def _new(bench: Bench, way: Way, rate: float, total: int = 0) -> Trial:
    """New flows at a rate, or as fast as it goes; sessions of an earlier trial are gone."""
    if way.forget:
        way.forget()
    total = total or (min(NEW, max(1000, int(rate * bench.seconds))) if rate else NEW)
    drawn = frames.draw(total - 1, CLIENTS, next(bench.seeds))
    way.client_end.load(from_client(way, drawn, np.zeros((total, frames.SMALLEST), np.uint8)), once=True)
    header = ETHERNET + (IPV6 if way.width[1] == 16 else IPV4) + UDP
    load = Load(way.client_end, way.server_end, header, frames.SMALLEST, way.width[1])
    before = load.receiver.count()
    sent = load.sender.offer(rate, total / rate) if rate else load.sender.send_all()
    return Trial(sent.sent, sent.rate, sent.kept, load.arrived(before, sent.sent))


def tcp(streams: int, direction: str) -> Measure:
    """Bits/s of payload that iperf3 receives, once the flows go the way they stay on: the fast path takes one that
    makes no pause after a second (docs/fastpath.md)."""

    def run(bench: Bench, way: Way) -> Figures:
        seconds = max(1, 4 * bench.seconds)
        reverse = direction == FOUR_TO_SIX
        omitted = round(5 * bench.seconds)
        return {"rate": measure_tcp(bench.network.client, way.target, streams, reverse, seconds, omitted)}

    return Measure(f"TCP, {streams} stream{'s' if streams > 1 else ''}, {direction}", run)


def generator(bench: Bench, way: Way) -> float:
    """Frames a second that are sent, cross a link and are counted, and are for nobody there."""
    drawn = frames.draw(MANY, CLIENTS, next(bench.seeds))
    rows = from_client(way, drawn, np.zeros((drawn.number, frames.SMALLEST), np.uint8))
    rows[:, :6] = 2, 0, 0, 0, 0, 0x64
    way.client_end.load(rows)
    way.client_end.offer(0, bench.seconds)
    return float(np.median([way.client_end.offer(0, bench.seconds).rate for _ in range(3)]))


def measures(flows: int) -> list[Measure]:
    """All of them, in the order of a round; `flows`: as many once more, in one measure, if there are any."""
    both = [(number, direction) for number in (1, 32, MANY) for direction in DIRECTIONS]
    found = [throughput(number, direction, delays=number == MANY) for number, direction in both]
    found += [cost(direction) for direction in DIRECTIONS]
    found += [tcp(streams, direction) for streams in (1, 8, 64) for direction in DIRECTIONS]
    found.append(established())
    found += [throughput(MANY, direction, size) for size in SIZES[1:] for direction in DIRECTIONS]
    if flows:
        found.append(throughput(flows, SIX_TO_FOUR))
    return found
