"""DNS messages (RFC 1035 section 4) as octets: read as far as a forwarder needs, written without compression of data.

Input is hostile: what cannot be read raises WireError, compression pointers cannot loop, and the work a message causes
is bounded by its size.

This is our own code because of its speed: an answer of 101 octets takes 8 µs to read and 2 µs to write, with dnspython
131 µs and 60 µs on the same core, more than all the rest of a query. The tests compare it with dnspython.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from nat64d.dns64.message.layouts import CHOSEN, LAYOUTS, NAME, NAMES, REST, Layout

# SPEC: RFC 1035, 3596 (AAAA), 6672 (DNAME), 6891 (OPT), 4034 (RRSIG, NSEC), 5155 (NSEC3), 9460 (SVCB, HTTPS)
A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DNAME, OPT, RRSIG, NSEC, NSEC3, SVCB, HTTPS, ANY = (
    *(1, 2, 5, 6, 12, 15, 16, 28, 33, 39, 41, 46, 47, 50, 64, 65, 255),
)
IN = 1
IXFR, AXFR = 251, 252  # types that questions alone have
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
NOTAUTH, BADVERS = 9, 16
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
OPCODE, RCODE = 0x7800, 0x000F
DO = 0x8000  # in the TTL field of OPT
HEADER, NAME_OCTETS, LABEL_OCTETS, POINTER = 12, 255, 63, 0xC0
MOST_POINTED = 0x3FFF  # the largest offset that a pointer can hold
MESSAGE_OCTETS = 65535  # octets of a message (section 4.2.2)
ANSWER, AUTHORITY, ADDITIONAL = range(3)
EDE = 15  # RFC 8914: option code of Extended DNS Errors

# LIMITS
POINTED = 1 << 16  # octets read by following the pointers of a message; a target is read once
QUERY_RECORDS = 2  # in a query: OPT, and TSIG or SIG(0)
SEARCHED = 16  # records of a broken query that are searched for an OPT record
LONGEST_TTL = 604800  # seconds, RFC 8767 section 4: larger values are read as this one

_header = struct.Struct("!6H")
_fixed = struct.Struct("!HHIH")


class WireError(ValueError):
    """Octets that are no DNS message; the text says why."""


class Question(NamedTuple):
    """The question section: the name in wire form as it came, type, class, and the offset behind it."""

    name: bytes
    type: int
    class_: int
    end: int

    @property
    def key(self) -> bytes:
        """The name for comparisons: lower case (RFC 4343). Length octets are below 64, so no letters."""
        return self.name.lower()


class Record(NamedTuple):
    """A resource record; its name and the names in its data are not compressed."""

    name: bytes
    type: int
    class_: int
    ttl: int
    data: bytes


class Edns(NamedTuple):
    """The content of an OPT record (RFC 6891 section 6.1)."""

    size: int
    rcode: int  # the upper eight bits
    version: int
    dnssec: bool  # DO
    options: bytes


class Message(NamedTuple):
    """A message. `sections` are answer, authority and additional records, without the OPT record."""

    id: int
    flags: int
    question: Question
    sections: tuple[list[Record], list[Record], list[Record]]
    edns: Edns | None

    @property
    def rcode(self) -> int:
        """The RCODE, all twelve bits of it."""
        return self.flags & RCODE | (self.edns.rcode << 4 if self.edns else 0)

    @property
    def truncated(self) -> bool:
        """TC: the answer is incomplete, ask by TCP."""
        return bool(self.flags & TC)


def _labels_end(octets: bytes, at: int) -> int:
    """The offset at which the labels of a name end: at the root label or a compression pointer."""
    limit = min(len(octets), at + NAME_OCTETS)
    while at < limit:
        length = octets[at]
        if length == 0 or length >= POINTER:
            return at
        if length > LABEL_OCTETS:
            raise WireError("a label of unknown kind")
        at += length + 1
    raise WireError("a name runs out of the message or is longer than 255 octets")


def skip_name(octets: bytes, at: int) -> int:
    """The offset behind a name."""
    at = _labels_end(octets, at)
    return at + 2 if octets[at] else at + 1


def read_question(octets: bytes) -> Question:
    """The question section, which must be a single question without compression."""
    if len(octets) < HEADER:
        raise WireError("shorter than a header")
    if octets[4:6] != b"\0\1":
        raise WireError("not one question")
    at = _labels_end(octets, HEADER) + 1
    if octets[at - 1]:
        raise WireError("a pointer in the question")
    if at + 4 > len(octets):
        raise WireError("the question is cut off")
    return Question(octets[HEADER:at], octets[at] << 8 | octets[at + 1], octets[at + 2] << 8 | octets[at + 3], at + 4)


def read(octets: bytes) -> Message:
    """A whole message; octets behind it are ignored. Raises WireError."""
    return read_to_end(octets)[0]


def read_query(octets: bytes) -> Message:
    """A whole query; one with answer or authority records is refused. Raises WireError."""
    if len(octets) >= HEADER and (octets[6:10] != bytes(4) or octets[10] or octets[11] > QUERY_RECORDS):
        raise WireError("a query with the records of an answer")
    return read(octets)


def read_to_end(octets: bytes) -> tuple[Message, int]:
    """(message, offset behind it). Raises WireError."""
    question = read_question(octets)
    id_, flags, _, *counts = _header.unpack_from(octets)
    sections: tuple[list[Record], list[Record], list[Record]] = ([], [], [])
    reader, at, edns = _Reader(octets, question), question.end, None
    for section, count in zip(sections, counts, strict=True):
        for _ in range(count):
            record, at = reader.record(at)
            if record.type != OPT:
                section.append(record)
            elif section is not sections[ADDITIONAL] or edns is not None or record.name != b"\0":
                raise WireError("an OPT record that is misplaced or not the only one")
            else:
                edns = _edns(record)
    return Message(id_, flags, question, sections, edns), at


class _Reader:
    """Reads the records of a message. The target of a pointer is read once, since thousands of names may share it."""

    def __init__(self, octets: bytes, question: Question) -> None:
        self._octets = octets
        self._names = {HEADER: question.name}  # by the offset of a pointer's target
        self._left = POINTED
        self._fields: list[
            int
        ] = []  # offsets of the TTL fields: no name may reach into one, because TTLs change in the cache

    def name(self, at: int) -> tuple[bytes, int]:
        """(name in wire form, offset behind it)."""
        octets = self._octets
        end = _labels_end(octets, at)
        if not octets[end]:
            return octets[at : end + 1], end + 1
        rest = self._pointed(end, at)
        if end == at:
            return rest, end + 2
        if end - at + len(rest) > NAME_OCTETS:
            raise WireError("a name longer than 255 octets")
        return octets[at:end] + rest, end + 2

    def _pointed(self, at: int, before: int) -> bytes:
        """The rest of a name from a compression pointer on. Each pointer must lead to before the name it is in."""
        octets, first, parts = self._octets, 0, []
        while True:
            if at + 1 >= len(octets):
                raise WireError("a compression pointer is cut off")
            target = (octets[at] & ~POINTER) << 8 | octets[at + 1]
            if not HEADER <= target < before:
                raise WireError("a compression pointer that does not lead backwards")
            first = first or target
            known = self._names.get(target)
            if known is not None:
                parts.append(known)
                break
            at = _labels_end(octets, target)
            if at >= before:
                raise WireError("a name that overlaps itself")
            self._left -= at + 2 - target
            if self._left < 0:
                raise WireError("more compressed names than any server writes")
            field = bisect_right(self._fields, target - 4)
            if field < len(self._fields) and self._fields[field] < at + 2:
                raise WireError("a name that reaches into a TTL field")
            parts.append(octets[target:at])
            before = target
            if not octets[at]:
                parts.append(b"\0")
                break
        name = b"".join(parts)
        if len(name) > NAME_OCTETS:
            raise WireError("a name longer than 255 octets")
        self._names[first] = name
        return name

    def record(self, at: int) -> tuple[Record, int]:
        """(record, offset behind it)."""
        octets = self._octets
        name, at = self.name(at)
        if at + _fixed.size > len(octets):
            raise WireError("a record is cut off")
        type_, class_, ttl, length = _fixed.unpack_from(octets, at)
        self._fields.append(at + 4)
        at += _fixed.size
        end = at + length
        if end > len(octets):
            raise WireError("the data of a record is cut off")
        if type_ in LAYOUTS:
            data = self._data(LAYOUTS[type_], at, end)
        elif type_ in CHOSEN:
            data = self._data(CHOSEN[type_](octets[at:end]), at, end)
        elif (type_ == A and class_ == IN and length != 4) or (type_ == AAAA and length != 16):
            raise WireError("an address of the wrong size")
        else:
            data = octets[at:end]
        # RFC 8767 section 4: 32 bits without a sign, capped. The TTL field of OPT holds something else.
        return Record(name, type_, class_, ttl if ttl <= LONGEST_TTL or type_ == OPT else LONGEST_TTL, data), end

    def _data(self, layout: Layout, at: int, end: int) -> bytes:
        """The data of a record with its names decompressed."""
        parts = []
        for item in layout:
            if item == NAME:
                part, at = self.name(at)
            elif item == NAMES:
                part, at = self._names_until(at, end)
            else:
                size = item if item >= 0 else end - at if item == REST else self._octets[at] + 1 if at < end else 1
                part, at = self._octets[at : at + size], at + size
            if at > end:
                break
            parts.append(part)
        if at != end:
            raise WireError("the data of a record is longer or shorter than its type says")
        return b"".join(parts)

    def _names_until(self, at: int, end: int) -> tuple[bytes, int]:
        """(names one after the other, offset behind them)."""
        names = b""
        while at < end:
            name, at = self.name(at)
            names += name
            if len(names) > MESSAGE_OCTETS:
                raise WireError("more compressed names than any server writes")
        return names, at


def _edns(opt: Record) -> Edns:
    edns = _edns_of(opt.class_, opt.ttl, opt.data)
    if edns.version:  # its options may have another form
        return edns._replace(options=b"")
    at, options = 0, opt.data
    while at + 4 <= len(options):
        at += 4 + int.from_bytes(options[at + 2 : at + 4], "big")
    if at != len(options):
        raise WireError("an EDNS option is cut off")
    return edns


def _edns_of(class_: int, ttl: int, options: bytes) -> Edns:
    return Edns(class_, ttl >> 24, ttl >> 16 & 0xFF, bool(ttl & DO), options)


def read_broken(octets: bytes) -> Message:
    """What can be read of a query that `read_query` refuses: header, question, and whether there is an OPT record.

    Raises WireError if not even the question can be read.
    """
    question, edns = read_question(octets), None
    id_, flags, _, *counts = _header.unpack_from(octets)
    at = question.end
    with suppress(WireError, struct.error):  # of the records behind the question
        for _ in range(min(sum(counts), SEARCHED)):
            at = skip_name(octets, at)
            type_, class_, ttl, length = _fixed.unpack_from(octets, at)
            if type_ == OPT:
                edns = _edns_of(class_, ttl, b"")
                break
            at += _fixed.size + length
    return Message(id_, flags, question, ([], [], []), edns)


def write(message: Message) -> bytes:
    """The octets of a message, which may be more than a message can have. Owner names that occurred before are
    compressed."""
    question, edns = message.question, message.edns
    counts = [len(section) for section in message.sections]
    counts[ADDITIONAL] += edns is not None
    parts = [
        _header.pack(message.id, message.flags & 0xFFFF, 1, *counts),
        question.name,
        struct.pack("!HH", question.type, question.class_),
    ]
    key, places, at = question.key, {question.name: HEADER}, HEADER + len(question.name) + 4
    for section in message.sections:
        for record in section:
            place = HEADER if record.name.lower() == key else places.setdefault(record.name, at)
            name = record.name if place == at or place > MOST_POINTED else (POINTER << 8 | place).to_bytes(2, "big")
            fixed = _fixed.pack(record.type, record.class_, record.ttl, len(record.data))
            parts += (name, fixed, record.data)
            at += len(name) + _fixed.size + len(record.data)
            if record.type == CNAME:
                places.setdefault(record.data, at - len(record.data))
    if edns is not None:
        ttl = edns.rcode << 24 | edns.version << 16 | (DO if edns.dnssec else 0)
        parts.append(b"\0" + _fixed.pack(OPT, edns.size, ttl, len(edns.options)) + edns.options)
    return b"".join(parts)


def extended_error(code: int, text: str = "") -> bytes:
    """An Extended DNS Error option (RFC 8914 section 2)."""
    data = struct.pack("!H", code) + text.encode()
    return struct.pack("!HH", EDE, len(data)) + data


def name_of(text: str) -> bytes:
    """The wire form of a domain name in ASCII; the final dot is optional. Raises ValueError."""
    labels = [label.encode("ascii") for label in text.removesuffix(".").split(".")] if text.strip(".") else []
    if (
        any(not 0 < len(label) <= LABEL_OCTETS for label in labels)
        or sum(map(len, labels)) + len(labels) >= NAME_OCTETS
    ):
        raise ValueError("a domain name")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def text_of(name: bytes) -> str:
    """A name in wire form as text; unprintable octets are escaped (RFC 1035 section 5.1)."""
    return ".".join(map(_label_text, labels_of(name))) + "."


def labels_of(name: bytes) -> list[bytes]:
    """The labels of a name in wire form, without the root label."""
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
    """Whether a name is at or below another; both are keys, in lower case (RFC 4343)."""
    if not name.endswith(suffix):
        return False
    at, cut = 0, len(name) - len(suffix)
    while at < cut:
        at += name[at] + 1
    return at == cut


def least_ttl(records: Iterable[Record], default: int) -> int:
    """The smallest TTL of some records."""
    return min((record.ttl for record in records), default=default)
