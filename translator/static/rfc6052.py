"""RFC 6052 section 2.2: IPv4-embedded IPv6 addresses under the configured prefix (arithmetic.py draws them)."""

from translator.jit.compile import jit
from translator.packet.addresses import address4, address6
from translator.static import arithmetic
from translator.tables.layout import NONE

matches, embed, extract = jit()(arithmetic.matches), jit()(arithmetic.embed), jit()(arithmetic.extract)


@jit()
def in_pool6(gateway, address):
    """Whether an IPv6 address is IPv4-embedded under the configured prefix."""
    settings = gateway.settings
    if settings.pool6_length == NONE:
        return False
    return matches(settings.pool6_hi, settings.pool6_lo, settings.pool6_length, address.hi, address.lo)


@jit()
def to_pool6(gateway, host4):
    """An IPv4 transport address under the configured prefix."""
    settings = gateway.settings
    hi, lo = embed(settings.pool6_hi, settings.pool6_lo, settings.pool6_length, host4.lo)
    return address6(hi, lo, host4.port)


@jit()
def from_pool6(gateway, address):
    """The IPv4 transport address that stands under the configured prefix."""
    return address4(extract(gateway.settings.pool6_length, address.hi, address.lo), address.port)
