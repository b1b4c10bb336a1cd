"""[filtering] reset_unknown: soon after a start that found no sessions, the ends of a TCP connection from before are
told that it is no more (RFC 9293 section 3.5.2). RFC 6146 section 3.5.2.2 would be silent."""

from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6

from nat64d.offline.engine import Engine
from tests.case import BEGIN, config_of
from tests.packets import HOST4, HOST6, MAPPED4, OTHER4, fragment_of, from4, from6, in6, whole
from tests.sessions import Sessions
from translator.packet.error_limits import RECEIVERS, RESETS, TOKENS
from translator.tables.gateway import Gateway
from translator.verdict import Event, Verdict

UNTIL = 60.0  # seconds
FREE = (MAPPED4, 50000)  # nobody has it


def started(**changes) -> Sessions:
    """A gateway that has just been started."""
    nat64 = Sessions(forward=[], **changes)
    settings = replace(nat64.settings, reset_until=round((BEGIN + UNTIL) * 1000))
    nat64.gateway = Gateway(settings, nat64.tables, nat64.worker)
    return nat64


def reset6(flags: str = "R", seq: int = 2000, ack: int = 0) -> bytes:
    """What HOST6 gets, as if from HOST4."""
    segment = TCP(sport=53, dport=5000, flags=flags, seq=seq, ack=ack, window=0)
    return bytes(IPv6(src=in6(HOST4), dst=HOST6, hlim=64) / segment)


def reset4(seq: int = 2000) -> bytes:
    """What HOST4 gets, as if from FREE."""
    segment = TCP(sport=FREE[1], dport=53, flags="R", seq=seq, window=0)
    return bytes(IP(src=FREE[0], dst=HOST4, ttl=64, id=0, flags="DF") / segment)


@pytest.mark.parametrize("flags", ["ACK", "FIN", 0x18])
def test_a_segment_of_a_lost_session_is_answered_with_rst_on_either_side(flags):
    nat64 = started()
    outcome = nat64.from6("tcp", 5000, flags=flags)
    assert (outcome.verdict, outcome.answer) == (Verdict.LOST_SESSION, reset6())
    outcome = nat64.from4("tcp", FREE, flags=flags)
    assert (outcome.verdict, outcome.answer) == (Verdict.LOST_SESSION, reset4())
    assert nat64.events() == {"RESET_SENT": 2}
    assert not nat64.sessions()


@pytest.mark.parametrize("has_mapping", [False, True], ids=["", "of_a_mapping"])
@pytest.mark.parametrize("flags", ["ACK", "FIN", 0x18])
def test_rfc6146_3_8_so_is_one_to_a_neighbour_that_is_not_known_any_more(flags, has_mapping):
    nat64 = started()
    if has_mapping:
        nat64.opened("tcp", 5000)
    outcome = nat64.from6("tcp", 5000, FREE, flags)
    segment = TCP(sport=FREE[1], dport=5000, flags="R", seq=2000, window=0)
    assert outcome.verdict == Verdict.LOST_SESSION
    assert outcome.answer == bytes(IPv6(src=in6(FREE[0]), dst=HOST6, hlim=64) / segment)


@pytest.mark.parametrize(("flags", "length"), [(0x08, 3), (0x01, 4), (0x00, 3)])
def test_rfc9293_3_5_2_the_rst_to_a_segment_without_ack_acknowledges_it(flags, length):
    segment = TCP(sport=5000, dport=53, flags=flags, seq=0xFFFFFFFE) / b"abc"
    outcome = started().say(bytes(whole(from6(dst=in6(HOST4)) / segment)))
    assert outcome.answer == reset6("RA", 0, (0xFFFFFFFE + length) & 0xFFFFFFFF)


def test_rfc9293_3_10_7_1_no_rst_is_answered_with_rst():
    nat64 = started()
    assert nat64.from6("tcp", 5000, flags="RST").verdict == Verdict.NO_SESSION
    assert nat64.from4("tcp", FREE, flags="RST").verdict == Verdict.NO_SESSION
    assert nat64.from4("tcp", FREE, flags=0x14).verdict == Verdict.NO_SESSION


def test_the_time_is_over_and_rfc6146_3_5_2_2_holds():
    nat64 = started()
    nat64.wait(UNTIL - 0.001)
    assert nat64.from6("tcp", 5000, flags="ACK").verdict == Verdict.LOST_SESSION
    nat64.wait(0.001)
    for outcome in (nat64.from6("tcp", 5000, flags="ACK"), nat64.from4("tcp", FREE, flags="ACK")):
        assert (outcome.verdict, outcome.answer) == (Verdict.NO_SESSION, None)


def test_new_connections_open_and_wait_as_ever():
    nat64 = started()
    assert nat64.from4("tcp", FREE, flags="SYN").verdict == Verdict.SYN_HELD
    to = nat64.opened("tcp", 5000)
    assert nat64.from4("tcp", to, flags="SYN-ACK").verdict == Verdict.TRANSLATED
    assert nat64.from6("tcp", 5000, (OTHER4, 80), "ACK").verdict == Verdict.TRANSLATED, "its mapping is known"
    assert nat64.from4("udp", FREE).verdict == Verdict.NO_BIB_ENTRY


def test_whichever_address_of_ours_it_is():
    addresses = ("192.0.2.1", "192.0.2.9", "198.51.100.9")
    nat64 = started(pool4=[{"addresses": address} for address in addresses])
    for address in addresses:
        assert nat64.from4("tcp", (address, 50000), flags="ACK").verdict == Verdict.LOST_SESSION


def test_only_for_addresses_that_are_ours_and_hosts_that_may_be_reached():
    nat64 = started(translation={"denylist4": [f"{OTHER4}/32"]})
    assert nat64.from4("tcp", ("198.18.0.1", 50000), flags="ACK").verdict == Verdict.NO_SESSION
    assert nat64.from4("tcp", FREE, (OTHER4, 80), "ACK").verdict == Verdict.DENIED_ADDRESS
    assert nat64.from6("tcp", 5000, (OTHER4, 80), "ACK").verdict == Verdict.DENIED_ADDRESS


def test_an_icmp_error_about_a_lost_session_is_dropped_in_silence():
    quoted = IP(src=FREE[0], dst=OTHER4) / TCP(sport=FREE[1], dport=80, flags="A")
    outcome = started().say(bytes(whole(from4(dst=FREE[0]) / ICMP(type=11) / quoted)))
    assert (outcome.verdict, outcome.answer) == (Verdict.NO_SESSION, None)


def test_a_fragment_is_not_answered():
    packet = whole(from6(dst=in6(HOST4)) / TCP(sport=5000, dport=53, flags="A") / bytes(40))
    nat64 = started()
    outcome = nat64.say(bytes(fragment_of(packet, 0, 24)))
    assert (outcome.verdict, outcome.answer) == (Verdict.LOST_SESSION, None)
    assert nat64.events()["ANSWER_FORBIDDEN"] == 1


def test_there_is_a_limit():
    nat64 = started()
    assert nat64.from6("tcp", 5000, flags="ACK").answer
    nat64.worker.buckets[RECEIVERS + 2 * RESETS + 1, TOKENS] = 1999  # of IPv6
    assert nat64.from6("tcp", 5000, flags="ACK").answer
    assert not nat64.from6("tcp", 5000, flags="ACK").answer
    assert nat64.from4("tcp", FREE, flags="ACK").answer, "the other family has its own"
    assert nat64.worker.events[Event.RESET_LIMITED] == 1


@pytest.mark.parametrize(("filtering", "seconds"), [({}, 60), ({"reset_unknown": 5}, 5)], ids=["default", "configured"])
def test_the_time_is_a_minute_unless_it_is_configured(filtering, seconds):
    engine = Engine(config_of(forward=[], filtering=filtering))
    segment = bytes(whole(from6(dst=in6(HOST4)) / TCP(sport=5000, dport=53, flags="A")))
    began = 1.0  # seconds: that is when an engine begins
    found = [engine.send(segment, began + at).verdict for at in (0, seconds - 0.001, seconds)]
    assert found == [Verdict.LOST_SESSION, Verdict.LOST_SESSION, Verdict.NO_SESSION]
