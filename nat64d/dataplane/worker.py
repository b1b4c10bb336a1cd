"""The loop: read a packet from the TUN device, translate it in place, write it back. All compiled, no interpreter lock
held.

One packet at a time through one slot, so that a 64 KiB super-frame is written from the cache it was read into. Up to
BATCH packets go by before the clock is read again and the stop word is looked at; when there is none the worker sleeps
in poll(2).
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numba import types

from nat64d.dataplane.coalesce import (
    COUNT,
    FLOWS,
    JOINED,
    PLACE,
    TRIED,
    USED,
    add_frame,
    begin,
    joins,
    judge,
    new_pending,
    payload_of,
    place_of,
    seal,
    start_of,
    tries,
)
from nat64d.dataplane.drained import ASLEEP, rows_of, tell, vouch
from translator.clock import tick
from translator.jit.compile import int64, jit, rare
from translator.jit.reference import by_reference
from translator.packet.virtio import VNET_HEADER, clear
from translator.pipeline import buffer_of, first_output, next_output, receive
from translator.tables.gateway import HEADROOM, SLOT, Gateway, Worker, new_worker
from translator.tables.settings import Settings
from translator.tables.tables import Tables
from translator.verdict import Event

# LIMITS
BATCH = 256  # packets between two looks at the clock: of 32 flows in turn, eight each are joined
TICKS = 64  # of expiry at a time
EXPIRE = 256  # sessions looked at while the lock is held
IDLE = 1000  # milliseconds asleep at most
NAP = 1  # milliseconds that a worker sleeps first where the kernel has to know soon that nothing waits
LOOK = 0.1  # seconds between two looks whether a thread is still there

STOP = 0  # word of Control: the loop ends at its next batch

# SPEC: poll.h, time.h
POLLIN, POLLERR, POLLHUP, POLLNVAL = 1, 8, 16, 32
CLOCK_MONOTONIC = 1

_read = types.ExternalFunction("read", types.intp(types.int32, types.uintp, types.uintp))
_write = types.ExternalFunction("write", types.intp(types.int32, types.uintp, types.uintp))
_poll = types.ExternalFunction("poll", types.int32(types.uintp, types.uint64, types.int32))
_clock = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))


@jit()
def monotonic(clock):
    """Milliseconds of CLOCK_MONOTONIC; `clock` is int64[2] to write to."""
    _clock(CLOCK_MONOTONIC, clock.ctypes.data)
    return clock[0] * 1000 + clock[1] // 1000000


@jit()
def put(fd, worker, p, at, end):
    """Write the packet [at, end) with its virtio_net_hdr; what the device does not take is counted."""
    size = end - at + VNET_HEADER
    if _write(fd, p.ctypes.data + at - VNET_HEADER, size) != size:
        worker.events[int64(Event.WRITE_FAILED)] += 1


@rare()
def write_frame(fd, worker, pending, frame):
    """Write the datagrams of one flow joined so far."""
    count = pending.frames[frame, COUNT]
    put(fd, worker, pending.slots, start_of(frame), seal(pending, frame))
    if count > 1:
        worker.events[int64(Event.COALESCED)] += count
        pending.state[JOINED] += count - 1


@jit()
def flush(fd, worker, pending):
    """Write the datagrams joined so far."""
    for frame in range(pending.state[USED]):
        write_frame(fd, worker, pending, frame)
        pending.index[pending.frames[frame, PLACE]] = 0
    pending.state[USED] = 0


@jit()
def holds(fd, worker, pending, p, outcome):
    """Keep an output back if it is a datagram that may be joined with others; returns whether it is kept back.

    What cannot be joined with it is written before: all of its place in the index, or everything before an output that
    is not kept back, so that nothing overtakes another packet of its flow.
    """
    payload = 0 if outcome.fragment_payload > 0 else payload_of(p, outcome.at, outcome.end)
    if payload == 0:
        flush(fd, worker, pending)
        return False
    place = place_of(p, outcome.at, outcome.end, payload)
    pending.state[TRIED] += 1
    frame = pending.index[place] - 1
    if frame >= 0:
        if joins(pending, frame, p, outcome.at, outcome.end, payload):
            return True
        write_frame(fd, worker, pending, frame)
    else:
        if pending.state[USED] == FLOWS:
            flush(fd, worker, pending)
        frame = add_frame(pending, place)
    begin(pending, frame, p, outcome.at, outcome.end, payload)
    return True


@jit()
def take_batch(gateway, pending, now, fd, slot):
    """Translate up to BATCH packets; returns how many there were. All that comes of them is written then."""
    worker, count, looks = gateway.worker, BATCH, tries(pending)
    for n in range(BATCH):
        size = _read(fd, slot.ctypes.data + HEADROOM - VNET_HEADER, SLOT - HEADROOM + VNET_HEADER)
        if size < VNET_HEADER:
            count = n
            break
        outcome = receive(gateway, now, slot, HEADROOM, HEADROOM + size - VNET_HEADER)
        if looks and holds(fd, worker, pending, slot, outcome):
            continue
        output = first_output(gateway, slot, outcome)
        while output.end > output.at:
            put(fd, worker, buffer_of(worker.answer, slot, output), output.at, output.end)
            output = next_output(gateway, now, slot, output)
    flush(fd, worker, pending)
    judge(pending, count)
    return count


@jit()
def keep_time(gateway, now, fd):
    """End what is over and send what is due, TICKS times at most; returns whether there is more."""
    worker = gateway.worker
    for _ in range(TICKS):
        looked_at, size = tick(gateway, now, EXPIRE)
        if size == 0:
            return looked_at == EXPIRE
        clear(worker.answer, HEADROOM)
        put(fd, worker, worker.answer, HEADROOM, HEADROOM + size)
    return True


@jit()
def run(gateway, pending, fd, scratch):
    """Serve one queue until the stop word is set (returns 0) or the device is gone (returns its poll events)."""
    expiry, polls, nap = 0, scratch.polls, IDLE
    while scratch.control[STOP] == 0:
        now = monotonic(scratch.clock)
        if gateway.worker.number == 0 and now >= expiry:
            expiry = now if keep_time(gateway, now, fd) else (now // 1000 + 1) * 1000
        taken = take_batch(gateway, pending, now, fd, scratch.slot)
        scratch.batches[taken] += 1
        if taken < BATCH:
            tell(scratch.drained, scratch.clock)
        if taken > 0:
            nap = NAP if len(scratch.rows) > 0 else IDLE
        else:
            scratch.drained[ASLEEP] = 1
            if len(scratch.rows) > 1:
                monotonic(scratch.clock)
                vouch(scratch.rows, scratch.queues, scratch.clock)
            timeout = 0 if expiry == now else nap
            _poll(polls.ctypes.data, 2, timeout)
            scratch.drained[ASLEEP] = 0
            nap = nap if timeout == 0 else IDLE
            events = polls[1] >> 16
            if events & (POLLERR | POLLHUP | POLLNVAL):
                return events
    return 0


@by_reference
class Scratch:
    """What the loop of one queue works with."""

    control: np.ndarray  # int64[8]; see STOP
    slot: np.ndarray  # uint8[SLOT]: the packet at hand
    polls: np.ndarray  # int32[4]: two struct pollfd, the queue and the wake descriptor
    clock: np.ndarray  # int64[2]: a struct timespec
    batches: np.ndarray  # int64[BATCH + 1]: how many batches had so many packets
    drained: np.ndarray  # int64[WORDS]: how far this worker has got (drained.py)
    rows: np.ndarray  # int64[queues, WORDS]: how far all have; none where nobody asks
    queues: np.ndarray  # int32[2 * queues]: a struct pollfd for each of these queues


class Queue:
    """One TUN queue, the thread that serves it, and how to stop it. `coalesces`: the device takes UDP super-frames."""

    def __init__(self, number: int, fd: int, coalesces: bool) -> None:
        self.fd = fd
        self.worker: Worker = new_worker(number)
        self.failure: str | None = None
        self._pending = new_pending(coalesces)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._scratch = Scratch(
            control=np.zeros(8, np.int64),
            slot=np.zeros(SLOT, np.uint8),
            polls=np.array([fd, POLLIN, self._wake, POLLIN], np.int32),
            clock=np.zeros(2, np.int64),
            batches=np.zeros(BATCH + 1, np.int64),
            drained=rows_of(1)[0],
            rows=rows_of(0),
            queues=np.zeros(0, np.int32),
        )
        self._thread: threading.Thread | None = None
        self._meets: tuple[Settings, Tables, Callable[..., Any]] | None = None  # what the thread serves by
        self._exchanging, self._exchanged = False, threading.Event()

    @property
    def batches(self) -> np.ndarray[Any, Any]:
        """int64[BATCH + 1]: how many batches had so many packets; none: the queue was empty, and the worker slept."""
        return self._scratch.batches

    def tell_in(self, rows: np.ndarray[Any, Any], fds: Sequence[int]) -> None:
        """Say in these rows how far the worker has got, from the next start on: one for each queue of the device, of
        these descriptors."""
        polls = np.array([(fd, POLLIN) for fd in fds], np.int32).reshape(-1)
        self._scratch = replace(self._scratch, drained=rows[self.worker.number], rows=rows, queues=polls)

    def serve(self, settings: Settings, tables: Tables, loop: Callable[..., Any] = run) -> int:
        """Run the loop in this thread; `loop` is `run`, or the same in plain Python."""
        reason: int = loop(Gateway(settings, tables, self.worker), self._pending, self.fd, self._scratch)
        return reason

    def compile(self, settings: Settings, tables: Tables) -> None:
        """Compile the loop, or load it from the cache, by running it with the stop word set."""
        self._scratch.control[STOP] = 1
        self.serve(settings, tables)
        self._scratch.control[STOP] = 0

    def start(self, settings: Settings, tables: Tables, loop: Callable[..., Any] = run) -> None:
        """Serve the queue in a thread of its own, until `stop`; then it can be started again."""

        def body() -> None:
            name = f"queue {self.worker.number} of the TUN device"
            _name_thread(f"queue-{self.worker.number}")
            try:
                reason = self._serve_by_turns()
                if reason:
                    self.failure = f"{name} is gone (poll events {reason:#x})"
            except Exception as error:  # of any kind: nothing else would report it
                self.failure = f"{name} is no longer served: {error!r}"
                raise
            finally:
                self._exchanged.set()

        self._meets, self._exchanging = (settings, tables, loop), False
        self._go_on()
        self._scratch.clock[:] = divmod(time.monotonic_ns(), 1_000_000_000)
        self._thread = threading.Thread(target=body, name=f"queue-{self.worker.number}", daemon=True)
        self._thread.start()

    def exchange(self, settings: Settings) -> None:
        """Serve by other settings from the next batch on; when this returns it does. The thread stays, so that packets
        wait only from one batch to the next. Nothing happens where there is none."""
        if self._meets is None or self._thread is None:
            return
        _, tables, loop = self._meets
        self._exchanged.clear()
        self._meets, self._exchanging = (settings, tables, loop), True
        os.eventfd_write(self._wake, 1)  # before the loop can end by the stop word, or the next one finds itself woken
        self._scratch.control[STOP] = 1
        while self._thread.is_alive() and not self._exchanged.wait(LOOK):
            pass

    def _serve_by_turns(self) -> int:
        """Run the loop, again and again with other settings where these are exchanged."""
        while True:
            assert self._meets is not None
            reason = self.serve(*self._meets)
            if reason or not self._exchanging:
                return reason
            self._exchanging = False
            self._go_on()
            self._exchanged.set()

    def _go_on(self) -> None:
        """The loop is not to end."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        self._scratch.control[STOP] = 0

    def silent(self, moment: float) -> float:
        """Seconds at `moment` (time.monotonic()) since the thread last read the clock at the top of its loop, which one
        without packets does every IDLE milliseconds; 0 while there is no thread. One second is the resolution."""
        return max(0.0, int(moment) - int(self._scratch.clock[0])) if self._thread else 0.0

    def stop(self) -> None:
        """End the loop and wait for it; may be repeated."""
        self._scratch.control[STOP] = 1
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            self._thread = None


def _name_thread(name: str) -> None:
    """Name this thread for `top -H` and the like; Python's own names are not seen there."""
    with suppress(OSError):
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name, "ascii")


def now() -> int:
    """The loop's clock, for everybody else."""
    return time.monotonic_ns() // 1000000
