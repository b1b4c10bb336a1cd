"""The translator in memory: the same pipeline without TUN, root or clock. Replay, explain and tests run on it."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from nat64d.config.models import Config
from nat64d.config.settings import settings_of, tables_of
from nat64d.offline import entry
from translator import clock
from translator.packet.virtio import clear
from translator.tables.gateway import HEADROOM, SLOT, Gateway, Worker, new_worker
from translator.tables.settings import Settings
from translator.tables.tables import Tables
from translator.verdict import Direction, Verdict

POISON = 0xA5
# Milliseconds on the translator's clock at the first packet: by then it may send a second's worth of ICMP errors.
START = 1000
# LIMITS
EXPIRE = 4096  # sessions looked at in one call


@dataclass(frozen=True)
class Ended:
    """How one packet ended: its verdict, what goes on (after it, the fragments that were kept until it came), the ICMP
    error that goes back, and what else was due by then."""

    verdict: Verdict
    direction: str
    packets: list[bytes]
    answer: bytes | None
    due: list[bytes] = field(default_factory=list)  # packets of our own, sent before


def just_started(config: Config, secret: bytes) -> Settings:
    """What the translator needs to know where its first packet comes at START, and no session was there before."""
    settings, seconds = settings_of(config, secret), config.filtering.reset_unknown
    return replace(settings, reset_until=START + 1000 * seconds) if seconds else settings


class Engine:
    """One worker with tables of its own. Deterministic: the same config, secret and history give the same octets."""

    steps: Any = entry  # whose receive, first_output and next_output are called
    clock: Any = clock  # whose tick is called

    def __init__(self, config: Config, secret: bytes = bytes(16)) -> None:
        self.config = config
        settings = just_started(config, secret)
        self.gateway = Gateway(settings, tables_of(config, settings), new_worker(0))
        self.slot = np.full(SLOT, POISON, np.uint8)

    @classmethod
    def of(cls, gateway: Gateway) -> Self:
        """An Engine that goes on where these tables and this worker are."""
        engine = cls.__new__(cls)
        engine.gateway = gateway
        engine.slot = np.full(SLOT, POISON, np.uint8)
        return engine

    @property
    def settings(self) -> Settings:
        """What is configured."""
        return self.gateway.settings

    @property
    def tables(self) -> Tables:
        """What is remembered."""
        return self.gateway.tables

    @property
    def worker(self) -> Worker:
        """Counters, and what else the worker has for itself."""
        return self.gateway.worker

    def send(self, packet: bytes, at: float) -> Ended:
        """Translate one packet at `at` seconds of the caller's clock, which never goes back."""
        due = self.expire(at)
        return replace(self.translate(packet, round(at * 1000)), due=due)

    def translate(self, packet: bytes, now: int) -> Ended:
        """Translate one packet at `now` milliseconds and end no session but those it meets."""
        end = self.load(packet)
        outcome = self.steps.receive(self.gateway, now, self.slot, HEADROOM, end)
        packets = self.outputs(outcome, now)
        answer = packets.pop() if outcome.answer else None
        return Ended(outcome.verdict, Direction(outcome.direction).label, packets, answer)

    def outputs(self, outcome, now: int) -> list[bytes]:  # type: ignore[no-untyped-def]  # a compiled function's result
        """The packets to send after a packet that came in at `now` milliseconds has ended so."""
        output, packets = self.steps.first_output(self.gateway, self.slot, outcome), list[bytes]()
        while output.end > output.at:
            packets.append(self.octets_of(output))
            output = self.steps.next_output(self.gateway, now, self.slot, output)
        return packets

    def octets_of(self, output) -> bytes:  # type: ignore[no-untyped-def]  # a compiled function's result
        """One packet that is to be sent."""
        octets = self.worker.answer if output.in_answer else self.slot
        return bytes(octets[output.at : output.end])

    def load(self, packet: bytes) -> int:
        """Lay a packet into the poisoned slot, at HEADROOM and without offloads; returns where it ends."""
        end = HEADROOM + min(len(packet), SLOT - HEADROOM)
        self.slot.fill(POISON)
        self.slot[HEADROOM:end] = np.frombuffer(packet, np.uint8)[: end - HEADROOM]
        clear(self.slot, HEADROOM)
        return end

    def expire(self, at: float) -> list[bytes]:
        """Let `at` seconds come: end every session whose time is over; returns the packets of our own that are due."""
        due, looked_at, size = list[bytes](), EXPIRE, 0
        while size or looked_at == EXPIRE:
            looked_at, size = self.clock.tick(self.gateway, round(at * 1000), EXPIRE)
            if size:
                due.append(bytes(self.worker.answer[HEADROOM : HEADROOM + size]))
        return due
