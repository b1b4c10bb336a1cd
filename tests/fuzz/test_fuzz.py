"""A short fuzz with every run of the suite; and what the fuzzer's judges say when something is wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Packet

from tests.conftest import IN_PLAIN_PYTHON
from tests.fuzz import loop
from tests.fuzz.faults import Fault, FaultError
from tests.fuzz.loop import GUARD, LARGEST, POISON, RIGHT, STATE, UNKNOWN, VNET, WRONG
from tests.fuzz.run import WORLDS, World, by_scapy, fuzz, guarded
from tests.packets import (
    FROM_HOST6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer4,
    flip_checksum,
    fragment_of,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen6,
)
from translator.pipeline import Outcome
from translator.tables.gateway import HEADROOM
from translator.tables.layout import NONE
from translator.verdict import Verdict

SEED = 20
MOST = 700 if IN_PLAIN_PYTHON else 2_000_000
SECONDS = 30 if IN_PLAIN_PYTHON else 2


def test_fuzz():
    done, ends = list(fuzz(SECONDS, SEED, MOST))[-1]
    assert sum(ends.values()) == done
    assert ends["translated"] > done / 10
    assert len(ends) > 15  # kinds of ends: the seeds mean something


def test_same_seed_is_the_same_fuzz():
    few = (2 if IN_PLAIN_PYTHON else 7) * len(WORLDS)
    first, second, third = (list(fuzz(60, seed, few))[-1] for seed in (7, 7, 8))
    assert first == second
    assert first != third


def test_fault_names_the_packet_and_the_seed():
    world = World("plain", {})
    world.gateway.worker.counters[0, Verdict.TRANSLATED] = 7
    with pytest.raises(FaultError, match=r"AssertionError COUNTERS; plain: packet 3 at \d+ ms, [0-9a-f]{20} [0-9a-f]*"):
        world.round(np.array([1], np.uint64), 3)


# ---- checksums, as loop.py sees them


DATAGRAM = from4() / UDP(**TO_MAPPED) / b"data"
SUMMED = [DATAGRAM, from6() / UDP(**FROM_HOST6) / b"odd", from4() / ping4(True), from6() / ping6(True, b"odd")]


@pytest.mark.parametrize("packet", SUMMED, ids=Packet.summary)
def test_checksum_is_right_or_wrong(packet):
    assert state_of(bytes(packet)) == RIGHT
    assert state_of(bytes(packet) + b"behind") == RIGHT
    assert state_of(flip_checksum(packet)) == WRONG


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        bytes(60),
        bytes(DATAGRAM)[:-1],
        bytes(fragment_of(DATAGRAM, 0, 8)),
        bytes(from4() / UDP(**TO_MAPPED, chksum=0)),
        bytes(from4(proto=132) / bytes(12)),
    ],
    ids=["nothing", "zeros", "cut", "fragment", "no_checksum", "other_protocol"],
)
def test_checksum_cannot_be_told(octets):
    assert state_of(octets) == UNKNOWN


def state_of(octets: bytes) -> int:
    return loop.checksum_state(np.frombuffer(octets, np.uint8).copy(), 0, len(octets))


@pytest.mark.parametrize("packet", SUMMED, ids=Packet.summary)
def test_mended_packet_is_as_scapy_made_it(packet):
    sent = bytes(packet)
    draft = np.frombuffer(sent, np.uint8).copy()
    l4, _, protocol = loop.transport_at(draft, 0, len(sent))
    draft[loop.checksum_at(l4, protocol)] ^= 1
    draft[2 if sent[0] >> 4 == 4 else 4] ^= 0x10
    if sent[0] >> 4 == 4:
        draft[10] ^= 1
    loop.mend(draft, len(sent), 7)
    assert bytes(draft) == sent


@pytest.mark.parametrize("packet", SUMMED, ids=Packet.summary)
def test_scapy_notices_a_wrong_checksum(packet):
    assert by_scapy(bytes(packet)) == bytes(packet)
    assert by_scapy(flip_checksum(packet)) == bytes(packet)


# ---- judgement


@dataclass
class Scene:
    """An outcome as process() leaves it, for the tests to spoil."""

    sent: bytes
    outcome: Outcome

    def __post_init__(self) -> None:
        self.around_slot, self.slot = guarded()
        self.around_answer, self.answer = guarded()
        self.draft, self.header = np.zeros(LARGEST, np.uint8), np.zeros(VNET, np.uint8)
        self.draft[: len(self.sent)] = np.frombuffer(self.sent, np.uint8)

    def put(self, octets: bytes, at: int) -> None:
        """Into the slot, with an empty virtio_net_hdr."""
        self.slot[at - VNET : at] = 0
        self.slot[at : at + len(octets)] = np.frombuffer(octets, np.uint8)

    def change(self, **fields: object) -> None:
        """Another outcome."""
        self.outcome = self.outcome._replace(**fields)

    def fault(self) -> Fault:
        """The judgement."""
        state = np.zeros(STATE, np.int64)
        buffers = self.around_slot, self.slot, self.around_answer, self.answer
        return Fault(loop.judge(self.draft, len(self.sent), self.header, *buffers, self.outcome, state, False))


def translated(data: bytes = b"data") -> Scene:
    """HOST4 to HOST6."""
    sent, got = bytes(from4() / UDP(**TO_MAPPED) / data), bytes(seen6() / UDP(**TO_HOST6) / data)
    end = HEADROOM + len(sent)
    scene = Scene(sent, Outcome(Verdict.TRANSLATED, 1, end - len(got), end, 0, 0, NONE))
    scene.put(got, end - len(got))
    return scene


def cut_up() -> Scene:
    """The same, as fragments of 1232 octets."""
    sent = bytes(from4() / UDP(**TO_MAPPED) / payload(3000))
    got = bytes(fragment_of(seen6() / UDP(**TO_HOST6) / payload(3000), 0, 65535))
    end = HEADROOM + len(sent)
    scene = Scene(sent, Outcome(Verdict.TRANSLATED, 1, end - len(got), end, 1232, 0, NONE))
    scene.put(got, end - len(got))
    return scene


def dropped(sent: Packet = from4(ttl=1) / UDP(**TO_MAPPED)) -> Scene:  # noqa: B008  # nobody changes it
    """Time exceeded, and its sender told."""
    sent, answer = bytes(sent), bytes(answer4(sent, 11, 0))
    scene = Scene(sent, Outcome(Verdict.HOP_LIMIT_EXPIRED, 1, 0, 0, 0, len(answer), NONE))
    scene.put(sent, HEADROOM)
    scene.answer[HEADROOM : HEADROOM + len(answer)] = np.frombuffer(answer, np.uint8)
    return scene


def passed() -> Scene:
    """Of an endpoint, sent on as it came."""
    sent = bytes(from6() / UDP(**FROM_HOST6) / b"data")
    scene = Scene(sent, Outcome(Verdict.PASSED, 0, HEADROOM, HEADROOM + len(sent), 0, 0, NONE))
    scene.put(sent, HEADROOM)
    return scene


def echoed() -> Scene:
    """A ping that is answered, longer than any ICMP error may be."""
    sent, answer = bytes(from4() / ping4(True, payload(1000))), bytes(from4() / ping4(False, payload(1000)))
    scene = Scene(sent, Outcome(Verdict.ECHOED, 1, 0, 0, 0, len(answer), NONE))
    scene.put(sent, HEADROOM)
    scene.answer[HEADROOM : HEADROOM + len(answer)] = np.frombuffer(answer, np.uint8)
    return scene


def about_an_error() -> Scene:
    """An answer to an ICMP error."""
    return dropped(from4(ttl=1) / Icmp(type=3) / IP() / UDP())


@pytest.mark.parametrize("scene", [translated, cut_up, dropped, passed, echoed])
def test_nothing_is_wrong(scene):
    assert scene().fault() == Fault.NONE


def flip(array: str, at: int) -> Callable[[Scene], None]:
    """Another octet in one of the buffers."""

    def spoil(scene: Scene) -> None:
        getattr(scene, array)[at] ^= 0x41

    return spoil


def promise(scene: Scene) -> None:
    """NEEDS_CSUM, of an octet behind the packet."""
    scene.slot[scene.outcome.at - VNET] = 1
    scene.slot[scene.outcome.at - 3] = 0x10


def end_of(scene: Scene) -> int:
    return HEADROOM + len(scene.sent)


SPOILT = [
    (translated, flip("around_slot", 3), Fault.SLOT_CANARY),
    (translated, lambda scene: flip("slot", end_of(scene))(scene), Fault.SLOT_CANARY),
    (translated, lambda scene: flip("slot", end_of(scene) + GUARD - 1)(scene), Fault.SLOT_CANARY),
    (translated, flip("around_answer", 0), Fault.ANSWER_CANARY),
    (translated, flip("around_answer", -1), Fault.ANSWER_CANARY),
    (translated, flip("slot", 2), Fault.HEADROOM_CANARY),
    (dropped, flip("slot", HEADROOM - VNET - 1), Fault.HEADROOM_CANARY),
    (translated, lambda scene: scene.change(verdict=Verdict.NO_BIB_ENTRY), Fault.OUTCOME),
    (dropped, lambda scene: scene.change(verdict=Verdict.TRANSLATED), Fault.OUTCOME),
    (translated, lambda scene: scene.change(end=scene.outcome.end + 1), Fault.OUTCOME),
    (dropped, flip("slot", HEADROOM + 5), Fault.ALTERED),
    (dropped, flip("slot", HEADROOM - 1), Fault.ALTERED),
    (translated, lambda scene: scene.change(end=scene.outcome.end - 1), Fault.HEADER),
    (translated, lambda scene: flip("slot", scene.outcome.at)(scene), Fault.HEADER),
    (translated, lambda scene: flip("slot", end_of(scene) - 1)(scene), Fault.CHECKSUM),
    (translated, promise, Fault.OFFLOAD),
    (cut_up, lambda scene: scene.change(fragment_payload=1240), Fault.FRAGMENTS),
    (cut_up, lambda scene: scene.change(fragment_payload=8), Fault.FRAGMENTS),
    (dropped, flip("answer", HEADROOM + 30), Fault.ANSWER),
    (dropped, flip("answer", HEADROOM + 10), Fault.ANSWER),
    (dropped, lambda scene: scene.change(answer=scene.outcome.answer - 1), Fault.ANSWER),
    (passed, flip("slot", HEADROOM + 45), Fault.ALTERED),
    (passed, flip("slot", HEADROOM - VNET), Fault.ALTERED),
    (passed, lambda scene: scene.change(at=HEADROOM - 1), Fault.ALTERED),
    (passed, lambda scene: scene.change(end=scene.outcome.at), Fault.OUTCOME),
    (echoed, flip("answer", HEADROOM + 30), Fault.ANSWER),
    (echoed, lambda scene: scene.change(verdict=Verdict.NO_BIB_ENTRY), Fault.ANSWER),
    (about_an_error, lambda scene: None, Fault.ANSWER),
]


@pytest.mark.parametrize(("scene", "spoil", "fault"), SPOILT, ids=lambda value: getattr(value, "name", ""))
def test_something_is_wrong(scene, spoil, fault):
    spoilt = scene()
    spoil(spoilt)
    assert spoilt.fault() == fault


def test_poison_is_what_guarded_buffers_are_made_of():
    around, inner = guarded()
    inner[:] = 0
    assert (around[:GUARD] == POISON).all()
    assert (around[-GUARD:] == POISON).all()
