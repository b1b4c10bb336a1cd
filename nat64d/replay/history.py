"""Several captures as one history: the files of a rotating capture (`tcpdump -C`, `-G`), in their order."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from nat64d.replay.capture import SECOND, CaptureError, Packet, Reader

# LIMITS
OVERLAP = SECOND  # how much earlier than the end of the last file one may begin: queues do not agree to the microsecond


class History:
    """The packets of all files, in order, once; raises CaptureError. A time that goes back counts as the last one.

    A file that begins well before the one before it ends is in the wrong place, or another capture of the same time:
    the sessions it belongs to are not those of the packets before it.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._files = ExitStack()
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
        """Octets read so far."""
        return sum(reader.position() for reader in self._readers)

    def where(self, number: int) -> tuple[Path, int]:
        """The file the history's packet of that number is in, and its number there; the first is 1."""
        file = bisect_right(self._firsts, number) - 1
        return self._paths[file], number - self._firsts[file] + 1

    def label(self, number: int) -> str:
        """How a packet is called: `#7`, or as `nat64d explain` would have it, `FILE:7`, where there are several."""
        path, place = self.where(number)
        return f"#{place}" if len(self._paths) == 1 else f"{path}:{place}"

    def incomplete(self) -> Iterator[tuple[Path, int]]:
        """The files with packets whose end was not captured, and how many of them."""
        counts = ((path, reader.incomplete) for path, reader in zip(self._paths, self._readers, strict=True))
        return ((path, count) for path, count in counts if count)

    def __iter__(self) -> Iterator[Packet]:
        number, latest, before = 1, 0, ""
        for path, reader in zip(self._paths, self._readers, strict=True):
            self._firsts.append(number)
            packets = iter(reader)
            for time, octets in packets:
                if time < latest - OVERLAP:
                    raise CaptureError(
                        f"{path} begins {(latest - time) / SECOND:g} s before {before} ends: "
                        "expected the files of one capture, in their order"
                    )
                yield max(time, latest), octets
                if time >= latest:
                    break
            yield from packets
            number, latest, before = number + reader.count, max(latest, reader.latest), str(path)
