"""[limits]: what is full refuses new things with an answer, and spares what there is."""

import numpy as np
import pytest
from scapy.layers.inet import TCP, UDP

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
    whole,
)
from tests.sessions import Sessions
from translator.packet.fields import UDP as UDP_NUMBER
from translator.session.bib import create_bib, release_bib
from translator.session.pool4 import mark, slot_of
from translator.session.sessions import create_session
from translator.session.tcp_state import State
from translator.tables import NONE
from translator.verdict import Verdict

SESSIONS = 16  # the smallest table there is
MAPPED = (MAPPED4, MAPPED4_PORT)


def full(**changes) -> Sessions:
    """A gateway whose session table has no room left: one host, SESSIONS bindings, ports 6000 and up."""
    nat64 = Sessions(limits={"sessions": SESSIONS}, **changes)
    for k in range(SESSIONS):
        nat64.opened("udp", 6000 + k)
    return nat64


def test_full_table_answers_ipv6_with_address_unreachable():
    nat64 = full()
    sent = whole(from6(src=NEIGHBOUR6) / UDP(sport=1, dport=2) / b"x")
    outcome = nat64.say(bytes(sent))
    assert outcome.verdict == Verdict.SESSION_TABLE_FULL
    assert outcome.answer == bytes(answer6(sent, 1, 3))


@pytest.mark.parametrize("layer", [UDP, TCP])
def test_full_table_answers_ipv4_with_host_unreachable(layer):
    nat64 = full()
    sent = whole(from4() / layer(sport=1, dport=MAPPED4_PORT))
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
        nat64.from6("tcp", HOST6_PORT),  # a static binding
        nat64.from4("udp", nat64.mapped("udp", 6000), (OTHER4, 53)),  # a new peer from outside
        nat64.from4("tcp", MAPPED, flags="SYN"),
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
    for k in range(SESSIONS):
        assert nat64.from4("udp", nat64.mapped("udp", 6000 + k)).verdict == Verdict.TRANSLATED
        nat64.opened("udp", 6000 + k)
    assert {session.left for session in nat64.sessions()} == {300}


def test_full_table_still_passes_what_needs_no_session():
    nat64 = full()
    assert nat64.from6("tcp", HOST6_PORT, flags="ACK").verdict == Verdict.TRANSLATED
    assert nat64.from4("tcp", MAPPED, flags="RST").verdict == Verdict.TRANSLATED


def test_full_table_has_room_for_each_session_that_ends():
    nat64 = full()
    nat64.wait(299)
    for k in range(SESSIONS - 2):
        nat64.opened("udp", 6000 + k)
    nat64.wait(2)
    assert len(nat64.sessions()) == SESSIONS - 2
    nat64.opened("udp", 7000)
    nat64.opened("tcp", 7001)
    assert nat64.from6("udp", 7002).verdict == Verdict.SESSION_TABLE_FULL


def test_full_table_used_over_and_over():
    nat64 = full()
    for turn in range(4):
        nat64.wait(301)
        assert nat64.sessions() == []
        for k in range(SESSIONS):
            nat64.opened("udp", 7000 + 100 * turn + k, host=f"2001:db8::{k + 1:x}")
        assert nat64.from6("udp", 1).verdict == Verdict.SESSION_TABLE_FULL
    assert nat64.events()["SESSION_CREATED"] == 5 * SESSIONS


def test_hairpin_that_finds_room_for_one_session_only():
    nat64 = Sessions(limits={"sessions": SESSIONS})
    mapped = nat64.opened("udp", 8000, host=NEIGHBOUR6)
    for k in range(SESSIONS - 2):
        nat64.opened("udp", 6000 + k)
    assert nat64.from6("udp", 7000, mapped).verdict == Verdict.SESSION_TABLE_FULL
    nat64.wait(299)
    assert nat64.from6("udp", 8000, host=NEIGHBOUR6).verdict == Verdict.TRANSLATED


# ---- per host (RFC 6888 REQ-4, REQ-5)


def test_rfc6888_req_5_host_at_its_sessions_is_refused_and_others_are_not():
    nat64 = Sessions(limits={"per_host_sessions": 3})
    for k in range(2):
        nat64.opened("udp", 6000 + k)
    nat64.opened("tcp", 6000)
    sent = whole(from6() / UDP(sport=6000, dport=99))
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.HOST_SESSIONS, bytes(answer6(sent, 1, 3)))
    assert nat64.from6("icmp", 6000).verdict == Verdict.HOST_SESSIONS
    assert nat64.mapped("icmp", 6000) is None
    nat64.opened("udp", 6000)
    nat64.opened("udp", 6000, host=NEIGHBOUR6)
    nat64.wait(241)
    nat64.opened("tcp", 6001)


def test_rfc6888_req_5_counts_sessions_from_outside():
    nat64 = Sessions(limits={"per_host_sessions": 2})
    for protocol in ("udp", "tcp"):
        assert nat64.from4(protocol, MAPPED, flags="SYN").verdict == Verdict.TRANSLATED
    sent = whole(from4(src=OTHER4) / UDP(sport=1, dport=MAPPED4_PORT))
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.HOST_SESSIONS, bytes(answer4(sent, 3, 1)))
    assert nat64.from6("udp", 6000).verdict == Verdict.HOST_SESSIONS
    assert nat64.from4("udp", MAPPED).verdict == Verdict.TRANSLATED


def test_rfc6888_req_4_host_at_its_ports_is_refused_and_others_are_not():
    nat64 = Sessions(forward=[], limits={"per_host_ports": 3})
    for protocol in ("udp", "tcp", "icmp"):
        nat64.opened(protocol, 6000)
    sent = whole(from6() / UDP(sport=6001, dport=53))
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.HOST_PORTS, bytes(answer6(sent, 1, 3)))
    assert nat64.mapped("udp", 6001) is None
    for k in range(5):
        nat64.opened("udp", 6000, to=(HOST4, 100 + k))
    nat64.opened("udp", 6001, host=NEIGHBOUR6)
    nat64.wait(61)
    nat64.opened("icmp", 6001)
    assert np.count_nonzero(nat64.tables.hosts.live) == 2


def test_limit_of_zero_is_none():
    nat64 = Sessions(forward=[], limits={"per_host_ports": 0, "per_host_sessions": 0})
    for k in range(40):
        nat64.opened("tcp", 6000 + k)
    assert {session.host6[0] for session in nat64.sessions()} == {HOST6}


# ---- the tables themselves: what the rules above prevent is refused here as well


def test_bib_that_is_full_takes_no_more_and_a_port_is_marked_once():
    nat64 = Sessions(forward=[], limits={"sessions": 16})
    settings, tables, row = nat64.settings, nat64.tables, nat64.settings.pool[0]
    created = [
        create_bib(settings, tables, UDP_NUMBER, 1, 2, k, row.address, 2000 + k, slot_of(0, UDP_NUMBER), 0)
        for k in range(17)
    ]
    assert created == [*range(16), NONE]
    assert tables.ports_count[slot_of(0, UDP_NUMBER)] == 16
    mark(tables, slot_of(0, UDP_NUMBER), 2000, True)
    assert tables.ports_count[slot_of(0, UDP_NUMBER)] == 16
    for bib in range(16):
        release_bib(settings, tables, bib, 0)
    nat64.check_invariants()


def test_dynamic_binding_outside_pool4_has_no_port_to_give_back():
    nat64 = Sessions(forward=[])
    bib = create_bib(nat64.settings, nat64.tables, UDP_NUMBER, 1, 2, 3, 4, 5, NONE, 0)
    release_bib(nat64.settings, nat64.tables, bib, 0)
    nat64.check_invariants()


def test_session_table_that_is_full_takes_no_more():
    nat64 = full()
    assert create_session(nat64.settings, nat64.tables, 0, 3, 1, 2, State.NONE) == NONE
    nat64.check_invariants()
