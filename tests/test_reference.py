"""The oracle on packets worked out by hand: RFC 6146's walk-through, sizes, errors, choices that are complained of."""

import ast
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrFragment

from nat64d.config.load import loads
from tests.reference import packets as make
from tests.reference.addresses import embed
from tests.reference.icmp import Message as Error
from tests.reference.icmp import assemble, read_message
from tests.reference.oracle import Oracle
from tests.reference.reading import ICMP as ICMP4
from tests.reference.reading import ICMPV6, read
from tests.reference.reading import TCP as TCP_
from tests.reference.reading import UDP as UDP_
from tests.reference.tcp import State
from tests.reference.transport import checksum, rewrite

ACK = 16

# RFC 6146 1.2.2: H1 is 2001:db8::1, H2 is 203.0.113.1, the pool address T is 192.0.2.1 … here with the prefix of RFC
# 6052 2.4.
H1, H2, T = IPv6Address("2001:db8::1"), IPv4Address("203.0.113.1"), IPv4Address("192.0.2.1")
POOL6 = IPv6Network("2001:db8:122:344::/96")
H2_IN_6 = embed(POOL6, H2)
CONFIG = """
pool6 = "2001:db8:122:344::/96"
[[pool4]]
addresses = "192.0.2.1-192.0.2.2"
"""


@pytest.fixture
def oracle() -> Oracle:
    return Oracle(loads(CONFIG))


def test_rfc6146_1_2_2_walk_through(oracle: Oracle) -> None:
    """A TCP connection from 2001:db8::1 port 1500 to 203.0.113.1 port 80, the translator having chosen 192.0.2.1 port
    2000.
    """
    syn = bytes(IPv6(src=str(H1), dst=str(H2_IN_6)) / TCP(sport=1500, dport=80, flags="S"))
    sent = bytes(IP(src=str(T), dst=str(H2), id=7, ttl=63) / TCP(sport=2000, dport=80, flags="S"))
    assert not oracle.send(syn, 0.0, [sent]).objections("TRANSLATED", [sent], None)
    answer = bytes(IP(src=str(H2), dst=str(T), flags="DF", ttl=64) / TCP(sport=80, dport=2000, flags="SA"))
    back = bytes(IPv6(src=str(H2_IN_6), dst=str(H1), hlim=63) / TCP(sport=80, dport=1500, flags="SA"))
    assert oracle.send(answer, 0.1, []).packets == [back]
    (entry,) = oracle.bibs.entries()
    assert entry.sessions[H2, 80].state is State.ESTABLISHED


def test_a_wrong_octet_is_shown_by_the_name_of_its_field(oracle: Oracle) -> None:
    query = bytes(IPv6(src=str(H1), dst=str(H2_IN_6)) / UDP(sport=5000, dport=53) / b"?")
    wrong = bytes(IP(src=str(T), dst=str(H2), ttl=64, flags="DF") / UDP(sport=4000, dport=53) / b"?")
    (message,) = oracle.send(query, 0.0, [wrong]).objections("TRANSLATED", [wrong], None)
    assert "-  ttl       = 63" in message
    assert "+  ttl       = 64" in message
    assert "+  flags     = DF" in message


@pytest.mark.parametrize(
    ("address", "port", "complaint"),
    [("192.0.2.9", 4000, "not in the pool4"), ("192.0.2.1", 80, "not in the pool4"), ("192.0.2.1", 4001, "parity")],
)
def test_an_illegal_choice_is_complained_of(oracle: Oracle, address: str, port: int, complaint: str) -> None:
    query = bytes(IPv6(src=str(H1), dst=str(H2_IN_6)) / UDP(sport=5000, dport=53))
    sent = bytes(IP(src=address, dst=str(H2), ttl=63, id=9) / UDP(sport=port, dport=53))
    (message,) = oracle.send(query, 0.0, [sent]).objections("TRANSLATED", [sent], None)
    assert complaint in message


def test_choices_are_paired_unique_and_endpoint_independent(oracle: Oracle) -> None:
    def send(source: IPv6Address, sport: int, host4: IPv4Address, sent_from: str, port: int) -> list[str]:
        packet = bytes(IPv6(src=str(source), dst=str(embed(POOL6, host4))) / UDP(sport=sport, dport=53))
        sent = bytes(IP(src=sent_from, dst=str(host4), ttl=63, id=9) / UDP(sport=port, dport=53))
        return oracle.send(packet, 0.0, [sent]).objections("TRANSLATED", [sent], None)

    other4, other6 = IPv4Address("198.51.100.2"), IPv6Address("2001:db8::2")
    assert not send(H1, 5000, H2, "192.0.2.1", 4000)
    assert not send(H1, 5000, other4, "192.0.2.1", 4000)
    assert send(
        H1, 5000, IPv4Address("198.51.100.3"), "192.0.2.1", 4002
    )  # RFC 6146 5.2: the same mapping for every peer
    assert "no other (RFC 7857 4)" in send(H1, 5002, H2, "192.0.2.2", 4004)[0]
    assert "an unanswered entry had it" in send(other6, 5000, H2, "192.0.2.1", 4000)[0]


@given(st.binary(min_size=0, max_size=60), st.integers(0, 65535), st.integers(0, 65535))
def test_transport_checksums_agree_with_scapy_both_ways(data: bytes, sport: int, dport: int) -> None:
    six = IPv6(src=str(H1), dst=str(H2_IN_6))
    for segment in (UDP(sport=sport, dport=dport) / data, TCP(sport=sport, dport=dport) / data):
        packet = bytes(six / segment)
        _, payload = rewrite(read(packet), T, H2, (4000, dport))
        segment.sport = 4000
        assert payload == bytes(IP(src=str(T), dst=str(H2)) / segment)[20:]


def test_rfc1624_a_damaged_segment_leaves_as_damaged_as_it_came() -> None:
    segment = make.cover(H1, H2_IN_6, TCP_, make.tcp(5000, 80, ACK, b"hello"))
    damaged = read(make.ipv6(H1, H2_IN_6, TCP_, segment[:-1] + b"\0", covered=False))
    _, payload = rewrite(damaged, T, H2, (4000, 80))
    zeroed = payload[:16] + b"\0\0" + payload[18:]
    right = checksum(T, H2, TCP_, zeroed[:-1] + b"o")
    assert int.from_bytes(payload[16:18]) == right


def test_rfc768_a_checksum_that_becomes_zero_is_sent_as_ffff() -> None:
    found = 0
    for sport in range(65536):
        packet = make.ipv6(H1, H2_IN_6, UDP_, make.udp(sport, 53))
        _, payload = rewrite(read(packet), T, H2, None)
        found += payload[6:8] == b"\xff\xff"
        assert payload[6:8] != b"\0\0"
        if found:
            return
    pytest.fail("no port gave a zero checksum")


@pytest.mark.parametrize(("size", "dont_fragment"), [(1260, False), (1261, True)])
def test_rfc7915_5_1_dont_fragment_only_above_1260(oracle: Oracle, size: int, dont_fragment: bool) -> None:
    packet = make.ipv6(H1, H2_IN_6, UDP_, make.udp(5000, 53, bytes(size - 28)))
    (written,) = oracle.send(packet, 0.0, [bytes(IP(src=str(T), dst=str(H2)) / UDP(sport=4000, dport=53))]).packets
    assert IP(written).len == size
    assert (IP(written).flags == "DF") is dont_fragment


@pytest.fixture
def bound(oracle: Oracle) -> Oracle:
    """With a binding: UDP [2001:db8::1]:5000 <> 192.0.2.1:4000, and one session to 203.0.113.1:53."""
    packet = bytes(IPv6(src=str(H1), dst=str(H2_IN_6)) / UDP(sport=5000, dport=53))
    sent = bytes(IP(src=str(T), dst=str(H2), ttl=63, id=9) / UDP(sport=4000, dport=53))
    assert not oracle.send(packet, 0.0, [sent]).objections("TRANSLATED", [sent], None)
    return oracle


def test_rfc7915_4_1_without_df_1281_octets_become_two_fragments(bound: Oracle) -> None:
    data = bytes(range(256)) * 5
    packet = make.ipv4(H2, T, UDP_, make.udp(53, 4000, data[:1233]), identification=0xBEEF)
    first, second = bound.send(packet, 1.0, []).packets
    assert [len(first), len(second)] == [1280, 57]
    for at, piece in enumerate((first, second)):
        header = IPv6(piece)[IPv6ExtHdrFragment]
        assert (header.id, header.offset, header.m) == (0xBEEF, at * 154, 1 - at)


def test_rfc7915_4_1_without_df_1280_octets_have_no_fragment_header(bound: Oracle) -> None:
    packet = make.ipv4(H2, T, UDP_, make.udp(53, 4000, bytes(1232)))
    (written,) = bound.send(packet, 1.0, []).packets
    assert len(written) == 1280
    assert IPv6(written).nh == UDP_


def test_rfc7915_4_3_time_exceeded_by_hand(bound: Oracle) -> None:
    """A router on the way answers; its quote has the 8 octets of RFC 792 and its TTL is left alone."""
    quote = bytes(IP(src=str(T), dst=str(H2), ttl=1, id=9) / UDP(sport=4000, dport=53))
    error = make.ipv4(IPv4Address("198.51.100.1"), T, ICMP4, make.error(11, 0, quote))
    (written,) = bound.send(error, 1.0, []).packets
    router = str(embed(POOL6, IPv4Address("198.51.100.1")))
    inner = IPv6(src=str(H1), dst=str(H2_IN_6), hlim=1) / UDP(sport=5000, dport=53)
    assert written == bytes(IPv6(src=router, dst=str(H1), hlim=63) / ICMPv6TimeExceeded() / inner)


def test_rfc7915_5_3_port_unreachable_by_hand(bound: Oracle) -> None:
    quote = bytes(IPv6(src=str(H2_IN_6), dst=str(H1), hlim=60) / UDP(sport=53, dport=5000) / b"answer")
    error = bytes(IPv6(src=str(H1), dst=str(H2_IN_6)) / ICMPv6DestUnreach(code=4) / quote)
    sent = IP(src=str(T), dst=str(H2), ttl=63, id=3) / ICMP(type=3, code=3)
    sent = bytes(sent / IP(src=str(H2), dst=str(T), ttl=60, id=5) / UDP(sport=53, dport=4000) / b"answer")
    assert bound.send(error, 1.0, [sent]).packets == [sent]


def test_rfc6146_3_5_an_error_keeps_nothing_alive(bound: Oracle) -> None:
    quote = bytes(IP(src=str(T), dst=str(H2), ttl=1, id=9) / UDP(sport=4000, dport=53))
    error = make.ipv4(IPv4Address("198.51.100.1"), T, ICMP4, make.error(11, 0, quote))
    assert bound.send(error, 299.0, []).verdict_group == "translated"
    assert bound.send(error, 301.0, []).verdicts == {"NO_BIB_ENTRY", "NO_SESSION"}


def test_rfc7915_4_1_hop_limit_is_answered_with_time_exceeded(bound: Oracle) -> None:
    packet = make.ipv4(H2, T, UDP_, make.udp(53, 4000), ttl=1)
    expected = bound.send(packet, 1.0, [])
    assert expected.verdict_group == "answered"
    assert expected.verdicts == {"HOP_LIMIT_EXPIRED"}
    assert expected.answer is not None
    assert IP(expected.answer)[ICMP].type == 11
    assert bytes(IP(expected.answer)[ICMP].payload) == packet


def test_rfc7915_4_1_too_big_is_answered_with_the_mtu() -> None:
    oracle = Oracle(loads(CONFIG + "[translation]\nmtu6 = 1400\n"))
    packet = bytes(IPv6(src=str(H1), dst=str(H2_IN_6)) / UDP(sport=5000, dport=53))
    oracle.send(packet, 0.0, [bytes(IP(src=str(T), dst=str(H2), ttl=63, id=9) / UDP(sport=4000, dport=53))])
    expected = oracle.send(make.ipv4(H2, T, UDP_, make.udp(53, 4000, bytes(1353)), dont_fragment=True), 1.0, [])
    assert expected.answer is not None
    assert IP(expected.answer)[ICMP].nexthopmtu == 1380


def test_rfc7915_5_1_1_an_ipv6_packet_of_1280_octets_is_never_too_big() -> None:
    oracle = Oracle(loads(CONFIG + "[translation]\nmtu4 = 1000\n"))
    packet = make.ipv6(H1, H2_IN_6, UDP_, make.udp(5000, 53, bytes(1232)))
    assert oracle.send(packet, 0.0, []).verdict_group == "translated"
    expected = oracle.send(make.ipv6(H1, H2_IN_6, UDP_, make.udp(5000, 53, bytes(1233))), 0.0, [])
    assert expected.answer is not None
    assert IPv6(expected.answer)[ICMPv6PacketTooBig].mtu == 1280


def test_rfc7915_5_1_pointer_shows_segments_left(oracle: Oracle) -> None:
    chain = (make.options_header(60), make.routing_header(1))
    packet = make.ipv6(H1, H2_IN_6, UDP_, make.udp(5000, 53), extensions=chain)
    expected = oracle.send(packet, 0.0, [])
    assert expected.verdicts == {"ROUTING_HEADER"}
    assert expected.answer is not None
    assert int.from_bytes(expected.answer[44:48]) == 40 + 8 + 3


@pytest.mark.parametrize(
    ("option", "routed"), [(b"\x83\x07\x04", True), (b"\x89\x07\x04", True), (b"\x83\x07\x08", False)]
)
def test_rfc7915_4_1_only_an_unexpired_source_route_stops_a_packet(bound: Oracle, option: bytes, routed: bool) -> None:
    packet = make.ipv4(H2, T, UDP_, make.udp(53, 4000), options=option + H2.packed + b"\0")
    assert (bound.send(packet, 1.0, []).verdicts == {"SOURCE_ROUTED"}) is routed


def test_rfc4884_an_extension_is_kept_and_its_length_told_in_words_of_the_other_family() -> None:
    quoted = make.ipv4(T, H2, UDP_, make.udp(4000, 53, bytes(100)))
    datagram, extension = quoted.ljust(128, b"\0"), b"\x20\0\xdf\xff\0\x04\x01\x01"
    message = read_message(read(make.ipv4(H2, T, ICMP4, make.error(11, 0, datagram + extension, b"\0\x20\0\0"))), True)
    assert (message.quoted, message.extension) == (datagram, extension)
    octets = assemble(6, Error(3, 0, bytes(4), b""), quoted + bytes(20), extension, 1240)
    assert octets[4] == len(octets[8:-8]) // 8
    assert octets.endswith(extension)
    assert assemble(6, Error(2, 0, bytes(4), b""), quoted, extension, 1240).endswith(
        quoted
    )  # 4.6: not in Packet Too Big


def test_rfc6146_3_4_a_protocol_nat64_does_not_carry(oracle: Oracle) -> None:
    packet = make.ipv6(H1, H2_IN_6, 47, b"gre")
    expected = oracle.send(packet, 0.0, [])
    assert expected.verdicts == {"PROTOCOL"}
    assert expected.answer is not None
    assert expected.answer[40:42] == bytes([1, 4])
    expected = oracle.send(make.ipv4(H2, T, 47, b"gre"), 0.0, [])
    assert expected.answer is not None
    assert expected.answer[20:22] == bytes([3, 2])


def test_rfc6146_3_6_an_error_sent_elsewhere_than_to_the_end_of_the_session_is_of_none(bound: Oracle) -> None:
    quote = bytes(IP(src=str(T), dst=str(H2), ttl=1, id=9) / UDP(sport=4000, dport=53))
    error = make.error(11, 0, quote)
    router, other = IPv4Address("198.51.100.1"), IPv4Address("192.0.2.2")
    assert bound.send(make.ipv4(router, other, ICMP4, error), 1.0, []).verdicts == {"NO_SESSION"}
    assert bound.send(make.ipv4(router, T, ICMP4, error), 1.0, []).verdict_group == "translated"


def test_rfc6146_3_8_a_syn_to_nobody_behind_us_is_answered_in_ipv6() -> None:
    oracle = Oracle(loads(CONFIG), bound=lambda protocol, host6: (T, 4000))
    nobody = embed(POOL6, IPv4Address("192.0.2.2"))
    syn = bytes(IPv6(src=str(H1), dst=str(nobody)) / TCP(sport=1500, dport=80, flags="S"))
    assert oracle.send(syn, 0.0, []).verdicts == {"SYN_HELD"}
    assert oracle.expire(5.9) == []
    (answer,) = oracle.expire(6.0)
    assert answer == bytes(IPv6(src=str(nobody), dst=str(H1), hlim=64) / ICMPv6DestUnreach(code=4) / syn)


def test_rfc6877_a_source_that_is_not_of_the_clat_is_prohibited() -> None:
    oracle = Oracle(loads('[clat]\nipv6 = "2001:db8:1::464"\nplat = "2001:db8:64::/96"\n'))
    expected = oracle.send(make.ipv4(IPv4Address("192.168.7.2"), H2, UDP_, make.udp(5000, 53)), 0.0, [])
    assert expected.verdicts == {"CLAT_SOURCE"}
    assert expected.answer is not None
    assert expected.answer[20:22] == bytes([3, 13])
    own = make.ipv4(IPv4Address("192.0.0.1"), H2, UDP_, make.udp(5000, 53))
    assert oracle.send(own, 0.0, []).verdict_group == "translated"


@pytest.mark.parametrize("address", ["0.1.2.3", "127.0.0.1", "169.254.1.1", "224.0.0.1", "240.0.0.1"])
def test_rfc3927_2_7_rfc1812_5_3_7_nobody_reaches_an_address_that_is_never_forwarded(
    oracle: Oracle, address: str
) -> None:
    packet = make.ipv6(H1, embed(POOL6, IPv4Address(address)), UDP_, make.udp(5000, 53))
    expected = oracle.send(packet, 0.0, [])
    assert expected.verdicts - {"DENIED_ADDRESS"} == {"NOT_UNICAST"}, "denylist4 has some of them, too"
    assert expected.answer is not None
    assert expected.answer[40:42] == bytes([1, 1])


def test_no_error_about_an_error(oracle: Oracle) -> None:
    error = bytes(IPv6(src=str(H1), dst=str(H2_IN_6), hlim=1) / ICMPv6DestUnreach() / IPv6() / UDP())
    assert oracle.send(error, 0.0, []).answer is None
    assert oracle.send(make.ipv6(H1, H2_IN_6, ICMPV6, make.echo(128, 7), hop_limit=1), 0.0, []).answer is not None


def test_the_oracle_shares_no_code_with_the_translator() -> None:
    for path in Path(__file__).with_name("reference").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] in {"translator", "nat64d"}], path


def test_rfc2827_3_a_forged_source_is_nobody_s(oracle: Oracle) -> None:
    query = make.udp(5000, 53)
    for source, to in ((T, IPv4Address("192.0.2.2")), (T, H2), (H2, H2)):
        expected = oracle.send(make.ipv4(source, to, UDP_, query, ttl=1), 0.0, [])
        assert "FORGED_SOURCE" in expected.verdicts
        assert expected.must_drop
    for host6 in (H1, H2_IN_6):
        assert "FORGED_SOURCE" in oracle.send(make.ipv6(host6, host6, UDP_, query), 0.0, []).verdicts
    assert "FORGED_SOURCE" not in oracle.send(make.ipv4(H2, T, UDP_, query), 0.0, []).verdicts
