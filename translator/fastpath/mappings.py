"""What holds for an IPv4 address, and the [[eam]] of an address: what static/ finds in arrays, found in maps.

A search that comes to no end within its limits says so, and the packet is the daemon's.
"""

from typing import Any, NamedTuple

from translator.fastpath import kernel
from translator.jit.bpf import le32s, le64, put32, stack
from translator.jit.compile import int64, jit
from translator.static.eam import eam_hash4, eam_hash6, high_bits
from translator.tables.layout import EAM

# LIMITS
RANGE_STEPS = 18  # ranges of IPv4 addresses for which something holds: less than 2^18
EAM_LENGTHS = 8  # prefix lengths in use, of each family
EAM_PROBES = 16  # slots of an index of [[eam]] that are looked at

NOBODY, KNOWN, UNKNOWN = 0, 1, 2  # there is no [[eam]]; there is one; who knows
EVERYTHING = -1  # may hold for an address
FIELDS: Any = EAM.fields
AT = {name: field[1] for name, field in FIELDS.items()}
IPV4, IPV6_HI, IPV6_LO, LENGTH4, LENGTH6 = (AT[name] for name in ("ipv4", "ipv6_hi", "ipv6_lo", "length4", "length6"))


class Row(NamedTuple):
    """A record of tables.layout.EAM."""

    ipv4: int
    ipv6_hi: int
    ipv6_lo: int
    length4: int
    length6: int


class Mapping(NamedTuple):
    """The [[eam]] of an address, where `status` is KNOWN."""

    status: int
    row: Row


@jit()
def holds_for(addr4):
    """What holds for an IPv4 address, by the range it is in: the last that does not begin behind it. No step depends on
    what another one has found but by a number, or the verifier would go every way there is."""
    key, low, step = stack(8), 0, kernel.ranges() >> 1
    for _ in range(RANGE_STEPS):
        if step == 0:
            break
        put32(key, low + step)
        row = kernel.lookup(kernel.addresses(), key)
        if row == 0:
            return EVERYTHING
        low += step & (le64(row) - addr4 - 1) >> 63
        step >>= 1
    put32(key, low)
    row = kernel.lookup(kernel.addresses(), key)
    if row == 0:
        return EVERYTHING
    return le64(row + 16) if le64(row) <= addr4 <= le64(row + 8) else 0


@jit()
def without(status):
    """No [[eam]], or none that is known."""
    return Mapping(int64(status), Row(0, 0, 0, 0, 0))


@jit()
def at_slot(index, mask, hashed):
    """(KNOWN, address of the record that the first slot names that agrees with a hash), or what else there is to say
    and 0."""
    key, at = stack(8), hashed * (mask + 1) >> 31
    for _ in range(EAM_PROBES):
        put32(key, at)
        slot = kernel.lookup(index, key)
        if slot == 0:
            return UNKNOWN, 0
        entry = le64(slot)
        if entry == 0:
            return NOBODY, 0
        if entry >> 32 == hashed:
            put32(key, (entry & 0xFFFFFFFF) - 1)
            return KNOWN, kernel.lookup(kernel.eam(), key)
        at = (at + 1) & mask
    return UNKNOWN, 0


@jit()
def read_row(row):
    """The record at an address."""
    return Row(le64(row + IPV4), le64(row + IPV6_HI), le64(row + IPV6_LO), le32s(row + LENGTH4), le32s(row + LENGTH6))


@jit()
def mapping4(gateway, addr4):
    """The [[eam]] of an IPv4 address, as eam.find_eam4."""
    if kernel.eams() == 0 or holds_for(addr4) & kernel.MAPPED == 0:
        return without(NOBODY)
    key = stack(8)
    for i in range(EAM_LENGTHS):
        if i >= kernel.eam_lengths4():
            return without(NOBODY)
        put32(key, i)
        lengths = kernel.lookup(kernel.eam_lengths(), key)
        if lengths == 0:
            return without(UNKNOWN)
        length = le64(lengths)
        prefix = addr4 & (0xFFFFFFFF ^ (0xFFFFFFFF >> length))
        hashed = eam_hash4(gateway.settings.secret, prefix, length)
        status, address = at_slot(kernel.eam_index4(), kernel.eam_mask(), hashed)
        if status == UNKNOWN:
            return without(UNKNOWN)
        if status == KNOWN:
            if address == 0:
                return without(UNKNOWN)
            row = read_row(address)
            return Mapping(KNOWN if row.ipv4 == prefix and row.length4 == length else UNKNOWN, row)
    return without(NOBODY)


@jit()
def mapping6(gateway, address):
    """The [[eam]] of an IPv6 address, as eam.find_eam6."""
    if kernel.eams() == 0:
        return without(NOBODY)
    key = stack(8)
    for i in range(EAM_LENGTHS):
        if i >= kernel.eam_lengths6():
            return without(NOBODY)
        put32(key, i)
        lengths = kernel.lookup(kernel.eam_lengths(), key)
        if lengths == 0:
            return without(UNKNOWN)
        length = le64(lengths + 8)
        hi, lo = address.hi & high_bits(length), address.lo & high_bits(length - 64)
        hashed = eam_hash6(gateway.settings.secret, hi, lo, length)
        status, found = at_slot(kernel.eam_index6(), kernel.eam_mask(), hashed)
        if status == UNKNOWN:
            return without(UNKNOWN)
        if status == KNOWN:
            if found == 0:
                return without(UNKNOWN)
            row = read_row(found)
            same = row.ipv6_hi == hi and row.ipv6_lo == lo and row.length6 == length
            return Mapping(KNOWN if same else UNKNOWN, row)
    return without(NOBODY)
