"""[limits]: what is full refuses new things with an answer, and spares what there is."""

import numpy as np
import pytest
from scapy.layers.inet import TCP, UDP

from tests.invariants import ports_taken
from tests.packets import (
    HOST4,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OTHER4,
    answer4,
    answer6,
    from4,
    from6,
    ping6,
    whole,
)
from tests.sessions import Sessions
from translator.packet.addresses import address4, address6
from translator.packet.fields import UDP as UDP_NUMBER
from translator.session.bib import create_bib, release_bib
from translator.session.log import Cause
from translator.session.pool4 import mark, slot_of
from translator.session.sessions import create_session
from translator.session.tcp_state import State
from translator.tables.layout import NONE
from translator.verdict import Verdict

SESSIONS = 16  # the smallest table there is
MAPPED = (MAPPED4, MAPPED4_PORT)
OWNERS = [HOST6, *(f"2001:db8:{k:x}::1" for k in range(16, 15 + SESSIONS))]  # each a subscriber
OPENINGS = {
    "udp": UDP(sport=7000, dport=99),
    "tcp": TCP(sport=7000, dport=99, flags="S"),
    "icmp": ping6(True, id=7000),
}


def full(protocol="udp", **changes) -> Sessions:
    """A gateway whose session table has no room left: OWNERS, each a binding of port 6000, and a session that its host4
    has answered."""
    nat64 = Sessions(limits={"sessions": SESSIONS}, **changes)
    for host in OWNERS:
        assert nat64.from4(protocol, nat64.opened(protocol, 6000, host=host)).verdict == Verdict.TRANSLATED
    return nat64


@pytest.mark.parametrize("protocol", OPENINGS)
def test_full_table_answers_ipv6_with_address_unreachable(protocol):
    nat64 = full()
    sent = whole(from6(src=NEIGHBOUR6) / OPENINGS[protocol])
    outcome = nat64.say(bytes(sent))
    assert outcome.verdict == Verdict.SESSION_TABLE_FULL
    assert outcome.answer == bytes(answer6(sent, 1, 3))


def test_full_table_answers_ipv4_with_host_unreachable():
    nat64 = full("tcp")
    mapped4, port = nat64.mapped("tcp", 6000)
    sent = whole(from4(dst=mapped4) / TCP(sport=1, dport=port))
    outcome = nat64.say(bytes(sent))
    assert outcome.verdict == Verdict.SESSION_TABLE_FULL
    assert outcome.answer == bytes(answer4(sent, 3, 1))


def test_full_table_evicts_nobody_and_leaves_nothing_of_the_refused():
    nat64 = full()
    sessions, bib, events = nat64.sessions(), nat64.bib(), nat64.events()
    refused = [
        nat64.from6("udp", 7000),  # a new binding
        nat64.from6("tcp", 7000, host=NEIGHBOUR6),  # of a new host
        nat64.from6("udp", 6000, to=(OTHER4, 53)),  # a new peer of an old binding
    ]
    assert {outcome.verdict for outcome in refused} == {Verdict.SESSION_TABLE_FULL}
    assert (nat64.sessions(), nat64.bib()) == (sessions, bib)
    answers = {"ANSWER_SENT": len(refused)}
    assert {
        name: count - events.get(name, 0) for name, count in nat64.events().items() if count != events.get(name)
    } == answers


def test_full_table_still_serves_its_sessions():
    nat64 = full()
    nat64.wait(100)
    for host in OWNERS:
        assert nat64.from4("udp", nat64.mapped("udp", 6000, host)).verdict == Verdict.TRANSLATED
        nat64.opened("udp", 6000, host=host)
    assert {session.left for session in nat64.sessions()} == {300}


def test_full_table_still_passes_what_needs_no_session():
    nat64 = full()
    assert nat64.from6("tcp", HOST6_PORT, flags="ACK").verdict == Verdict.TRANSLATED
    assert nat64.from4("tcp", MAPPED, flags="RST").verdict == Verdict.TRANSLATED
    needless = [
        nat64.from6("tcp", HOST6_PORT),  # a static binding
        nat64.from4("tcp", MAPPED, flags="SYN"),
        nat64.from4("udp", nat64.mapped("udp", 6000), (OTHER4, 53)),  # a new peer of a dynamic one
    ]
    assert {outcome.verdict for outcome in needless} == {Verdict.TRANSLATED}
    assert (len(nat64.sessions()), nat64.events()["UNPINNED"]) == (SESSIONS, len(needless))


def test_full_table_has_room_for_each_session_that_ends():
    nat64 = full()
    nat64.wait(299)
    for host in OWNERS[2:]:
        nat64.opened("udp", 6000, host=host)
    nat64.wait(2)
    assert len(nat64.sessions()) == SESSIONS - 2
    nat64.opened("udp", 7000)
    nat64.opened("tcp", 7001)
    assert nat64.from6("udp", 7002).verdict == Verdict.SESSION_TABLE_FULL


@pytest.mark.no_cover
def test_full_table_used_over_and_over():
    nat64 = full()
    for turn in range(4):
        nat64.wait(301)
        assert nat64.sessions() == []
        for k in range(SESSIONS):
            nat64.opened("udp", 7000 + 100 * turn + k, host=f"2001:db8:{k + 1:x}::1")
        assert nat64.from6("udp", 1).verdict == Verdict.SESSION_TABLE_FULL
    assert nat64.events()["SESSION_CREATED"] == 5 * SESSIONS


@pytest.mark.parametrize(("protocol", "ends"), [("udp", Verdict.HAIRPINNED), ("tcp", Verdict.SESSION_TABLE_FULL)])
def test_hairpin_that_finds_room_for_one_session_only(protocol, ends):
    nat64 = Sessions(limits={"sessions": SESSIONS})
    mapped = nat64.opened(protocol, 8000, host=NEIGHBOUR6)
    for host in OWNERS[2:]:
        nat64.opened("icmp", 6000, host=host)
    assert nat64.from6(protocol, 7000, mapped, host="2001:db8:ff::1").verdict == ends
    assert len(nat64.sessions()) == SESSIONS
    assert nat64.from6(protocol, 8000, host=NEIGHBOUR6).verdict == Verdict.TRANSLATED


# ---- per host (RFC 6888 REQ-4, REQ-5)


@pytest.mark.parametrize("protocol", OPENINGS)
def test_rfc6888_req_5_host_at_its_sessions_is_refused_and_others_are_not(protocol):
    nat64 = Sessions(limits={"per_host_sessions": 3})
    for k in range(2):
        nat64.opened("udp", 6000 + k)
    nat64.opened("tcp", 6000)
    sent = whole(from6() / OPENINGS[protocol])
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.HOST_SESSIONS, bytes(answer6(sent, 1, 3)))
    assert nat64.mapped(protocol, 7000) is None
    nat64.opened("udp", 6000)
    nat64.opened(protocol, 6000, host=NEIGHBOUR6)
    nat64.wait(241)
    nat64.opened(protocol, 6001)


@pytest.mark.parametrize("protocol", OPENINGS)
@pytest.mark.parametrize("most", [2, 12])
def test_rfc6888_req_5_sessions_from_outside_leave_the_host_its_own(most, protocol):
    nat64 = Sessions(limits={"per_host_sessions": most})
    for peer in (HOST4, OTHER4):
        assert nat64.from4(protocol, MAPPED, (peer, 9), "SYN").verdict == Verdict.TRANSLATED
    assert nat64.from4(protocol, nat64.opened(protocol, 6000), (OTHER4, 1), "SYN").verdict == Verdict.TRANSLATED
    for k in range(1, most):
        nat64.opened(protocol, 6000 + k)
    assert len(nat64.sessions()) == 3 + most
    assert nat64.from6(protocol, 7000).verdict == Verdict.HOST_SESSIONS


@pytest.mark.parametrize("protocol", OPENINGS)
def test_rfc6888_req_4_host_at_its_ports_is_refused_and_others_are_not(protocol):
    nat64 = Sessions(forward=[], limits={"per_host_ports": 3}, timeouts={"udp": 300, "tcp_opening": 300, "icmp": 300})
    for k in range(3):
        nat64.opened(protocol, 6000 + k)
    sent = whole(from6() / OPENINGS[protocol])
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.HOST_PORTS, bytes(answer6(sent, 1, 3)))
    assert nat64.mapped(protocol, 7000) is None
    for k in range(5):
        nat64.opened(protocol, 6000, to=(f"198.51.100.{100 + k}", 53))
    nat64.opened(protocol, 6001, host=NEIGHBOUR6)
    nat64.wait(200)
    for k in range(2):
        nat64.opened(protocol, 6000 + k)
    nat64.wait(101)
    nat64.opened(protocol, 6003)
    assert nat64.from6(protocol, 6004).verdict == Verdict.HOST_PORTS
    assert np.count_nonzero(nat64.tables.hosts.live) == 1


@pytest.mark.parametrize("most", [2, 12])
def test_rfc6888_req_4_b_each_protocol_has_the_limit_of_ports_for_itself(most):
    nat64 = Sessions(forward=[], limits={"per_host_ports": most})
    for protocol in ("udp", "tcp", "icmp"):
        for k in range(most):
            nat64.opened(protocol, 6000 + k)
        assert nat64.from6(protocol, 7000).verdict == Verdict.HOST_PORTS
    nat64.wait(61)
    nat64.opened("icmp", 7000)
    assert nat64.from6("tcp", 7000).verdict == Verdict.HOST_PORTS


def test_rfc6888_req_4_forwards_do_not_count():
    """CONFIG has a [[forward]] of each protocol to HOST6."""
    nat64 = Sessions(limits={"per_host_ports": 1})
    for protocol in ("udp", "tcp", "icmp"):
        assert nat64.from4(protocol, MAPPED, flags="SYN").verdict == Verdict.TRANSLATED
        nat64.opened(protocol, 6000)
        assert nat64.from6(protocol, 6001).verdict == Verdict.HOST_PORTS


@pytest.mark.parametrize("protocol", OPENINGS)
def test_rfc6888_req_5_a_mapping_has_no_more_sessions_than_its_host_may_have(protocol):
    nat64 = Sessions(forward=[], limits={"per_host_sessions": 3})
    for k in range(3):
        nat64.opened(protocol, 6000, to=(f"198.51.100.{100 + k}", 53))
    assert nat64.from6(protocol, 6000, to=(HOST4, 53)).verdict == Verdict.HOST_SESSIONS


@pytest.mark.parametrize("protocol", OPENINGS)
@pytest.mark.parametrize("rate", [4, 20])
def test_rfc6888_req_5_b_host_that_opens_sessions_too_fast_is_refused_and_others_are_not(rate, protocol):
    nat64 = Sessions(forward=[], limits={"per_host_rate": rate})
    for k in range(rate):
        nat64.opened(protocol, 6000 + k)
    sent = whole(from6() / OPENINGS[protocol])
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.HOST_RATE, bytes(answer6(sent, 1, 3)))
    assert nat64.from6(protocol, 6000, to=(OTHER4, 53)).verdict == Verdict.HOST_RATE  # of an old mapping
    assert nat64.mapped(protocol, 7000) is None
    nat64.opened(protocol, 6000)  # needs no new session
    nat64.opened(protocol, 6000, host=NEIGHBOUR6)


def test_rfc6888_req_5_b_rate_is_that_of_a_second_and_a_silent_host_saves_no_more():
    nat64 = Sessions(forward=[], limits={"per_host_rate": 4, "sessions": 64})
    opened = []
    for port in range(6000, 6012):
        nat64.wait(0.125)
        opened.append(nat64.from6("udp", port).verdict == Verdict.TRANSLATED)
    assert opened == [True] * 7 + [False, True] * 2 + [False]  # 4 at first, and one in 250 ms
    nat64.wait(200)
    verdicts = [nat64.from6("udp", port).verdict for port in range(7000, 7006)]
    assert verdicts == [Verdict.TRANSLATED] * 4 + [Verdict.HOST_RATE] * 2
    nat64.wait(0.249)
    assert nat64.from6("udp", 7004).verdict == Verdict.HOST_RATE
    nat64.wait(0.001)
    nat64.opened("udp", 7004)


@pytest.mark.parametrize("protocol", OPENINGS)
def test_rfc6888_req_5_b_sessions_from_outside_leave_the_host_its_rate(protocol):
    nat64 = Sessions(limits={"per_host_rate": 1, "sessions": 64})
    for k in range(1, 10):
        assert nat64.from4(protocol, MAPPED, (f"198.51.100.{k}", 1), "SYN").verdict == Verdict.TRANSLATED
    nat64.opened(protocol, 6000)
    assert nat64.from6(protocol, 6001).verdict == Verdict.HOST_RATE


def test_rfc6888_req_5_b_clock_that_goes_back_leaves_nobody_without_sessions():
    nat64 = Sessions(forward=[], limits={"per_host_rate": 1})
    nat64.opened("udp", 6000)
    nat64.wait(-100)
    nat64.opened("udp", 6001)
    assert nat64.from6("udp", 6002).verdict == Verdict.HOST_RATE


@pytest.mark.parametrize("limits", [{}, {"per_host_rate": 1}], ids=["share", "rate"])
def test_rfc6888_req_5_a_new_host_is_not_taken_for_the_one_with_the_last_record(limits):
    limits = {"sessions": SESSIONS, "service_members": 0, "subscriber": 128, "port_quarantine": 0, **limits}
    nat64 = Sessions(pool4=[{"addresses": "192.0.2.1", "ports": f"2000-{1999 + SESSIONS}"}], forward=[], limits=limits)
    for host in OWNERS:
        assert nat64.from4("udp", nat64.opened("udp", 6000, host=host)).verdict == Verdict.TRANSLATED
    nat64.wait(200)
    nat64.opened("udp", 6000, host=OWNERS[-1])
    nat64.wait(101)
    assert nat64.tables.hosts.live.tolist() == [0] * (SESSIONS - 1) + [1]
    verdicts = [nat64.from6("udp", 7000 + k, host=OWNERS[-1]).verdict for k in range(SESSIONS)]
    assert verdicts[-1] == (Verdict.HOST_RATE if "per_host_rate" in limits else Verdict.SUBSCRIBER_SESSIONS)
    nat64.opened("udp", 6000, host=NEIGHBOUR6)
    assert "PORT_DISPLACED" not in nat64.events()


@pytest.mark.parametrize("limits", [{}, dict.fromkeys(("per_host_ports", "per_host_sessions", "per_host_rate"), 0)])
@pytest.mark.parametrize("protocol", OPENINGS)
def test_limit_of_zero_is_none(protocol, limits):
    """It is the default."""
    nat64 = Sessions(forward=[], limits=limits)
    for k in range(40):
        nat64.opened(protocol, 6000 + k)
    assert {session.host6[0] for session in nat64.sessions()} == {HOST6}


# ---- the tables themselves: what the rules above prevent is refused here as well


def test_bib_that_is_full_takes_no_more_and_a_port_is_marked_once():
    nat64 = Sessions(forward=[], limits={"sessions": 16, "service_members": 0})
    gateway, tables, slot = nat64.gateway, nat64.tables, slot_of(0, UDP_NUMBER)
    mapped4 = nat64.settings.pool[0].address
    created = [
        create_bib(gateway, UDP_NUMBER, address6(1, 2, k), address4(mapped4, 2000 + k), slot, 0) for k in range(17)
    ]
    assert created == [*range(16), NONE]
    assert ports_taken(tables, slot_of(0, UDP_NUMBER)) == 16
    mark(tables, slot_of(0, UDP_NUMBER), 2000, True)
    assert ports_taken(tables, slot_of(0, UDP_NUMBER)) == 16
    for bib in range(16):
        release_bib(gateway, 0, bib, 0, Cause.EXPIRED)
    nat64.check_invariants()


def test_dynamic_binding_outside_pool4_has_no_port_to_give_back():
    nat64 = Sessions(forward=[])
    bib = create_bib(nat64.gateway, UDP_NUMBER, address6(1, 2, 3), address4(4, 5), NONE, 0)
    release_bib(nat64.gateway, 0, bib, 0, Cause.EXPIRED)
    nat64.check_invariants()


def test_session_table_that_is_full_takes_no_more():
    nat64 = full()
    assert create_session(nat64.gateway, 0, 3, address4(1, 2), State.NONE, 0) == NONE
    nat64.check_invariants()
