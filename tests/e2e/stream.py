"""A program: `stream.py ADDRESS PORT RATE` sends a numbered datagram to an echo server so many times a second until its
standard input ends, and prints how many came back."""

import json
import socket
import sys
import threading
import time
from contextlib import suppress

PATIENCE = 20.0  # seconds for the last ones
BURST = 50  # datagrams at once, where this process had to wait: more than that the queue of a socket need not hold


def main(address: str, port: str, rate: str) -> None:
    """Send, receive and count."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        client.connect((address, int(port)))
        client.settimeout(0.01)
        print("listening", flush=True)
        began, sent, received = time.monotonic(), 0, set()
        while not stop.is_set():
            began += max(0.0, time.monotonic() - began - (sent + BURST) / int(rate))
            while sent < (time.monotonic() - began) * int(rate):
                client.send(sent.to_bytes(4, "big"))
                sent += 1
            with suppress(TimeoutError):
                received.add(client.recv(64))
        last = time.monotonic() + PATIENCE
        while len(received) < sent and time.monotonic() < last:
            with suppress(TimeoutError):
                received.add(client.recv(64))
    print(json.dumps({"sent": sent, "received": len(received)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
