"""Numbered datagrams of many flows to a UDP echo server: `python numbered.py ADDRESS PORT FLOWS RATE BURST`; standard
library only.

So many a second of all flows together, each in its turn so many at once. A line on standard input asks for the counts
so far; at its end nothing is sent any more, and the counts are those when all is back, or nothing has come back for
PATIENCE seconds.
`late`: datagrams that came back after a later one of their flow; `longest`: seconds without any.
"""

import json
import select
import socket
import struct
import sys
import time

NUMBER = struct.Struct("!IH")  # as order.py reads it
PATIENCE = 5.0
TICK = 0.001
MOST = 50  # datagrams that are made up for, where this process had to wait for a processor


class Flows:
    """The sockets, and what is known of each."""

    def __init__(self, address: str, port: int, count: int, burst: int, first: int) -> None:
        self.sockets, self.burst, self.first = {}, burst, first
        self.poll = select.epoll()
        for _ in range(count):
            one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            one.connect((address, port))
            one.setblocking(False)
            self.sockets[one.fileno()] = one
            self.poll.register(one, select.EPOLLIN)
        self.turn = list(self.sockets)
        self.newest = dict.fromkeys(self.sockets, -1)
        self.sent = self.received = self.late = 0
        self.longest, self.last = 0.0, time.monotonic()

    def send(self) -> None:
        """The next datagram of the next flow."""
        one = self.sockets[self.turn[self.sent // self.burst % len(self.turn)]]
        octets = NUMBER.pack(self.first + self.sent, NUMBER.size)
        try:
            one.send(octets)
        except OSError:  # an ICMP error for one before
            one.send(octets)
        self.sent += 1

    def receive(self, timeout: float) -> bool:
        """What has come back; returns whether anything has."""
        ready = self.poll.poll(timeout)
        for fd, _ in ready:
            try:
                while octets := self.sockets[fd].recv(100):
                    number, _ = NUMBER.unpack(octets)
                    self.received += 1
                    self.late += number < self.newest[fd]
                    self.newest[fd] = max(number, self.newest[fd])
            except OSError:
                continue
        if ready:
            self.longest, self.last = max(self.longest, time.monotonic() - self.last), time.monotonic()
        return bool(ready)

    def tell(self) -> None:
        """The counts."""
        names = ("sent", "received", "late", "longest")
        print(json.dumps({name: getattr(self, name) for name in names}), flush=True)
        self.longest, self.last = 0.0, time.monotonic()


def main(address: str, port: str, count: str, rate: str, burst: str = "1", first: str = "0") -> None:
    flows, due, last = Flows(address, int(port), int(count), int(burst), int(first)), 0.0, time.monotonic()
    print("sending", flush=True)
    while True:
        now = time.monotonic()
        due, last = min(due + (now - last) * int(rate), MOST), now
        while due >= flows.burst:
            for _ in range(flows.burst):
                flows.send()
            due -= flows.burst
        flows.receive(TICK)
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                break
            flows.tell()
    end = time.monotonic() + PATIENCE
    while flows.received < flows.sent and time.monotonic() < end:
        if flows.receive(0.1):
            end = time.monotonic() + PATIENCE
    flows.tell()


if __name__ == "__main__":
    main(*sys.argv[1:])
