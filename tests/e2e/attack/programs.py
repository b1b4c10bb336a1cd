"""More programs at the ends: `python -m tests.e2e.attack.programs NAME ARGUMENT…`, standard library only."""

import json
import resource
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle

PAUSE = 0.02  # seconds between two looks at what is still open
SMALL = 4096  # octets of a receive buffer that nobody reads


def hold(host: str, port: str, count: str, greeting: str, *sources: str) -> None:
    """Hold connections, from some addresses in turn, that say no more than a greeting, and open lost ones again.

    A line [SECONDS, RATE] on standard input: hold `count` for so long, opening at most so many a second; prints how
    many were opened in how many seconds.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    from_ = cycle(sources or ("",))
    print("ready", flush=True)
    with selectors.DefaultSelector() as held:
        for line in sys.stdin:
            seconds, rate = json.loads(line)
            start, opened = time.monotonic(), 0
            while (now := time.monotonic() - start) < seconds:
                while len(held.get_map()) < int(count) and opened < now * rate + 1:
                    held.register(dial(host, int(port), next(from_)), selectors.EVENT_WRITE, greeting.encode())
                    opened += 1
                drop_lost(held)
                time.sleep(PAUSE)
            print(json.dumps({"sent": opened, "seconds": time.monotonic() - start}), flush=True)


def dial(host: str, port: int, source: str) -> socket.socket:
    """A connection on its way."""
    client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    client.setblocking(False)
    if source:
        client.bind((source, 0))
    client.connect_ex((host, port))
    return client


def drop_lost(held: selectors.BaseSelector) -> None:
    """Greet on what is open now, and let go of what the other side has closed."""
    for key, events in held.select(0):
        client = key.fileobj
        assert isinstance(client, socket.socket)
        lost = True
        with suppress(OSError):
            if events & selectors.EVENT_WRITE:
                client.send(key.data)
                held.modify(client, selectors.EVENT_READ)
                lost = False
            else:
                lost = not client.recv(SMALL)
        if lost:
            held.unregister(client)
            client.close()


def mapped_udp(server: str, port: str, count: str, use: str) -> None:
    """Open UDP sockets and print how a "whoami" server sees them, as [[ADDRESS, PORT], …]; then "echo" on them what
    comes, or "ignore" it."""
    sockets = list(opened_udp(server, int(port), int(count)))
    print(json.dumps([seen for _, seen in sockets]), flush=True)
    with selectors.DefaultSelector() as ready:
        for opened, _ in sockets:
            if use == "echo":
                ready.register(opened, selectors.EVENT_READ, opened)
        while True:
            for key, _ in ready.select():
                key.data.sendto(*key.data.recvfrom(65535))


def opened_udp(server: str, port: int, count: int) -> Iterator[tuple[socket.socket, list[str | int]]]:
    """Sockets that are open to everybody, and how the server sees them."""
    for _ in range(count):
        opened = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        opened.settimeout(20)
        opened.sendto(b"who am I?", (server, port))
        yield opened, json.loads(opened.recv(SMALL))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
