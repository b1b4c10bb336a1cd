"""IPFIX (RFC 7011) as far as NAT events need it (RFC 8158): templates, records, messages. Pure functions.

Of RFC 8158 there are the mandatory elements of each event, the translated destination of sessions, of blocks the last
port and the length of the prefix, and of the threshold of ports the pool besides.
"""

import struct
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from nat64d.natlog.entries import Entry
from nat64d.natlog.shortage import Shortage, What
from translator.session.log import Kind

# SPEC: RFC 7011 sections 3.1, 3.3.2; RFC 8158 table 2
VERSION, TEMPLATE_SET = 10, 2
HEADER = struct.Struct(">HHIII")  # version, octets, export time, sequence number, observation domain
SET = struct.Struct(">HH")  # number, octets
EVENTS = {
    Kind.SESSION_CREATED: 6,
    Kind.SESSION_ENDED: 7,
    Kind.MAPPING_CREATED: 10,
    Kind.MAPPING_ENDED: 11,
    Kind.BLOCK_ALLOCATED: 16,
    Kind.BLOCK_FREED: 17,
}
# LIMITS
OCTETS = 1280 - 40 - 8  # of a message: with IPv6 and UDP headers it passes every link (RFC 7011 section 10.3.3)


class Element(NamedTuple):
    """An information element: its number at IANA, and how struct packs it."""

    number: int
    form: str


TIME = Element(323, "Q")  # observationTimeMilliseconds
EVENT = Element(230, "B")  # natEvent
SOURCE6 = Element(27, "16s")  # sourceIPv6Address
LENGTH6 = Element(29, "B")  # sourceIPv6PrefixLength
SOURCE_PORT = Element(7, "H")  # sourceTransportPort
PROTOCOL = Element(4, "B")  # protocolIdentifier
MAPPED4 = Element(225, "4s")  # postNATSourceIPv4Address
MAPPED4_PORT = Element(227, "H")  # postNAPTSourceTransportPort
MAPPED6 = Element(281, "16s")  # postNATSourceIPv6Address: of a service
HOST6 = Element(282, "16s")  # postNATDestinationIPv6Address: of its client
HOST4 = Element(226, "4s")  # postNATDestinationIPv4Address
HOST4_PORT = Element(228, "H")  # postNAPTDestinationTransportPort
FIRST_PORT, LAST_PORT = Element(361, "H"), Element(362, "H")  # portRangeStart, portRangeEnd
POOL = Element(283, "I")  # natPoolId
QUOTA, THRESHOLD = Element(466, "I"), Element(467, "I")  # natQuotaExceededEvent, natThresholdEvent
MOST_SESSIONS, MOST_OF_HOST = Element(471, "I"), Element(473, "I")  # maxSessionEntries, maxEntriesPerUser
HIGH = Element(478, "I")  # addressPortMappingHighThreshold


class Template(NamedTuple):
    """What a record says, in order. Numbers are above 255 (RFC 7011 section 3.4.1)."""

    number: int
    elements: tuple[Element, ...]

    @property
    def packing(self) -> struct.Struct:
        """How a record is packed."""
        return struct.Struct(">" + "".join(element.form for element in self.elements))

    @property
    def octets(self) -> bytes:
        """Its Template Record."""
        sizes = ((element.number, struct.calcsize(">" + element.form)) for element in self.elements)
        return SET.pack(self.number, len(self.elements)) + b"".join(SET.pack(*each) for each in sizes)


MAPPING_ELEMENTS = (TIME, EVENT, SOURCE6, MAPPED4, PROTOCOL, SOURCE_PORT, MAPPED4_PORT)
SESSION = Template(256, (*MAPPING_ELEMENTS, HOST4, HOST4_PORT))
SESSION6 = Template(264, (TIME, EVENT, SOURCE6, MAPPED6, PROTOCOL, SOURCE_PORT, MAPPED4_PORT, HOST6, HOST4_PORT))
MAPPING = Template(257, MAPPING_ELEMENTS)
BLOCK = Template(258, (TIME, EVENT, SOURCE6, LENGTH6, MAPPED4, FIRST_PORT, LAST_PORT))
ADDRESSES_EXHAUSTED = Template(259, (TIME, EVENT, POOL))
PORTS_EXHAUSTED = Template(260, (TIME, EVENT, MAPPED4, PROTOCOL))
SESSIONS_EXCEEDED = Template(261, (TIME, EVENT, QUOTA, MOST_SESSIONS))
HOST_EXCEEDED = Template(262, (TIME, EVENT, QUOTA, MOST_OF_HOST, SOURCE6))
PORTS_THRESHOLD = Template(263, (TIME, EVENT, THRESHOLD, HIGH, POOL))
SHORTAGES = (ADDRESSES_EXHAUSTED, PORTS_EXHAUSTED, SESSIONS_EXCEEDED, HOST_EXCEEDED, PORTS_THRESHOLD)
TEMPLATES = (SESSION, MAPPING, BLOCK, *SHORTAGES, SESSION6)
PACKING = {template.number: template.packing for template in TEMPLATES}
TEMPLATE_SETS = b"".join(template.octets for template in TEMPLATES)


class Record(NamedTuple):
    """A data record, and the number of its template."""

    template: int
    octets: bytes


def record_of(entry: Entry | Shortage) -> Record:
    """What is sent of an entry."""
    if isinstance(entry, Shortage):
        return _of_shortage(entry)
    e, event = entry, EVENTS[entry.kind]
    if e.kind in (Kind.BLOCK_ALLOCATED, Kind.BLOCK_FREED):
        return _record(BLOCK, e.time, event, e.host6, e.length, e.mapped4, e.mapped4_port, e.last_port)
    mapping = e.time, event, e.host6, e.mapped4, e.protocol, e.host6_port, e.mapped4_port
    if e.kind in (Kind.SESSION_CREATED, Kind.SESSION_ENDED):
        return _record(SESSION if len(e.host4) == 4 else SESSION6, *mapping, e.host4, e.host4_port)
    return _record(MAPPING, *mapping)


def _of_shortage(one: Shortage) -> Record:
    event, kind = one.what.value
    match one.what:
        case What.ADDRESSES_EXHAUSTED:
            return _record(ADDRESSES_EXHAUSTED, one.time, event, one.pool)
        case What.PORTS_EXHAUSTED:
            return _record(PORTS_EXHAUSTED, one.time, event, one.mapped4, one.protocol)
        case What.SESSIONS_EXCEEDED:
            return _record(SESSIONS_EXCEEDED, one.time, event, kind, one.most)
        case What.HOST_EXCEEDED:
            return _record(HOST_EXCEEDED, one.time, event, kind, one.most, one.host6)
        case What.PORTS_THRESHOLD:
            return _record(PORTS_THRESHOLD, one.time, event, kind, one.most, one.pool)


def _record(template: Template, *values: bytes | int) -> Record:
    return Record(template.number, PACKING[template.number].pack(*values))


class Batch(NamedTuple):
    """Records that go into one message, as sets, and how many they are."""

    sets: bytes
    records: int


TEMPLATES_ALONE = Batch(SET.pack(TEMPLATE_SET, SET.size + len(TEMPLATE_SETS)) + TEMPLATE_SETS, 0)


def batches(records: Iterable[Record]) -> Iterator[Batch]:
    """Records in their order, as many to a batch as a message takes."""
    sets, count = b"", 0
    for number, group in groupby(records, key=lambda record: record.template):
        size = PACKING[number].size
        data = b"".join(record.octets for record in group)
        while data:
            room = (OCTETS - HEADER.size - len(sets) - SET.size) // size * size
            if room <= 0:
                yield Batch(sets, count)
                sets, count = b"", 0
                continue
            part, data = data[:room], data[room:]
            sets, count = sets + SET.pack(number, SET.size + len(part)) + part, count + len(part) // size
    if count:
        yield Batch(sets, count)


def message(batch: Batch, seconds: int, sequence: int, domain: int) -> bytes:
    """An IPFIX Message. `seconds`: since 1970; `sequence`: data records that were sent before."""
    header = HEADER.pack(VERSION, HEADER.size + len(batch.sets), seconds & 0xFFFFFFFF, sequence & 0xFFFFFFFF, domain)
    return header + batch.sets
