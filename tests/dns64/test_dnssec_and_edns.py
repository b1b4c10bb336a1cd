"""RFC 6147 section 5.5 and what the bits and options of a query do (RFC 4035, RFC 6840, RFC 6891, RFC 8914)."""

import errno
import os
import struct
from ipaddress import IPv4Address

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.rules.queries import understood
from nat64d.dns64.upstreams.exchange import ServerAddress
from nat64d.dns64.upstreams.race import Upstream
from tests.dns64.asking import free_port
from tests.dns64.gateway import WWW, addresses, errors, gateway, query
from tests.dns64.zone import SOA, reply

A, AAAA, MX = (WWW, "A"), (WWW, "AAAA"), (WWW, "MX")
SIGNED = "8 2 60 20300101000000 20200101000000 1 example. AAAA"
MADE = ["64:ff9b::c000:201"]
EMPTY = [f"example. 300 IN SOA {SOA}"]


def authentic(lines: list[str], option: int | None = None, said: str = "SERVFAIL"):  # type: ignore[no-untyped-def]
    """A validating server's answer: AD, or an error with the reason."""

    def answer(octets: bytes, _tcp: bool) -> list[bytes]:
        asked = dns.message.from_wire(octets)
        made = reply(asked, said if option else lines)
        made.flags |= dns.flags.Flag(0 if option else dns.flags.AD)
        octets = made.to_wire()
        if option is None:
            return [octets]
        return [octets[:-2] + struct.pack("!HHHH", 6, wire.EDE, 2, option)]

    return answer


@pytest.mark.parametrize("wanted", [dns.flags.AD, 0], ids=["AD", ""])
@pytest.mark.parametrize(
    ("dnssec", "disabled", "expected"),
    [(False, False, MADE), (False, True, MADE), (True, False, MADE), (True, True, [])],
)
def test_rfc6147_5_5_synthesis_by_do_and_cd(dnssec: bool, disabled: bool, expected: list[str], wanted: int) -> None:
    lines = [f"{WWW} 60 IN A 192.0.2.1", f"{WWW} 60 IN RRSIG A {SIGNED}"]
    with gateway({A: authentic(lines), AAAA: authentic(EMPTY)}) as one:
        flags = wanted | (dns.flags.CD if disabled else 0)
        for _ in range(2):
            answer = one.ask(query(flags=flags, want_dnssec=dnssec, use_edns=0))
            assert addresses(answer) == expected
            assert bool(answer.ednsflags & dns.flags.DO) is dnssec
            assert bool(answer.flags & dns.flags.CD) is disabled
            assert bool(answer.flags & dns.flags.AD) is (not expected)  # never of what was made here
            assert [rrset.rdtype for rrset in answer.answer] == [dns.rdatatype.AAAA] * len(expected)


def test_rfc6147_5_5_do_and_cd_go_to_the_server_that_validates() -> None:
    asked: list[tuple[int, int]] = []

    def note(octets: bytes, _tcp: bool) -> list[bytes]:
        got = dns.message.from_wire(octets)
        asked.append((got.ednsflags & dns.flags.DO, got.flags & dns.flags.CD))
        return [reply(got, "NODATA").to_wire()]

    with gateway({MX: note, A: note, AAAA: note}) as one:
        for type_, questions in (("MX", 1), ("AAAA", 2)):
            for options, seen in (
                ({"want_dnssec": True}, (dns.flags.DO, 0)),
                ({"flags": dns.flags.CD}, (0, dns.flags.CD)),
                ({"want_dnssec": True, "flags": dns.flags.CD}, (dns.flags.DO, dns.flags.CD)),
                ({}, (0, 0)),
            ):
                asked.clear()
                one.ask(query(type_, **options))
                assert asked == [seen] * (1 if all(seen) else questions)  # nothing is made for both


NOT_VALID = range(6, 13)  # RFC 8914 sections 4.7 to 4.13


@pytest.mark.parametrize("dnssec", [False, True], ids=["", "DO"])
@pytest.mark.parametrize("code", NOT_VALID)
def test_rfc6147_5_5_nothing_is_synthesised_if_validation_of_the_aaaa_answer_failed(code: int, dnssec: bool) -> None:
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"], AAAA: authentic([], code)}) as one:
        for _ in range(2):
            answer = one.ask(query(use_edns=0, want_dnssec=dnssec))
            assert (answer.rcode(), answer.answer, errors(answer)) == (dns.rcode.SERVFAIL, [], [code])
        assert one.ask(query()).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("dnssec", [False, True], ids=["", "DO"])
@pytest.mark.parametrize("code", NOT_VALID)
def test_rfc6147_5_5_nor_if_validation_of_the_a_answer_failed(code: int, dnssec: bool) -> None:
    with gateway({A: authentic([], code), AAAA: EMPTY}) as one:
        for _ in range(2):
            answer = one.ask(query(use_edns=0, want_dnssec=dnssec))
            assert (answer.rcode(), answer.answer, errors(answer)) == (dns.rcode.SERVFAIL, [], [code])
        assert one.ask(query()).rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("dnssec", [False, True], ids=["", "DO"])
@pytest.mark.parametrize("type_", ["A", "MX"])
def test_rfc6147_5_5_nor_is_any_other_answer_given_of_which_validation_failed(type_: str, dnssec: bool) -> None:
    with gateway({A: authentic([], 6), MX: authentic([], 6)}) as one:
        answer = one.ask(query(type_, use_edns=0, want_dnssec=dnssec))
    assert (answer.rcode(), answer.answer, errors(answer)) == (dns.rcode.SERVFAIL, [], [6])


@pytest.mark.parametrize(
    ("flags", "options", "expected"),
    [
        (0, {}, False),
        (0, {"use_edns": 0}, False),
        (dns.flags.AD, {}, True),
        (0, {"want_dnssec": True}, True),
    ],
)
def test_rfc6840_5_8_ad_is_for_clients_that_set_do_or_ad(flags: int, options: dict, expected: bool) -> None:
    with gateway({MX: authentic([f"{WWW} 60 IN MX 10 mail.example."])}) as one:
        for _ in range(2):
            assert bool(one.ask(query("MX", flags=flags, **options)).flags & dns.flags.AD) is expected


def test_rfc6891_6_1_1_an_opt_record_is_for_clients_that_sent_one() -> None:
    with gateway({MX: [f"{WWW} 60 IN MX 10 mail.example."], A: "SERVFAIL"}) as one:
        for type_ in ("MX", "MX", "A", "TXT", "ANY"):
            plain, answer = one.ask(query(type_)), one.ask(query(type_, use_edns=0))
            assert (plain.edns, answer.edns, answer.payload) == (-1, 0, 1232)
            assert (plain.rcode(), plain.answer) == (answer.rcode(), answer.answer)
        for name in ("ipv4only.arpa.", "1.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa."):
            assert one.ask(query("PTR", name)).edns == -1
            assert one.ask(query("PTR", name, use_edns=0)).edns == 0


def test_rfc6891_6_1_2_and_rfc7871_options_are_ignored_and_go_no_further() -> None:
    subnet, cookie, unknown = (dns.edns.GenericOption(code, bytes(8)) for code in (8, 10, 65001))
    empty = dns.edns.GenericOption(3, b"")  # such as NSID (RFC 5001)
    seen: list[int] = []

    def note(octets: bytes, _tcp: bool) -> list[bytes]:
        got = dns.message.from_wire(octets)
        seen.append(len(got.options))
        return [reply(got, "NODATA").to_wire()]

    with gateway({MX: note, A: note, AAAA: note}) as one:
        for options in ([subnet, cookie, unknown], [unknown, empty], [empty], [empty] * 9):
            answer = one.ask(query("MX", use_edns=0, options=options))
            assert (answer.rcode(), len(answer.options), seen) == (dns.rcode.NOERROR, 0, [0])
        one.ask(query("AAAA", use_edns=0, options=[subnet, cookie, unknown]))
        assert seen == [0, 0, 0]


def test_rfc6891_6_1_4_other_flags_are_ignored_and_none_is_set() -> None:
    seen: list[tuple[int, int]] = []

    def note(octets: bytes, _tcp: bool) -> list[bytes]:
        got = dns.message.from_wire(octets)
        seen.append((got.edns, got.ednsflags))
        return [reply(got, [f"{WWW} 60 IN MX 10 mail.example."]).to_wire()]

    with gateway({MX: note}) as one:
        for flags, do in ((0x7FFF, 0), (0xFFFF, dns.flags.DO)):
            answer, error = (one.ask(query(type_, use_edns=0, ednsflags=flags)) for type_ in ("MX", "TSIG"))
            assert (answer.rcode(), answer.ednsflags, seen.pop()) == (dns.rcode.NOERROR, do, (0, do))  # version 0
            assert (error.rcode(), error.ednsflags) == (dns.rcode.NOTIMP, do)


def test_rfc6891_6_2_3_what_we_say_we_can_receive_goes_unfragmented() -> None:
    sizes: list[int] = []

    def note(octets: bytes, _tcp: bool) -> list[bytes]:
        got = dns.message.from_wire(octets)
        sizes.append(got.payload)
        return [reply(got, "NODATA").to_wire()]

    with gateway({MX: note, A: note, AAAA: note}) as one:
        for options in ({}, {"use_edns": 0, "payload": 512}, {"want_dnssec": True, "payload": 4096}):
            one.ask(query("MX", **options))
            one.ask(query("AAAA", **options))
    assert {*sizes} == {1232}
    assert len(sizes) == 2 * (1 + 2)  # nothing is asked twice: what a client takes changes nothing


@pytest.mark.parametrize("kind", [0x40, 0x41, 0x80])
@pytest.mark.parametrize("line", [f"RRSIG MX {SIGNED}", "NSEC example. MX RRSIG NSEC", "SVCB 1 example."])
def test_rfc6891_5_an_answer_with_a_label_of_an_extended_type_is_not_passed_on(line: str, kind: int) -> None:
    def answer(octets: bytes, _tcp: bool) -> list[bytes]:
        made = reply(dns.message.from_wire(octets), [f"{WWW} 60 IN {line}"]).to_wire()
        end = wire.read_question(made).end
        return [made[:end] + made[end:].replace(b"\7example\0", bytes([kind]) + b"example\0")]

    name = line.partition(" ")[0]
    with gateway({(WWW, name): answer}) as one:
        found = one.ask(query(name, use_edns=0, want_dnssec=True))
        assert (found.rcode(), found.answer, found.authority, found.additional) == (dns.rcode.SERVFAIL, [], [], [])


@pytest.mark.parametrize("kind", [0x40, 0x41, 0x80])
def test_rfc6891_5_nor_is_a_question_with_one(kind: int) -> None:
    octets = query("MX").to_wire().replace(b"\7example", bytes([kind]) + b"example")
    with gateway({}) as one:
        assert one.octets_of(octets) == octets[:2] + b"\x81\x81" + bytes(8)
        assert one.asked() == []


TSIG = b"\0" + struct.pack("!HHIH", 250, 255, 0, 0)
SIG_0 = b"\0" + struct.pack("!HHIH", 24, 255, 0, 32) + bytes(18) + b"\7example\0" + b"signed"[:5]


@pytest.mark.parametrize("signature", [TSIG, SIG_0], ids=["TSIG", "SIG(0)"])
@pytest.mark.parametrize("first", [True, False])
def test_rfc6891_6_1_1_the_opt_record_may_be_anywhere_beside_a_signature(first: bool, signature: bytes) -> None:
    asked, records = query("ANY").to_wire(), [OPT + bytes(6), signature]
    octets = asked[:10] + b"\0\2" + asked[12:] + b"".join(records if first else reversed(records))
    message, error = understood(octets)
    assert error is None
    assert message is not None
    assert message.edns is not None


def test_rfc6147_5_4_the_header_of_a_synthetic_answer_is_that_of_a_recursive_server() -> None:
    def of_an_authority(octets: bytes, tcp: bool) -> list[bytes]:
        (made,) = authentic([f"{WWW} 60 IN A 192.0.2.1"])(octets, tcp)
        return [made[:2] + (int.from_bytes(made[2:4], "big") ^ (wire.AA | wire.RA)).to_bytes(2, "big") + made[4:]]

    with gateway({A: of_an_authority, AAAA: authentic(EMPTY)}) as one:
        for flags in (dns.flags.RD, 0):
            asked = query(flags=flags)
            asked.flags = dns.flags.Flag(flags)
            answer = one.ask(asked)
            assert addresses(answer) == MADE
            assert int(answer.flags) == dns.flags.QR | dns.flags.RA | flags


@pytest.mark.parametrize("do", [False, True])
@pytest.mark.parametrize(
    ("version", "opcode"), [(1, 0), (2, 0), (127, 0), (128, 0), (255, 0), (1, dns.opcode.NOTIFY), (255, 15)]
)
@pytest.mark.parametrize("type_", ["AAAA", "TSIG"])
def test_rfc6891_6_1_3_a_later_version_is_answered_badvers(version: int, opcode: int, do: bool, type_: str) -> None:
    asked = query(type_, use_edns=version, ednsflags=version << 16 | (dns.flags.DO if do else 0))
    asked.flags |= dns.flags.Flag(opcode << 11)
    with gateway({}) as one:
        answer = one.ask(asked)
    assert (answer.rcode(), answer.edns, bool(answer.ednsflags & dns.flags.DO)) == (dns.rcode.BADVERS, 0, do)


OPT = b"\0" + struct.pack("!HH", wire.OPT, 1232)
BROKEN = {
    "an option longer than the record": OPT + bytes(4) + b"\0\5\0\x0f\0\x08x",
    "an option without a length": OPT + bytes(4) + b"\0\2\0\x0f",
    "a name that is not the root": b"\1x\0" + OPT[1:] + bytes(6),
    "a record that is cut off": OPT + bytes(4) + b"\0\4\0",
    "two of them": (OPT + bytes(6)) * 2,
}


@pytest.mark.parametrize("do", [False, True])
@pytest.mark.parametrize("name", BROKEN)
def test_rfc6891_7_a_broken_opt_record_is_a_format_error_with_question_and_opt_record(name: str, do: bool) -> None:
    octets = BROKEN[name].replace(OPT[1:] + bytes(4), OPT[1:] + struct.pack("!I", wire.DO * do), 1)
    asked = query(id=77).to_wire()
    asked = asked[:10] + bytes([0, 1 + (name == "two of them")]) + asked[12:] + octets
    with gateway({}) as one:
        answer = one.octets_of(asked)
    found = dns.message.from_wire(answer)
    assert (found.id, found.rcode(), found.edns) == (77, dns.rcode.FORMERR, 0)
    assert found.question == query().question
    assert bool(found.ednsflags & dns.flags.DO) is do
    assert [len(section) for section in (found.answer, found.authority, found.additional)] == [0, 0, 0]


def test_rfc6891_7_a_broken_query_without_an_opt_record_gets_none() -> None:
    asked = query().to_wire()
    with gateway({}) as one:
        for broken in (b"\0\0\1", TSIG[:-2] + b"\0\1", b"\0" + struct.pack("!HHIH", wire.A, 1, 60, 3) + bytes(3)):
            found = dns.message.from_wire(one.octets_of(asked[:10] + b"\0\1" + asked[12:] + broken))
            assert (found.rcode(), found.edns, found.question) == (dns.rcode.FORMERR, -1, query().question)


def test_rfc6891_6_1_3_a_later_version_may_have_options_of_another_form() -> None:
    asked = query().to_wire()
    with gateway({}) as one:
        later = OPT + bytes([0, 1, 0, 0]) + b"\0\1x"
        found = dns.message.from_wire(one.octets_of(asked[:10] + b"\0\1" + asked[12:] + later))
    assert (found.rcode(), found.edns, found.question) == (dns.rcode.BADVERS, 0, query().question)


@pytest.mark.parametrize("octets", [bytes(8), b"\0\2" + bytes(6)], ids=["no question", "two questions"])
def test_rfc1035_4_1_1_a_query_without_a_question_to_repeat_gets_a_header(octets: bytes) -> None:
    with gateway({}) as one:
        assert one.octets_of(b"\0\1\1\0" + octets) == b"\0\1\x81\x81" + bytes(8)


FLAGS = [0, wire.RD, wire.CD, 0xFFFF & ~wire.QR & ~wire.OPCODE, *(number << 11 | wire.RCODE for number in range(1, 16))]


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize(
    ("broken", "rcode"),
    [
        (query("TSIG").to_wire(), wire.NOTIMP),
        (query(use_edns=1).to_wire(), wire.BADVERS & wire.RCODE),
        (query().to_wire()[:-1], wire.FORMERR),
        (bytes(12), wire.FORMERR),
    ],
    ids=["not forwarded", "a later version", "cut off", "no question"],
)
def test_rfc1035_4_1_1_an_error_has_opcode_rd_and_cd_of_its_query_and_no_other_bits(
    broken: bytes, rcode: int, flags: int
) -> None:
    with gateway({}) as one:
        answer = one.octets_of(broken[:2] + flags.to_bytes(2, "big") + broken[4:])
    kept = flags & (wire.OPCODE | wire.RD | wire.CD)
    expected = wire.NOTIMP if flags & wire.OPCODE and rcode != wire.BADVERS & wire.RCODE else rcode
    assert int.from_bytes(answer[2:4], "big") == wire.QR | wire.RA | kept | expected


@pytest.mark.parametrize("opcode", range(1, 16))
def test_rfc1035_4_1_1_another_opcode_is_no_query_though_there_was_one_that_is_like_it(opcode: int) -> None:
    with gateway({MX: [f"{WWW} 60 IN MX 10 mail.example."]}) as one:
        asked = query("MX")
        assert one.ask(asked).rcode() == one.ask(asked).rcode() == dns.rcode.NOERROR
        asked.set_opcode(dns.opcode.from_text(str(opcode)))
        assert one.octets_of(asked.to_wire())[3] & wire.RCODE == wire.NOTIMP


@pytest.mark.parametrize("cut", [0, 11], ids=["of no octets", "cut off in its header"])
def test_rfc1035_4_1_1_a_response_is_no_query_and_gets_no_answer_nor_does_less_than_a_header(cut: int) -> None:
    with gateway({MX: [f"{WWW} 60 IN MX 10 mail.example."]}) as one:
        asked = query("MX")
        assert one.ask(asked).rcode() == one.ask(asked).rcode() == dns.rcode.NOERROR  # known, and cached
        response = query("MX", flags=dns.flags.QR)
        for octets in (response.to_wire(), response.to_wire()[:-1], response.to_wire()[:12], asked.to_wire()[:cut]):
            assert one.at_once_of(octets) == (None, None, 0)
            assert understood(octets) == (None, None)


@pytest.mark.parametrize("type_", ["TKEY", "TSIG", "IXFR", "AXFR", "MAILB", "MAILA"])
def test_what_a_server_is_asked_for_itself_is_not_forwarded(type_: str) -> None:
    with gateway({}) as one:
        assert one.ask(query(type_)).rcode() == (dns.rcode.NOTAUTH if "XFR" in type_ else dns.rcode.NOTIMP)
        assert one.asked() == []


def test_rfc6891_6_1_1_opt_is_no_type_to_ask_for() -> None:
    with gateway({}) as one:
        assert one.ask(query("OPT")).rcode() == dns.rcode.FORMERR
        assert one.asked() == []


@pytest.mark.parametrize("said", ["SERVFAIL", "REFUSED", "NOTAUTH", "NXDOMAIN", "NOERROR", "NODATA"])
def test_rfc8914_the_errors_of_the_server_are_passed_on_to_clients_with_edns(said: str) -> None:
    with gateway({MX: authentic([], 6, said)}) as one:
        for _ in range(2):
            answer = one.ask(query("MX", use_edns=0))
            assert (dns.rcode.to_text(answer.rcode()), errors(answer)) == (said.replace("NODATA", "NOERROR"), [6])
            assert one.ask(query("MX")).edns == -1
            one.clock += 1


def test_rfc8914_4_23_the_error_says_that_no_server_is_configured() -> None:
    with gateway({}) as one:
        one.upstreams.all.pop().close()
        answer = one.ask(query("MX", use_edns=0))
    (option,) = answer.options
    assert (option.code, option.text) == (22, "no server is configured")  # type: ignore[attr-defined]


def test_rfc8914_4_23_the_error_says_what_came_of_which_server_in_few_words() -> None:
    with gateway({}) as one:
        one.upstreams.all.pop().close()
        servers = [ServerAddress(IPv4Address(f"127.0.0.{number}"), free_port()) for number in range(1, 9)]
        one.upstreams.all += [Upstream(server, one.upstreams.counters) for server in servers]
        answer = one.ask(query("MX", use_edns=0))
    (option,) = answer.options
    said = option.text  # type: ignore[attr-defined]
    assert option.code == 22  # type: ignore[attr-defined]
    first, rest = said.split("; ", 1)
    assert first in [f"{server}: {os.strerror(errno.ECONNREFUSED)}" for server in servers]
    assert rest.startswith("127.0.0.")
    assert len(said) <= 120


@pytest.mark.parametrize("type_", ["TYPE65280", "TYPE248", "TYPE42000"])
def test_rfc3597_an_unknown_type_is_relayed(type_: str) -> None:
    with gateway({(WWW, type_): [f"{WWW} 60 IN {type_} \\# 4 01020304"]}) as one:
        assert one.ask(query(type_)).answer[0][0].to_text() == "\\# 4 01020304"


def test_another_class_is_relayed() -> None:
    with gateway({AAAA: "REFUSED"}) as one:
        asked = dns.message.make_query(WWW, "AAAA", rdclass="CH")
        assert one.ask(asked).rcode() == dns.rcode.REFUSED
        assert one.asked() == [AAAA]
