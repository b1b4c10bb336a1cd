"""A packet as a person writes it: a line of text, octets in hexadecimal, or the number of one in a capture.

    SOURCE > DESTINATION udp PORT PORT [OPTION]...
    SOURCE > DESTINATION tcp PORT PORT [OPTION]...
    SOURCE > DESTINATION icmp echo|reply IDENTIFIER [OPTION]...
    SOURCE > DESTINATION proto NUMBER [OPTION]...

Options: `hlim N` or `ttl N` (64), `len N` octets of data (0), `tc N` (0), `flags SA` of TCP (S), `id N` (1), `df`, and
`frag N` for a fragment from octet N on, `frag N+` when more follow it. A fragment from elsewhere than 0 has no
transport header: its data is all it carries.
"""

import re
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from nat64d.offline.capture import CaptureError, Packet, Reader

Address = IPv4Address | IPv6Address
FORMS = "'SOURCE > DESTINATION udp PORT PORT', octets in hexadecimal, or FILE.pcap:NUMBER"
TCP_FLAGS = "FSRPAUEC"  # by their bits, the lowest first
ICMP, TCP, UDP, FRAGMENT, ICMPV6 = 1, 6, 17, 44, 58
ECHO_TYPES = {"echo": {4: 8, 6: 128}, "reply": {4: 0, 6: 129}}
RANGES = {"hlim": 0xFF, "ttl": 0xFF, "tc": 0xFF, "len": 0xFFFF, "id": 0xFFFFFFFF}  # options with a number, its largest
SHOWN = 60  # characters of something that is no packet
OPTIONS = [*RANGES, "flags", "df", "frag"]


class PacketError(Exception):
    """What was given is no packet; one sentence."""


class Options(NamedTuple):
    """What may be said of a packet."""

    hop_limit: int = 64
    traffic_class: int = 0
    data: int = 0  # octets
    flags: int = 2
    identification: int = 1
    dont_fragment: bool = False
    offset: int = 0  # octets
    more: bool = False
    fragment: bool = False


def packets(text: str) -> list[Packet]:
    """The packet meant, last, and those before it in its capture, with times; raises PacketError, CaptureError."""
    if ">" not in text and (match := re.fullmatch(r"(.+):([0-9]{1,15})", text)):
        return from_capture(Path(match[1]), int(match[2]))
    return [(0, octets_of(text))]


def octets_of(text: str) -> bytes:
    """The packet meant by a line of text or by digits; raises PacketError."""
    if ">" in text:
        return from_text(text)
    if re.fullmatch(r"[\s0-9a-fA-F]+", text):
        return from_hex(text)
    raise PacketError(f"{_shown(text)} is no packet: expected {FORMS}")


def _shown(text: str) -> str:
    """What was given, in quotes and on one line, its beginning if it is long."""
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def from_hex(text: str) -> bytes:
    """Octets in hexadecimal, spaced as one likes."""
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        raise PacketError(f"{_shown(text)} is no packet: expected two hexadecimal digits for each octet") from None
    if not octets:
        raise PacketError(f"{_shown(text)} is no packet: expected {FORMS}")
    return octets


def from_capture(path: Path, number: int) -> list[Packet]:
    """The first `number` packets of a capture."""
    if number == 0:
        raise PacketError(f"{path}:0 is no packet: expected a number from 1 on")
    if not path.exists():
        raise CaptureError(f"{path} does not exist: expected {FORMS}")
    with Reader(path) as reader:
        found = list(islice(reader, number))
    if len(found) < number:
        raise PacketError(f"{path}:{number} is no packet: expected a number up to {len(found)}, the last in that file")
    return found


def from_text(text: str) -> bytes:
    """A packet of the form above, its checksums right."""
    words = iter(text.split())
    source, arrow, destination = _address(words), next(words, ""), _address(words)
    if arrow != ">":
        raise PacketError(f"{arrow!r} between the addresses: expected '>'")
    if source.version != destination.version:
        raise PacketError(f"'{source} > {destination}': expected two addresses of one family")
    protocol, head = _transport(words, source.version)
    options = _options(words)
    if options.dont_fragment and source.version == 6:
        raise PacketError("'df' in IPv6: expected it in IPv4 only, no router cuts an IPv6 packet")
    body = bytes(options.data)
    if options.offset == 0:
        body = _with_header(protocol, head, options, source, destination)
    return (_ipv4 if source.version == 4 else _ipv6)(source, destination, protocol, body, options)


def _address(words: Iterator[str]) -> Address:
    word = next(words, "")
    try:
        return ip_address(word)
    except ValueError:
        raise PacketError(
            f"{word!r}: expected an IPv4 or IPv6 address, as in 'SOURCE > DESTINATION udp 5000 53'"
        ) from None


def _number(words: Iterator[str], what: str, largest: int) -> int:
    word = next(words, "")
    try:
        number = int(word, 0)
    except ValueError:
        number = -1
    if not 0 <= number <= largest:
        raise PacketError(f"{word!r}: expected {what}, a number from 0 to {largest}")
    return number


def _transport(words: Iterator[str], family: int) -> tuple[int, tuple[int, ...]]:
    """Protocol number; the numbers its header begins with."""
    match name := next(words, ""):
        case "udp" | "tcp":
            ports = (_number(words, "the source port", 0xFFFF), _number(words, "the destination port", 0xFFFF))
            return (UDP if name == "udp" else TCP), ports
        case "icmp":
            if (kind := next(words, "")) not in ECHO_TYPES:
                raise PacketError(
                    f"{kind!r} after icmp: expected 'echo' or 'reply'; give other messages in hexadecimal"
                )
            identifier = _number(words, "the identifier", 0xFFFF)
            return (ICMP if family == 4 else ICMPV6), (ECHO_TYPES[kind][family], identifier)
        case "proto":
            return _number(words, "the protocol", 0xFF), ()
    raise PacketError(f"{name!r} after the addresses: expected udp, tcp, icmp or proto")


def _options(words: Iterator[str]) -> Options:
    found: dict[str, int] = {}
    for name in words:
        if name in RANGES:
            field = {"ttl": "hop_limit", "hlim": "hop_limit", "tc": "traffic_class", "len": "data"}.get(
                name, "identification"
            )
            found[field] = _number(words, name, RANGES[name])
        elif name == "df":
            found["dont_fragment"] = True
        elif name == "flags":
            found["flags"] = _flags(next(words, ""))
        elif name == "frag":
            found["offset"], found["more"] = _fragment(next(words, ""))
            found["fragment"] = True
        else:
            raise PacketError(f"{name!r}: expected an option, one of {', '.join(OPTIONS)}")
    return Options(**found)  # type: ignore[arg-type]  # True is an int


def _flags(word: str) -> int:
    letters = word.upper()
    if not letters or set(letters) - set(TCP_FLAGS):
        raise PacketError(f"{word!r}: expected flags of TCP, some of the letters {TCP_FLAGS}")
    return sum(1 << TCP_FLAGS.index(letter) for letter in set(letters))


def _fragment(word: str) -> tuple[int, bool]:
    digits = word.removesuffix("+")
    if not re.fullmatch("[0-9]{1,5}", digits) or int(digits) % 8 or int(digits) > 0xFFF8:
        raise PacketError(
            f"{word!r}: expected where the fragment begins, a multiple of 8 up to 65528, and + if more follow"
        )
    return int(digits), word.endswith("+")


def _with_header(
    protocol: int, head: tuple[int, ...], options: Options, source: Address, destination: Address
) -> bytes:
    """The transport header and the data behind it."""
    data = bytes(options.data)
    match protocol, head:
        case (17, (_, _)):
            body, checksum_at = struct.pack(">HHHH", *head, min(8 + len(data), 0xFFFF), 0) + data, 6
        case (6, (_, _)):
            body = struct.pack(">HHIIBBHHH", *head, 0, 0, 0x50, options.flags, 0xFFFF, 0, 0) + data
            checksum_at = 16
        case (1 | 58, (_, _)):
            body, checksum_at = struct.pack(">BBHHH", head[0], 0, 0, head[1], 1) + data, 2
        case _:
            return data
    covered = b"" if protocol == ICMP else source.packed + destination.packed + struct.pack(">II", len(body), protocol)
    field = _checksum(covered + body) or (0xFFFF if protocol == UDP else 0)
    return body[:checksum_at] + field.to_bytes(2) + body[checksum_at + 2 :]


def _checksum(octets: bytes) -> int:
    """The Internet checksum (RFC 1071) of octets."""
    total = sum(value for (value,) in struct.iter_unpack(">H", octets + b"\0" * (len(octets) % 2)))
    return ~(total % 0xFFFF or (0xFFFF if total else 0)) & 0xFFFF


def _ipv4(source: Address, destination: Address, protocol: int, body: bytes, options: Options) -> bytes:
    if 20 + len(body) > 0xFFFF:
        raise PacketError(f"a packet of {20 + len(body)} octets: expected a len that leaves at most 65535")
    if options.identification > 0xFFFF:
        raise PacketError(f"'id {options.identification}' in IPv4: expected a number from 0 to 65535")
    fragment = options.dont_fragment << 14 | options.more << 13 | options.offset >> 3
    length, traffic_class, hop_limit = 20 + len(body), options.traffic_class, options.hop_limit
    header = struct.pack(
        ">BBHHHBBH", 0x45, traffic_class, length, options.identification, fragment, hop_limit, protocol, 0
    )
    header += source.packed + destination.packed
    return header[:10] + _checksum(header).to_bytes(2) + header[12:] + body


def _ipv6(source: Address, destination: Address, protocol: int, body: bytes, options: Options) -> bytes:
    if options.fragment:
        where = options.offset | options.more
        body = struct.pack(">BBHI", protocol, 0, where, options.identification) + body
        protocol = FRAGMENT
    if len(body) > 0xFFFF:
        raise PacketError(f"a payload of {len(body)} octets: expected a len that leaves at most 65535")
    first = 6 << 28 | options.traffic_class << 20
    header = struct.pack(">IHBB", first, len(body), protocol, options.hop_limit)
    return header + source.packed + destination.packed + body
