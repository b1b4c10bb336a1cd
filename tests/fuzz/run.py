"""Round after round of compiled fuzzing over several configurations; between rounds what plain Python can look at."""

import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Any

import numpy as np
from scapy.layers.inet import UDP
from scapy.packet import Raw

from nat64d.config.settings import settings_of, tables_of
from nat64d.config.words import words
from tests import invariants
from tests.case import config_of
from tests.fuzz import loop
from tests.fuzz.faults import Fault, FaultError
from tests.fuzz.loop import DONE, GUARD, KEPT, LARGEST, LONGEST, NOW, POISON, SAMPLE, SAMPLES, SIZE, STATE
from tests.fuzz.seeds import STATIC4, seeds
from tests.fuzz.services import CLIENT6, DNAT, FULLNAT, change, packets
from tests.packets import HOST6, NEIGHBOUR6, whole
from translator.jit.compile import COMPILED
from translator.packet.addresses import address6
from translator.session.clients6 import free_suffix
from translator.tables.gateway import HEADROOM, SLOT, Gateway, new_worker
from translator.tables.handles import FULLNAT as FULLNAT6
from translator.verdict import Verdict

ROUND = 50_000 if COMPILED else 100
CHANGES = 10  # of services, in a round
BETWEEN = 3  # packets between two steps of a change

TINY = {
    "pool4": [{"addresses": "192.0.2.0/30", "ports": "2000-2003"}],
    "limits": {"sessions": 64, "icmp_errors_per_second": 1_000_000, "fragments_memory": 65_536},
}
MAPPINGS = [{"ipv4": f"{STATIC4}/28", "ipv6": f"{NEIGHBOUR6}/124"}]
WORLDS: dict[str, dict[str, Any]] = {
    "well-known prefix": {},
    "filters and limits": {
        "filtering": {"address_dependent": True, "drop_inbound_tcp": True},
        "limits": {"sessions": 16, "per_host_sessions": 8, "per_host_ports": 6, "icmp_errors_per_second": 50},
        "translation": {"denylist4": ["203.0.113.0/24"], "traffic_class": 0, "udp_zero_checksum": "drop"},
    },
    "small next hops": {
        "pool6": "2001:db8:64:ff00::/64",
        "translation": {
            "mtu4": 1300,
            "mtu6": 1280,
            "udp_zero_checksum": "forward",
            "udp_zero_checksum_ports": {"drop": ["2000"], "calculate": ["53", "2001-2002"]},
            "rfc6791_ipv4": ["192.0.2.8/30"],
            "rfc6791_ipv6": "2001:db8:6791::/64",
        },
    },
    "pool6 /32": {"pool6": "2001:d8::/32", "filtering": {"drop_icmp_info": True}},
    "pool6 /48, a pool for one host": {
        "pool6": "2001:d8:64::/48",
        "strict_well_known_prefix": False,
        "pool4": [{"addresses": "192.0.2.0/30", "ports": "2000-2003", "source": f"{HOST6}/128"}],
    },
    "mappings beside sessions": {"eam": MAPPINGS},
    "mappings only": {"eam": MAPPINGS, "pool4": [], "forward": []},
    "customer side": {
        "clat": {**MAPPINGS[0], "plat": "2001:d8:64:ff00::/64"},
        "pool6": "2001:d8:64:ff00::/64",
        "pool4": [],
        "forward": [],
        "eam": [],
    },
    "services": DNAT,
    "services that hide IPv6 clients": FULLNAT,
}


@dataclass
class World:
    """A gateway under one configuration, and the packets that mean something to it."""

    name: str
    changes: dict[str, Any]

    def __post_init__(self) -> None:
        config = config_of(**TINY | self.changes)
        assert config.pool6 is not None
        settings = settings_of(config, bytes(range(16)))
        self.config = config
        self.around_slot, slot = guarded()
        self.around_answer, answer = guarded()
        worker = new_worker(0)
        self.gateway = Gateway(settings, tables_of(config, settings), replace(worker, answer=answer))
        given = [*seeds(config.pool6), *(packets(config, seen_of_client6(self.gateway)) if config.service else ())]
        self.octets, self.starts = np.frombuffer(b"".join(given), np.uint8), np.cumsum([0, *map(len, given)])
        self.draft, self.header = np.zeros(LARGEST, np.uint8), np.zeros(loop.VNET, np.uint8)
        self.samples = np.zeros((SAMPLES, SAMPLE + 2), np.uint8)
        self.buffers = self.draft, self.header, self.around_slot, slot, self.around_answer, self.samples
        self.ends, self.state = np.zeros_like(worker.counters), np.zeros(STATE, np.int64)
        self.state[NOW] = 1_000_000

    def round(self, rng: np.ndarray, count: int) -> None:
        """`count` packets, then a look at everything they left behind. Raises FaultError."""
        self.around_slot.fill(POISON)
        self.around_answer.fill(POISON)
        self.state[[KEPT, LONGEST]] = 0
        parts = min(CHANGES, count) if self.config.service else 1
        try:
            for _ in range(parts):
                if self.config.service:
                    self.change(rng)
                self.send(rng, count // parts)
                self.look()
        except Exception as error:
            raise FaultError(f"{type(error).__name__} {error}; {self.where()}") from error

    def send(self, rng: np.ndarray, count: int) -> None:
        everything = self.gateway, rng, self.octets, self.starts
        fault = Fault(loop.rounds(*everything, self.buffers, self.ends, self.state, count))
        assert fault == Fault.NONE, fault.name

    def change(self, rng: np.ndarray) -> None:
        """Other services, while some packets pass."""

        def draw(below: int) -> int:
            return int(loop.draw(rng, below))

        change(self.gateway, self.config, int(self.state[NOW]), draw, lambda: self.send(rng, BETWEEN))

    def look(self) -> None:
        """Counters, buffers beyond what was written, tables, and some of the packets with scapy."""
        assert (self.gateway.worker.counters == self.ends).all(), Fault.COUNTERS.name
        written = GUARD + HEADROOM + int(self.state[LONGEST])
        dirty = np.flatnonzero(self.around_answer != POISON)
        outside = dirty[(dirty < GUARD + HEADROOM - loop.VNET) | (dirty >= written)] - GUARD - HEADROOM
        assert not len(outside), f"{Fault.ANSWER_CANARY.name} at {outside[0]}..{outside[-1]} of {written}"
        assert (self.around_slot[-GUARD:] == POISON).all(), Fault.SLOT_CANARY.name
        invariants.check(self.gateway.tables, self.gateway.settings)
        for row in self.samples[: self.state[KEPT]]:
            octets = bytes(row[2 : 2 + int(row[0]) * 256 + int(row[1])])
            p, end = np.frombuffer(octets, np.uint8), len(octets)
            if loop.checksum_state(p, 0, end) == loop.RIGHT and loop.transport_at(p, 0, end)[1] == end:
                assert octets == by_scapy(octets), f"scapy writes it otherwise: {octets.hex()}"

    def where(self) -> str:
        """The packet that was on its way."""
        packet = bytes(self.draft[: self.state[SIZE]]).hex()
        return f"{self.name}: packet {self.state[DONE]} at {self.state[NOW]} ms, {bytes(self.header).hex()} {packet}"


def seen_of_client6(gateway: Gateway) -> IPv6Address:
    """Whom endpoints see of CLIENT6."""
    if gateway.settings.front6 != FULLNAT6:
        return CLIENT6
    suffix = int(free_suffix(gateway, address6(*words(CLIENT6), 0)))
    return IPv6Address((int(gateway.settings.source6_hi) % (1 << 64)) << 64 | suffix)


def by_scapy(octets: bytes) -> bytes:
    """A packet with the lengths and checksums scapy gives its two outer headers; as it is, if scapy would write other
    things otherwise as well (broken TCP options)."""
    packet = whole(octets)
    header = packet.payload
    rest = Raw(bytes(header.payload))
    header.remove_payload()
    header.add_payload(rest)
    packet.clear_cache()
    try:
        if bytes(packet) != octets:
            return octets
    except (TypeError, struct.error):  # scapy reads some broken options and cannot write them
        return octets
    for layer in (packet, header):
        for name in ("len", "plen", "chksum", "cksum"):
            if name in layer.fields and not (isinstance(layer, UDP) and name == "len"):
                delattr(layer, name)
    return bytes(packet)


def guarded() -> tuple[np.ndarray, np.ndarray]:
    """A buffer of SLOT octets, and the larger one it lies in."""
    around = np.full(SLOT + 2 * GUARD, POISON, np.uint8)
    return around, around[GUARD:-GUARD]


def fuzz(seconds: float, seed: int, most: int = 1 << 62) -> Iterator[tuple[int, Counter[str]]]:
    """Go round the worlds until the time is over or `most` packets are done: (how many, how they ended), each round.

    Raises FaultError, which says how to see it again.
    """
    rng = np.array([seed * 0x9E3779B97F4A7C15 % (1 << 64) or 1], np.uint64)
    worlds = [World(name, changes) for name, changes in WORLDS.items()]
    count, end, done = 1, float("inf"), 0  # the first packet may have to compile what it tests
    while time.monotonic() < end and done < most:
        for world in worlds:
            try:
                world.round(rng, count)
            except FaultError as error:
                raise FaultError(f"seed {seed}: {error}") from error.__cause__
        if count == 1:
            count, end = min(ROUND, most // len(worlds)), time.monotonic() + seconds
        done = sum(int(world.state[DONE]) for world in worlds)
        ends = sum(world.ends for world in worlds).sum(axis=0)
        yield done, Counter({verdict.name.lower(): int(ends[verdict]) for verdict in Verdict if ends[verdict]})
