"""Messages as dnspython writes them are read, and what is written dnspython reads; hostile octets raise WireError."""

import dns.message
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.dns64 import wire
from tests.dns64.zone import SOA, reply

LINES = [
    "www.Example. 300 IN CNAME web.example.",
    "web.example. 60 IN A 192.0.2.1",
    "web.example. 60 IN AAAA 2001:db8::1",
    "web.example. 60 IN MX 10 mail.example.",
    "web.example. 60 IN SRV 1 2 3 srv.example.",
    'web.example. 60 IN TXT "text"',
    "web.example. 60 IN NS ns.example.",
]


def answered(lines: list[str]) -> dns.message.Message:
    return reply(dns.message.make_query("www.example.", "AAAA", want_dnssec=True, payload=4096), list(lines))


def test_what_dnspython_writes_is_read_and_written_back_the_same() -> None:
    answer = answered([*LINES, f"example. 300 IN SOA {SOA}"])
    message = wire.read(answer.to_wire())
    assert [(r.type, r.ttl) for r in message.sections[0]][:2] == [(wire.CNAME, 300), (wire.A, 60)]
    assert message.edns is not None
    assert message.edns.dnssec
    assert dns.message.from_wire(wire.write(message)) == answer


@pytest.mark.parametrize("text", ["example.", "a.b.c", ".", "xn--caf-dma.example"])
def test_a_name_there_and_back(text: str) -> None:
    assert wire.text_of(wire.name_of(text)) == text.rstrip(".") + "."


@pytest.mark.parametrize("text", ["a..b", "x" * 64, ".".join(["x" * 63] * 4)])
def test_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="a domain name"):
        wire.name_of(text)


QUESTION = bytes.fromhex("000001000001000000000000") + b"\1a\0\0\1\0\1"
HOSTILE = {
    "shorter than a header": b"\0" * 11,
    "not one question": bytes(12),
    "the question is cut off": QUESTION[:-1],
    "a name is cut off": QUESTION[:13],
    "label of unknown kind": QUESTION[:12] + b"\x80" + QUESTION[13:],
    "a name runs out of the message": QUESTION[:14],
    "lead backwards": QUESTION[:12] + b"\xc0\x0c" + QUESTION[14:],
    "a record is cut off": QUESTION[:7] + b"\1" + QUESTION[8:] + b"\0\0\1\0\1\0\0\0\0\0",
    "the data of a record is cut off": QUESTION[:7] + b"\1" + QUESTION[8:] + b"\0\0\1\0\1\0\0\0\0\0\4",
    "wrong size": QUESTION[:7] + b"\1" + QUESTION[8:] + b"\0\0\1\0\1\0\0\0\0\0\3abc",
    "misplaced": QUESTION[:7] + b"\1" + QUESTION[8:] + b"\0\0\x29\0\1\0\0\0\0\0\0",
    "out of its record": QUESTION[:7] + b"\1" + QUESTION[8:] + b"\0\0\5\0\1\0\0\0\0\0\1\1a\0",
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_hostile_octets_are_refused_with_the_reason(reason: str) -> None:
    with pytest.raises(wire.WireError, match=reason):
        wire.read(HOSTILE[reason])


@given(st.data())
def test_a_mutated_message_is_read_or_refused(data: st.DataObject) -> None:
    octets = bytearray(answered(LINES).to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = wire.read(bytes(octets[: data.draw(st.integers(0, len(octets)))]))
    except wire.WireError:
        return
    again = wire.write(message)
    assert wire.read(again) == message._replace(question=wire.read(again).question)


def test_the_ttl_fields_are_those_of_all_records_but_opt() -> None:
    octets = answered(LINES).to_wire()
    found = [int.from_bytes(octets[at : at + 4], "big") for at in wire.ttls(octets, wire.read_question(octets).end)]
    assert found == [300, 60, 60, 60, 60, 60, 60]


@pytest.mark.parametrize(
    ("name", "suffix", "below"),
    [("a.example", "example", True), ("example", "example", True), ("badexample", "example", False), ("x", ".", True)],
)
def test_below(name: str, suffix: str, below: bool) -> None:
    assert wire.ends_with(wire.name_of(name), wire.name_of(suffix)) is below
