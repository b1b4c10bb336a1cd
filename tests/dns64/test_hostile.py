"""Well-formed messages that do harm: too large, too many, or with numbers out of range."""

import asyncio
import struct

import dns.flags
import dns.message
import dns.rcode
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.message.reply import BUFFER, Reply, reply_of, reply_to
from nat64d.dns64.resolver import KNOWN_QUERIES, Resolver
from nat64d.dns64.rules.queries import fit
from nat64d.dns64.rules.synthesis import synthesise
from nat64d.dns64.upstreams.cache import Cache
from nat64d.dns64.upstreams.upstream import Upstreams
from tests.dns64.gateway import CLIENT4, POLICY, WWW, gateway, query

QUERY = dns.message.make_query(WWW, "AAAA", use_edns=0, payload=4096).to_wire()
END = wire.read_question(QUERY).end


def answer(type_: int, *records: tuple[bytes, int, int, bytes], opt: bytes = b"") -> bytes:
    """Octets of an answer to a query for WWW: name, type, TTL, data of each record; options."""
    parts = [name + struct.pack("!HHIH", kind, wire.IN, ttl, len(data)) + data for name, kind, ttl, data in records]
    head = QUERY[:2] + struct.pack("!5H", 0x8180, 1, len(records), 0, bool(opt)) + QUERY[12 : END - 4]
    edns = b"\0" + struct.pack("!HHIH", wire.OPT, 1232, 0, len(opt)) + opt if opt else b""
    return head + struct.pack("!HH", type_, wire.IN) + b"".join(parts) + edns


def kept(octets: bytes) -> Reply:
    return reply_of(octets, wire.read(octets), False, 0.0)


def given(one: Reply, now: float = 0.0) -> dns.message.Message:
    octets = one.answer(QUERY, True, False, now)
    assert len(octets) <= wire.MESSAGE_OCTETS
    return dns.message.from_wire(octets)


@pytest.mark.parametrize(("count", "rcode"), [(2300, dns.rcode.NOERROR), (4000, dns.rcode.SERVFAIL)])
def test_addresses_that_grow_beyond_a_message_are_an_error(count: int, rcode: int) -> None:
    octets = answer(wire.A, *[(b"\xc0\x0c", wire.A, 60, struct.pack("!HH", 0xC000, k)) for k in range(count)])
    made = synthesise(None, wire.read(octets), POLICY)
    assert made is not None
    found = given(reply_to(wire.read(QUERY), made, 0.0))
    assert (found.rcode(), sum(map(len, found.answer))) == (rcode, count if rcode == dns.rcode.NOERROR else 0)


@pytest.mark.parametrize(("size", "rcode"), [(65535 - 13, dns.rcode.NOERROR), (65535 - 12, dns.rcode.SERVFAIL)])
def test_an_answer_without_room_for_our_opt_record_is_an_error(size: int, rcode: int) -> None:
    empty = len(answer(wire.TXT, (b"\xc0\x0c", 65280, 60, b"")))
    octets = answer(wire.TXT, (b"\xc0\x0c", 65280, 60, bytes(size + 2 - empty)))
    assert given(kept(octets)).rcode() == rcode


def test_rfc8914_3_extended_errors_are_left_out_before_records() -> None:
    """... and TC says that something is (section 3); a larger answer is cut as ever."""
    for size, whole in ((1190, True), (1232, True), (1233, False), (1300, False)):
        record = (b"\xc0\x0c", 65280, 60, bytes(size - len(answer(wire.TXT, (b"\xc0\x0c", 65280, 60, b""))) - 11))
        octets = answer(wire.TXT, record, opt=struct.pack("!HHH", wire.EDE, 62, 3) + b"x" * 60)
        for do in (0, dns.flags.DO):
            one = reply_of(octets, wire.read(octets), bool(do), 0.0)
            cut = fit(one.answer(QUERY, True, False, 0.0), QUERY)
            found = dns.message.from_wire(cut)
            assert (found.flags & dns.flags.TC, bool(found.answer), found.options) == (dns.flags.TC, whole, ())
            assert (found.edns, found.ednsflags) == (0, do)
            assert len(cut) <= BUFFER


@pytest.mark.parametrize("payload", [0, 100, 511, 512])
def test_rfc6891_6_2_3_a_size_below_512_is_512_for_what_is_left_out_too(payload: int) -> None:
    asked = dns.message.make_query(WWW, "AAAA", use_edns=0, payload=payload).to_wire()
    record = (b"\xc0\x0c", 65280, 60, bytes(500 - len(answer(wire.TXT, (b"\xc0\x0c", 65280, 60, b""))) - 11))
    octets = answer(wire.TXT, record, opt=struct.pack("!HHH", wire.EDE, 62, 3) + b"x" * 60)
    cut = fit(kept(octets).answer(asked, True, False, 0.0), asked)
    found = dns.message.from_wire(cut)
    assert (len(cut), bool(found.answer), found.options) == (500, True, ())


def test_rfc8914_a_long_explanation_is_not_sent_where_there_is_no_room() -> None:
    octets = answer(wire.AAAA, opt=struct.pack("!HHH", wire.EDE, 2002, 9) + b"x" * 2000)
    one = kept(octets)
    assert len(given(one).options[0].to_wire() or b"") == 2002
    cut = fit(one.answer(QUERY, True, False, 0.0), QUERY)
    assert len(cut) <= BUFFER
    assert dns.message.from_wire(cut).flags & dns.flags.TC


@pytest.mark.parametrize("ttl", [604801, 1 << 31, 0x80000001, 0xFFFFFFFF])
def test_rfc8767_4_a_ttl_with_the_highest_bit_set_is_positive_and_capped_at_seven_days(ttl: int) -> None:
    octets = answer(wire.AAAA, (b"\xc0\x0c", wire.AAAA, 60, bytes(16)), (b"\0", wire.TXT, ttl, b"\1x"))
    message = wire.read(octets)
    records = message.sections[wire.ANSWER]
    assert [record.ttl for record in records] == [60, 604800]
    one = reply_of(octets, message, False, 0.0)
    for age in (0, 1, 2, 59):
        aged = dns.message.from_wire(one.answer(QUERY, True, False, float(age)))
        assert [rrset.ttl for rrset in aged.answer] == [60 - age, 604800 - age]


@pytest.mark.parametrize("section", [wire.ANSWER, wire.AUTHORITY, wire.ADDITIONAL])
@pytest.mark.parametrize("ttl", [604801, 1 << 31, 0xFFFFFFFF])
def test_rfc8767_4_so_is_that_of_a_record_of_any_section_that_is_alone(ttl: int, section: int) -> None:
    octets = answer(wire.TXT, (b"\xc0\x0c", wire.TXT, ttl, b"\1x"))
    counts = [int(each == section) for each in range(3)]
    one = kept(octets[:6] + struct.pack("!3H", *counts) + octets[12:])
    for age in (0, 1, 86399):
        found = wire.read(one.answer(QUERY, True, False, float(age)))
        assert [record.ttl for record in found.sections[section]] == [604800 - age]


def test_rfc8767_4_a_ttl_of_seven_days_stays_as_it_is() -> None:
    octets = answer(wire.AAAA, (b"\xc0\x0c", wire.AAAA, 604800, bytes(16)))
    assert dns.message.from_wire(kept(octets).answer(QUERY, True, False, 0.0)).answer[0].ttl == 604800


def resolved(*queries: bytes) -> tuple[list[bytes | None], Resolver]:
    async def run() -> tuple[list[bytes | None], Resolver]:
        one = Resolver(Upstreams([]), Cache(1 << 20), lambda: True)
        one.use([POLICY])
        return [one.at_once(query, CLIENT4)[0] for query in queries], one

    return asyncio.run(run())


def test_queries_that_are_remembered_are_small_and_few() -> None:
    _, one = resolved(*(QUERY + struct.pack("!H", k) for k in range(KNOWN_QUERIES + 10)))
    assert 0 < len(one._known_queries) <= KNOWN_QUERIES
    _, one = resolved(*(QUERY + struct.pack("!H", k) + bytes(60000) for k in range(10)))
    assert len(one._known_queries) == 0


@pytest.mark.parametrize("counts", [(1, 0, 0), (0, 1, 0), (0, 0, 3)])
def test_a_query_with_the_records_of_an_answer_is_a_format_error(counts: tuple[int, int, int]) -> None:
    octets = QUERY[:6] + struct.pack("!3H", *counts) + QUERY[12:END]
    (said,), _ = resolved(octets + (b"\0" + struct.pack("!HHIH", 250, 255, 0, 0)) * sum(counts))
    assert said is not None
    found = dns.message.from_wire(said)
    assert (found.id, found.rcode()) == (dns.message.from_wire(QUERY).id, dns.rcode.FORMERR)


@pytest.mark.parametrize(("before", "found"), [(0, True), (2, True), (15, True), (16, False)])
def test_rfc6891_6_1_1_the_opt_record_of_a_broken_query_is_looked_for_behind_so_many(before: int, found: bool) -> None:
    records = (b"\0" + struct.pack("!HHIH", 250, 255, 0, 0)) * before + QUERY[END:] + b"\0"  # a record that is cut off
    (said,), _ = resolved(QUERY[:10] + struct.pack("!H", before + 2) + QUERY[12:END] + records)
    assert said is not None
    answer = dns.message.from_wire(said)
    assert (answer.rcode(), answer.edns == 0) == (dns.rcode.FORMERR, found)


@pytest.mark.parametrize(("opcode", "rcode"), [(0, dns.rcode.FORMERR), (4, dns.rcode.NOTIMP)])
def test_rfc6891_6_1_3_what_cannot_be_read_is_no_query_of_a_later_version(opcode: int, rcode: int) -> None:
    cut_off = b"\0" + struct.pack("!HHIH", wire.OPT, 1232, 1 << 16, 4)
    (said,), _ = resolved(QUERY[:2] + struct.pack("!H", opcode << 11) + QUERY[4:END] + cut_off)
    assert said is not None
    found = dns.message.from_wire(said)
    assert (found.rcode(), found.edns) == (rcode, 0)


@pytest.mark.parametrize("type_", ["AAAA", "A", "MX"])
def test_rfc5452_6_what_stands_beside_an_alias_is_not_answered_with_what_it_leads_to(type_: str) -> None:
    beside = ["bank.example. 60 IN A 203.0.113.66", "bank.example. 60 IN CNAME evil.test.", "evil.test. 60 IN MX 1 x."]
    table: dict[tuple[str, str], object] = {
        (WWW, each): [*beside, f"{WWW} 60 IN CNAME a.example.", *beside] for each in ("A", "AAAA", "MX")
    }
    end: dict[tuple[str, str], object] = {
        ("a.example.", "A"): ["a.example. 60 IN A 192.0.2.1"],
        ("a.example.", "MX"): ["a.example. 60 IN MX 1 a.example."],
    }
    with gateway(table | end) as one:
        found = one.ask(query(type_))
    assert {rrset.name.to_text() for rrset in found.answer} == {WWW, "a.example."}
