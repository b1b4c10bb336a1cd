"""RFC 7915 sections 4.2 and 5.2: ICMP types, codes, pointers and MTUs, as tables."""

from enum import IntEnum

import numpy as np

from translator.jit.compile import int64, jit
from translator.packet.fields import (
    IPV4_CHECKSUM_AT,
    IPV4_DESTINATION_AT,
    IPV4_HEADER,
    IPV4_LENGTH_AT,
    IPV4_PROTOCOL_AT,
    IPV4_SOURCE_AT,
    IPV4_TTL_AT,
    IPV6_DESTINATION_AT,
    IPV6_HOP_LIMIT_AT,
    IPV6_LENGTH_AT,
    IPV6_NEXT_HEADER_AT,
    IPV6_SOURCE_AT,
)
from translator.tables.layout import NONE

# RFC 792
ECHO_REPLY4, UNREACHABLE4, ECHO_REQUEST4, TIME_EXCEEDED4, PARAMETER4 = 0, 3, 8, 11, 12
FRAGMENTATION_NEEDED = 4  # code of UNREACHABLE4
# RFC 4443
UNREACHABLE6, TOO_BIG6, TIME_EXCEEDED6, PARAMETER6, ECHO_REQUEST6, ECHO_REPLY6 = 1, 2, 3, 4, 128, 129
REDIRECT6 = 137  # RFC 4861 section 4.5; it quotes a packet, and is answered by no error
IPV4_MINIMUM_MTU, IPV6_MINIMUM_MTU = 68, 1280
TYPES, CODES = 16, 256  # of errors that have a counterpart; of a type


class RestOfHeader(IntEnum):
    """What becomes of the 32 bits behind the checksum of an ICMP error."""

    ZERO = 0
    MTU = 1
    POINTER = 2
    NEXT_HEADER_POINTER = 3  # "protocol unreachable" as an IPv6 pointer to the Next Header field


Rows = dict[tuple[int, tuple[int, ...]], tuple[int, int, RestOfHeader]]


# (type, codes) -> (type, code, rest of the header). What is not listed is silently dropped (RFC 7915 section 4.2).
_TO_IPV6: Rows = {
    (UNREACHABLE4, (0, 1, 5, 6, 7, 8, 11, 12)): (UNREACHABLE6, 0, RestOfHeader.ZERO),
    (UNREACHABLE4, (2,)): (PARAMETER6, 1, RestOfHeader.NEXT_HEADER_POINTER),
    (UNREACHABLE4, (3,)): (UNREACHABLE6, 4, RestOfHeader.ZERO),
    (UNREACHABLE4, (FRAGMENTATION_NEEDED,)): (TOO_BIG6, 0, RestOfHeader.MTU),
    (UNREACHABLE4, (9, 10, 13, 15)): (UNREACHABLE6, 1, RestOfHeader.ZERO),
    **{(TIME_EXCEEDED4, (code,)): (TIME_EXCEEDED6, code, RestOfHeader.ZERO) for code in range(CODES)},
    (PARAMETER4, (0, 2)): (PARAMETER6, 0, RestOfHeader.POINTER),
}
# RFC 7915 section 5.2
_TO_IPV4: Rows = {
    (UNREACHABLE6, (0, 2, 3)): (UNREACHABLE4, 1, RestOfHeader.ZERO),
    (UNREACHABLE6, (1,)): (UNREACHABLE4, 10, RestOfHeader.ZERO),
    (UNREACHABLE6, (4,)): (UNREACHABLE4, 3, RestOfHeader.ZERO),
    (TOO_BIG6, tuple(range(CODES))): (UNREACHABLE4, FRAGMENTATION_NEEDED, RestOfHeader.MTU),
    **{(TIME_EXCEEDED6, (code,)): (TIME_EXCEEDED4, code, RestOfHeader.ZERO) for code in range(CODES)},
    (PARAMETER6, (0,)): (PARAMETER4, 0, RestOfHeader.POINTER),
    (PARAMETER6, (1,)): (UNREACHABLE4, 2, RestOfHeader.ZERO),
}


def _table(rows: Rows) -> np.ndarray:
    """int64[type, code, (type, code, RestOfHeader)]; NONE where nothing is listed."""
    table = np.full((TYPES, CODES, 3), NONE, np.int16)
    for (type_, codes), row in rows.items():
        table[type_, list(codes)] = row
    return table


TO_IPV6, TO_IPV4 = _table(_TO_IPV6), _table(_TO_IPV4)


def _pointers(size: int, rows: dict[tuple[int, int], int]) -> np.ndarray:
    """int64[octet of the header]: the octet of the other family's header, NONE where there is none."""
    table = np.full(size, NONE)
    for (first, last), pointer in rows.items():
        table[first : last + 1] = pointer
    return table


# RFC 7915 figure 3: IPv4 header octet -> IPv6 header octet.
POINTER_TO_IPV6 = _pointers(
    20,
    {
        (0, 0): 0,
        (1, 1): 1,
        (IPV4_LENGTH_AT, IPV4_LENGTH_AT + 1): IPV6_LENGTH_AT,
        (IPV4_TTL_AT, IPV4_TTL_AT): IPV6_HOP_LIMIT_AT,
        (IPV4_PROTOCOL_AT, IPV4_PROTOCOL_AT): IPV6_NEXT_HEADER_AT,
        (IPV4_SOURCE_AT, IPV4_SOURCE_AT + 3): IPV6_SOURCE_AT,
        (IPV4_DESTINATION_AT, IPV4_DESTINATION_AT + 3): IPV6_DESTINATION_AT,
    },
)
# RFC 7915 figure 6: IPv6 header octet -> IPv4 header octet.
POINTER_TO_IPV4 = _pointers(
    40,
    {
        (0, 0): 0,
        (1, 1): 1,
        (IPV6_LENGTH_AT, IPV6_LENGTH_AT + 1): IPV4_LENGTH_AT,
        (IPV6_NEXT_HEADER_AT, IPV6_NEXT_HEADER_AT): IPV4_PROTOCOL_AT,
        (IPV6_HOP_LIMIT_AT, IPV6_HOP_LIMIT_AT): IPV4_TTL_AT,
        (IPV6_SOURCE_AT, IPV6_SOURCE_AT + 15): IPV4_SOURCE_AT,
        (IPV6_DESTINATION_AT, IPV6_DESTINATION_AT + 15): IPV4_DESTINATION_AT,
    },
)
assert POINTER_TO_IPV6[IPV4_CHECKSUM_AT] == NONE


@jit()
def is_echo(family, type_):
    """An ICMP query that NAT64 carries."""
    if family == 4:
        return type_ == ECHO_REQUEST4 or type_ == ECHO_REPLY4
    return type_ == ECHO_REQUEST6 or type_ == ECHO_REPLY6


@jit()
def is_error(family, type_):
    """An ICMP error: something that quotes a packet."""
    if family == 4:
        return type_ == UNREACHABLE4 or type_ == TIME_EXCEEDED4 or type_ == PARAMETER4 or type_ == 4 or type_ == 5
    return type_ < 128


@jit()
def echo_type(type_, family):
    """An echo's type in a family, whatever family it is in now."""
    if type_ == ECHO_REQUEST4 or type_ == ECHO_REQUEST6:
        return ECHO_REQUEST4 if family == 4 else ECHO_REQUEST6
    return ECHO_REPLY4 if family == 4 else ECHO_REPLY6


@jit()
def translate_error(family, out_family, type_, code, pointer):
    """(type, code, RestOfHeader, pointer) of an ICMP error in the other family; type NONE: it has no counterpart.

    Hairpinned it keeps all four, if it would have survived on its way through IPv4 (RFC 6146 section 3.8).
    """
    if type_ >= TYPES:
        return NONE, 0, RestOfHeader.ZERO, 0
    row = TO_IPV6[type_, code] if family == 4 else TO_IPV4[type_, code]
    if row[0] == NONE:
        return NONE, 0, RestOfHeader.ZERO, 0
    holds, new_pointer = int64(row[2]), pointer
    if holds == RestOfHeader.POINTER:
        pointers = POINTER_TO_IPV6 if family == 4 else POINTER_TO_IPV4
        new_pointer = pointers[pointer] if pointer < len(pointers) else NONE
        if new_pointer == NONE:
            return NONE, 0, RestOfHeader.ZERO, 0
    elif holds == RestOfHeader.NEXT_HEADER_POINTER:
        new_pointer = IPV6_NEXT_HEADER_AT
    if family == out_family:
        return type_, code, RestOfHeader.POINTER if type_ == PARAMETER6 else holds, pointer
    return int64(row[0]), int64(row[1]), holds, new_pointer


@jit()
def translate_mtu(settings, family, out_family, mtu, quoted):
    """RFC 7915 sections 4.2 and 5.2: the MTU of a "too big" in the other family.

    To IPv6: 20 more. To IPv4: 20 less, 28 where the packet in question had a Fragment header. Of 0: the plateau below
    that packet's length (RFC 1191 section 5). Never below 1280 and 68, which every link has (RFC 8201 section 4, RFC
    1191 section 3).
    """
    if family == out_family:
        return max(mtu, IPV6_MINIMUM_MTU)
    if out_family == 4:
        if mtu == 0:
            mtu = plateau_below(settings, quoted.payload + IPV4_HEADER) + 20
        elif quoted.has_fragment_header:
            mtu -= 8
        mtu = min(mtu - 20, 65535)
        if settings.mtu4 > 0:
            mtu = min(mtu, settings.mtu4)
        if settings.mtu6 > 0:
            mtu = min(mtu, settings.mtu6 - 20)
        return max(mtu, IPV4_MINIMUM_MTU)
    if mtu == 0:
        mtu = plateau_below(settings, quoted.payload + quoted.l4 - quoted.l3)
    mtu += 20
    if settings.mtu6 > 0:
        mtu = min(mtu, settings.mtu6)
    if settings.mtu4 > 0:
        mtu = min(mtu, settings.mtu4 + 20)
    return max(IPV6_MINIMUM_MTU, mtu)


@jit()
def plateau_below(settings, length):
    """RFC 1191 section 7: the greatest MTU of the table that is below the length of an IPv4 packet, or 0."""
    for i in range(len(settings.plateaus)):
        if settings.plateaus[i] < length:
            return int64(settings.plateaus[i])
    return int64(0)
