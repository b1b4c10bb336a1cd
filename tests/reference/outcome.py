"""What the oracle expects of one packet, and how a difference is shown.

A `Refusal` is one reason not to translate; a packet may have several, and the RFCs give no order among most of them, so
any of their verdicts will do. `permitted` marks what the RFCs leave open: such a packet may be translated or refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import unified_diff

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet as ScapyPacket
from scapy.packet import Raw

TRANSLATED = ("TRANSLATED", "HAIRPINNED")


@dataclass(frozen=True)
class Refusal:
    """Why a packet is dropped: the RFC section, the verdicts that may say so, and what the sender is told."""

    section: str
    verdicts: tuple[str, ...]
    answer: str | None = None  # a name of the meanings in `errors.py`
    permitted: bool = False
    must_answer: bool = False  # the RFC says SHOULD or MUST about the answer, not MAY
    detail: int = 0  # the pointer of a parameter problem, the MTU of "too big"
    silences: bool = False  # its sender is told nothing, whatever else there is against the packet


@dataclass
class Expected:
    """The expectation for one packet: `packets` unless something in `refusals` is binding."""

    refusals: list[Refusal] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    answers: dict[str, bytes] = field(default_factory=dict)  # meaning of the answer → the ICMP error, TTL 64
    due: list[bytes] = field(default_factory=list)  # packets of our own that the time brought out before this one
    hairpinned: bool = False
    of_service: bool = False
    complaints: list[str] = field(default_factory=list)  # free choices the implementation made against the rules

    @property
    def must_drop(self) -> bool:
        return any(not refusal.permitted for refusal in self.refusals)

    @property
    def may_drop(self) -> bool:
        return bool(self.refusals)

    @property
    def verdict_group(self) -> str:
        """translated, dropped or answered."""
        if not self.must_drop:
            return "translated"
        return "answered" if self.answer is not None else "dropped"

    @property
    def verdicts(self) -> set[str]:
        """The names of the verdicts that agree with the RFCs."""
        names = {name for refusal in self.refusals for name in refusal.verdicts}
        if not self.must_drop:
            names.add("HAIRPINNED" if self.hairpinned else "TRANSLATED")
        return names

    @property
    def answer(self) -> bytes | None:
        """The ICMP error that goes with the first binding refusal."""
        for refusal in self.refusals:
            if not refusal.permitted:
                return self.answers.get(refusal.answer or "")
        return None

    def objections(self, verdict: str, packets: Sequence[bytes], answer: bytes | None) -> list[str]:
        """In what the implementation's verdict, packets and answer differ from this; empty when they agree."""
        found = list(self.complaints)
        if verdict not in self.verdicts:
            found.append(f"verdict {verdict}, expected one of {sorted(self.verdicts)} {self._sections()}")
        if verdict in TRANSLATED:
            found += compare(self.packets, packets)
            if answer is not None:
                found.append("a translated packet was answered as well")
            return found
        if packets:
            found.append(f"{len(packets)} packets written for a dropped one")
        return found + self._answer_objections(verdict, answer)

    def _answer_objections(self, verdict: str, answer: bytes | None) -> list[str]:
        refusals = [refusal for refusal in self.refusals if verdict in refusal.verdicts]
        expected = [self.answers[refusal.answer] for refusal in refusals if refusal.answer in self.answers]
        if answer is None:
            demanded = [refusal for refusal in refusals if refusal.must_answer and refusal.answer in self.answers]
            return [f"no answer, RFC {refusal.section} asks for one" for refusal in demanded[:1]]
        if not refusals:
            return []  # already objected to
        if not expected:
            return [f"{verdict} was answered, but RFC {refusals[0].section} is silent here:\n{shown(answer)}"]
        if any(one == answer or (verdict != "ECHOED" and same_answer(one, answer)) for one in expected):
            return []
        return ["the answer differs:\n" + diff(expected[0], answer)]

    def _sections(self) -> str:
        return "".join(f"({refusal.section})" for refusal in self.refusals)


def compare(expected: Sequence[bytes], got: Sequence[bytes]) -> list[str]:
    """Packet by packet, octet by octet."""
    if len(expected) != len(got):
        return [f"{len(got)} packets, expected {len(expected)}"] + [shown(packet) for packet in got]
    return [diff(one, other) for one, other in zip(expected, got, strict=True) if one != other]


def same_answer(expected: bytes, got: bytes) -> bool:
    """Two ICMP errors say the same: all but what a router chooses freely, and the length of what ICMPv4 quotes."""
    if not got or got[0] >> 4 != expected[0] >> 4:
        return False
    if expected[0] >> 4 == 6:
        return neutral_ipv6(expected) == neutral_ipv6(got)
    least = min(56, len(expected))  # RFC 792: the header and 8 octets; RFC 1812 4.3.2.3: up to 576
    if got[0] != 0x45 or not least <= len(got) <= 576:
        return False
    quoted = got[28:]
    return neutral_ipv4(expected) == neutral_ipv4(got) and (expected[28:] == quoted or expected[28:].startswith(quoted))


def neutral_ipv6(packet: bytes) -> bytes:
    """Without traffic class, flow label and hop limit."""
    return b"\x60\0\0\0" + packet[4:7] + b"\0" + packet[8:]


def neutral_ipv4(packet: bytes) -> tuple[int, bytes, bytes]:
    """Protocol, addresses and the ICMP header without its checksum: what remains when lengths and the router's choices
    are left out.
    """
    return packet[9], packet[12:20], packet[20:22] + packet[24:28]


def diff(expected: bytes, got: bytes) -> str:
    """One line per differing field of scapy's `show2`, `-` expected, `+` got."""
    lines = unified_diff(shown(expected).splitlines(), shown(got).splitlines(), "expected", "got", lineterm="", n=1)
    return "\n".join(lines) or f"expected {expected.hex()}\ngot      {got.hex()}"


def shown(packet: bytes) -> str:
    """The packet as scapy reads it, checksums as they are in the octets."""
    return str(layers(packet).show(dump=True)) + f"octets: {packet.hex()}\n"


def one_line(packet: bytes) -> str:
    """For messages."""
    return str(layers(packet).summary())


def layers(packet: bytes) -> ScapyPacket:
    """scapy's view; of octets too few for an IP header, none."""
    if packet[:1] and packet[0] >> 4 == 6 and len(packet) >= 40:
        return IPv6(packet)
    return IP(packet) if len(packet) >= 20 else Raw(packet)
