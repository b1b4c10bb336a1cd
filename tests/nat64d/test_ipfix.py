"""IPFIX NAT events as a collector decodes them (RFC 7011, RFC 8158); what it gets over UDP, and what is counted when it
is not there. The decoder here is of the RFCs and shares nothing with the encoder."""

import errno
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from nat64d.config.models import Log
from nat64d.natlog import collector, ipfix
from nat64d.natlog.collector import Collector
from nat64d.natlog.entries import Entry, entries_of
from nat64d.natlog.place import Moment
from nat64d.natlog.shortage import Shortage, What, line
from tests.nat64d.hosts import fixtures
from tests.nat64d.netns import ip
from tests.nat64d.test_session_log import EPOCH, NOW, Logging, entry
from translator.session.log import Kind

namespace, server, _text, _config = fixtures()

# RFC 8158 table 1: number, bits. The prefix length is of the IANA registry, number 29, unsigned8.
ELEMENTS = {
    323: ("timeStamp", 64),
    230: ("natEvent", 8),
    27: ("sourceIPv6Address", 128),
    29: ("sourceIPv6PrefixLength", 8),
    225: ("postNATSourceIPv4Address", 32),
    4: ("protocolIdentifier", 8),
    7: ("sourceTransportPort", 16),
    227: ("postNAPTSourceTransportPort", 16),
    281: ("postNATSourceIPv6Address", 128),
    282: ("postNATDestinationIPv6Address", 128),
    226: ("postNATDestinationIPv4Address", 32),
    228: ("postNAPTDestinationTransportPort", 16),
    361: ("portRangeStart", 16),
    362: ("portRangeEnd", 16),
    283: ("natPoolId", 32),
    466: ("natQuotaExceededEvent", 32),
    467: ("natThresholdEvent", 32),
    471: ("maxSessionEntries", 32),
    473: ("maxEntriesPerUser", 32),
    478: ("addressPortMappingHighThreshold", 32),
}
COMMON = {
    "timeStamp": EPOCH + 1_000_000_123,
    "sourceIPv6Address": int(IPv6Address("2001:db8::10")),
    "postNATSourceIPv4Address": int(IPv4Address("198.51.100.1")),
}
MAPPING = {"protocolIdentifier": 17, "sourceTransportPort": 5000, "postNAPTSourceTransportPort": 2000}
PEER = {
    "postNATDestinationIPv4Address": int(IPv4Address("203.0.113.5")),
    "postNAPTDestinationTransportPort": 53,
}
BLOCK = {"sourceIPv6PrefixLength": 64, "portRangeStart": 2000, "portRangeEnd": 2063}
# RFC 8158 tables 2, 6, 8 and 21.
RECORDS = [
    (Kind.SESSION_CREATED, {"natEvent": 6, **COMMON, **MAPPING, **PEER}),
    (Kind.SESSION_ENDED, {"natEvent": 7, **COMMON, **MAPPING, **PEER}),
    (Kind.MAPPING_CREATED, {"natEvent": 10, **COMMON, **MAPPING}),
    (Kind.MAPPING_ENDED, {"natEvent": 11, **COMMON, **MAPPING}),
    (Kind.BLOCK_ALLOCATED, {"natEvent": 16, **COMMON, **BLOCK}),
    (Kind.BLOCK_FREED, {"natEvent": 17, **COMMON, **BLOCK}),
]
# RFC 8158 tables 9 to 13 and 17: what is short, its line, and what a collector gets.
AT = 1_772_366_400_123
HOST6, MAPPED4 = IPv6Address("2001:db8::10"), IPv4Address("198.51.100.1")
SHORTAGES = [
    (Shortage(AT, What.ADDRESSES_EXHAUSTED, 2), "addresses-exhausted pool 2", {"natEvent": 3, "natPoolId": 2}),
    (
        Shortage(AT, What.PORTS_EXHAUSTED, mapped4=MAPPED4.packed, protocol=17),
        "ports-exhausted udp 198.51.100.1",
        {"natEvent": 12, "postNATSourceIPv4Address": int(MAPPED4), "protocolIdentifier": 17},
    ),
    (
        Shortage(AT, What.SESSIONS_EXCEEDED, most=1 << 20),
        "sessions-exceeded 1048576",
        {"natEvent": 13, "natQuotaExceededEvent": 1, "maxSessionEntries": 1 << 20},
    ),
    (
        Shortage(AT, What.HOST_EXCEEDED, host6=HOST6.packed, most=1000),
        "host-exceeded 2001:db8::10 1000",
        {"natEvent": 13, "natQuotaExceededEvent": 3, "maxEntriesPerUser": 1000, "sourceIPv6Address": int(HOST6)},
    ),
    (
        Shortage(AT, What.PORTS_THRESHOLD, 1, most=58060),
        "ports-threshold pool 1 58060",
        {"natEvent": 18, "natThresholdEvent": 3, "addressPortMappingHighThreshold": 58060, "natPoolId": 1},
    ),
]


class Decoder:
    """What RFC 7011 section 3 says of a message, with the templates seen so far."""

    def __init__(self) -> None:
        self.templates: dict[int, list[tuple[int, int]]] = {}
        self.headers: list[tuple[int, int, int]] = []  # export time, sequence number, domain
        self.records: list[dict[str, int]] = []

    def take(self, octets: bytes) -> None:
        """A message."""
        version, length = number(octets, 0, 2), number(octets, 2, 2)
        assert (version, length) == (10, len(octets))
        self.headers.append((number(octets, 4, 4), number(octets, 8, 4), number(octets, 12, 4)))
        at = 16
        while at < len(octets):
            set_id, size = number(octets, at, 2), number(octets, at + 2, 2)
            assert size > 4
            assert at + size <= len(octets)
            body = octets[at + 4 : at + size]
            self.learn(body) if set_id == 2 else self.records.extend(self.decoded(self.templates[set_id], body))
            at += size

    def learn(self, body: bytes) -> None:
        while body:
            template, count = number(body, 0, 2), number(body, 2, 2)
            assert template > 255
            fields = [(number(body, at, 2), number(body, at + 2, 2)) for at in range(4, 4 + 4 * count, 4)]
            assert all(ELEMENTS[element][1] == 8 * size for element, size in fields)
            self.templates[template], body = fields, body[4 + 4 * count :]

    def decoded(self, template: list[tuple[int, int]], body: bytes) -> Iterator[dict[str, int]]:
        while body:
            row = {}
            for element, size in template:
                row[ELEMENTS[element][0]], body = number(body, 0, size), body[size:]
            yield row


def number(octets: bytes, at: int, size: int) -> int:
    assert at + size <= len(octets)
    return int.from_bytes(octets[at : at + size], "big")


def entries(kind: Kind, count: int = 1) -> list[Entry]:
    """The same entry so many times."""
    return [one for _ in range(count) for one in entries_of(entry(kind), EPOCH)]


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1", "127.0.0.1:{}"), (socket.AF_INET6, "::1", "[::1]:{}")])
def there(request: Any) -> Iterator[tuple[socket.socket, Log]]:
    """The socket of a collector on loopback, and [log] for it."""
    family, host, text = request.param
    with socket.socket(family, socket.SOCK_DGRAM) as listening:
        listening.bind((host, 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listening.setblocking(False)
        yield listening, Log(sessions="sessions", ipfix=text.format(listening.getsockname()[1]), ipfix_domain=7)


def received(listening: socket.socket) -> list[bytes]:
    """What has come: on loopback it is there when it was sent."""
    found = []
    while True:
        try:
            found.append(listening.recv(65535))
        except BlockingIOError:
            return found


@pytest.mark.parametrize(("kind", "expected"), RECORDS, ids=str)
def test_rfc8158_4_6_an_event_has_the_elements_of_its_template(kind, expected):
    decoder = Decoder()
    decoder.take(ipfix.message(ipfix.TEMPLATES_ALONE, 1, 0, 0))
    for batch in ipfix.batches(map(ipfix.record_of, entries(kind))):
        decoder.take(ipfix.message(batch, 1, 0, 0))
    assert decoder.records == [expected]


@pytest.mark.parametrize(("short", "text", "expected"), SHORTAGES, ids=[row[1] for row in SHORTAGES])
def test_rfc8158_4_6_what_is_short_has_the_elements_of_its_template(short, text, expected):
    decoder = Decoder()
    decoder.take(ipfix.message(ipfix.TEMPLATES_ALONE, 1, 0, 0))
    for batch in ipfix.batches([ipfix.record_of(short)]):
        decoder.take(ipfix.message(batch, 1, 0, 0))
    assert decoder.records == [{"timeStamp": AT, **expected}]
    assert line(short) == f"2026-03-01T12:00:00.123Z {text}"


def test_every_kind_of_shortage_is_here():
    assert {row[0].what for row in SHORTAGES} == {*What}


def test_rfc7011_10_3_3_no_message_is_too_long_and_nothing_is_lost_between_them():
    many = [
        one for kind in (Kind.SESSION_CREATED, Kind.BLOCK_FREED, Kind.MAPPING_ENDED) * 3 for one in entries(kind, 77)
    ]
    decoder = Decoder()
    decoder.take(ipfix.message(ipfix.TEMPLATES_ALONE, 1, 0, 0))
    batches = list(ipfix.batches(map(ipfix.record_of, many)))
    messages = [ipfix.message(batch, 1, 0, 0) for batch in batches]
    assert max(map(len, messages)) <= 1232
    assert sum(batch.records for batch in batches) == len(many)
    for message in messages:
        decoder.take(message)
    events = {kind: expected["natEvent"] for kind, expected in RECORDS}
    assert [record["natEvent"] for record in decoder.records] == [events[one.kind] for one in many]


def test_rfc7011_3_1_the_sequence_number_counts_data_records(there):
    listening, config = there
    place, decoder = Collector(config), Decoder()
    for count in (3, 50, 1):
        assert place.write(entries(Kind.SESSION_CREATED, count), NOW) == (count, 0)
    place.close()
    seen = 0
    for message in received(listening):
        decoder.take(message)
        assert decoder.headers[-1] == (EPOCH // 1000, seen, 7)
        seen = len(decoder.records)
    assert seen == 54


def test_rfc7011_8_4_templates_come_first_twice_and_again_after_a_while_and_many_messages(there, monkeypatch):
    listening, config = there
    place = Collector(config)

    def templates(seconds: float, count: int = 0) -> int:
        place.write(entries(Kind.SESSION_CREATED, count), Moment(EPOCH, seconds))
        return sum(number(message, 16, 2) == 2 for message in received(listening))

    assert [templates(at) for at in (0.0, 59.9, 60.0, 60.1, 119.9, 120.1)] == [2, 0, 1, 0, 0, 1]
    monkeypatch.setattr(collector, "MESSAGES", 5)
    assert templates(121.0, 24 * 6) == 1
    place.close()


def test_a_collector_that_is_not_there_is_a_warning_until_it_is(there):
    listening, config = there
    host, port = listening.getsockname()[:2]
    family = listening.family
    listening.close()
    place = Collector(config)
    totals = [place.write(entries(Kind.SESSION_CREATED), Moment(EPOCH, float(at))) for at in range(4)]
    assert sum(taken.failed for taken in totals) >= 3  # what is refused late, the fifth will tell
    assert "Connection refused" in str(place.failure)
    with socket.socket(family, socket.SOCK_DGRAM) as again:
        again.bind((host, port))
        assert place.write(entries(Kind.SESSION_CREATED), Moment(EPOCH, 5.0)).written == 1
        place.write([], Moment(EPOCH, 16.0))
        assert place.failure is None
        assert len(again.recv(2000)) > 16
    place.close()


def test_what_the_kernel_does_not_send_is_counted_and_nobody_waits(there, monkeypatch):
    _, config = there
    place = Collector(config)

    def full(*_: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "send", full)
        assert place.write(entries(Kind.SESSION_CREATED, 30), NOW) == (0, 30)
    assert "Resource temporarily unavailable" in str(place.failure)
    place.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAFNOSUPPORT], ids=errno.errorcode.get)
def test_without_a_socket_that_is_said_and_later_there_may_be_one(there, monkeypatch, number):
    _, config = there

    def refuse(*_: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(collector.socket, "socket", refuse)
        place = Collector(config)
        assert place.write(entries(Kind.SESSION_CREATED, 30), NOW) == (0, 30)
        place.close()
    assert os.strerror(number) in str(place.failure)
    assert place.write(entries(Kind.SESSION_CREATED, 30), NOW) == (30, 0)
    place.close()


def test_rfc7011_8_4_a_collector_that_was_away_gets_the_templates_before_anything_else(there):
    listening, config = there
    address, decoder = listening.getsockname()[:2], Decoder()
    place = Collector(config)
    place.write(entries(Kind.SESSION_CREATED), NOW)
    listening.close()
    place.write(entries(Kind.SESSION_CREATED), NOW)
    with socket.socket(listening.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as again:
        again.bind(address)
        assert place.write(entries(Kind.SESSION_ENDED), NOW).written == 1
        for message in received(again):
            decoder.take(message)
    assert [record["natEvent"] for record in decoder.records] == [7]
    place.close()


FAR = {"192.0.2.1": ("192.0.2.2/24", "192.0.2.3/24"), "2001:db8::1": ("2001:db8::2/64", "2001:db8::3/64")}


@pytest.mark.parametrize(("host", "ours"), FAR.items(), ids=("ipv4", "ipv6"))
def test_with_another_address_of_this_host_a_session_begins_anew(server, host, ours):
    is_ipv6, decoder = ":" in host, Decoder()
    family, dad = (socket.AF_INET6, ["nodad"]) if is_ipv6 else (socket.AF_INET, [])
    ip("address", "flush", "dev", "eth0")
    ip("address", "add", ours[0], "dev", "eth0", *dad)
    with server:
        ip("address", "replace", f"{host}/{64 if is_ipv6 else 24}", "dev", "far0", *dad)
        listening = socket.socket(family, socket.SOCK_DGRAM)
    with listening:
        listening.bind((host, 4739))
        listening.settimeout(10)
        place = Collector(Log(sessions="sessions", ipfix=f"[{host}]:4739" if is_ipv6 else f"{host}:4739"))
        assert place.write(entries(Kind.SESSION_CREATED), NOW) == (1, 0)
        assert [listening.recvfrom(2000)[1][0] for _ in range(3)] == [ours[0].partition("/")[0]] * 3
        ip("address", "del", ours[0], "dev", "eth0")
        ip("address", "add", ours[1], "dev", "eth0", *dad)
        if not is_ipv6:  # the kernel goes on with the IPv6 source that is no more
            assert place.write(entries(Kind.SESSION_CREATED), NOW) == (0, 1)
        assert place.write(entries(Kind.SESSION_ENDED), Moment(EPOCH, 0.2 if not is_ipv6 else 60.0)) == (1, 0)
        for _ in range(3):
            octets, sender = listening.recvfrom(2000)
            assert sender[0] == ours[1].partition("/")[0]
            decoder.take(octets)
        assert [sequence for _, sequence, _ in decoder.headers] == [0, 0, 0]
        assert [record["natEvent"] for record in decoder.records] == [7]
        place.close()


def test_the_reader_sends_what_begins_and_ends(there):
    listening, config = there
    gateway, decoder = Logging(ipfix=config.ipfix), Decoder()
    gateway.nat64.opened("udp", 5000)
    gateway.reader.turn(NOW)
    gateway.nat64.wait(301)
    gateway.reader.close(NOW)
    for message in received(listening):
        decoder.take(message)
    assert [record["natEvent"] for record in decoder.records] == [6, 7]
    assert gateway.reader.counts["ipfix_written"] == 2
    assert gateway.counts() == {"written": 0, "lost": 0, "failed": 0}
