"""The servers that are asked: which there are, and how they have done."""

import asyncio
import struct
from collections.abc import Iterable
from operator import attrgetter

from nat64d.dns64.exchange import Counters, Query, Server
from nat64d.dns64.race import DEADLINE, Done, Race, Upstream
from nat64d.dns64.reply import BUFFER
from nat64d.dns64.trace import Tell
from nat64d.dns64.wire import CD, DO, HEADER, OPT, RD, Question

# LIMITS
QUESTIONS = 16384  # on their way at a time

# By CD: ID, flags, one question, one record behind it. By DO: OPT (RFC 6891 section 6.1.2).
_heads = [struct.pack("!6H", 0, RD | cd, 1, 0, 0, 1) for cd in (0, CD)]
_edns = [b"\0" + struct.pack("!HHIH", OPT, BUFFER, do, 0) for do in (0, DO)]
_tail = struct.Struct("!HH")
_by_seconds = attrgetter("seconds")


class Upstreams:
    """All of them."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self.counters = Counters()
        self.all = [Upstream(server, self.counters) for server in dict.fromkeys(servers)]
        self.on_their_way = 0  # questions, with those that are answered while another server may still do so
        self._leaving: dict[Upstream, asyncio.TimerHandle] = {}

    def ask(
        self, question: Question, dnssec: bool, checking_disabled: bool, done: Done, tell: Tell | None = None
    ) -> None:
        """`done` gets the answer to a question, of the server that answers first; once, perhaps at once."""
        if self.on_their_way >= QUESTIONS:
            done(None, "too many questions wait already")
            return
        self.on_their_way += 1
        Race(self.ranked, query_for(question, dnssec, checking_disabled), done, self._over, tell)

    def _over(self) -> None:
        self.on_their_way -= 1

    def ranked(self) -> list[Upstream]:
        """The best first; those that were never asked before those."""
        return sorted(self.all, key=_by_seconds)

    def replace(self, servers: Iterable[Server]) -> None:
        """Ask these from now on. Those that stay keep their connections and what is known of them; those that go may
        still answer what they were asked."""
        known, wanted = {one.server: one for one in self.all}, dict.fromkeys(servers)
        self.all = [known[one] if one in known else Upstream(one, self.counters) for one in wanted]
        for one in (known[server] for server in known.keys() - wanted.keys()):
            self._leaving[one] = asyncio.get_running_loop().call_later(DEADLINE, self._leave, one)

    def _leave(self, one: Upstream) -> None:
        del self._leaving[one]
        one.close()

    def close(self) -> None:
        """Close all sockets."""
        for timer in self._leaving.values():
            timer.cancel()
        for one in (*self.all, *self._leaving):
            one.close()


def query_for(question: Question, dnssec: bool, checking_disabled: bool) -> Query:
    """The octets of a question to a server, but for the ID."""
    end = HEADER + len(question.name) + 4
    octets = _heads[checking_disabled] + question.name + _tail.pack(question.type, question.class_) + _edns[dnssec]
    return Query(octets, end)
