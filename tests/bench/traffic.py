"""Load and its measurement: UDP datagrams from sendmmsg counted at the receiving interface, TCP streams from iperf3.

A socket and an open /proc file stay in the namespace they were made in, so one process drives both ends.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nat64d.cli.lab import Namespace
from tests.sendmmsg import BATCH, Deck

ETHERNET, IPV6, IPV4, UDP = 14, 40, 20, 8  # octets of header
WARM_UP = 0.3  # seconds of load before counting begins
SETTLE = 0.2  # seconds for queues to empty before the sockets close, lest ICMP errors meet the next measurement
PORT = 5300

Address = IPv4Address | IPv6Address
Cpu = Callable[[], float]  # seconds of CPU a translator has used so far


class Sample(NamedTuple):
    """One measurement: packets/s or bits/s received, the share of the offered load, the translator's CPU."""

    rate: float
    arrived: float  # received / offered, 1.0 for TCP
    cpu: float  # seconds of CPU of the translator process per packet (UDP) or per octet (TCP); 0 for the kernel


class Counter:
    """Octets and frames received by one interface, read from the namespace this was made in."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._file = Path("/proc/thread-self/net/dev").open()  # noqa: SIM115  held open, it stays in this namespace

    def read(self) -> tuple[int, int]:
        """Octets and frames received since the interface was made; KeyError if it is gone."""
        self._file.seek(0)
        rows = dict(line.strip().split(":", 1) for line in self._file if ":" in line)
        octets, frames = rows[self.interface].split()[:2]
        return int(octets), int(frames)

    def close(self) -> None:
        """Let go of the namespace."""
        self._file.close()


def datagrams(octets: int, frames: int, header: int, payload: int) -> float:
    """Datagrams in so many frames, each of which may be a GSO super-frame: one header before several payloads."""
    return (octets - frames * header) / payload


class Generator:
    """Sends the same datagram over connected UDP sockets, BATCH a system call, one socket after the other; no GSO."""

    def __init__(self, sockets: Sequence[socket.socket], payload: int) -> None:
        self._descriptors = [s.fileno() for s in sockets]
        self._deck = Deck(np.zeros((BATCH, payload), np.uint8))

    def run(self, seconds: float) -> int:
        """Send for so long, as fast as it goes; returns how many the kernel took. OSError."""
        start = time.monotonic()
        sent = turn = 0
        while time.monotonic() - start < seconds:
            sent += self._deck.send(self._descriptors[turn % len(self._descriptors)])
            turn += 1
        return sent


class Pair(NamedTuple):
    """One UDP flow, both ends connected to what they see of the other through the translator."""

    client: socket.socket
    server: socket.socket


def open_pair(client: socket.socket, server: socket.socket, target: Address) -> Pair:
    """Connect two bound sockets through the translator: the first datagram opens the mapping, the server answers.

    TimeoutError when either does not arrive within three tries of one second.
    """
    client.connect((str(target), server.getsockname()[1]))
    for attempt in range(3):
        try:
            client.send(b"open")
            _, peer = server.recvfrom(64)
            server.connect(peer)
            server.send(b"opened")
            client.recv(64)
            client.setblocking(True)
            server.setblocking(True)
            return Pair(client, server)
        except (TimeoutError, ConnectionRefusedError):
            if attempt == 2:
                raise
            time.sleep(SETTLE)
    raise AssertionError("unreachable")


def udp_socket(family: socket.AddressFamily, port: int) -> socket.socket:
    """A UDP socket of the current namespace. Nobody need read it: what exceeds its small buffer is dropped cheaply."""
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(1.0)
    s.bind(("", port))
    return s


@contextmanager
def on_last_cpu() -> Iterator[None]:
    """This thread on one CPU, so that the generator's place does not change from round to round."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure_udp(generator: Generator, counter: Counter, header: int, payload: int, seconds: float, cpu: Cpu) -> Sample:
    """Flat out for `seconds`: datagrams/s at the receiving interface, counted while the load runs."""
    with on_last_cpu():
        generator.run(WARM_UP)
        start, used, before = time.monotonic(), cpu(), counter.read()
        offered = generator.run(seconds)
        after, used, elapsed = counter.read(), cpu() - used, time.monotonic() - start
    received = datagrams(after[0] - before[0], after[1] - before[1], header, payload)
    return Sample(received / elapsed, received / offered, used / max(received, 1))


def measure_tcp(client: Namespace, target: Address, streams: int, reverse: bool, seconds: float, cpu: Cpu) -> Sample:
    """Bits/s of payload received by iperf3. RuntimeError with its own sentence when it fails."""
    arguments = f"iperf3 -c {target} -t {seconds:g} -P {streams} -J {'-R' if reverse else ''}".split()
    used = cpu()
    done = client.run(*arguments, check=False, timeout=seconds + 20)
    used = cpu() - used
    report = json.loads(done.stdout or "{}")
    if "error" in report or "end" not in report:
        raise RuntimeError(f"iperf3 to {target}: {report.get('error') or done.stderr.strip()}")
    received = report["end"]["sum_received"]
    return Sample(received["bits_per_second"], 1.0, used / max(received["bytes"], 1))


def process_cpu(pid: int) -> float:
    """Seconds of CPU, user and system, that a process and its threads have used. proc(5), /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
