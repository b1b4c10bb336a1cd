"""Shares of the session table (RFC 6888 REQ-5): whoever takes all he can get leaves room for others."""

import pytest
from scapy.layers.inet import TCP, UDP

from nat64d.offline.engine import Ended
from tests.packets import (
    HOST4,
    HOST4_PORT,
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
from translator.verdict import Verdict

MAPPED = (MAPPED4, MAPPED4_PORT)
STRANGER6 = "2001:db8:99::1"  # of another subscriber than HOST6 and NEIGHBOUR6
TABLE = 100


class Busy(Sessions):
    """Sessions, of which the invariants are checked after one packet in 25."""

    said = 0

    def say(self, packet: bytes) -> Ended:
        self.said += 1
        return super().say(packet) if self.said % 25 == 0 else self.send(packet, self.now)


def gateway(**limits) -> Busy:
    """A gateway with TABLE sessions."""
    return Busy(limits={"sessions": TABLE, **limits})


def take_all(nat64: Sessions, *hosts: str, protocol: str = "udp") -> list[int]:
    """Each host opens one session after the other, in turns, until nobody gets any; how many each got."""
    taken, going = dict.fromkeys(hosts, 0), True
    while going:
        going = False
        for host in hosts:
            verdict = nat64.from6(protocol, 6000 + taken[host], host=host).verdict
            assert verdict in (Verdict.TRANSLATED, Verdict.SUBSCRIBER_SESSIONS)
            if verdict == Verdict.TRANSLATED:
                taken[host], going = taken[host] + 1, True
    return list(taken.values())


def flood(nat64: Sessions, protocol: str, to: tuple[str, int], packets: int) -> set[Verdict]:
    """One packet each from so many transport addresses, a ping from so many addresses; how they ended."""
    peers = [(f"8.8.8.{1 + k}" if protocol == "icmp" else OTHER4, 1 + k) for k in range(packets)]
    return {nat64.from4(protocol, to, peer, flags="SYN").verdict for peer in peers}


# ---- from inside


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_a_subscriber_of_many_hosts_gets_four_fifths_and_others_open_sessions(protocol):
    nat64 = gateway()
    hosts = [f"2001:db8:1::{k + 1:x}" for k in range(TABLE)]
    verdicts = [nat64.from6(protocol, 6000, host=host).verdict for host in hosts]
    assert verdicts == [Verdict.TRANSLATED] * 80 + [Verdict.SUBSCRIBER_SESSIONS] * 20
    nat64.wait(10)  # ICMP errors have a rate
    sent = whole(from6(src="2001:db8:1::ffff") / UDP(sport=6000, dport=53))
    assert nat64.say(bytes(sent)).answer == bytes(answer6(sent, 1, 3))
    assert nat64.from6(protocol, 6000, host=hosts[0]).verdict == Verdict.TRANSLATED  # what it has, it keeps
    nat64.opened(protocol, 6000, host=STRANGER6)


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_a_host_gets_four_fifths_of_its_subscribers_share_and_its_neighbours_open_sessions(protocol):
    nat64 = gateway()
    assert take_all(nat64, HOST6, protocol=protocol) == [64]
    nat64.opened(protocol, 6000, host=NEIGHBOUR6)
    nat64.opened(protocol, 6000, host=STRANGER6)


def test_with_subscriber_128_a_host_is_a_subscriber():
    nat64 = gateway(subscriber=128)
    assert take_all(nat64, HOST6) == [80]
    nat64.opened("udp", 6000, host=NEIGHBOUR6)


NEAR = {55: "2001:db8:1:101::1", 79: "2001:db8:1:1:1::1", 120: "2001:db8:1:1::ff"}  # so many bits are the same


@pytest.mark.parametrize("near", NEAR)
@pytest.mark.parametrize("subscriber", [48, 56, 60, 64, 72, 96, 120, 121])
def test_the_length_of_the_prefix_says_who_shares(subscriber, near):
    nat64 = gateway(subscriber=subscriber)
    alone = subscriber > near
    assert take_all(nat64, "2001:db8:1:1::1", NEAR[near]) == ([40, 39] if alone else [36, 36])


def test_as_many_as_there_are_get_equal_shares_and_the_next_one_finds_room():
    nat64 = gateway(subscriber=128)
    taken = take_all(nat64, *(f"2001:db8:{k:x}::1" for k in range(5)))
    assert taken == [20, 19, 19, 19, 19]  # 4 in 21
    nat64.opened("udp", 6000, host=STRANGER6)


def test_one_that_has_more_than_its_share_keeps_it_and_gets_no_more_until_it_has_less():
    nat64 = gateway(subscriber=128)
    take_all(nat64, HOST6)
    nat64.wait(29)
    take_all(nat64, NEIGHBOUR6, STRANGER6)
    assert nat64.from6("udp", 7000).verdict == Verdict.SUBSCRIBER_SESSIONS
    assert len(nat64.sessions(lambda session: session.host6[0] == HOST6)) == 80
    nat64.wait(301)
    nat64.opened("udp", 7000)


def test_a_session_of_a_mapping_that_is_there_is_one_of_the_share():
    nat64 = gateway()
    take_all(nat64, HOST6)
    assert nat64.from6("udp", 6000, to=(OTHER4, 7)).verdict == Verdict.SUBSCRIBER_SESSIONS
    assert nat64.from6("tcp", 6000).verdict == Verdict.SUBSCRIBER_SESSIONS


# ---- from outside


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_a_flood_on_a_mapping_passes_and_takes_no_more_than_a_sixth_of_the_table(protocol):
    nat64 = gateway()
    mapped = nat64.opened(protocol, 6000)
    assert flood(nat64, protocol, mapped, 40) == {Verdict.TRANSLATED}
    assert len(nat64.sessions()) == 1 + 16  # four fifths of four fifths of a quarter
    assert nat64.events()["UNPINNED"] == 40 - 16
    assert nat64.from4(protocol, mapped, (OTHER4, 99)).packets  # unpinned again
    assert take_all(nat64, STRANGER6) == [54]  # of the 83 that are left


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_a_flood_on_a_forward_takes_no_more_either(protocol):
    nat64 = gateway()
    assert flood(nat64, protocol, MAPPED, 40) == {Verdict.TRANSLATED}
    assert len(nat64.sessions()) == 16


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_floods_on_all_mappings_take_no_more_than_a_quarter(protocol):
    nat64, found = gateway(), set()
    for k in range(30):
        mapped = nat64.opened(protocol, 6000, host=f"2001:db8:{k + 16:x}::1")
        found |= flood(nat64, protocol, mapped, 3)
    assert found == {Verdict.TRANSLATED} | ({Verdict.INBOUND_SESSIONS} if protocol == "tcp" else set())
    assert nat64.tables.inbound[0] == TABLE // 4
    nat64.opened(protocol, 6000, host=STRANGER6)


def test_a_flooded_mapping_leaves_those_of_other_hosts_sessions_from_outside():
    nat64 = gateway()
    flood(nat64, "tcp", nat64.opened("tcp", 6000), 40)
    for host in (NEIGHBOUR6, STRANGER6):
        mapped = nat64.opened("tcp", 6000, host=host)
        assert nat64.from4("tcp", mapped, (OTHER4, 99), flags="SYN").verdict == Verdict.TRANSLATED


def test_where_inside_hosts_have_taken_all_they_can_a_flood_leaves_room_for_the_next_one():
    nat64 = gateway()
    mapped = nat64.opened("udp", 6000)
    take_all(nat64, *(f"2001:db8:{k + 16:x}::1" for k in range(4)))
    flood(nat64, "udp", mapped, 40)
    nat64.opened("udp", 6000, host=STRANGER6)


def test_a_syn_to_a_dynamic_mapping_is_refused_past_the_share():
    nat64 = gateway()
    mapped4, port = nat64.opened("tcp", 6000)
    assert flood(nat64, "tcp", (mapped4, port), 40) == {Verdict.TRANSLATED, Verdict.INBOUND_SESSIONS}
    assert len(nat64.sessions()) == 1 + 16
    nat64.wait(10)  # ICMP errors have a rate
    sent = whole(from4(src=OTHER4, dst=mapped4) / TCP(sport=99, dport=port))
    outcome = nat64.say(bytes(sent))
    assert (outcome.verdict, outcome.answer) == (Verdict.INBOUND_SESSIONS, bytes(answer4(sent, 3, 1)))
    assert nat64.from4("tcp", (mapped4, port)).verdict == Verdict.TRANSLATED  # the answer to the host's own SYN


def test_a_forward_serves_connections_without_sessions_past_the_share():
    nat64 = gateway()
    assert flood(nat64, "tcp", MAPPED, 40) == {Verdict.TRANSLATED}
    before = len(nat64.sessions())
    peer = (OTHER4, 99)
    for flags in ("SYN", "ACK", "FIN"):
        assert nat64.from4("tcp", MAPPED, peer, flags).packets
        assert nat64.from6("tcp", HOST6_PORT, peer, "SYN-ACK" if flags == "SYN" else flags).packets
    assert len(nat64.sessions()) == before == 16
    assert nat64.tables.hosts[0].sessions == 0  # nor is any of it on the account of the server


def test_a_forward_serves_datagrams_without_sessions_where_the_table_is_full():
    nat64 = gateway()
    for k in range(TABLE):
        nat64.opened("udp", 6000, host=f"2001:db8:{k + 16:x}::1")
    for peer in ((OTHER4, 53), (HOST4, HOST4_PORT)):
        assert nat64.from4("udp", MAPPED, peer).packets
        assert nat64.from6("udp", HOST6_PORT, peer).packets
    assert len(nat64.sessions()) == TABLE


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_what_a_forwarded_port_opens_from_inside_is_of_the_same_share(protocol):
    nat64 = gateway()
    for k in range(40):
        nat64.opened(protocol, HOST6_PORT, (f"8.8.8.{1 + k}", 53))
    assert len(nat64.sessions()) == 16


def test_sessions_of_a_forward_leave_its_host_its_rate():
    nat64 = gateway(per_host_rate=2)
    for k in range(10):
        nat64.opened("udp", HOST6_PORT, (OTHER4, 1 + k))
    nat64.opened("udp", 6000)
    nat64.opened("udp", 6001)
    assert nat64.from6("udp", 6002).verdict == Verdict.HOST_RATE


def test_a_packet_without_session_is_filtered_by_address_all_the_same():
    nat64 = Busy(limits={"sessions": TABLE}, filtering={"address_dependent": True})
    mapped = nat64.opened("udp", 6000, to=(OTHER4, 1000))
    assert flood(nat64, "udp", mapped, 40) == {Verdict.TRANSLATED}
    assert nat64.events()["UNPINNED"] == 40 - 16
    assert nat64.from4("udp", mapped).verdict == Verdict.FILTERED_ADF


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_rfc4787_req_11_a_mapping_is_the_same_for_another_peer_however_full_the_table_is(protocol):
    nat64 = gateway(subscriber=128)
    mapped = nat64.opened(protocol, 7000)
    for k in range(TABLE - 3):
        nat64.opened(protocol, 6000, host=f"2001:db8:{k + 16:x}::1")
    assert nat64.opened(protocol, 7000, to=(OTHER4, 9)) == mapped
    assert nat64.from4(protocol, mapped).verdict == Verdict.TRANSLATED


# ---- what nobody has answered, in a table that fills


def filled(count: int) -> Sessions:
    """A gateway with so many sessions, all of them answered."""
    nat64 = gateway(subscriber=128)
    for k in range(count):
        host = f"2001:db8:{k + 16:x}::1"
        assert nat64.from4("udp", nat64.opened("udp", 6000, host=host)).verdict == Verdict.TRANSLATED
    return nat64


UDP_LEFT = {0: 300, 49: 300, 50: 294.6, 74: 165, 99: 30}
ICMP_LEFT = {49: 60, 50: 59.4, 74: 45, 99: 30}


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("protocol", "others", "left"),
    [(protocol, *case) for protocol, of in (("udp", UDP_LEFT), ("icmp", ICMP_LEFT)) for case in of.items()],
)
def test_what_is_not_answered_lives_shorter_the_fuller_the_table_is(protocol, others, left):
    nat64 = filled(others)
    nat64.opened(protocol, 7000)
    assert [session.left for session in nat64.sessions() if session.host6 == (HOST6, 7000)] == [left]


def test_of_tcp_it_is_the_half_open_connection_and_from_outside_it_is_the_same():
    nat64 = filled(72)
    nat64.opened("tcp", 7000)
    assert nat64.from4("tcp", MAPPED, flags="SYN").verdict == Verdict.TRANSLATED
    assert nat64.from4("udp", MAPPED).verdict == Verdict.TRANSLATED
    new = nat64.sessions(lambda session: session.host6[0] == HOST6)
    assert [session.left for session in new] == [240 - 210 * 23 / 50, 240 - 210 * 24 / 50, 300 - 270 / 2]


def test_an_answer_gives_a_session_its_whole_time_from_either_side():
    nat64 = filled(90)
    mapped = nat64.opened("udp", 7000)
    assert nat64.from4("udp", mapped).verdict == Verdict.TRANSLATED
    assert nat64.from4("udp", MAPPED).verdict == Verdict.TRANSLATED
    nat64.opened("udp", HOST6_PORT)
    tcp = nat64.opened("tcp", 7000)
    assert nat64.from4("tcp", tcp, flags="SYN-ACK").verdict == Verdict.TRANSLATED
    new = nat64.sessions(lambda session: session.host6[0] == HOST6)
    assert [session.left for session in new] == [300, 300, 7440]


def test_another_packet_of_the_same_side_is_no_answer_and_takes_no_time_away():
    nat64 = gateway(subscriber=128)
    nat64.opened("udp", 7000)
    nat64.opened("tcp", 7000)
    for k in range(96):
        nat64.opened("icmp", 6000, host=f"2001:db8:{k + 16:x}::1")
    nat64.wait(10)
    nat64.opened("udp", 7000)
    nat64.opened("tcp", 7000)
    assert [session.left for session in nat64.sessions()[:2]] == [290, 230]
    nat64.opened("udp", 7001)
    nat64.wait(20)
    nat64.opened("udp", 7001)
    (left,) = (session.left for session in nat64.sessions() if session.host6 == (HOST6, 7001))
    assert 30 < left < 50


def test_a_configured_time_that_is_shorter_stays():
    nat64 = Busy(limits={"sessions": 16}, timeouts={"tcp_opening": 10})
    for k in range(16):
        nat64.opened("tcp", 6000, host=f"2001:db8:{k + 16:x}::1")
    assert {session.left for session in nat64.sessions()} == {10}


def test_established_connections_and_answered_flows_are_not_touched_when_others_flood():
    nat64 = gateway()
    tcp, udp = nat64.opened("tcp", 6000), nat64.opened("udp", 6000)
    assert nat64.from4("tcp", tcp, flags="SYN-ACK").packets
    assert nat64.from4("udp", udp).packets
    flood(nat64, "udp", udp, 40)
    take_all(nat64, STRANGER6)
    nat64.wait(295)
    assert {s.left for s in nat64.sessions(lambda s: s.host4 == (HOST4, HOST4_PORT) and s.host6[1] == 6000)} >= {
        7145,
        5,
    }
