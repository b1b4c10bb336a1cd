"""A device with several queues as the loop sees it, and the gateway behind it as the control plane sees it."""

import select
import socket
import time

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.config.settings import settings_of, tables_of
from nat64d.dataplane.code import COMPILED_CODE
from nat64d.dataplane.worker import Queue
from nat64d.gateway.state import Live
from translator.packet.virtio import VNET_HEADER
from translator.tables.gateway import SLOT

SO_SNDBUFFORCE = 32  # asm-generic/socket.h
HEADER = bytes(VNET_HEADER)
PATIENCE = 20.0  # seconds that a packet may take before it counts as forgotten
LOOK = 0.01  # seconds between two looks at the counters
ROOM = 1 << 24  # octets of packets that wait for a reader
SECRET = bytes(range(16))


class StuckError(AssertionError):
    """A packet that had to come out of a queue did not."""


class Device:
    """What is sent to `ends[n]` is read by queue n, and what that writes arrives there."""

    def __init__(self, queues: int) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(queues)]
        self.ends, self._ours = zip(*pairs, strict=True)
        for each in self._ours:
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, ROOM)
        self.queues = [Queue(number, ours.fileno(), coalesces=False) for number, ours in enumerate(self._ours)]

    def close(self) -> None:
        """The threads have ended."""
        for each in (*self.ends, *self._ours):
            each.close()

    def send(self, number: int, packet: bytes) -> None:
        """To a queue."""
        self.ends[number].send(HEADER + packet)

    def read_until(self, number: int, last: bytes, sent: int) -> tuple[int, bool]:
        """Take what a queue writes until a packet ends with `last`, or all `sent` packets have a verdict and that one
        has not come. How many came, and whether it did. Raises StuckError."""
        end, worker, count, deadline = self.ends[number], self.queues[number].worker, 0, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            judged = int(worker.counters.sum()) >= sent
            if select.select([end], [], [], 0 if judged else LOOK)[0]:
                count += 1
                if end.recv(SLOT).endswith(last):
                    return count, True
            elif judged:
                return count, False
        raise StuckError(f"queue {number}: no verdict for {PATIENCE:.0f} s; {self.queues[number].failure}")


def gateway(text: str, device: Device) -> Live:
    """One under a configuration, with threads for the queues; `stand_still` ends them."""
    config: Config = loads(text, "test")
    live = Live(config)
    live.settings = settings_of(config, SECRET, len(device.queues))
    live.tables = tables_of(config, live.settings)
    live.queues, live.code, live.state = device.queues, COMPILED_CODE, "ready"
    for queue in device.queues:
        queue.compile(live.settings, live.tables)
    live.serve()
    return live
