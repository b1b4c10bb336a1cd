"""RFC 6146 section 3.5.2.2, the end of an established session: its IPv6 end is asked, and has TCP_TRANS to answer."""

import pytest
from scapy.layers.inet import TCP

from tests.case import BEGIN
from tests.packets import HOST4, HOST6, HOST6_PORT, MAPPED4, MAPPED4_PORT, OTHER4, in6, seen6
from tests.sessions import Sessions
from translator.clock import tick
from translator.tables.gateway import HEADROOM
from translator.tables.layout import WHEEL
from translator.verdict import Verdict

MAPPED = (MAPPED4, MAPPED4_PORT)
EST, TRANS = 7440, 240


def probe(host4: str = HOST4, host4_port: int = 53, port: int = HOST6_PORT) -> bytes:
    """The segment that HOST6 gets, as if the IPv4 host had sent it."""
    header = seen6(src=in6(host4), hlim=64)
    return bytes(header / TCP(sport=host4_port, dport=port, flags="A", seq=0, ack=0, window=0))


def established(nat64: Sessions, port: int = HOST6_PORT, to: tuple[str, int] = (HOST4, 53)) -> tuple[str, int]:
    """A TCP session of HOST6; its mapped4."""
    mapped = nat64.opened("tcp", port, to=to)
    nat64.from4("tcp", mapped, to, "SYN-ACK")
    return mapped


def silent(**changes) -> Sessions:
    """A gateway whose only session has been silent for too long."""
    nat64 = Sessions(**changes)
    established(nat64)
    nat64.wait(EST)
    return nat64


def test_rfc6146_3_5_2_2_expiry_of_established_sends_a_probe_and_enters_trans():
    nat64 = silent()
    assert nat64.wait(1) == [probe()]
    assert (nat64.session().state, nat64.session().left) == ("TRANS", TRANS - 1)
    assert nat64.events()["PROBE_SENT"] == 1
    assert nat64.wait(TRANS - 1.001) == []
    assert nat64.session().left == 0.001
    assert nat64.wait(1.001) == []
    assert nat64.sessions() == []


def test_rfc6146_3_5_2_2_the_probe_leaves_before_the_packet_whose_time_brings_it_out():
    nat64 = silent()
    nat64.now += 1
    outcome = nat64.from6("udp", 6000)
    assert (outcome.verdict, outcome.due) == (Verdict.TRANSLATED, [probe()])


@pytest.mark.parametrize("side", ["from6", "from4"])
def test_rfc6146_3_5_2_2_whoever_answers_the_probe_establishes_again(side):
    nat64 = silent()
    nat64.wait(1)
    if side == "from6":
        nat64.from6("tcp", HOST6_PORT, flags="ACK")
    else:
        nat64.from4("tcp", MAPPED, flags="ACK")
    assert (nat64.session().state, nat64.session().left) == ("ESTABLISHED", EST)
    nat64.wait(EST)
    assert nat64.wait(1) == [probe()]


def test_rfc6146_3_5_2_2_rst_for_the_probe_passes_and_the_session_runs_out():
    nat64 = silent()
    nat64.wait(1)
    assert nat64.from6("tcp", HOST6_PORT, flags="RST").verdict == Verdict.TRANSLATED
    assert (nat64.session().state, nat64.session().left) == ("TRANS", TRANS - 1)


@pytest.mark.parametrize("side", ["from6", "from4"])
def test_rfc6146_3_5_2_2_a_segment_that_comes_before_the_probe_spares_it(side):
    """In the second in which the time is over the wheel has not come by: the session is in TRANS all the same."""
    nat64 = silent()
    speak = {
        "from6": lambda flags: nat64.from6("tcp", HOST6_PORT, flags=flags),
        "from4": lambda flags: nat64.from4("tcp", MAPPED, flags=flags),
    }[side]
    assert speak("RST").verdict == Verdict.TRANSLATED
    assert (nat64.session().state, nat64.session().left) == ("TRANS", TRANS)
    assert nat64.wait(1) == []
    speak("ACK")
    assert nat64.session().state == "ESTABLISHED"


def test_rfc6146_3_5_2_2_another_session_of_the_binding_does_not_spare_the_probe():
    nat64 = Sessions()
    mapped = established(nat64, 6000)
    nat64.wait(EST)
    assert nat64.from4("tcp", mapped, (OTHER4, 80), "SYN").verdict == Verdict.TRANSLATED
    assert nat64.wait(1) == [probe(port=6000)]


def test_rfc6146_3_5_2_2_binding_lives_until_trans_is_over():
    nat64 = Sessions()
    mapped = established(nat64, 6000)
    nat64.expire = lambda at: []  # the wheel never comes by
    nat64.wait(EST + TRANS - 0.001)
    assert nat64.from4("tcp", mapped, (OTHER4, 80), "ACK").verdict == Verdict.TRANSLATED
    nat64.wait(0.001)
    assert nat64.from4("tcp", mapped, (OTHER4, 80), "ACK").verdict == Verdict.NO_SESSION
    assert nat64.sessions() == []


@pytest.mark.parametrize("flags", ["ACK", "SYN"])
def test_rfc6146_3_5_2_2_session_that_nobody_looked_after_ends_with_trans(flags):
    nat64 = Sessions()
    established(nat64)
    nat64.expire = lambda at: []
    nat64.wait(EST + TRANS - 0.001)
    nat64.from4("tcp", MAPPED, flags="RST")
    assert (nat64.session().state, nat64.session().left) == ("TRANS", 0.001)
    nat64.wait(0.001)
    nat64.from4("tcp", MAPPED, flags=flags)
    assert [session.state for session in nat64.sessions()] == (["V4_INIT"] if flags == "SYN" else [])


WAYS = {
    "V6_INIT": ["6 SYN"],
    "V4_INIT": ["4 SYN"],
    "V4_FIN_RCV": ["6 SYN", "4 SYN", "4 FIN"],
    "V6_FIN_RCV": ["6 SYN", "4 SYN", "6 FIN"],
    "V4_FIN_V6_FIN_RCV": ["6 SYN", "4 SYN", "6 FIN", "4 FIN"],
    "TRANS": ["6 SYN", "4 SYN", "4 RST"],
}


@pytest.mark.parametrize("state", WAYS)
def test_rfc6146_3_5_2_2_only_an_established_session_is_probed(state):
    nat64 = Sessions()
    for segment in WAYS[state]:
        family, flags = segment.split()
        nat64.from6("tcp", HOST6_PORT, flags=flags) if family == "6" else nat64.from4("tcp", MAPPED, flags=flags)
    assert nat64.session().state == state
    assert nat64.wait(EST + TRANS + 1) == []
    assert nat64.sessions() == []


@pytest.mark.parametrize("state", WAYS)
def test_rfc6146_3_5_2_2_expiry_of_any_other_state_is_the_end_though_the_wheel_has_not_come_by(state):
    nat64 = Sessions()
    for segment in WAYS[state]:
        family, flags = segment.split()
        nat64.from6("tcp", HOST6_PORT, flags=flags) if family == "6" else nat64.from4("tcp", MAPPED, flags=flags)
    assert nat64.session().state == state
    nat64.expire = lambda at: []
    nat64.wait(nat64.session().left)
    assert nat64.from4("tcp", MAPPED, flags="ACK").verdict == Verdict.TRANSLATED
    assert nat64.sessions() == []


def test_rfc6146_3_5_2_2_udp_and_icmp_are_not_probed():
    nat64 = Sessions()
    nat64.opened("udp", 6000)
    nat64.opened("icmp", 6000)
    assert nat64.wait(EST) == []


def test_rfc6146_3_5_2_2_every_silent_session_is_probed_once_whatever_the_quota():
    nat64 = Sessions()
    for port in range(6000, 6010):
        established(nat64, port, (OTHER4, 80))
    nat64.opened("udp", 6000)
    nat64.now += EST + 1
    now, found, looked_at = round((BEGIN + nat64.now) * 1000), [], []
    for _ in range(20):
        seen, size = tick(nat64.gateway, now, 2)
        nat64.check_invariants()
        looked_at.append(seen)
        found += [bytes(nat64.worker.answer[HEADROOM : HEADROOM + size])] if size else []
    assert sorted(found) == [probe(OTHER4, 80, port) for port in range(6000, 6010)]
    assert max(looked_at) <= 2
    assert looked_at[-1] == 0


@pytest.mark.parametrize("jump", [EST + TRANS + 1, WHEEL + 1, 400 * 86400])
def test_rfc6146_3_5_2_2_clock_that_jumps_over_trans_probes_once_and_ends_everything(jump):
    nat64 = Sessions()
    established(nat64)
    assert nat64.wait(jump) == [probe()]
    assert nat64.sessions() == []


def test_rfc6146_3_5_2_2_hairpinned_session_is_probed_at_both_ends():
    nat64 = Sessions()
    mapped = nat64.opened("tcp", 6000, host="2001:db8:1::20")
    ours = nat64.opened("tcp", 7000)
    nat64.from6("tcp", 7000, to=mapped)
    nat64.from6("tcp", 6000, to=ours, host="2001:db8:1::20")
    assert [session.state for session in nat64.sessions()].count("ESTABLISHED") == 2
    nat64.wait(EST)
    ends = {
        bytes(seen6(src=in6(a), dst=b, hlim=64) / TCP(sport=ap, dport=bp, flags="A", seq=0, ack=0, window=0))
        for (a, ap), (b, bp) in ((mapped, (HOST6, 7000)), (ours, ("2001:db8:1::20", 6000)))
    }
    assert set(nat64.wait(1)) == ends
