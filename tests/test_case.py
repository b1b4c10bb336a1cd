"""The assertion engine itself: each fault it is there to find, planted."""

from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP

from nat64d.offline.engine import Ended
from tests.case import CANARY, Case, Nat64, Step, check_checksums, compare
from tests.checksums import are_right
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer4,
    flip_checksum,
    fragment_of,
    from4,
    from6,
    ping4,
    ping6,
    seen4,
    seen6,
)
from translator.tables.gateway import HEADROOM, SLOT
from translator.verdict import Verdict

SENT = from4() / UDP(**TO_MAPPED) / b"x"
EXPECT = seen6() / UDP(**TO_HOST6) / b"x"
LATE = from4(ttl=1) / UDP(**TO_MAPPED) / b"x"
FAILED = (AssertionError, pytest.fail.Exception)


def test_a_case_that_is_right_passes():
    Case("right", sent=SENT, expect=EXPECT).check()
    Case("right", sent=LATE, verdict=Verdict.HOP_LIMIT_EXPIRED, answer=answer4(LATE, 11, 0)).check()


WRONG = [
    ("another_packet", {"expect": seen6(hlim=64) / UDP(**TO_HOST6) / b"x"}, r"-  hlim *= 64\n\+  hlim *= 63"),
    ("another_verdict", {"verdict": Verdict.TOO_BIG}, "TRANSLATED instead of TOO_BIG"),
    ("a_packet_too_many", {"expect": [EXPECT, EXPECT]}, "1 packets for 2"),
    ("a_packet_too_few", {"expect": []}, "1 packets for 0"),
    ("an_answer_that_does_not_come", {"expect": EXPECT, "answer": answer4(SENT, 3, 1)}, "0 packets for 1"),
    ("an_answer_nobody_expects", {"sent": LATE, "verdict": Verdict.HOP_LIMIT_EXPIRED}, "1 packets for 0"),
]


@pytest.mark.parametrize(("name", "fields", "sentence"), WRONG, ids=[name for name, _, _ in WRONG])
def test_a_case_finds(name, fields, sentence):
    with pytest.raises(FAILED, match=sentence):
        Case(name, **{"sent": SENT} | fields).check()


def test_steps_are_sent_in_order_before_the_packet_itself():
    opening = Step(from6() / UDP(sport=7, dport=53))
    with pytest.raises(FAILED, match="NO_BIB_ENTRY instead of TRANSLATED"):
        Case("order", steps=[Step(from4() / UDP(sport=53, dport=7)), opening], sent=SENT, expect=EXPECT).check()


class Faulty(Nat64):
    """A gateway with a fault of choice, done to the memory behind the translator's back."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def outputs(self, outcome: Any, now: int) -> list[bytes]:
        packets = super().outputs(outcome, now)
        places = {
            "before_the_slot": (self.around_slot, 0),
            "in_the_headroom": (self.around_slot, CANARY + 3),
            "behind_the_packet": (self.around_slot, CANARY + HEADROOM + 200),
            "behind_the_slot": (self.around_slot, CANARY + SLOT),
            "in_the_answer": (self.around_answer, CANARY + HEADROOM + 700),
            "before_the_answer": (self.around_answer, CANARY),
            "in_a_dropped_packet": (self.around_slot, CANARY + HEADROOM + 8),
        }
        if self.fault in places:
            array, at = places[self.fault]
            array[at] ^= 0xFF
        if self.fault == "counted_twice":
            self.worker.counters[1, Verdict.TRANSLATED] += 1
        if self.fault == "counted_elsewhere":
            self.worker.counters[0, Verdict.TOO_BIG] += 1
        if self.fault == "checksum":
            return [flip_checksum(packet) for packet in packets]
        return packets


PLACES = ("before_the_slot", "in_the_headroom", "behind_the_packet", "behind_the_slot", "in_the_answer")
FAULTS = (*PLACES, "before_the_answer", "counted_twice", "counted_elsewhere", "checksum")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_gateway_is_found(fault):
    with pytest.raises(FAILED):
        Faulty(fault).send(SENT)


def test_a_dropped_packet_must_be_left_as_it_was():
    assert isinstance(Faulty("none").send(LATE), Ended)
    with pytest.raises(FAILED, match="dropped, yet written into"):
        Faulty("in_a_dropped_packet").send(LATE)


@pytest.mark.parametrize("packet", [SENT, EXPECT, seen4() / UDP(**FROM_MAPPED), from6() / UDP(**FROM_HOST6)])
def test_a_wrong_checksum_is_found_also_in_a_quoted_packet(packet):
    check_checksums(bytes(packet))
    with pytest.raises(FAILED, match="chksum"):
        check_checksums(flip_checksum(packet))
    carrier = from4() if packet.version == 4 else from6()
    check_checksums(bytes(carrier / Icmp(type=3) / packet))
    with pytest.raises(FAILED, match="chksum"):
        check_checksums(bytes(carrier / Icmp(type=3) / flip_checksum(packet)))


ICMP_ERRORS = [
    from4() / Icmp(type=3) / SENT,
    seen6() / Icmp(type=1) / EXPECT,
    from4() / Icmp(type=11) / bytes(SENT)[:-1],
]
ECHOES = [from4() / ping4(True, b"abc"), from6() / ping6(False)]


@pytest.mark.parametrize("packet", [SENT, EXPECT, from6() / TCP(**FROM_HOST6) / b"abc", *ECHOES, *ICMP_ERRORS])
def test_no_bit_of_a_packet_can_change_without_a_wrong_checksum(packet):
    octets = bytes(packet)
    assert are_right(octets)
    for bit in range(len(octets) * 8):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        outside = octets[0] >> 4 == 6 and (bit < 32 or 56 <= bit < 64)  # of IPv6: no checksum has these fields
        assert not are_right(bytes(changed)) or outside, f"bit {bit}"


def test_a_wrong_checksum_in_a_quoted_packet_makes_the_whole_wrong():
    for carrier, quoted in ((from4() / Icmp(type=3), SENT), (seen6() / Icmp(type=1), EXPECT)):
        assert are_right(bytes(carrier / quoted))
        assert not are_right(bytes(carrier / flip_checksum(quoted)))
        assert not are_right(bytes(carrier / fragment_of(quoted, 0, 8)))


def test_octets_that_are_no_packet_are_shown_as_hex():
    with pytest.raises(FAILED, match="01 02"):
        compare([b"\x01\x02"], [b"\x01\x03"])
