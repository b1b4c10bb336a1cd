"""The memory of sessions found last: a hint that no packet goes wrong by, whatever stands in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.packets import HOST4, HOST6, OTHER4
from tests.sessions import Flow, Sessions, flow
from translator.session.recent import note, recall, spread
from translator.tables.layout import NONE, RECENT
from translator.verdict import Verdict

WORDS = st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.sampled_from((0, -1, -(1 << 63), (1 << 63) - 1)))


KEYS = 0x4C957F2D5851F42D, 0x14057B7EF767814F, -0x2152411021524111, 0x2545F4914F6CDD1D


def spread_of(secret: tuple[int, int], words: tuple[int, int, int]) -> int:
    """As spread(), of Python's own numbers."""
    return int(spread(np.array(secret, np.int64), *map(np.int64, words)))


@given(secret=st.tuples(WORDS, WORDS), words=st.tuples(WORDS, WORDS, WORDS))
def test_a_spread_is_the_high_bits_of_a_sum_of_products(secret, words):
    factors = secret[0] ^ 0x3C6EF372FE94F82B | 1, secret[1] ^ 0x5BE0CD19137E2179 | 1, 0x1E3779B97F4A7C15
    total = sum(factor * word for factor, word in zip(factors, words, strict=True)) % (1 << 64)
    assert spread_of(secret, words) == total // (1 << 20)


def test_a_spread_depends_on_the_secret():
    words = (0x20010DB8_00000000, 0x1234, 0x4B007105_1388_0035)
    assert len({spread_of((key, 0), words) for key in KEYS}) == 4
    assert len({spread_of((0, key), words) for key in KEYS}) == 4


@given(words=st.tuples(WORDS, WORDS, WORDS), session=st.integers(0, (1 << 31) - 2))
def test_what_is_noted_is_recalled_by_the_same_words_only(words, session):
    recent, found = np.zeros(RECENT, np.int64), spread_of((5, 7), words)
    assert recall(recent, found) == NONE
    note(recent, found, session)
    assert np.count_nonzero(recent) == 1
    assert recall(recent, found) == session
    assert [recall(recent, found ^ 1 << bit) for bit in range(31)] == [NONE] * 31, "another tag"
    assert [recall(recent, found ^ 1 << bit) for bit in range(32, 44)] == [NONE] * 12, "another slot"


def swap(recent: np.ndarray, sessions: tuple[int, int]) -> None:
    """Make each of two noted sessions stand where the other one stood."""
    noted = np.flatnonzero(recent)
    assert sorted((recent[noted] & 0xFFFFFFFF) - 1) == sorted(sessions)
    for at in noted:
        other = sessions[1 - sessions.index(int(recent[at] & 0xFFFFFFFF) - 1)]
        recent[at] = recent[at] >> 32 << 32 | other + 1


FIRST = ("udp", 5100, (HOST4, 53), HOST6)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(("tcp", 5100, (HOST4, 53), HOST6), id="protocol"),
        pytest.param(("udp", 5101, (HOST4, 53), HOST6), id="port of host6"),
        pytest.param(("udp", 5100, (HOST4, 54), HOST6), id="port of host4"),
        pytest.param(("udp", 5100, (OTHER4, 53), HOST6), id="address of host4"),
        pytest.param(("udp", 5100, (HOST4, 53), "2001:db8:1::11"), id="interface of host6"),
        pytest.param(("udp", 5100, (HOST4, 53), "2001:db8:2::10"), id="prefix of host6"),
    ],
)
def test_a_session_is_not_taken_for_another(second):
    """From neither side, though each stands in the other one's place."""
    nat64 = Sessions()

    def speak() -> list[Flow]:
        there = [nat64.from6(kind, port, peer, host=host).packets[0] for kind, port, peer, host in (FIRST, second)]
        ends = [(sent.src, sent.src_port) for sent in map(flow, there)]
        back = [
            nat64.from4(kind, to, peer).packets[0] for (kind, _, peer, _), to in zip((FIRST, second), ends, strict=True)
        ]
        return list(map(flow, there + back))

    said = speak()
    assert speak() == said
    numbers = tuple(int(number) for number in np.flatnonzero(nat64.tables.sessions.live))
    swap(nat64.tables.recent6, numbers)
    swap(nat64.tables.recent4, numbers)
    assert speak() == said
    assert len(nat64.sessions()) == 2


def test_a_session_that_has_ended_is_not_found_though_it_is_noted():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 5100)
    nat64.from4("udp", mapped)
    nat64.from6("udp", 5100)
    nat64.wait(1000)
    assert nat64.sessions() == []
    assert np.count_nonzero(nat64.tables.recent6) == np.count_nonzero(nat64.tables.recent4) == 1
    assert nat64.from4("udp", mapped).verdict == Verdict.NO_BIB_ENTRY
    nat64.opened("udp", 5100)
    assert nat64.session().left == 300
