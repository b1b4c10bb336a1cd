"""Questions to one server: by UDP from many ports, and what UDP has in common with TCP and TLS (stream.py).

An answer is accepted only if it has the ID and the question that was asked (RFC 5452 section 9), by UDP also in the
same case (0x20). Anything else is counted and ignored, since the right answer may still come.
"""

import asyncio
import errno
import os
import select
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple, Protocol

from nat64d.dns64.message.wire import HEADER, MESSAGE_OCTETS

DNS = 53  # port
# LIMITS
PORTS = 32  # UDP sockets, each with a random port
ROUNDS = 16  # answers read from a port in one go: more than there are new questions, however long the turn has taken
PORT_QUESTIONS = 256  # questions from a port before it is replaced
LEAVING = 64  # replaced ports that still wait for answers; with this many, no more are replaced
OUTSTANDING = 16384  # questions of one port or connection that wait for their answer

ANSWER_BITS = 0xF8, 0x80  # mask and value of QR and OPCODE in the third octet of a response
LOST = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}  # errors after which a question counts as lost in the network
_LETTERS = bytes(0x20 * chr(octet).isalpha() * (octet < 0x80) for octet in range(256))


class ServerAddress(NamedTuple):
    """The address of a name server; `tls` is the name that its certificate must have, None for plain DNS."""

    address: IPv4Address | IPv6Address
    port: int
    tls: str | None = None

    @property
    def sockaddr(self) -> tuple[Any, ...]:
        """The argument for connect(), with the interface index of a link-local address. Raises OSError if there is no
        such interface."""
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
    """A query without its ID, and the offset behind its question."""

    octets: bytes
    end: int

    @property
    def question(self) -> bytes:
        """The question section, as octets."""
        return self.octets[HEADER : self.end]

    def in_other_letters(self) -> "Query":
        """The query with random case in its name (0x20), which a forger would have to guess."""
        name = self.octets[HEADER : self.end - 4]
        # Length octets are below 64 and therefore no letters, so the name need not be split into labels.
        flips = int.from_bytes(name.translate(_LETTERS), "big") & int.from_bytes(os.urandom(len(name)), "big")
        name = (int.from_bytes(name, "big") ^ flips).to_bytes(len(name), "big")
        return self._named(name)

    def in_lower_case(self) -> "Query":
        """The query with its name in lower case, for servers that do not preserve case."""
        return self._named(self.octets[HEADER : self.end - 4].lower())

    def _named(self, name: bytes) -> "Query":
        return Query(self.octets[:HEADER] + name + self.octets[self.end - 4 :], self.end)


class StrayCounters:
    """Messages that were ignored, of all servers together."""

    def __init__(self) -> None:
        self.strange = 0  # match no waiting question: late or forged
        self.mismatched = 0  # right ID, another question
        self.case = 0  # right ID and question, another case


class Waiter(Protocol):
    """The one who asked a question. One of the other methods is called, once, unless the question is forgotten
    before."""

    def may_repeat(self) -> bool:
        """Whether the question may be sent over another connection, after the one that it was sent over has ended."""

    def answered(self, octets: bytes) -> None:
        """The answer has come."""

    def altered(self) -> None:
        """An answer has come whose name has another case: the server does not preserve it, or an attacker is
        guessing."""

    def failed(self, reason: str) -> None:
        """There will be no answer."""


class Asked:
    """A question that waits for its answer."""

    __slots__ = ("again", "octets", "question", "waiter")

    def __init__(self, octets: bytes, question: bytes, waiter: Waiter) -> None:
        self.octets, self.question, self.waiter = octets, question, waiter
        self.again = False  # already repeated over a second connection


def same_but_for_case(question: bytes, other: bytes) -> bool:
    """Whether two questions in wire form ask the same. Type and class are compared as they are: their octets may look
    like letters."""
    return question[-4:] == other[-4:] and question[:-4].lower() == other[:-4].lower()


class Pending:
    """Questions that wait for answers, by ID. `exact`: answers must have the case of the question."""

    exact = True

    def __init__(self, counters: StrayCounters) -> None:
        self.counters = counters
        self.waiting: dict[int, Asked] = {}

    def add(self, query: Query, waiter: Waiter) -> tuple[int, bytes]:
        """(ID, the query with that ID). Raises ExchangeError if too many questions are waiting."""
        if len(self.waiting) >= OUTSTANDING:
            raise ExchangeError("too many questions are waiting")
        number = os.urandom(2)
        while (key := number[0] << 8 | number[1]) in self.waiting:
            number = os.urandom(2)
        octets = number + query.octets[2:]
        self.waiting[key] = Asked(octets, query.question, waiter)
        return key, octets

    def forget(self, number: int) -> None:
        """Stop waiting for an answer."""
        self.waiting.pop(number, None)

    def take(self, octets: bytes) -> None:
        """Pass a message to the one who asked, if it is the answer to a waiting question."""
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
        """Tell all that wait that there will be no answer."""
        waiting, self.waiting = self.waiting, {}
        for asked in waiting.values():
            asked.waiter.failed(reason)


class _Port(Pending):
    """A UDP socket connected to the server, so that the kernel drops what others send."""

    def __init__(self, server: ServerAddress, counters: StrayCounters) -> None:
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
        """Read one datagram."""
        try:
            octets = self.socket.recv(MESSAGE_OCTETS)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(error.strerror or str(error))
            return
        self.take(octets)


class Datagrams:
    """Questions by UDP. The ports share one epoll, so the loop wakes up once for the answers to all of them."""

    def __init__(self, server: ServerAddress, counters: StrayCounters) -> None:
        self._server, self._counters = server, counters
        self._ports: list[_Port | None] = [None] * PORTS
        self._leaving: set[_Port] = set()
        self._open: dict[int, _Port] = {}
        self._poll: select.epoll | None = None

    def ask(self, query: Query, waiter: Waiter) -> tuple[Pending, int]:
        """Send a question: (where it waits, its ID). Raises ExchangeError."""
        try:
            port = self._port()
            return port, port.ask(query, waiter)
        except OSError as error:
            raise ExchangeError(error.strerror or str(error)) from error

    def close(self) -> None:
        """Close all ports."""
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
        for _ in range(ROUNDS):
            ready = [] if self._poll is None else self._poll.poll(0)
            for number, _ in ready:
                if (port := self._open.get(number)) is not None:
                    port.drain()
            if not ready:
                return

    def _retire(self) -> None:
        for port in [port for port in self._leaving if not port.waiting]:
            self._leaving.remove(port)
            del self._open[port.socket.fileno()]
            port.socket.close()  # this also removes it from the epoll


def server_addresses(rows: Iterable[Sequence[Any]]) -> list[ServerAddress]:
    """Server addresses from their JSON form: address, port, and TLS name or null."""
    return [ServerAddress(ip_address(address), port, tls) for address, port, tls in rows]
