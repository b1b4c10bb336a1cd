"""Ask every program every row, all of them side by side."""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import dns.exception
import dns.message
import dns.rdatatype

from tests.dns64.side import programs
from tests.dns64.side.row import Row, Seen, domain
from tests.dns64.zone import Zone, serve

WAIT = 12.0  # seconds for an answer
PACE = 0.02  # seconds between two questions to a program: nobody is measured under load
Measured = dict[str, dict[str, Seen]]


class _Client(asyncio.DatagramProtocol):
    def __init__(self, id_: bytes) -> None:
        self._id = id_
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._id and not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def ask(query: bytes, source: str, port: int) -> Seen:
    """By UDP; by TCP after a truncated answer."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    transport, client = await loop.create_datagram_endpoint(
        lambda: _Client(query[:2]), (source, 0), (programs.HOST, port)
    )
    try:
        transport.sendto(query)
        octets = await asyncio.wait_for(client.answer, WAIT)
    except (OSError, TimeoutError):
        return Seen(None, None, loop.time() - begin)
    finally:
        transport.close()
    message = _read(octets)
    tcp = await _by_tcp(query, source, port) if octets[2] & 2 else None
    return Seen(octets, message, loop.time() - begin, tcp)


async def _by_tcp(query: bytes, source: str, port: int) -> Seen:
    begin = asyncio.get_running_loop().time()
    octets, writer = None, None
    with contextlib.suppress(OSError, EOFError, TimeoutError):
        async with asyncio.timeout(WAIT):
            reader, writer = await asyncio.open_connection(programs.HOST, port, local_addr=(source, 0))
            writer.write(len(query).to_bytes(2, "big") + query)
            octets = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    if writer is not None:
        writer.close()
    return Seen(octets, _read(octets), asyncio.get_running_loop().time() - begin)


def _read(octets: bytes | None) -> dns.message.Message | None:
    with contextlib.suppress(dns.exception.DNSException):
        return dns.message.from_wire(octets, ignore_trailing=False) if octets else None
    return None


async def _one(name: str, rows: Mapping[str, Row], more: str, directory: Path) -> dict[str, Seen]:
    """A program with a server of its own, and what it answers to each row."""
    zone = Zone({key: said for row in rows.values() for key, said in row.script.items()})
    addresses = [f"127.53.0.{n + 1}" for n in range(len(rows) + 1)]
    server, end = await serve(zone, addresses)
    forwards = {domain(id_): f"{address}:{server}" for id_, address in zip(rows, addresses[1:], strict=True)}
    port = programs.free_port()
    config = programs.configuration(port, f"{addresses[0]}:{server}", more)
    try:
        async with programs.START[name](config, directory, port, forwards):
            asking = {}
            for row in rows.values():
                asking[row.id] = asyncio.create_task(ask(row.query, row.source, port))
                await asyncio.sleep(PACE)
            return {id_: _with_upstream(await task, rows[id_], zone) for id_, task in asking.items()}
    finally:
        end()


def _with_upstream(seen: Seen, row: Row, zone: Zone) -> Seen:
    question = dns.message.from_wire(row.query, question_only=True, one_rr_per_rrset=True).question
    own = {(each.name.to_text().lower(), dns.rdatatype.to_text(each.rdtype)) for each in question[:1]}
    return replace(seen, upstream=frozenset(own & set(zone.asked)))


async def _all(names: Iterable[str], rows: Mapping[str, Row], more: str, directory: Path) -> Measured:
    folders = {name: directory / name for name in names}
    for folder in folders.values():
        folder.mkdir()
    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(_one(name, rows, more, folder)) for name, folder in folders.items()}
    return {name: task.result() for name, task in tasks.items()}


def measure(rows: Mapping[str, Row], more: str = "") -> Measured:
    """What nat64d and each installed program answers, by program and row; `more` lines of [dns64]."""
    names = [name for name in programs.START if name == "nat64d" or programs.path_of(name)]
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_all(names, rows, more, Path(directory)))
