"""What runs at the ends of the network, and in the machine: `python programs.py NAME ARGUMENT…`; standard library."""

import asyncio
import ctypes
import json
import os
import select
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

SEIZE, INTERRUPT = 0x4206, 0x4207  # ptrace(2)
EVERY = 0.01
PATIENCE = 60.0  # seconds for every flow to have an answer


def talk(address: str, port: str) -> None:
    """One TCP connection to an echo server: each line of standard input goes there, and what comes back is printed."""
    with socket.create_connection((address, int(port))) as peer:
        file = peer.makefile("rw", encoding="utf-8")
        print("connected", flush=True)
        for line in sys.stdin:
            file.write(line)
            file.flush()
            print(file.readline().strip(), flush=True)


def gaps(address: str, port: str) -> None:
    """A datagram to an echo server every EVERY seconds, until standard input ends; then the longest time without an
    answer, in seconds, and how many were sent and came back."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.connect((address, int(port)))
        client.setblocking(False)
        sent = received = 0
        longest, last = 0.0, time.monotonic()
        print("sending", flush=True)
        while not select.select([sys.stdin], [], [], EVERY)[0]:
            try:
                client.send(sent.to_bytes(8, "big"))
                sent += 1
                while client.recv(100):
                    received += 1
                    moment = time.monotonic()
                    longest, last = max(longest, moment - last), moment
            except OSError:  # nothing there yet, or an ICMP error
                continue
        print(json.dumps({"longest": longest, "sent": sent, "received": received}), flush=True)


def flows(address: str, port: str, count: str) -> None:
    """A datagram from each of many ports."""
    for number in range(int(count)):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.bind(("", 20000 + number))
            client.sendto(b"one", (address, int(port)))
        if number % 20 == 0:
            time.sleep(EVERY)


def idle(address: str, count: str) -> None:
    """Many sessions, some thousand a second: a datagram from each of a hundred ports to each of many ports."""
    ports = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(100)]
    for number in range(int(count)):
        with suppress(OSError):  # an ICMP error for one before: nobody listens
            ports[number % 100].sendto(b"one", (address, 10000 + number // 100))
        if number % 50 == 0:
            time.sleep(EVERY)


class Flow(asyncio.DatagramProtocol):
    """A datagram every second to a server that answers with whom it came from; `seen` is whoever that was."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.answered = asyncio.Event()

    def datagram_received(self, data: bytes, _: object) -> None:
        self.seen.append(data)
        self.answered.set()


async def transfer(address: str, passed: list[int]) -> None:
    """Send lines to an echo server and look at what comes back, for ever; counts the octets."""
    reader, writer = await asyncio.open_connection(address, 7, limit=1 << 20)
    while True:
        line = os.urandom(8192).hex().encode() + b"\n"
        writer.write(line)
        if await reader.readline() != line:
            raise ConnectionError
        passed[0] += len(line)


async def busy(address: str, transfers: int, flows: int) -> dict[str, int]:
    """As `load`."""
    passed, loop = [0], asyncio.get_running_loop()
    tasks = [asyncio.ensure_future(transfer(address, passed)) for _ in range(transfers)]
    opened = [await loop.create_datagram_endpoint(Flow, remote_addr=(address, 3478)) for _ in range(flows)]

    async def send() -> None:
        while True:
            for transport, _ in opened:
                transport.sendto(b"who am I?")
                await asyncio.sleep(0 if transport is opened[0][0] else 0.9 / flows)

    sending = asyncio.ensure_future(send())
    for _, flow in opened:
        await flow.answered.wait()
    print("running", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    before = passed[0]
    for _, flow in opened:
        flow.answered.clear()
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*(flow.answered.wait() for _, flow in opened)), PATIENCE)
    sending.cancel()
    return {
        "broken": sum(task.done() for task in tasks),
        "octets": passed[0],
        "after": passed[0] - before,
        "moved": sum(len(set(flow.seen)) > 1 for _, flow in opened),
        "silent": sum(not flow.answered.is_set() for _, flow in opened),
    }


def load(address: str, transfers: str, flows: str) -> None:
    """So many TCP transfers and UDP flows until standard input ends; then how many transfers broke, octets of all, and
    of what came afterwards, flows that have another address, and those without an answer afterwards."""
    print(json.dumps(asyncio.run(busy(address, int(transfers), int(flows)))), flush=True)
    os._exit(0)


def freeze(pid: str, name: str) -> None:
    """Stop the one thread of a process that has this name, until standard input ends. A thread that is killed meanwhile
    is not gone before."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    tasks = Path(f"/proc/{pid}/task").iterdir()
    (task,) = (task.name for task in tasks if (task / "comm").read_text("ascii").strip() == name)
    for request in (SEIZE, INTERRUPT):
        if libc.ptrace(request, int(task), None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
    print("frozen", flush=True)
    sys.stdin.read()


PROGRAMS = {program.__name__: program for program in (talk, gaps, flows, idle, load, freeze)}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
