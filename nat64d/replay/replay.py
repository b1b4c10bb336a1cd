"""`nat64d replay`: a capture through the pipeline by its own clock, deterministic to the octet.

What became of the packets goes to standard output; what differs from the golden capture, and what else is to be said,
to standard error.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from nat64d.config import Config, ConfigError, load
from nat64d.control.text import Column, table
from nat64d.progress import compile_progress
from nat64d.replay.capture import CaptureError, Packet, Reader, Writer
from nat64d.replay.chunk import Chunk, new_result, translate_chunk
from nat64d.replay.compare import Comparison, Output, in_seconds
from nat64d.settings import settings_of, tables_of
from translator.pipeline import SLOT, new_worker
from translator.verdict import Direction, Verdict

log = logging.getLogger("nat64d")

SECRET = bytes(16)
START = (
    1000  # milliseconds on the translator's clock at the first packet: it has a second's worth of ICMP errors by then
)
SAME, DIFFERENT, UNUSABLE, INTERRUPTED = 0, 1, 2, 130  # exit codes
# LIMITS
CHUNK_PACKETS, CHUNK_OCTETS = 8192, 4 << 20
LARGE = 8 << 20  # octets of a capture that is worth a progress bar

PASSED = (Verdict.TRANSLATED, Verdict.HAIRPINNED)
_VERDICTS = {int(verdict): verdict for verdict in Verdict}
_DIRECTIONS = {int(direction): direction for direction in Direction}


class Ended(NamedTuple):
    """How one packet ended."""

    number: int  # the first is 1
    time: int  # nanoseconds since the epoch
    verdict: Verdict
    direction: Direction
    answered: bool  # the output is an ICMP error to the sender
    outputs: list[bytes]


class Replay:
    """A translator with tables of its own, and no secret: the same config and packets give the same octets."""

    def __init__(self, config: Config) -> None:
        self.settings = settings_of(config, SECRET)
        self.tables = tables_of(config, self.settings)
        self.worker = new_worker(0)
        self._slot = np.zeros(SLOT, np.uint8)
        with compile_progress(log):
            self._translate([], 0, 0)

    def run(self, packets: Iterable[Packet]) -> Iterator[list[Ended]]:
        """Translate packets, some thousands at a time."""
        number, first = 0, None
        for chunk in _chunks(packets):
            first = chunk[0].time if first is None else first
            yield self._translate(chunk, first, number)
            number += len(chunk)

    def totals(self) -> dict[Verdict, int]:
        """Packets so far, by verdict."""
        packets = self.worker.counters.sum(axis=0)
        return {verdict: int(packets[verdict]) for verdict in Verdict if packets[verdict]}

    def _translate(self, packets: list[Packet], first: int, number: int) -> list[Ended]:
        """`first`: the time of the capture's first packet; `number`: that of the last packet before these."""
        octets = bytearray().join(packet.octets for packet in packets)
        ends = np.cumsum([len(packet.octets) for packet in packets], dtype=np.int64)
        times = np.array([packet.time - first for packet in packets], np.int64) // 1_000_000 + START
        result = new_result(len(packets), len(octets))
        chunk = Chunk(np.frombuffer(octets or bytearray(1), np.uint8), ends, times)
        written = translate_chunk(self.settings, self.tables, self.worker, self._slot, chunk, result)
        edges = [0, *result.ends[:written].tolist()]
        octets_out = result.octets[: edges[-1]].tobytes()
        outputs = [octets_out[start:end] for start, end in pairwise(edges)]
        rows = zip(
            *(count(number + 1), packets, result.verdicts.tolist(), result.directions.tolist()),
            *(result.answered.tolist(), pairwise([0, *result.outputs.tolist()])),
            strict=False,
        )
        return [
            Ended(n, packet.time, _VERDICTS[verdict], _DIRECTIONS[direction], answered == 1, outputs[start:end])
            for n, packet, verdict, direction, answered, (start, end) in rows
        ]


def _chunks(packets: Iterable[Packet]) -> Iterator[list[Packet]]:
    """Some thousands of packets, or some megabytes, at a time."""
    chunk, octets = [], 0
    for packet in packets:
        chunk.append(packet)
        octets += len(packet.octets)
        if len(chunk) == CHUNK_PACKETS or octets >= CHUNK_OCTETS:
            yield chunk
            chunk, octets = [], 0
    if chunk:
        yield chunk


def main(input: Path, config: Path | None, output: Path | None, expect: Path | None, as_json: bool) -> int:
    """Replay `input`; 0, 1 if the outputs are not those of `expect`, 2 with a sentence if a file cannot be used."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return _replay(input, config, output, expect, as_json)
    except ConfigError as error:
        _say("\n".join(map(str, error.problems)))
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush, at exit
    except (CaptureError, OSError) as error:
        _say(f"nat64d: {error}")
    except KeyboardInterrupt:
        return INTERRUPTED
    return UNUSABLE


def _replay(input: Path, config: Path | None, output: Path | None, expect: Path | None, as_json: bool) -> int:
    effective = load(config)
    with ExitStack() as files:
        reader = files.enter_context(Reader(input))
        golden = files.enter_context(Reader(expect)) if expect else None
        if output and output.exists() and any(output.samefile(read) for read in (input, expect) if read):
            raise CaptureError(f"{output} is being read: write to another file")
        replay = Replay(effective)
        writer = files.enter_context(Writer(output)) if output else None
        comparison = Comparison(golden, _say) if golden else None
        with _progress(reader) as show:
            for chunk in replay.run(reader):
                sys.stdout.writelines(_lines(chunk, as_json))
                if writer or comparison:
                    _hand_on(chunk, writer, comparison)
                show()
        sys.stdout.writelines(_totals(replay, as_json))
        if reader.incomplete:
            _say(f"{reader.incomplete} packets were not captured whole (snap length): their ends are missing")
        if comparison is None:
            return SAME
        differences = comparison.finish()
        _say(f"{expect}: {differences} differences" if differences else f"{expect}: the same")
        return DIFFERENT if differences else SAME


def _hand_on(chunk: list[Ended], writer: Writer | None, comparison: Comparison | None) -> None:
    for ended in chunk:
        for octets in ended.outputs:
            if writer:
                writer.write(ended.time, octets)
            if comparison:
                comparison.add(Output(ended.time, octets, _told(ended)))


def _told(ended: Ended) -> str:
    return f"#{ended.number} {ended.verdict.name.lower()}"


def _lines(chunk: list[Ended], as_json: bool) -> Iterator[str]:
    """The packets that were dropped; as JSON, all of them."""
    for ended in chunk:
        if as_json:
            document = {
                "number": ended.number,
                "time": in_seconds(ended.time),
                "verdict": ended.verdict.name.lower(),
                "direction": ended.direction.label,
                "answered": ended.answered,
                "outputs": [octets.hex() for octets in ended.outputs],
            }
            yield json.dumps(document) + "\n"
        elif ended.verdict not in PASSED:
            yield _told(ended) + "\n"


TOTALS = (
    Column("VERDICT", lambda row: row["verdict"]),
    Column("PACKETS", lambda row: str(row["packets"]), number=True),
    Column("RFC", lambda row: row["rfc"]),
    Column("HELP", lambda row: row["help"]),
)


def _totals(replay: Replay, as_json: bool) -> Iterator[str]:
    """One line a verdict; as JSON, one object of them."""
    totals = replay.totals()
    if as_json:
        yield json.dumps({"totals": {verdict.name.lower(): packets for verdict, packets in totals.items()}}) + "\n"
        return
    rows = (
        {"verdict": verdict.name.lower(), "packets": packets, "rfc": verdict.section, "help": verdict.help}
        for verdict, packets in totals.items()
    )
    yield from (line + "\n" for line in table(TOTALS, rows))


@contextmanager
def _progress(reader: Reader) -> Iterator[Callable[[], None]]:
    """A bar on the terminal while a large capture is read; calling what is given moves it."""
    hidden = reader.size < LARGE or not sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=hidden, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("replaying", total=reader.size)
        yield lambda: bar.update(task, completed=reader.position())


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
