"""RFC 6146 section 3.5.2.2, RFC 5382 REQ-4: a SYN from IPv4 that nobody expects waits for the one of the other side."""

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from nat64d.engine import Outcome
from tests.packets import HOST4, HOST6, HOST6_PORT, MAPPED4, MAPPED4_PORT, NEIGHBOUR6, OTHER4, Icmp, fragment_of, whole
from tests.sessions import Sessions
from translator.session.waiting import NEXT, OLDEST
from translator.tables import SYNS
from translator.verdict import Verdict

MAPPED = (MAPPED4, MAPPED4_PORT)
PEER, OTHER_PEER = (HOST4, 4000), (OTHER4, 4000)
FREE, ALSO_FREE = ("192.0.2.2", 41000), ("192.0.2.3", 42000)  # transport addresses of the pool that nobody has
ADF = {"filtering": {"address_dependent": True}}
EST = 7440


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


def end(outcome: Outcome) -> tuple[Verdict, list[bytes], bytes | None]:
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


def test_rfc5382_req_2_syn_of_a_new_host6_meets_the_one_that_waits():
    """The host gets the address that the other side has dialled, and the connection is open."""
    for free in (FREE, ALSO_FREE):
        nat64 = Sessions()
        waits(nat64, to=free)
        nat64.wait(1)
        assert nat64.opened("tcp", 6000, to=PEER) == free
        assert nat64.session() == ("tcp", (HOST6, 6000), free, PEER, "ESTABLISHED", EST)
        assert nat64.from4("tcp", free, PEER, "SYN").verdict == Verdict.TRANSLATED
        assert nat64.session().state == "ESTABLISHED"
        assert nat64.wait(100) == []


def test_rfc5382_req_2_syn_of_a_host6_with_a_binding_meets_the_one_that_adf_holds_back():
    nat64 = Sessions(**ADF)
    mapped = nat64.opened("tcp", 6000)
    waits(nat64, to=mapped, peer=OTHER_PEER)
    waits(nat64, to=MAPPED, peer=PEER)
    assert nat64.opened("tcp", 6000, to=OTHER_PEER) == mapped
    assert [session.state for session in nat64.sessions()] == ["V6_INIT", "ESTABLISHED"]
    assert nat64.opened("tcp", HOST6_PORT, to=PEER) == MAPPED
    assert [session.state for session in nat64.sessions()] == ["V6_INIT", "ESTABLISHED", "ESTABLISHED"]
    assert nat64.from4("tcp", mapped, OTHER_PEER, "SYN").verdict == Verdict.TRANSLATED
    assert nat64.wait(100) == []


def test_rfc6146_3_5_2_2_adf_holds_a_syn_of_an_unknown_peer_and_refuses_it_in_the_end():
    nat64 = Sessions(**ADF)
    mapped = nat64.opened("tcp", 6000, to=(HOST4, 80))
    assert nat64.from4("tcp", mapped, PEER, "SYN").verdict == Verdict.TRANSLATED  # known by another port
    sent = waits(nat64, to=mapped, peer=OTHER_PEER)
    assert nat64.wait(6) == [refusal(sent)]
    assert nat64.from4("tcp", mapped, OTHER_PEER, "ACK").verdict == Verdict.FILTERED_ADF


def not_met(nat64: Sessions, host: str = HOST6, protocol: str = "tcp") -> tuple[str, int]:
    """The mapped4 of a host6 that speaks to PEER and meets no SYN."""
    mapped = nat64.opened(protocol, 6000, to=PEER, host=host)
    assert nat64.sessions()[-1].state in ("V6_INIT", "NONE")
    return mapped


def test_rfc6146_3_5_2_2_syn_for_somebody_else_is_not_met():
    """(T,t) is another host's; or the host has another address already; or the IPv6 SYN goes elsewhere."""
    nat64 = Sessions(**ADF)
    first, second = waits(nat64, to=MAPPED), waits(nat64, to=FREE, peer=OTHER_PEER)
    assert not_met(nat64, NEIGHBOUR6) != MAPPED
    assert nat64.opened("tcp", 6000, to=(OTHER4, 4001), host="2001:db8:1::30") != FREE
    nat64.opened("tcp", 6001)
    assert nat64.opened("tcp", 6001, to=OTHER_PEER) != FREE
    assert nat64.wait(6) == [refusal(first), refusal(second)]


def test_rfc6146_3_5_2_2_mapped4_that_was_given_to_another_host_meanwhile_is_not_met():
    nat64 = Sessions(forward=[], pool4=[{"addresses": "192.0.2.2", "ports": "41000-41001"}])
    sent = waits(nat64)
    nat64.opened("tcp", 7000, host=NEIGHBOUR6)
    nat64.opened("tcp", 7001, host=NEIGHBOUR6)
    assert nat64.from6("tcp", 6000, to=PEER).verdict == Verdict.POOL4_EXHAUSTED
    assert nat64.wait(6) == [refusal(sent)]


def test_rfc6146_3_5_2_2_syn_that_came_through_in_the_end_is_not_refused():
    """The address was given to a host meanwhile, so the repeated SYN has a session."""
    nat64 = Sessions(forward=[], pool4=[{"addresses": "192.0.2.2", "ports": "41000"}])
    waits(nat64)
    assert nat64.opened("tcp", 7000, host=NEIGHBOUR6) == FREE
    assert nat64.from4("tcp", FREE, PEER, "SYN").verdict == Verdict.TRANSLATED
    assert nat64.wait(6) == []


@pytest.mark.parametrize(
    "pool4",
    [
        [{"addresses": "192.0.2.2", "ports": "1024-40999"}],
        [{"addresses": "192.0.2.2", "protocols": ["udp"]}, {"addresses": "192.0.2.1"}],
        [{"addresses": "192.0.2.2", "source": "2001:db8:2::/48"}, {"addresses": "192.0.2.1"}],
        [{"addresses": "192.0.2.2"}, {"addresses": "192.0.2.1", "source": "2001:db8:1::/48"}],
    ],
    ids=["port", "protocol", "source", "longer_source"],
)
def test_rfc6146_3_5_2_2_mapped4_that_the_host_may_not_have_is_not_met(pool4):
    nat64 = Sessions(forward=[], pool4=pool4)
    sent = waits(nat64)
    assert not_met(nat64) != FREE
    assert nat64.wait(6) == [refusal(sent)]


def test_rfc6146_3_5_2_2_host_without_any_pool_meets_nobody():
    nat64 = Sessions(forward=[], pool4=[{"addresses": "192.0.2.2", "source": "2001:db8:2::/48"}])
    waits(nat64)
    assert nat64.from6("tcp", 6000, to=PEER).verdict == Verdict.NO_POOL4


def test_rfc6146_3_5_2_2_only_tcp_meets_a_syn():
    nat64 = Sessions()
    sent = waits(nat64)
    not_met(nat64, protocol="udp")
    assert nat64.wait(6) == [refusal(sent)]


def test_rfc6146_3_5_2_2_syn_that_has_waited_too_long_is_not_met():
    nat64 = Sessions()
    sent = waits(nat64)
    nat64.expire = lambda at: []  # its refusal is late
    nat64.wait(6)
    assert not_met(nat64) != FREE
    del nat64.expire
    assert nat64.wait(0) == [refusal(sent)]


def test_rfc6146_3_5_2_2_oldest_of_several_is_met():
    nat64 = Sessions()
    sent = waits(nat64, to=("192.0.2.1", 80))  # not in the pool
    waits(nat64, to=ALSO_FREE)
    other = waits(nat64, to=FREE)
    assert nat64.opened("tcp", 6000, to=PEER) == ALSO_FREE
    assert nat64.wait(6) == [refusal(sent), refusal(other)]


def test_rfc6888_req_4_host_at_its_ports_meets_nobody_and_the_syn_goes_on_waiting():
    nat64 = Sessions(forward=[], limits={"per_host_ports": 1})
    nat64.opened("udp", 6000)
    waits(nat64)
    assert nat64.from6("tcp", 6000, to=PEER).verdict == Verdict.HOST_PORTS
    assert nat64.opened("tcp", 6000, to=PEER, host=NEIGHBOUR6) == FREE


# ---- which SYNs wait


@pytest.mark.parametrize("forward", [True, False])
def test_rfc6146_3_5_2_2_drop_inbound_tcp_knows_no_waiting(forward):
    nat64 = Sessions(filtering={"drop_inbound_tcp": True, "address_dependent": True})
    if forward:
        sent = waits(nat64, to=MAPPED)  # the operator wants its connections, ADF does not
        assert nat64.wait(6) == [refusal(sent)]
        return
    mapped = nat64.opened("tcp", 6000)
    for to in (FREE, mapped):
        assert end(nat64.say(syn(to, OTHER_PEER))) == (Verdict.FILTERED_INBOUND_TCP, [], None)
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


def test_rfc6146_3_8_syn_of_a_host6_to_our_own_address_does_not_wait():
    nat64 = Sessions()
    assert nat64.from6("tcp", 6000, to=FREE).verdict == Verdict.NO_SESSION
    assert nat64.wait(6) == []


# ---- memory and the limit of errors


def test_rfc6146_5_3_memory_of_syns_is_bounded_and_what_waits_stays():
    nat64 = Sessions()
    sent = [waits(nat64, peer=(HOST4, port)) for port in range(1, SYNS + 1)]
    assert nat64.say(syn(peer=(HOST4, 999))).verdict == Verdict.NO_SESSION
    waits(nat64, peer=(HOST4, 5))
    nat64.wait(1)
    assert nat64.opened("tcp", 6000, to=(HOST4, 1)) == FREE
    waits(nat64, peer=(HOST4, 999), to=ALSO_FREE)
    found = nat64.wait(5)
    assert found == [refusal(octets) for octets in sent[1 : 1 + len(found)]]
    assert nat64.events()["ANSWER_LIMITED"] == SYNS - 1 - len(found)
    assert nat64.wait(1) == [refusal(syn(ALSO_FREE, (HOST4, 999)))]
    assert nat64.tables.syns_at.tolist() == [SYNS + 1, SYNS + 1]


def test_adf_drops_a_syn_that_finds_no_memory_to_wait_in():
    nat64 = Sessions(**ADF)
    for port in range(1, SYNS + 1):
        waits(nat64, to=MAPPED, peer=(HOST4, port))
    assert nat64.say(syn(MAPPED)).verdict == Verdict.FILTERED_ADF


def test_one_that_was_met_leaves_a_gap_and_the_others_their_turn():
    nat64 = Sessions()
    sent = [waits(nat64, to=(FREE[0], FREE[1] + k), peer=(HOST4, 1 + k)) for k in range(4)]
    for k in (1, 2):
        assert nat64.opened("tcp", 6000 + k, to=(HOST4, 1 + k)) == (FREE[0], FREE[1] + k)
    assert (nat64.tables.syns_at[OLDEST], nat64.tables.syns_at[NEXT]) == (0, 4)
    assert nat64.opened("tcp", 6000, to=(HOST4, 1)) == FREE
    assert (nat64.tables.syns_at[OLDEST], nat64.tables.syns_at[NEXT]) == (3, 4)
    assert nat64.wait(6) == [refusal(sent[3])]


def test_refusals_are_under_the_limit_of_all_icmp_errors():
    nat64 = Sessions(limits={"icmp_errors_per_second": 2})
    sent = [waits(nat64, peer=(HOST4, port)) for port in range(1, 6)]
    assert nat64.wait(6) == [refusal(octets) for octets in sent[:2]]
    assert nat64.events()["ANSWER_LIMITED"] == 3
    assert whole(refusal(sent[0])).src == FREE[0]
