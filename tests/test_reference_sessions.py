"""The oracle on what time and order bring about: SYNs that wait, probes, ports that rest, RSTs, other protocols."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest

from nat64d.config.load import loads
from tests.reference import packets as make
from tests.reference.addresses import embed
from tests.reference.oracle import Oracle
from tests.reference.outcome import Expected
from tests.reference.reading import ICMP, ICMPV6, TCP, UDP
from tests.reference.tcp import ACK, FIN, RST, SYN, Segment, State, Timer, Window, step, watch

H1, H2, T = IPv6Address("2001:db8::1"), IPv4Address("203.0.113.1"), IPv4Address("192.0.2.1")
H2_IN_6 = embed(IPv6Network("2001:db8:122:344::/96"), H2)
CONFIG = """
pool6 = "2001:db8:122:344::/96"
pool4 = [{ addresses = "192.0.2.1-192.0.2.2", protocols = ["tcp", "udp", "icmp", "other"] }]
"""


@pytest.fixture
def oracle() -> Oracle:
    return Oracle(loads(CONFIG))


def out(flags: int, port: int = 1500) -> bytes:
    return make.ipv6(H1, H2_IN_6, TCP, make.tcp(port, 80, flags))


def sent(flags: int, port: int = 1500, mapped: int = 2000) -> list[bytes]:
    """What leaves for out(): nothing but its source is the translator's to choose."""
    return [make.ipv4(T, H2, TCP, make.tcp(mapped, 80, flags), ttl=63, identification=9)]


def into(flags: int) -> bytes:
    return make.ipv4(H2, T, TCP, make.tcp(80, 2000, flags))


def refusal(expected: Expected) -> bytes:
    (one,) = expected.due
    return one


def test_rfc6146_3_5_2_2_a_syn_waits_six_seconds_for_its_answer(oracle: Oracle) -> None:
    assert oracle.send(into(SYN), 10.0, [], "SYN_HELD").verdicts == {"SYN_HELD"}
    assert oracle.send(into(SYN), 13.0, [], "SYN_HELD").due == []
    error = refusal(oracle.send(into(ACK), 16.0, []))
    assert error[9] == ICMP
    assert (IPv4Address(error[12:16]), IPv4Address(error[16:20])) == (T, H2)
    assert error[20:22] == bytes([3, 3])
    assert error[28:] == into(SYN)
    assert oracle.send(into(ACK), 30.0, []).due == []


def test_rfc6146_3_5_2_2_a_syn_that_waits_decides_nothing_and_is_dropped_in_silence_when_the_other_one_has_come(
    oracle: Oracle,
) -> None:
    oracle.send(into(SYN), 10.0, [], "SYN_HELD")
    assert not oracle.send(out(SYN), 12.0, sent(SYN, mapped=2000)).complaints
    (entry,) = oracle.bibs.entries()
    assert entry.sessions[H2, 80].state is State.V6_INIT
    assert oracle.expire(20.0) == []
    oracle.send(into(SYN), 21.0, [])
    assert entry.sessions[H2, 80].state is State.ESTABLISHED


def test_rfc6146_3_5_2_2_a_syn_that_waits_elsewhere_is_not_met(oracle: Oracle) -> None:
    oracle.send(into(SYN), 10.0, [], "SYN_HELD")
    assert not oracle.send(out(SYN), 12.0, sent(SYN, mapped=2002)).complaints
    assert len(oracle.expire(16.0)) == 1


def test_rfc6146_5_3_a_network_has_its_share_of_the_syns_that_wait(oracle: Oracle) -> None:
    def ends(peer: str, port: int) -> set[str]:
        packet = make.ipv4(IPv4Address(peer), T, TCP, make.tcp(port, 2000, SYN))
        return set(oracle.send(packet, 10.0, [], "SYN_HELD").verdicts)

    assert all(ends("198.51.100.9", port) == {"SYN_HELD"} for port in range(1, 33))
    assert "SYN_HELD" not in ends("198.51.100.10", 33)
    assert ends("198.51.101.1", 33) == {"SYN_HELD"}


def test_rfc6146_3_5_2_2_a_silent_connection_is_probed_and_lives_tcp_trans_longer(oracle: Oracle) -> None:
    oracle.send(out(SYN), 0.0, sent(SYN))
    oracle.send(into(SYN | ACK), 0.0, [])
    probe = refusal(oracle.send(into(ACK), 7440.0, []))
    (entry,) = oracle.bibs.entries()
    assert entry.sessions[H2, 80].state is State.ESTABLISHED  # the packet that came found it in TRANS
    assert (IPv6Address(probe[8:24]), IPv6Address(probe[24:40])) == (H2_IN_6, H1)
    assert probe == make.ipv6(H2_IN_6, H1, TCP, probe[40:])
    assert probe[40:56] == bytes.fromhex("005005dc 00000000 00000000 5010 0000")
    assert len(oracle.expire(14880.0)) == 1
    assert oracle.expire(14880.0 + 240) == []
    assert oracle.bibs.entries() == []


def test_rfc6888_req_8_a_port_rests_and_tcp_ports_do_not(oracle: Oracle) -> None:
    def udp(port: int, mapped: int, at: float) -> list[str]:
        packet = make.ipv6(H1, H2_IN_6, UDP, make.udp(port, 53))
        observed = make.ipv4(T, H2, UDP, make.udp(mapped, 53), ttl=63, identification=9)
        return oracle.send(packet, at, [observed]).complaints

    assert not udp(5000, 4000, 0.0)
    oracle.expire(300.0)
    (complaint,) = udp(6000, 4000, 419.0)
    assert "RFC 6888 REQ-8" in complaint
    oracle.send(out(SYN), 1000.0, sent(SYN))
    oracle.expire(1240.0)
    assert not oracle.send(out(SYN, port=1502), 1241.0, sent(SYN, port=1502)).complaints
    assert not udp(6002, 4002, 2000.0)
    oracle.expire(2300.0)
    assert not udp(6004, 4002, 2420.0)


def test_rfc7857_2_the_window_of_a_rst() -> None:
    windows = {True: Window(), False: Window()}
    assert windows[True].believes(77)
    watch(windows, State.V6_INIT, Segment(True, SYN, 2**32 - 1))
    assert [windows[True].believes(number) for number in (2**32 - 1, 0, 1)] == [True, True, False]
    watch(windows, State.ESTABLISHED, Segment(False, SYN | ACK, 500, 0))
    assert [windows[True].believes(number) for number in (2**32 - 1, 0, 1)] == [False, True, False]
    watch(windows, State.ESTABLISHED, Segment(True, ACK | FIN, 0, 501, 100))
    assert [windows[True].believes(number) for number in (0, 101, 102)] == [True, True, False]
    watch(windows, State.ESTABLISHED, Segment(True, RST, 5000))
    assert not windows[True].believes(102)
    watch(windows, State.ESTABLISHED, Segment(True, ACK, 101, 501, None))
    assert windows[True].believes(5000)
    watch(windows, State.TRANS, Segment(True, RST, 101))
    assert windows == {True: Window(), False: Window()}


@pytest.mark.parametrize("state", [State.V4_FIN_RCV, State.V6_FIN_RCV])
def test_a_rst_of_a_half_closed_connection_is_believed_if_asked_to(state: State) -> None:
    for from_v6, timer in ((True, Timer.KEEP), (False, Timer.TCP_EST)):
        assert step(state, Segment(from_v6, RST)) == (state, timer)
        assert step(state, Segment(from_v6, RST), rst_during_fin=True) == (State.TRANS, Timer.TCP_TRANS)


def test_other_protocols_have_one_host_for_an_address(oracle: Oracle) -> None:
    gre = make.ipv6(H1, H2_IN_6, 47, b"gre!")
    expected = oracle.send(gre, 0.0, [make.ipv4(T, H2, 47, b"gre!", ttl=63)])
    assert expected.packets == [make.ipv4(T, H2, 47, b"gre!", ttl=63)]
    back = oracle.send(make.ipv4(H2, T, 47, b"back"), 1.0, [])
    assert back.packets == [make.ipv6(H2_IN_6, H1, 47, b"back", hop_limit=63)]
    assert oracle.send(make.ipv6(H1, H2_IN_6, 51, b"ah"), 3.0, []).verdicts == {"PROTOCOL"}
    quoted = make.ipv4(T, H2, 47, b"gre!", ttl=63)
    error = oracle.send(make.ipv4(H2, T, ICMP, make.error(3, 1, quoted)), 4.0, [])
    inner = make.ipv6(H1, H2_IN_6, 47, b"gre!", hop_limit=63)
    assert error.packets == [make.ipv6(H2_IN_6, H1, ICMPV6, make.error(1, 0, inner), hop_limit=63)]
    second = make.ipv6(IPv6Address("2001:db8::2"), H2_IN_6, 47, b"gre!")
    (complaint,) = oracle.send(second, 5.0, [make.ipv4(T, H2, 47, b"gre!", ttl=63)]).complaints
    assert "in use" in complaint
