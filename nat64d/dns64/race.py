"""One question on its way to the servers: which first, when another one too, and what counts as an answer.

No task and no coroutine: callbacks and one timer drive the attempts.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Self

from nat64d.dns64.exchange import Counters, Datagrams, ExchangeError, Query, Server
from nat64d.dns64.stream import Stream
from nat64d.dns64.trace import Tell, answer_text, question_text
from nat64d.dns64.wire import (
    HEADER,
    NOERROR,
    NXDOMAIN,
    Message,
    WireError,
    read_question,
    read_to_end,
)

# LIMITS
PATIENCE = 1.0  # seconds until another server is asked too, before one has shown how long it takes
LEAST_PATIENCE = 0.05
DEADLINE = 4.0  # seconds until the question is given up: before the client does, who waits 5
DOWN = 3  # questions in a row without an answer, until a server counts as down
DOWN_DEADLINE = 1.0  # seconds a client waits while all are down; the servers are still given DEADLINE
AGAIN = 1.0, 2.0  # seconds of silence until all servers are asked again, and then once more
PROBE = 10.0  # seconds, until a server that is not the first is asked beside it, to see how it does
WEIGHT = 0.2  # of a new measurement in the smoothed time of a server
PENALTY = 2.0  # seconds a failure counts
KEEPS_CASE = 3  # answers in other letters, by TCP as well, until a server is asked in lower case only

_usable = frozenset((NOERROR, NXDOMAIN))


class Answer(NamedTuple):
    """What a server answered, as it came and as it was read."""

    octets: bytes
    message: Message

    @classmethod
    def to(cls, query: Query, octets: bytes) -> Self:
        """Octets that answer a query, its name in the letters of the query (which 0x20 changed): compressed names lean
        on it. What lies behind the message is cut off. Raises WireError."""
        octets = octets[:HEADER] + query.octets[HEADER : query.end] + octets[query.end :]
        message, end = read_to_end(octets)
        return cls(octets[:end], message)


class Upstream:
    """One server, its transports, and how it has done."""

    def __init__(self, server: Server, counters: Counters) -> None:
        self.server = server
        self.seconds = 0.0  # smoothed
        self.asked = self.answered = self.failed = 0
        self.problem = ""  # of the last failure
        self.silent = 0  # questions in a row without an answer
        self.probe_at = 0.0
        self.flattens = 0  # answers in other letters, by TCP as well
        self.datagrams = None if server.tls else Datagrams(server, counters)
        self.stream = Stream(server, counters)

    @property
    def patience(self) -> float:
        """Seconds until its silence makes another one be asked."""
        return max(2 * self.seconds, LEAST_PATIENCE) if self.seconds else PATIENCE

    def took(self, seconds: float) -> None:
        """It answered. After silence only that counts, so that a server that is back is used again."""
        self.answered += 1
        self.seconds += (seconds - self.seconds) * (1 if self.silent or not self.seconds else WEIGHT)
        self.silent = 0

    def failed_with(self, problem: str) -> None:
        """It could not be asked, or did not answer."""
        self.failed += 1
        self.problem = problem
        self.seconds += (PENALTY - self.seconds) * WEIGHT

    def close(self) -> None:
        """Close its sockets."""
        if self.datagrams:
            self.datagrams.close()
        self.stream.close()


class _Attempt:
    """One question put to one server: by UDP, and by TCP if the answer was too large or in other letters."""

    __slots__ = ("_altered", "_asked", "_pending", "_query", "_race", "begin", "number", "upstream")

    def __init__(self, race: "Race", upstream: Upstream, query: Query, now: float) -> None:
        """Raises ExchangeError."""
        self._race, self._query, self.begin, self.upstream = race, query, now, upstream
        self._altered = False
        self._asked = query
        upstream.asked += 1
        upstream.probe_at = now + PROBE
        if upstream.datagrams is None:
            self._pending, self.number = upstream.stream.ask(query, self)
        else:
            flat = upstream.flattens >= KEEPS_CASE
            self._asked = query.in_lower_case() if flat else query.in_other_letters()
            self._pending, self.number = upstream.datagrams.ask(self._asked, self)

    def answered(self, octets: bytes) -> None:
        try:
            answer = Answer.to(self._query, octets)
        except WireError as error:
            self.failed(str(error))
            return
        if answer.message.truncated and self._pending is not self.upstream.stream:
            self._by_tcp(self._query)
            return
        if self._altered:
            self.upstream.flattens += octets[HEADER : self._asked.end] != self._asked.question
        self.upstream.took(asyncio.get_running_loop().time() - self.begin)
        self._race.answered(self, answer)

    def altered(self) -> None:
        self._altered = True
        self._by_tcp(self._asked)

    def failed(self, reason: str) -> None:
        self.upstream.failed_with(reason)
        self._race.failed(self, reason)

    def lost(self) -> None:
        """Another server was faster."""
        took = asyncio.get_running_loop().time() - self.begin
        if took > self.upstream.seconds:
            self.upstream.seconds += (took - self.upstream.seconds) * WEIGHT

    def expire(self) -> None:
        """It has been silent for too long."""
        self._pending.forget(self.number)
        self.upstream.silent += 1
        self.upstream.failed_with("no answer")

    def _by_tcp(self, query: Query) -> None:
        try:
            self._pending, self.number = self.upstream.stream.ask(query, self)
        except ExchangeError as error:
            self.failed(str(error))


Done = Callable[[Answer | None, str], None]  # the answer, or why there is none


class Race:
    """One question on its way: to the best server, to the next one when that fails or is silent for its patience, and
    to all of them once more while all are silent.

    An answer that is an error (SERVFAIL, REFUSED, …) is given if no other server has a better one. Who has lost may
    still answer until the end, so that he is measured.
    """

    __slots__ = (
        *("_again", "_done", "_end", "_fallback", "_is_done", "_left", "_over", "_problems", "_query", "_ranked"),
        *("_running", "_tell", "_timer", "_until"),
    )

    def __init__(
        self,
        ranked: Callable[[], list[Upstream]],
        query: Query,
        done: Done,
        over: Callable[[], None],
        tell: Tell | None,
    ) -> None:
        """`ranked`: the servers, the best first; `done` is called once, `over` when no server may answer any longer."""
        self._ranked, self._query, self._done, self._over, self._tell = ranked, query, done, over, tell
        self._is_done = False
        self._left = ranked()
        self._again = iter(AGAIN)
        self._running: list[_Attempt] = []
        self._problems: list[str] = []
        self._fallback: Answer | None = None
        self._timer: asyncio.TimerHandle | None = None
        now = asyncio.get_running_loop().time()
        self._end = now + DEADLINE
        down = bool(self._left) and self._left[0].silent >= DOWN  # if the best is, all are
        self._until = now + DOWN_DEADLINE if down else self._end
        probe = next((one for one in self._left[1:] if one.probe_at <= now), None)
        if probe is not None:
            self._left.remove(probe)
            self._ask(probe, now)
        self._go_on()

    def answered(self, attempt: _Attempt, answer: Answer) -> None:
        """A server answered."""
        if self._tell:
            self._say(attempt.upstream, answer_text(answer.message), attempt.begin)
        self._running.remove(attempt)
        if self._is_done:
            self._settle()
        elif answer.message.rcode in _usable:
            self._finish(answer)
        else:
            self._fallback = self._fallback or answer
            self._go_on()

    def failed(self, attempt: _Attempt, reason: str) -> None:
        """A server will not answer."""
        self._say(attempt.upstream, reason, attempt.begin)
        self._running.remove(attempt)
        self._problems.append(f"{attempt.upstream.server}: {reason}")
        if self._is_done:
            self._settle()
        else:
            self._go_on()

    def _ask(self, upstream: Upstream, now: float) -> bool:
        try:
            self._running.append(_Attempt(self, upstream, self._query, now))
        except ExchangeError as error:
            self._say(upstream, str(error), now)
            upstream.failed_with(str(error))
            self._problems.append(f"{upstream.server}: {error}")
            return False
        return True

    def _say(self, upstream: Upstream, said: str, begin: float) -> None:
        if self._tell:
            asked, took = question_text(read_question(self._query.octets)), asyncio.get_running_loop().time() - begin
            self._tell(f"{asked} asked of {upstream.server}: {said} ({took * 1000:.1f} ms)")

    def _go_on(self) -> None:
        """Ask the next server, and decide how long to wait then."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        patience = self._running[-1].upstream.patience if self._running else 0.0
        while self._left:
            upstream = self._left.pop(0)
            if self._ask(upstream, now):
                patience = upstream.patience
                break
        if not self._running:
            self._finish(self._fallback)
            return
        if not self._left and self._fallback is None:
            patience = next(self._again, DEADLINE)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(min(now + patience, self._until), self._patience_is_over)

    def _patience_is_over(self) -> None:
        if self._is_done:
            self._expire()
            return
        if asyncio.get_running_loop().time() >= self._until:
            self._problems.append("no answer in time")
            self._finish(self._fallback)
        elif self._fallback is not None and not self._left:
            self._finish(self._fallback)
        else:
            self._left = self._left or self._ranked()
            self._go_on()

    def _finish(self, answer: Answer | None) -> None:
        self._is_done = True
        self._done(answer, "; ".join(self._problems) or "no server is configured")
        for attempt in self._running:
            attempt.lost()
        self._settle()

    def _settle(self) -> None:
        """Done, but for those who may still answer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running:
            self._timer = asyncio.get_running_loop().call_at(self._end, self._expire)
        else:
            self._over()

    def _expire(self) -> None:
        for attempt in self._running:
            attempt.expire()
        self._running.clear()
        self._settle()
