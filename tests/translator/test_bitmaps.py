"""The bitmaps of two levels against a plain set, and how many words a search reads."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from translator.jit.compile import in_plain_python
from translator.tables import bitmaps
from translator.tables.bitmaps import WORD, count_words, enter, first_outside, lowest_bit, next_outside, words_of
from translator.tables.layout import NONE

SIZE = 3 * WORD * WORD + 5 * WORD  # numbers; 4 words of `full`
MOST_READ = 2 + 16  # of 65536 numbers: two words, and all of `full`


class Counted(np.ndarray):
    """An array that counts how often an element is read."""

    reads = 0

    def __getitem__(self, key: Any) -> Any:
        Counted.reads += 1
        return super().__getitem__(key)


def empty(size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    words = np.zeros(count_words(size), np.int64)
    return words, np.zeros(count_words(len(words)), np.int64)


def filled(ranges: list[tuple[int, int]], size: int = SIZE) -> tuple[np.ndarray, np.ndarray, set[int]]:
    """The set of all numbers of these ranges, as bitmap and as set; made word by word where that does."""
    inside = np.zeros(size, bool)
    for first, count in ranges:
        inside[first : first + count] = True
    words = words_of(inside)
    return words, words_of(words == -1), set(np.flatnonzero(inside).tolist())


@pytest.mark.parametrize("bit", range(WORD))
def test_lowest_bit(bit):
    for above in (0, -1):
        word = np.int64(np.uint64(1 << bit | (above << bit) & (1 << 64) - 1).view(np.int64))
        assert lowest_bit(word) == bit


RANGES = st.lists(st.tuples(st.integers(0, SIZE - 1), st.sampled_from((1, 2, 63, 64, 65, 4095, 4096, 4097, SIZE))))
NUMBER = st.integers(0, SIZE - 1)


@given(RANGES, st.tuples(NUMBER, NUMBER), NUMBER)
def test_search_finds_the_first_number_outside_from_the_start_on_and_wraps(ranges, ends, start):
    words, full, inside = filled(ranges)
    first, last = sorted(ends)
    start = first + start % (last - first + 1)
    free = [number for number in range(first, last + 1) if number not in inside]
    assert first_outside(words, full, first, last) == min(free, default=NONE)
    expected = next((number for number in free if number >= start), min(free, default=NONE))
    assert next_outside(words, full, first, last, start) == expected


@given(RANGES, st.lists(st.tuples(NUMBER, st.booleans()), max_size=40))
def test_both_levels_follow_what_is_entered_and_taken_out(ranges, changes):
    words, full, inside = filled(ranges)
    for number, wanted in changes:
        assert enter(words, full, number, wanted) == ((number in inside) != wanted)
        inside = inside | {number} if wanted else inside - {number}
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")[:SIZE]
    assert set(np.flatnonzero(bits).tolist()) == inside
    assert [full[k >> 6] >> (k & 63) & 1 for k in range(len(words))] == [int(word == -1) for word in words]


def test_a_word_is_full_once_its_last_number_is_in_and_no_longer_once_one_is_out():
    words, full = empty()
    for number in range(WORD):
        assert full[0] == 0
        enter(words, full, number, True)
    assert (words[0], full[0]) == (-1, 1)
    enter(words, full, 63, False)
    assert full[0] == 0


def test_nothing_is_outside_of_an_empty_range():
    words, full = empty()
    assert first_outside(words, full, 7, 6) == NONE


FULL = (0, 65536)


@pytest.mark.parametrize("holes", [[], [0], [65535], [32768], [4096], list(range(0, 65536, 4096))])
@pytest.mark.parametrize("start", [0, 1, 63, 64, 4095, 32768, 65535])
def test_a_search_of_65536_numbers_reads_no_more_than_two_words_and_one_level_up_either_way(holes, start, monkeypatch):
    for name in ("lowest_bit", "first_word", "first_outside"):
        monkeypatch.setattr(bitmaps, name, in_plain_python(getattr(bitmaps, name)))
    words, full, inside = filled([FULL], 65536)
    for hole in holes:
        enter(words, full, hole, False)
        inside.discard(hole)
    Counted.reads = 0
    found = in_plain_python(next_outside)(words.view(Counted), full.view(Counted), 0, 65535, start)
    assert found == min((h for h in holes if h >= start), default=min(holes, default=NONE))
    assert Counted.reads <= 2 * MOST_READ
