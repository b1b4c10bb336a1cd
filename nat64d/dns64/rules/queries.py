"""What a client sends, and how much of an answer it can take: read, or refused with a code."""

from nat64d.dns64.message.reply import BUFFER
from nat64d.dns64.message.wire import (
    AXFR,
    BADVERS,
    CD,
    FORMERR,
    HEADER,
    IXFR,
    NOERROR,
    NOTAUTH,
    NOTIMP,
    OPCODE,
    OPT,
    QR,
    RA,
    TC,
    Message,
    WireError,
    read,
    read_broken,
    read_query,
    write,
)
from nat64d.dns64.rules.synthesis import failure

UDP_WITHOUT_EDNS = 512
# Types that are not forwarded: TKEY, TSIG, MAILB, MAILA concern one server; transfers (IXFR, AXFR) are of zones that
# are not ours (RFC 5936 section 2.2.1); OPT is no type to ask for.
NOT_FORWARDED = {**dict.fromkeys(range(249, 255), NOTIMP), IXFR: NOTAUTH, AXFR: NOTAUTH, OPT: FORMERR}


def understood(octets: bytes) -> tuple[Message | None, bytes | None]:
    """(query, None), or (None, the refusal) if it cannot be processed; (None, None) if it must not be answered: a
    response, or less than a header."""
    if len(octets) < HEADER or octets[2] & QR >> 8:
        return None, None
    flags = int.from_bytes(octets[2:4], "big")
    try:
        query = read_query(octets)
    except WireError:
        return None, _refusal(octets, NOTIMP if flags & OPCODE else FORMERR)
    if query.edns and query.edns.version > 0:  # before all else: RFC 6891 section 6.1.3
        return None, write(failure(query, BADVERS))
    if flags & OPCODE:
        return None, write(failure(query, NOTIMP))
    if query.question.type in NOT_FORWARDED:
        return None, write(failure(query, NOT_FORWARDED[query.question.type]))
    return query, None


def _refusal(octets: bytes, rcode: int) -> bytes:
    """The answer to a query that cannot be read: header, question, and an OPT record if the query has one (RFC 6891
    section 7); a header alone if not even the question can be read."""
    try:
        return write(failure(read_broken(octets), rcode))
    except WireError:
        flags = QR | RA | int.from_bytes(octets[2:4], "big") & 0x7910 | rcode
        return octets[:2] + flags.to_bytes(2, "big") + bytes(8)


def validates(query: Message) -> bool:
    """Whether the client validates for itself: it sets DO and CD (RFC 6147 section 5.5, item 3)."""
    return bool(query.edns and query.edns.dnssec and query.flags & CD)


def cut_short(query: Message) -> Message:
    """An answer with nothing but TC, after which a client asks by TCP (RFC 7766 section 5)."""
    answer = failure(query, NOERROR)
    return answer._replace(flags=answer.flags | TC)


def fit(octets: bytes, query: bytes) -> bytes:
    """An answer cut to the UDP size of the client, with TC set if something is left out: the Extended DNS Errors if
    that is enough (RFC 8914 section 3), else everything but header, question and OPT record (RFC 2181 section 9, RFC
    6891 section 7)."""
    if len(octets) <= UDP_WITHOUT_EDNS:
        return octets
    edns = read(query).edns
    size = max(min(edns.size, BUFFER), UDP_WITHOUT_EDNS) if edns else UDP_WITHOUT_EDNS
    if len(octets) <= size:
        return octets
    answer = read(octets)
    flags, bare = answer.flags | TC, answer.edns and answer.edns._replace(options=b"")
    options = len(answer.edns.options) if answer.edns else 0
    if len(octets) - options <= size:
        end = len(octets) - options - 2  # the OPT record is the last one
        return octets[:2] + flags.to_bytes(2, "big") + octets[4:end] + bytes(2)
    return write(answer._replace(flags=flags, sections=([], [], []), edns=bare))
