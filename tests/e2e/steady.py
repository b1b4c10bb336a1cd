"""Datagrams at a steady rate: `python -m tests.e2e.steady ADDRESS FIRST_PORT PORTS FLOWS`.

Says "ready" once each flow, of so many to each port, has a socket. A line [SECONDS, RATE] on standard input makes it
send them for so long, and print how many it sent in how many seconds. What it could not send in time it leaves out: a
machine that was busy elsewhere gets no burst afterwards.
"""

import json
import socket
import sys
import time

import numpy as np

from tests.sendmmsg import BATCH, Deck

PAYLOAD = 32
TICK = 0.001  # seconds between two looks at the clock
LATE = 0.005  # seconds of datagrams that are made up for at most


def main(address: str, first: str, ports: str, flows: str) -> None:
    sockets = []
    for number in range(int(ports) * int(flows)):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        one.connect((address, int(first) + number % int(ports)))
        sockets.append(one)
    print("ready", flush=True)
    for line in sys.stdin:
        seconds, rate = json.loads(line)
        began = time.monotonic()
        sent = steadily([one.fileno() for one in sockets], seconds, rate)
        print(json.dumps({"sent": sent, "seconds": time.monotonic() - began}), flush=True)


def steadily(descriptors: list[int], seconds: float, rate: int) -> int:
    """Send, each flow in its turn; returns how many the kernel took."""
    deck = Deck(np.zeros((BATCH, PAYLOAD), np.uint8))
    few = max(1, min(BATCH // 4, rate // 5000))  # of a flow in its turn
    began = last = time.monotonic()
    sent = turn = 0
    due = 0.0
    while (now := time.monotonic()) - began < seconds:
        due = min(due + (now - last) * rate, LATE * rate)
        last = now
        while due >= few:
            deck.next = 0
            sent += deck.send(descriptors[turn % len(descriptors)], few)
            due, turn = due - few, turn + 1
        time.sleep(TICK)
    return sent


if __name__ == "__main__":
    main(*sys.argv[1:])
