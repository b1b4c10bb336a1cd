"""One end of the network: an interface that frames are sent from at a rate, counted at, and captured at.

Sending is sendmmsg(2) on a packet socket. Counting is the interface's own, so that the frames themselves can be dropped
as they come in. Capturing is a ring that the kernel fills (packet(7), PACKET_RX_RING), read many frames at a time.
"""

import ctypes
import mmap
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.bench.path import frames
from tests.bench.path.frames import Numbers, Octets
from tests.bench.traffic import ETHERNET, IPV4, IPV6, UDP
from tests.sendmmsg import BATCH, Deck

SOL_PACKET, PACKET_RX_RING, PACKET_VERSION, TPACKET_V2 = 263, 5, 10, 1
SO_ATTACH_FILTER = 26
ETH_P_ALL, ETH_P_NOBODY = 0x0003, 0x88B5  # the second is IEEE's for local experiments
SLOT, BLOCK, BLOCKS = 256, 1 << 20, 8  # octets of a slot, of a block, and blocks: 32768 slots
HEADER = np.dtype(
    [("status", "u4"), ("length", "u4"), ("snap", "u4"), ("mac", "u2"), ("net", "u2"), ("sec", "u4"), ("nsec", "u4")]
)
SENDER = 32  # where sockaddr_ll stands in a slot, behind the header
SNAP = 128  # octets of a frame that are kept
TURN = 0.0005  # seconds that a sender which rests sleeps
TAGS = 0.001  # seconds from one tagged frame to the next
LATE, SLACK = 1.02, 0.005  # a sender that takes so many times longer, and seconds, has not reached the rate
ROWS = 2048  # of a deck at least: as many turns until the same order of flows begins again

# Classic BPF: keep frames with TAG_PORT at either end. (code, jump if true, jump if false, operand)
_LDH, _JEQ, _RET = 0x28, 0x15, 0x06
_ONLY_TAGGED = [
    (_LDH, 0, 0, 12),
    (_JEQ, 0, 4, 0x86DD),
    (_LDH, 0, 0, 54),
    (_JEQ, 6, 0, frames.TAG_PORT),
    (_LDH, 0, 0, 56),
    (_JEQ, 4, 5, frames.TAG_PORT),
    (_LDH, 0, 0, 34),
    (_JEQ, 2, 0, frames.TAG_PORT),
    (_LDH, 0, 0, 36),
    (_JEQ, 0, 1, frames.TAG_PORT),
    (_RET, 0, 0, SLOT),
    (_RET, 0, 0, 0),
]


class Offered(NamedTuple):
    """What a sender got rid of, in how many seconds, and whether it kept to its rate."""

    sent: int
    seconds: float
    kept: bool

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.sent / self.seconds


class Captured(NamedTuple):
    """Frames (their first octets) and when they came, in nanoseconds since 1970."""

    rows: Octets
    times: Numbers


class Ring:
    """What comes in at an interface of the current namespace, while it listens."""

    def __init__(self, interface: str) -> None:
        slots = BLOCK * BLOCKS // SLOT
        self._interface = interface
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
        self._socket.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack("IIII", BLOCK, BLOCKS, SLOT, slots))
        self._memory = mmap.mmap(self._socket.fileno(), BLOCK * BLOCKS)
        self._slots: Octets = np.frombuffer(self._memory, np.uint8).reshape(slots, SLOT)
        self._next = 0

    def listen(self, only_tagged: bool) -> None:
        """From now on: all frames, or only tagged ones."""
        code = _ONLY_TAGGED if only_tagged else [(_RET, 0, 0, SLOT)]
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in code))
        filtered = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filtered)
        self._socket.bind((self._interface, ETH_P_ALL))

    def rest(self) -> None:
        """No longer; what was not read is gone."""
        self._socket.bind((self._interface, ETH_P_NOBODY))  # with 0 it would go on
        while len(self._read_on()):
            pass

    def read(self) -> Captured:
        """What has come since the last time."""
        slots = self._read_on()
        if self._next == 0:  # the end of the ring: go on at its start
            slots = np.concatenate([slots, self._read_on()])
        head = slots[:, : HEADER.itemsize].view(HEADER)[:, 0]
        at = int(head["mac"][0]) if len(slots) else 0
        incoming = slots[:, SENDER + 10] != socket.PACKET_OUTGOING
        times = head["sec"].astype(np.int64) * 1_000_000_000 + head["nsec"]
        return Captured(slots[incoming, at : at + SNAP], times[incoming])

    def _read_on(self) -> Octets:
        """Slots up to the end of the ring, or the first one that is empty."""
        status = self._slots[self._next :, :4].view("u4")[:, 0]
        full = (status & 1).astype(bool)
        count = len(full) if full.all() else int(full.argmin())
        slots = self._slots[self._next : self._next + count].copy()
        self._slots[self._next : self._next + count, :4] = 0
        self._next = (self._next + count) % len(self._slots)
        return slots

    def close(self) -> None:
        """End it. The memory goes with the arrays."""
        self._socket.close()


@contextmanager
def on_last_cpu() -> Iterator[None]:
    """This thread on one CPU, so that the generator's place does not change from round to round."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class End:
    """An interface of the namespace in which this was made."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, 0))
        self._mac = self._socket.getsockname()[4]
        self._counters = Path("/proc/thread-self/net/dev").open()  # noqa: SIM115  held open, it stays in this namespace
        self._deck = Deck(np.zeros((BATCH, 64), np.uint8))
        self._tagged: Octets | None = None
        self._ring = Ring(interface)

    def mac(self) -> bytes:
        """Its Ethernet address."""
        return bytes(self._mac)

    def count(self) -> tuple[int, int]:
        """Octets and frames received since the interface was made; KeyError if it is gone."""
        self._counters.seek(0)
        rows = dict(line.strip().split(":", 1) for line in self._counters if ":" in line)
        octets, received = rows[self.interface].split()[:2]
        return int(octets), int(received)

    def load(self, rows: Octets, tagged: Octets | None = None, once: bool = False) -> None:
        """What is sent from now on, over and over, and the frame that is sent beside with the time in it. A deck of few
        frames is made longer, unless each is to be sent `once`."""
        times = 1 if once else -(-ROWS // len(rows))
        self._deck = Deck(np.tile(rows, (times, 1)))
        self._tagged = tagged

    @on_last_cpu()
    def offer(self, rate: float, seconds: float, rests: bool = False) -> Offered:
        """Send so many a second for so long; 0: as fast as it goes. One that `rests` sleeps between its turns."""
        deck, descriptor = self._deck, self._socket.fileno()
        total = int(rate * seconds) if rate else 0
        sent, turns = 0, _Tags(self._tagged, descriptor)
        start = now = time.monotonic()
        while (sent < total and now - start < LATE * seconds + SLACK) if rate else now - start < seconds:
            due = int((now - start) * rate) + 1 - sent if rate else BATCH
            if due > 0:
                sent += deck.send(descriptor, min(due, BATCH, total - sent if rate else BATCH))
            elif rests:
                time.sleep(TURN)
            turns.take(now)
            now = time.monotonic()
        return Offered(sent + turns.sent, now - start, not rate or sent == total)

    @on_last_cpu()
    def send_all(self) -> Offered:
        """Every frame of the deck once, as fast as it goes."""
        count, sent = len(self._deck.rows), 0
        start = time.monotonic()
        while sent < count and (took := self._deck.send(self._socket.fileno())):
            sent += took
        return Offered(sent, time.monotonic() - start, sent == count)

    @on_last_cpu()
    def probe(self, seconds: float) -> int:
        """Send nothing but the tagged frame for so long; how often it was sent."""
        turns = _Tags(self._tagged, self._socket.fileno())
        start = time.monotonic()
        while (now := time.monotonic()) - start < seconds:
            turns.take(now)
            time.sleep(TAGS)
        return turns.sent

    def listen(self, only_tagged: bool) -> None:
        """Capture from now on."""
        self._ring.listen(only_tagged)

    def hear(self) -> Captured:
        """What was captured since the last time."""
        return self._ring.read()

    def heard(self) -> None:
        """Capture no longer."""
        self._ring.rest()

    def close(self) -> None:
        """Let go of the namespace."""
        self._ring.close()
        self._socket.close()
        self._counters.close()


class _Tags:
    """The tagged frame, sent every TAGS seconds."""

    def __init__(self, frame: Octets | None, descriptor: int) -> None:
        self._frame = frame
        self._deck = Deck(frame[None, :]) if frame is not None else None
        self._at = 0 if frame is None else ETHERNET + (IPV6 if frame[12] == 0x86 else IPV4) + UDP
        self._descriptor = descriptor
        self._next = 0.0
        self.sent = 0

    def take(self, now: float) -> None:
        """Send it if it is time."""
        if self._deck is None or now < self._next:
            return
        self._next = now + TAGS
        frames.tag(self._deck.rows[0], self._at, time.time_ns())
        self.sent += self._deck.send(self._descriptor)


def latencies(captured: Captured, width: int) -> npt.NDArray[np.float64]:
    """Seconds from the sender to the capture, of tagged frames."""
    seen, mine = frames.read(captured.rows, width)
    return (captured.times[mine] - seen.times) / 1e9
