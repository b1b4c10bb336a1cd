"""A cached answer and what clients get of it: the same octets, except for what belongs to each client."""

import struct

import dns.flags
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.dns64.message import wire
from nat64d.dns64.message.reply import (
    FAILED_FOR,
    LONGEST,
    LONGEST_NEGATIVE,
    STALE_FOR,
    STALE_TTL,
    Reply,
    error_codes,
    layout,
    lifetime,
    reply_of,
)
from tests.dns64.zone import SOA, reply

WWW = "www.example."
A = [f"{WWW} 60 IN A 192.0.2.1", f"{WWW} 90 IN A 192.0.2.2"]


def ask(name: str = WWW, **options: object) -> dns.message.Message:
    return dns.message.make_query(name, "A", **options)  # type: ignore[arg-type]


def came(said: object, **options: object) -> bytes:
    lines = list(said) if isinstance(said, list) else said
    return reply(ask(**options or {"use_edns": 0}), lines).to_wire()


def kept(octets: bytes, now: float = 0.0, dnssec: bool = False) -> Reply:
    return reply_of(octets, wire.read(octets), dnssec, now)


def given_to(one: Reply, query: dns.message.Message, now: float = 0.0) -> dns.message.Message:
    dnssec = bool(query.ednsflags & dns.flags.DO)
    authentic = dnssec or bool(query.flags & dns.flags.AD)
    octets = one.answer(query.to_wire(), query.edns >= 0, authentic, now)
    return dns.message.from_wire(octets)


def test_the_answer_has_the_clients_id_and_letters_and_ttls_that_fell() -> None:
    found = given_to(kept(came(A), 100.0), ask("WwW.eXample.", id=77), 142.9)
    assert (found.id, found.question[0].name.to_text(), found.answer[0].ttl) == (77, "WwW.eXample.", 18)


def test_the_octets_of_the_records_are_as_they_came_with_edns_and_without() -> None:
    lines = [f"{WWW} 60 IN MX 10 mail.{WWW}", f"{WWW} 60 IN MX 20 other.{WWW}"]
    octets = came(lines)
    end, opt = wire.read_question(octets).end, len(octets) - 11
    one = kept(octets)
    with_edns = one.answer(ask(use_edns=0).to_wire(), True, False, 0.0)
    without = one.answer(ask().to_wire(), False, False, 0.0)
    assert with_edns[end:opt] == without[end:] == octets[end:opt]
    assert (with_edns[10:12], without[10:12]) == (b"\0\1", b"\0\0")
    assert with_edns[opt:] == b"\0" + struct.pack("!HHIH", wire.OPT, 1232, 0, 0)


@pytest.mark.parametrize(
    ("options", "authentic"),
    [({}, False), ({"use_edns": 0}, False), ({"want_dnssec": True}, True), ({"flags": dns.flags.AD}, True)],
)
def test_rfc6840_5_7_and_5_8_ad_is_for_clients_that_asked_for_it(options: dict[str, object], authentic: bool) -> None:
    octets = bytearray(came(A))
    octets[3] |= wire.AD
    found = given_to(kept(bytes(octets)), ask(**options))
    assert bool(found.flags & dns.flags.AD) is authentic


@pytest.mark.parametrize("flag", [dns.flags.RD, dns.flags.CD])
@pytest.mark.parametrize("there", [True, False])
def test_rfc1035_4_1_1_and_rfc4035_3_2_2_rd_and_cd_are_the_clients(flag: int, there: bool) -> None:
    query = ask()
    query.flags = dns.flags.Flag(flag if there else 0)
    assert bool(given_to(kept(came(A)), query).flags & flag) is there


@pytest.mark.parametrize("flag", [dns.flags.RD, dns.flags.CD])
def test_rfc4035_3_1_6_an_answer_with_authority_has_no_cd(flag: int) -> None:
    octets = bytearray(came(A))
    octets[2] |= wire.AA >> 8
    query = ask()
    query.flags = dns.flags.Flag(flag)
    assert bool(given_to(kept(bytes(octets)), query).flags & flag) is (flag == dns.flags.RD)


@pytest.mark.parametrize("flags", [0, wire.DO, 0xFFFF], ids=["", "DO", "all"])
@pytest.mark.parametrize("size", [0, 512, 4096, 65535])
@pytest.mark.parametrize("dnssec", [True, False])
def test_rfc6891_6_2_1_size_and_flags_of_the_record_stay_with_us(dnssec: bool, size: int, flags: int) -> None:
    octets = came(A)[:-11] + b"\0" + struct.pack("!HHIH", wire.OPT, size, flags, 0)
    for one in (
        kept(octets, dnssec=dnssec),
        kept(octets, dnssec=dnssec).stale(9.0),
        kept(octets, 0, dnssec).at_most(9),
    ):
        found = given_to(one, ask(use_edns=0))
        assert (found.payload, found.edns, found.ednsflags) == (1232, 0, wire.DO if dnssec else 0)
        assert given_to(one, ask()).edns == -1


@pytest.mark.parametrize("dnssec", [True, False])
def test_rfc3225_3_do_is_given_back(dnssec: bool) -> None:
    found = given_to(kept(came(A), dnssec=dnssec), ask(use_edns=0))
    assert bool(found.ednsflags & dns.flags.DO) is dnssec


def options(octets: bytes, *some: tuple[int, bytes]) -> bytes:
    """An answer with EDNS options."""
    data = b"".join(struct.pack("!HH", code, len(value)) + value for code, value in some)
    return octets[:-2] + struct.pack("!H", len(data)) + data


def test_rfc6891_6_1_1_options_stay_with_us_but_what_the_server_says_of_errors() -> None:
    cookie, bogus = (10, bytes(16)), (15, b"\0\6w\0hy")
    found = given_to(kept(options(came(A), cookie, bogus, (8, bytes(4)), (65001, b"?"))), ask(use_edns=0))
    assert [(option.otype, option.code, option.text) for option in found.options] == [(15, 6, "w\0hy")]  # type: ignore[attr-defined]


def test_rfc8914_3_all_errors_of_an_answer_are_taken_but_one_without_a_code() -> None:
    octets = options(came(A), (15, b""), (15, b"\0"), (15, b"\0\6"), (15, b""), (15, b"\0\3x\xff\0"))
    assert error_codes(wire.read(octets)) == [6, 3]
    given = wire.read(kept(octets).answer(ask(use_edns=0).to_wire(), True, False, 0.0))
    assert given.edns
    assert given.edns.options == bytes.fromhex("000f00020006 000f0005000378ff00")


def test_an_opt_record_before_another_one_goes_all_the_same() -> None:
    octets = came(A)
    body, opt = octets[:-11], octets[-11:]
    glue = b"\2ns" + body[16:25] + struct.pack("!HHIH", wire.A, 1, 60, 4) + bytes([192, 0, 2, 53])
    moved = body[:10] + b"\0\2" + body[12:] + opt + glue
    assert layout(moved, wire.read_question(moved).end)[1] is None
    found = given_to(kept(moved), ask(use_edns=0))
    assert [rrset.to_text() for rrset in found.additional] == ["ns.example. 60 IN A 192.0.2.53"]
    assert given_to(kept(moved), ask()).edns == -1


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257])
def test_rfc6891_7_a_client_without_edns_gets_one_record_less(count: int) -> None:
    glue = wire.Record(wire.name_of("ns.example"), wire.A, wire.IN, 60, bytes(4))
    message = wire.read(came(A))
    one = kept(wire.write(message._replace(sections=(*message.sections[:2], [glue] * count))))
    octets = one.answer(ask().to_wire(), False, False, 0.0)
    assert (wire.read(octets).edns, wire.read(octets).sections[2]) == (None, [glue] * count)


def test_octets_behind_the_records_are_not_passed_on() -> None:
    octets = came(A)
    assert kept(octets + b"more").octets == kept(octets).octets


@pytest.mark.parametrize("said", ["REFUSED", "NOERROR", "NXDOMAIN"])
def test_an_error_that_only_edns_can_express_becomes_servfail(said: str) -> None:
    octets = bytearray(came(said))
    octets[-6] = 1  # of the OPT record's TTL: BADVERS and beyond
    one = kept(bytes(octets))
    assert one.failed
    for query in (ask(), ask(use_edns=0)):
        assert given_to(one, query).rcode() == wire.SERVFAIL


def test_rfc8767_4_and_rfc8914_4_4_a_stale_answer_says_so_once() -> None:
    one = kept(came(A)).stale(1000.0).stale(2000.0)
    found = given_to(one, ask(use_edns=0), 2010.0)
    assert found.answer[0].ttl == 20
    assert [option.code for option in found.options] == [3]  # type: ignore[attr-defined]
    assert given_to(one, ask(), 2010.0).edns == -1


def test_rfc8767_4_each_record_of_a_stale_answer_has_thirty_seconds() -> None:
    lines = [f"{WWW} {ttl} IN TYPE{1000 + ttl} \\# 0" for ttl in (1, 30, 90)]
    message = wire.read(came(lines))
    whole = wire.write(message._replace(sections=(message.sections[0],) * 3))
    found = wire.read(kept(whole).stale(1000.0).answer(ask().to_wire(), False, False, 1000.0))
    assert [[record.ttl for record in section] for section in found.sections] == [[30] * 3] * 3


def test_rfc8914_4_20_a_stale_name_error_has_a_code_of_its_own() -> None:
    found = given_to(kept(came("NXDOMAIN")).stale(1000.0), ask(use_edns=0), 1000.0)
    assert [option.code for option in found.options] == [19]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ([f"{WWW} 60 IN A 192.0.2.1", f"{WWW} 30 IN A 192.0.2.2"], 30),
        ([f"{WWW} 60 IN A 192.0.2.1", "AUTHORITY", "example. 30 IN NS ns.example."], 30),
        ([f"{WWW} 9999999 IN A 192.0.2.1"], LONGEST),
        ([f"{WWW} 0 IN A 192.0.2.1"], 0),
        ([f"example. 300 IN SOA {SOA}"], 120),  # RFC 2308 section 5: the lesser of TTL and MINIMUM
        ([f"example. 50 IN SOA {SOA}"], 50),
        (["example. 99999 IN SOA ns.example. a.example. 1 1 1 1 99999"], LONGEST_NEGATIVE),
        ([f"example. 99999 IN SOA ns.example. a.example. 1 1 1 1 {1 << 24}"], LONGEST_NEGATIVE),
        ([f"{WWW} 20 IN CNAME web.example.", f"example. 300 IN SOA {SOA}"], 20),
        (["NXDOMAIN", f"{WWW} 20 IN CNAME web.example.", f"example. 300 IN SOA {SOA}"], 20),
        ([f"{WWW} 20 IN CNAME web.example."], 0),  # RFC 2308 section 5: without a SOA record it is not kept
        ([], 0),
        (["NXDOMAIN"], 0),
        (["NXDOMAIN", "AUTHORITY", "example. 300 IN NS ns.example."], 0),
        (["AUTHORITY", "example. 300 IN NS ns.example."], 0),
        (["AUTHORITY", f"example. 300 IN SOA {SOA}", "example. 30 IN NS ns.example."], 30),
        (["NXDOMAIN", "AUTHORITY", f"example. 300 IN SOA {SOA}", f"{WWW} 0 IN NSEC x.example. A"], 0),
        ("NXDOMAIN", 120),
        ("SERVFAIL", FAILED_FOR),
        (["SERVFAIL", "AUTHORITY", "example. 0 IN NS ns.example."], FAILED_FOR),  # RFC 9520 section 3.2
        ("REFUSED", FAILED_FOR),
    ],
)
def test_rfc2308_how_long_an_answer_may_be_kept(said: object, seconds: int) -> None:
    octets = came(said)
    assert lifetime(wire.read(octets)) == seconds
    assert kept(octets, 7.0).expires == 7.0 + seconds


@pytest.mark.parametrize("ttl", [0, 1, 30])
@pytest.mark.parametrize("section", [wire.ANSWER, wire.AUTHORITY, wire.ADDITIONAL])
@pytest.mark.parametrize("said", [A, "NODATA", "NXDOMAIN"], ids=["data", "no data", "no name"])
def test_rfc1035_3_2_1_an_answer_is_kept_no_longer_than_a_record_of_any_section(
    said: object, section: int, ttl: int
) -> None:
    message = wire.read(came(said))
    message.sections[section].append(wire.Record(wire.name_of("ns.example"), wire.A, wire.IN, ttl, bytes(4)))
    one = kept(wire.write(message), 7.0)
    assert (one.expires, lifetime(message)) == (7.0 + ttl, ttl)


def test_how_long_anything_may_be_kept_is_within_what_the_rfcs_allow() -> None:
    assert 0 < LONGEST_NEGATIVE <= min(LONGEST, 3 * 3600)  # RFC 2308 section 5
    assert LONGEST <= wire.LONGEST_TTL == 7 * 86400  # RFC 8767 section 4
    assert 86400 <= STALE_FOR <= 3 * 86400  # RFC 8767 section 5
    assert 1 <= FAILED_FOR <= 300  # RFC 9520 section 3.2
    assert STALE_TTL == 30  # RFC 8767 sections 4 and 5
    assert (LONGEST, LONGEST_NEGATIVE, FAILED_FOR, STALE_FOR) == (86400, 900, 5, 86400)  # docs/limits.md, the matrix


@pytest.mark.parametrize(("most", "seconds", "ttls"), [(10, 10, [10, 10]), (70, 60, [60, 70]), (1000, 60, [60, 90])])
def test_an_answer_may_be_given_a_shorter_life(most: int, seconds: int, ttls: list[int]) -> None:
    one = kept(came([f"{WWW} 60 IN A 192.0.2.1", f"{WWW} 90 IN TXT text"]), 100.0)
    shorter = one.at_most(most)
    assert (shorter.expires, shorter.stale_until) == (100.0 + seconds, 100.0 + seconds)
    assert sorted(record.ttl for record in shorter.message(100.0).sections[0]) == ttls


def test_a_truncated_answer_is_not_kept_and_not_given_as_one() -> None:
    octets = bytearray(came(A))
    octets[2] |= wire.TC >> 8
    one = kept(bytes(octets))
    assert one.expires == one.stored
    assert not given_to(one, ask()).flags & dns.flags.TC


@given(
    st.lists(st.integers(1, 2 * wire.LONGEST_TTL), min_size=1, max_size=6),
    st.floats(0, 1e6),
    st.floats(0, LONGEST, exclude_max=True),
)
def test_rfc1035_7_4_every_ttl_falls_by_the_whole_seconds_gone_by(ttls: list[int], stored: float, age: float) -> None:
    octets = came([f"{WWW} {ttl} IN TYPE{1000 + at} \\# 0" for at, ttl in enumerate(ttls)])
    one = reply_of(octets, wire.read(octets), False, stored, LONGEST)
    found = wire.read(one.answer(octets, True, False, stored + age))
    gone = int(stored + age - stored)
    most = wire.LONGEST_TTL
    assert sorted(record.ttl for record in found.sections[0]) == sorted(max(min(ttl, most) - gone, 0) for ttl in ttls)
