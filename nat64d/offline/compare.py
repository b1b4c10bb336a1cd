"""Compare the result of a replay with a golden capture: missing packets, extra packets, and differing fields."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from difflib import unified_diff
from typing import NamedTuple

from nat64d.offline.capture import SECOND, Packet
from translator.verdict import Verdict

VERDICTS = {int(verdict): verdict for verdict in Verdict}
# LIMITS
WINDOW = 32  # how far a packet may be from its expected place
TOLD = 20  # differences reported in full


class Output(NamedTuple):
    """A packet that left the translator, and the number and verdict of the packet that caused it."""

    time: int
    octets: bytes
    number: int
    verdict: int  # key of VERDICTS


class Comparison:
    """Compares outputs with the golden packets, both in order; `tell` is called with the text of each difference.

    `label` makes a packet's number into the text that names it.
    """

    def __init__(
        self, golden: Iterable[Packet], tell: Callable[[str], None], label: Callable[[int], str] = "#{}".format
    ) -> None:
        self.differences = 0
        self._label = label
        self._tell = tell
        self._golden = iter(golden)
        self._expected: deque[Packet] = deque()
        self._got: deque[Output] = deque()
        self._number = 0  # of the golden packet before the first of _expected

    def add(self, output: Output) -> None:
        """Compare the next output."""
        self._got.append(output)
        if len(self._got) > WINDOW:
            self._compare_first()

    def finish(self) -> int:
        """Compare what is left, after the last output; returns the number of differences."""
        while self._got or self._look_ahead():
            self._compare_first()
        if self.differences > TOLD:
            self._tell(f"... and more: {self.differences - TOLD}")
        return self.differences

    def _look_ahead(self) -> bool:
        while len(self._expected) < WINDOW and (packet := next(self._golden, None)):
            self._expected.append(packet)
        return bool(self._expected)

    def _compare_first(self) -> None:
        """Take the first packet of one side or both; after a difference, the nearest equal pair comes next."""
        self._look_ahead()
        got, expected = self._got, self._expected
        if got and expected and _same(got[0], expected[0]):
            got.popleft()
            self._take()
            return
        missing = next((k for k, packet in enumerate(expected) if got and _same(got[0], packet)), WINDOW)
        extra = next((k for k, output in enumerate(got) if expected and _same(output, expected[0])), WINDOW)
        if not got or missing < extra:
            _, octets = self._take()
            self._differs(f"golden packet {self._number} is missing: {_summary(octets)}")
        elif not expected or extra < missing:
            output = got.popleft()
            self._differs(
                f"{self._cause(output)}: a packet that is not in the golden capture: {_summary(output.octets)}"
            )
        else:
            output, packet = got.popleft(), self._take()
            heading = f"{self._cause(output)}: differs from golden packet {self._number}"
            self._differs("\n".join([heading, *_difference(packet, output)]))

    def _cause(self, output: Output) -> str:
        return f"{self._label(output.number)} {VERDICTS[output.verdict].name.lower()}"

    def _take(self) -> Packet:
        self._number += 1
        return self._expected.popleft()

    def _differs(self, text: str) -> None:
        self.differences += 1
        if self.differences <= TOLD:
            self._tell(text)


def _same(output: Output, packet: Packet) -> bool:
    return output[:2] == packet


def _difference(packet: Packet, output: Output) -> Iterator[str]:
    time, octets = packet
    if time != output.time:
        yield f"-  time = {in_seconds(time)}"
        yield f"+  time = {in_seconds(output.time)}"
    if octets != output.octets:
        yield from differing_fields(octets, output.octets)


def differing_fields(expected: bytes, got: bytes) -> list[str]:
    """A line per differing field, `-` expected and `+` got; the octets if scapy shows no difference."""
    lines = list(unified_diff(fields(expected), fields(got), lineterm="", n=0))[2:]
    wrong = [f"{line[0]}  {line[1:]}" for line in lines if not line.startswith("@@")]
    return wrong or [f"-  {expected.hex()}", f"+  {got.hex()}"]


def in_seconds(time: int) -> str:
    """Nanoseconds as text in seconds, with all nine decimals."""
    return f"{time // SECOND}.{time % SECOND:09}"


def fields(octets: bytes) -> list[str]:
    """A packet as lines `layer field = value`, with the checksums that it contains."""
    found, layer = [], ""
    for line in str(_dissected(octets).show2(dump=True)).splitlines():
        text = line.strip(" |\\")
        if text.startswith("###["):
            layer = text.strip("#[] ")
        elif text:
            name, _, value = text.partition("=")
            found.append(f"{layer} {name.strip()} = {value.strip()}")
    return found


def _summary(octets: bytes) -> str:
    return str(_dissected(octets).summary())


def _dissected(octets: bytes):  # type: ignore[no-untyped-def]  # scapy's layers are made at run time
    from scapy.config import conf  # noqa: PLC0415  half a second, and only needed when something differs
    from scapy.layers.inet import IP, TCP, UDP  # noqa: PLC0415
    from scapy.layers.inet6 import IPv6  # noqa: PLC0415
    from scapy.packet import Raw  # noqa: PLC0415

    conf.noenum.add(TCP.sport, TCP.dport, UDP.sport, UDP.dport)  # a port's name depends on the host's /etc/services
    version = octets[0] >> 4 if octets else 0
    if len(octets) < {4: 20, 6: 40}.get(version, 1 << 16):
        return Raw(octets)
    return (IPv6 if version == 6 else IP)(octets)
