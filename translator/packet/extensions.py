"""RFC 4884: objects behind the packet that an ICMP error quotes, and the length attribute that says where they begin.

A translated quote is longer or shorter, so the attribute is written again (RFC 7915 sections 4.2 and 5.2). The
extension itself is opaque; it stays where it is, and the quote moves up to it.
"""

from typing import NamedTuple

import numpy as np

from translator.jit.compile import jit
from translator.packet.fields import (
    ICMP_HEADER,
    ICMP_LENGTH_AT,
    ICMPV6_LENGTH_AT,
    IPV4_HEADER,
    IPV6_HEADER,
    move,
    put_u8,
    u8,
)
from translator.packet.icmp import (
    IPV6_MINIMUM_MTU,
    PARAMETER4,
    TIME_EXCEEDED4,
    TIME_EXCEEDED6,
    TYPES,
    UNREACHABLE4,
    UNREACHABLE6,
)

# SPEC
LEAST = 128  # octets of the field that holds the quoted packet, zeros included (RFC 4884 section 4)
# LIMITS
LARGEST4, LARGEST6 = 576, IPV6_MINIMUM_MTU  # of an error: RFC 1812 section 4.3.2.3; RFC 4443 section 2.4 (c)


def _words(octets: int, types: tuple[int, ...]) -> np.ndarray:
    """int64[type]: what the length attribute counts in, 0 where there is none."""
    table = np.zeros(TYPES, np.int64)
    table[list(types)] = octets
    return table


# RFC 4884 section 4: which messages have a length attribute; it counts 32-bit words in ICMP, 64-bit words in ICMPv6.
WORDS4 = _words(4, (UNREACHABLE4, TIME_EXCEEDED4, PARAMETER4))
WORDS6 = _words(8, (UNREACHABLE6, TIME_EXCEEDED6))


class Quote(NamedTuple):
    """Where the quoted packet of an ICMP error goes; without an extension it stays, and `extension` is `end`."""

    cut: int  # where it is cut, as it lies
    l4: int  # where its transport header goes
    extension: int  # where the extension begins: between it and the packet there are zeros
    end: int  # of the message
    words: int  # the length attribute


@jit()
def word_of(family, type_):
    """Octets that the length attribute of a message counts in, or 0."""
    if type_ >= TYPES:
        return 0
    return WORDS4[type_] if family == 4 else WORDS6[type_]


@jit()
def length_at(family):
    """The offset of the length attribute in a message that has one."""
    return ICMP_LENGTH_AT if family == 4 else ICMPV6_LENGTH_AT


@jit()
def extension_of(p, error):
    """Where the extension of an ICMP error begins, or the error's end.

    An attribute that no message of RFC 4884 can have (fewer than 128 octets, or more than there are) says nothing.
    """
    size = u8(p, error.l4 + length_at(error.family)) * word_of(error.family, u8(p, error.l4))
    at = error.l4 + ICMP_HEADER + size
    return at if size >= LEAST and at < error.end else error.end


@jit()
def plan_quote(p, error, quoted, family, type_, inner):
    """Cut the quoted packet, with `inner` octets of network header in its new family, to what the largest error holds.

    The quote gives way first, down to 128 octets; then the extension is left out (RFC 7915 section 4.2). So it is where
    the message of the new type cannot have one (RFC 4884 section 4.6).
    """
    room = (LARGEST4 - IPV4_HEADER if family == 4 else LARGEST6 - IPV6_HEADER) - ICMP_HEADER
    extension, word = extension_of(p, error), word_of(family, type_)
    left = room - (error.end - extension)
    if extension == error.end or word == 0 or left < LEAST:
        cut = min(quoted.end, quoted.l4 + room - inner)
        return Quote(cut, quoted.l4, cut, cut, 0)
    size = inner + quoted.end - quoted.l4
    size = min(max(LEAST, (size + word - 1) & -word), left & -word)
    cut = min(quoted.end, quoted.l4 + size - inner)
    return Quote(cut, extension - size + inner, extension, error.end, size // word)


@jit()
def place(p, quoted, quote):
    """Move what is behind the network header of the quoted packet to its place, and fill up with zeros."""
    size = quote.cut - quoted.l4
    move(p, quote.l4, quoted.l4, size)
    for at in range(quote.l4 + size, quote.extension):
        put_u8(p, at, 0)
