"""`filter_a`: answers for clients that must not see IPv4 addresses."""

from nat64d.dns64.message.wire import AD, HTTPS, IN, RRSIG, SVCB, A, Message, Record, WireError, skip_name
from nat64d.dns64.rules.synthesis import signed_type

# SPEC: RFC 9460 sections 2.2 (wire format), 7.3 (ipv4hint), 8 (mandatory)
MANDATORY, IPV4HINT = 0, 4
_HAVE_IPV4 = frozenset((A, SVCB, HTTPS))


def without_ipv4(answer: Message) -> Message:
    """The answer without A records in any section, and without ipv4hint in HTTPS and SVCB records; the same object if
    it has neither.

    Signatures over changed records are removed as well. AD is cleared if the answer or authority section has changed,
    because it is no longer what a server validated (RFC 4035 section 3.2.3).
    """
    answers, authority, additional = map(_without_ipv4, answer.sections)
    sections = answers, authority, additional
    if all(new is old for new, old in zip(sections, answer.sections, strict=True)):
        return answer
    authentic = answers is answer.sections[0] and authority is answer.sections[1]
    return answer._replace(flags=answer.flags if authentic else answer.flags & ~AD, sections=sections)


def _without_ipv4(section: list[Record]) -> list[Record]:
    if not any(record.type in _HAVE_IPV4 and record.class_ == IN for record in section):
        return section
    kept, changed = [], set()
    for record in section:
        bare = _bare(record)
        if bare is not record:
            changed.add((record.name.lower(), record.type))
        if bare is not None:
            kept.append(bare)
    if not changed:
        return section
    return [
        record for record in kept if record.type != RRSIG or (record.name.lower(), signed_type(record)) not in changed
    ]


def _bare(record: Record) -> Record | None:
    """The record without IPv4 addresses; None if nothing usable is left."""
    if record.class_ != IN or record.type not in _HAVE_IPV4:
        return record
    if record.type == A:
        return None
    try:
        data = without_hint(record.data)
    except WireError:  # a malformed record would make clients reject the whole RRset (RFC 9460 section 2.2)
        return None
    return record if data == record.data else record._replace(data=data)


def without_hint(data: bytes) -> bytes:
    """The data of an HTTPS or SVCB record without ipv4hint, which is also removed from `mandatory`. Raises
    WireError."""
    at = skip_name(data, 2)
    parts = [data[:at]]
    while at < len(data):
        key, end = int.from_bytes(data[at : at + 2], "big"), at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        if at + 4 > len(data) or end > len(data):
            raise WireError("a parameter is cut off")
        if key == MANDATORY:
            parts.append(_mandatory(data[at + 4 : end]))
        elif key != IPV4HINT:
            parts.append(data[at:end])
        at = end
    return b"".join(parts)


def _mandatory(keys: bytes) -> bytes:
    """The parameter with the keys that a client must understand; it must not be empty (section 8)."""
    kept = b"".join(keys[at : at + 2] for at in range(0, len(keys), 2) if keys[at : at + 2] != bytes((0, IPV4HINT)))
    return bytes((0, MANDATORY)) + len(kept).to_bytes(2, "big") + kept if kept else b""
