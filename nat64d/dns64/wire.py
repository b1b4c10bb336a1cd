"""DNS messages (RFC 1035 section 4) as octets: read as far as a forwarder looks, written without compression.

Every octet is hostile: what cannot be read raises WireError, and no name is followed in circles.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

# SPEC: RFC 1035, 3596 (AAAA), 6672 (DNAME), 6891 (OPT), 4034 (RRSIG, NSEC), 5155 (NSEC3)
A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DNAME, OPT, RRSIG, NSEC, NSEC3, ANY = (
    *(1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41, 46, 47, 50, 255),
)
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
BADVERS = 16
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE, RCODE = 0x7800, 0x000F
DO = 0x8000  # in the TTL field of OPT
HEADER, NAME_OCTETS, LABEL_OCTETS = 12, 255, 63
ANSWER, AUTHORITY, ADDITIONAL = range(3)
EDE = 15  # RFC 8914: option code of Extended DNS Errors

# Where names lie in the data of types old enough to be compressed (RFC 3597 section 4): octets before, names.
_NAMES_IN = {NS: (0, 1), CNAME: (0, 1), PTR: (0, 1), DNAME: (0, 1), SOA: (0, 2), MX: (2, 1), SRV: (6, 1)}

_header = struct.Struct("!6H")
_fixed = struct.Struct("!HHIH")


class WireError(ValueError):
    """Octets that are no DNS message; the text says why."""


class Question(NamedTuple):
    """What is asked: the name in wire form as it came, and where the question ends."""

    name: bytes
    type: int
    class_: int
    end: int

    @property
    def key(self) -> bytes:
        """The name for comparisons (RFC 4343: ASCII letters without case; length octets are no letters)."""
        return self.name.lower()


class Record(NamedTuple):
    """A resource record: its name and data without compression."""

    name: bytes
    type: int
    class_: int
    ttl: int
    data: bytes


class Edns(NamedTuple):
    """What an OPT record says (RFC 6891 section 6.1)."""

    size: int
    rcode: int  # the upper eight bits
    version: int
    dnssec: bool  # DO
    options: bytes


class Message(NamedTuple):
    """A message; `sections` holds answer, authority and additional records, without OPT."""

    id: int
    flags: int
    question: Question
    sections: tuple[list[Record], list[Record], list[Record]]
    edns: Edns | None

    @property
    def rcode(self) -> int:
        """All twelve bits of it."""
        return self.flags & RCODE | (self.edns.rcode << 4 if self.edns else 0)

    @property
    def truncated(self) -> bool:
        """TC: ask again by TCP."""
        return bool(self.flags & TC)


def read_name(octets: bytes, at: int) -> tuple[bytes, int]:
    """(name in wire form, offset behind it). Pointers lead backwards only, so that each is followed once."""
    labels, size, end, limit = [], 0, 0, len(octets)
    while True:
        if at >= limit:
            raise WireError("a name runs out of the message")
        length = octets[at]
        if length == 0:
            labels.append(b"\0")
            return b"".join(labels), end or at + 1
        if length <= LABEL_OCTETS:
            label = octets[at : at + 1 + length]
            size += length + 1
            if len(label) <= length or size >= NAME_OCTETS:
                raise WireError("a name is cut off or longer than 255 octets")
            labels.append(label)
            at += length + 1
            continue
        if length < 0xC0 or at + 1 >= limit:
            raise WireError("a label of unknown kind")
        target = (length & 0x3F) << 8 | octets[at + 1]
        end = end or at + 2
        if target >= at or target < HEADER:
            raise WireError("a compression pointer that does not lead backwards")
        limit, at = at, target


def skip_name(octets: bytes, at: int) -> int:
    """The offset behind a name, which is not looked at further."""
    while at < len(octets):
        length = octets[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        at += length + 1
    raise WireError("a name runs out of the message")


def read_question(octets: bytes) -> Question:
    """The one question of a query or answer."""
    if len(octets) < HEADER:
        raise WireError("shorter than a header")
    if octets[4:6] != b"\0\1":
        raise WireError("not one question")
    name, at = read_name(octets, HEADER)
    if at + 4 > len(octets):
        raise WireError("the question is cut off")
    return Question(name, octets[at] << 8 | octets[at + 1], octets[at + 2] << 8 | octets[at + 3], at + 4)


def read(octets: bytes) -> Message:
    """A whole message."""
    question = read_question(octets)
    id_, flags, _, *counts = _header.unpack_from(octets)
    sections: tuple[list[Record], list[Record], list[Record]] = ([], [], [])
    at, edns = question.end, None
    for section, count in zip(sections, counts, strict=True):
        for _ in range(count):
            record, at = _read_record(octets, at)
            if record.type != OPT:
                section.append(record)
            elif section is not sections[ADDITIONAL] or edns is not None or record.name != b"\0":
                raise WireError("an OPT record that is misplaced or not the only one")
            else:
                edns = _edns(record)
    return Message(id_, flags, question, sections, edns)


def _read_record(octets: bytes, at: int) -> tuple[Record, int]:
    name, at = read_name(octets, at)
    if at + _fixed.size > len(octets):
        raise WireError("a record is cut off")
    type_, class_, ttl, length = _fixed.unpack_from(octets, at)
    start = at + _fixed.size
    end = start + length
    if end > len(octets):
        raise WireError("the data of a record is cut off")
    data = octets[start:end]
    if type_ in _NAMES_IN:
        before, names = _NAMES_IN[type_]
        parts, at = [octets[start : start + before]], start + before
        for _ in range(names):
            target, at = read_name(octets, at)
            parts.append(target)
        if at > end:
            raise WireError("a name runs out of its record")
        data = b"".join((*parts, octets[at:end]))
    elif (type_ == A and length != 4) or (type_ == AAAA and length != 16):
        raise WireError("an address of the wrong size")
    # RFC 2181 section 8: a TTL with the highest bit set is 0.
    return Record(name, type_, class_, ttl if ttl < 1 << 31 or type_ == OPT else 0, data), end


def _edns(opt: Record) -> Edns:
    return Edns(opt.class_, opt.ttl >> 24, opt.ttl >> 16 & 0xFF, bool(opt.ttl & DO), opt.data)


def write(message: Message) -> bytes:
    """The octets of a message; names are written whole, but for those that are the question's."""
    records = [(section, record) for section in message.sections for record in section]
    question = message.question
    edns = message.edns
    counts = [len(section) for section in message.sections]
    counts[ADDITIONAL] += edns is not None
    parts = [
        _header.pack(message.id, message.flags & 0xFFFF, 1, *counts),
        question.name,
        struct.pack("!HH", question.type, question.class_),
    ]
    key = question.key
    for _, record in records:
        name = b"\xc0\x0c" if record.name.lower() == key else record.name
        parts.append(name + _fixed.pack(record.type, record.class_, record.ttl, len(record.data)) + record.data)
    if edns is not None:
        ttl = edns.rcode << 24 | edns.version << 16 | (DO if edns.dnssec else 0)
        parts.append(b"\0" + _fixed.pack(OPT, edns.size, ttl, len(edns.options)) + edns.options)
    return b"".join(parts)


def extended_error(code: int, text: str = "") -> bytes:
    """An Extended DNS Error option (RFC 8914 section 2)."""
    data = struct.pack("!H", code) + text.encode()
    return struct.pack("!HH", EDE, len(data)) + data


def name_of(text: str) -> bytes:
    """The wire form of a domain name of plain ASCII; the final dot may be left out. Raises ValueError."""
    labels = [label.encode("ascii") for label in text.removesuffix(".").split(".")] if text.strip(".") else []
    if (
        any(not 0 < len(label) <= LABEL_OCTETS for label in labels)
        or sum(map(len, labels)) + len(labels) >= NAME_OCTETS
    ):
        raise ValueError("a domain name")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def text_of(name: bytes) -> str:
    """A wire name as text; what is not a printable letter is escaped (RFC 1035 section 5.1)."""
    return ".".join(map(_label_text, labels_of(name))) + "."


def labels_of(name: bytes) -> list[bytes]:
    """The labels of a wire name, without the root's."""
    labels, at = [], 0
    while name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]])
        at += 1 + name[at]
    return labels


def _label_text(label: bytes) -> str:
    return "".join(
        chr(octet) if 0x20 < octet < 0x7F and octet not in b'."\\();@$' else f"\\{octet:03d}" for octet in label
    )


def ends_with(name: bytes, suffix: bytes) -> bool:
    """Whether a name (RFC 4343: without case, both as keys) is at or below another."""
    if not name.endswith(suffix):
        return False
    at, cut = 0, len(name) - len(suffix)
    while at < cut:
        at += name[at] + 1
    return at == cut


def ttls(octets: bytes, question_end: int) -> list[int]:
    """The offsets of the TTL fields of all records but OPT, of a message that `read` took."""
    at, found = question_end, []
    for _ in range(sum(_header.unpack_from(octets)[3:])):
        at = skip_name(octets, at)
        type_, _, _, length = _fixed.unpack_from(octets, at)
        if type_ != OPT:
            found.append(at + 4)
        at += _fixed.size + length
    return found


def least_ttl(records: Iterable[Record], default: int) -> int:
    """The smallest TTL."""
    return min((record.ttl for record in records), default=default)
