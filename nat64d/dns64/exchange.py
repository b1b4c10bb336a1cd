"""One server asked over one transport: UDP from many ports, TCP and TLS over one connection for many questions.

An answer is taken only for the question and ID it was asked with (RFC 5452 section 9), by UDP in the same letters too
(0x20); what else arrives is counted and left lying, for the answer may still come.
"""

import asyncio
import secrets
import socket
import ssl
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, NamedTuple

from nat64d.dns64.wire import HEADER, OPCODE, QR, WireError, read_question

# LIMITS
PORTS = 32  # UDP sockets, each with a port of the kernel's choice
PORT_QUESTIONS = 256  # asked from a port before another one is taken
OUTSTANDING = 4096  # questions of one connection that wait for their answer
IDLE = 30.0  # seconds a connection is kept without a question
DRAIN = 64  # datagrams read in one go
LARGEST = 65535


class Server(NamedTuple):
    """Who is asked: `tls` is the name its certificate must have, None for plain DNS."""

    address: IPv4Address | IPv6Address
    port: int
    tls: str | None = None

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"tls://{host}:{self.port}#{self.tls}" if self.tls else f"{host}:{self.port}"


class ExchangeError(Exception):
    """The server could not be asked, or hung up; the text says why."""


class CaseError(Exception):
    """An answer right but for the case of its letters: the server does not keep it, or somebody guesses."""


class Counters:
    """What was thrown away, summed over all servers."""

    def __init__(self) -> None:
        self.strange = 0  # answers to no question of ours: late ones, or forged ones
        self.mismatched = 0  # the right ID, another question
        self.case = 0  # ... in other letters


def same_but_for_case(question: bytes, other: bytes) -> bool:
    """Whether questions in wire form ask the same: type and class are numbers, whose octets only look like letters."""
    return question[-4:] == other[-4:] and question[:-4].lower() == other[:-4].lower()


class _Waiting(NamedTuple):
    question: bytes
    answer: asyncio.Future[bytes]


class Pending:
    """Questions asked and not yet answered, by their ID. `exact`: answers have to be in the letters of the question."""

    def __init__(self, counters: Counters, exact: bool) -> None:
        self.counters = counters
        self._exact = exact
        self._waiting: dict[int, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, query: bytes) -> tuple[int, bytes, asyncio.Future[bytes]]:
        """(ID, the query under that ID, its answer to be)."""
        number = secrets.randbelow(65536)
        while number in self._waiting:
            number = secrets.randbelow(65536)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Waiting(query[HEADER : read_question(query).end], answer)
        return number, number.to_bytes(2, "big") + query[2:], answer

    def forget(self, number: int) -> None:
        """Nobody waits for it any longer."""
        self._waiting.pop(number, None)

    def take(self, octets: bytes) -> None:
        """Give an answer to whoever asked for it."""
        waiting = self._waiting.get(int.from_bytes(octets[:2], "big")) if len(octets) >= HEADER else None
        if waiting is None or waiting.answer.done() or octets[2] & (QR | OPCODE) >> 8 != QR >> 8:
            self.counters.strange += 1
            return
        try:
            question = octets[HEADER : read_question(octets).end]
        except WireError:
            question = b""
        if question == waiting.question:
            waiting.answer.set_result(octets)
        elif not same_but_for_case(question, waiting.question):
            self.counters.mismatched += 1
        elif self._exact:
            self.counters.case += 1
            waiting.answer.set_exception(CaseError())
        else:
            waiting.answer.set_result(octets)

    def fail(self, reason: str) -> None:
        """Nobody will be answered."""
        for waiting in self._waiting.values():
            if not waiting.answer.done():
                waiting.answer.set_exception(ExchangeError(reason))
        self._waiting.clear()


class _Port:
    """A UDP socket connected to the server: the kernel drops what others send."""

    def __init__(self, server: Server, counters: Counters) -> None:
        self.asked = 0
        self.pending = Pending(counters, exact=True)
        family = socket.AF_INET6 if server.address.version == 6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect((str(server.address), server.port))
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._drain)

    def send(self, octets: bytes) -> None:
        self.asked += 1
        self._socket.send(octets)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self.pending.fail("closed")

    def _drain(self) -> None:
        for _ in range(DRAIN):
            try:
                octets = self._socket.recv(LARGEST)
            except BlockingIOError:
                return
            except OSError as error:
                self.pending.fail(error.strerror or str(error))
                return
            self.pending.take(octets)


class Datagrams:
    """Questions by UDP."""

    def __init__(self, server: Server, counters: Counters) -> None:
        self._server, self._counters = server, counters
        self._ports: list[_Port | None] = [None] * PORTS
        self._leaving: list[_Port] = []

    async def ask(self, query: bytes) -> bytes:
        """The octets of the answer. Raises CaseError, ExchangeError; waits for ever."""
        try:
            port = self._port()
            number, octets, answer = port.pending.add(query)
            try:
                port.send(octets)
                return await answer
            finally:
                port.pending.forget(number)
                self._retire()
        except OSError as error:
            raise ExchangeError(error.strerror or str(error)) from error

    def close(self) -> None:
        """Give the ports back."""
        for port in (*self._ports, *self._leaving):
            if port is not None:
                port.close()
        self._ports, self._leaving = [None] * PORTS, []

    def _port(self) -> _Port:
        at = secrets.randbelow(PORTS)
        port = self._ports[at]
        if port is not None and port.asked >= PORT_QUESTIONS:
            self._leaving.append(port)
            port = None
        if port is None:
            port = self._ports[at] = _Port(self._server, self._counters)
        return port

    def _retire(self) -> None:
        for port in [port for port in self._leaving if not len(port.pending)]:
            self._leaving.remove(port)
            port.close()


class Stream:
    """Questions by TCP (RFC 7766) or TLS (RFC 7858), many at a time over one connection, opened when needed."""

    def __init__(self, server: Server, counters: Counters, context: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._context = context or (ssl.create_default_context() if server.tls else None)
        self._pending = Pending(counters, exact=False)  # nobody guesses in between
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()

    async def ask(self, query: bytes) -> bytes:
        """The octets of the answer, in whatever letters. Raises ExchangeError; waits for ever."""
        kept = self._writer is not None
        try:
            return await self._ask(query)
        except ExchangeError:
            if not kept:
                raise
            return await self._ask(query)  # RFC 7766 section 6.2.4: the server may hang up whenever it likes

    async def _ask(self, query: bytes) -> bytes:
        if len(self._pending) >= OUTSTANDING:
            raise ExchangeError("too many questions wait already")
        async with self._opening:
            if self._writer is None:
                await self._open()
        number, octets, answer = self._pending.add(query)
        try:
            assert self._writer is not None
            self._writer.write(len(octets).to_bytes(2, "big") + octets)
            return await answer
        finally:
            self._pending.forget(number)

    def close(self) -> None:
        """Hang up."""
        if self._reading is not None:
            self._reading.cancel()
        self._hang_up("closed")

    async def _open(self) -> None:
        name = self._server.tls if self._context else None
        try:
            reader, self._writer = await asyncio.open_connection(
                str(self._server.address), self._server.port, ssl=self._context, server_hostname=name
            )
        except (OSError, ssl.SSLError) as error:
            raise ExchangeError(getattr(error, "reason", None) or error.strerror or str(error)) from error
        self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        reason = "the server hung up"
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    size = int.from_bytes(await reader.readexactly(2), "big")
                    self._pending.take(await reader.readexactly(size))
        except TimeoutError:
            reason = "no answer"
        except (OSError, EOFError):
            pass
        self._hang_up(reason)

    def _hang_up(self, reason: str) -> None:
        writer, self._writer, self._reading = self._writer, None, None
        if writer is not None:
            writer.close()
        self._pending.fail(reason)


def servers_in(document: dict[str, Any]) -> list[Server]:
    """The servers as they were."""
    return [Server(ip_address(address), port, tls) for address, port, tls in document["upstream"]]
