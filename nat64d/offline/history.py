"""Several captures as one: the files of a rotating capture (`tcpdump -C`, `-G`) in order."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from nat64d.offline.capture import SECOND, CaptureError, CutOffError, Packet, Reader

# LIMITS
OVERLAP = SECOND  # a file may begin this much before the end of the previous one: queues are not exactly in step


class OrderError(CaptureError):
    """The files are not in the order of their times."""


class History:
    """Iterates once over the packets of all files; raises CaptureError. A time that goes back is replaced by the last.

    A file that cannot be read to its end has all packets before that place; `broken` says where. After one that is cut
    off the next file follows, after any other fault nothing does.

    A file that begins more than OVERLAP before the end of the previous one is an error: it is in the wrong place, or
    another capture of the same time, and its packets do not belong to the sessions before it.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._files = ExitStack()
        self.broken: list[str] = []  # a sentence for each file that could not be read to its end
        self._firsts: list[int] = []  # number of the first packet of each file that was begun
        try:
            self._readers = [self._files.enter_context(Reader(path)) for path in paths]
        except CaptureError:
            self._files.close()
            raise
        self.size = sum(reader.size for reader in self._readers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def position(self) -> int:
        """How many octets of the files have been read."""
        return sum(reader.position() for reader in self._readers)

    def where(self, number: int) -> tuple[Path, int]:
        """The file of packet `number` and the packet's number in that file; both count from 1."""
        file = bisect_right(self._firsts, number) - 1
        return self._paths[file], number - self._firsts[file] + 1

    def label(self, number: int) -> str:
        """The name of a packet in messages: `#7`, or with several files `FILE:7`, as `nat64d explain` takes it."""
        path, place = self.where(number)
        return f"#{place}" if len(self._paths) == 1 else f"{path}:{place}"

    def incomplete(self) -> Iterator[tuple[Path, int]]:
        """The files with packets that were not captured whole, and how many such packets they have."""
        counts = ((path, reader.incomplete) for path, reader in zip(self._paths, self._readers, strict=True))
        return ((path, count) for path, count in counts if count)

    def __iter__(self) -> Iterator[Packet]:
        number, latest, before = 1, 0, ""
        for path, reader in zip(self._paths, self._readers, strict=True):
            self._firsts.append(number)
            packets = iter(reader)
            try:
                for time, octets in packets:
                    if time < latest - OVERLAP:
                        raise OrderError(
                            f"{path} begins {(latest - time) / SECOND:g} s before {before} ends: "
                            "expected the files of one capture, in their order"
                        )
                    yield max(time, latest), octets
                    if time >= latest:
                        break
                yield from packets
            except CaptureError as error:
                if isinstance(error, OrderError) or number + reader.count == 1:
                    raise
                self.broken.append(f"{error}; packets before that: {reader.count}")
                if not isinstance(error, CutOffError):
                    return
            number, latest, before = number + reader.count, max(latest, reader.latest), str(path)
