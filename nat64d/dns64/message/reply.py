"""An answer as it is cached: octets that fit every client that asks the same question, and for how long they are valid.

The ID and the OPT record (RFC 6891 section 6.1.1) belong to one hop. Each client gets its own, with the Extended DNS
Errors of the answer (RFC 8914). Everything else stays as it came, to the octet.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nat64d.dns64.message.wire import (
    AA,
    AD,
    CD,
    DO,
    EDE,
    HEADER,
    LONGEST_TTL,
    MESSAGE_OCTETS,
    NOERROR,
    NXDOMAIN,
    OPT,
    QR,
    RA,
    RCODE,
    RD,
    SERVFAIL,
    SOA,
    TC,
    Message,
    Record,
    extended_error,
    least_ttl,
    read,
    skip_name,
    write,
)

# LIMITS
BUFFER = 1232  # octets of a UDP answer (DNS flag day 2020)
LONGEST, LONGEST_NEGATIVE = 86400, 900  # seconds; RFC 8767 section 4, RFC 2308 section 5 advises 1 to 3 hours at most
FAILED_FOR = 5  # seconds; RFC 9520 section 3.2: at least 1, at most 5 minutes
STALE_FOR = 86400  # seconds for which an expired answer may be used (RFC 8767 section 5: 1 to 3 days)
STALE_TTL = 30  # RFC 8767 section 4
STALE, STALE_NXDOMAIN = 3, 19  # RFC 8914
_AA, _RD, _NOT_AD = AA >> 8, RD >> 8, ~AD & 0xFF  # as bits of their octets
_REPLACED = RD | CD | TC  # header bits that depend on the client or its transport
_fixed = struct.Struct("!HHIH")
_option = struct.Struct("!HH")


class Reply(NamedTuple):
    """`octets` end with an OPT record; a client without EDNS gets the first `plain` of them."""

    octets: bytes
    plain: int
    question_end: int
    ttls: tuple[int, ...]  # offsets of TTL fields
    stored: float
    expires: float
    stale_until: float

    @property
    def rcode(self) -> int:
        """The RCODE in the header."""
        return self.octets[3] & RCODE

    @property
    def failed(self) -> bool:
        """Whether it is a resolution failure, which says nothing about the name (RFC 9520 section 2)."""
        return self.rcode not in {NOERROR, NXDOMAIN}

    def answer(self, query: bytes, edns: bool, authentic: bool, now: float) -> bytes:
        """The answer to a query, given as octets: with its ID, its flags, the case of its name, and TTLs less the time
        since.

        `edns`: the query has an OPT record; `authentic`: its sender understands AD (RFC 6840 section 5.8).
        """
        answer = bytearray(self.octets if edns else self.octets[: self.plain])
        answer[:2] = query[:2]
        answer[2] |= query[2] & _RD
        unchecked = 0 if answer[2] & _AA else query[3] & CD  # RFC 4035 sections 3.1.6 and 3.2.2
        answer[3] = (answer[3] if authentic else answer[3] & _NOT_AD) | unchecked
        if not edns:
            answer[10:HEADER] = (int.from_bytes(answer[10:HEADER], "big") - 1).to_bytes(2, "big")
        answer[HEADER : self.question_end] = query[HEADER : self.question_end]
        age = int(now - self.stored)
        if age:
            for at in self.ttls:
                ttl = int.from_bytes(answer[at : at + 4], "big")
                answer[at : at + 4] = (ttl - age if age < ttl else 0).to_bytes(4, "big")
        return bytes(answer)

    def message(self, now: float) -> Message:
        """The answer as a message, with the TTLs of now."""
        return read(self.answer(self.octets, True, True, now))

    def at_most(self, seconds: int) -> "Reply":
        """The same answer with a lifetime of at most so many seconds."""
        expires = min(self.expires, self.stored + seconds)
        return self._replace(octets=_capped(self.octets, self.ttls, seconds), expires=expires, stale_until=expires)

    def within(self, other: "Reply") -> "Reply":
        """The same answer, valid no longer than another one that it was made of: the MINIMUM of a SOA record does not
        fall with time as its TTL does."""
        return self._replace(
            expires=min(self.expires, other.expires), stale_until=min(self.stale_until, other.stale_until)
        )

    def stale(self, now: float) -> "Reply":
        """The same answer for another 30 seconds, marked as stale (RFC 8767 section 4, RFC 8914 sections 4.4 and
        4.20)."""
        octets = bytearray(self.octets)
        for at in self.ttls:
            octets[at : at + 4] = STALE_TTL.to_bytes(4, "big")
        option = extended_error(STALE_NXDOMAIN if self.rcode == NXDOMAIN else STALE)
        if not octets.endswith(option):
            length = len(octets) - self.plain - 11 + len(option)
            octets[self.plain + 9 : self.plain + 11] = length.to_bytes(2, "big")
            octets += option
        return self._replace(octets=bytes(octets), stored=now, expires=now + STALE_TTL)


def reply_of(octets: bytes, message: Message, dnssec: bool, now: float, seconds: int | None = None) -> Reply:
    """A Reply from the octets of an answer, and from the message they were read as; `dnssec`: DO of the clients (RFC
    3225 section 3); `seconds`: its lifetime, if not that of its records.

    An error above 15, which only EDNS can express, becomes SERVFAIL; so does an answer that is larger than a message
    can be.
    """
    end = message.question.end
    found, stop = layout(octets, end)
    if stop is None:
        octets = write(message._replace(edns=None))
        end = HEADER + len(message.question.name) + 4
        found, stop = layout(octets, end)
        assert stop is not None
    if any(record.ttl == LONGEST_TTL for section in message.sections for record in section):
        octets = _capped(octets, found, LONGEST_TTL)
    flags = (message.flags | QR | RA) & ~_REPLACED
    edns = message.edns
    if edns and edns.rcode:
        flags = flags & ~RCODE | SERVFAIL
    counts = (*(len(section) for section in message.sections[:2]), len(message.sections[2]) + 1)
    options = b"".join(_option.pack(EDE, len(data)) + data for data in _errors(message))
    opt = b"\0" + _fixed.pack(OPT, BUFFER, DO if dnssec else 0, len(options)) + options
    if stop + len(opt) > MESSAGE_OCTETS:  # synthetic addresses are longer, and some names are no longer compressed
        nothing = message._replace(flags=flags & ~RCODE | SERVFAIL, sections=([], [], []), edns=None)
        return reply_of(write(nothing), nothing, dnssec, now)
    head = struct.pack("!6H", 0, flags, 1, *counts)
    good = 0 if message.truncated else lifetime(message) if seconds is None else seconds
    expires = now + good
    failed = message.rcode not in {NOERROR, NXDOMAIN}
    until = expires if failed else expires + STALE_FOR
    return Reply(head + octets[HEADER:stop] + opt, stop, end, tuple(found), now, expires, until)


def _capped(octets: bytes, ttls: Iterable[int], seconds: int) -> bytes:
    """The octets with every TTL at most so many seconds."""
    capped = bytearray(octets)
    for at in ttls:
        capped[at : at + 4] = min(int.from_bytes(capped[at : at + 4], "big"), seconds).to_bytes(4, "big")
    return bytes(capped)


def reply_to(query: Message, message: Message, now: float, seconds: int | None = None) -> Reply:
    """A Reply from a message made here, for a query."""
    question = query.question._replace(end=HEADER + len(query.question.name) + 4)
    message = message._replace(question=question)
    dnssec = bool(query.edns and query.edns.dnssec)
    return reply_of(write(message._replace(edns=None)), message, dnssec, now, seconds)


def head_of(query: Message) -> bytes:
    """Header and question of a query as octets: all that an answer takes from it."""
    question = query.question
    head = struct.pack("!6H", query.id, query.flags, 1, 0, 0, 0)
    return head + question.name + struct.pack("!2H", question.type, question.class_)


def layout(octets: bytes, question_end: int) -> tuple[list[int], int | None]:
    """(offsets of the TTL fields, end of the records) of a message that `read` accepted, both without its OPT record.
    The end is None if the OPT record is not the last one, so that it cannot be cut off."""
    at, found, opt = question_end, [], None
    for _ in range(sum(struct.unpack_from("!3H", octets, 6))):
        start, at = at, skip_name(octets, at)
        type_, _, _, length = _fixed.unpack_from(octets, at)
        if type_ == OPT:
            opt = start
        else:
            found.append(at + 4)
        at += _fixed.size + length
    if opt is None:
        return found, at
    return found, opt if not found or found[-1] < opt else None


def _errors(message: Message) -> list[bytes]:
    """The data of the Extended DNS Errors; other options are between two servers (RFC 6891 section 6.1.1)."""
    options, found, at = message.edns.options if message.edns else b"", [], 0
    while at < len(options):  # complete ones: `read` has checked that
        code, length = _option.unpack_from(options, at)
        if code == EDE and length >= 2:
            found.append(options[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def error_codes(message: Message) -> list[int]:
    """The codes of the Extended DNS Errors."""
    return [int.from_bytes(data[:2], "big") for data in _errors(message)]


def lifetime(message: Message) -> int:
    """For how many seconds an answer is valid: the least TTL of its records, for a negative answer also what its SOA
    record says (RFC 2308 section 5); for a failure a few seconds (RFC 9520)."""
    answers, authority, additional = message.sections
    if message.rcode not in {NOERROR, NXDOMAIN}:
        return FAILED_FOR
    least = least_ttl((*answers, *authority, *additional), 0)
    if any(record.type == message.question.type for record in answers):
        return min(least, LONGEST)
    negative = [int.from_bytes(soa.data[-4:], "big") for soa in _soas(authority)]
    return min(*negative, least, LONGEST_NEGATIVE) if negative else 0


def _soas(authority: Sequence[Record]) -> list[Record]:
    return [record for record in authority if record.type == SOA]
