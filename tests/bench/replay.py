"""`nat64d replay` of a million packets: packets a second from an open file to the last line, the code loaded.

The capture is made first: UDP of 100,000 sessions that the packets of the hosts open, then both directions in turn, all
of 64 octets of payload, 10 microseconds apart. Half of it runs in Python (the file, the report), half is translation.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from nat64d.config.load import load
from nat64d.offline.capture import SECOND, Packet, Writer
from nat64d.offline.replay import Replay, main
from tests.bench.core import strangers, written
from tests.bench.decks import from_host4, from_host6
from translator.packet.fields import UDP
from translator.packet.virtio import VNET_HEADER

SESSIONS = 100_000
PACKETS = 1_000_000
GOAL = 200_000  # packets a second
BEGIN, PAUSE = 1_700_000_000 * SECOND, 10_000  # nanoseconds


def octets(config: Path, count: int) -> Iterator[bytes]:
    """The packets: those that open the sessions, then answers and queries in turn."""
    rows = strangers(min(SESSIONS, count), 1024)
    queries = [row[VNET_HEADER:].tobytes() for row in from_host6(rows, UDP).octets]
    replay = Replay(load(config))
    for _ in replay.run((BEGIN, query) for query in queries):
        pass
    opened = replay.gateway.tables.sessions[: len(rows)].view(np.ndarray)
    answers = [row[VNET_HEADER:].tobytes() for row in from_host4(opened, UDP).octets]
    yield from queries
    for number in range(count - len(queries)):
        yield (answers, queries)[number & 1][number % len(queries)]


def packets(config: Path, count: int) -> Iterator[Packet]:
    """The same with their times."""
    return ((BEGIN + number * PAUSE, packet) for number, packet in enumerate(octets(config, count)))


def timed(*arguments: Path | bool | None, files: list[Path]) -> tuple[float, float]:
    """Seconds of one replay by the clock, and of the processor; RuntimeError when it fails."""
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        begun, worked = time.perf_counter(), time.process_time()
        if main(files, *arguments) != 0:  # type: ignore[arg-type]
            raise RuntimeError(f"replay failed: {arguments}")
        return time.perf_counter() - begun, time.process_time() - worked


def bench(count: Annotated[int, typer.Option("--packets", help="How many packets to replay.")] = PACKETS) -> None:
    """Print the rates; 1 when the plain replay needs more of the processor than GOAL allows."""
    console = Console()
    with tempfile.TemporaryDirectory() as directory:
        config, capture, out = (Path(directory) / name for name in ("c.toml", "in.pcap", "out.pcap"))
        config.write_text(written(1 << 20), "utf-8")
        with Writer(capture) as writer:
            for at, packet in packets(config, count):
                writer.write(at, packet)
        console.print(f"{count:,} packets, {capture.stat().st_size / 1e6:.0f} MB")
        ways = {
            "replay": (config, None, None, False),
            "replay -o": (config, out, None, False),
            "replay --expect": (config, None, out, False),
            "replay --json": (config, None, None, True),
        }
        seconds = {name: timed(*arguments, files=[capture]) for name, arguments in ways.items()}
    for name, (clock, processor) in seconds.items():
        console.print(f"{name:16} {count / clock:>9,.0f} packets/s, {count / processor:>9,.0f} a second of CPU")
    sys.exit(count / seconds["replay"][1] < GOAL)


if __name__ == "__main__":
    typer.run(bench)
