"""What a client sends and how much of an answer it takes: read, or refused with a code."""

from nat64d.dns64.reply import BUFFER
from nat64d.dns64.synthesis import failure
from nat64d.dns64.wire import (
    BADVERS,
    CD,
    FORMERR,
    HEADER,
    NOTIMP,
    OPCODE,
    OPT,
    QR,
    TC,
    Message,
    WireError,
    read,
    read_query,
    write,
)

UDP_WITHOUT_EDNS = 512
# Types that are no question to forward: TKEY, TSIG, IXFR, AXFR, MAILB, MAILA are for a server itself; OPT is no type.
NOT_FORWARDED = {**dict.fromkeys(range(249, 255), NOTIMP), OPT: FORMERR}


def understood(octets: bytes) -> tuple[Message | None, bytes | None]:
    """(query, answer to what is none); neither for what may not be answered at all: an answer, or less than a
    header."""
    if len(octets) < HEADER or octets[2] & QR >> 8:
        return None, None
    flags = int.from_bytes(octets[2:4], "big")
    try:
        query = read_query(octets)
    except WireError:
        rcode = NOTIMP if flags & OPCODE else FORMERR
        return None, octets[:2] + (QR | flags & 0x7900 | rcode).to_bytes(2, "big") + bytes(8)
    if flags & OPCODE:
        return None, write(failure(query, NOTIMP))
    if query.edns and query.edns.version > 0:
        return None, write(failure(query, BADVERS))
    if query.question.type in NOT_FORWARDED:
        return None, write(failure(query, NOT_FORWARDED[query.question.type]))
    return query, None


def validates(query: Message) -> bool:
    """RFC 6147 section 5.5, the third case: DO and CD."""
    return bool(query.edns and query.edns.dnssec and query.flags & CD)


def fit(octets: bytes, query: bytes) -> bytes:
    """An answer cut to what the client takes by UDP: header and question with TC, where it is larger (RFC 2181 section
    9)."""
    if len(octets) <= UDP_WITHOUT_EDNS:
        return octets
    message = read(query)
    if message.edns and len(octets) <= min(message.edns.size, BUFFER):
        return octets
    answer = read(octets)
    edns = answer.edns and answer.edns._replace(options=b"")
    return write(answer._replace(flags=answer.flags | TC, sections=([], [], []), edns=edns))
