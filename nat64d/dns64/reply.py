"""An answer as it is kept: octets that fit every client who asks the same question, and how long they are good.

What is between two servers only stays there: the ID, and the OPT record (RFC 6891 section 6.1.1), which each client
gets anew, with the Extended DNS Errors of the answer (RFC 8914). Everything else is as it came, to the octet.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from nat64d.dns64.wire import (
    AD,
    CD,
    DO,
    EDE,
    HEADER,
    LARGEST,
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
STALE_FOR = 86400  # seconds an answer may be used after its time (RFC 8767 section 5: 1 to 3 days)
STALE_TTL = 30  # RFC 8767 section 4
STALE, STALE_NXDOMAIN = 3, 19  # RFC 8914
_RD, _NOT_AD = RD >> 8, ~AD & 0xFF  # in the octets they stand in
_REPLACED = RD | CD | TC  # header bits that are the client's, or for its transport to say
_fixed = struct.Struct("!HHIH")
_option = struct.Struct("!HH")


class Reply(NamedTuple):
    """`octets` with the OPT record at the end; those who speak no EDNS get the `plain` first of them."""

    octets: bytes
    plain: int
    question_end: int
    ttls: tuple[int, ...]  # offsets of TTL fields
    stored: float
    expires: float
    stale_until: float

    @property
    def rcode(self) -> int:
        """Of the header."""
        return self.octets[3] & RCODE

    @property
    def failed(self) -> bool:
        """Says nothing of the name (RFC 9520 section 2)."""
        return self.rcode not in {NOERROR, NXDOMAIN}

    def answer(self, query: bytes, edns: bool, authentic: bool, now: float) -> bytes:
        """The answer to the octets of a query: its ID, its flags, the case of its name; TTLs less what has gone by.

        `edns`: it has an OPT record; `authentic`: it wants to know about AD (RFC 6840 section 5.8).
        """
        answer = bytearray(self.octets if edns else self.octets[: self.plain])
        answer[:2] = query[:2]
        answer[2] |= query[2] & _RD
        answer[3] = (answer[3] if authentic else answer[3] & _NOT_AD) | query[3] & CD
        if not edns:
            answer[10:HEADER] = (int.from_bytes(answer[10:HEADER], "big") - 1).to_bytes(2, "big")
        answer[HEADER : self.question_end] = query[HEADER : self.question_end]
        age = int(now - self.stored)
        if age:
            for at in self.ttls:
                ttl = int.from_bytes(answer[at : at + 4], "big")
                ttl = ttl - age if age < ttl < 1 << 31 else 0  # RFC 2181 section 8: with the highest bit set it is 0
                answer[at : at + 4] = ttl.to_bytes(4, "big")
        return bytes(answer)

    def message(self, now: float) -> Message:
        """As a message, to make another of."""
        return read(self.answer(self.octets, True, True, now))

    def at_most(self, seconds: int) -> "Reply":
        """The same answer, good for no longer than this."""
        octets = bytearray(self.octets)
        for at in self.ttls:
            octets[at : at + 4] = min(int.from_bytes(octets[at : at + 4], "big"), seconds).to_bytes(4, "big")
        expires = min(self.expires, self.stored + seconds)
        return self._replace(octets=bytes(octets), expires=expires, stale_until=expires)

    def stale(self, now: float) -> "Reply":
        """The same answer for half a minute more, saying so (RFC 8767 section 4, RFC 8914 sections 4.4 and 4.20)."""
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
    """The octets of an answer, and what they were read as; `dnssec`: the clients' DO (RFC 3225 section 3).

    `seconds`: how long it is good, if its records do not say.

    An error above 15, which only EDNS could say, becomes SERVFAIL, and so does what is larger than a message can be.
    """
    end = message.question.end
    found, stop = layout(octets, end)
    if stop is None:
        octets = write(message._replace(edns=None))
        end = HEADER + len(message.question.name) + 4
        found, stop = layout(octets, end)
        assert stop is not None
    flags = (message.flags | QR | RA) & ~_REPLACED
    edns = message.edns
    if edns and edns.rcode:
        flags = flags & ~RCODE | SERVFAIL
    counts = (*(len(section) for section in message.sections[:2]), len(message.sections[2]) + 1)
    options = b"".join(_option.pack(EDE, len(data)) + data for data in _errors(message))
    opt = b"\0" + _fixed.pack(OPT, BUFFER, DO if dnssec else 0, len(options)) + options
    if stop + len(opt) > LARGEST:  # addresses grew, or names that we do not compress
        nothing = message._replace(flags=flags & ~RCODE | SERVFAIL, sections=([], [], []), edns=None)
        return reply_of(write(nothing), nothing, dnssec, now)
    head = struct.pack("!6H", 0, flags, 1, *counts)
    good = 0 if message.truncated else lifetime(message) if seconds is None else seconds
    expires = now + good
    failed = message.rcode not in {NOERROR, NXDOMAIN}
    until = expires + STALE_FOR if good and not failed else expires
    return Reply(head + octets[HEADER:stop] + opt, stop, end, tuple(found), now, expires, until)


def reply_to(query: Message, message: Message, now: float, seconds: int | None = None) -> Reply:
    """A message of our own as an answer to a query."""
    question = query.question._replace(end=HEADER + len(query.question.name) + 4)
    message = message._replace(question=question)
    dnssec = bool(query.edns and query.edns.dnssec)
    return reply_of(write(message._replace(edns=None)), message, dnssec, now, seconds)


def head_of(query: Message) -> bytes:
    """Header and question as octets, all that an answer takes over of a query."""
    question = query.question
    head = struct.pack("!6H", query.id, query.flags, 1, 0, 0, 0)
    return head + question.name + struct.pack("!2H", question.type, question.class_)


def layout(octets: bytes, question_end: int) -> tuple[list[int], int | None]:
    """(offsets of the TTL fields, where the records end) of a message that `read` took, both without its OPT record;
    None where that is not the last one, and cannot be left out without moving others."""
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
    """The data of its Extended DNS Errors: of all other options the client knows nothing (RFC 6891 section 6.1.1)."""
    options, found, at = message.edns.options if message.edns else b"", [], 0
    while at < len(options):  # whole ones: `read` has looked
        code, length = _option.unpack_from(options, at)
        if code == EDE and length >= 2:
            found.append(options[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def error_codes(message: Message) -> list[int]:
    """The codes of its Extended DNS Errors."""
    return [int.from_bytes(data[:2], "big") for data in _errors(message)]


def lifetime(message: Message) -> int:
    """Seconds an answer is good: the least TTL; a negative one what its SOA record says (RFC 2308 section 5), one that
    failed a few (section 7, RFC 9520)."""
    answers, authority, _ = message.sections
    if message.rcode not in {NOERROR, NXDOMAIN}:
        return FAILED_FOR
    if any(record.type == message.question.type for record in answers):
        return min(least_ttl((*answers, *authority), 0), LONGEST)
    negative = [min(soa.ttl, int.from_bytes(soa.data[-4:], "big")) for soa in _soas(authority)]
    return min(*negative, least_ttl(answers, LONGEST), LONGEST_NEGATIVE) if negative else 0


def _soas(authority: Sequence[Record]) -> list[Record]:
    return [record for record in authority if record.type == SOA]
