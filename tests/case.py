"""The one assertion engine of the translator's tests: a case is data.

    CASES = [
        Case("rfc7915_4_1_ttl_is_decremented_by_one",
             sent=from4(ttl=64) / UDP(**TO_MAPPED) / b"x",
             expect=seen6(hlim=63) / UDP(**TO_HOST6) / b"x"),
        Case("rfc7915_4_1_ttl_1_is_answered_with_time_exceeded",
             sent=(late := from4(ttl=1) / UDP(**TO_MAPPED)),
             verdict=Verdict.HOP_LIMIT_EXPIRED, answer=answer4(late, 11, 0)),
        Case("a_sequence", config={"filtering": {"address_dependent": True}},
             steps=[Step(sent=..., expect=...), Step(sent=..., verdict=..., at=300.5)]),
    ]

    @pytest.mark.parametrize("case", CASES, ids=str)
    def test_rfc7915_4_1(case):
        case.check()

A step says: this packet, sent `at` seconds after the test began, ends with this verdict (TRANSLATED unless said
otherwise), leaves as `expect` (a packet or a list of them; for a packet that only sets the scene it may be left out)
and is answered with `answer` (left out: with nothing, which is checked); `due` are the packets of our own that leave
before it, because of the time. A case with `steps` and `sent` sends `sent`
last. `config` changes CONFIG of packets.py by section, as do the arguments of Nat64.

Whatever is sent, Nat64.send checks that exactly one verdict is counted, that a dropped packet is left as it was, that
nothing is written outside the packet and the headroom its new header needs, and that scapy computes the same
checksums in all that comes out (`damaged=True`: but for a packet that came with a wrong one).

Beside cases: `nat64 = Nat64(limits={"sessions": 16})` is the gateway in memory (an Engine); nat64.send(packet, at) ->
Ended, nat64.check(step), nat64.events() -> {"BIB_CREATED": 1}, nat64.tables, nat64.worker; nat64.offloaded(header,
packet) -> (verdict, header, packets) for packets with a virtio_net_hdr. The fixture `nat64` is one with CONFIG.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP, IPerror
from scapy.layers.inet6 import IPerror6, IPv6ExtHdrFragment
from scapy.packet import Packet

from nat64d.compiling.beside import complete
from nat64d.config.load import dump, loads
from nat64d.config.models import Config
from nat64d.offline.engine import POISON, Ended, Engine
from tests.checksums import are_right
from tests.engines import Engines
from tests.packets import CONFIG, FROM_HOST6, from6, octets_of, whole
from translator.packet.virtio import VNET_HEADER
from translator.tables.gateway import HEADROOM, SLOT, Gateway, new_worker
from translator.verdict import Event, Verdict

Sent = Packet | bytes
CANARY = 64  # octets around each buffer of the engine
BEGIN = 1_000_000.0  # seconds: the gateway has been up for a while when a test begins
DONE = (Verdict.TRANSLATED, Verdict.HAIRPINNED)
KNOWN: dict[str, Engines] = {}  # by the changes to CONFIG


def config_of(**changes: Any) -> Config:
    """CONFIG with sections changed: tables key by key, lists as a whole; None leaves a key out."""
    return engines_of(**changes).config


def engines_of(**changes: Any) -> Engines:
    """Engines of config_of(): kept, as most tests ask for a configuration that another test has asked for."""
    wanted = repr(changes)
    if wanted not in KNOWN:
        merged = dict(CONFIG)
        for name, change in changes.items():
            merged[name] = present(CONFIG.get(name, {}) | change) if isinstance(change, dict) else change
        KNOWN[wanted] = Engines(loads(dump(Config.model_validate(present(merged)))))
    return KNOWN[wanted]


def present(keys: dict[str, Any]) -> dict[str, Any]:
    """The keys that have a value."""
    return {name: value for name, value in keys.items() if value is not None}


def warm() -> None:
    """Compile what most tests call; nobody then starts other processes that compile the rest (beside.py)."""
    Nat64().send(from6() / UDP(**FROM_HOST6))
    complete()


def guarded() -> tuple[np.ndarray, np.ndarray]:
    """A buffer of SLOT octets and the larger one it lies in."""
    around = np.full(SLOT + 2 * CANARY, POISON, np.uint8)
    return around, around[CANARY:-CANARY]


class Nat64(Engine):
    """The engine, watched: every packet it is sent is checked for what must hold whatever the packet."""

    def __init__(self, **changes: Any) -> None:
        engines = engines_of(**changes)
        self.config, self.engine_settings = engines.config, engines.settings
        self.around_slot, self.slot = guarded()
        self.around_answer, answer = guarded()
        worker = replace(new_worker(0), answer=answer)
        self.gateway = Gateway(engines.predictable, engines.tables(), worker)
        self.written_at = HEADROOM

    def send(self, packet: Sent, at: float = 0.0, damaged: bool = False) -> Ended:
        """Translate a packet `at` seconds after the test began."""
        octets = octets_of(packet)
        before = self.worker.counters.copy(), self.worker.octets.copy()
        kept = self.worker.events[Event.FRAGMENTS_RELEASED]
        self.around_answer.fill(POISON)
        self.written_at = HEADROOM
        outcome = super().send(octets, BEGIN + at)
        self._check_counters(*before, octets, outcome)
        self._check_memory(octets, outcome, self.worker.events[Event.FRAGMENTS_RELEASED] - kept)
        for out in outcome.due:
            check_checksums(out)
        for out in [*outcome.packets, *filter(None, [outcome.answer])]:
            if not damaged:
                check_checksums(out)
        return outcome

    def offloaded(self, header: bytes, packet: Sent, at: float = 0.0) -> tuple[Verdict, bytes, list[bytes]]:
        """Translate a packet with a virtio_net_hdr: (verdict, header, packets); nothing is finished on the way."""
        frame = np.frombuffer(header + bytes(packet), np.uint8)
        self.around_slot.fill(POISON)
        self.slot[HEADROOM - VNET_HEADER :][: len(frame)] = frame
        end, now = HEADROOM + len(frame) - VNET_HEADER, round((BEGIN + at) * 1000)
        out = self.steps.receive(self.gateway, now, self.slot, HEADROOM, end)
        assert (self.around_slot[CANARY + end :] == POISON).all(), "wrote behind the packet"
        return (
            Verdict(out.verdict),
            bytes(self.slot[out.at - VNET_HEADER : out.at]),
            [] if out.answer else self.outputs(out, now),
        )

    def check(self, step: "Step") -> Ended:
        """Send a step's packet and compare everything it says."""
        outcome = self.send(step.sent, step.at, step.damaged)
        assert outcome.verdict == step.verdict, (
            f"{outcome.verdict.name} instead of {step.verdict.name}: {shown(step.sent)}"
        )
        if step.expect is not None:
            compare(outcome.packets, step.expect if isinstance(step.expect, list) else [step.expect])
        assert bool(outcome.packets) == (step.verdict in DONE)
        compare([outcome.answer] if outcome.answer else [], [step.answer] if step.answer is not None else [])
        compare(outcome.due, step.due)
        return outcome

    def events(self) -> dict[str, int]:
        """The events that happened, by name."""
        counts = self.worker.events + self.tables.events
        return {event.name: int(counts[event]) for event in Event if counts[event]}

    def octets_of(self, output: Any) -> bytes:
        outcome = output.outcome
        if outcome.end > outcome.at:
            self.written_at = min(self.written_at, outcome.at)
        return super().octets_of(output)

    def _check_counters(self, before: np.ndarray, octets: np.ndarray, packet: bytes, outcome: Ended) -> None:
        counted = [(row, Verdict(verdict)) for row, verdict in np.argwhere(self.worker.counters != before).tolist()]
        assert counted == [(("6to4", "4to6").index(outcome.direction), outcome.verdict)]
        assert (self.worker.counters - before).sum() == 1
        assert ((self.worker.octets - octets) == len(packet) * (self.worker.counters - before)).all()

    def _check_memory(self, packet: bytes, outcome: Ended, released: int) -> None:
        """The canaries, the slot outside the packet and the headroom it used, and all of a dropped packet. `released`:
        so many kept fragments came into the slot after it, or with it as one packet."""
        end = HEADROOM + len(packet)
        first = CANARY + self.written_at - VNET_HEADER
        last = CANARY + (SLOT if released else end)
        untouched = [self.around_slot[:first], self.around_slot[last:]]
        longest = max(len(out) for out in [*outcome.packets, outcome.answer or b"", *outcome.due, b""])
        untouched += [
            self.around_answer[: CANARY + HEADROOM - VNET_HEADER],
            self.around_answer[CANARY + HEADROOM + longest :],
        ]
        assert all((octets == POISON).all() for octets in untouched), f"wrote outside of {shown(packet)}"
        if not outcome.packets and not released:
            assert bytes(self.slot[HEADROOM:end]) == packet, f"dropped, yet written into: {shown(packet)}"


@dataclass(frozen=True)
class Step:
    """One packet and how it ends."""

    sent: Sent
    expect: Sent | list[Sent] | None = None
    verdict: Verdict = Verdict.TRANSLATED
    answer: Sent | None = None
    at: float = 0.0
    damaged: bool = False
    due: Sequence[Sent] = ()


@dataclass(frozen=True)
class Case:
    """A requirement: a packet, or `steps`, under a configuration."""

    name: str
    sent: Sent | None = None
    expect: Sent | list[Sent] | None = None
    verdict: Verdict = Verdict.TRANSLATED
    answer: Sent | None = None
    damaged: bool = False
    steps: Sequence[Step] = ()
    config: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def check(self, nat64: Nat64 | None = None) -> None:
        """Send everything, in order, to a gateway of its own or the given one."""
        nat64 = nat64 or Nat64(**self.config)
        last = []
        if self.sent is not None:
            at = self.steps[-1].at if self.steps else 0.0
            last = [Step(self.sent, self.expect, self.verdict, self.answer, at, self.damaged)]
        for step in [*self.steps, *last]:
            nat64.check(step)


def shown(packet: Sent) -> str:
    """A packet as scapy's show2(), or as hex if it is none."""
    octets = bytes(packet)
    return str(whole(octets).show2(dump=True)) if octets and octets[0] >> 4 in {4, 6} else octets.hex(" ")


def compare(got: Sequence[bytes], wanted: Sequence[Sent]) -> None:
    """Octet for octet; a difference is shown field by field."""
    __tracebackhide__ = True
    octets = [octets_of(packet) for packet in wanted]
    if list(got) == octets:
        return
    old, new = ("".join(map(shown, packets)).splitlines() for packets in (octets, got))
    difference = "\n".join(unified_diff(old, new, "expected", "got", lineterm="", n=2))
    hexes = "\n".join(packet.hex(" ") for packet in [*octets, *got])
    pytest.fail(f"{len(got)} packets for {len(octets)}:\n{difference or hexes}", pytrace=False)


@lru_cache(4096)  # a packet that is right stays right, and many tests send one again and again
def check_checksums(octets: bytes) -> None:
    """scapy, asked to compute every checksum of a packet and of the whole one it quotes, comes to the same octets."""
    __tracebackhide__ = True
    if are_right(octets):
        return
    packet = whole(octets)
    again = packet.copy()
    for layer in again.iterpayloads():
        if isinstance(layer, IPerror | IPerror6):
            quoted = bytes(packet)[28 if isinstance(packet, IP) else 48 :][: len(layer)]
            if len(whole(quoted)) == lengths(quoted):
                check_checksums(quoted)
            break
        if layer is not again and is_fragment(packet):
            break
        for name in ("chksum", "cksum"):
            if name in layer.fields and not (isinstance(layer, UDP) and layer.chksum == 0):
                delattr(layer, name)
    compare([octets], [again])


def is_fragment(packet: Packet) -> bool:
    """Whether it holds a part of a datagram only."""
    if isinstance(packet, IP):
        return bool(packet.frag or packet.flags.MF)
    header = packet.getlayer(IPv6ExtHdrFragment)
    return header is not None and bool(header.offset or header.m)


def lengths(octets: bytes) -> int:
    """How long a packet says it is."""
    return int.from_bytes(octets[2:4]) if octets[0] >> 4 == 4 else 40 + int.from_bytes(octets[4:6])
