"""The translator in memory: the same pipeline without TUN, root or clock. Replay, explain and tests run on it."""

from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from nat64d.config import Config
from nat64d.settings import settings_of, tables_of
from translator.datagrams import DATAGRAM
from translator.packet.fragments import cut
from translator.packet.virtio import clear
from translator.pipeline import HEADROOM, SLOT, Worker, new_worker, process, released, tick
from translator.tables import Settings, Tables
from translator.verdict import Direction, Verdict

POISON = 0xA5
# LIMITS
EXPIRE = 4096  # sessions looked at in one call


@dataclass(frozen=True)
class Outcome:
    """How one packet ended: its verdict, what goes on (after it, the fragments that were kept for want of it), the ICMP
    error that goes back, and what else was due by then."""

    verdict: Verdict
    direction: str
    packets: list[bytes]
    answer: bytes | None
    due: list[bytes] = field(default_factory=list)  # packets of our own, sent before


class Engine:
    """One worker with tables of its own. Deterministic: the same config, secret and history give the same octets."""

    def __init__(self, config: Config, secret: bytes = bytes(16)) -> None:
        self.config = config
        self.settings = settings_of(config, secret)
        self.tables = tables_of(config, self.settings)
        self.worker = new_worker(0)
        self.slot = np.full(SLOT, POISON, np.uint8)

    @classmethod
    def of(cls, settings: Settings, tables: Tables, worker: Worker) -> Self:
        """An Engine that goes on where these tables and this worker are."""
        engine = cls.__new__(cls)
        engine.settings, engine.tables, engine.worker = settings, tables, worker
        engine.slot = np.full(SLOT, POISON, np.uint8)
        return engine

    def send(self, packet: bytes, at: float) -> Outcome:
        """Translate one packet at `at` seconds of the caller's clock, which never goes back."""
        due = self.expire(at)
        return replace(self.translate(packet, round(at * 1000)), due=due)

    def translate(self, packet: bytes, now: int) -> Outcome:
        """Translate one packet at `now` milliseconds and end no session but those it meets."""
        end = self.load(packet)
        outcome = self.read(process(self.settings, self.tables, self.worker, now, self.slot, HEADROOM, end))
        while self.worker.state[DATAGRAM]:
            outcome.packets.extend(self._packets(released(self.settings, self.tables, self.worker, now, self.slot)))
        return outcome

    def load(self, packet: bytes) -> int:
        """Lay a packet into the poisoned slot, at HEADROOM and without offloads; returns where it ends."""
        end = HEADROOM + min(len(packet), SLOT - HEADROOM)
        self.slot.fill(POISON)
        self.slot[HEADROOM:end] = np.frombuffer(packet, np.uint8)[: end - HEADROOM]
        clear(self.slot, HEADROOM)
        return end

    def read(self, outcome) -> Outcome:  # type: ignore[no-untyped-def]  # a compiled function's NamedTuple
        """What the pipeline left in the slot and in the worker's answer, as octets."""
        answer = bytes(self.worker.answer[HEADROOM : HEADROOM + outcome.answer]) if outcome.answer else None
        return Outcome(outcome.verdict, Direction(outcome.direction).label, self._packets(outcome), answer)

    def expire(self, at: float) -> list[bytes]:
        """Let `at` seconds come: end every session whose time is over; returns the packets of our own that are due."""
        due, looked_at, size = list[bytes](), EXPIRE, 0
        while size or looked_at == EXPIRE:
            looked_at, size = tick(self.settings, self.tables, self.worker, round(at * 1000), EXPIRE)
            if size:
                due.append(bytes(self.worker.answer[HEADROOM : HEADROOM + size]))
        return due

    def _packets(self, outcome) -> list[bytes]:  # type: ignore[no-untyped-def]  # a compiled function's NamedTuple
        if not outcome.piece:
            return [bytes(self.slot[outcome.at : outcome.end])] if outcome.end > outcome.at else []
        pieces: list[bytes] = []
        out = self.worker.answer
        while size := cut(self.slot, outcome.at, outcome.end, outcome.piece, len(pieces), out, HEADROOM):
            pieces.append(bytes(out[HEADROOM : HEADROOM + size]))
        return pieces
