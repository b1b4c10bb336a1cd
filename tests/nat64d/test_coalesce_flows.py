"""Interleaved flows joined on write: each flow comes out in its order, and cut by the kernel it is what came in."""

import socket
import struct
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from nat64d.dataplane import worker as compiled
from nat64d.dataplane.coalesce import FLOWS, JUDGED, REST, judge, new_pending, place_of, tries
from translator.jit.compile import COMPILED
from translator.packet.virtio import GSO_UDP, VNET_HEADER, clear
from translator.pipeline import Outcome
from translator.plain import Copies
from translator.tables.gateway import HEADROOM, SLOT, new_worker
from translator.verdict import Event, Verdict

loop = compiled if COMPILED else Copies(("translator.", "nat64d.dataplane.")).module("nat64d.dataplane.worker")
SMALL, LARGE = 16, 40  # octets of payload


def flow(family, number):
    """The headers of a flow, up to its ports."""
    ports = UDP(sport=53, dport=5000 + number)
    if family == 4:
        return IP(src="192.0.2.1", dst="198.51.100.7", flags="DF", ttl=63, id=7) / ports
    return IPv6(src="64:ff9b::192.0.2.1", dst="2001:db8::1", hlim=63) / ports


def place(packet):
    """The place in the index of a datagram with an empty payload."""
    octets = np.frombuffer(bytes(packet), np.uint8)
    return place_of(octets, 0, len(octets), 0)


def sharing(packet):
    """Another flow that has the place of this one."""
    numbers = range(1, 60000)
    return next(other for other in (flow(4, number) for number in numbers) if place(other) == place(packet))


FLOWS_OF_A_TEST = [flow(4, 0), flow(6, 0), flow(4, 1), flow(6, 1), sharing(flow(4, 0))]


def packet_of(kind, head, serial, size):
    """A packet of a flow that carries its serial number at the end."""
    payload = serial.to_bytes(4, "big").rjust(size, b".")
    match kind:
        case "whole":
            return bytes(head / payload)
        case "damaged":
            return bytes(head / payload)[:-5] + b"!" + serial.to_bytes(4, "big")
        case "fragment":
            packet = head.copy() if IP in head else flow(4, 0)
            packet[IP].flags = "MF"
            return bytes(packet / payload)
        case _:
            packet = head.copy()
            packet[UDP].underlayer.remove_payload()
            return bytes(packet / TCP(sport=1, dport=2) / payload)


class Device:
    """What the loop writes to, and one queue's pending datagrams."""

    def __init__(self):
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs.setblocking(False)
        self.pending, self.worker = new_pending(True), new_worker(0)
        self.written = []

    def close(self):
        self._ours.close()
        self._theirs.close()

    def take(self, packet):
        """What the loop does with a translated packet."""
        slot, end = np.full(SLOT, 0xA5, np.uint8), HEADROOM + len(packet)
        slot[HEADROOM:end] = np.frombuffer(packet, np.uint8)
        clear(slot, HEADROOM)
        outcome = Outcome(Verdict.TRANSLATED, 0, HEADROOM, end, 0, 0, -1)
        if not loop.holds(self._ours.fileno(), self.worker, self.pending, slot, outcome):
            loop.put(self._ours.fileno(), self.worker, slot, HEADROOM, end)
        self._read()

    def end(self):
        """The end of a batch: what was written, in its order."""
        loop.flush(self._ours.fileno(), self.worker, self.pending)
        self._read()
        written, self.written = self.written, []
        return written

    def _read(self):
        while True:
            try:
                self.written.append(self._theirs.recv(SLOT))
            except BlockingIOError:
                return


@pytest.fixture(scope="module")
def device():
    made = Device()
    yield made
    made.close()


def segments(written):
    """The packets that the kernel makes of what was written, with lengths and checksums by scapy. Identifications do
    not count up here: those of all packets of a test are the same."""
    _, gso_type, _, size, start, _ = struct.unpack("<BBHHHH", written[:VNET_HEADER])
    octets = written[VNET_HEADER:]
    if gso_type != GSO_UDP:
        return [octets]
    head, payload = octets[: start + 8], octets[start + 8 :]
    made = []
    for at in range(0, len(payload), size):
        packet = (IP if head[0] >> 4 == 4 else IPv6)(head + payload[at : at + size])
        del packet[UDP].len, packet[UDP].chksum
        if IP in packet:
            del packet.len, packet.chksum
        else:
            del packet.plen
        made.append(bytes(packet))
    return made


def by_flow(packets):
    """Packets by their addresses and, of whole datagrams, ports."""
    flows = defaultdict(list)
    for packet in packets:
        flows[packet[12:24] if packet[0] >> 4 == 4 else packet[6:7] + packet[8:44]].append(packet)
    return flows


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["whole"] * 9 + ["damaged", "fragment", "tcp"]),
            st.sampled_from(FLOWS_OF_A_TEST),
            st.sampled_from([SMALL] * 5 + [LARGE]),
        ),
        max_size=60,
    )
)
def test_every_flow_comes_out_in_its_order_and_octet_for_octet(device, drawn):
    packets = [packet_of(kind, head, serial, size) for serial, (kind, head, size) in enumerate(drawn)]
    for packet in packets:
        device.take(packet)
    came = [packet for written in device.end() for packet in segments(written)]
    assert by_flow(came) == by_flow(packets)


@pytest.mark.parametrize("family", [4, 6])
def test_datagrams_of_interleaved_flows_are_joined_by_flow(device, family):
    flows, turns = 32, 8
    before = device.worker.events[Event.COALESCED]
    heads = [flow(family, number) for number in range(flows)]
    for turn in range(turns):
        for head in heads:
            device.take(packet_of("whole", head, turn, SMALL))
    written = device.end()
    assert len({place(head) for head in heads}) == flows
    assert [len(segments(each)) for each in written] == [turns] * flows
    assert device.worker.events[Event.COALESCED] - before == flows * turns


def test_more_flows_than_frames_come_out_all_the_same(device):
    packets = [packet_of("whole", flow(4, number), number, SMALL) for number in range(FLOWS + 20)]
    for packet in packets:
        device.take(packet)
    assert sorted(each[VNET_HEADER:] for each in device.end()) == sorted(packets)
    assert not device.pending.index.any()


def test_what_is_not_joined_is_not_tried_for_a_while():
    pending = new_pending(True)
    pending.state[:] = 0, JUDGED - 1, 0, 0
    judge(pending, 10)
    assert tries(pending), "too few to judge by"
    pending.state[:] = 0, JUDGED, JUDGED // 4, 0
    judge(pending, 10)
    assert tries(pending), "a quarter was joined"
    pending.state[:] = 0, JUDGED, 1, 0
    judge(pending, 10)
    assert not tries(pending)
    judge(pending, REST - 1)
    assert not tries(pending)
    judge(pending, 1)
    assert tries(pending)
    assert not tries(new_pending(False))
