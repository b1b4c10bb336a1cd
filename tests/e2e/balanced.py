"""Servers and clients of a service: `python balanced.py NAME ARGUMENT…`, standard library only."""

import asyncio
import json
import socket
import sys
import time
from collections import Counter

AT_ONCE = 64  # connections
PAUSE = 0.005  # seconds between two attempts


async def servers(port: str, *addresses: str) -> None:
    """HTTP at one port of several addresses: each says which one it is, and whom it sees; datagrams as well."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps([writer.get_extra_info("sockname")[0], writer.get_extra_info("peername")[0]]).encode()
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    loop = asyncio.get_running_loop()
    for address in addresses:
        await asyncio.start_server(answer, address, int(port), backlog=1024)
        await loop.create_datagram_endpoint(lambda name=address: Datagrams(name), (address, int(port)))  # type: ignore[misc]
    print("listening", flush=True)
    await asyncio.Event().wait()


class Datagrams(asyncio.DatagramProtocol):
    """Each datagram is answered with who got it, whom he sees, and as many octets as came."""

    def __init__(self, name: str) -> None:
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        told = json.dumps([self.name, addr[0]]).encode()
        self.transport.sendto(told.ljust(len(data)), addr)  # type: ignore[attr-defined]


async def connections(address: str, port: str, first: str, count: str, own: str = "") -> None:
    """So many connections, each from the next port of our own: how many each server had, and whom they saw. `own`: our
    address, if not any."""
    found: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    left = iter(range(int(first), int(first) + int(count)))
    own = own or ("::" if ":" in address else "0.0.0.0")

    async def some() -> None:
        for number in left:
            try:
                reader, writer = await asyncio.open_connection(address, int(port), local_addr=(own, number))
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                server, client = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
                writer.close()
                found[server] += 1
                seen[client] += 1
            except OSError as error:
                failed[type(error).__name__] += 1

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    print(json.dumps({"servers": found, "clients": seen, "failed": failed}))


async def datagram(address: str, port: str, own: str, size: str) -> None:
    """One datagram of so many octets from a port of our own: who answered, whom he saw, octets that came back."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("", int(own)))
        one.settimeout(10)
        one.connect((address, int(port)))
        one.send(b"?" * int(size))
        try:
            octets = one.recv(65535)
        except OSError as error:
            print(json.dumps({"failed": type(error).__name__}))
        else:
            server, client = json.loads(octets)
            print(json.dumps({"server": server, "client": client, "octets": len(octets)}))


async def held(address: str, port: str, own: str) -> None:
    """A connection that is open until a line comes: then it asks, and says who has answered."""
    reader, writer = await asyncio.open_connection(address, int(port), local_addr=("0.0.0.0", int(own)))
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = json.loads((await reader.read()).partition(b"\r\n\r\n")[2])
        print(json.dumps({"server": answer[0]}), flush=True)
    except OSError as error:
        print(json.dumps({"failed": type(error).__name__}), flush=True)


async def until_open(address: str, port: str) -> None:
    """Connect and ask, again and again, until there is an answer: how often it was refused, the seconds the slowest
    refusal took, and the moment, by the clock of this machine, at which there was one. The first refusal is told at
    once."""
    refused, slowest = 0, 0.0
    while True:
        began = time.monotonic()
        with socket.socket() as one:
            try:
                one.connect((address, int(port)))
                one.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert one.recv(100)
                break
            except ConnectionRefusedError:
                refused, slowest = refused + 1, max(slowest, time.monotonic() - began)
        if refused == 1:
            print("refused", flush=True)
        await asyncio.sleep(PAUSE)
    print(json.dumps({"refused": refused, "slowest": slowest, "open": time.monotonic()}), flush=True)


PROGRAMS = {program.__name__: program for program in (servers, connections, datagram, held, until_open)}

if __name__ == "__main__":
    asyncio.run(PROGRAMS[sys.argv[1]](*sys.argv[2:]))
