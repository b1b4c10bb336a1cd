"""A quiet host, with the standard library only: `victim host SERVER PORT RESOLVER`, `victim asker RESOLVER`,
`victim client SERVICE PORT` or `victim sender ADDRESS PORT`.

A host keeps some TCP connections and UDP flows to an echo server, on which it sends a numbered message now and then,
and makes new TCP connections, UDP exchanges and DNS queries at a steady gentle rate. An asker only makes queries. A
sender sends datagrams too big for the translator and wants to be told. It says "settled" when all of its flows are
open. Each line on standard input begins a phase of that name, and it says "over" when all is over that was begun
"during" the attack. When the input ends, it waits for what is under way and prints, for each phase and kind, how many
it began and how many of them succeeded.
"""

import asyncio
import json
import os
import socket
import struct
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

KEPT = 4  # flows of each protocol
MESSAGES = 10  # a second on each of them
NEW = 40  # a second of each kind
PATIENCE = 5.0  # seconds an exchange may take, with what the protocol repeats; a busy machine takes a while
LOST = 2.0  # seconds after which a datagram that nobody repeats is lost
AGAIN = 1.0  # seconds after which a client repeats a datagram
AAAA_RECORD, TRUNCATED = 28, 0x02
TOO_BIG = 1472  # octets of payload that fill 1500 over IPv4
IP_RECVERR, IP_MTU_DISCOVER, PMTUDISC_PROBE = 11, 10, 3  # <linux/in.h>
FRAGMENTATION_NEEDED = bytes([3, 4])  # type and code, as struct sock_extended_err has them

Act = Callable[[], Awaitable[bool]]
Habit = tuple[str, Act, int]  # its name, what is done, how often in a second


class Datagrams(asyncio.DatagramProtocol):
    """What arrives at a UDP socket."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.came.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error alone ends nothing."""


class Quiet:
    """What a host does in which phase, and how it went."""

    def __init__(self) -> None:
        self.phase = "before"
        self.tally: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        self.under_way: set[asyncio.Task[None]] = set()
        self.serial = 0

    async def habits(self) -> list[Habit]:
        """What it does how often."""
        raise NotImplementedError

    async def live(self) -> None:
        tasks = [asyncio.create_task(self.keep_up(*habit)) for habit in await self.habits()]
        print("settled", flush=True)
        await self.listen()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*self.under_way)
        print(json.dumps(self.tally), flush=True)

    async def listen(self) -> None:
        """Until standard input ends: its lines are the phases."""
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            last, self.phase = self.phase, line.decode().strip()
            if last == "during":
                self.under_way.add(asyncio.create_task(self.wait_for(set(self.under_way))))

    async def wait_for(self, tasks: set[asyncio.Task[None]]) -> None:
        """Say when these have come to their end."""
        await asyncio.gather(*tasks)
        print("over", flush=True)

    async def keep_up(self, kind: str, act: Act, rate: int) -> None:
        """Begin something `rate` times a second, whether or not the last one has come to its end."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            task = asyncio.create_task(self.count(kind, act))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)
            due += 1 / rate
            await asyncio.sleep(due - loop.time())

    async def count(self, kind: str, act: Act) -> None:
        row = self.tally[self.phase][kind]
        row[0] += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(PATIENCE):
                succeeded = await act()
            row[1] += succeeded

    def number(self) -> bytes:
        """What no other message says."""
        self.serial += 1
        return f"{self.serial:010d}\n".encode()

    async def exchange(self, host: str, port: int, datagram: bytes) -> bytes:
        """The answer to a datagram from a socket of its own, repeated until it comes."""
        transport, datagrams = await udp_socket(host, port)
        try:
            while True:
                transport.sendto(datagram)
                with suppress(TimeoutError):
                    return await asyncio.wait_for(datagrams.came.get(), AGAIN)
        finally:
            transport.close()


class Asker(Quiet):
    """Asks the name server."""

    def __init__(self, resolver: str) -> None:
        super().__init__()
        self.resolver = resolver

    async def habits(self) -> list[Habit]:
        return [("dns", self.new_name, NEW)]

    async def new_name(self) -> bool:
        """A name nobody has asked for, by UDP and by TCP in turn; by TCP when the answer by UDP is cut."""
        serial = self.number()[:10]
        name = bytes([len(serial)]) + serial + b"\x07example\x00"
        query = os.urandom(2) + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + name + struct.pack("!2H", AAAA_RECORD, 1)
        answer = b""
        if int(serial) % 2:
            answer = await self.exchange(self.resolver, 53, query)
        if not answer or answer[2] & TRUNCATED:
            answer = await self.ask_by_tcp(query)
        code, answers = answer[3] & 15, int.from_bytes(answer[6:8])
        return answer[:2] == query[:2] and code == 0 and answers > 0

    async def ask_by_tcp(self, query: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self.resolver, 53)
        try:
            writer.write(len(query).to_bytes(2) + query)
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        finally:
            writer.close()


class Host(Asker):
    """Talks to a server, over flows it keeps and over new ones, and asks for names."""

    def __init__(self, server: str, port: str, resolver: str) -> None:
        super().__init__(resolver)
        self.server, self.port = server, int(port)
        self.hearing: list[asyncio.Task[None]] = []

    async def habits(self) -> list[Habit]:
        kept = [("kept " + kind, await flow(), MESSAGES) for kind, flow in self.flows() for _ in range(KEPT)]
        return [*await super().habits(), ("new tcp", self.new_tcp, NEW), ("new udp", self.new_udp, NEW), *kept]

    def flows(self) -> list[tuple[str, Callable[[], Awaitable[Act]]]]:
        return [("tcp", self.tcp_flow), ("udp", self.udp_flow)]

    async def tcp_flow(self) -> Act:
        """Open a connection: what sends a message on it and waits until it comes back."""
        reader, writer = await asyncio.open_connection(self.server, self.port)
        return self.talk(writer.write, reader.readline)

    async def udp_flow(self) -> Act:
        """Open a flow: what sends a message on it, once, and waits until it comes back."""
        transport, datagrams = await udp_socket(self.server, self.port)
        talk = self.talk(transport.sendto, datagrams.came.get)

        async def send() -> bool:
            return await asyncio.wait_for(talk(), LOST)

        await send()
        return send

    def talk(self, say: Callable[[bytes], None], listen: Callable[[], Awaitable[bytes]]) -> Act:
        heard: dict[bytes, asyncio.Event] = defaultdict(asyncio.Event)

        async def hear() -> None:
            with suppress(OSError):
                while line := await listen():
                    heard[line].set()

        async def send() -> bool:
            say(line := self.number())
            return await heard[line].wait()

        self.hearing.append(asyncio.create_task(hear()))
        return send

    async def new_tcp(self) -> bool:
        reader, writer = await asyncio.open_connection(self.server, self.port)
        try:
            writer.write(line := self.number())
            return await reader.readline() == line
        finally:
            writer.close()

    async def new_udp(self) -> bool:
        return await self.exchange(self.server, self.port, line := self.number()) == line


class Client(Host):
    """Talks to a service alone, over connections."""

    def __init__(self, server: str, port: str) -> None:
        super().__init__(server, port, "")

    async def habits(self) -> list[Habit]:
        kept = [("kept service", await self.tcp_flow(), MESSAGES) for _ in range(KEPT)]
        return [("new service", self.new_tcp, NEW), *kept]


class Sender(Quiet):
    """Sends datagrams with DF that are too big for IPv6 once they are translated, and wants to be told (RFC 7915 4)."""

    def __init__(self, address: str, port: str) -> None:
        super().__init__()
        self.to = address, int(port)

    async def habits(self) -> list[Habit]:
        return [("packet too big", self.new_big, NEW)]

    async def new_big(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
            client.connect(self.to)
            client.send(bytes(TOO_BIG))
            told = asyncio.Event()
            asyncio.get_running_loop().add_reader(client, told.set)
            try:
                await told.wait()
            finally:
                asyncio.get_running_loop().remove_reader(client)
            _, ancillary, _, _ = client.recvmsg(1, 512, socket.MSG_ERRQUEUE)
            return ancillary[0][2][5:7] == FRAGMENTATION_NEEDED


async def udp_socket(host: str, port: int) -> tuple[asyncio.DatagramTransport, Datagrams]:
    """A connected socket."""
    return await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, remote_addr=(host, port))


if __name__ == "__main__":
    kind = {"host": Host, "asker": Asker, "client": Client, "sender": Sender}[sys.argv[1]]
    asyncio.run(kind(*sys.argv[2:]).live())
