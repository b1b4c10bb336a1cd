"""The lock of the tables, and how a queue is stopped, woken and given other settings: in every order of its threads."""

from collections.abc import Callable
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest

from nat64d.dataplane import worker
from nat64d.dataplane.worker import POLLIN, STOP, Queue
from tests.workers.orders import Orders, Step, StuckError, Words
from translator.jit import lock
from translator.plain import Copies


def own_code(function: Any, **names: object) -> FunctionType:
    """A function of lock.py, compiled or not, with something else for names in it."""
    plain = getattr(function, "py_func", function)
    return FunctionType(plain.__code__, {**vars(lock), **names})


def counting(step: Step, rounds: list[int], swap: Callable[..., bool]) -> list[Callable[[], None]]:
    """Threads that count under the lock, each so many times."""
    words, count, inside = [0], [0], [0]

    def clear(words: list[int]) -> None:
        step()
        words[0] = 0

    acquire = own_code(
        lock._acquire,
        _swap=lambda words, expected, wanted: swap(step, words, expected, wanted),
        _yield=lambda: step(lambda: words[0] == 0),
    )
    release = own_code(lock._release, _clear=clear)

    def body(rounds: int) -> None:
        for _ in range(rounds):
            acquire(words)
            inside[0] += 1
            assert inside[0] == 1, "two have the lock"
            before = count[0]
            step()
            count[0] = before + 1
            inside[0] -= 1
            release(words)

    return [lambda rounds=each: body(rounds) for each in rounds]


def swap_at_once(step: Step, words: list[int], expected: int, wanted: int) -> bool:
    """A compare-and-swap."""
    step()
    if words[0] != expected:
        return False
    words[0] = wanted
    return True


def swap_in_two_steps(step: Step, words: list[int], expected: int, wanted: int) -> bool:
    """No compare-and-swap."""
    step()
    if words[0] != expected:
        return False
    step()
    words[0] = wanted
    return True


@pytest.mark.parametrize(("rounds", "interruptions"), [([2, 2], 4), ([1, 1, 1], 2)])
def test_one_thread_has_the_lock_and_all_get_it(rounds, interruptions):
    ways = Orders(interruptions).every(lambda step: counting(step, rounds, swap_at_once))
    assert ways > 100


def test_a_lock_that_is_none_is_found():
    with pytest.raises(AssertionError, match="two have the lock"):
        Orders(2).every(lambda step: counting(step, [1, 1], swap_in_two_steps))


def test_a_lock_that_nobody_lets_go_is_found():
    def scene(step: Step) -> list[Callable[[], None]]:
        threads = counting(step, [1, 1], swap_at_once)
        words = [1]
        waits = own_code(
            lock._acquire,
            _swap=lambda _, expected, wanted: swap_at_once(step, words, expected, wanted),
            _yield=lambda: step(lambda: words[0] == 0),
        )
        return [*threads, lambda: waits(words)]

    with pytest.raises(StuckError):
        Orders(1).every(scene)


class Event:
    """threading.Event, without a time limit."""

    def __init__(self, step: Step, waits_for: Callable[[], bool]) -> None:
        self._step, self._is_set, self._waits_for = step, False, waits_for

    def set(self) -> None:
        self._step()
        self._is_set = True

    def clear(self) -> None:
        self._step()
        self._is_set = False

    def wait(self, _: float) -> bool:
        self._step(lambda: self._is_set or self._waits_for())
        return self._is_set


class Stage(Queue):
    """A queue whose packets are numbers, and what its loop does with them."""

    def __init__(self, step: Step) -> None:
        self._step, self._ended = step, False
        self.waiting, self.woken, self.polls = (
            list[int](),
            0,
            False,
        )  # in the device, in the eventfd; asleep or about to
        self.served = list[tuple[int, int]]()  # packets, and the settings they were translated by
        self._wake, self.fd = 1, 2
        self._meets: Any = (0, None, None)
        self._exchanging, self._exchanged = False, Event(step, lambda: self._ended)  # type: ignore[assignment]
        self._scratch: Any = SimpleNamespace(
            control=Words(step, 8),
            polls=_Polls(),
            clock=None,
            slot=None,
            batches=[0] * (worker.BATCH + 1),
            drained=[0, 0],
            rows=(),
            queues=None,
        )
        self._thread: Any = SimpleNamespace(is_alive=lambda: not self._ended, join=lambda: step(lambda: self._ended))
        copies = Copies(
            ("nat64d.dataplane.worker", "nat64d.dataplane.drained"),
            {
                "nat64d.dataplane.worker.monotonic": lambda _: 0,
                "nat64d.dataplane.worker.keep_time": lambda *_: False,
                "nat64d.dataplane.worker.take_batch": self._take,
                "nat64d.dataplane.drained.tell": lambda *_: None,
            },
        )
        self._run = copies.copy(getattr(worker.run, "py_func", worker.run))
        self._run.__globals__["_poll"] = self._poll

    def _take(self, gateway: Any, *_: object) -> int:
        self._step()
        taken, self.waiting[:] = list(self.waiting), []
        self.served += [(packet, gateway.settings) for packet in taken]
        return len(taken)

    def _poll(self, *_: object) -> int:
        """poll(2) without a time limit: a loop that nobody wakes sleeps for ever. One that is woken for nothing goes
        round and round until something changes."""
        self.polls = True
        self._step(lambda: bool(self.waiting) or self.woken > 0)
        self.polls = False
        if not self.waiting:
            self._step(lambda: bool(self.waiting) or self._scratch.control.words[STOP] != 0)
        return 1

    @property
    def sleeps(self) -> bool:
        return self.polls and not self.waiting and not self.woken

    def serve(self, settings: Any, tables: Any, loop: Any = None) -> int:
        gateway = SimpleNamespace(settings=settings, worker=SimpleNamespace(number=1))
        return int(self._run(gateway, None, self.fd, self._scratch))

    def body(self) -> None:
        """The thread, as `start` has it."""
        try:
            assert self._serve_by_turns() == 0
        finally:
            self._exchanged.set()
            self._ended = True


class _Polls:
    """scratch.polls: no descriptor is gone."""

    ctypes = SimpleNamespace(data=0)

    def __getitem__(self, _: int) -> int:
        return POLLIN << 16


def changing(step: Step, monkeypatch: pytest.MonkeyPatch, wakes: bool) -> list[Callable[[], None]]:
    """A queue, one who sends a packet through it, one who changes its settings twice and then ends it."""
    queue = Stage(step)

    def write(*_: object) -> None:
        step()
        queue.woken += wakes

    def read(*_: object) -> None:
        step()
        if not queue.woken:
            raise BlockingIOError
        queue.woken = 0

    monkeypatch.setattr(worker, "os", SimpleNamespace(eventfd_write=write, eventfd_read=read))

    def send() -> None:
        step()
        queue.waiting.append(1)

    def operate() -> None:
        for settings in (1, 2):
            queue.exchange(settings)  # type: ignore[arg-type]
            since = len(queue.served)
            assert queue._scratch.control.words[STOP] == 0, "it serves by them"
            step()
            assert all(by == settings for _, by in queue.served[since:]), "served by settings of before"
        step(lambda: len(queue.served) > 0 and queue.sleeps)
        assert len(queue.served) == 1
        queue.stop()
        assert queue._thread is None

    return [queue.body, send, operate]


def test_no_wake_up_is_lost_and_settings_hold_when_it_is_said(monkeypatch):
    ways = Orders(1).every(lambda step: changing(step, monkeypatch, wakes=True))
    assert ways > 100


def test_a_queue_that_is_not_woken_is_found(monkeypatch):
    with pytest.raises(StuckError):
        Orders(1).every(lambda step: changing(step, monkeypatch, wakes=False))
