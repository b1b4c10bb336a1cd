"""RFC 6146 section 3.5.2: TCP sessions, every state and every event."""

import pytest
from scapy.layers.inet6 import IPv6

from tests.packets import HOST4, HOST6, HOST6_PORT, MAPPED4, MAPPED4_PORT, NEIGHBOUR6, OTHER4, in6, whole
from tests.sessions import FLAGS, Session, Sessions
from translator.session.tcp_state import NEXT_STATE, RULES, TIMER, State, TcpEvent, event_of
from translator.verdict import Verdict

MAPPED = (MAPPED4, MAPPED4_PORT)
EST, TRANS, OPENING, CLOSING = 10000, 500, 600, 700
TIMEOUTS = {"tcp_established": EST, "tcp_transitory": TRANS, "tcp_opening": OPENING, "tcp_closing": CLOSING}
EVENTS = ("V6 SYN", "V4 SYN", "V6 FIN", "V4 FIN", "V6 RST", "V4 RST", "V6 ACK", "V4 ACK")

# Section 3.5.2.2 in the words of the text: the next state and its lifetime, "=" where the text changes nothing.
# The text gives RST no direction; ACK stands for "any other packet". RFC 7857 changes it: section 2.1, OPENING and
# CLOSING are no TRANS; section 7.1, a RST from IPv6 does not refresh (V4_FIN_RCV, V6_FIN_RCV).
TABLE = """
 state             | V6 SYN          | V4 SYN          | V6 FIN                    | V4 FIN                    | V6 RST      | V4 RST         | ACK
 V4_INIT           | ESTABLISHED EST | =               | =                         | =                         | =           | =              | =
 V6_INIT           | V6_INIT OPENING | ESTABLISHED EST | =                         | =                         | =           | =              | =
 ESTABLISHED       | ESTABLISHED EST | ESTABLISHED EST | V6_FIN_RCV                | V4_FIN_RCV                | TRANS TRANS | TRANS TRANS    | ESTABLISHED EST
 V4_FIN_RCV        | V4_FIN_RCV EST  | V4_FIN_RCV EST  | V4_FIN_V6_FIN_RCV CLOSING | V4_FIN_RCV EST            | =           | V4_FIN_RCV EST | V4_FIN_RCV EST
 V6_FIN_RCV        | V6_FIN_RCV EST  | V6_FIN_RCV EST  | V6_FIN_RCV EST            | V4_FIN_V6_FIN_RCV CLOSING | =           | V6_FIN_RCV EST | V6_FIN_RCV EST
 V4_FIN_V6_FIN_RCV | =               | =               | =                         | =                         | =           | =              | =
 TRANS             | ESTABLISHED EST | ESTABLISHED EST | ESTABLISHED EST           | ESTABLISHED EST           | =           | =              | ESTABLISHED EST
"""  # noqa: E501

# The shortest way from CLOSED into each state.
WAYS = {
    "V4_INIT": ("V4 SYN",),
    "V6_INIT": ("V6 SYN",),
    "ESTABLISHED": ("V6 SYN", "V4 SYN"),
    "V4_FIN_RCV": ("V6 SYN", "V4 SYN", "V4 FIN"),
    "V6_FIN_RCV": ("V6 SYN", "V4 SYN", "V6 FIN"),
    "V4_FIN_V6_FIN_RCV": ("V6 SYN", "V4 SYN", "V6 FIN", "V4 FIN"),
    "TRANS": ("V6 SYN", "V4 SYN", "V6 RST"),
}


def cells() -> dict[tuple[str, str], str]:
    """(state, event) -> cell."""
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
    columns = {event: head.index(event if event in head else event.split()[1]) for event in EVENTS}
    return {(row[0], event): row[columns[event]] for row in rows for event in EVENTS}


def segment(nat64: Sessions, event: str, mapped: tuple[str, int] = MAPPED) -> Verdict:
    """The segment an event is about, between HOST6:HOST6_PORT and HOST4."""
    family, flags = event.split()
    if family == "V6":
        return nat64.from6("tcp", HOST6_PORT, flags=flags).verdict
    return nat64.from4("tcp", mapped, flags=flags).verdict


def bound(binding: str) -> tuple[Sessions, tuple[str, int]]:
    """A gateway that has a binding of this kind for HOST6:HOST6_PORT, and its mapped4; a dynamic one is there for
    OTHER4."""
    if binding == "static":
        return Sessions(timeouts=TIMEOUTS), MAPPED
    nat64 = Sessions(timeouts=TIMEOUTS, forward=[])
    return nat64, nat64.opened("tcp", HOST6_PORT, to=(OTHER4, 80))


def moved(nat64: Sessions) -> Session:
    """The session with HOST4."""
    (session,) = nat64.sessions(lambda session: session.host4 == (HOST4, 53))
    return session


def in_state(state: str, binding: str = "static") -> tuple[Sessions, tuple[str, int]]:
    """As bound(), with a session of HOST4 in this state."""
    nat64, mapped = bound(binding)
    for event in WAYS[state]:
        assert segment(nat64, event, mapped) == Verdict.TRANSLATED
    assert moved(nat64).state == state
    return nat64, mapped


BINDINGS = pytest.mark.parametrize("binding", ["static", "dynamic"])


@BINDINGS
@pytest.mark.parametrize(("state", "event"), cells(), ids=lambda name: name.replace(" ", "_"))
def test_rfc6146_3_5_2_2_state_and_event(state, event, binding):
    nat64, mapped = in_state(state, binding)
    nat64.wait(7)
    before = moved(nat64)
    assert segment(nat64, event, mapped) == Verdict.TRANSLATED
    next_state, *timer = cells()[state, event].replace("=", state).split()
    left = {"": before.left, "EST": EST, "TRANS": TRANS, "OPENING": OPENING, "CLOSING": CLOSING}["".join(timer)]
    assert moved(nat64) == before._replace(state=next_state, left=left)


def test_rfc6146_3_5_2_2_the_table_has_every_state_and_event():
    assert {state for state, _ in cells()} == {state.name for state in State} - {"NONE"}
    assert NEXT_STATE.shape == TIMER.shape == (2, len(State), len(TcpEvent))
    assert {rule[0] for rule in RULES} < set(State)


@BINDINGS
@pytest.mark.parametrize(("state", "opening"), [("V6_INIT", "V6 SYN"), ("V4_INIT", "V4 SYN")])
def test_rfc6146_3_5_2_2_closed_syn_opens_for_tcp_opening(state, opening, binding):
    nat64, mapped = bound(binding)
    segment(nat64, opening, mapped)
    assert moved(nat64) == ("tcp", (HOST6, HOST6_PORT), mapped, (HOST4, 53), state, OPENING)


@pytest.mark.parametrize("event", ["V6 ACK", "V6 FIN", "V6 RST", "V4 ACK", "V4 FIN", "V4 RST"])
@pytest.mark.parametrize("config", [{}, {"forward": []}], ids=["static", "dynamic"])
def test_rfc6146_3_5_2_2_closed_other_packet_of_a_binding_passes_and_changes_nothing(event, config):
    nat64 = Sessions(**config)
    mapped = nat64.opened("tcp", HOST6_PORT, to=(OTHER4, 80)) if config else MAPPED
    nat64.wait(7)
    before = nat64.sessions()
    assert segment(nat64, event, mapped) == Verdict.TRANSLATED
    assert nat64.sessions() == before


@pytest.mark.parametrize("flags", ["ACK", "FIN", "RST"])
def test_rfc6146_3_5_2_2_closed_other_packet_without_binding_is_silently_discarded(flags):
    nat64 = Sessions(forward=[])
    for outcome in (nat64.from6("tcp", 6000, flags=flags), nat64.from4("tcp", MAPPED, flags=flags)):
        assert (outcome.verdict, outcome.answer) == (Verdict.NO_SESSION, None)
    assert nat64.bib() == {}


def test_rfc6146_3_5_2_2_v6_syn_makes_a_binding_that_serves_every_peer():
    nat64 = Sessions()
    mapped = nat64.opened("tcp", 6000)
    assert nat64.opened("tcp", 6000, to=(OTHER4, 80)) == mapped
    assert nat64.mapped("tcp", 6000) == mapped
    assert [session.host4 for session in nat64.sessions()] == [(HOST4, 53), (OTHER4, 80)]
    assert nat64.opened("tcp", 6001) != mapped


def test_rfc6146_3_5_2_2_simultaneous_open_from_the_outside_is_let_in_by_the_binding():
    nat64 = Sessions()
    mapped = nat64.opened("tcp", 6000)
    assert nat64.from4("tcp", mapped, (OTHER4, 80), "SYN").verdict == Verdict.TRANSLATED
    assert [session.state for session in nat64.sessions()] == ["V6_INIT", "V4_INIT"]
    assert nat64.from6("tcp", 6000, (OTHER4, 80)).verdict == Verdict.TRANSLATED
    assert [session.state for session in nat64.sessions()] == ["V6_INIT", "ESTABLISHED"]


@pytest.mark.parametrize("flags", ["SYN", "SYN-ACK"])
@pytest.mark.parametrize(("state", "side"), [("V6_INIT", "V4"), ("V4_INIT", "V6")])
def test_rfc6146_3_5_2_2_the_syn_from_the_other_side_establishes_with_or_without_ack(state, side, flags):
    nat64, mapped = in_state(state)
    assert segment(nat64, f"{side} {flags}", mapped) == Verdict.TRANSLATED
    assert moved(nat64).state == "ESTABLISHED"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("flags", "counts_as"),
    [
        (FLAGS["RST"] | FLAGS["SYN"] | FLAGS["FIN"], "RST"),
        (FLAGS["RST"] | FLAGS["FIN"], "RST"),
        (FLAGS["SYN"] | FLAGS["FIN"], "SYN"),
        (FLAGS["FIN"] | 0xE8, "FIN"),
        (FLAGS["FIN"] | FLAGS["ACK"], "FIN"),
        (FLAGS["RST"] | FLAGS["ACK"], "RST"),
        (FLAGS["SYN"] | FLAGS["ACK"], "SYN"),
        (FLAGS["SYN"] | 0xC0, "SYN"),  # RFC 3168: ECN-setup
        (0xFF & ~7, "REST"),
        (0, "REST"),
    ],
)
def test_rfc6146_3_5_2_2_segment_with_several_flags_is_one_event(family, flags, counts_as):
    assert event_of(family, flags) == TcpEvent[f"V{family}_{counts_as}"]


def test_rfc6146_3_5_2_2_session_of_one_peer_does_not_move_that_of_another():
    nat64 = Sessions()
    mapped = nat64.opened("tcp", 6000)
    nat64.opened("tcp", 6000, to=(OTHER4, 80))
    nat64.from4("tcp", mapped, flags="SYN-ACK")
    assert [session.state for session in nat64.sessions()] == ["ESTABLISHED", "V6_INIT"]


def test_rfc6146_3_5_2_tcp_and_udp_of_one_port_have_bindings_of_their_own():
    nat64 = Sessions()
    nat64.opened("tcp", 6000)
    assert nat64.mapped("udp", 6000) is None
    assert nat64.from4("udp", nat64.mapped("tcp", 6000)).verdict == Verdict.NO_BIB_ENTRY
    created = nat64.events()["BIB_CREATED"]
    udp = nat64.opened("udp", 6000)
    assert nat64.events()["BIB_CREATED"] == created + 1
    assert nat64.from4("udp", udp).verdict == Verdict.TRANSLATED


@pytest.mark.parametrize("other", ["tcp", "udp", "icmp"])
@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_rfc7857_5_and_6_a_mapping_is_that_of_its_protocol(protocol, other):
    """Nothing else comes in by it, and what goes out from the same port gets a mapping of its own."""
    nat64 = Sessions(forward=[])
    mapped = nat64.opened(protocol, 6000)
    assert bool(nat64.from4(other, mapped, flags="SYN").packets) == (other == protocol)
    nat64.opened(other, 6000)
    assert sorted(name for name, _, _ in nat64.bib()) == sorted({protocol, other})


def test_rfc6146_3_5_2_same_port_of_two_hosts_is_two_bindings():
    nat64 = Sessions()
    assert nat64.opened("tcp", 6000) != nat64.opened("tcp", 6000, host=NEIGHBOUR6)


# Two pools, and a [[forward]] outside of them.
POOLS = {
    "pool4": [{"addresses": "192.0.2.1"}, {"addresses": "198.51.100.9"}],
    "forward": [{"protocol": "tcp", "ipv4": "203.0.113.80:80", "ipv6": f"[{NEIGHBOUR6}]:80"}],
}
ADDRESSES = ("192.0.2.1", "198.51.100.9", "203.0.113.80")


@pytest.mark.parametrize("side", ["from4", "from6"])
def test_rfc5382_req_4_a_syn_to_each_address_of_ours_waits_and_is_answered(side):
    nat64 = Sessions(**POOLS)
    for at, address in enumerate(ADDRESSES):
        to = (address, 50000)
        sent = nat64.from4("tcp", to, flags="SYN") if side == "from4" else nat64.from6("tcp", 6000 + at, to)
        assert (sent.verdict, sent.answer) == (Verdict.SYN_HELD, None)
    assert nat64.wait(5.999) == []
    refused = [whole(packet) for packet in nat64.wait(0.001)]
    told = (3, 3) if side == "from4" else (1, 4)
    assert [packet.src for packet in refused] == [
        address if side == "from4" else IPv6(src=in6(address)).src for address in ADDRESSES
    ]
    at = 20 if side == "from4" else 40
    assert {tuple(bytes(packet)[at : at + 2]) for packet in refused} == {told}


def test_rfc6146_3_8_nobody_behind_each_address_of_ours_is_told_to_the_host6():
    nat64 = Sessions(**POOLS)
    for address in ADDRESSES:
        outcome = nat64.from6("udp", 6000, (address, 50000))
        assert (outcome.verdict, bool(outcome.answer)) == (Verdict.NO_BIB_ENTRY, True)
