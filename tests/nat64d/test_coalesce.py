"""Datagrams joined on write: what the kernel cuts a super-frame into is what came in."""

import struct
from ipaddress import ip_address

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment

from nat64d.dataplane.coalesce import COUNT, SEGMENTS, begin, joins, new_pending, payload_of, seal
from translator.packet.virtio import GSO_UDP, NEEDS_CSUM, VNET_HEADER, clear
from translator.tables.gateway import HEADROOM, SLOT

FAMILIES = {
    4: lambda: IP(src="192.0.2.1", dst="198.51.100.7", flags="DF", ttl=63, id=7),
    6: lambda: IPv6(src="64:ff9b::192.0.2.1", dst="2001:db8::1", hlim=63),
}


def in_slot(packet):
    """A slot with a packet at HEADROOM and an empty virtio_net_hdr, and where the packet ends."""
    slot = np.full(SLOT, 0xA5, np.uint8)
    octets = np.frombuffer(bytes(packet), np.uint8)
    slot[HEADROOM : HEADROOM + len(octets)] = octets
    clear(slot, HEADROOM)
    return slot, HEADROOM + len(octets)


def offer(pending, packet):
    """What the worker does with a translated packet: "joined", "begun", or "alone"."""
    slot, end = in_slot(packet)
    payload = payload_of(slot, HEADROOM, end)
    begun = pending.frames[0, COUNT] > 0
    if payload > 0 and begun and joins(pending, 0, slot, HEADROOM, end, payload):
        return "joined"
    if payload > 0 and not begun:
        begin(pending, 0, slot, HEADROOM, end, payload)
        return "begun"
    return "alone"


def sealed(pending):
    """What would be written: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset; and the packet."""
    end = seal(pending, 0)
    header = bytes(pending.slots[HEADROOM - VNET_HEADER : HEADROOM])
    return struct.unpack("<BBHHHH", header), bytes(pending.slots[HEADROOM:end])


def cut_by_kernel(frame, gso_size, csum_start):
    """The payloads the kernel makes of a UDP super-frame: the frame must be a valid packet of its whole length."""
    packet = (IP if frame[0] >> 4 == 4 else IPv6)(frame)
    assert packet[UDP].len == len(frame) - csum_start
    assert packet.len == len(frame) if frame[0] >> 4 == 4 else packet.plen == len(frame) - 40
    octets = frame[csum_start + 8 :]
    return [octets[i : i + gso_size] for i in range(0, len(octets), gso_size)]


def partial_checksum(packet):
    """The uncomplemented pseudo-header sum of a UDP packet, by hand."""
    octets = ip_address(packet.src).packed + ip_address(packet.dst).packed
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets)) + 17 + packet[UDP].len
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [1, 64, 1200])
def test_datagrams_of_a_flow_become_one_super_frame_that_cuts_into_them(family, size):
    payloads = [bytes([k]) * size for k in range(5)]
    pending = new_pending(True)
    told = [offer(pending, FAMILIES[family]() / UDP(sport=53, dport=5000) / payload) for payload in payloads]
    (flags, gso_type, hdr_len, gso_size, csum_start, csum_offset), frame = sealed(pending)
    header = 20 if family == 4 else 40
    assert told == ["begun", *["joined"] * 4]
    assert (flags, gso_type, hdr_len, gso_size) == (NEEDS_CSUM, GSO_UDP, header + 8, size)
    assert (csum_start, csum_offset) == (header, 6)
    assert cut_by_kernel(frame, gso_size, csum_start) == payloads
    packet = (IP if family == 4 else IPv6)(frame)
    assert packet[UDP].chksum == partial_checksum(packet)
    if family == 4:
        assert (
            packet.chksum
            == IP(
                bytes(IP(src="192.0.2.1", dst="198.51.100.7", flags="DF", ttl=63, id=7, proto=17) / frame[20:])
            ).chksum
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_one_datagram_leaves_as_it_came(family):
    packet = bytes(FAMILIES[family]() / UDP(sport=53, dport=5000) / b"alone")
    pending = new_pending(True)
    assert offer(pending, packet) == "begun"
    assert sealed(pending) == ((0, 0, 0, 0, 0, 0), packet)


def other(family, **fields):
    """The datagram of the flow with some fields changed."""
    packet = FAMILIES[family]() / UDP(sport=53, dport=5000) / (b"x" * 64)
    for name, value in fields.items():
        setattr(packet, name, value)
    return packet


@pytest.mark.parametrize(
    "second",
    [
        other(4, src="192.0.2.2"),
        other(4, dst="198.51.100.8"),
        other(4, ttl=62),
        other(4, tos=4),
        other(4, flags=0),
        other(4, sport=54),
        other(4, dport=5001),
        other(4, load=b"x" * 63),
        other(6, src="64:ff9b::192.0.2.2"),
        other(6, hlim=62),
        other(6, tc=4),
    ],
    ids=lambda packet: packet.summary(),
)
def test_a_datagram_that_differs_is_not_joined(second):
    pending = new_pending(True)
    family = 4 if IP in second else 6
    assert offer(pending, other(family)) == "begun"
    assert offer(pending, second) == "alone"


@pytest.mark.parametrize(
    "packet",
    [
        FAMILIES[4]() / TCP(sport=53, dport=5000) / b"x",
        FAMILIES[4]() / UDP(sport=53, dport=5000, chksum=0) / b"unprotected",
        FAMILIES[4]() / UDP(sport=53, dport=5000, chksum=0x1234) / b"damaged",
        FAMILIES[4]() / UDP(sport=53, dport=5000, len=9) / b"trailing octets",
        FAMILIES[6]() / IPv6ExtHdrFragment(id=1) / UDP(sport=53, dport=5000) / b"atomic",
        FAMILIES[4]() / UDP(sport=53, dport=5000),
        FAMILIES[4]() / UDP(sport=53, dport=5000) / (b"x" * 1500),
    ],
    ids=lambda packet: packet.summary(),
)
def test_what_could_not_be_cut_back_is_never_joined(packet):
    assert offer(new_pending(True), packet) == "alone"


def test_a_super_frame_holds_no_more_segments_than_the_kernel_cuts():
    pending = new_pending(True)
    told = [offer(pending, other(4)) for _ in range(SEGMENTS + 1)]
    assert told.count("joined") == SEGMENTS - 1
    assert told[-1] == "alone"


def test_a_super_frame_stays_within_the_slot():
    pending, packet = new_pending(True), FAMILIES[4]() / UDP(sport=53, dport=5000) / (b"x" * 1472)
    told = [offer(pending, packet) for _ in range(SEGMENTS)]
    _, frame = sealed(pending)
    assert told.count("joined") == 65535 // 1472 - 1
    assert len(frame) <= 65535


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [1425, 1440])
def test_a_super_frame_of_odd_datagrams_keeps_its_lengths_within_16_bits(family, size):
    pending, packet = new_pending(True), FAMILIES[family]() / UDP(sport=53, dport=5000) / (b"x" * size)
    while offer(pending, packet) != "alone":
        pass
    (*_, gso_size, csum_start, _), frame = sealed(pending)
    assert set(cut_by_kernel(frame, gso_size, csum_start)) == {b"x" * size}


def test_a_dropped_packet_is_no_datagram():
    assert payload_of(np.zeros(SLOT, np.uint8), 0, 0) == 0
