"""Keyed hashing and the open-addressing index over record arrays.

Hostile peers choose the keys, so the hash is SipHash-1-3 under a secret. An index slot holds 0 (empty) or `hash << 32 |
record + 1`: 31 bits of the hash stand beside the record number, so that a probe touches a record only when it almost
surely is the right one, and an entry can be moved without looking at its record.
"""

from translator.jit.compile import either, hot, int64, jit, uint64
from translator.tables.layout import NONE

_MASK31, _MASK64 = 0x7FFFFFFF, 0xFFFFFFFFFFFFFFFF


@jit()
def _add_compiled(a, b):
    """Addition modulo 2^64, of unsigned words: numba tells the compiler that a signed sum does not overflow."""
    return int64(uint64(a) + uint64(b))


@jit()
def _rotate_compiled(x, count):
    """Rotate 64 bits left."""
    return x << int64(count) | (x >> int64(64 - count)) & ((int64(1) << int64(count)) - 1)


@jit()
def _round_compiled(v0, v1, v2, v3):
    """One SipRound."""
    v0, v2 = _add_compiled(v0, v1), _add_compiled(v2, v3)
    v1, v3 = _rotate_compiled(v1, 13) ^ v0, _rotate_compiled(v3, 16) ^ v2
    v0 = _rotate_compiled(v0, 32)
    v2, v0 = _add_compiled(v2, v1), _add_compiled(v0, v3)
    v1, v3 = _rotate_compiled(v1, 17) ^ v2, _rotate_compiled(v3, 21) ^ v0
    return v0, v1, _rotate_compiled(v2, 32), v3


@hot()
def _hash_compiled(secret, words):
    """SipHash-1-3 of a tuple of 64-bit words: 31 bits. The word that says how long a message is is left out: it is for
    messages of several lengths, and keys of one table are all of one."""
    v0 = secret[0] ^ int64(0x736F6D6570736575)
    v1 = secret[1] ^ int64(0x646F72616E646F6D)
    v2 = secret[0] ^ int64(0x6C7967656E657261)
    v3 = secret[1] ^ int64(0x7465646279746573)
    for word in words:
        v3 ^= word
        v0, v1, v2, v3 = _round_compiled(v0, v1, v2, v3)
        v0 ^= word
    v2 ^= int64(0xFF)
    for _ in range(3):
        v0, v1, v2, v3 = _round_compiled(v0, v1, v2, v3)
    return (v0 ^ v1 ^ v2 ^ v3) & _MASK31


def _hash_plain(secret, words):
    """The same on Python's own numbers, which takes a tenth of the time of NumPy's."""
    first, second = int(secret[0]) & _MASK64, int(secret[1]) & _MASK64
    v0, v1 = first ^ 0x736F6D6570736575, second ^ 0x646F72616E646F6D
    v2, v3 = first ^ 0x6C7967656E657261, second ^ 0x7465646279746573
    for word, end in (*((int(word) & _MASK64, 0) for word in words), (0, 0xFF), (0, 0), (0, 0)):
        v2, v3 = v2 ^ end, v3 ^ word
        v0, v2 = v0 + v1 & _MASK64, v2 + v3 & _MASK64
        v1, v3 = (v1 << 13 | v1 >> 51) & _MASK64 ^ v0, (v3 << 16 | v3 >> 48) & _MASK64 ^ v2
        v2, v0 = v2 + v1 & _MASK64, ((v0 << 32 | v0 >> 32) & _MASK64) + v3 & _MASK64
        v1, v3 = (v1 << 17 | v1 >> 47) & _MASK64 ^ v2, (v3 << 21 | v3 >> 43) & _MASK64 ^ v0
        v0, v2 = v0 ^ word, (v2 << 32 | v2 >> 32) & _MASK64
    return int64((v0 ^ v1 ^ v2 ^ v3) & _MASK31)


_hash = either(_hash_compiled, _hash_plain)


@hot()
def hash2(secret, a, b):
    """The hash of two 64-bit words."""
    return _hash(secret, (int64(a), int64(b)))


@hot()
def hash3(secret, a, b, c):
    """The hash of three 64-bit words."""
    return _hash(secret, (int64(a), int64(b), int64(c)))


@jit()
def home_of(index, hashed):
    """The slot where the chain of a hash begins: an index has any number of them."""
    return hashed * len(index) >> 31


@jit()
def first_candidate(index, hashed):
    """The first slot whose 31 bits agree with `hashed`; NONE: there is none."""
    return find_candidate(index, hashed, home_of(index, hashed))


@jit()
def find_candidate(index, hashed, at):
    """The next slot from `at` on whose 31 bits agree with `hashed`; NONE once an empty slot ends the chain."""
    at = wrapped(index, at)
    while index[at] != 0:
        if index[at] >> 32 == hashed:
            return at
        at = wrapped(index, at + 1)
    return NONE


@jit()
def wrapped(index, at):
    """A slot, or the first one behind the last."""
    return at if at < len(index) else 0


@jit()
def record_at(index, at):
    """The record number in a slot that is not empty."""
    return (index[at] & 0xFFFFFFFF) - 1


@jit()
def insert(index, hashed, record):
    """Enter `record`; the index is never fuller than FULLEST eighths, so a slot is near."""
    at = home_of(index, hashed)
    while index[at] != 0:
        at = wrapped(index, at + 1)
    index[at] = hashed << 32 | (record + 1)


@jit()
def remove(index, hashed, record):
    """Take `record` out and close the gap, so that no tombstones are needed (Knuth 6.4 algorithm R)."""
    at = home_of(index, hashed)
    while index[at] != 0 and record_at(index, at) != record:
        at = wrapped(index, at + 1)
    hole = at
    while True:
        at = wrapped(index, at + 1)
        if index[at] == 0:
            break
        if steps(index, home_of(index, index[at] >> 32), at) >= steps(index, hole, at):
            index[hole] = index[at]
            hole = at
    index[hole] = 0


@jit()
def steps(index, first, last):
    """How many slots on from one another one is."""
    return last - first if last >= first else last - first + len(index)
