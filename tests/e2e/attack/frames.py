"""Ethernet frames by the hundred thousand, made by NumPy: arrays of octets, a frame a row."""

from ipaddress import IPv6Address, IPv6Network

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

UDP, TCP = 17, 6
SYN = 0x02


class Dice:
    """What is drawn by chance for `count` frames."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._random = np.random.default_rng(1)

    def numbers(self, low: int, high: int) -> Numbers:
        """From `low` to `high` - 1."""
        return self._random.integers(low, high, self.count)

    def hosts(self, prefix: str) -> Octets:
        """IPv6 addresses in a prefix: (count, 16)."""
        network = IPv6Network(prefix)
        fixed = np.frombuffer(network.network_address.packed, np.uint8)
        free = np.frombuffer(network.hostmask.packed, np.uint8)
        drawn: Octets = self._random.integers(0, 256, (self.count, 16), np.uint8)
        return fixed | (free & drawn)


def big_endian(numbers: Numbers | int, octets: int, count: int) -> Octets:
    """Numbers as (count, octets)."""
    wide = np.broadcast_to(np.asarray(numbers, ">u8"), (count,))
    return np.ascontiguousarray(wide).view(np.uint8).reshape(count, 8)[:, 8 - octets :]


def embedded(addresses: Numbers) -> Octets:
    """IPv4 addresses under 64:ff9b::/96: (count, 16)."""
    prefix = np.frombuffer(IPv6Address("64:ff9b::").packed[:12], np.uint8)
    count = len(addresses)
    return np.hstack([np.broadcast_to(prefix, (count, 12)), big_endian(addresses, 4, count)])


def udp(source: Numbers | int, destination: Numbers | int, payload: Octets) -> Octets:
    """UDP datagrams without checksum."""
    count, length = payload.shape
    fields = ((source, 2), (destination, 2), (8 + length, 2), (0, 2))
    return np.hstack([*(big_endian(number, octets, count) for number, octets in fields), payload])


def syns(source: Numbers | int, destination: Numbers | int, sequence: Numbers) -> Octets:
    """TCP SYNs without checksum."""
    count = len(sequence)
    fields = ((source, 2), (destination, 2), (sequence, 4), (0, 4), (5 << 4, 1), (SYN, 1), (65535, 2), (0, 2), (0, 2))
    return np.hstack([big_endian(number, octets, count) for number, octets in fields])


def checksum(octets: Octets) -> Octets:
    """RFC 1071, of each row, whose octets are even in number: (count, 2). The sum does not depend on the byte order."""
    total = octets.view(np.uint16).sum(axis=1, dtype=np.uint32)
    for _ in range(2):
        total = (total & 0xFFFF) + (total >> 16)
    sums: Octets = (total ^ 0xFFFF).astype(np.uint16).view(np.uint8).reshape(-1, 2)
    return sums


def covered(source: Octets, destination: Octets, protocol: int, datagrams: Octets) -> Octets:
    """The datagrams with their checksum."""
    count, length = datagrams.shape
    pseudo = big_endian(length << 16 | protocol, 6, count)
    whole = np.hstack([source, destination, pseudo, datagrams, np.zeros((count, length % 2), np.uint8)])
    place = {UDP: 6, TCP: 16}[protocol]
    datagrams[:, place : place + 2] = checksum(np.ascontiguousarray(whole))
    return datagrams


def ipv6(source: Octets, destination: Octets, protocol: int, datagrams: Octets, hops: int = 64) -> Octets:
    """Frames to nobody yet; the datagrams get their checksum."""
    count, length = datagrams.shape
    fixed = big_endian(6 << 60 | length << 16 | protocol << 8 | hops, 8, count)
    return np.hstack(
        [ethernets(0x86DD, count), fixed, source, destination, covered(source, destination, protocol, datagrams)]
    )


def ipv4(source: Octets, destination: Octets, protocol: int, datagrams: Octets) -> Octets:
    """Frames to nobody yet; headers and datagrams get their checksum."""
    count, length = datagrams.shape
    begin = big_endian(0x45 << 56 | 20 + length << 32, 8, count)
    middle = big_endian(64 << 24 | protocol << 16, 4, count)
    header = np.hstack([begin, middle, source, destination])
    header[:, 10:12] = checksum(np.ascontiguousarray(header))
    return np.hstack([ethernets(0x0800, count), header, covered(source, destination, protocol, datagrams)])


def ethernets(ethertype: int, count: int) -> Octets:
    """Ethernet headers whose addresses are still missing."""
    return np.hstack([np.zeros((count, 12), np.uint8), big_endian(ethertype, 2, count)])
