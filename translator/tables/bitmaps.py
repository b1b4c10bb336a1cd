"""Sets of numbers as bitmaps of two levels, in which the next number outside is found in bounded work, always.

    words    int64[n]            a bit a number; set: it is in the set
    full     int64[ceil(n / 64)] a bit a word; set: all of its numbers are

Of 65536 numbers a search reads two words and the 16 of `full` at most, whatever is in the set. Zeros are empty sets.
"""

import numpy as np

from translator.jit.compile import int64, jit
from translator.tables.layout import NONE

WORD = 64  # numbers of a word


def count_words(numbers: int) -> int:
    """How many words so many numbers, or words one level up, take; at least one."""
    return max(-(-numbers // WORD), 1)


def words_of(inside: np.ndarray) -> np.ndarray:
    """bool[n] as int64[count_words(n)]; what fills the last word up is in the set."""
    padded = np.ones(count_words(len(inside)) * WORD, bool)
    padded[: len(inside)] = inside
    return np.packbits(padded, bitorder="little").view("<i8").astype(np.int64)


@jit()
def lowest_bit(word):
    """The number of the lowest bit that is set in a word other than 0."""
    at = 0
    for half in range(6):
        width = int64(32 >> half)
        if word & ((int64(1) << width) - 1) == 0:
            word >>= width
            at += width
    return at


@jit()
def is_inside(words, number):
    """Whether a number is in the set."""
    return words[number >> 6] >> int64(number & 63) & 1 != 0


@jit()
def enter(words, full, number, inside):
    """Put a number in the set or take it out; returns whether that changed the set."""
    if is_inside(words, number) == inside:
        return False
    at = number >> 6
    words[at] ^= int64(1) << int64(number & 63)
    word_bit = int64(1) << int64(at & 63)
    if words[at] == -1:
        full[at >> 6] |= word_bit
    else:
        full[at >> 6] &= ~word_bit
    return True


@jit()
def first_outside(words, full, first, last):
    """The lowest number of [first, last] that is not in the set, or NONE."""
    if first > last:
        return int64(NONE)
    at = int64(first >> 6)
    free = ~words[at] & int64(-1) << int64(first & 63)
    if free == 0:
        at = first_word(full, at + 1, last >> 6)
        if at == NONE:
            return int64(NONE)
        free = ~words[at]
    number = at << 6 | lowest_bit(free)
    return number if number <= last else int64(NONE)


@jit()
def first_word(full, first, last):
    """The lowest word of [first, last] that is not full, or NONE."""
    mask = int64(-1) << int64(first & 63)
    for k in range(first >> 6, (last >> 6) + 1):
        free = ~full[k] & mask
        if free != 0:
            at = int64(k) << 6 | lowest_bit(free)
            return at if at <= last else int64(NONE)
        mask = int64(-1)
    return int64(NONE)


@jit()
def next_outside(words, full, first, last, start):
    """The first number from `start` on that is not in the set, wrapping within [first, last], or NONE."""
    found = first_outside(words, full, start, last)
    return found if found != NONE else first_outside(words, full, first, start - 1)
