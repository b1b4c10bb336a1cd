"""Questions on their way to one server: by UDP from many ports; what TCP and TLS (stream.py) share with that.

An answer is taken only for the question and ID it was asked with (RFC 5452 section 9), by UDP in the same letters too
(0x20); what else arrives is counted and left lying, for the answer may still come.
"""

import asyncio
import errno
import os
import select
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple, Protocol

from nat64d.dns64.wire import HEADER

DNS = 53  # the port
# LIMITS
PORTS = 32  # UDP sockets, each with a port of the kernel's choice
PORT_QUESTIONS = 256  # asked from a port before another one is taken
LEAVING = 64  # ports that only wait for their last answers; while there are so many, none is given up
OUTSTANDING = 4096  # questions of one port or connection that wait for their answer
LARGEST = 65535

ANSWER_BITS = 0xF8, 0x80  # of the third octet: QR and OPCODE, those of an answer
LOST = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}  # of a question that was not sent, as if it were lost on the way
_LETTERS = bytes(0x20 * chr(octet).isalpha() * (octet < 0x80) for octet in range(256))


class Server(NamedTuple):
    """Who is asked: `tls` is the name its certificate must have, None for plain DNS."""

    address: IPv4Address | IPv6Address
    port: int
    tls: str | None = None

    @property
    def sockaddr(self) -> tuple[Any, ...]:
        """What connect() takes; a link-local address with the index of its link. Raises OSError if there is none."""
        if self.address.version == 6 and self.address.scope_id:
            host, _, link = str(self.address).partition("%")
            return host, self.port, 0, socket.if_nametoindex(link)
        return str(self.address), self.port

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"tls://{host}:{self.port}#{self.tls}" if self.tls else f"{host}:{self.port}"


class ExchangeError(Exception):
    """The server could not be asked; the text says why."""


class Query(NamedTuple):
    """A query without its ID, and where its question ends."""

    octets: bytes
    end: int

    @property
    def question(self) -> bytes:
        """The question, as octets."""
        return self.octets[HEADER : self.end]

    def in_other_letters(self) -> "Query":
        """With the case of the letters of its name at random (0x20): a forger has to guess it too."""
        name = self.octets[HEADER : self.end - 4]
        # Length octets are at most 63 and no letters, so a name need not be taken apart.
        flips = int.from_bytes(name.translate(_LETTERS), "big") & int.from_bytes(os.urandom(len(name)), "big")
        name = (int.from_bytes(name, "big") ^ flips).to_bytes(len(name), "big")
        return self._named(name)

    def in_lower_case(self) -> "Query":
        """With its name in lower case, which servers keep that keep no other."""
        return self._named(self.octets[HEADER : self.end - 4].lower())

    def _named(self, name: bytes) -> "Query":
        return Query(self.octets[:HEADER] + name + self.octets[self.end - 4 :], self.end)


class Counters:
    """What was thrown away, summed over all servers."""

    def __init__(self) -> None:
        self.strange = 0  # answers to no question of ours: late ones, or forged ones
        self.mismatched = 0  # the right ID, another question
        self.case = 0  # ... in other letters


class Waiter(Protocol):
    """Who asked. One of these is called, once, unless the question is forgotten before."""

    def answered(self, octets: bytes) -> None:
        """The answer."""

    def altered(self) -> None:
        """An answer, right but for the case of its letters: the server does not keep it, or somebody guesses."""

    def failed(self, reason: str) -> None:
        """There will be no answer."""


class Asked:
    """A question that waits for its answer."""

    __slots__ = ("again", "octets", "question", "waiter")

    def __init__(self, octets: bytes, question: bytes, waiter: Waiter) -> None:
        self.octets, self.question, self.waiter = octets, question, waiter
        self.again = False  # asked a second time, over a second connection


def same_but_for_case(question: bytes, other: bytes) -> bool:
    """Whether questions in wire form ask the same: type and class are numbers, whose octets only look like letters."""
    return question[-4:] == other[-4:] and question[:-4].lower() == other[:-4].lower()


class Pending:
    """Questions asked and not yet answered, by their ID. `exact`: answers have to be in the letters of the question."""

    exact = True

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.waiting: dict[int, Asked] = {}

    def add(self, query: Query, waiter: Waiter) -> tuple[int, bytes]:
        """(ID, the query under that ID). Raises ExchangeError if there are too many already."""
        if len(self.waiting) >= OUTSTANDING:
            raise ExchangeError("too many questions wait already")
        number = os.urandom(2)
        while (key := number[0] << 8 | number[1]) in self.waiting:
            number = os.urandom(2)
        octets = number + query.octets[2:]
        self.waiting[key] = Asked(octets, query.question, waiter)
        return key, octets

    def forget(self, number: int) -> None:
        """Nobody waits for it any longer."""
        self.waiting.pop(number, None)

    def take(self, octets: bytes) -> None:
        """Give an answer to whoever asked for it."""
        mask, bits = ANSWER_BITS
        number = octets[0] << 8 | octets[1] if len(octets) >= HEADER and octets[2] & mask == bits else -1
        asked = self.waiting.get(number)
        if asked is None:
            self.counters.strange += 1
            return
        question = octets[HEADER : HEADER + len(asked.question)]
        if octets[4:6] != b"\0\1" or not (question == asked.question or same_but_for_case(question, asked.question)):
            self.counters.mismatched += 1
            return
        self.forget(number)
        if question == asked.question or not self.exact:
            asked.waiter.answered(octets)
        else:
            self.counters.case += 1
            asked.waiter.altered()

    def fail(self, reason: str) -> None:
        """Nobody will be answered."""
        waiting, self.waiting = self.waiting, {}
        for asked in waiting.values():
            asked.waiter.failed(reason)


class _Port(Pending):
    """A UDP socket connected to the server: the kernel drops what others send."""

    def __init__(self, server: Server, counters: Counters) -> None:
        super().__init__(counters)
        self.asked = 0
        family = socket.AF_INET6 if server.address.version == 6 else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self.socket.connect(server.sockaddr)
        except OSError:
            self.socket.close()
            raise

    def ask(self, query: Query, waiter: Waiter) -> int:
        number, octets = self.add(query, waiter)
        self.asked += 1
        try:
            self.socket.send(octets)
        except OSError as error:
            if error.errno not in LOST:
                self.forget(number)
                raise
        return number

    def drain(self) -> None:
        """Read one datagram; the poll says again if there are more."""
        try:
            octets = self.socket.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(error.strerror or str(error))
            return
        self.take(octets)


class Datagrams:
    """Questions by UDP. Its ports share one poll, so that the loop is woken once for the answers of all of them."""

    def __init__(self, server: Server, counters: Counters) -> None:
        self._server, self._counters = server, counters
        self._ports: list[_Port | None] = [None] * PORTS
        self._leaving: set[_Port] = set()
        self._open: dict[int, _Port] = {}
        self._poll: select.epoll | None = None

    def ask(self, query: Query, waiter: Waiter) -> tuple[Pending, int]:
        """Where the question waits, and under which ID. Raises ExchangeError."""
        try:
            port = self._port()
            return port, port.ask(query, waiter)
        except OSError as error:
            raise ExchangeError(error.strerror or str(error)) from error

    def close(self) -> None:
        """Give the ports back."""
        if self._poll is not None:
            asyncio.get_running_loop().remove_reader(self._poll)
            self._poll.close()
            self._poll = None
        for port in self._open.values():
            port.socket.close()
            port.fail("closed")
        self._open, self._ports, self._leaving = {}, [None] * PORTS, set()

    def _port(self) -> _Port:
        at = os.urandom(1)[0] % PORTS
        port = self._ports[at]
        if port is not None and port.asked >= PORT_QUESTIONS and len(self._leaving) < LEAVING:
            self._leaving.add(port)
            self._retire()
            port = None
        if port is None:
            port = self._ports[at] = _Port(self._server, self._counters)
            self._watch(port)
        return port

    def _watch(self, port: _Port) -> None:
        if self._poll is None:
            self._poll = select.epoll()
            asyncio.get_running_loop().add_reader(self._poll, self._drain)
        self._open[port.socket.fileno()] = port
        self._poll.register(port.socket.fileno(), select.EPOLLIN)

    def _drain(self) -> None:
        assert self._poll is not None
        for number, _ in self._poll.poll(0):
            if (port := self._open.get(number)) is not None:
                port.drain()

    def _retire(self) -> None:
        for port in [port for port in self._leaving if not port.waiting]:
            self._leaving.remove(port)
            del self._open[port.socket.fileno()]
            port.socket.close()  # the poll forgets it too


def servers_in(rows: Iterable[Sequence[Any]]) -> list[Server]:
    """Servers as JSON has them: address, port, and name or null."""
    return [Server(ip_address(address), port, tls) for address, port, tls in rows]
