"""Octets to a TCP echo server and back, on one connection, until standard input ends; prints what came of it.

python transfer.py HOST PORT

A line on standard input asks for the counts so far.
"""

import asyncio
import hashlib
import json
import os
import sys
import time

BLOCK = 16384  # octets
EVERY = 0.005  # seconds from one to the next
LATE = 0.5  # seconds that are made up for, where this process had to wait for a processor


async def main(host: str, port: str) -> None:
    """Connect, say so, and send until told to end: counts, and whether what came back is what was sent."""
    reader, writer = await asyncio.open_connection(host, int(port))
    print("listening", flush=True)
    sent, received = hashlib.sha256(), hashlib.sha256()
    counts = {"sent": 0, "received": 0}

    async def receive() -> None:
        while octets := await reader.read(1 << 20):
            received.update(octets)
            counts["received"] += len(octets)

    async def send() -> None:
        due = time.monotonic()
        while not ended.done():
            block = os.urandom(BLOCK)
            sent.update(block)
            counts["sent"] += len(block)
            writer.write(block)
            await writer.drain()
            due = max(due + EVERY, time.monotonic() - LATE)
            await asyncio.sleep(due - time.monotonic())
        writer.write_eof()

    def answer() -> None:
        for _ in sys.stdin:
            print(json.dumps(counts), flush=True)

    ended = asyncio.get_running_loop().run_in_executor(None, answer)
    failures = [error for error in await asyncio.gather(send(), receive(), return_exceptions=True) if error]
    print(json.dumps({**counts, "same": sent.digest() == received.digest(), "failures": list(map(str, failures))}))


asyncio.run(main(*sys.argv[1:]))
