"""Addresses and protocols as the translator's numbers."""

from ipaddress import IPv6Address

import numpy as np
from netaddr import IPSet

from translator.packet.fields import ICMP, TCP, UDP

PROTOCOLS = {"tcp": TCP, "udp": UDP, "icmp": ICMP}


def words(address: IPv6Address) -> tuple[int, int]:
    """An IPv6 address as two int64."""
    hi, lo = int(address) >> 64, int(address) & (1 << 64) - 1
    return hi - (hi >> 63 << 64), lo - (lo >> 63 << 64)


def address6(hi: int, lo: int) -> IPv6Address:
    """Two int64 as an IPv6 address."""
    return IPv6Address((int(hi) & (1 << 64) - 1) << 64 | int(lo) & (1 << 64) - 1)


def ranges(addresses: IPSet) -> np.ndarray:
    """What a packet has to be compared with: int64[n, 2], first and last address of each range, sorted."""
    return np.array([(row.first, row.last) for row in addresses.iter_ipranges()], np.int64).reshape(-1, 2)
