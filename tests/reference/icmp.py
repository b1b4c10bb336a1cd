"""ICMP errors: the type, code, pointer and MTU maps of RFC 7915 4.2 and 5.2, the quoted packet (4.3, 5.3), and RFC
4884.
"""

from dataclasses import dataclass

from tests.reference.headers import Path
from tests.reference.reading import Packet, UnreadableError

ERRORS4, ERRORS6 = (3, 4, 5, 11, 12), tuple(range(128))  # RFC 1122 3.2.2; RFC 4443 2.1: the high bit is clear

# RFC 7915 4.2: Destination Unreachable (3), code → (ICMPv6 type, code); codes not listed are silently dropped.
UNREACHABLE_4TO6 = {
    0: (1, 0), 1: (1, 0), 2: (4, 1), 3: (1, 4), 4: (2, 0), 5: (1, 0), 6: (1, 0), 7: (1, 0), 8: (1, 0),
    9: (1, 1), 10: (1, 1), 11: (1, 0), 12: (1, 0), 13: (1, 1), 15: (1, 1),
}  # fmt: skip
# RFC 7915 figure 3; pointers not listed are silently dropped.
POINTER_4TO6 = {0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6} | dict.fromkeys(range(12, 16), 8) | dict.fromkeys(range(16, 20), 24)

# RFC 7915 5.2: Destination Unreachable (1), code → ICMPv4 code of type 3.
UNREACHABLE_6TO4 = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}
# RFC 7915 figure 6.
POINTER_6TO4 = {0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8} | dict.fromkeys(range(8, 24), 12) | dict.fromkeys(range(24, 40), 16)

IPV6_NEXT_HEADER = 6  # offset, for "protocol unreachable"
SIZE_LIMIT = {4: 576 - 20, 6: 1280 - 40}  # of the ICMP message: RFC 1812 4.3.2.3; RFC 4443 2.4 (c)
UNLIMITED = 1 << 20  # of one that comes back to IPv6
EXTENSIBLE = {4: (3, 11, 12), 6: (1, 3)}  # RFC 4884 4.6
WORD = {4: 4, 6: 8}  # RFC 4884 4: unit of the length attribute, in octets
LENGTH_AT = {4: 1, 6: 0}  # RFC 4884 4: its octet in the second word
LEAST_DATAGRAM = 128  # RFC 4884 4


@dataclass(frozen=True)
class Message:
    """An ICMP error: type, code, second word, what it quotes, and the RFC 4884 extension behind that."""

    type: int
    code: int
    second_word: bytes
    quoted: bytes
    extension: bytes = b""


def is_error(packet: Packet) -> bool:
    kind = packet.payload[0] if packet.payload else -1
    return kind in (ERRORS4 if packet.family == 4 else ERRORS6)


def read_message(packet: Packet, extensions: bool) -> Message:
    """Take an ICMP error apart. RFC 4884: a length attribute that no message can have is none."""
    octets = packet.payload
    if len(octets) < 8:
        raise UnreadableError("shorter than an ICMP header")
    kind, second, rest = octets[0], octets[4:8], octets[8:]
    length = second[LENGTH_AT[packet.family]] * WORD[packet.family]
    if extensions and kind in EXTENSIBLE[packet.family] and LEAST_DATAGRAM <= length < len(rest):
        return Message(kind, octets[1], second, rest[:length], rest[length:])
    return Message(kind, octets[1], second, rest)


def map_4to6(message: Message, quoted: Packet, path: Path, plateaus: list[int]) -> Message | None:
    """RFC 7915 4.2: type, code and second word; None: silently dropped."""
    if message.type == 3 and message.code in UNREACHABLE_4TO6:
        kind, code = UNREACHABLE_4TO6[message.code]
        word = bytes(4)
        if kind == 4:
            word = IPV6_NEXT_HEADER.to_bytes(4)
        elif kind == 2:
            total = int.from_bytes(quoted.raw[2:4])
            word = packet_too_big_mtu(int.from_bytes(message.second_word[2:]), total, path, plateaus).to_bytes(4)
        return Message(kind, code, word, b"")
    if message.type == 11:
        return Message(3, message.code, bytes(4), b"")
    if message.type == 12 and message.code in (0, 2):
        pointer = POINTER_4TO6.get(message.second_word[0])
        return None if pointer is None else Message(4, 0, pointer.to_bytes(4), b"")
    return None


def packet_too_big_mtu(mtu: int, total_length: int, path: Path, plateaus: list[int]) -> int:
    """RFC 7915 4.2, code 4. A router before RFC 1191 tells 0: the greatest plateau below the quoted total length and at
    least 1280.
    """
    if mtu == 0:
        mtu = max((plateau for plateau in plateaus if 1280 <= plateau < total_length), default=0)
    return max(1280, min(mtu + 20, path.mtu6, path.mtu4 + 20))


def fragmentation_needed_mtu(mtu: int, quoted: Packet, path: Path, plateaus: list[int]) -> int:
    """RFC 7915 5.2, type 2, "taking into account whether or not the packet in error includes a Fragment Header".

    An MTU of 0 says as little as that of a router before RFC 1191: the greatest plateau below the length that the
    quoted packet had in IPv4. Nobody's MTU is below 68 (RFC 791, RFC 1191 3).
    """
    if mtu == 0:
        mtu = max((plateau for plateau in plateaus if plateau < quoted.declared + 20), default=0) + 20
    elif quoted.has_fragment_header:
        mtu -= 8
    return max(68, min(mtu - 20, path.mtu4, path.mtu6 - 20, 65535))


def map_6to4(message: Message, quoted: Packet, path: Path, plateaus: list[int]) -> Message | None:
    """RFC 7915 5.2: type, code and second word; None: silently dropped."""
    number = int.from_bytes(message.second_word)
    if message.type == 1 and message.code in UNREACHABLE_6TO4:
        return Message(3, UNREACHABLE_6TO4[message.code], bytes(4), b"")
    if message.type == 2:
        mtu = fragmentation_needed_mtu(number, quoted, path, plateaus)
        return Message(3, 4, b"\0\0" + mtu.to_bytes(2), b"")
    if message.type == 3:
        return Message(11, message.code, bytes(4), b"")
    if message.type == 4 and message.code == 0:
        pointer = POINTER_6TO4.get(number)
        return None if pointer is None else Message(12, 0, bytes([pointer, 0, 0, 0]), b"")
    if message.type == 4 and message.code == 1:
        return Message(3, 2, bytes(4), b"")
    return None


def assemble(family: int, message: Message, quoted: bytes, extension: bytes, limit: int) -> bytes:
    """The ICMP error of `family` with a zero checksum, of `limit` octets at most.

    RFC 4884 4: the datagram is padded with zeros to 128 octets and to the word, its length told. RFC 7915 4.2: the
    extension goes along as it is where the new type can carry one; where the message would become too long the datagram
    gives way, down to 128 octets; then the extension, whole (a part of it says nothing that its checksum allows).
    """
    word = bytearray(message.second_word)
    room = limit - 8 - len(extension)
    room -= room % WORD[family]
    if extension and message.type in EXTENSIBLE[family] and room >= LEAST_DATAGRAM:
        quoted = quoted[:room].ljust(LEAST_DATAGRAM, b"\0")
        quoted += bytes(-len(quoted) % WORD[family])
        word[LENGTH_AT[family]] = len(quoted) // WORD[family]
        quoted += extension
    octets = bytes([message.type, message.code, 0, 0]) + bytes(word) + quoted
    return octets[:limit]
