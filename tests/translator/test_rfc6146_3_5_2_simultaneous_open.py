"""RFC 6146 section 3.5.2.2, RFC 5382 REQ-4: a SYN from IPv4 that nobody expects waits for the one of the other side."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from nat64d.offline.engine import Ended
from tests.packets import (
    HOST4,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_PORT,
    NEIGHBOUR6,
    OTHER4,
    Icmp,
    fragment_of,
    from6,
    in6,
    payload,
    seen6,
    whole,
)
from tests.sessions import Session, Sessions
from translator.packet.addresses import address4
from translator.packet.fields import TCP as TCP_NUMBER
from translator.session.sessions import session_hash4
from translator.session.simultaneous_open import count_of, find_held
from translator.tables.layout import NONE
from translator.verdict import Verdict

MAPPED = (MAPPED4, MAPPED4_PORT)
PEER, OTHER_PEER = (HOST4, 4000), (OTHER4, 4000)
FREE, ALSO_FREE = ("192.0.2.2", 41000), ("192.0.2.3", 42000)  # transport addresses of the pool that nobody has
ADF = {"filtering": {"address_dependent": True}}
EST, OPENING = 7440, 240


def syn(to: tuple[str, int] = FREE, peer: tuple[str, int] = PEER, data: bytes = b"") -> bytes:
    """A SYN from IPv4."""
    return bytes(IP(src=peer[0], dst=to[0]) / TCP(sport=peer[1], dport=to[1], flags="S", seq=7) / Raw(data))


def refusal(sent: bytes) -> bytes:
    """Port unreachable, from the address that the SYN went to (3.5.2.2: about the stored packet)."""
    packet = IP(sent)
    return bytes(
        IP(src=packet.dst, dst=packet.src, tos=0xC0, ttl=64, id=0, flags="DF") / Icmp(type=3, code=3) / Raw(sent[:128])
    )


def waits(nat64: Sessions, **sent) -> bytes:
    """Send a SYN that must be held; its octets."""
    packet = syn(**sent)
    assert end(nat64.say(packet)) == (Verdict.SYN_HELD, [], None)
    return packet


def end(outcome: Ended) -> tuple[Verdict, list[bytes], bytes | None]:
    return outcome.verdict, outcome.packets, outcome.answer


def test_rfc5382_req_4_unexpected_syn_is_not_answered_for_six_seconds():
    nat64 = Sessions()
    sent = waits(nat64)
    assert nat64.sessions() == []
    assert nat64.mapped("tcp", 6000) is None
    assert nat64.wait(5.999) == []
    assert nat64.wait(0.001) == [refusal(sent)]
    assert nat64.wait(100) == []
    assert nat64.events()["ANSWER_SENT"] == 1


def test_rfc6146_3_5_2_2_refusal_leaves_before_the_packet_whose_time_brings_it_out():
    nat64 = Sessions()
    sent = waits(nat64)
    nat64.now += 6
    assert nat64.from6("udp", 6000).due == [refusal(sent)]


def test_rfc6146_4_tcp_incoming_syn_is_configurable():
    nat64 = Sessions(timeouts={"tcp_incoming_syn": 20})
    sent = waits(nat64)
    assert nat64.wait(19.999) == []
    assert nat64.wait(0.001) == [refusal(sent)]


def test_rfc6146_3_5_2_2_repeated_syn_waits_once_and_no_longer_than_the_first():
    nat64 = Sessions()
    sent = waits(nat64)
    nat64.wait(3)
    waits(nat64)
    assert nat64.wait(3) == [refusal(sent)]
    waits(nat64)
    assert nat64.wait(6) == [refusal(sent)]


@pytest.mark.parametrize("flags", ["RST", "FIN", "ACK"])
def test_rfc6146_3_5_2_2_other_segments_of_the_sender_do_not_matter(flags):
    nat64 = Sessions()
    sent = waits(nat64)
    assert nat64.from4("tcp", FREE, PEER, flags).verdict == Verdict.NO_SESSION
    assert nat64.wait(6) == [refusal(sent)]


@pytest.mark.parametrize("size", [0, 87, 88, 89, 1400])
def test_rfc792_refusal_quotes_the_first_128_octets(size):
    nat64 = Sessions()
    sent = waits(nat64, data=b"x" * size)
    (got,) = nat64.wait(6)
    assert got == refusal(sent)
    assert len(got) == 28 + min(40 + size, 128)


def test_rfc6146_3_5_2_2_first_fragment_of_a_syn_waits_and_a_later_one_does_not():
    nat64 = Sessions()
    sent = syn(data=bytes(100))
    first = bytes(fragment_of(sent, 0, 64))
    assert nat64.say(first).verdict == Verdict.SYN_HELD
    assert nat64.say(bytes(fragment_of(sent, 64, 56))).verdict == Verdict.HELD
    assert nat64.wait(6) == [refusal(first)]


# ---- a SYN that waits decides nothing


@pytest.mark.parametrize("paired", [True, False])
def test_a_syn_that_waits_does_not_decide_the_mapping_of_a_host6(paired):
    """Anybody can send one, in the name of any server: neither the address nor the port is of his choice, and the
    connection lives no longer than any other whose peer has not answered."""

    def opened(waiting: bool) -> Session:
        nat64 = Sessions(forward=[])
        if paired:
            nat64.opened("udp", 6000)
        for last in range(1, 4) if waiting else ():
            for port in (6000, 41000, 42000):
                waits(nat64, to=(f"192.0.2.{last}", port))
        nat64.opened("tcp", 6000, to=PEER)
        return nat64.sessions()[-1]

    assert opened(waiting=True) == opened(waiting=False)
    assert (opened(waiting=True).state, opened(waiting=True).left) == ("V6_INIT", OPENING)


ALONE = {"forward": [], "pool4": [{"addresses": FREE[0], "ports": str(FREE[1])}]}


@pytest.mark.parametrize("timeouts", [{}, {"tcp_opening": 6, "tcp_incoming_syn": 20}], ids=["session", "session over"])
def test_rfc5382_req_4_a_syn_that_waits_is_dropped_in_silence_once_the_other_one_has_come(timeouts):
    """By chance the host gets the transport address that was dialled. Nobody says anything more."""
    nat64 = Sessions(**ALONE, timeouts=timeouts)
    waits(nat64)
    nat64.wait(1)
    assert nat64.opened("tcp", 6000, to=PEER) == FREE
    assert nat64.wait(100) == []
    assert nat64.events().get("ANSWER_SENT", 0) == 0


def test_rfc5382_req_4_one_that_comes_after_that_connection_waits_as_long_as_any():
    nat64 = Sessions(**ALONE, timeouts={"tcp_opening": 6, "tcp_incoming_syn": 20})
    waits(nat64)
    nat64.opened("tcp", 6000, to=PEER)
    nat64.wait(7)
    sent = waits(nat64)
    assert nat64.wait(19.999) == []
    assert nat64.wait(0.001) == [refusal(sent)]


@pytest.mark.parametrize("side", ["from6", "from4"])
def test_rfc5382_req_4_the_other_one_needs_no_session_to_have_come(side):
    """One of a [[forward]] passes without where sessions from outside have all they may get. Address-dependent
    filtering knows OTHER_PEER once the host has spoken to it."""
    nat64 = Sessions(**ADF, limits={"sessions": 16})
    waits(nat64, to=MAPPED, peer=OTHER_PEER)
    for port in range(1, 16):
        nat64.opened("tcp", HOST6_PORT, to=(OTHER4, port))
    before = nat64.sessions()
    if side == "from6":
        assert nat64.opened("tcp", HOST6_PORT, to=OTHER_PEER) == MAPPED
    else:
        assert nat64.from4("tcp", MAPPED, OTHER_PEER, "SYN").verdict == Verdict.TRANSLATED
    assert nat64.sessions() == before
    assert nat64.wait(100) == []


def test_rfc6146_3_5_2_2_the_peers_next_syn_establishes():
    nat64 = Sessions(**ALONE)
    waits(nat64)
    nat64.opened("tcp", 6000, to=PEER)
    assert nat64.session().state == "V6_INIT"
    assert nat64.from4("tcp", FREE, PEER, "SYN").verdict == Verdict.TRANSLATED
    assert nat64.session() == ("tcp", (HOST6, 6000), FREE, PEER, "ESTABLISHED", EST)


def test_rfc5382_req_2_syn_of_a_host6_with_a_binding_meets_the_one_that_adf_holds_back():
    """The SYN-ACK that a peer in SYN-SENT answers the SYN with establishes, and so would its repeated SYN."""
    nat64 = Sessions(**ADF)
    mapped = nat64.opened("tcp", 6000)
    waits(nat64, to=mapped, peer=OTHER_PEER)
    waits(nat64, to=MAPPED, peer=PEER)
    assert nat64.opened("tcp", 6000, to=OTHER_PEER) == mapped
    assert nat64.opened("tcp", HOST6_PORT, to=PEER) == MAPPED
    assert [session.state for session in nat64.sessions()] == ["V6_INIT", "V6_INIT", "V6_INIT"]
    assert nat64.from4("tcp", mapped, OTHER_PEER, "SYN").verdict == Verdict.TRANSLATED
    assert nat64.from4("tcp", MAPPED, PEER, "SYN-ACK").verdict == Verdict.TRANSLATED
    assert [session.state for session in nat64.sessions()] == ["V6_INIT", "ESTABLISHED", "ESTABLISHED"]
    assert nat64.wait(100) == []


def test_rfc6146_3_5_2_2_adf_holds_a_syn_of_an_unknown_peer_and_refuses_it_in_the_end():
    nat64 = Sessions(**ADF)
    mapped = nat64.opened("tcp", 6000, to=(HOST4, 80))
    assert nat64.from4("tcp", mapped, PEER, "SYN").verdict == Verdict.TRANSLATED  # known by another port
    sent = [waits(nat64, to=to, peer=OTHER_PEER) for to in (mapped, MAPPED)]  # of a [[forward]], too
    assert nat64.wait(5.999) == []
    assert nat64.wait(0.001) == [refusal(octets) for octets in sent]
    assert nat64.from4("tcp", mapped, OTHER_PEER, "ACK").verdict == Verdict.FILTERED_ADF


def test_rfc6146_3_5_2_2_syn_that_came_through_in_the_end_is_not_refused():
    """The address was given to a host meanwhile, so the repeated SYN has a session."""
    nat64 = Sessions(**ALONE)
    waits(nat64)
    assert nat64.opened("tcp", 7000, host=NEIGHBOUR6) == FREE
    assert nat64.from4("tcp", FREE, PEER, "SYN").verdict == Verdict.TRANSLATED
    assert nat64.wait(6) == []


# ---- which SYNs wait


@pytest.mark.parametrize("forward", [True, False])
def test_rfc6146_3_5_2_2_drop_inbound_tcp_knows_no_waiting(forward):
    nat64 = Sessions(filtering={"drop_inbound_tcp": True, "address_dependent": True})
    if forward:
        sent = waits(nat64, to=MAPPED)  # the operator wants its connections, ADF does not
        assert nat64.wait(6) == [refusal(sent)]
        return
    mapped = nat64.opened("tcp", 6000)
    for sent in (syn(FREE, OTHER_PEER), syn(mapped, OTHER_PEER), bytes(HAIRPIN)):
        assert end(nat64.say(sent)) == (Verdict.FILTERED_INBOUND_TCP, [], None)
    assert nat64.from4("tcp", FREE, PEER, "ACK").verdict == Verdict.NO_SESSION
    assert nat64.wait(6) == []


def test_rfc6146_3_5_syn_to_an_address_that_is_not_ours_does_not_wait():
    nat64 = Sessions()
    assert end(nat64.say(syn(("192.0.2.4", 41000)))) == (Verdict.NO_SESSION, [], None)
    assert nat64.wait(6) == []


@pytest.mark.parametrize(
    ("peer", "changes"),
    [("10.0.0.1", {}), (HOST4, {"translation": {"denylist4": [f"{HOST4}/32"]}})],
    ids=["non_global", "denied"],
)
def test_syn_of_a_host_that_may_not_come_does_not_wait(peer, changes):
    nat64 = Sessions(**changes)
    assert end(nat64.say(syn(peer=(peer, 4000)))) == (Verdict.NO_SESSION, [], None)
    assert nat64.wait(6) == []


HAIRPIN = from6(dst=in6(FREE[0])) / TCP(sport=6000, dport=FREE[1], flags="S") / payload(80)


def test_rfc6146_3_8_syn_of_a_host6_to_our_own_address_waits_and_is_answered():
    """The answer is an ICMPv6 one, about the packet as it came, or its first 128 octets."""
    nat64 = Sessions()
    assert end(nat64.say(bytes(HAIRPIN))) == (Verdict.SYN_HELD, [], None)
    assert nat64.wait(5.999) == []
    quoted = Raw(bytes(HAIRPIN)[:128])
    told = IPv6(src=in6(FREE[0]), dst=HOST6, hlim=64) / Icmp(type=1, code=4) / quoted
    assert nat64.wait(0.001) == [bytes(told)]
    assert nat64.events()["ANSWER_SENT"] == 1


def test_rfc6146_3_8_syns_of_two_host6_meet():
    """Each dials the transport address that the other one has."""
    nat64 = Sessions(pool4=[{"addresses": "192.0.2.2"}], forward=[])
    first, second = (nat64.opened("tcp", 6000, host=host)[1] for host in (HOST6, NEIGHBOUR6))
    dial = from6(dst=in6("192.0.2.2")) / TCP(sport=6000, dport=second, flags="S")
    assert nat64.say(bytes(dial)).verdict == Verdict.HAIRPINNED
    dial = from6(src=NEIGHBOUR6, dst=in6("192.0.2.2")) / TCP(sport=6000, dport=first, flags="S")
    (got,) = nat64.say(bytes(dial)).packets
    assert bytes(got) == bytes(seen6(src=in6("192.0.2.2")) / TCP(sport=second, dport=6000, flags="S"))
    assert [session.state for session in nat64.sessions()[2:]] == ["ESTABLISHED", "ESTABLISHED"]


def test_rfc6146_3_5_2_2_drop_inbound_tcp_holds_for_hosts_of_ours_too():
    nat64 = Sessions(filtering={"drop_inbound_tcp": True})
    assert end(nat64.say(bytes(HAIRPIN))) == (Verdict.FILTERED_INBOUND_TCP, [], None)


# ---- memory and the limit of errors


SYNS, MOST_OF_PREFIX, PREFIXES = 256, 32, 8


def networks() -> list[int]:
    """Numbers of /24 networks that share no count."""
    settings = Sessions().settings
    return list({count_of(settings, address4(0xC6336400 + (k << 8), 0)): k for k in range(200)}.values())


def peers(count: int = SYNS, first: int = 0) -> Iterator[tuple[str, int]]:
    """Peers of so many networks, from the `first` on, that every SYN can wait."""
    chosen = networks()[first : first + PREFIXES]
    for number in range(count):
        yield str(IPv4Address(0xC6336401 + (chosen[number % PREFIXES] << 8))), 1 + number


@contextmanager
def checked_once(nat64: Sessions) -> Iterator[None]:
    """The invariants are checked after all of many packets."""
    nat64.check_invariants = lambda: None
    yield
    del nat64.check_invariants
    nat64.check_invariants()


def test_rfc6146_5_3_memory_of_syns_is_bounded_and_what_waits_stays():
    nat64 = Sessions()
    with checked_once(nat64):
        sent = [waits(nat64, peer=peer) for peer in peers()]
    last = next(peers(1, PREFIXES))
    assert end(nat64.say(syn(peer=last))) == (Verdict.NO_SESSION, [], None)
    waits(nat64, peer=list(peers(5))[4])  # is known
    found = nat64.wait(6)
    assert found == [refusal(octets) for octets in sent[: len(found)]]
    assert nat64.events()["ANSWER_LIMITED"] == SYNS - len(found)
    waits(nat64, peer=last)
    assert nat64.wait(6) == [refusal(syn(peer=last))]
    assert nat64.tables.syns_at.tolist() == [SYNS + 1, SYNS + 1]


def counted(nat64: Sessions, host4: str) -> int:
    """Which count the SYNs of a host4 are in."""
    return int(count_of(nat64.settings, address4(int(IPv4Address(host4)), 0)))


def test_one_network_leaves_room_for_the_syns_of_others():
    """Whatever their ports and hosts: all of a /24 share a count."""
    nat64 = Sessions()
    with checked_once(nat64):
        for number in range(MOST_OF_PREFIX):
            waits(nat64, peer=(f"198.51.100.{number + 1}", 1000 + number), to=(FREE[0], 40000 + number))
    assert end(nat64.say(syn(peer=("198.51.100.200", 1)))) == (Verdict.NO_SESSION, [], None)
    waits(nat64, peer=next(peer for peer in peers() if counted(nat64, peer[0]) != counted(nat64, "198.51.100.1")))
    nat64.wait(6)
    waits(nat64, peer=("198.51.100.200", 1))


def test_a_syn_that_is_met_leaves_room_for_others_of_its_network():
    nat64 = Sessions(**ALONE)
    with checked_once(nat64):
        for number in range(MOST_OF_PREFIX):
            waits(nat64, peer=(HOST4, 4000 + number))
    assert nat64.say(syn(peer=(HOST4, 9))).verdict == Verdict.NO_SESSION
    nat64.opened("tcp", 6000, to=PEER)
    nat64.wait(1)
    waits(nat64, to=(FREE[0], 9), peer=(HOST4, 9))


def test_adf_drops_a_syn_that_finds_no_memory_to_wait_in():
    nat64 = Sessions(**ADF)
    with checked_once(nat64):
        for peer in peers():
            waits(nat64, to=MAPPED, peer=peer)
    assert nat64.say(syn(MAPPED, peer=next(peers(1, PREFIXES)))).verdict == Verdict.FILTERED_ADF


def test_a_syn_is_looked_up_by_all_of_its_ends():
    """256 to one server's address and port read no more of the index than a few."""
    nat64 = Sessions()
    with checked_once(nat64):
        for number, (host, _) in enumerate(peers()):
            waits(nat64, peer=(host, 443), to=(FREE[0], 40000 + number))
    gateway, index = nat64.gateway, nat64.tables.syns4
    longest = max(len(run) for run in "".join("x" if entry else " " for entry in index.tolist()).split())
    assert longest < 32  # of 512 places, half of them taken
    for number, (host, _) in enumerate(peers()):
        ends = address4(int(IPv4Address(FREE[0])), 40000 + number), address4(int(IPv4Address(host)), 443)
        assert find_held(nat64.tables, session_hash4(gateway, TCP_NUMBER, *ends), *ends) == number
    ends = address4(int(IPv4Address(FREE[0])), 39999), address4(int(IPv4Address(HOST4)), 443)
    assert find_held(nat64.tables, session_hash4(gateway, TCP_NUMBER, *ends), *ends) == NONE


def test_refusals_are_under_the_limit_of_all_icmp_errors():
    nat64 = Sessions(limits={"icmp_errors_per_second": 2})
    sent = [waits(nat64, peer=(HOST4, port)) for port in range(1, 6)]
    assert nat64.wait(6) == [refusal(octets) for octets in sent[:2]]
    assert nat64.events()["ANSWER_LIMITED"] == 3
    assert whole(refusal(sent[0])).src == FREE[0]
