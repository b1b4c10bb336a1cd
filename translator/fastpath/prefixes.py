"""IPv4 hosts under pool6 and under the client prefixes of services: as static/rfc6052.py, whose array is a map here."""

from typing import NamedTuple

from translator.fastpath import kernel
from translator.jit.bpf import le64, put32, stack
from translator.jit.compile import int64, jit
from translator.packet.addresses import address4, address6
from translator.static.rfc6052 import embed, extract, matches
from translator.tables.layout import NONE

# LIMITS
CLIENT_PREFIXES = 4  # that are looked for


class Prefix(NamedTuple):
    """A row of Settings.prefixes; pool6 has the `number` 0, and NONE is no prefix."""

    number: int
    hi: int
    lo: int
    length: int


@jit()
def prefix_at(gateway, number):
    """The prefix of a number."""
    if number == 0:
        fixed = gateway.settings
        return Prefix(int64(0), fixed.pool6_hi, fixed.pool6_lo, fixed.pool6_length)
    key = stack(8)
    put32(key, number)
    row = kernel.lookup(kernel.prefixes(), key)
    if row == 0:
        return Prefix(int64(NONE), int64(0), int64(0), int64(0))
    return Prefix(number, le64(row), le64(row + 8), le64(row + 16))


@jit()
def prefix_of(gateway, address):
    """The prefix that an IPv6 address is under."""
    for number in range(1, CLIENT_PREFIXES + 1):
        if number > kernel.client_prefixes():
            break
        prefix = prefix_at(gateway, number)
        if prefix.number != NONE and matches(prefix.hi, prefix.lo, prefix.length, address.hi, address.lo):
            return prefix
    prefix = prefix_at(gateway, 0)
    if matches(prefix.hi, prefix.lo, prefix.length, address.hi, address.lo):
        return prefix
    return Prefix(int64(NONE), int64(0), int64(0), int64(0))


@jit()
def from_prefix(prefix, address):
    """The IPv4 transport address that stands under a prefix."""
    return address4(extract(prefix.length, address.hi, address.lo), address.port)


@jit()
def to_prefix(prefix, host4):
    """An IPv4 transport address, written under a prefix."""
    hi, lo = embed(prefix.hi, prefix.lo, prefix.length, host4.lo)
    return address6(hi, lo, host4.port)
