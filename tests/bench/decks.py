"""Packets by the hundred thousand: one NumPy record each, filled column by column from session records.

A row is anything with the addresses and ports of a session (`translator.tables.SESSION`). Each packet
lies behind its virtio_net_hdr as a worker would have read it. UDP and TCP checksums are arbitrary: a translator updates
them, it never verifies them.
"""

from typing import NamedTuple

import numpy as np

from nat64d.config.words import words
from tests.bench.paths import NAT64D_POOL6
from translator.packet.fields import ICMP, TCP, UDP
from translator.packet.virtio import GSO_TCPV6, NEEDS_CSUM

PAYLOAD = 64  # octets
SUPERFRAME = 65000  # octets of payload of a GSO super-frame
SEGMENT = 1440  # octets of payload of its segments
ROUTER4 = 0xC0000201  # 192.0.2.1, where ICMP errors come from
SYN, ACK = 0x02, 0x10

OFFLOAD = [("flags", "u1"), ("gso", "u1"), ("length", "<u2"), ("size", "<u2"), ("start", "<u2"), ("offset", "<u2")]
IPV6_HEADER = [("version", ">u4"), ("length", ">u2"), ("next", "u1"), ("hops", "u1")]
IPV6_HEADER += [("src_hi", ">i8"), ("src_lo", ">i8"), ("dst_hi", ">i8"), ("dst_lo", ">i8")]
IPV4_HEADER = [("version", "u1"), ("tos", "u1"), ("length", ">u2"), ("identification", ">u2"), ("fragment", ">u2")]
IPV4_HEADER += [("ttl", "u1"), ("protocol", "u1"), ("checksum", ">u2"), ("src", ">u4"), ("dst", ">u4")]
UDP_HEADER = [("src", ">u2"), ("dst", ">u2"), ("length", ">u2"), ("checksum", ">u2")]
TCP_HEADER = [("src", ">u2"), ("dst", ">u2"), ("sequence", ">u4"), ("acknowledged", ">u4"), ("header", "u1")]
TCP_HEADER += [("flags", "u1"), ("window", ">u2"), ("checksum", ">u2"), ("urgent", ">u2")]
ICMP_HEADER = [("type", "u1"), ("code", "u1"), ("checksum", ">u2"), ("rest", ">u4")]
TRANSPORT = {UDP: UDP_HEADER, TCP: TCP_HEADER}
DATA = (np.uint8, PAYLOAD)


class Deck(NamedTuple):
    """Packets that differ only in addresses and ports."""

    octets: np.ndarray  # uint8[packets, width]: virtio_net_hdr and what is not payload of a super-frame
    length: int  # octets of one packet from its IP header to its end


def checksum(octets: np.ndarray) -> np.ndarray:
    """RFC 1071 of every row of uint8[n, even]."""
    total = octets.reshape(len(octets), -1, 2).astype(np.int64) @ np.array([256, 1])
    total = total.sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    inverted: np.ndarray = ~(total + (total >> 16)) & 0xFFFF
    return inverted


def octets_of(records: np.ndarray) -> np.ndarray:
    """Packed records as uint8[n, size]."""
    return np.ascontiguousarray(records).view(np.uint8).reshape(len(records), -1)


def fill_transport(header: np.ndarray, protocol: int, payload: int, flags: int) -> None:
    """All of a UDP or TCP header but the ports."""
    header["checksum"] = 0x1234
    if protocol == UDP:
        header["length"] = 8 + payload
    else:
        header["header"], header["flags"], header["window"] = 5 << 4, flags, 1024


def fill_ipv4(header: np.ndarray, protocol: int, length: int, src: np.ndarray | int, dst: np.ndarray | int) -> None:
    """An IPv4 header without options, its checksum right."""
    header["version"], header["length"], header["fragment"], header["ttl"] = 0x45, length, 0x4000, 60
    header["protocol"], header["src"], header["dst"] = protocol, src, dst
    header["checksum"] = checksum(octets_of(header))


def from_host6(rows: np.ndarray, protocol: int, flags: int = ACK, superframe: bool = False) -> Deck:
    """IPv6 packets, host6 to pool6 + host4; as super-frames with their payload left out."""
    transport = TRANSPORT[protocol]
    layers = [
        ("offload", OFFLOAD),
        ("ip", IPV6_HEADER),
        ("transport", transport),
        *([] if superframe else [("data", *DATA)]),
    ]
    packets = np.zeros(len(rows), np.dtype(layers))
    payload = SUPERFRAME if superframe else PAYLOAD
    ip, header = packets["ip"], packets["transport"]
    ip["version"], ip["next"], ip["hops"] = 6 << 28, protocol, 60
    ip["length"] = header.dtype.itemsize + payload
    ip["src_hi"], ip["src_lo"] = rows["host6_hi"], rows["host6_lo"]
    ip["dst_hi"], ip["dst_lo"] = words(NAT64D_POOL6[0])[0], rows["host4"]
    header["src"], header["dst"] = rows["host6_port"], rows["host4_port"]
    fill_transport(header, protocol, payload, flags)
    if superframe:
        packets["offload"] = (NEEDS_CSUM, GSO_TCPV6, 60, SEGMENT, 40, 16)
    return Deck(octets_of(packets), 40 + header.dtype.itemsize + payload)


def from_host4(rows: np.ndarray, protocol: int, flags: int = ACK) -> Deck:
    """IPv4 packets, host4 to mapped4."""
    layers = [("offload", OFFLOAD), ("ip", IPV4_HEADER), ("transport", TRANSPORT[protocol]), ("data", *DATA)]
    packets = np.zeros(len(rows), np.dtype(layers))
    header = packets["transport"]
    length = 20 + header.dtype.itemsize + PAYLOAD
    fill_ipv4(packets["ip"], protocol, length, rows["host4"], rows["mapped4"])
    header["src"], header["dst"] = rows["host4_port"], rows["mapped4_port"]
    fill_transport(header, protocol, PAYLOAD, flags)
    return Deck(octets_of(packets), length)


def unreachable(rows: np.ndarray) -> Deck:
    """ICMP host unreachable from a router, each quoting a UDP datagram from mapped4 to host4 in full."""
    layers = [("icmp", ICMP_HEADER), ("ip", IPV4_HEADER), ("udp", UDP_HEADER), ("data", *DATA)]
    packets = np.zeros(len(rows), np.dtype([("offload", OFFLOAD), ("outer", IPV4_HEADER), ("body", layers)]))
    body, quoted = packets["body"], packets["body"]["ip"]
    fill_ipv4(packets["outer"], ICMP, 20 + body.dtype.itemsize, ROUTER4, rows["mapped4"])
    fill_ipv4(quoted, UDP, 28 + PAYLOAD, rows["mapped4"], rows["host4"])
    body["udp"]["src"], body["udp"]["dst"] = rows["mapped4_port"], rows["host4_port"]
    fill_transport(body["udp"], UDP, PAYLOAD, 0)
    body["icmp"]["type"], body["icmp"]["code"] = 3, 1
    body["icmp"]["checksum"] = checksum(octets_of(body))
    return Deck(octets_of(packets), 20 + body.dtype.itemsize)
