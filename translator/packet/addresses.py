"""Transport addresses of both families, and which addresses a host can have."""

from typing import NamedTuple

from translator.jit.compile import hot, int64, jit


class TransportAddress(NamedTuple):
    """An address and a port (RFC 6146 section 2). An IPv4 address lies in `lo`; without a port `port` is 0.

    `hi` and `lo` are the two 64-bit words of an IPv6 address as int64. Of an IPv4 host `hi` is the number of the prefix
    that it is written under.
    """

    hi: int
    lo: int
    port: int


@hot()
def address6(hi, lo, port):
    """A TransportAddress of plain int64, whatever the width of the table fields it is made from."""
    return TransportAddress(int64(hi), int64(lo), int64(port))


@hot()
def address4(addr4, port):
    """The same for an IPv4 address."""
    return TransportAddress(int64(0), int64(addr4), int64(port))


@hot()
def under(host4, prefix):
    """An IPv4 host as it is written under the prefix with this number: `hi` says so, 0 is pool6."""
    return address6(prefix, host4.lo, host4.port)


@hot()
def is_same(a, b):
    """Whether two transport addresses are the same address, whatever the ports."""
    return a.lo == b.lo and a.hi == b.hi


@hot()
def is_link_local4(family, address):
    """Whether it is an IPv4 link-local address: 169.254.0.0/16."""
    return family == 4 and address.lo >> 16 == 0xA9FE


@jit()
def is_unicast(family, address):
    """Whether a host can have this address: not multicast, unspecified, loopback, link-local (IPv6) or reserved
    (IPv4)."""
    if family == 4:
        net = address.lo >> 24  # RFC 1122 section 3.2.1.3
        return net != 0 and net != 127 and net < 224
    hi, top = address.hi, address.hi >> 48 & 0xFFFF
    return not (top >> 8 == 0xFF or top & 0xFFC0 == 0xFE80 or (hi == 0 and int64(0) <= address.lo <= 1))
