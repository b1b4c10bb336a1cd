"""What follows a packet that the program has left to the daemon does not overtake it: in plain Python, where workers of
the daemon say what a test wants.
"""

import numpy as np
import pytest

from nat64d.dataplane.drained import MOMENT, WORDS
from tests.established import FIN_ACK, TCP, UDP
from tests.translator.test_fastpath_edges import Flow
from translator.fastpath.order import LAST, MOST_QUEUES, UNIT
from translator.fastpath.reasons import Reason
from translator.jit.compile import COMPILED

pytestmark = pytest.mark.skipif(COMPILED, reason="nothing is compiled in plain Python, and here something must not be")


@pytest.fixture
def flow() -> Flow:
    return Flow()


def drained(flow: Flow, *moments: float) -> None:
    """The workers of the queues say until which millisecond they have written everything."""
    flow.kernel.symbols["queues"] = len(moments)
    flow.program.drained[: len(moments), MOMENT] = [round(moment * 10**6) for moment in moments]


def test_a_flow_is_left_until_all_queues_are_drained_of_its_last_packet(flow):
    drained(flow, 9000, 9000)
    assert flow.reason(flow.ipv6(), now=6400) == Reason.YOUNG  # the first one, whatever was drained: more may wait
    for moments in ((6399, 6399), (6401, 6500), (6500, 6401)):
        drained(flow, *moments)
        assert flow.reason(flow.ipv6(), now=6400) == Reason.YOUNG
    drained(flow, 6401.06, 6401.06)
    assert flow.reason(flow.ipv4(), now=6401) == Reason.YOUNG
    assert [flow.reason(flow.ipv6(), now=6401) for _ in range(2)] == [Reason.SIX_TO_FOUR] * 2
    drained(flow, 0, 0)
    assert flow.reason(flow.ipv6(), now=6402) == Reason.SIX_TO_FOUR
    assert flow.reason(flow.ipv4(), now=6402) == Reason.YOUNG


def test_a_flow_that_never_pauses_goes_after_a_second_once_the_queue_was_empty_and_after_two_anyway(flow):
    last = 6400
    for now in range(6400, 6400 + 1900, 5):
        drained(flow, last - 1)
        assert flow.reason(flow.ipv6(), now) == Reason.YOUNG
        assert flow.reason(flow.ipv4(), now) == Reason.YOUNG
        last = now
    drained(flow, last + 0.01)
    assert flow.reason(flow.ipv6(), now=last + 1) == Reason.SIX_TO_FOUR
    drained(flow, 0)
    assert flow.reason(flow.ipv4(), now=last + 1) == Reason.YOUNG
    assert flow.reason(flow.ipv4(), now=6400 + 2100) == Reason.FOUR_TO_SIX


def test_no_more_queues_are_asked_than_a_device_can_have(flow):
    drained(flow, 0)
    assert flow.reason(flow.ipv6(), now=6400) == Reason.YOUNG
    flow.kernel.areas[flow.kernel.symbols["drained"]] = np.full(MOST_QUEUES * WORDS * 8, 0x7F, np.uint8), None
    flow.kernel.symbols["queues"] = MOST_QUEUES
    assert flow.reason(flow.ipv6(), now=6401) == Reason.SIX_TO_FOUR


@pytest.mark.parametrize("what", ["a FIN", "one to be cut", "several in one buffer", "without checksum"])
def test_what_follows_a_packet_that_was_left_does_not_overtake_it(what):
    flow = Flow(more="[translation]\nlowest_ipv6_mtu = 1280\n")
    from6 = {
        "a FIN": lambda: flow.reason(flow.ipv6(TCP, FIN_ACK), 6400),
        "several in one buffer": lambda: flow.reason(flow.ipv6(data=bytes(900)), 6400, gso_size=100),
        "without checksum": lambda: flow.reason(without_checksum(flow.ipv6()), 6400),
    }
    protocol = TCP if what == "a FIN" else UDP
    mine, other = (flow.ipv6, flow.ipv4) if what in from6 else (flow.ipv4, flow.ipv6)
    drained(flow, 6399)
    for now in (6380, 6381):
        for packet in (mine(protocol), other(protocol)):
            flow.reason(packet, now)
    assert flow.reason(mine(protocol), now=6382) <= Reason.FOUR_TO_SIX
    odd = from6[what]() if what in from6 else flow.reason(flow.ipv4(data=bytes(1400), df=False), 6400)
    assert odd in {Reason.TCP_FLAGS, Reason.UDP_SUPERFRAME, Reason.ZERO_CHECKSUM, Reason.CUT}
    assert flow.reason(mine(protocol), now=6401) == Reason.YOUNG
    assert flow.reason(other(protocol), now=6401) <= Reason.FOUR_TO_SIX
    drained(flow, 6402.1)
    assert flow.reason(mine(protocol), now=6402) <= Reason.FOUR_TO_SIX


def without_checksum(packet: bytes) -> bytes:
    """A datagram from IPv6."""
    return packet[:46] + bytes(2) + packet[48:]


def test_a_packet_that_could_not_be_taken_begins_the_time_that_a_flow_waits(flow):
    drained(flow, 6399)
    row = flow.twin.tables.sessions[0]
    state = int(row.state)
    for now, wanted in ((6400, Reason.NOT_ESTABLISHED), (9400, Reason.NOT_ESTABLISHED), (9401, Reason.YOUNG)):
        row.state = 1 if wanted == Reason.NOT_ESTABLISHED else state
        assert flow.reason(flow.ipv6(), now) == wanted


def test_a_pause_after_which_times_begin_anew_lets_no_packet_overtake(flow):
    drained(flow, 6399)
    begun = (1 << UNIT + LAST) / 10**6
    for now in (6400, 6400.5 + 64 * begun):
        drained(flow, now - 1)
        assert flow.reason(flow.ipv6(), now=round(now)) == Reason.YOUNG


def test_a_queue_that_is_not_there_is_never_drained(flow):
    drained(flow, 9000, 9000)
    flow.kernel.symbols["queues"] = 3
    for now in (6400, 6401):
        assert flow.reason(flow.ipv6(), now) == Reason.YOUNG


def test_two_processors_with_packets_of_one_flow(flow, monkeypatch):
    """The other one has passed a packet to the daemon meanwhile."""
    drained(flow, 9000)
    assert flow.reason(flow.ipv6(), now=6400) == Reason.YOUNG
    monkeypatch.setattr("translator.fastpath.order.swap", lambda address, expected, wanted: expected + 1)
    assert flow.reason(flow.ipv6(), now=6401) == Reason.YOUNG
