"""RFC 6146 section 4: how long a session lives, and the timer wheel that ends it.

A packet meets a session to the millisecond; the tables are emptied once the second is over.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply

from tests.case import BEGIN
from tests.packets import HOST4, HOST6_PORT, MAPPED4, MAPPED4_PORT, OTHER4, from6
from tests.sessions import Sessions
from translator.session.sessions import expire
from translator.tables.layout import NONE, WHEEL
from translator.verdict import Verdict

MAPPED = (MAPPED4, MAPPED4_PORT)
DAY = 86400
ESTABLISHED = ("SYN", "SYN-ACK")


def established(nat64: Sessions) -> None:
    """A TCP session between HOST6:HOST6_PORT and HOST4."""
    nat64.from6("tcp", HOST6_PORT, flags="SYN")
    nat64.from4("tcp", MAPPED, flags="SYN-ACK")
    assert nat64.session().state == "ESTABLISHED"


def reset(nat64: Sessions) -> None:
    """… that HOST6 has reset."""
    established(nat64)
    nat64.from6("tcp", HOST6_PORT, flags="RST")


def reset_from_outside(nat64: Sessions) -> None:
    """… that HOST4 has reset."""
    established(nat64)
    nat64.from4("tcp", MAPPED, flags="RST")


def closed(nat64: Sessions) -> None:
    """… that both sides have closed, HOST6 first."""
    established(nat64)
    nat64.from6("tcp", HOST6_PORT, flags="FIN")
    nat64.from4("tcp", MAPPED, flags="FIN")


def closed_from_outside(nat64: Sessions) -> None:
    """… that both sides have closed, HOST4 first."""
    established(nat64)
    nat64.from4("tcp", MAPPED, flags="FIN")
    nat64.from6("tcp", HOST6_PORT, flags="FIN")


# What begins a lifetime, its key in [timeouts], the default (RFC 6146 section 4, RFC 7857 section 2.1), another value.
LIFETIMES = {
    "UDP_DEFAULT": (lambda nat64: nat64.from6("udp", 6000), "udp", 300, 120),
    "ICMP_DEFAULT": (lambda nat64: nat64.from6("icmp", 6000), "icmp", 60, 61),
    "TCP_TRANS": (reset, "tcp_transitory", 240, 241),
    "TCP_TRANS_from_outside": (reset_from_outside, "tcp_transitory", 240, 241),
    "TCP_OPENING": (lambda nat64: nat64.from6("tcp", 6000), "tcp_opening", 240, 241),
    "TCP_OPENING_below_4_minutes": (lambda nat64: nat64.from6("tcp", 6000), "tcp_opening", 240, 6),
    "TCP_OPENING_from_outside": (lambda nat64: nat64.from4("tcp", MAPPED, flags="SYN"), "tcp_opening", 240, 500),
    "TCP_CLOSING": (closed, "tcp_closing", 240, 500),
    "TCP_CLOSING_from_outside": (closed_from_outside, "tcp_closing", 240, 500),
    "TCP_EST": (established, "tcp_established", 7440, 14 * DAY),
}


@pytest.mark.parametrize("configured", [False, True], ids=["default", "configured"])
@pytest.mark.parametrize("name", LIFETIMES)
def test_rfc6146_4_lifetime(name, configured):
    begin, key, default, other = LIFETIMES[name]
    nat64 = Sessions(timeouts={key: other} if configured else {})
    begin(nat64)
    nat64.wait((other if configured else default) - 0.001)
    assert nat64.session().left == 0.001
    nat64.wait(1.001)
    # Section 3.5.2.2: an established session goes through TRANS.
    assert [session.state for session in nat64.sessions()] == (["TRANS"] if name == "TCP_EST" else [])


@pytest.mark.parametrize("seconds", [120, 121, 300])
@pytest.mark.parametrize("side", ["from6", "from4"])
def test_rfc4787_req_5_a_mapping_of_udp_stays_two_minutes_whatever_is_configured(side, seconds):
    nat64 = Sessions(forward=[], timeouts={"udp": seconds})
    mapped = nat64.opened("udp", 6000)
    if side == "from4":
        nat64.wait(seconds - 0.001)
        assert nat64.from4("udp", mapped, (OTHER4, 7)).verdict == Verdict.TRANSLATED
    nat64.wait(119.999)
    assert nat64.mapped("udp", 6000) == mapped
    assert nat64.from4("udp", mapped).verdict == Verdict.TRANSLATED
    nat64.wait(seconds + 1)
    assert nat64.mapped("udp", 6000) is None


QUERIES = {
    "request": lambda nat64: nat64.opened("icmp", HOST6_PORT, to=(HOST4, 0)),
    "reply": lambda nat64: nat64.say(bytes(IP(src=HOST4, dst=MAPPED4) / ICMP(type=0, id=MAPPED4_PORT))),
    "request_from_ipv4": lambda nat64: nat64.from4("icmp", MAPPED, (HOST4, 0)),
    "reply_from_ipv6": lambda nat64: nat64.say(bytes(from6() / ICMPv6EchoReply(id=HOST6_PORT))),
}
# Who speaks before: nobody, one side, both sides.
BEFORE = [(), ("request",), ("request_from_ipv4",), ("request", "reply"), ("request_from_ipv4", "reply_from_ipv6")]


@pytest.mark.parametrize(("timeouts", "seconds"), [({}, 60), ({"icmp": 90}, 90)], ids=["default", "configured"])
@pytest.mark.parametrize("last", QUERIES)
@pytest.mark.parametrize("before", BEFORE, ids="_then_".join)
def test_rfc5508_req_2_a_query_has_all_its_time_after_each_packet(before, last, timeouts, seconds):
    nat64 = Sessions(timeouts=timeouts)
    for name in before:
        QUERIES[name](nat64)
        nat64.wait(seconds - 0.001)
    QUERIES[last](nat64)
    assert nat64.session().left == seconds
    nat64.wait(seconds - 0.001)
    assert nat64.session().left == 0.001
    assert nat64.from4("icmp", MAPPED, (HOST4, 0)).verdict == Verdict.TRANSLATED
    assert nat64.events()["SESSION_CREATED"] == 1


@pytest.mark.parametrize("protocol", ["udp", "icmp", "tcp"])
def test_rfc6146_4_the_millisecond_decides(protocol):
    """At its last millisecond a packet still belongs to the session; one later to none."""
    for left, verdict in (
        (0.001, Verdict.TRANSLATED),
        (0, Verdict.NO_SESSION if protocol == "tcp" else Verdict.NO_BIB_ENTRY),
    ):
        nat64 = Sessions()
        mapped = nat64.opened(protocol, 6000)
        nat64.wait(nat64.session().left - left)
        assert nat64.from4(protocol, mapped, flags="ACK").verdict == verdict


def test_rfc6146_4_host6_that_speaks_at_the_end_of_its_session_gets_a_new_one():
    nat64 = Sessions()
    nat64.opened("udp", 6000)
    nat64.wait(300)
    nat64.opened("udp", 6000)
    assert nat64.session().left == 300
    assert nat64.events()["SESSION_CREATED"] == 2


@pytest.mark.parametrize("side", ["V6", "V4"])
def test_rfc6146_4_keep_leaves_the_lifetime_as_it_is(side):
    nat64 = Sessions()
    established(nat64)
    nat64.wait(1000)
    if side == "V6":
        nat64.from6("tcp", HOST6_PORT, flags="FIN")
    else:
        nat64.from4("tcp", MAPPED, flags="FIN")
    assert nat64.session().left == 6440
    nat64.wait(6439)
    assert nat64.session().state == f"{side}_FIN_RCV"
    nat64.wait(2)
    assert nat64.sessions() == []


@pytest.mark.parametrize(
    ("segments", "left"),
    [((("from6", "RST"),), 240), ((("from4", "RST"),), 240), ((("from6", "FIN"), ("from4", "FIN")), 240)],
    ids=["rst_from_ipv6", "rst_from_ipv4", "fin_from_both"],
)
def test_rfc6146_4_state_change_that_shortens_the_lifetime_brings_the_end_forward(segments, left):
    nat64 = Sessions()
    established(nat64)
    nat64.wait(10)
    for side, flags in segments:
        if side == "from6":
            nat64.from6("tcp", HOST6_PORT, flags=flags)
        else:
            nat64.from4("tcp", MAPPED, flags=flags)
    assert nat64.session().left == left
    nat64.wait(left - 0.001)
    assert len(nat64.sessions()) == 1
    nat64.wait(1.001)
    assert nat64.sessions() == []


def test_rfc6146_4_last_four_minutes_after_both_fin_run_down_whatever_comes():
    nat64 = Sessions()
    established(nat64)
    nat64.from6("tcp", HOST6_PORT, flags="FIN")
    nat64.from4("tcp", MAPPED, flags="FIN")
    for _ in range(7):
        nat64.wait(30)
        nat64.from6("tcp", HOST6_PORT, flags="ACK")
        nat64.from4("tcp", MAPPED, flags="ACK")
    assert nat64.session().left == 30


def test_rfc6146_4_sessions_end_in_the_order_of_their_times():
    nat64 = Sessions()
    nat64.opened("udp", 6000)
    nat64.opened("tcp", 6000)
    nat64.opened("icmp", 6000)
    nat64.wait(61)
    assert {session.protocol for session in nat64.sessions()} == {"udp", "tcp"}
    nat64.wait(180)
    assert {session.protocol for session in nat64.sessions()} == {"udp"}
    nat64.wait(60)
    assert nat64.bib().keys() == {(name, "2001:db8:1::10", HOST6_PORT) for name in ("tcp", "udp", "icmp")}


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_rfc7857_11_a_mapping_goes_with_its_last_session(protocol):
    nat64 = Sessions(forward=[], timeouts={"udp": 300, "tcp_opening": 300, "icmp": 300})
    mapped = nat64.opened(protocol, 6000)
    nat64.wait(100)
    nat64.opened(protocol, 6000, to=(OTHER4, 80))
    nat64.wait(201)
    assert len(nat64.sessions()) == 1
    assert nat64.mapped(protocol, 6000) == mapped
    nat64.wait(100)
    assert nat64.sessions() == []
    assert nat64.mapped(protocol, 6000) is None


def looked_at(nat64: Sessions, quota: int = 4096) -> int:
    """One call of expire() at the present time."""
    return int(expire(nat64.gateway, round((BEGIN + nat64.now) * 1000), quota)[0])


def test_rfc6146_4_wheel_looks_at_a_busy_session_once_a_lifetime():
    nat64 = Sessions()
    seen = 0
    for _ in range(150):
        nat64.now += 10
        seen += looked_at(nat64)
        nat64.from6("udp", 6000)
    assert seen == 1500 // 300 - 1
    assert nat64.events()["SESSION_CREATED"] == 1


def test_rfc6146_4_wheel_looks_at_no_more_sessions_than_it_is_allowed():
    nat64 = Sessions(limits={"sessions": 32})
    for port in range(6000, 6013):
        nat64.opened("udp", port)
    nat64.now += 301
    assert [looked_at(nat64, 5) for _ in range(4)] == [5, 5, 3, 0]
    nat64.check_invariants()
    assert nat64.sessions() == []


def test_rfc6146_4_wheel_that_is_behind_never_lets_a_dead_session_speak():
    nat64 = Sessions()
    mapped = nat64.opened("udp", 6000)
    nat64.opened("udp", 6001)
    nat64.expire = lambda at: []  # nobody calls expire()
    nat64.now += 400
    assert nat64.from4("udp", mapped).verdict == Verdict.NO_BIB_ENTRY
    assert nat64.session().host6[1] == 6001  # as nobody asked for it
    nat64.opened("udp", 6001)
    assert nat64.session().left == 300


@pytest.mark.parametrize("jump", [WHEEL - 1, WHEEL, WHEEL + 1, 3 * WHEEL + 7, 400 * DAY])
def test_rfc6146_4_clock_that_jumps_over_the_wheel_ends_everything(jump):
    nat64 = Sessions()
    established(nat64)
    nat64.opened("udp", 6000)
    nat64.wait(jump)
    assert nat64.sessions() == []
    nat64.opened("udp", 6000)
    nat64.wait(299)
    assert nat64.session().left == 1
    nat64.wait(2)
    assert nat64.sessions() == []


def test_rfc6146_4_lifetime_longer_than_the_wheel():
    nat64 = Sessions(timeouts={"tcp_established": 14 * DAY})
    established(nat64)
    for days in (10, 3):
        nat64.wait(days * DAY)
        assert nat64.session().state == "ESTABLISHED"
    nat64.wait(DAY - 1)
    assert nat64.session().left == 1
    nat64.wait(2)
    assert (nat64.session().state, nat64.session().left) == ("TRANS", 239)
    nat64.wait(240)
    assert nat64.sessions() == []


def test_rfc6146_4_clock_that_stands_still():
    nat64 = Sessions()
    for port in range(6000, 6010):
        nat64.opened("udp", port)
    assert looked_at(nat64) == 0
    nat64.wait(0)
    assert {session.left for session in nat64.sessions()} == {300}


def test_rfc6146_4_clock_may_start_at_zero():
    nat64 = Sessions()
    nat64.now = -BEGIN
    nat64.opened("udp", 6000)
    assert nat64.tables.wheel_at[0] == 0
    nat64.wait(301)
    assert nat64.sessions() == []


def test_rfc6146_4_wheel_starts_with_the_first_session():
    nat64 = Sessions()
    assert nat64.tables.wheel_at[0] == NONE
    nat64.expire = lambda at: []
    nat64.opened("udp", 6000)
    assert nat64.tables.wheel_at[0] == BEGIN


@given(
    pauses=st.lists(st.sampled_from((0, 0.001, 0.999, 1, 59.5, 60, 119.999, 120, 299, 300, 301, 20000)), max_size=12),
    speakers=st.lists(st.sampled_from([("udp", HOST4), ("udp", OTHER4), ("icmp", HOST4)]), min_size=12, max_size=12),
)
def test_rfc6146_4_whoever_speaks_last_lives_longest(pauses, speakers):
    """Against the simplest model: a session has left what the table says, and the dead are gone within a second."""
    nat64, ends = Sessions(limits={"sessions": 16}), {}
    for pause, speaker in zip(pauses, speakers, strict=False):
        nat64.wait(pause)
        protocol, peer = speaker
        nat64.opened(protocol, 6000, to=(peer, 53))
        ends[speaker] = nat64.now + {"udp": 300, "icmp": 60}[protocol]
        found = {(session.protocol, session.host4[0]): session.left for session in nat64.sessions()}
        left = {speaker: round(end - nat64.now, 3) for speaker, end in ends.items()}
        assert {speaker: found[speaker] for speaker in left if left[speaker] > 0} == {
            speaker: seconds for speaker, seconds in left.items() if seconds > 0
        }
        assert all(left[speaker] > -1 for speaker in found)


@pytest.mark.parametrize("protocol", ["udp", "icmp", "tcp"])
def test_rfc6146_4_a_binding_ends_with_its_last_session_though_the_wheel_has_not_come_by(protocol):
    nat64 = Sessions(timeouts={"udp": 300, "icmp": 300, "tcp_opening": 300})
    nat64.wait(0.1)
    mapped = nat64.opened(protocol, 6000)
    for number in (1, 2):
        nat64.wait(299.999)
        assert nat64.from4(protocol, mapped, (f"8.8.8.{number}", 1), "SYN").verdict == Verdict.TRANSLATED
    nat64.wait(300)
    late = nat64.from4(protocol, mapped, ("8.8.8.3", 1), "ACK").verdict
    assert late == (Verdict.NO_SESSION if protocol == "tcp" else Verdict.NO_BIB_ENTRY)
    assert nat64.sessions() == []


WITHOUT_TCP = [
    ("udp", {}, 300),
    ("icmp", {}, 60),
    ("udp", {"udp": 120}, 120),
    ("udp", {"udp": 900}, 900),
    ("icmp", {"icmp": 90}, 90),
]


@pytest.mark.parametrize(("protocol", "timeouts", "full"), WITHOUT_TCP, ids=str)
@pytest.mark.parametrize("opener", ["from6", "from4"])
def test_rfc6146_4_the_first_packet_of_the_other_side_starts_the_lifetime_anew(opener, protocol, timeouts, full):
    """And each after it."""
    nat64 = Sessions(timeouts=timeouts)
    says = [lambda: nat64.from6(protocol, HOST6_PORT), lambda: nat64.from4(protocol, MAPPED)]
    first, second = says if opener == "from6" else says[::-1]
    for say in (first, second, first, second):
        say()
        assert nat64.session().left == full
        nat64.wait(full - 1)


@pytest.mark.parametrize(("protocol", "timeouts", "full"), WITHOUT_TCP, ids=str)
@pytest.mark.parametrize("side", ["from6", "from4"])
def test_rfc6146_4_each_packet_of_one_side_starts_the_lifetime_anew_though_nobody_answers(
    side, protocol, timeouts, full
):
    nat64 = Sessions(timeouts=timeouts)
    say = {"from6": lambda: nat64.from6(protocol, HOST6_PORT), "from4": lambda: nat64.from4(protocol, MAPPED)}[side]
    say()
    assert nat64.session().left == full
    for _ in range(2):
        nat64.wait(full - 1)
        say()
        assert nat64.session().left == full
