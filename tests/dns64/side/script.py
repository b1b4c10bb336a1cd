"""What a scripted server says: functions of a query that make the datagrams of an answer (dnspython writes them)."""

from collections.abc import Callable, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Says = Callable[[bytes, bool], list[bytes]]  # octets of the query, whether by TCP


def lines(
    *answer: str,
    rcode: str = "NOERROR",
    authority: Sequence[str] = (),
    additional: Sequence[str] = (),
    flags: int = 0,
) -> Says:
    """An answer of zone file lines; truncated by UDP when it does not fit."""

    def say(octets: bytes, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(octets)
        message = dns.message.make_response(query, recursion_available=True, our_payload=1232)
        message.set_rcode(dns.rcode.from_text(rcode))
        message.ednsflags |= query.ednsflags & dns.flags.DO
        message.flags |= flags
        for section, texts in ((message.answer, answer), (message.authority, authority)):
            _add(message, section, texts)
        _add(message, message.additional, additional)
        whole = message.to_wire(max_size=65535)
        if tcp or len(whole) <= max(query.payload, 512):
            return [whole]
        for section in (message.answer, message.authority, message.additional):
            section.clear()
        message.flags |= dns.flags.TC
        return [message.to_wire()]

    return say


def _add(message: dns.message.Message, section: list[dns.rrset.RRset], texts: Sequence[str]) -> None:
    for text in texts:
        name, ttl, class_, type_, data = text.split(None, 4)
        rrset = dns.rrset.from_text(name, int(ttl), class_, type_, data)
        found = message.find_rrset(section, rrset.name, rrset.rdclass, rrset.rdtype, rrset.covers, create=True)
        found.update(rrset)


def soa(zone: str, ttl: int = 120) -> str:
    """The SOA record of a negative answer (RFC 2308 section 3: its TTL is how long the answer holds)."""
    return f"{zone} {ttl} IN SOA ns.{zone} admin.{zone} 1 3600 600 86400 {ttl}"


def nodata(zone: str, ttl: int = 120) -> Says:
    """No record of that type."""
    return lines(authority=[soa(zone, ttl)])


def nxdomain(zone: str) -> Says:
    """No such name."""
    return lines(rcode="NXDOMAIN", authority=[soa(zone)])


def silent(_octets: bytes, _tcp: bool) -> list[bytes]:
    """Nothing."""
    return []


def error(rcode: str) -> Says:
    """An error, without records."""
    return lines(rcode=rcode)


def by_tcp(whole: Says) -> Says:
    """Truncated by UDP, whole by TCP."""

    def say(octets: bytes, tcp: bool) -> list[bytes]:
        return whole(octets, tcp) if tcp else lines(flags=dns.flags.TC)(octets, tcp)

    return say


def changed(whole: Says, change: Callable[[bytes], bytes]) -> Says:
    """The same with other octets."""
    return lambda octets, tcp: [change(each) for each in whole(octets, tcp)]


def after(forged: Says, right: Says) -> Says:
    """The right answer behind a forged one."""
    return lambda octets, tcp: forged(octets, tcp) + right(octets, tcp)


def lower_case(octets: bytes) -> bytes:
    """The question in small letters, however it was asked."""
    end = octets.index(b"\0", 12)
    return octets[:12] + octets[12:end].lower() + octets[end:]


def other_id(octets: bytes) -> bytes:
    """The answer to another query."""
    return bytes([octets[0] ^ 0x55]) + octets[1:]


def cut(octets: bytes) -> bytes:
    """The last record without its last octets."""
    return octets[:-6]


def more_records(octets: bytes) -> bytes:
    """Five records announced more than there are."""
    return octets[:6] + (int.from_bytes(octets[6:8], "big") + 5).to_bytes(2, "big") + octets[8:]


def looping(octets: bytes) -> bytes:
    """The name of the first record points at itself (it is compressed: 0xC0 0x0C, behind the question)."""
    at = octets.index(b"\xc0\x0c", 12)
    return octets[:at] + (0xC000 | at).to_bytes(2, "big") + octets[at + 2 :]


def opt_twice(octets: bytes) -> bytes:
    """Another OPT record at the end."""
    count = int.from_bytes(octets[10:12], "big") + 1
    return octets[:10] + count.to_bytes(2, "big") + octets[12:] + b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
