"""Packets by chance from many hosts, and among them some that must come out again, one queue's after the other's."""

import struct
import threading
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from random import Random

from tests.fuzz.seeds import seeds
from tests.packets import HOST4, MAPPED4
from tests.reference import packets as make
from tests.reference.addresses import embed
from tests.workers.device import Device
from translator.packet.fields import ICMP, ICMPV6, TCP, UDP

POOL6 = IPv6Network("64:ff9b::/96")
SERVER = embed(POOL6, IPv4Address(HOST4))
PROBE6, PROBE4, PROBE_PORT = IPv6Address("2001:db8:f::1"), IPv4Address("192.0.2.14"), 9000
HOSTS, PEERS, PORTS = 200, 8, 12
DECK, BATCH = 6000, 200  # packets made in advance; sent before the next one that must come out
FLAGS = (0x02, 0x12, 0x10, 0x10, 0x10, 0x11, 0x04)  # SYN, SYN ACK, ACK, FIN ACK, RST


def packets(rng: Random) -> list[bytes]:
    """Of every kind from both sides: conversations of many hosts, and what fuzzing begins with, broken in places."""
    known = [seed for seed in seeds(POOL6) if 0 < len(seed) < 2000]
    return [conversation(rng) if rng.random() < 0.7 else broken(rng, rng.choice(known)) for _ in range(DECK)]


def conversation(rng: Random) -> bytes:
    """A packet of an IPv6 host to a peer, or of the peer to an address of the pool: some are answers by chance."""
    number, peer = rng.randrange(HOSTS), rng.randrange(PEERS)
    host6, peer4 = IPv6Address("2001:db8:e::") + number, IPv4Address(HOST4) + peer
    protocol, port = rng.choice((TCP, UDP, ICMP)), rng.randrange(PORTS)
    if rng.random() < 0.5:
        segment = _segment(rng, protocol, (4000 + port, 80), (128, port))
        return make.ipv6(host6, embed(POOL6, peer4), ICMPV6 if protocol == ICMP else protocol, segment)
    segment = _segment(rng, protocol, (80, 2000 + rng.randrange(256)), (0, 2000 + rng.randrange(256)))
    return make.ipv4(peer4, IPv4Address(MAPPED4) + rng.randrange(4), protocol, segment)


def _segment(rng: Random, protocol: int, ports: tuple[int, int], echo: tuple[int, int]) -> bytes:
    if protocol == TCP:
        return make.tcp(*ports, rng.choice(FLAGS))
    return make.udp(*ports, b"data") if protocol == UDP else make.echo(*echo, b"data")


def broken(rng: Random, packet: bytes) -> bytes:
    """With a few other octets, or cut, or as it is."""
    octets = bytearray(packet)
    for _ in range(rng.choice((0, 0, 1, 2, 4))):
        octets[rng.randrange(min(len(octets), 80))] = rng.randrange(256)
    return bytes(octets[: rng.randrange(1, len(octets) + 1)] if rng.random() < 0.1 else octets)


class Sender(threading.Thread):
    """To one queue, and back from it: a batch by chance, then a packet of a [[forward]] that has to come out as the
    last of them, unless the tables are full. `fault` is what went wrong; `sent`, `came`, `probes` and `back` count."""

    def __init__(self, device: Device, number: int, seed: int, ended: threading.Event) -> None:
        super().__init__(name=f"sender {number}", daemon=True)
        self.sent = self.came = self.probes = self.back = 0
        self.fault: BaseException | None = None
        self._device, self._number, self._ended = device, number, ended
        self._rng = Random(seed * 1000 + number)
        self._deck = packets(self._rng)

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                self._turn()
        except BaseException as error:  # noqa: BLE001  of any kind: the test shows it
            self.fault = error
            self._ended.set()

    def _turn(self) -> None:
        rng, device, number = self._rng, self._device, self._number
        batch = rng.choices(self._deck, k=rng.choice((0, 0, 1, BATCH, BATCH)))  # with none the worker is asleep by then
        for packet in batch:
            device.send(number, packet)
        probe, last = self._probe()
        device.send(number, probe)
        self.sent += len(batch) + 1
        count, back = device.read_until(number, last, self.sent)
        self.came += count
        self.probes += 1
        self.back += back

    def _probe(self) -> tuple[bytes, bytes]:
        """A packet out of the [[forward]] or into it, and how it ends."""
        last = struct.pack("!QI", self.sent, self._number)
        if self._rng.random() < 0.5:
            return make.ipv6(PROBE6, SERVER, UDP, make.udp(PROBE_PORT, 53, last)), last
        return make.ipv4(IPv4Address(HOST4), PROBE4, UDP, make.udp(53, PROBE_PORT, last)), last
