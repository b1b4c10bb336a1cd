"""RFC 7857 section 2, RFC 5961: a RST out of the window (check_rst), and a RST after a FIN (rst_during_fin)."""

from typing import Any

import pytest
from scapy.layers.inet import TCP
from scapy.packet import Raw

from nat64d.config.load import loads
from nat64d.offline.engine import Engine
from tests.nat64d.test_explain import agrees
from tests.packets import HOST4_PORT, HOST6, HOST6_PORT, MAPPED4_PORT, NEIGHBOUR6, fragment_of, from4, from6
from tests.scenarios import STANDARD
from tests.sessions import Flow, Sessions, flow
from translator.verdict import Verdict

CHECKED = {"filtering": {"check_rst": True}}
EST, TRANS = 7440, 240
ISN6, ISN4 = 1000, 0xFFFFFFF0  # the numbers of HOST4 wrap soon


class Connection:
    """A connection of HOST6:HOST6_PORT and HOST4, handshake done, 100 octets sent by HOST6 and 200 by HOST4."""

    def __init__(self, nat64: Sessions) -> None:
        self.nat64 = nat64
        self.send6("S", 0, 0)
        self.send4("SA", 0, 1)
        self.send6("A", 1, 1)
        self.send6("PA", 1, 1, 100)
        self.send4("PA", 1, 101, 200)
        self.send6("A", 101, 201)

    def send6(self, flags: str, seq: int, ack: int, size: int = 0) -> None:
        """A segment of HOST6; numbers count from the first ones."""
        numbers = {"seq": ISN6 + seq & 0xFFFFFFFF, "ack": ISN4 + ack & 0xFFFFFFFF if "A" in flags else 0}
        self.say(from6() / TCP(sport=HOST6_PORT, dport=HOST4_PORT, flags=flags, **numbers) / Raw(bytes(size)))

    def send4(self, flags: str, seq: int, ack: int, size: int = 0) -> None:
        """A segment of HOST4."""
        numbers = {"seq": ISN4 + seq & 0xFFFFFFFF, "ack": ISN6 + ack & 0xFFFFFFFF if "A" in flags else 0}
        self.say(from4() / TCP(sport=HOST4_PORT, dport=MAPPED4_PORT, flags=flags, **numbers) / Raw(bytes(size)))

    def say(self, packet: Any) -> None:
        assert self.nat64.say(bytes(packet)).verdict == Verdict.TRANSLATED

    @property
    def state(self) -> str:
        return self.nat64.session().state


# What may come: HOST6 has sent up to 101, all of it acknowledged; HOST4 up to 201, all of it acknowledged.
BELIEVED = {"send6": (101,), "send4": (201,)}
IGNORED = {"send6": (0, 1, 100, 102, 2**31 + 100, 2**31 + 102), "send4": (0, 17, 200, 202, 70000, 2**31 + 201)}


def cases(numbers: dict[str, tuple[int, ...]]) -> list[tuple[str, int]]:
    return [(side, seq) for side, found in numbers.items() for seq in found]


@pytest.mark.parametrize(("side", "seq"), cases(BELIEVED))
def test_rfc7857_2_rst_within_the_window_ends_the_connection(side, seq):
    connection = Connection(Sessions(**CHECKED))
    getattr(connection, side)("R", seq, 0)
    assert (connection.state, connection.nat64.session().left) == ("TRANS", TRANS)
    assert "RST_IGNORED" not in connection.nat64.events()


@pytest.mark.parametrize(("side", "seq"), cases(IGNORED))
def test_rfc7857_2_rst_out_of_the_window_passes_and_changes_nothing(side, seq):
    connection = Connection(Sessions(**CHECKED))
    connection.nat64.wait(10)
    getattr(connection, side)("R", seq, 0)
    assert (connection.state, connection.nat64.session().left) == ("ESTABLISHED", EST - 10)
    assert connection.nat64.events()["RST_IGNORED"] == 1


@pytest.mark.parametrize(("side", "seq"), cases(IGNORED))
def test_rst_is_believed_unless_asked_otherwise(side, seq):
    connection = Connection(Sessions())
    getattr(connection, side)("R", seq, 0)
    assert connection.state == "TRANS"
    assert not connection.nat64.tables.windows.any()


@pytest.mark.parametrize("sent", [0, 50, 100])
@pytest.mark.parametrize(("side", "first", "other"), [("send6", 101, 201), ("send4", 201, 101)])
def test_rfc7857_2_what_is_sent_and_not_acknowledged_is_the_window(side, first, other, sent):
    connection = Connection(Sessions(**CHECKED))
    send, answer = connection.send6, connection.send4
    if side == "send4":
        send, answer = answer, send
    send("PA", first, other, 100)
    answer("A", other, first)
    for outside in (first - 1, first + 101):
        send("R", outside, 0)
        assert connection.state == "ESTABLISHED"
    send("RA", first + sent, other)
    assert connection.state == "TRANS"


def test_rfc7857_2_older_numbers_lower_nothing():
    connection = Connection(Sessions(**CHECKED))
    connection.send6("PA", 1, 1, 10)  # once more
    connection.send4("A", 0, 1)
    for seq in (1, 11, 100):
        connection.send6("R", seq, 0)
    assert connection.state == "ESTABLISHED"
    connection.send6("R", 101, 0)
    assert connection.state == "TRANS"


def test_rfc9293_3_4_syn_and_fin_count_as_an_octet_each():
    connection = Connection(Sessions(**CHECKED, timeouts={"tcp_established": 10000}))
    connection.send6("FA", 101, 201)
    connection.nat64.wait(1)
    connection.send6("R", 102, 0)  # this state knows no RST, but any other packet
    assert "RST_IGNORED" not in connection.nat64.events()
    connection.send6("R", 103, 0)
    assert connection.nat64.events()["RST_IGNORED"] == 1


def test_rfc7857_2_opening_syn_is_known_and_the_other_side_is_not():
    nat64 = Sessions(**CHECKED)
    for seq, ignored in ((2, 1), (1, 1)):
        nat64.say(bytes(from6() / TCP(sport=HOST6_PORT, dport=HOST4_PORT, flags="S", seq=ISN6)))
        nat64.say(bytes(from6() / TCP(sport=HOST6_PORT, dport=HOST4_PORT, flags="R", seq=ISN6 + seq)))
        assert nat64.events()["RST_IGNORED"] == ignored
    for seq in (77, 0x90000000):
        nat64.say(bytes(from4() / TCP(sport=HOST4_PORT, dport=MAPPED4_PORT, flags="R", seq=seq)))
        assert nat64.events()["RST_IGNORED"] == 1


@pytest.mark.parametrize(
    ("header", "ports"), [(from6(), (HOST6_PORT, HOST4_PORT)), (from4(), (HOST4_PORT, MAPPED4_PORT))], ids=["v6", "v4"]
)
def test_rfc7857_2_syn_with_another_number_starts_anew_while_the_connection_is_not_open(header, ports):
    nat64 = Sessions(**CHECKED)

    def say(flags: str, seq: int) -> int:
        nat64.say(bytes(header / TCP(sport=ports[0], dport=ports[1], flags=flags, seq=seq)))
        return nat64.events().get("RST_IGNORED", 0)

    for isn in (5_000_000, 4_000_000):
        say("S", isn)
    assert [say("R", seq) for seq in (4_000_001, 5_000_001)] == [0, 1]


def test_rfc7857_2_forged_syn_does_not_move_the_window_of_an_open_connection():
    connection = Connection(Sessions(**CHECKED))
    connection.say(from6() / TCP(sport=HOST6_PORT, dport=HOST4_PORT, flags="S", seq=(ISN6 - 5000) & 0xFFFFFFFF))
    connection.send6("R", -4999, 0)
    assert connection.state == "ESTABLISHED"
    connection.send6("R", 101, 0)
    assert connection.state == "TRANS"


def test_rfc7857_2_nor_are_those_of_one_that_both_have_closed():
    connection = Connection(Sessions(**CHECKED))
    connection.send6("FA", 101, 201)
    connection.send4("FA", 201, 102)
    assert connection.state == "V4_FIN_V6_FIN_RCV"
    assert not connection.nat64.tables.windows.any()


def test_rfc7857_2_numbers_of_a_closed_connection_are_not_those_of_the_next():
    connection = Connection(Sessions(**CHECKED))
    connection.send6("R", 101, 0)
    assert connection.state == "TRANS"
    assert not connection.nat64.tables.windows.any()
    connection.send6("S", -900, 0)
    connection.send6("R", -899, 0)
    assert connection.state == "TRANS"


def test_rfc7857_2_session_in_a_used_record_knows_no_numbers():
    nat64 = Sessions(**CHECKED)
    connection = Connection(nat64)
    nat64.wait(EST + TRANS + 1)
    assert nat64.sessions() == []
    connection.send4("S", 5000, 0)
    assert nat64.tables.windows[0].tolist() == [ISN4 + 5001 - 2**32 + 1, 0, 0, 0]


def test_rfc7857_2_fragmented_segment_leaves_its_end_open():
    connection = Connection(Sessions(**CHECKED))
    segment = TCP(sport=HOST6_PORT, dport=HOST4_PORT, flags="PA", seq=ISN6 + 101, ack=ISN4 + 201 & 0xFFFFFFFF)
    whole = from6() / segment / Raw(bytes(1000))
    connection.say(fragment_of(whole, 0, 512))
    connection.say(fragment_of(whole, 512, 508))
    connection.send6("R", 100, 0)
    assert connection.state == "ESTABLISHED"
    connection.send6("R", 1101, 0)
    assert connection.state == "TRANS"


def test_rfc7857_2_hairpinned_connection_is_checked_at_either_end():
    nat64 = Sessions(**CHECKED)
    there = nat64.opened("tcp", 6000, host=NEIGHBOUR6)

    def say(src: str, sport: int, to: tuple[str, int], flags: str, seq: int, ack: int) -> Flow:
        packet = from6(src=src, dst="64:ff9b::" + to[0]) / TCP(sport=sport, dport=to[1], flags=flags, seq=seq, ack=ack)
        outcome = nat64.say(bytes(packet))
        assert outcome.verdict == Verdict.HAIRPINNED
        return flow(outcome.packets[0])

    seen = say(HOST6, 7000, there, "S", 0, 0)
    here = seen.src.removeprefix("64:ff9b::"), seen.src_port
    say(NEIGHBOUR6, 6000, here, "SA", 500, 1)
    say(HOST6, 7000, there, "A", 1, 501)
    say(NEIGHBOUR6, 6000, here, "R", 500, 0)  # HOST6 has acknowledged it
    assert {session.state for session in nat64.sessions()} == {"V6_INIT", "ESTABLISHED"}
    for seq, states in ((2, {"V6_INIT", "ESTABLISHED"}), (1, {"V6_INIT", "TRANS"})):
        say(HOST6, 7000, there, "R", seq, 0)
        assert {session.state for session in nat64.sessions()} == states
    assert nat64.events()["RST_IGNORED"] == 2


def test_rst_of_a_binding_without_session_and_of_nobody_passes_or_not_as_ever():
    nat64 = Sessions(**CHECKED)
    assert nat64.from6("tcp", HOST6_PORT, flags="RST").verdict == Verdict.TRANSLATED
    assert nat64.from6("tcp", 6000, flags="RST").verdict == Verdict.NO_SESSION
    assert nat64.say(bytes(from6(dst="2001:db8::1") / TCP(flags="R"))).verdict == Verdict.NOT_OUR_PREFIX
    assert "RST_IGNORED" not in nat64.events()


@pytest.mark.parametrize("side", ["send6", "send4"])
@pytest.mark.parametrize("first", ["send6", "send4"])
@pytest.mark.parametrize("option", [False, True])
def test_rst_during_fin_ends_a_half_closed_connection_if_asked_to(option, first, side):
    connection = Connection(Sessions(filtering={"rst_during_fin": option}))
    half = {"send6": "V6_FIN_RCV", "send4": "V4_FIN_RCV"}[first]
    getattr(connection, first)("FA", 101 if first == "send6" else 201, 0)
    assert connection.state == half
    connection.nat64.wait(5)
    getattr(connection, side)("R", 102 if side == "send6" else 202, 0)
    left = EST - 5 if side == "send6" else EST  # RFC 7857 section 7.1: a RST of host6 refreshes nothing
    expected = ("TRANS", TRANS) if option else (half, left)
    assert (connection.state, connection.nat64.session().left) == expected


@pytest.mark.parametrize("side", ["send6", "send4"])
@pytest.mark.parametrize("first", ["send6", "send4"])
def test_rfc7857_2_2_a_connection_that_would_end_sooner_has_four_minutes_from_the_first_rst(first, side):
    """Of a half-closed one with rst_during_fin too: a RST that got lost may come again, and be translated."""
    connection = Connection(Sessions(filtering={"rst_during_fin": True}))
    getattr(connection, first)("FA", 101 if first == "send6" else 201, 0)
    connection.nat64.wait(EST - 5)
    number = {"send6": 102, "send4": 202}[side]
    getattr(connection, side)("R", number, 0)
    assert (connection.state, connection.nat64.session().left) == ("TRANS", TRANS)
    connection.nat64.wait(100)
    getattr(connection, side)("R", number, 0)
    assert (connection.state, connection.nat64.session().left) == ("TRANS", TRANS - 100)


def test_rst_during_fin_and_check_rst_together():
    connection = Connection(Sessions(filtering={"rst_during_fin": True, "check_rst": True}))
    connection.send6("FA", 101, 201)
    connection.send6("R", 103, 0)
    assert connection.state == "V6_FIN_RCV"
    connection.send6("R", 102, 0)
    assert connection.state == "TRANS"


def test_explanation_of_a_checked_connection_is_what_the_pipeline_does():
    sent: list[bytes] = []

    class Recorder(Sessions):
        def say(self, packet: bytes) -> Any:
            sent.append(packet)
            return super().say(packet)

    connection = Connection(Recorder(**CHECKED))
    for seq in (100, 101):
        connection.send6("R", seq, 0)
    config = loads(STANDARD.replace("40000-40000", "1024-65535") + "\n[filtering]\ncheck_rst = true\n", "test")
    # From IPv6 only: the mapped4 of this configuration is another one.
    agrees(config, [(1 + k / 1000, octets) for k, octets in enumerate(sent)])
    engine = Engine(config)
    for k, octets in enumerate(sent):
        engine.send(octets, 1 + k / 1000)
    assert engine.tables.windows.any()
