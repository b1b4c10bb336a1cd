"""RFC 7857 sections 7 and 7.1: which packets do not lengthen the life of a mapping."""

import pytest

from tests.packets import HOST4, HOST6_PORT, MAPPED4, MAPPED4_PORT, OTHER4
from tests.sessions import Sessions
from translator.verdict import Verdict

STRANGER = (OTHER4, 4000)


answered = pytest.mark.parametrize("answered", [False, True], ids=["", "answered"])


def near_its_end(nat64: Sessions, protocol: str, answered: bool) -> tuple[str, int]:
    """The mapped4 of a session that has another second to live, and may have had its answer."""
    mapped = nat64.opened(protocol, 6000)
    if answered:
        nat64.from4(protocol, mapped, flags="SYN-ACK")
    nat64.wait(nat64.session().left - 1)
    return mapped


@answered
@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_rfc7857_7_what_a_filter_drops_refreshes_nothing(protocol, answered):
    nat64 = Sessions(forward=[], filtering={"address_dependent": True})
    mapped = near_its_end(nat64, protocol, answered)
    assert nat64.from4(protocol, mapped, STRANGER).verdict == Verdict.FILTERED_ADF
    assert nat64.session().left == 1
    nat64.wait(2)
    assert nat64.bib() == {}


@answered
@pytest.mark.parametrize("filtering", ["address_dependent", "drop_inbound_tcp"])
def test_rfc7857_7_a_syn_that_a_filter_drops_refreshes_nothing(filtering, answered):
    nat64 = Sessions(forward=[], filtering={filtering: True})
    mapped = near_its_end(nat64, "tcp", answered)
    dropped = nat64.from4("tcp", mapped, STRANGER, flags="SYN").verdict
    assert dropped in (Verdict.SYN_HELD, Verdict.FILTERED_INBOUND_TCP)
    assert nat64.session().left == 1


@answered
@pytest.mark.parametrize("protocol", ["udp", "icmp", "tcp"])
def test_rfc7857_7_what_comes_from_a_denied_address_refreshes_nothing(protocol, answered):
    nat64 = Sessions(forward=[], translation={"denylist4": [f"{OTHER4}/32"]})
    mapped = near_its_end(nat64, protocol, answered)
    for flags in ("SYN", "ACK"):
        assert nat64.from4(protocol, mapped, STRANGER, flags=flags).verdict == Verdict.DENIED_ADDRESS
        private = nat64.from4(protocol, mapped, ("10.0.0.1", 4000), flags=flags)
        assert private.verdict == Verdict.NON_GLOBAL_ADDRESS
    assert nat64.session().left == 1


@answered
@pytest.mark.parametrize("protocol", ["udp", "icmp", "tcp"])
def test_rfc7857_7_what_gets_no_session_for_want_of_room_refreshes_nothing(protocol, answered):
    """Sessions opened from IPv4 have their quarter of the table: a SYN is refused, others pass without one."""
    nat64 = Sessions(forward=[], limits={"sessions": 16})
    mapped = near_its_end(nat64, protocol, answered)
    for last in range(1, 9):
        nat64.from4(protocol, mapped, (f"8.8.8.{last}", 9), flags="SYN")
    nat64.wait(0.5)
    before = nat64.tables.sessions.tobytes()
    verdict = nat64.from4(protocol, mapped, STRANGER, flags="SYN").verdict
    assert verdict == (Verdict.INBOUND_SESSIONS if protocol == "tcp" else Verdict.TRANSLATED)
    assert nat64.tables.sessions.tobytes() == before
    assert nat64.sessions(lambda session: session.host4[0] == HOST4)[0].left == 0.5


@answered
@pytest.mark.parametrize("flags", ["ACK", "FIN", "RST", "SYN-ACK"])
def test_rfc7857_7_tcp_segments_that_open_no_session_refresh_nothing(flags, answered):
    """From another host than the one of the session; a SYN with ACK opens one, as any SYN does."""
    nat64 = Sessions(forward=[])
    mapped = near_its_end(nat64, "tcp", answered)
    assert nat64.from4("tcp", mapped, STRANGER, flags=flags).verdict == Verdict.TRANSLATED
    left = {session.host4[0]: session.left for session in nat64.sessions()}
    assert left == {HOST4: 1} | ({OTHER4: 240} if flags == "SYN-ACK" else {})


@pytest.mark.parametrize("closed_by", ["V4", "V6"])
def test_rfc7857_7_1_a_rst_from_inside_refreshes_no_half_closed_connection(closed_by):
    nat64 = Sessions()
    nat64.from6("tcp", HOST6_PORT, flags="SYN")
    nat64.from4("tcp", (MAPPED4, MAPPED4_PORT), flags="SYN-ACK")
    if closed_by == "V4":
        nat64.from4("tcp", (MAPPED4, MAPPED4_PORT), flags="FIN")
    else:
        nat64.from6("tcp", HOST6_PORT, flags="FIN")
    nat64.wait(7000)
    assert nat64.from6("tcp", HOST6_PORT, flags="RST").verdict == Verdict.TRANSLATED
    assert (nat64.session().state, nat64.session().left) == (f"{closed_by}_FIN_RCV", 440)


def test_rfc7857_7_1_a_rst_from_inside_refreshes_no_connection_that_is_not_open():
    nat64 = Sessions()
    nat64.from4("tcp", (MAPPED4, MAPPED4_PORT), flags="SYN")
    nat64.wait(200)
    assert nat64.from6("tcp", HOST6_PORT, flags="RST").verdict == Verdict.TRANSLATED
    assert (nat64.session().state, nat64.session().left) == ("V4_INIT", 40)
