"""nat64d/dataplane/drained.py in every order of the workers and of who sends: what was queued before the
moment of a row is written.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from nat64d.dataplane import worker
from nat64d.dataplane.drained import ASLEEP, MOMENT
from nat64d.dataplane.worker import IDLE, NAP, STOP
from tests.workers.orders import Orders, Step, Words
from translator.plain import Copies

QUEUES = 2


class Row(Words):
    """What one worker says, and others read."""

    def __init__(self, step: Step, device: "Device") -> None:
        super().__init__(step, 2, lambda at: device.check() if at == MOMENT else None)

    def exchange(self, expected: int, wanted: int) -> None:
        """A compare-and-swap."""
        self._step()
        if self.words[MOMENT] == expected:
            self.words[MOMENT] = wanted
            self._written(MOMENT)


class Rows:
    """All of them."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: Any) -> Any:
        return self._rows[at] if isinstance(at, int) else self._rows[at[0]][at[1]]

    def __setitem__(self, at: tuple[int, int], value: int) -> None:
        self._rows[at[0]][at[1]] = value


class Device:
    """Queues of packets, each the moment it was queued at, and a clock that never says the same twice."""

    def __init__(self, step: Step) -> None:
        self.step, self.clock, self.stopped = step, 0, False
        self.waiting: list[list[int]] = [[] for _ in range(QUEUES)]
        self.sent, self.written = list[int](), list[int]()
        self.rows = Rows([Row(step, self) for _ in range(QUEUES)])

    def time(self) -> int:
        self.clock += 1
        return self.clock

    def said(self) -> int:
        """Until when all workers have written everything."""
        return min(row.words[MOMENT] for row in self.rows._rows)

    def check(self) -> None:
        late = [moment for moment in self.sent if moment < self.said() and moment not in self.written]
        assert not late, "it was said to be written, and is not"

    def send(self, number: int) -> None:
        self.step()
        self.sent.append(self.time())
        self.waiting[number].append(self.sent[-1])


class Loop:
    """The loop of one worker, which is worker.run with these queues for the device's."""

    def __init__(self, device: Device, number: int, vouch: Callable[..., None] | None) -> None:
        self.device, self.number = device, number
        own = {
            "nat64d.dataplane.worker.monotonic": self.monotonic,
            "nat64d.dataplane.worker.keep_time": lambda *_: False,
            "nat64d.dataplane.worker.take_batch": self.take,
            "translator.jit.lock._exchange_plain": Row.exchange,
        }
        copies = Copies(("nat64d.dataplane.worker", "nat64d.dataplane.drained", "translator.jit.lock"), own)
        names = copies._namespace("nat64d.dataplane.drained")
        self.run = copies.copy(getattr(worker.run, "py_func", worker.run))
        names["_poll"] = self.run.__globals__["_poll"] = self.poll
        if vouch is not None:
            self.run.__globals__["vouch"] = lambda rows, polls, clock: vouch(self, rows, polls, clock)
        self.polls = Polls([0, 0] * QUEUES)
        self.scratch = SimpleNamespace(
            control=self,
            polls=Polls([0] * 4),
            clock=[0, 0],
            slot=None,
            batches=[0] * (worker.BATCH + 1),
            drained=device.rows._rows[number],
            rows=device.rows,
            queues=self.polls,
        )

    def __getitem__(self, at: int) -> int:
        assert at == STOP
        return int(self.device.stopped)

    def monotonic(self, clock: list[int]) -> int:
        self.device.step()
        clock[1] = self.device.time()
        return 1

    def take(self, *_: object) -> int:
        """Read one packet after the other, then write them."""
        taken = list[int]()
        self.device.step()
        while self.device.waiting[self.number]:
            taken.append(self.device.waiting[self.number].pop(0))
            self.device.step()
        self.device.written += taken
        return len(taken)

    def poll(self, _: int, __: int, milliseconds: int) -> None:
        if milliseconds == 0:
            self.device.step()
            self.polls[1::2] = [1 << 16 if waiting else 0 for waiting in self.device.waiting]
            return
        assert milliseconds in {NAP, IDLE}
        mine = self.device.waiting[self.number]
        self.device.step(lambda: bool(mine) or self.device.stopped or milliseconds == NAP)

    def body(self) -> None:
        gateway = SimpleNamespace(worker=SimpleNamespace(number=1))
        assert self.run(gateway, None, 0, self.scratch) == 0


class Polls(list[int]):
    """An array of struct pollfd."""

    ctypes = SimpleNamespace(data=0)


def scene(step: Step, vouch: Callable[..., None] | None = None) -> list[Callable[[], None]]:
    """Two workers, and who sends to one of them, then waits until both have said that it is written."""
    device = Device(step)

    def sender() -> None:
        device.send(0)
        step(lambda: device.said() > device.sent[-1])
        assert device.sent[-1] in device.written
        device.stopped = True

    loops = [Loop(device, number, vouch) for number in range(QUEUES)]
    return [*(loop.body for loop in loops), sender]


def test_what_is_said_is_true_and_said_soon():
    ways = Orders(1).every(scene)
    assert ways > 200


def test_a_worker_that_does_not_look_at_the_queue_is_found():
    def vouch(loop: Loop, rows: Any, polls: Any, clock: list[int]) -> None:
        for number in range(QUEUES):
            said = rows[number, MOMENT]
            if rows[number, ASLEEP] and said < clock[1]:
                rows[number].exchange(said, clock[1])

    with pytest.raises(AssertionError, match="it was said to be written"):
        Orders(2).every(lambda step: scene(step, vouch))
