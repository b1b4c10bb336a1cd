"""The sessions that were found last, by a hash that is cheaper than that of the indexes.

SipHash and a probe of a large index take an eighth of the time of an established packet; its session is nearly always
one of the last few thousand. A slot holds 0 or `tag << 32 | session + 1`. It is a hint: the record decides whether the
session is the right one. Who finds out how to make slots collide makes packets be looked up in the index, nothing else.
"""

from translator.jit.compile import either, hot, int64, jit, uint64
from translator.tables.layout import NONE, RECENT

_FACTORS = 0x3C6EF372FE94F82B, 0x5BE0CD19137E2179, 0x1E3779B97F4A7C15  # odd; the first two under the secret
_TAG = 0x7FFFFFFF
_DROPPED = 64 - 32 - (RECENT.bit_length() - 1)  # bits of a sum; over its tag stands the number of the slot


@jit()
def factors(secret):
    """One odd factor for each word, two of them secret."""
    return int64(secret[0] ^ _FACTORS[0]) | 1, int64(secret[1] ^ _FACTORS[1]) | 1, int64(_FACTORS[2])


@jit()
def _spread_compiled(secret, a, b, c):
    """The high bits of a sum of products modulo 2^64: those depend on every bit of the words."""
    first, second, third = factors(secret)
    return int64(uint64(first) * uint64(a) + uint64(second) * uint64(b) + uint64(third) * uint64(c) >> uint64(_DROPPED))


def _spread_plain(secret, a, b, c):
    """The same where NumPy would warn of the overflow."""
    total = sum(int(factor) * int(word) for factor, word in zip(factors(secret), (a, b, c), strict=True))
    return int64((total & 0xFFFFFFFFFFFFFFFF) >> _DROPPED)


spread = either(_spread_compiled, _spread_plain)


@hot()
def recall(recent, spread):
    """The session noted for the words of this `spread`, which may be another one's; or NONE."""
    noted = recent[spread >> 32]
    return (noted & 0xFFFFFFFF) - 1 if noted >> 32 == spread & _TAG else NONE


@jit()
def note(recent, spread, session):
    """Note a session, in place of the one that has its slot."""
    recent[spread >> 32] = (spread & _TAG) << 32 | (session + 1)
