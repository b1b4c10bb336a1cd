"""One question to the upstream servers: which is asked first, when another one is asked too, and what counts as an
answer.

There are no tasks or coroutines: callbacks and one timer drive the attempts.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Self

from nat64d.dns64.message.wire import HEADER, NOERROR, NXDOMAIN, Message, WireError, read_question, read_to_end
from nat64d.dns64.trace import Tell, answer_text, question_text
from nat64d.dns64.upstreams.exchange import Datagrams, ExchangeError, Query, ServerAddress, StrayCounters
from nat64d.dns64.upstreams.stream import Stream

# SPEC: RFC 9520 section 3.1
COPIES = 3  # of a question, to one server over one transport
# LIMITS
FIRST_PATIENCE = 1.0  # seconds until another server is asked too, while the time of the first is not known
LEAST_PATIENCE = 0.05
DEADLINE = 4.0  # seconds until a question is given up; clients wait for 5
DOWN = 3  # unanswered questions in a row until a server counts as down
DOWN_DEADLINE = (
    1.0  # seconds until a client gets an answer while all servers are down; they still have DEADLINE to answer
)
AGAIN = 1.0, 2.0  # seconds of silence until all servers are asked a second and a third time
PROBE = 10.0  # seconds until a lower-ranked server is asked as well, to measure it
WEIGHT = 0.2  # of a new value in the smoothed time of a server
PENALTY = 2.0  # seconds that a failure counts as
KEEPS_CASE = 3  # answers in another case, also by TCP, until a server is asked in lower case only

TOO_MANY = "too many questions are waiting"  # the reason for which questions are given up
_usable = frozenset((NOERROR, NXDOMAIN))


class ServerAnswer(NamedTuple):
    """The answer of a server, as octets and as a message."""

    octets: bytes
    message: Message

    @classmethod
    def to(cls, query: Query, octets: bytes) -> Self:
        """An answer with the name as it is in the query, which 0x20 has changed and compressed names point to. Octets
        behind the message are cut off. Raises WireError."""
        octets = octets[:HEADER] + query.octets[HEADER : query.end] + octets[query.end :]
        message, end = read_to_end(octets)
        return cls(octets[:end], message)


class Upstream:
    """One upstream server: its transports, and how well it does."""

    def __init__(self, server: ServerAddress, counters: StrayCounters) -> None:
        self.server = server
        self.seconds = 0.0  # smoothed
        self.asked = self.answered = self.failed = 0
        self.problem = ""  # of the last failure
        self.silent = 0  # questions in a row without an answer
        self.probe_at = 0.0
        self.flattens = 0  # answers in another case, also by TCP
        self.datagrams = None if server.tls else Datagrams(server, counters)
        self.stream = Stream(server, counters)

    @property
    def patience(self) -> float:
        """For how many seconds to wait for it before another server is asked."""
        return max(2 * self.seconds, LEAST_PATIENCE) if self.seconds else FIRST_PATIENCE

    def took(self, seconds: float) -> None:
        """Note an answer and its time. After silence only the new time counts, so that a recovered server is used
        again."""
        self.answered += 1
        self.seconds += (seconds - self.seconds) * (1 if self.silent or not self.seconds else WEIGHT)
        self.silent = 0

    def failed_with(self, problem: str) -> None:
        """Note that it could not be asked, or did not answer."""
        self.failed += 1
        self.problem = problem
        self.seconds += (PENALTY - self.seconds) * WEIGHT

    def close(self) -> None:
        """Close its sockets."""
        if self.datagrams:
            self.datagrams.close()
        self.stream.close()


class _Attempt:
    """One question to one server: by UDP, then by TCP if the answer is truncated or has another case."""

    __slots__ = ("_altered", "_asked", "_pending", "_query", "_race", "begin", "number", "upstream")

    def __init__(self, race: "Race", upstream: Upstream, query: Query, now: float) -> None:
        """Ask. Raises ExchangeError."""
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
            answer = ServerAnswer.to(self._query, octets)
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
        """Note that another server was faster."""
        took = asyncio.get_running_loop().time() - self.begin
        if took > self.upstream.seconds:
            self.upstream.seconds += (took - self.upstream.seconds) * WEIGHT

    def may_repeat(self) -> bool:
        return self._race.may_send(self.upstream.stream)

    def forget(self) -> None:
        """Stop waiting for the answer to this copy of the question."""
        self._pending.forget(self.number)

    def expire(self) -> None:
        """Stop waiting, and count the server's silence."""
        self.forget()
        self.upstream.silent += 1
        self.upstream.failed_with("no answer")

    def _by_tcp(self, query: Query) -> None:
        if not self._race.may_send(self.upstream.stream):
            self.failed("no answer by TCP")
            return
        try:
            self._pending, self.number = self.upstream.stream.ask(query, self)
        except ExchangeError as error:
            self.failed(str(error))


# The answer, or None and why there is none. If that is a failure, a second call has an answer that came too late.
Done = Callable[[ServerAnswer | None, str], None]


class Race:
    """One question: it goes to the best server, to the next one if that fails or is silent for its patience (or its
    share of the time that is left, so that every server is asked), and to all once more while all are silent.

    An error (SERVFAIL, REFUSED, ...) is given as the answer only if no other server has a better one. Servers that were
    slower may still answer until the end: their time is measured, and after a failure their answer is passed on too.
    """

    __slots__ = (
        *("_again", "_copies", "_done", "_end", "_fallback", "_is_done", "_is_failed", "_left", "_over", "_problems"),
        *("_query", "_ranked", "_running", "_tell", "_timer", "_until"),
    )

    def __init__(
        self,
        ranked: Callable[[], list[Upstream]],
        query: Query,
        done: Done,
        over: Callable[[], None],
        tell: Tell | None,
    ) -> None:
        """`ranked`: the servers, best first; `over` is called when no server can answer any more."""
        self._ranked, self._query, self._done, self._over, self._tell = ranked, query, done, over, tell
        self._is_done = self._is_failed = False
        self._left = ranked()
        self._again = iter(AGAIN)
        self._running: list[_Attempt] = []
        self._copies: dict[Datagrams | Stream, int] = {}
        self._problems: list[str] = []
        self._fallback: ServerAnswer | None = None
        self._timer: asyncio.TimerHandle | None = None
        now = asyncio.get_running_loop().time()
        self._end = now + DEADLINE
        down = bool(self._left) and self._left[0].silent >= DOWN  # if the best one is, all are
        self._until = now + DOWN_DEADLINE if down else self._end
        probe = next((one for one in self._left[1:] if one.probe_at <= now), None)
        if probe is not None:
            self._left.remove(probe)
            self._ask(probe, now)
        self._go_on()

    def answered(self, attempt: _Attempt, answer: ServerAnswer) -> None:
        """Take an answer of a server."""
        if self._tell:
            self._say(attempt.upstream, answer_text(answer.message), attempt.begin)
        self._running.remove(attempt)
        if self._is_done:
            if self._is_failed and answer.message.rcode in _usable:
                self._is_failed = False
                self._done(answer, "")
            self._settle()
        elif answer.message.rcode in _usable:
            self._finish(answer)
        else:
            self._fallback = self._fallback or answer
            self._go_on()

    def failed(self, attempt: _Attempt, reason: str) -> None:
        """Note that a server will not answer."""
        self._say(attempt.upstream, reason, attempt.begin)
        self._running.remove(attempt)
        self._problems.append(f"{attempt.upstream.server}: {reason}")
        if self._is_done:
            self._settle()
        else:
            self._go_on()

    def may_send(self, transport: Datagrams | Stream) -> bool:
        """Count one more copy of the question over a transport to a server; False if that is one too many."""
        self._copies[transport] = self._copies.get(transport, 0) + 1
        return self._copies[transport] <= COPIES

    @property
    def is_over(self) -> bool:
        """Whether no server can answer any more."""
        return self._is_done and not self._running

    def give_up(self) -> None:
        """Forget the question, and report that to the waiting resolver. No server has failed."""
        running, self._running = self._running, []
        for attempt in running:
            attempt.forget()
        if not self._is_done:
            self._is_done = True
            self._done(None, TOO_MANY)
        self._settle()

    def _ask(self, upstream: Upstream, now: float) -> bool:
        if not self.may_send(upstream.datagrams or upstream.stream):
            return False
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
        """Ask the next server, and set the timer for the one after it."""
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
        if self._left:  # each server is asked in time to answer
            patience = min(patience, (self._until - now) / (len(self._left) + 1))
        elif self._fallback is None:
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

    def _finish(self, answer: ServerAnswer | None) -> None:
        self._is_done = True
        self._is_failed = answer is None or answer.message.rcode not in _usable
        self._done(answer, "; ".join(self._problems) or "no server is configured")
        for attempt in self._running:
            attempt.lost()
        self._settle()

    def _settle(self) -> None:
        """The question is answered; wait for the slower servers, or finish."""
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
