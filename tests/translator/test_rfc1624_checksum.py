"""RFC 1071 and RFC 1624: sums, folding, incremental updates; compared with scapy's checksum of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.utils import checksum as scapy_checksum

from translator.packet.checksum import checksum, fold, replace, replace_partial, sum_octets, sum_word

OCTETS = st.binary(min_size=0, max_size=200)
WORD = st.integers(0, 0xFFFF)


def array(octets: bytes) -> np.ndarray:
    """Octets between canaries that would show in any sum."""
    return np.frombuffer(b"\xa5" * 3 + octets + b"\xa5" * 3, np.uint8)


def the_sum(octets: bytes) -> int:
    return int(sum_octets(array(octets), 3, 3 + len(octets)))


@given(octets=OCTETS)
def test_rfc1071_sum_of_any_octets(octets):
    assert checksum(the_sum(octets)) == scapy_checksum(octets)


@pytest.mark.parametrize("size", range(10))
def test_rfc1071_1_an_odd_octet_is_padded_with_zero(size):
    octets = bytes(range(0xF1, 0xF1 + size))
    assert checksum(the_sum(octets)) == scapy_checksum(octets + bytes(size % 2))


def test_rfc1071_3_example():
    assert fold(the_sum(bytes.fromhex("0001f203f4f5f6f7"))) == 0xDDF2


@pytest.mark.parametrize("total", [0, 1, 0xFFFF, 0x10000, 0x1FFFE, 0xFFFFFFFF, 0x7FFFFFFFFFFF, 32768 * 0xFFFF])
def test_fold_gives_16_bits_and_is_0_for_0_alone(total):
    folded = int(fold(np.int64(total)))
    assert 0 <= folded <= 0xFFFF
    assert folded % 0xFFFF == total % 0xFFFF
    assert (folded == 0) == (total == 0)


@given(word=st.integers(-(1 << 63), (1 << 63) - 1))
def test_sum_of_an_address_half(word):
    assert fold(sum_word(np.int64(word))) == fold(the_sum((word & (1 << 64) - 1).to_bytes(8)))


@given(before=OCTETS, old=st.binary(min_size=8, max_size=8), new=st.binary(min_size=8, max_size=8), behind=OCTETS)
def test_rfc1624_eqn_3_an_update_is_as_good_as_a_new_sum(before, old, new, behind):
    before += bytes(len(before) % 2) + b"\x01\x00"  # not all zero: 0 and 0xFFFF would be the same sum
    field = scapy_checksum(before + old + behind)
    updated = replace(field, the_sum(old), the_sum(new))
    assert updated == scapy_checksum(before + new + behind)


@given(field=WORD, old=WORD, new=WORD)
def test_rfc1624_an_update_taken_back_restores_the_field(field, old, new):
    restored = int(replace(replace(field, old, new), new, old))
    assert restored % 0xFFFF == field % 0xFFFF


def test_rfc1624_4_example():
    assert replace(0xDD2F, 0x5555, 0x3285) == 0x0000


@given(rest=OCTETS, old=st.binary(min_size=4, max_size=4), new=st.binary(min_size=4, max_size=4))
def test_a_partial_checksum_finished_later_is_the_checksum(rest, old, new):
    """virtio NEEDS_CSUM: the field holds the sum of the pseudo-header, the device adds the rest and complements."""
    rest += b"\x01"
    partial = int(replace_partial(fold(the_sum(old)), the_sum(old), the_sum(new)))
    assert checksum(partial + the_sum(rest)) == scapy_checksum(new + rest)
