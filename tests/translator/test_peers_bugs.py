"""What other translators get wrong: each bug found while reading them, as a test that says it; those about ICMP errors
are in test_peers_bugs_icmp.py.

Three have none. A daemon sends its sessions to others in the clear and queues them without bound: nat64d sends them to
nobody. A prefix cannot be changed while running, and such a change silently leaves out static entries: nat64d reads its
configuration at the start, and leaves out nothing of it (the last test). Fragments of ICMP are dropped where there are
no sessions: so are they here (FRAGMENTED_ICMP), as RFC 7915 section 1.2 has it, but for those of a CLAT.
"""

from dataclasses import replace
from itertools import pairwise

import pytest
from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrRouting, PadN
from scapy.packet import Packet

from nat64d.control.metrics import Exposition
from nat64d.dataplane.worker import Queue
from nat64d.gateway.state import Live
from nat64d.offline.engine import Engine
from tests.case import BEGIN, Nat64, Step, config_of
from tests.mapped import ALONE, to_eam4
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST6,
    HOST6_PORT,
    MAPPED4,
    MAPPED4_IN6,
    MAPPED4_PORT,
    TO_HOST6,
    TO_MAPPED,
    answer4,
    answer6,
    fragment_of,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
    with_options,
)
from tests.sessions import Sessions
from translator.tables.gateway import Gateway, new_worker
from translator.verdict import Verdict


@pytest.mark.parametrize("kind", [131, 137], ids=["loose", "strict"])
def test_an_ipv4_source_route_is_examined(nat64, kind):
    routed = with_options(from4() / ping4(True), bytes([kind, 7, 4, 10, 0, 0, 1]))
    nat64.check(Step(routed, verdict=Verdict.SOURCE_ROUTED, answer=answer4(routed, 3, 5)))


def identifications(number: int, secret: int, count: int = 1000) -> list[int]:
    """The IPv4 Identifications that one of two workers gives."""
    engine = Engine(config_of(), bytes([secret]) * 16)
    engine.gateway = Gateway(replace(engine.settings, queues=2), engine.tables, new_worker(number))
    ping = bytes(from6() / ping6(True))
    return [whole(engine.send(ping, BEGIN).packets[0]).id for _ in range(count)]


@pytest.mark.no_cover
def test_ipv4_identifications_of_two_workers_never_meet_and_cannot_be_foretold():
    first, second = identifications(0, 1), identifications(1, 1)
    assert len(set(first) | set(second)) == len(first) + len(second)
    assert len({(later - earlier) % 65536 for earlier, later in pairwise(first)}) > 900
    assert sum(a == b for a, b in zip(first, identifications(0, 2), strict=True)) < 5


def test_an_extension_header_behind_a_fragment_header_is_no_ipv4_protocol(nat64):
    options = from6() / IPv6ExtHdrFragment(m=1) / IPv6ExtHdrDestOpt() / UDP(**FROM_HOST6) / b"x"
    nat64.check(Step(options, verdict=Verdict.EXTENSION_HEADERS))
    atomic = from6() / IPv6ExtHdrFragment(id=7) / IPv6ExtHdrDestOpt() / UDP(**FROM_HOST6) / b"x"
    nat64.check(Step(atomic, seen4(id=7) / UDP(**FROM_MAPPED) / b"x"))


@pytest.mark.parametrize("between", [None, IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(id=1)], ids=str)
def test_a_second_routing_header_does_not_hide_the_first(nat64, between):
    pending, done = (IPv6ExtHdrRouting(addresses=["2001:db8::9"], segleft=left) for left in (1, 0))
    routed = from6() / pending / (between / done if between else done) / UDP(**FROM_HOST6)
    nat64.check(Step(routed, verdict=Verdict.ROUTING_HEADER, answer=answer6(routed, 4, 0, 40 + 3)))


@pytest.mark.parametrize("stateless", [True, False], ids=["stateless", "stateful"])
def test_a_udp_checksum_is_never_calculated_over_a_first_fragment(stateless):
    nat64 = Nat64(translation={"udp_zero_checksum": "calculate"}, **ALONE if stateless else {})
    bare = (to_eam4() if stateless else from4()) / UDP(**TO_MAPPED, chksum=0) / payload(1600)
    first = nat64.send(fragment_of(bare, 0, 800))
    assert first.packets == []
    assert first.verdict == Verdict.ZERO_UDP_CHECKSUM or not stateless


def tail_for(checksum: int, packet: Packet) -> bytes:
    """Two octets of data that give a datagram this checksum."""
    return ((whole(packet / b"\0\0")[UDP].chksum - checksum) % 0xFFFF).to_bytes(2)


@pytest.mark.parametrize("chksum", [None, 0], ids=["updated", "calculated"])
def test_a_udp_checksum_computed_as_zero_leaves_as_ffff(nat64, chksum):
    outward, inward = seen4() / UDP(**FROM_MAPPED), seen6() / UDP(**TO_HOST6)
    tail4, tail6 = tail_for(0, outward), tail_for(0, inward)
    sent = from6() / UDP(**FROM_HOST6, chksum=chksum) / tail4
    nat64.check(Step(sent, seen4() / UDP(**FROM_MAPPED, chksum=0xFFFF) / tail4))
    sent = from4() / UDP(**TO_MAPPED, chksum=chksum) / tail6
    nat64.check(Step(sent, seen6() / UDP(**TO_HOST6, chksum=0xFFFF) / tail6))


def test_too_big_is_about_the_ipv4_size_and_the_ipv4_mtu():
    nat64 = Nat64(translation={"mtu4": 1400, "mtu6": 9000})
    fits, exceeds = (from6() / UDP(**FROM_HOST6) / payload(size - 28) for size in (1400, 1401))
    nat64.check(Step(fits, seen4(flags="DF") / UDP(**FROM_MAPPED) / payload(1400 - 28)))
    nat64.check(Step(exceeds, verdict=Verdict.TOO_BIG, answer=answer6(exceeds, 2, 0, 1420)))
    options = from6() / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(248))]) / UDP(**FROM_HOST6) / payload(1400 - 28)
    nat64.check(Step(options, seen4(flags="DF") / UDP(**FROM_MAPPED) / payload(1400 - 28)))


@pytest.mark.parametrize("kind", [131, 137], ids=["loose", "strict"])
def test_an_expired_source_route_is_no_reason_to_drop(nat64, kind):
    expired = with_options(from4() / ping4(True), bytes([kind, 7, 8, 10, 0, 0, 1]))
    nat64.check(Step(expired, seen6() / ping6(True)))


@pytest.mark.parametrize("mtu6", [1280, 1500, 9000])
def test_without_df_no_fragment_exceeds_1280_octets_whatever_the_next_mtu(mtu6):
    nat64 = Nat64(translation={"mtu6": mtu6})
    pieces = nat64.send(from4() / UDP(**TO_MAPPED) / payload(4000)).packets
    assert [len(piece) for piece in pieces] == [1280, 1280, 1280, 48 + 8 + 4000 - 3 * 1232]


@pytest.mark.parametrize("hops", [2, 64, 255])
def test_every_packet_loses_a_hop_so_that_loops_end(nat64, hops):
    nat64.check(Step(from6(hlim=hops) / ping6(True), seen4(ttl=hops - 1) / ping4(True)))
    nat64.check(Step(from4(ttl=hops) / ping4(True), seen6(hlim=hops - 1) / ping6(True)))
    hairpin = from6(dst=MAPPED4_IN6, hlim=hops) / UDP(sport=HOST6_PORT, dport=MAPPED4_PORT)
    (out,) = nat64.send(hairpin).packets
    assert whole(out).hlim == hops - 1


def test_fragments_are_carried_both_ways(nat64):
    long6, long4 = from6() / UDP(**FROM_HOST6) / payload(2000), seen4() / UDP(**FROM_MAPPED) / payload(2000)
    back4, back6 = from4() / UDP(**TO_MAPPED) / payload(2000), seen6() / UDP(**TO_HOST6) / payload(2000)
    for at in (0, 1024):
        nat64.check(Step(fragment_of(long6, at, 1024), fragment_of(long4, at, 1024)))
        nat64.check(Step(fragment_of(back4, at, 1024), fragment_of(back6, at, 1024)))


def test_counters_are_exact_however_often_they_are_read():
    config = config_of()
    engine, live = Engine(config), Live(config)
    live.queues = [Queue(0, -1, False), Queue(1, -1, False)]
    live.state, live.settings, live.tables = "ready", engine.settings, engine.tables
    exposition = Exposition(live)
    for turn in range(1, 4):
        for queue in live.queues:
            engine.gateway = replace(engine.gateway, worker=queue.worker)
            engine.send(bytes(from6() / ping6(True)), BEGIN)
            engine.send(bytes(from4(ttl=1) / ping4(False)), BEGIN)
        for _ in range(3):
            counted = {(row["direction"], row["verdict"]): row["packets"] for row in live.counters() if row["packets"]}
            assert counted == {("6to4", "translated"): 2 * turn, ("4to6", "hop_limit_expired"): 2 * turn}
            text = exposition.render("")[0].decode()
            assert f'nat64d_packets_total{{direction="6to4",verdict="translated"}} {2 * turn}.0\n' in text


@pytest.mark.parametrize("traffic_class", [0x02, 0xB8, 0xFF])
def test_the_type_of_service_is_not_zeroed(nat64, traffic_class):
    nat64.check(Step(from6(tc=traffic_class) / ping6(True), seen4(tos=traffic_class) / ping4(True)))
    nat64.check(Step(from4(tos=traffic_class) / ping4(True), seen6(tc=traffic_class) / ping6(True)))


@pytest.mark.parametrize("mtu4", [68, 576, 1000, 1259])
def test_df_is_not_always_set_so_that_1280_octets_of_ipv6_pass_any_ipv4_path(mtu4):
    nat64 = Nat64(translation={"mtu4": mtu4})
    nat64.check(Step(from6() / UDP(**FROM_HOST6) / payload(1232), seen4(flags=0) / UDP(**FROM_MAPPED) / payload(1232)))


def test_an_udp_session_lives_five_minutes_not_thirty_seconds():
    nat64 = Sessions()
    nat64.opened("udp", 6000)
    assert nat64.session().left == 300


def test_an_established_connection_may_be_silent_for_2_hours_and_4_minutes():
    nat64 = Sessions()
    mapped = nat64.opened("tcp", 6000)
    nat64.from4("tcp", mapped)
    nat64.wait(2 * 3600 + 4 * 60 - 0.001)
    assert nat64.session().state == "ESTABLISHED"
    assert nat64.from4("tcp", mapped, flags="ACK").verdict == Verdict.TRANSLATED


MTUS = (68, 576, 1000, 1259, 1260, 1261, 1280, 1400, 1492, 1500)


@pytest.mark.no_cover
@pytest.mark.parametrize("mtu4", MTUS)
@pytest.mark.parametrize("extra", [None, IPv6ExtHdrDestOpt(), IPv6ExtHdrFragment(id=1)], ids=str)
def test_no_packet_too_big_asks_for_what_an_ipv6_sender_already_does(mtu4, extra):
    nat64 = Nat64(translation={"mtu4": mtu4})
    for size in (1279, 1280, 1281, 1288, 1289, 1300, 1420, 1500, 3000):
        header = from6() / extra if extra else from6()
        packet = whole(header / UDP(**FROM_HOST6) / payload(size - len(header) - 8))
        outcome = nat64.send(packet)
        if outcome.verdict == Verdict.TOO_BIG:
            assert 1280 <= whole(outcome.answer)["ICMPv6 Packet Too Big"].mtu < len(packet)
            assert size > 1280
        else:
            (out,) = outcome.packets
            assert len(out) <= mtu4 or not whole(out).flags.DF


@pytest.mark.parametrize("mtu6", [1280, 1420, 1500])
@pytest.mark.parametrize(("flags", "options"), [("DF", b""), ("DF", bytes(40)), ("DF+MF", b"")], ids=str)
def test_no_fragmentation_needed_asks_for_what_an_ipv4_sender_already_does(mtu6, flags, options):
    nat64 = Nat64(translation={"mtu6": mtu6})
    for size in (1252, 1260, 1268, 1396, 1404, 1480, 1500, 1508, 4004):
        datagram = from4(flags=flags) / UDP(**TO_MAPPED, len=5000 if "MF" in flags else None)
        packet = with_options(datagram / payload(size - 28 - len(options)), options)
        outcome = nat64.send(packet, damaged=True)
        if outcome.verdict == Verdict.TOO_BIG:
            assert whole(outcome.answer)[ICMP].nexthopmtu < len(packet)
        else:
            (out,) = outcome.packets
            assert len(out) <= mtu6


def test_no_forward_of_the_configuration_is_silently_left_out():
    nat64 = Sessions()
    assert nat64.bib() == {
        (protocol, HOST6, HOST6_PORT): (MAPPED4, MAPPED4_PORT) for protocol in ("tcp", "udp", "icmp")
    }
