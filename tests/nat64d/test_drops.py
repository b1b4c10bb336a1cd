"""The log of dropped packets: at most a line in ten seconds about each verdict, with a count and an example."""

import logging
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment

from nat64d.explain.as_text import as_text, ends_of
from nat64d.explain.packet_text import packets
from nat64d.gateway.drops import LOGGED, DropLog
from nat64d.offline.engine import Engine
from tests.case import config_of
from tests.packets import HOST4, HOST4_IN6, HOST6, MAPPED4, OTHER4, in6
from translator.verdict import DEBUG, Verdict

FULL = {"pool4": [{"addresses": MAPPED4, "ports": "40000-40001"}], "forward": []}


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, logger="test")
    return caplog


def exhausted(ports: range) -> tuple[Engine, DropLog]:
    """A gateway whose only two ports are taken, and more hosts than that."""
    engine = Engine(config_of(**FULL))
    for port in ports:
        engine.send(bytes(IPv6(src=HOST6, dst=HOST4_IN6) / UDP(sport=port, dport=53)), 1)
    return engine, DropLog([engine.worker], logging.getLogger("test"))


def test_a_drop_is_logged_with_its_count_and_an_example(log):
    _, drops = exhausted(range(5000, 5005))
    drops.look(100.0)
    (record,) = log.records
    assert record.levelno == Verdict.POOL4_EXHAUSTED.level == logging.WARNING
    assert record.getMessage() == (
        f"Dropped 3 packets as pool4_exhausted (RFC 6146 3.5): {Verdict.POOL4_EXHAUSTED.help} "
        f"Example: nat64d explain --live '{HOST6} > {IPv6Address(HOST4_IN6)} udp 5002 53 hlim 64 len 0'"
    )


def shown_by_default() -> int:
    """The lowest level that is in the log unless it is configured."""
    return logging.getLevelNamesMapping()[config_of().log.level.upper()]


def test_rfc2827_3_a_forged_source_is_logged(log):
    engine = Engine(config_of())
    engine.send(bytes(IP(src=MAPPED4, dst=HOST4) / UDP()), 1)
    engine.send(bytes(IPv6(src=in6(OTHER4), dst=HOST4_IN6) / UDP()), 1)
    DropLog([engine.worker], logging.getLogger("test")).look(100.0)
    began = [record.getMessage().partition(" (")[0] for record in log.records]
    assert began == ["Dropped 1 packet as source_in_pool6", "Dropped 1 packet as forged_source"]
    assert all(" Example: nat64d explain --live " in record.getMessage() for record in log.records)
    assert {record.levelno for record in log.records} == {shown_by_default()}


def test_a_verdict_is_logged_at_most_once_in_ten_seconds(log):
    engine, drops = exhausted(range(5000, 5003))
    drops.look(100.0)
    engine.send(bytes(IPv6(src=HOST6, dst=HOST4_IN6) / UDP(sport=6000, dport=53)), 2)
    engine.send(bytes(IPv6(src=HOST6, dst=HOST4_IN6) / UDP(sport=6001, dport=53)), 2)
    drops.look(109.9)
    assert len(log.records) == 1
    drops.look(110.0)
    assert log.records[1].getMessage().startswith("Dropped 2 packets in 10 s as pool4_exhausted")
    assert "udp 6000 53" in log.records[1].getMessage()
    drops.look(120.0)
    assert len(log.records) == 2


NO_MAPPING_MADE = (
    *("pool4_exhausted", "paired_full", "no_pool4", "session_table_full"),
    *("host_sessions", "host_ports", "host_rate", "subscriber_sessions", "subscriber_ports", "inbound_sessions"),
)


@pytest.mark.parametrize("name", NO_MAPPING_MADE)
def test_rfc6888_req_11_c_every_reason_to_refuse_a_mapping_is_logged(log, name):
    engine = Engine(config_of())
    engine.worker.counters[0, Verdict[name.upper()]] = 3
    DropLog([engine.worker], logging.getLogger("test")).look(100.0)
    (record,) = log.records
    assert record.levelno >= shown_by_default()
    assert record.getMessage().startswith(f"Dropped 3 packets as {name}")


def test_verdicts_of_level_debug_are_counted_and_not_logged(log):
    engine = Engine(config_of())
    drops = DropLog([engine.worker], logging.getLogger("test"))
    outcome = engine.send(bytes(IP(src=HOST4, dst=MAPPED4, ttl=1) / UDP()), 1)
    assert outcome.verdict.level == DEBUG
    drops.look(100.0)
    assert log.records == []
    assert {verdict for verdict in Verdict if verdict.level == DEBUG}.isdisjoint(LOGGED)


UNCHECKED = IP(src=HOST4, dst=MAPPED4) / UDP(sport=4053, dport=40001, chksum=0) / b"x"
HIDDEN = (
    IPv6(src=HOST6, dst=HOST4_IN6) / IPv6ExtHdrFragment(m=1, id=7) / IPv6ExtHdrDestOpt() / UDP(sport=5000, dport=53)
)


def test_rfc7915_4_5_a_datagram_without_checksum_is_logged(log):
    engine = Engine(config_of(translation={"udp_zero_checksum": "drop"}))
    assert engine.send(bytes(UNCHECKED), 1).verdict == Verdict.ZERO_UDP_CHECKSUM
    DropLog([engine.worker], logging.getLogger("test")).look(100.0)
    (record,) = log.records
    assert record.getMessage().endswith(f"Example: nat64d explain --live {bytes(UNCHECKED).hex()}")


LARGE = IP(src=HOST4, dst=MAPPED4) / UDP(sport=4053, dport=40001, chksum=0) / bytes(1400)
FIRST = IP(src=HOST4, dst=MAPPED4, flags="MF", id=7) / UDP(sport=4053, dport=40001, chksum=0, len=3000) / bytes(1400)
WITH_OPTIONS = IP(src=HOST4, dst=MAPPED4, options=[IPOption_NOP()]) / LARGE[UDP]


@pytest.mark.parametrize("packet", [LARGE, FIRST, WITH_OPTIONS], ids=["whole", "first_fragment", "with_options"])
def test_rfc7915_4_5_addresses_and_ports_of_a_large_datagram_without_checksum_are_logged(log, packet):
    without_sessions = {"pool4": [], "forward": [], "eam": [{"ipv4": MAPPED4, "ipv6": HOST6}]}
    engine = Engine(config_of(translation={"udp_zero_checksum": "drop"}, **without_sessions))
    assert engine.send(bytes(packet), 1).verdict == Verdict.ZERO_UDP_CHECKSUM
    DropLog([engine.worker], logging.getLogger("test")).look(100.0)
    (record,) = log.records
    assert record.getMessage().endswith(f" Example: {HOST4} > {MAPPED4} udp 4053 40001, {len(packet)} octets")


ENDS = [
    (IP(src=HOST4, dst=MAPPED4, frag=185) / bytes(800), f"{HOST4} > {MAPPED4}"),
    (IP(src=HOST4, dst=MAPPED4, proto=47) / bytes(800), f"{HOST4} > {MAPPED4}"),
    (IPv6(src=HOST6, dst=HOST4_IN6) / UDP(sport=1, dport=2, chksum=0), f"{HOST6} > {IPv6Address(HOST4_IN6)} udp 1 2"),
    (IPv6(src=HOST6, dst=HOST4_IN6) / IPv6ExtHdrFragment() / bytes(800), f"{HOST6} > {IPv6Address(HOST4_IN6)}"),
    (IP(src=HOST4, dst=MAPPED4, proto=17), f"{HOST4} > {MAPPED4}"),
]


@pytest.mark.parametrize(
    ("packet", "text"), ENDS, ids=lambda one: one.summary()[:40] if isinstance(one, IP | IPv6) else ""
)
def test_of_a_packet_without_text_the_ends_are_told_as_far_as_they_are_known(packet, text):
    assert ends_of(bytes(packet)) == text


@pytest.mark.parametrize("octets", [b"", bytes(60), bytes.fromhex("45" * 19), bytes.fromhex("60" * 39)], ids=len)
def test_of_what_is_no_header_no_ends_are_told(octets):
    assert ends_of(octets) == ""


def test_rfc7915_5_1_1_an_extension_header_in_a_fragment_is_logged(log):
    engine = Engine(config_of())
    assert engine.send(bytes(HIDDEN), 1).verdict == Verdict.EXTENSION_HEADERS
    DropLog([engine.worker], logging.getLogger("test")).look(100.0)
    (record,) = log.records
    assert record.levelno >= shown_by_default()
    assert record.getMessage().endswith(f"Example: nat64d explain --live {bytes(HIDDEN).hex()}")


TEXTS = [
    IPv6(src=HOST6, dst=HOST4_IN6, hlim=9) / UDP(sport=5000, dport=53) / bytes(7),
    IPv6(src=HOST6, dst=HOST4_IN6) / TCP(sport=5000, dport=443, flags="SA", seq=0, window=0xFFFF) / bytes(3),
    IPv6(src=HOST6, dst=HOST4_IN6) / ICMPv6EchoRequest(id=77, seq=1) / bytes(5),
    IP(src=HOST4, dst=MAPPED4, id=1) / UDP(sport=53, dport=5000) / bytes(7),
    IP(src=HOST4, dst=MAPPED4, id=1, ttl=3) / ICMP(type=0, id=8, seq=1),
    IP(src=HOST4, dst=MAPPED4, flags="MF") / UDP() / bytes(8),
    IPv6(src=HOST6, dst=HOST4_IN6) / IPv6ExtHdrFragment(m=1) / UDP() / bytes(8),
    IP(src=HOST4, dst=MAPPED4) / ICMP(type=13),
]


@pytest.mark.parametrize("packet", TEXTS, ids=lambda packet: packet.summary()[:40])
def test_the_example_is_the_packet_that_was_dropped(packet):
    octets = bytes(packet)
    assert packets(as_text(octets, len(octets)))[-1][1] == octets


def test_a_packet_of_which_too_little_is_known_has_no_example():
    octets = bytes(IP(src=HOST4, dst=MAPPED4, flags="MF") / UDP() / bytes(800))
    assert as_text(octets[:256], len(octets)) == ""
