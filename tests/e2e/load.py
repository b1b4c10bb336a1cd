"""Servers and clients of a service under load: `python load.py NAME ARGUMENT…`, standard library only."""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict

PAUSE = 0.5  # seconds between two lines on a connection that stays
PATIENCE = 10.0  # seconds for an answer


async def servers(port: str, *addresses: str) -> None:
    """Each line is answered with the address it was sent to."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = f"{writer.get_extra_info('sockname')[0]}\n".encode()
        try:
            while await reader.readline():
                writer.write(name)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    for address in addresses:
        await asyncio.start_server(answer, address, int(port), backlog=1024)
    print("listening", flush=True)
    await asyncio.Event().wait()


class Client:
    """New connections at a steady rate, each with one request, beside some that stay and ask again and again."""

    def __init__(self, address: str, port: str, rate: str, first: str) -> None:
        self.place, self.rate, self.ports = (address, int(port)), int(rate), int(first)
        self.phase = "before"
        self.new: dict[str, Counter[str]] = defaultdict(Counter)
        self.failed: list[str] = []
        self.slowest: dict[str, float] = defaultdict(float)  # seconds until the answer of a new connection, by phase
        self.kept: dict[int, list[str]] = {}  # by number: which servers answered, in order
        self.lost: dict[int, str] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.staying: list[asyncio.Task[None]] = []
        self.settled = asyncio.Event()

    async def run(self, held: int) -> None:
        """Until standard input ends; a line begins a phase of that name."""
        self.staying = [asyncio.create_task(self.stay(number)) for number in range(held)]
        if held:
            await self.settled.wait()
        print("settled", flush=True)
        lines = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        making = asyncio.create_task(self.make())
        while line := await lines.readline():
            self.phase = line.decode().strip()
            print(json.dumps(self.told()), flush=True)
        making.cancel()
        await asyncio.gather(*self.tasks)
        for task in self.staying:
            task.cancel()
        print(json.dumps(self.told()), flush=True)

    def told(self) -> dict[str, object]:
        """What there is to say so far."""
        moved = [number for number, names in self.kept.items() if len(set(names)) > 1]
        homes = {number: names[0] for number, names in self.kept.items()}
        found = {"new": self.new, "failed": self.failed, "slowest": self.slowest}
        return {**found, "moved": moved, "lost": self.lost, "homes": homes}

    async def make(self) -> None:
        due = time.monotonic()
        while True:
            self.ports += 1
            task = asyncio.create_task(self.one(self.ports, self.phase))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            due += 1 / self.rate
            await asyncio.sleep(due - time.monotonic())

    async def one(self, port: int, phase: str) -> None:
        """A connection with one request."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await asyncio.open_connection(*self.place, local_addr=("0.0.0.0", port))
                writer.write(b"?\n")
                name = (await reader.readline()).decode().strip()
                writer.close()
        except OSError as error:
            self.failed.append(f"{phase}: {type(error).__name__}")
        else:
            if name:
                self.new[phase][name] += 1
                self.slowest[phase] = max(self.slowest[phase], time.monotonic() - begun)
            else:
                self.failed.append(f"{phase}: no answer")

    async def stay(self, number: int) -> None:
        """A connection with a request now and then."""
        try:
            reader, writer = await asyncio.open_connection(*self.place)
            while True:
                writer.write(b"?\n")
                async with asyncio.timeout(PATIENCE):
                    name = (await reader.readline()).decode().strip()
                if not name:
                    self.lost[number] = "ended"
                    return
                self.kept.setdefault(number, []).append(name)
                if len(self.kept) == len(self.staying):
                    self.settled.set()
                await asyncio.sleep(PAUSE)
        except OSError as error:
            self.lost[number] = type(error).__name__


async def client(address: str, port: str, rate: str, first: str, held: str) -> None:
    await Client(address, port, rate, first).run(int(held))


PROGRAMS = {program.__name__: program for program in (servers, client)}

if __name__ == "__main__":
    asyncio.run(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
