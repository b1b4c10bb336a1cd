"""Words in a buffer of octets: compiled they are one load or store, in plain Python an octet after the other."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from translator.jit.compile import COMPILED
from translator.packet.fields import put_u16, put_u32, put_u64, u16, u32, u64

OCTETS = st.binary(min_size=24, max_size=24)
AT = st.integers(0, 16)
NUMBER = st.integers(-(1 << 63), (1 << 63) - 1)


def buffer(octets: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(octets), np.uint8)


@given(octets=OCTETS, at=AT)
def test_a_word_is_big_endian_wherever_it_lies_and_only_64_bits_have_a_sign(octets, at):
    p = buffer(octets)
    found = [int(read(p, np.int64(at))) for read in (u16, u32, u64)]
    sizes = ((2, False), (4, False), (8, True))
    assert found == [int.from_bytes(octets[at : at + size], signed=signed) for size, signed in sizes]


@given(octets=OCTETS, at=AT, number=NUMBER)
def test_a_word_that_is_written_is_the_low_bits_of_the_number_and_nothing_beside_it(octets, at, number):
    for write, size in ((put_u16, 2), (put_u32, 4), (put_u64, 8)):
        p = buffer(octets)
        write(p, np.int64(at), np.int64(number))
        low = (number & (1 << 8 * size) - 1).to_bytes(size)
        assert bytes(p) == octets[:at] + low + octets[at + size :]


@pytest.mark.skipif(COMPILED and not numba.config.BOUNDSCHECK, reason="nothing is checked")
@pytest.mark.parametrize("at", [-2, 22])
@pytest.mark.parametrize("access", [u32, u64, lambda *where: put_u32(*where, 0), lambda *where: put_u64(*where, 0)])
def test_checks_of_bounds_see_a_word_that_is_not_wholly_inside(access, at):
    with pytest.raises((IndexError, OverflowError)):
        access(buffer(bytes(24)), np.int64(at))
