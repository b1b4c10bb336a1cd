"""RFC 6147 section 5.5 and what the bits and options of a query do (RFC 4035, RFC 6840, RFC 6891, RFC 8914)."""

import struct

import dns.flags
import dns.message
import pytest

from nat64d.dns64 import wire
from tests.dns64.gateway import WWW, addresses, errors, gateway, query
from tests.dns64.zone import SOA, reply

A, AAAA, MX = (WWW, "A"), (WWW, "AAAA"), (WWW, "MX")
SIGNED = "8 2 60 20300101000000 20200101000000 1 example. AAAA"
MADE = ["64:ff9b::c000:201"]
EMPTY = [f"example. 300 IN SOA {SOA}"]


def authentic(lines: list[str], option: int | None = None):  # type: ignore[no-untyped-def]
    """A validating server's answer: AD, or SERVFAIL with the reason."""

    def answer(octets: bytes, _tcp: bool) -> list[bytes]:
        asked = dns.message.from_wire(octets)
        made = reply(asked, "SERVFAIL" if option else lines)
        made.flags |= dns.flags.Flag(0 if option else dns.flags.AD)
        octets = made.to_wire()
        if option is None:
            return [octets]
        return [octets[:-2] + struct.pack("!HHHH", 6, wire.EDE, 2, option)]

    return answer


@pytest.mark.parametrize(
    ("dnssec", "disabled", "expected"),
    [(False, False, MADE), (False, True, MADE), (True, False, MADE), (True, True, [])],
)
def test_rfc6147_5_5_synthesis_by_do_and_cd(dnssec: bool, disabled: bool, expected: list[str]) -> None:
    lines = [f"{WWW} 60 IN A 192.0.2.1", f"{WWW} 60 IN RRSIG A {SIGNED}"]
    with gateway({A: authentic(lines), AAAA: authentic(EMPTY)}) as one:
        flags = dns.flags.CD if disabled else 0
        for _ in range(2):
            answer = one.ask(query(flags=flags, want_dnssec=dnssec, use_edns=0))
            assert addresses(answer) == expected
            assert bool(answer.ednsflags & dns.flags.DO) is dnssec
            assert bool(answer.flags & dns.flags.CD) is disabled
            assert bool(answer.flags & dns.flags.AD) is (not expected)  # never of what was made here
            assert [rrset.rdtype for rrset in answer.answer] == [wire.AAAA] * len(expected)


def test_rfc6147_5_5_do_and_cd_go_to_the_server_that_validates() -> None:
    asked: list[tuple[int, int]] = []

    def note(octets: bytes, _tcp: bool) -> list[bytes]:
        got = dns.message.from_wire(octets)
        asked.append((got.ednsflags & dns.flags.DO, got.flags & dns.flags.CD))
        return [reply(got, "NODATA").to_wire()]

    with gateway({MX: note}) as one:
        one.ask(query("MX", want_dnssec=True))
        one.ask(query("MX", flags=dns.flags.CD))
    assert asked == [(dns.flags.DO, 0), (0, dns.flags.CD)]


def test_rfc6147_5_5_nothing_is_made_where_the_server_found_the_aaaa_answer_forged() -> None:
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"], AAAA: authentic([], 6)}) as one:
        answer = one.ask(query(use_edns=0))
    assert (answer.rcode(), errors(answer)) == (wire.SERVFAIL, [6])


def test_rfc6147_5_5_nor_where_it_found_the_a_answer_forged() -> None:
    with gateway({A: authentic([], 6), AAAA: EMPTY}) as one:
        answer = one.ask(query(use_edns=0))
    assert (answer.rcode(), errors(answer)) == (wire.SERVFAIL, [6])


@pytest.mark.parametrize(
    ("flags", "options", "expected"),
    [
        (0, {}, False),
        (0, {"use_edns": 0}, False),
        (dns.flags.AD, {}, True),
        (0, {"want_dnssec": True}, True),
    ],
)
def test_rfc6840_5_8_ad_is_for_who_set_do_or_ad(flags: int, options: dict, expected: bool) -> None:
    with gateway({MX: authentic([f"{WWW} 60 IN MX 10 mail.example."])}) as one:
        for _ in range(2):
            assert bool(one.ask(query("MX", flags=flags, **options)).flags & dns.flags.AD) is expected


def test_rfc6891_6_1_1_an_opt_record_is_for_who_sent_one() -> None:
    with gateway({MX: [f"{WWW} 60 IN MX 10 mail.example."], A: "SERVFAIL"}) as one:
        for type_ in ("MX", "MX", "A", "TXT", "ANY"):
            assert one.ask(query(type_)).edns == -1
            answer = one.ask(query(type_, use_edns=0))
            assert (answer.edns, answer.payload) == (0, 1232)
        for name in ("ipv4only.arpa.", "1.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa."):
            assert one.ask(query("PTR", name)).edns == -1
            assert one.ask(query("PTR", name, use_edns=0)).edns == 0


def test_rfc6891_6_1_2_and_rfc7871_options_are_ignored_and_go_no_further() -> None:
    subnet, cookie, unknown = (dns.edns.GenericOption(code, bytes(8)) for code in (8, 10, 65001))
    seen: list[int] = []

    def note(octets: bytes, _tcp: bool) -> list[bytes]:
        got = dns.message.from_wire(octets)
        seen.append(len(got.options))
        return [reply(got, "NODATA").to_wire()]

    with gateway({MX: note}) as one:
        answer = one.ask(query("MX", use_edns=0, options=[subnet, cookie, unknown]))
    assert (answer.rcode(), len(answer.options), seen) == (wire.NOERROR, 0, [0])


def test_rfc6891_6_1_3_a_later_version_is_answered_badvers() -> None:
    with gateway({}) as one:
        answer = one.ask(query(use_edns=1))
    assert (answer.rcode(), answer.edns) == (wire.BADVERS, 0)


@pytest.mark.parametrize("type_", ["TKEY", "TSIG", "IXFR", "AXFR", "MAILB"])
def test_what_a_server_is_asked_for_itself_is_not_forwarded(type_: str) -> None:
    with gateway({}) as one:
        assert one.ask(query(type_)).rcode() == wire.NOTIMP
        assert one.asked() == []


def test_rfc8914_the_errors_of_the_server_are_given_on_to_who_speaks_edns() -> None:
    with gateway({MX: authentic([], 6)}) as one:
        for _ in range(2):
            assert errors(one.ask(query("MX", use_edns=0))) == [6]
            assert one.ask(query("MX")).edns == -1


def test_rfc8914_4_23_that_no_server_answers_is_told_and_by_whom() -> None:
    with gateway({}) as one:
        one.upstreams.all.pop().close()
        answer = one.ask(query("MX", use_edns=0))
    (option,) = answer.options
    assert (option.code, option.text) == (22, "no server is configured")  # type: ignore[attr-defined]


def test_rfc3597_an_unknown_type_is_relayed() -> None:
    with gateway({(WWW, "TYPE65280"): [f"{WWW} 60 IN TYPE65280 \\# 4 01020304"]}) as one:
        assert one.ask(query("TYPE65280")).answer[0][0].to_text() == "\\# 4 01020304"


def test_another_class_is_relayed() -> None:
    with gateway({AAAA: "REFUSED"}) as one:
        asked = dns.message.make_query(WWW, "AAAA", rdclass="CH")
        assert one.ask(asked).rcode() == wire.REFUSED
        assert one.asked() == [AAAA]
