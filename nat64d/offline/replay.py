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
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from nat64d.compiling.beside import Part
from nat64d.compiling.progress import compile_progress
from nat64d.config.load import load_offline
from nat64d.config.models import Config
from nat64d.config.settings import tables_of
from nat64d.control.output import Column, table
from nat64d.exitcode import ExitCode
from nat64d.offline.capture import SECOND, CaptureError, Packet, Reader, Writer
from nat64d.offline.chunk import Chunk, Result, new_result, translate_chunk
from nat64d.offline.compare import VERDICTS, Comparison, Output
from nat64d.offline.engine import START, just_started
from nat64d.offline.history import History
from translator.tables.gateway import SLOT, Gateway, new_worker
from translator.verdict import Direction, Verdict

log = logging.getLogger("nat64d")

SECRET = bytes(16)
# LIMITS
CHUNK_PACKETS, CHUNK_OCTETS = 8192, 4 << 20
LARGE = 8 << 20  # octets of a capture that is worth a progress bar

PASSED = (Verdict.TRANSLATED, Verdict.HAIRPINNED, Verdict.ECHOED)


class Ended(NamedTuple):
    """How one packet ended."""

    number: int  # in the whole history; the first is 1
    time: int  # nanoseconds since the epoch
    verdict: Verdict
    direction: Direction
    answered: bool  # the output is an ICMP error to the sender
    outputs: list[bytes]
    due: list[bytes]  # packets of the translator's own that left before


class Ends:
    """How some packets ended; what most replays want to know is told without a look at each of them."""

    def __init__(self, first: int, times: np.ndarray, result: Result, written: int) -> None:
        """`first`: number of the first packet; `times`: int64[packets]; `written`: how many outputs there are."""
        self._first, self._times, self._result = first, times, result
        edges = [0, *result.ends[:written].tolist()]
        octets = result.octets[: edges[-1]].tobytes()
        self._outputs = [octets[start:end] for start, end in pairwise(edges)]

    def __iter__(self) -> Iterator[Ended]:
        """How each packet ended, in order."""
        columns = (self._times, *self._result[:4])
        rows = zip(*(column.tolist() for column in columns), pairwise([0, *self._result.outputs.tolist()]), strict=True)
        for number, (time, verdict, direction, answered, own, (start, end)) in enumerate(rows, self._first):
            due, outputs = self._outputs[start:own], self._outputs[own:end]
            yield Ended(number, time, VERDICTS[verdict], Direction(direction), bool(answered), outputs, due)

    def dropped(self) -> Iterator[tuple[int, Verdict]]:
        """Number and verdict of each packet that was not translated."""
        places = np.flatnonzero(~np.isin(self._result.verdicts, PASSED))
        for at, verdict in zip(places.tolist(), self._result.verdicts[places].tolist(), strict=True):
            yield self._first + at, VERDICTS[verdict]

    def outputs(self) -> Iterator[Output]:
        """Each packet that left."""
        causes = np.repeat(np.arange(len(self._times)), np.diff(self._result.outputs, prepend=0))
        times, verdicts = self._times[causes], self._result.verdicts[causes]
        return map(Output, times.tolist(), self._outputs, (causes + self._first).tolist(), verdicts.tolist())


class Replay:
    """A translator with tables of its own, and no secret: the same config and packets give the same octets."""

    def __init__(self, config: Config) -> None:
        settings = just_started(config, SECRET)
        self.gateway = Gateway(settings, tables_of(config, settings), new_worker(0))
        self._slot = np.zeros(SLOT, np.uint8)
        self._begin = 0  # time of the first packet
        self._number = 1  # of the next packet
        with compile_progress(log, Part.OFFLINE):
            self._translate([])

    def run(self, packets: Iterable[Packet]) -> Iterator[Ends]:
        """Translate packets, some thousands at a time."""
        for chunk in _chunks(packets):
            if self._number == 1:
                self._begin = chunk[0][0]
            yield self._translate(chunk)
            self._number += len(chunk)

    def totals(self) -> dict[Verdict, int]:
        """Packets so far, by verdict."""
        packets = self.gateway.worker.counters.sum(axis=0)
        return {verdict: int(packets[verdict]) for verdict in Verdict if packets[verdict]}

    def _translate(self, packets: list[Packet]) -> Ends:
        octets = bytearray().join([octets for _, octets in packets])
        ends = np.cumsum([len(octets) for _, octets in packets], dtype=np.int64)
        times = np.array([time for time, _ in packets], np.int64)
        chunk = Chunk(np.frombuffer(octets or bytearray(1), np.uint8), ends, (times - self._begin) // 1_000_000 + START)
        result = new_result(len(packets), len(octets), self.gateway.tables)
        written = translate_chunk(self.gateway, self._slot, chunk, result)
        return Ends(self._number, times, result, written)


def _chunks(packets: Iterable[Packet]) -> Iterator[list[Packet]]:
    """Some thousands of packets, or some megabytes, at a time."""
    chunk, octets = [], 0
    for packet in packets:
        chunk.append(packet)
        octets += len(packet[1])
        if len(chunk) == CHUNK_PACKETS or octets >= CHUNK_OCTETS:
            yield chunk
            chunk, octets = [], 0
    if chunk:
        yield chunk


def main(inputs: list[Path], config: Path | None, output: Path | None, expect: Path | None, as_json: bool) -> ExitCode:
    """Replay `inputs` as one history: WRONG if the outputs are not those of `expect`, or a capture is not read to
    its end; USAGE with a sentence on standard error if it cannot be used at all. Raises ConfigError.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return _replay(inputs, config, output, expect, as_json)
    except CaptureError as error:
        _say(f"nat64d: {error}")
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush, at exit
        return ExitCode.GOOD
    except OSError as error:
        _say(f"nat64d: a capture could not be read or written to its end: {error.strerror}")
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.USAGE


def _replay(
    inputs: list[Path], config: Path | None, output: Path | None, expect: Path | None, as_json: bool
) -> ExitCode:
    effective = load_offline(config)
    with ExitStack() as files:
        history = files.enter_context(History(inputs))
        golden = files.enter_context(Reader(expect)) if expect else None
        if output and output.exists() and any(output.samefile(read) for read in (*inputs, expect) if read):
            raise CaptureError(f"{output} is being read: write to another file")
        replay = Replay(effective)
        writer = files.enter_context(Writer(output)) if output else None
        comparison = Comparison(golden, _say, history.label) if golden else None
        with _progress(history) as show:
            for ends in replay.run(history):
                sys.stdout.writelines(_as_json(history, ends) if as_json else _as_lines(history, ends))
                for sent in ends.outputs() if writer or comparison else ():
                    if writer:
                        writer.write(sent.time, sent.octets)
                    if comparison:
                        comparison.add(sent)
                show()
        sys.stdout.writelines(_totals(replay, as_json))
        for path, packets in history.incomplete():
            _say(f"{path}: packets not captured whole (snap length), which lack their end: {packets}")
        for sentence in history.broken:
            _say(f"nat64d: {sentence}")
        differences = 0
        if comparison:
            differences = comparison.finish()
            _say(f"{expect}: {f'differences: {differences}' if differences else 'the same'}")
        return ExitCode.WRONG if differences or history.broken else ExitCode.GOOD


def _as_lines(history: History, ends: Ends) -> Iterator[str]:
    """A line for each packet that was not translated."""
    return (f"{history.label(number)} {verdict.name.lower()}\n" for number, verdict in ends.dropped())


def _as_json(history: History, ends: Ends) -> Iterator[str]:
    """An object for each packet."""
    for ended in ends:
        path, number = history.where(ended.number)
        document = {
            "file": str(path),
            "number": number,
            "time": ended.time / SECOND,
            "verdict": ended.verdict.name.lower(),
            "direction": ended.direction.label,
            "answered": ended.answered,
            "due": [octets.hex() for octets in ended.due],
            "outputs": [octets.hex() for octets in ended.outputs],
        }
        yield json.dumps(document) + "\n"


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
def _progress(history: History) -> Iterator[Callable[[], None]]:
    """A bar on the terminal while a large capture is read; calling what is given moves it."""
    hidden = history.size < LARGE or not sys.stderr.isatty()
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=hidden, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("replaying", total=history.size)
        yield lambda: bar.update(task, completed=history.position())


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
