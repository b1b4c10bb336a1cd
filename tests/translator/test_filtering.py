"""[filtering], strict_well_known_prefix and denylist4: who is not let through, and who is told."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP

from tests.packets import (
    HOST4,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_PORT,
    OTHER4,
    Icmp,
    answer4,
    answer6,
    from4,
    from6,
    in6,
    ping4,
    ping6,
    whole,
)
from tests.sessions import Sessions
from translator.packet.addresses import address4
from translator.session.sessions import create_session
from translator.session.tcp_state import State
from translator.verdict import Verdict

MAPPED = (MAPPED4, MAPPED4_PORT)
ADF = {"filtering": {"address_dependent": True}}


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_rfc6146_3_5_adf_lets_in_peers_the_host6_has_spoken_to(protocol):
    nat64 = Sessions(**ADF)
    mapped = nat64.opened(protocol, 6000)
    assert nat64.from4(protocol, mapped, (OTHER4, 53)).verdict == Verdict.FILTERED_ADF
    assert nat64.from4(protocol, mapped, (HOST4, 53)).verdict == Verdict.TRANSLATED
    if protocol == "icmp":
        reply = from4(src=OTHER4, dst=mapped[0]) / ping4(False, id=mapped[1])
        assert nat64.say(bytes(reply)).verdict == Verdict.FILTERED_ADF
    nat64.opened(protocol, 6000, to=(OTHER4, 53))
    for peer in ((OTHER4, 53), (OTHER4, 99), (HOST4, 99)):
        assert nat64.from4(protocol, mapped, peer).verdict == Verdict.TRANSLATED


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_rfc6146_3_5_adf_knows_addresses_whatever_the_port(protocol):
    nat64 = Sessions(**ADF)
    mapped = nat64.opened(protocol, 6000)
    assert nat64.from4(protocol, mapped, (HOST4, 54), "SYN").verdict == Verdict.TRANSLATED
    assert [session.host4 for session in nat64.sessions()] == [(HOST4, 53), (HOST4, 54)]


def test_rfc6146_3_5_adf_is_a_matter_of_each_binding():
    nat64 = Sessions(**ADF)
    for protocol in ("udp", "icmp"):
        nat64.opened(protocol, 6000)
        stranger = nat64.opened(protocol, 6001, to=(OTHER4, 53))
        assert nat64.from4(protocol, stranger).verdict == Verdict.FILTERED_ADF
    for mapped in (MAPPED, nat64.opened("tcp", 6000, to=(OTHER4, 53))):
        for flags in ("ACK", "FIN", "RST"):
            assert nat64.from4("tcp", mapped, flags=flags).verdict == Verdict.FILTERED_ADF


def test_rfc6146_3_5_adf_forgets_a_peer_with_its_last_session():
    nat64 = Sessions(**ADF)
    mapped = nat64.opened("udp", 6000)
    nat64.wait(200)
    nat64.opened("udp", 6000, to=(OTHER4, 53))
    nat64.wait(101)
    assert nat64.from4("udp", mapped, (HOST4, 54)).verdict == Verdict.FILTERED_ADF
    assert nat64.from4("udp", mapped, (OTHER4, 54)).verdict == Verdict.TRANSLATED


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_rfc5382_req_4_adf_discards_in_silence(protocol):
    """RFC 6146 section 3.5 lets it answer UDP and ICMP; a SYN waits, and must not be answered within 6 seconds."""
    nat64 = Sessions(**ADF)
    outcome = nat64.from4(protocol, MAPPED, flags="SYN")
    verdict = Verdict.SYN_HELD if protocol == "tcp" else Verdict.FILTERED_ADF
    assert (outcome.verdict, outcome.answer) == (verdict, None)
    assert nat64.sessions() == []


def test_rfc6146_3_5_adf_is_off_unless_asked_for():
    nat64 = Sessions()
    for protocol in ("udp", "tcp", "icmp"):
        for mapped in (MAPPED, nat64.opened(protocol, 6000)):
            assert nat64.from4(protocol, mapped, (OTHER4, 4000), "SYN").verdict == Verdict.TRANSLATED


@pytest.mark.parametrize(
    ("protocol", "last"),
    [("udp", Verdict.FILTERED_ADF), ("tcp", Verdict.SYN_HELD), ("icmp", Verdict.TRANSLATED)],
)
def test_adf_searches_the_newest_sessions_of_a_binding_only(protocol, last):
    """But for pings, of which a peer has one session, whatever else there is."""
    nat64 = Sessions(**ADF, limits={"sessions": 2 * 1024 + 1})
    mapped = nat64.opened(protocol, 6000, to=(OTHER4, 1))
    bib = nat64.tables.sessions[0].bib

    def open_sessions(count: int, first_port: int) -> None:
        for port in range(first_port, first_port + count):
            create_session(nat64.gateway, 0, bib, address4(0x08080808, port), State.NONE, 0)

    nat64.check_invariants = nat64.expire = lambda *_: []  # these sessions are only there to be passed by
    open_sessions(1023, 1)
    assert nat64.from4(protocol, mapped, (OTHER4, 2), "SYN").verdict == Verdict.TRANSLATED
    open_sessions(1023, 2000)
    assert nat64.from4(protocol, mapped, (OTHER4, 1)).verdict == Verdict.TRANSLATED  # its own session needs no search
    open_sessions(1, 4000)
    assert nat64.from4(protocol, mapped, (OTHER4, 3), "SYN").verdict == last


# ---- drop_inbound_tcp, drop_icmp_info


def test_rfc6146_3_5_2_2_drop_inbound_tcp_discards_a_syn_from_outside_in_silence():
    nat64 = Sessions(filtering={"drop_inbound_tcp": True})
    mapped = nat64.opened("tcp", 6000)
    outcome = nat64.from4("tcp", mapped, (OTHER4, 7), flags="SYN")
    assert (outcome.verdict, outcome.answer) == (Verdict.FILTERED_INBOUND_TCP, None)
    assert len(nat64.sessions()) == 1


def test_drop_inbound_tcp_spares_connections_to_a_forward():
    nat64 = Sessions(filtering={"drop_inbound_tcp": True})
    assert nat64.from4("tcp", MAPPED, flags="SYN").verdict == Verdict.TRANSLATED
    assert len(nat64.sessions()) == 1


def test_drop_inbound_tcp_leaves_connections_from_inside_and_other_protocols():
    nat64 = Sessions(filtering={"drop_inbound_tcp": True})
    mapped = nat64.opened("tcp", 6000)
    for flags in ("SYN-ACK", "ACK", "FIN"):
        assert nat64.from4("tcp", mapped, flags=flags).verdict == Verdict.TRANSLATED
    for flags in ("ACK", "FIN", "RST"):  # of no session, and opening none
        assert nat64.from4("tcp", mapped, (OTHER4, 7), flags).verdict == Verdict.TRANSLATED
    for protocol in ("udp", "icmp"):
        mapped = nat64.opened(protocol, 6000)
        for to in (MAPPED, mapped):
            assert nat64.from4(protocol, to, (OTHER4, 7)).verdict == Verdict.TRANSLATED


def test_drop_icmp_info_discards_echoes_in_silence_and_no_errors():
    nat64 = Sessions(filtering={"drop_icmp_info": True})
    nat64.opened("udp", HOST6_PORT)
    echoes = [from4() / ping4(request) for request in (True, False)] + [
        from6() / ping6(request) for request in (True, False)
    ]
    for echo in echoes:
        outcome = nat64.say(bytes(echo))
        assert (outcome.verdict, outcome.answer) == (Verdict.FILTERED_ICMP_INFO, None)
    quoted = IP(src=MAPPED4, dst=HOST4) / UDP(sport=MAPPED4_PORT, dport=53)
    assert nat64.say(bytes(from4() / Icmp(type=3, code=3) / quoted)).verdict == Verdict.TRANSLATED


# ---- strict_well_known_prefix (RFC 6052 section 3.1)

NON_GLOBAL = (
    *("10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255"),
)
GLOBAL = (
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.0.1",
    "172.32.0.0",
    "192.167.1.1",
    "198.20.0.0",
)


@pytest.mark.parametrize("address", NON_GLOBAL)
def test_rfc6052_3_1_non_global_address_is_refused_under_the_well_known_prefix(address):
    nat64 = Sessions()
    sent = whole(from6(dst=in6(address)) / UDP(sport=6000, dport=53))
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.NON_GLOBAL_ADDRESS, bytes(answer6(sent, 1, 1)))
    for protocol in ("udp", "icmp", "tcp"):
        assert nat64.from6(protocol, 6000, (address, 53)).verdict == Verdict.NON_GLOBAL_ADDRESS
        outcome = nat64.from4(protocol, MAPPED, (address, 53), flags="SYN")
        assert outcome.verdict == Verdict.NON_GLOBAL_ADDRESS
        answer = whole(outcome.answer)[ICMP]
        assert (answer.type, answer.code) == (3, 13)
    for flags in ("ACK", "FIN", "RST"):
        assert nat64.from4("tcp", MAPPED, (address, 53), flags).verdict == Verdict.NON_GLOBAL_ADDRESS
        assert nat64.from6("tcp", HOST6_PORT, (address, 53), flags).verdict == Verdict.NON_GLOBAL_ADDRESS
    assert nat64.sessions() == []


@pytest.mark.parametrize("address", GLOBAL)
def test_rfc6052_3_1_global_address_passes(address):
    nat64 = Sessions()
    nat64.opened("udp", 6000, to=(address, 53))
    assert nat64.from4("udp", MAPPED, (address, 53)).verdict == Verdict.TRANSLATED


@pytest.mark.parametrize(
    "changes", [{"strict_well_known_prefix": False}, {"pool6": "64:ff9b:1::/96"}], ids=["off", "other_prefix"]
)
def test_rfc6052_3_1_rule_is_for_the_well_known_prefix_and_can_be_off(changes):
    nat64 = Sessions(**changes)
    prefix = "64:ff9b:1::" if "pool6" in changes else "64:ff9b::"
    assert nat64.say(bytes(from6(dst=in6("10.0.0.1", prefix)) / UDP())).verdict == Verdict.TRANSLATED
    assert nat64.from4("udp", MAPPED, ("10.0.0.1", 53)).verdict == Verdict.TRANSLATED


@pytest.mark.parametrize("address", ["0.0.0.1", "127.0.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"])
@pytest.mark.parametrize("strict", [True, False])
def test_rfc7915_4_1_source_that_no_host_has_is_dropped_in_silence(address, strict):
    nat64 = Sessions(strict_well_known_prefix=strict)
    outcome = nat64.from4("udp", MAPPED, (address, 53))
    assert (outcome.verdict, outcome.answer) == (Verdict.NOT_UNICAST, None)


# ---- denylist4


def test_denylist4_prohibits_both_directions():
    nat64 = Sessions(translation={"denylist4": ["198.51.100.7/32", "203.0.113.0/24"]})
    up = whole(from6() / UDP(sport=6000, dport=53))
    down = whole(from4() / UDP(sport=53, dport=MAPPED4_PORT))
    for sent, answer in ((up, answer6(up, 1, 1)), (down, answer4(down, 3, 13))):
        outcome = nat64.say(bytes(sent))
        assert (outcome.verdict, outcome.answer) == (Verdict.DENIED_ADDRESS, bytes(answer))
    for protocol in ("tcp", "udp", "icmp"):
        assert nat64.from6(protocol, 6000, ("203.0.113.255", 53)).verdict == Verdict.DENIED_ADDRESS
        outcome = nat64.from4(protocol, MAPPED, ("203.0.113.255", 53), "SYN")
        assert (outcome.verdict, outcome.answer[20:22]) == (Verdict.DENIED_ADDRESS, bytes((3, 13)))
    for flags in ("ACK", "FIN", "RST"):
        assert nat64.from6("tcp", HOST6_PORT, ("203.0.113.255", 53), flags).verdict == Verdict.DENIED_ADDRESS
        assert nat64.from4("tcp", MAPPED, ("203.0.113.255", 53), flags).verdict == Verdict.DENIED_ADDRESS
    for neighbour in ("198.51.100.6", "198.51.100.8", "203.0.114.0", "203.0.112.255"):
        nat64.opened("udp", 6000, to=(neighbour, 53))
    assert {session.host6[0] for session in nat64.sessions()} == {HOST6}


@pytest.mark.parametrize("address", ["100.100.100.200", "168.63.129.16", "192.0.0.192"])
def test_by_default_nobody_asks_a_cloud_for_the_credentials_of_this_host(address):
    nat64 = Sessions(strict_well_known_prefix=False)
    assert nat64.from6("tcp", HOST6_PORT, (address, 80)).verdict == Verdict.DENIED_ADDRESS
    assert nat64.from4("udp", MAPPED, (address, 53)).verdict == Verdict.DENIED_ADDRESS
    assert nat64.from4("icmp", MAPPED, (address, 0)).verdict == Verdict.DENIED_ADDRESS
    quoted = IP(src=MAPPED4, dst=HOST4) / UDP(sport=MAPPED4_PORT, dport=53)
    error = bytes(from4(src=address) / Icmp(type=3, code=3) / quoted)  # of a router on the way to somebody else
    assert nat64.say(error).verdict == Verdict.TRANSLATED
    assert nat64.sessions() == []
    opened = Sessions(strict_well_known_prefix=False, translation={"denylist4": []})
    opened.opened("tcp", HOST6_PORT, to=(address, 80))


def test_link_local_addresses_are_not_translated_even_without_a_denylist4():
    nat64 = Sessions(strict_well_known_prefix=False, translation={"denylist4": []})
    assert nat64.from6("tcp", HOST6_PORT, ("169.254.169.254", 80)).verdict == Verdict.NOT_UNICAST


@pytest.mark.parametrize("pool", ["169.254.64.0/28", "192.0.2.1"])
def test_denylist4_is_not_about_our_own_addresses(pool):
    """They stand for IPv6 hosts, which reach each other by them (hairpin); the pool of the built-in default is in the
    default list."""
    nat64 = Sessions(
        pool4=[{"addresses": pool}], forward=[], translation={"denylist4": ["169.254.0.0/16", "192.0.2.0/24"]}
    )
    mapped = nat64.opened("udp", 6000)
    assert nat64.from6("udp", 6001, mapped).verdict == Verdict.HAIRPINNED


def test_denylist4_is_for_what_needs_no_session_too():
    nat64 = Sessions(translation={"denylist4": ["198.51.100.7/32"]})
    for flags in ("ACK", "RST"):
        assert nat64.from6("tcp", HOST6_PORT, flags=flags).verdict == Verdict.DENIED_ADDRESS
        assert nat64.from4("tcp", MAPPED, flags=flags).verdict == Verdict.DENIED_ADDRESS
    quoted = IP(src=MAPPED4, dst=HOST4) / UDP(sport=MAPPED4_PORT, dport=53)
    outcome = nat64.say(bytes(from4() / Icmp(type=3, code=3) / quoted))
    assert (outcome.verdict, outcome.answer) == (Verdict.DENIED_ADDRESS, None)
