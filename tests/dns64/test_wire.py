"""Messages as dnspython writes them are read, and what is written dnspython reads; hostile octets raise WireError."""

import contextlib
import importlib
import inspect
import struct

import dns.message
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY
import dns.rdtypes.IN
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.dns64.message import wire
from nat64d.dns64.message.layouts import CHOSEN, LAYOUTS
from nat64d.dns64.message.reply import layout
from tests.dns64.zone import SOA, reply

pytestmark = pytest.mark.no_cover  # much computing, of code that others measure

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
def test_text_that_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a domain name"):
        wire.name_of(text)


QUESTION = bytes.fromhex("000001000001000000000000") + b"\1a\0\0\1\0\1"
OPT_RECORD = b"\0\0\x29\0\1\0\0\0\0"


def answer(*records: bytes, section: int = wire.ANSWER) -> bytes:
    """QUESTION with records in a section."""
    counts = [0, 0, 0]
    counts[section] = len(records)
    return QUESTION[:6] + struct.pack("!3H", *counts) + QUESTION[12:] + b"".join(records)


def record(name: bytes, type_: int, data: bytes) -> bytes:
    return name + struct.pack("!HHIH", type_, 1, 60, len(data)) + data


def leaning(place: bytes, step: int) -> bytes:
    """A message of 64 KiB of which each name is a pointer into its first record's data, `step` octets further each."""
    records = [record(b"\0", wire.TXT, place)]
    end = len(answer(*records)) - 2
    while len(records) < 1300:
        targets = [end - (len(records) * 3 + k) * step % 16000 for k in range(3)]
        name, *names = [struct.pack("!H", 0xC000 | target) for target in targets]
        records.append(record(name, wire.SOA, b"".join(names) + bytes(20)))
    return answer(*records)


# Each pointer leads to the one before it, down to the root; labels of one letter, and of no letter.
CHAIN = b"\0" + b"".join(struct.pack("!H", 0xC01E + max(2 * k - 1, 0)) for k in range(8000))
LABELS = (b"\1a" * 126 + b"\0") * 63

HOSTILE = {
    "shorter than a header": b"\0" * 11,
    "not one question": bytes(12),
    "the question is cut off": QUESTION[:-1],
    "a name runs out of the message": QUESTION[:14],
    "longer than 255 octets": QUESTION[:12] + b"\1a" * 200,
    "a label of unknown kind": QUESTION[:12] + b"\x80" + QUESTION[13:],
    "of unknown kind": QUESTION[:12] + b"\x41" + QUESTION[13:],  # a binary label (RFC 6891 section 5)
    "a pointer in the question": QUESTION[:12] + b"\5\1a\0xx\xc0\x0d" + QUESTION[15:],
    "a record is cut off": answer(b"\0\0\1\0\1\0\0\0\0\0"),
    "the data of a record is cut off": answer(b"\0\0\1\0\1\0\0\0\0\0\4"),
    "an address of the wrong size": answer(record(b"\0", wire.AAAA, b"abcd")),
    "a compression pointer is cut off": answer(b"\xc0"),
    "does not lead backwards": answer(record(b"\xc0\x13", wire.A, bytes(4))),
    "pointer that does not": answer(record(b"\xc0\x0b", wire.A, bytes(4))),
    "compression pointer that": answer(record(b"\1b\xc0\x13", wire.A, bytes(4))),
    "a name longer than": answer(
        record(b"\0", wire.TXT, b"\1a" * 120 + b"\0"), record(b"\7" * 16 + b"\xc0\x1e", 1, b"")
    ),
    "misplaced": answer(OPT_RECORD + b"\0\0"),
    "not the only one": answer(OPT_RECORD + b"\0\0", OPT_RECORD + b"\0\0", section=wire.ADDITIONAL),
    "an EDNS option is cut off": answer(OPT_RECORD + b"\0\5\0\x0f\0\2x", section=wire.ADDITIONAL),
    "longer or shorter than its type": answer(record(b"\0", wire.CNAME, b"\1a\0x")),
    "longer or shorter": answer(record(b"\0", wire.CNAME, b""), record(b"\0", wire.A, bytes(4))),
    "shorter than its": answer(record(b"\0", wire.SOA, b"\0\0" + bytes(19))),
    "a name that reaches into a TTL field": answer(
        record(b"\0", wire.A, bytes(4)), record(b"\xc0\x18", wire.A, bytes(4))
    ),
    "reaches into a TTL": answer(b"\0" + struct.pack("!HHIH", wire.CNAME, 1, 0x01610000, 2) + b"\xc0\x18"),
    "a name that overlaps itself": answer(record(b"\xc0\x12", wire.TXT, bytes(20))),
    "more compressed names": leaning(CHAIN, 2),
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


class Counted(bytes):
    """Octets that count how often they were looked at."""

    looks = 0

    def __getitem__(self, at: slice | int) -> bytes | int:  # type: ignore[override]
        self.looks += 1
        return super().__getitem__(at)  # type: ignore[index]


@pytest.mark.parametrize("place", [CHAIN, LABELS], ids=["pointers", "labels"])
def test_many_names_that_lean_on_long_ones_cost_no_more_than_their_octets(place: bytes) -> None:
    octets = Counted(leaning(place, 2))
    assert len(octets) > 60000
    with contextlib.suppress(wire.WireError):
        wire.read(octets)
    assert octets.looks < 3 * len(octets)


def test_rfc1035_4_1_4_a_pointer_leads_to_a_name_within_a_record() -> None:
    cname, a = record(b"\xc0\x0c", wire.CNAME, b"\1b\xc0\x0c"), record(b"\1c\xc0\x1f", wire.A, bytes(4))
    records = wire.read(answer(cname, a)).sections[wire.ANSWER]
    assert [(r.name, r.data) for r in records] == [(b"\1a\0", b"\1b\1a\0"), (b"\1c\1b\1a\0", bytes(4))]


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        ("NAPTR", '10 20 "u" "E2U+sip" "" target.www.example.'),
        ("RP", "mail.www.example. text.www.example."),
        ("AFSDB", "1 afs.www.example."),
        ("RT", "1 rt.www.example."),
        ("KX", "1 kx.www.example."),
        ("PX", "1 map822.www.example. mapx400.www.example."),
        ("SRV", "1 2 3 srv.www.example."),
    ],
)
def test_rfc3597_4_compressed_names_in_the_data_of_old_types_are_written_out(type_: str, data: str) -> None:
    message = answered([f"www.example. 60 IN {type_} {data}"])
    target = dns.rdata.from_text("IN", type_, data).to_wire()
    compressed = target.replace(b"\3www\7example\0", b"\xc0\x0c")
    assert len(compressed) < len(target)
    octets = message.to_wire().replace(
        len(target).to_bytes(2, "big") + target, struct.pack("!H", len(compressed)) + compressed
    )
    assert wire.read(octets).sections[wire.ANSWER][0].data == target


TARGET, NAME_OCTETS = "target.www.example.", b"\6target\3www\7example\0"
# Data of each type that has a name in it, as dnspython writes it.
NAMED = {
    **dict.fromkeys(("NS", "CNAME", "PTR", "DNAME", "NSAP-PTR"), TARGET),
    **dict.fromkeys(("MX", "AFSDB", "RT", "KX", "LP"), f"10 {TARGET}"),
    "RP": f"{TARGET} text.example.",
    "SOA": f"{TARGET} admin.example. 1 2 3 4 5",
    "SRV": f"1 2 3 {TARGET}",
    "PX": f"1 map822.example. {TARGET}",
    "NAPTR": f'10 20 "u" "E2U+sip" "" {TARGET}',
    "RRSIG": f"A 8 2 60 20300101000000 20200101000000 1 {TARGET} AAAA",
    "NSEC": f"{TARGET} A RRSIG NSEC",
    **dict.fromkeys(("SVCB", "HTTPS"), f'1 {TARGET} alpn="h2" ipv4hint="192.0.2.1"'),
    "DSYNC": f"CDS NOTIFY 53 {TARGET}",
    "IPSECKEY": f"10 3 2 {TARGET} AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==",
    "AMTRELAY": f"10 1 3 {TARGET}",
    "HIP": f"2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMz first.example. {TARGET}",
}
A6, MINFO, TALINK, NXT, SIG, HIP = 38, 14, 58, 30, 24, 55
# … and of those that dnspython does not know.
OF_OLD = {
    A6: b"\x40" + bytes(8) + NAME_OCTETS,
    MINFO: b"\1a\0" + NAME_OCTETS,
    TALINK: b"\1a\0" + NAME_OCTETS,
    NXT: NAME_OCTETS + b"\x62\1\x80",
    SIG: bytes(18) + NAME_OCTETS + b"signature",
    **dict.fromkeys((3, 4, 7, 8, 9), NAME_OCTETS),
}
# Where there is no name, by what the data says itself.
NAMELESS = {
    "IPSECKEY": ["10 0 2 . AQNR", "10 1 2 192.0.2.1 AQNR", "10 2 2 2001:db8::1 AQNR"],
    "AMTRELAY": ["10 0 0 .", "10 1 1 192.0.2.1", "10 0 2 2001:db8::1"],
    "HIP": ["2 200100107B1A74DF365639CC39F1D578 AwEAAbdxyhNuSutc5EMz"],
}


def data_with_names() -> dict[int, bytes]:
    """Data by type."""
    found = {
        int(dns.rdatatype.from_text(type_)): dns.rdata.from_text("IN", type_, text) for type_, text in NAMED.items()
    }
    return {type_: data.to_wire() for type_, data in found.items()} | OF_OLD


def test_every_type_is_there_of_which_dnspython_knows_that_it_has_a_name() -> None:
    named = set()
    for family in (dns.rdtypes.ANY, dns.rdtypes.IN):
        for module in map(importlib.import_module, (f"{family.__name__}.{name}" for name in family.__all__)):
            type_ = module.__name__.rpartition(".")[2].replace("_", "-")
            if any(
                "get_name(" in inspect.getsource(base) for base in getattr(module, type_.replace("-", "_")).__mro__[:3]
            ):
                named.add(int(dns.rdatatype.from_text(type_)))
    assert {wire.SOA, wire.RRSIG, wire.HTTPS} <= named
    assert named - data_with_names().keys() == {dns.rdatatype.TSIG, dns.rdatatype.TKEY}  # of one hop
    assert data_with_names().keys() == {*LAYOUTS, *CHOSEN}


@pytest.mark.parametrize("kind", [0x40, 0x41, 0x7F, 0x80, 0xBF])
@pytest.mark.parametrize("label", [b"\6target", b"\3www"], ids=["first", "second"])
@pytest.mark.parametrize("type_", data_with_names())
def test_rfc6891_5_a_label_of_an_extended_type_is_refused_in_the_data_of_every_type(
    type_: int, label: bytes, kind: int
) -> None:
    data = data_with_names()[type_]
    assert data.count(label) == 1
    assert wire.read(answer(record(b"\0", type_, data))).sections[wire.ANSWER][0].data == data
    with pytest.raises(wire.WireError, match="a label of unknown kind"):
        wire.read(answer(record(b"\0", type_, data.replace(label, bytes([kind]) + label[1:]))))


@pytest.mark.parametrize("section", [wire.ANSWER, wire.AUTHORITY, wire.ADDITIONAL])
@pytest.mark.parametrize("kind", [0x40, 0x41, 0x7F, 0x80, 0xBF])
def test_rfc6891_5_and_in_names_of_records(kind: int, section: int) -> None:
    for name in (bytes([kind]) + b"\1\0", b"\1a" + bytes([kind]) + b"\1\0"):
        with pytest.raises(wire.WireError, match="a label of unknown kind"):
            wire.read(answer(record(name, wire.TXT, b""), section=section))


@pytest.mark.parametrize("type_", data_with_names())
def test_rfc3597_4_a_compressed_name_in_the_data_of_any_type_is_written_out(type_: int) -> None:
    data = data_with_names()[type_]
    first, second = record(NAME_OCTETS, wire.TXT, b""), record(b"\0", type_, data.replace(NAME_OCTETS, b"\xc0\x13"))
    assert wire.read(answer(first, second)).sections[wire.ANSWER][1].data == data


@pytest.mark.parametrize(("type_", "text"), [(type_, text) for type_, texts in NAMELESS.items() for text in texts])
def test_rfc3597_3_what_is_no_name_is_opaque(type_: str, text: str) -> None:
    number, data = int(dns.rdatatype.from_text(type_)), dns.rdata.from_text("IN", type_, text).to_wire()
    assert wire.read(answer(record(b"\0", number, data))).sections[wire.ANSWER][0].data == data


@pytest.mark.parametrize("bits", [0, 129, 255])
def test_rfc3597_3_an_a6_record_without_a_prefix_has_no_name(bits: int) -> None:
    data = bytes([bits]) + b"\x41" * 16
    assert wire.read(answer(record(b"\0", A6, data))).sections[wire.ANSWER][0].data == data


@pytest.mark.parametrize("bits", range(1, 129))
def test_rfc2874_3_1_the_name_of_the_prefix_is_behind_the_rest_of_the_address(bits: int) -> None:
    rest = b"\x41" * -(-(128 - bits) // 8)
    data = bytes([bits]) + rest + NAME_OCTETS
    assert wire.read(answer(record(b"\0", A6, data))).sections[wire.ANSWER][0].data == data
    with pytest.raises(wire.WireError):
        wire.read(answer(record(b"\0", A6, data[:-1])))


@pytest.mark.parametrize("type_", [*CHOSEN, wire.TXT, 65280])
@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0"])
def test_rfc3597_3_data_too_short_for_its_type_to_say_where_a_name_is_stays_as_it_is(type_: int, data: bytes) -> None:
    assert wire.read(answer(record(b"\0", type_, data))).sections[wire.ANSWER][0].data == data


def test_names_without_end_cost_no_more_than_a_message() -> None:
    long = record((b"\x3f" + bytes(63)) * 3 + b"\0", wire.TXT, b"")
    with pytest.raises(wire.WireError, match="more compressed names"):
        wire.read(answer(long, record(b"\0", HIP, bytes(4) + b"\xc0\x13" * 1000)))


def test_rfc1035_4_1_4_a_name_that_was_written_already_is_pointed_to() -> None:
    lines = [
        "www.example. 60 IN CNAME web.elsewhere.test.",
        *(f"web.elsewhere.test. 60 IN A 192.0.2.{k}" for k in range(9)),
    ]
    message = answered(lines)
    octets = wire.write(wire.read(message.to_wire()))
    assert octets.count(b"elsewhere") == 1
    assert dns.message.from_wire(octets) == message


@pytest.mark.parametrize(
    ("counts", "taken"), [((0, 0, 2), True), ((0, 0, 3), False), ((1, 0, 0), False), ((0, 1, 0), False)]
)
def test_a_query_has_no_more_than_opt_and_a_signature(counts: tuple[int, int, int], taken: bool) -> None:
    octets = QUESTION[:6] + struct.pack("!3H", *counts) + QUESTION[12:] + record(b"\0", 250, b"") * sum(counts)
    wire.read(octets)
    with contextlib.nullcontext() if taken else pytest.raises(wire.WireError, match="records of an answer"):
        wire.read_query(octets)


def test_what_lies_behind_a_message_is_not_part_of_it() -> None:
    message, end = wire.read_to_end(QUESTION + b"junk")
    assert (message, end) == (wire.read(QUESTION), len(QUESTION))


def test_the_ttl_fields_are_those_of_all_records_but_opt() -> None:
    octets = answered(LINES).to_wire()
    found = [int.from_bytes(octets[at : at + 4], "big") for at in layout(octets, wire.read_question(octets).end)[0]]
    assert found == [300, 60, 60, 60, 60, 60, 60]


@pytest.mark.parametrize(
    ("name", "suffix", "below"),
    [("a.example", "example", True), ("example", "example", True), ("badexample", "example", False), ("x", ".", True)],
)
def test_a_name_is_at_or_below_another(name: str, suffix: str, below: bool) -> None:
    assert wire.ends_with(wire.name_of(name), wire.name_of(suffix)) is below
