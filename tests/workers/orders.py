"""Threads in every order: each takes one step at a time, and who takes the next one is tried in every way.

A thread calls `Orders.step` before it touches what others touch, too. How often one is interrupted that could go on is
bounded, which keeps the number of ways small; nearly all faults of this kind need one or two interruptions.
"""

import threading
from collections.abc import Callable, Sequence

Step = Callable[..., None]
MOST_STEPS = 10_000  # of one way: more are an endless loop
PATIENCE = 60.0  # seconds until a thread reaches its next step on a busy machine


class StuckError(AssertionError):
    """Nobody can go on, and not all have ended."""


class Words:
    """An array that threads share: to read or to write a word is a step. `written` is told which word was."""

    def __init__(self, step: Step, count: int, written: Callable[[int], object] = lambda _: None) -> None:
        self._step, self._written, self.words = step, written, [0] * count

    def __getitem__(self, at: int) -> int:
        self._step()
        return self.words[at]

    def __setitem__(self, at: int, value: int) -> None:
        self._step()
        self.words[at] = value
        self._written(at)


class _EndedError(BaseException):
    """This way is over."""


class _Thread:
    """One thread, which waits until it is its turn."""

    def __init__(self, orders: "Orders", body: Callable[[], object]) -> None:
        self.turn = threading.Semaphore(0)
        self.can_go: Callable[[], bool] = bool  # not asked before its first turn
        self.begun = self.ended = False
        self.error: BaseException | None = None
        self._orders, self._body = orders, body
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.turn.acquire()
        try:
            self._body()
        except _EndedError:
            pass
        except BaseException as error:  # noqa: BLE001  told by the one who plays
            self.error = error
        self.ended = True
        self._orders.back.release()

    def go_on(self) -> None:
        """Let it take its next step."""
        self.begun = True
        self.turn.release()
        assert self._orders.back.acquire(timeout=PATIENCE), "a thread waits for something that is no step"

    def join(self) -> None:
        self._thread.join(PATIENCE)


class Orders:
    """Ways to interleave some threads. `interruptions`: how many there are in a way at most."""

    def __init__(self, interruptions: int) -> None:
        self.back = threading.Semaphore(0)
        self._interruptions, self._threads = interruptions, list[_Thread]()
        self._current: _Thread | None = None
        self._over = False

    def step(self, can_go: Callable[[], bool] = lambda: True) -> None:
        """What comes now others can see. The thread goes on when it is its turn and `can_go` is true."""
        me = self._current
        if self._over or me is None:
            raise _EndedError
        me.can_go = can_go
        self.back.release()
        me.turn.acquire()
        if self._over:
            raise _EndedError

    def every(self, scene: Callable[[Step], Sequence[Callable[[], object]]]) -> int:
        """Play a scene in every way; `scene` sets it anew and returns its threads. Returns how many ways there are.
        Raises what a thread raised, and StuckError."""
        ways, path = 0, list[tuple[int, int]]()
        while True:
            path = self._play(scene(self.step), [chosen for chosen, _ in path])
            ways += 1
            while path and path[-1][0] + 1 >= path[-1][1]:
                path.pop()
            if not path:
                return ways
            path[-1] = path[-1][0] + 1, path[-1][1]

    def _play(self, bodies: Sequence[Callable[[], object]], choices: list[int]) -> list[tuple[int, int]]:
        """One way: these choices, then the first of each; returns what was chosen, of how many."""
        path, left, self._over = list[tuple[int, int]](), self._interruptions, False
        self._threads = [_Thread(self, body) for body in bodies]
        last: _Thread | None = None
        try:
            while able := [each for each in self._threads if not each.ended and (not each.begun or each.can_go())]:
                if last in able:
                    able.remove(last)
                    able = [last, *able] if left > 0 else [last]
                chosen = choices[len(path)] if len(path) < len(choices) else 0
                path.append((chosen, len(able)))
                left -= chosen > 0 and able[0] is last
                last = self._current = able[chosen]
                last.go_on()
                if last.error is not None:
                    raise last.error
                assert len(path) < MOST_STEPS, "a thread that waits for others takes steps without end"
            if not all(each.ended for each in self._threads):
                raise StuckError(f"nobody can go on after {[chosen for chosen, _ in path]}")
        finally:
            self._end()
        return path

    def _end(self) -> None:
        self._over = True
        for each in self._threads:
            each.turn.release()
            each.join()
        self.back = threading.Semaphore(0)
