"""RFC 6052 section 2.2: IPv4-embedded IPv6 addresses under the configured prefixes (arithmetic.py draws them).

pool6 has the number 0; the others are prefixes that services write their clients under. `hi` of an IPv4 host is the
number of its prefix.
"""

from translator.jit.compile import hot, int64, jit, rare
from translator.packet.addresses import address4, address6
from translator.static import arithmetic
from translator.tables.layout import NONE

HI, LO, LENGTH = 0, 1, 2  # columns of Settings.prefixes

matches, embed, extract = jit()(arithmetic.matches), jit()(arithmetic.embed), jit()(arithmetic.extract)


@jit()
def in_pool6(gateway, address):
    """Whether an IPv6 address is IPv4-embedded under pool6."""
    settings = gateway.settings
    if settings.pool6_length == NONE:
        return False
    return matches(settings.pool6_hi, settings.pool6_lo, settings.pool6_length, address.hi, address.lo)


@hot()
def client_prefix_of(gateway, address):
    """The number of the client prefix, other than pool6, that an IPv6 address is under, or NONE. A compare where there
    is none."""
    return find_client_prefix(gateway, address) if gateway.settings.client_prefixes > 0 else int64(NONE)


@rare()
def find_client_prefix(gateway, address):
    """The same by looking at all of them."""
    prefixes = gateway.settings.prefixes
    for number in range(1, len(prefixes)):
        if matches(prefixes[number, HI], prefixes[number, LO], prefixes[number, LENGTH], address.hi, address.lo):
            return int64(number)
    return int64(NONE)


@hot()
def in_prefix(gateway, address):
    """Whether an IPv6 address is IPv4-embedded under any prefix."""
    return in_pool6(gateway, address) or client_prefix_of(gateway, address) != NONE


@jit()
def to_prefix(gateway, host4):
    """An IPv4 transport address, written under its prefix; one that has none, under pool6."""
    settings = gateway.settings
    if host4.hi <= 0:
        hi, lo = embed(settings.pool6_hi, settings.pool6_lo, settings.pool6_length, host4.lo)
    else:
        prefixes = settings.prefixes
        hi, lo = embed(prefixes[host4.hi, HI], prefixes[host4.hi, LO], prefixes[host4.hi, LENGTH], host4.lo)
    return address6(hi, lo, host4.port)


@hot()
def from_prefix(gateway, address):
    """The IPv4 transport address that stands under a prefix."""
    number = client_prefix_of(gateway, address)
    if number == NONE:
        return from_pool6(gateway, address)
    length = gateway.settings.prefixes[number, LENGTH]
    return address6(number, extract(length, address.hi, address.lo), address.port)


@jit()
def from_pool6(gateway, address):
    """The IPv4 transport address that stands under pool6."""
    return address4(extract(gateway.settings.pool6_length, address.hi, address.lo), address.port)
