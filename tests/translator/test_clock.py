"""A clock that jumps, stands still or goes back: nobody is lost before his time, nobody is kept behind it."""

from pathlib import Path

import pytest

from nat64d.config.load import loads
from nat64d.offline.capture import SECOND, Reader, Writer
from nat64d.offline.replay import Replay
from tests.invariants import ports_taken
from tests.packets import HOST4, HOST6_PORT, MAPPED4, MAPPED4_PORT, NEIGHBOUR6, OTHER4
from tests.scenarios import STANDARD
from tests.sessions import Sessions
from translator.session.pool4 import COUNT_OF
from translator.tables.layout import WHEEL
from translator.verdict import Verdict

MAPPED, FREE = (MAPPED4, MAPPED4_PORT), ("192.0.2.2", 41000)
DAY, YEAR = 86400, 365 * 86400
UDP, EST, TRANS = 300, 7440, 240


def busy(**changes) -> Sessions:
    """A gateway with sessions of all kinds, a port in quarantine and a SYN that waits."""
    nat64 = Sessions(**changes)
    nat64.opened("icmp", 7000)
    nat64.wait(61)
    nat64.opened("udp", 6000)
    nat64.opened("icmp", 6000)
    nat64.opened("tcp", 6000)
    nat64.from6("tcp", HOST6_PORT)
    nat64.from4("tcp", MAPPED, flags="SYN-ACK")
    assert nat64.from4("tcp", FREE, (OTHER4, 4000), "SYN").verdict == Verdict.SYN_HELD
    assert len(nat64.sessions()) == 4
    return nat64


@pytest.mark.parametrize("jump", [EST + TRANS + 1, WHEEL - 1, WHEEL, WHEEL + 1, 5 * WHEEL + 3, YEAR])
def test_after_a_jump_everything_has_ended_as_if_the_time_had_passed(jump):
    nat64 = busy()
    due = nat64.wait(jump)
    assert len(due) == 2  # the probe of the connection, and port unreachable for the SYN
    assert nat64.sessions() == []
    assert nat64.wait(0) == []
    assert nat64.tables.quarantine_of[:, COUNT_OF].sum() == 0
    assert ports_taken(nat64.tables) == len(nat64.config.forward)
    nat64.opened("udp", 6000)
    assert nat64.session().left == UDP
    nat64.wait(UDP - 1)
    assert nat64.session().left == 1
    nat64.wait(2)
    assert nat64.sessions() == []


def test_a_jump_of_ten_days_spares_what_lives_for_fourteen():
    nat64 = busy(timeouts={"tcp_established": 14 * DAY})
    nat64.wait(10 * DAY)
    assert [(session.state, session.left) for session in nat64.sessions()] == [("ESTABLISHED", 4 * DAY)]
    assert nat64.from4("tcp", MAPPED, flags="ACK").verdict == Verdict.TRANSLATED
    nat64.wait(13 * DAY)
    assert nat64.session().left == DAY
    assert len(nat64.wait(DAY + 1)) == 1
    nat64.wait(TRANS)
    assert nat64.sessions() == []


def test_while_the_clock_stands_still_nothing_ends_and_nothing_is_due():
    nat64 = busy()
    before = nat64.sessions()
    for port in range(8000, 8020):
        nat64.opened("udp", port)
        assert nat64.wait(0) == []
    assert nat64.from4("tcp", FREE, (OTHER4, 4000), "SYN").verdict == Verdict.SYN_HELD
    assert nat64.sessions()[: len(before)] == before
    assert {session.left for session in nat64.sessions()[len(before) :]} == {UDP}


def test_while_the_clock_stands_still_no_more_errors_are_sent_than_in_a_second():
    nat64 = Sessions(limits={"icmp_errors_per_second": 50})
    answers = [nat64.from4("udp", FREE).answer for _ in range(20)]
    assert [answer is not None for answer in answers] == [True] * 5 + [False] * 15


@pytest.mark.parametrize("back", [1, 100, 5000, WHEEL, YEAR])
def test_when_the_clock_goes_back_nobody_is_lost(back):
    nat64 = busy()
    before = nat64.sessions()
    assert nat64.wait(-back) == []
    assert nat64.sessions() == [session._replace(left=session.left + back) for session in before]
    for protocol in ("udp", "icmp", "tcp"):
        nat64.opened(protocol, 6000)
    assert len(nat64.sessions()) == len(before)
    assert nat64.from4("tcp", MAPPED, flags="ACK").verdict == Verdict.TRANSLATED


@pytest.mark.parametrize("back", [1, 100, 5000, WHEEL, YEAR // 10])
def test_who_comes_after_the_clock_went_back_ends_in_time(back):
    nat64 = Sessions()
    nat64.opened("udp", 6000, host=NEIGHBOUR6)
    nat64.wait(-back)
    nat64.opened("udp", 6000)
    nat64.wait(UDP - 1)
    assert 1 in [session.left for session in nat64.sessions()]
    nat64.wait(2)
    left = [session.host6[0] for session in nat64.sessions() if session.left > 0]
    assert left == ([] if back == 1 else [NEIGHBOUR6])
    nat64.wait(back)
    assert nat64.sessions() == []


def test_a_clock_that_goes_back_and_forth_leaves_the_tables_sound():
    nat64 = Sessions(limits={"sessions": 16})
    for step in (50, -200, 300, -20000, 20001, -1, 1, YEAR, -YEAR, 59.5, 0.5):
        nat64.wait(step)
        for protocol in ("udp", "tcp", "icmp"):
            nat64.from6(protocol, 6000)
            nat64.from6(protocol, 6001, (OTHER4, 80))
            nat64.from4(protocol, MAPPED, flags="SYN")
    nat64.wait(2 * YEAR)
    nat64.wait(0)
    assert nat64.sessions() == []


def test_capture_whose_time_goes_back_is_replayed_as_if_it_stood_still(tmp_path: Path):
    nat64 = Sessions()
    packets: list[bytes] = []
    nat64.send = lambda packet, at, damaged=False: packets.append(packet)  # type: ignore[method-assign,assignment]
    nat64.check_invariants = lambda: None  # type: ignore[method-assign]
    for _ in range(3):
        nat64.from6("udp", 5000)
        nat64.from6("tcp", 5000)
        nat64.from4("tcp", ("203.0.113.1", 40000), (HOST4, 53), "SYN-ACK")
    seconds = (1000, 1500, 900, 901, 1499, 0, 1700, 20000, 3)
    ends = []
    for name, times in (("back", seconds), ("still", [max(seconds[: k + 1]) for k in range(len(seconds))])):
        with Writer(tmp_path / name) as writer:
            for time, packet in zip(times, packets, strict=True):
                writer.write(time * SECOND, packet)
        with Reader(tmp_path / name) as reader:
            ends.append([ended for chunk in Replay(loads(STANDARD, name)).run(reader) for ended in chunk])
    assert ends[0] == ends[1]
    assert [ended.time // SECOND for ended in ends[0]] == [1000, 1500, 1500, 1500, 1500, 1500, 1700, 20000, 20000]
    assert {ended.verdict for ended in ends[0]} >= {Verdict.TRANSLATED}
