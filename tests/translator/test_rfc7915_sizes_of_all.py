"""RFC 7915 sections 4 and 5, 4.2 and 5.2, 4.5: sizes of every kind of packet, MTUs that errors tell, and UDP without a
checksum, however a host is mapped."""

from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet, Raw

from tests.case import Nat64, Step
from tests.kinds import FROM_IPV4, FROM_IPV6, MAPPED_BY, Kind, Way
from tests.mapped import ASK
from tests.packets import Icmp, answer4, answer6, cut, fragment_of, payload
from translator.verdict import Verdict


def whole_ones(kinds: dict[str, Kind]) -> Any:
    """Each kind that is neither a fragment nor an error."""
    each = {name: kind for name, kind in kinds.items() if not kind.part and not kind.is_error}
    return pytest.mark.parametrize("kind", each.values(), ids=each)


EACH4, EACH6 = whole_ones(FROM_IPV4), whole_ones(FROM_IPV6)


def up_to(kind: Kind, size: int) -> bytes:
    """What makes it leave with so many octets."""
    return payload(size - len(kind.expect()))


@EACH4
def test_rfc7915_4_a_fragment_header_only_where_it_is_cut(kind: Kind) -> None:
    nat64, small, large = kind.nat64(), up_to(kind, 1280), up_to(kind, 1281)
    for flags in (0, "DF"):
        nat64.check(Step(kind.sent(small, flags=flags), kind.expect(small)))
    nat64.check(Step(kind.sent(large, flags="DF"), kind.expect(large)))
    pieces = [fragment_of(kind.expect(large), at, 1232, 0x8001) for at in (0, 1232)]
    nat64.check(Step(kind.sent(large, id=0x8001), pieces))


@EACH4
def test_rfc7915_4_lowest_ipv6_mtu_of_the_operator(kind: Kind) -> None:
    nat64, small, large = kind.nat64(translation={"lowest_ipv6_mtu": 1400}), up_to(kind, 1400), up_to(kind, 1401)
    nat64.check(Step(kind.sent(small), kind.expect(small)))
    pieces = [fragment_of(kind.expect(large), at, 1352, 0x8001) for at in (0, 1352)]
    nat64.check(Step(kind.sent(large, id=0x8001), pieces))


@EACH4
def test_rfc7915_4_1_with_df_it_is_too_big_for_the_next_mtu(kind: Kind) -> None:
    nat64 = kind.nat64(translation={"mtu6": 1280})
    fits, sent = up_to(kind, 1280), kind.sent(up_to(kind, 1281), flags="DF")
    nat64.check(Step(kind.sent(fits, flags="DF"), kind.expect(fits)))
    nat64.check(Step(sent, verdict=Verdict.TOO_BIG, answer=answer4(sent, 3, 4, 1260)))


@EACH6
def test_rfc7915_5_df_above_1260_octets(kind: Kind) -> None:
    nat64 = kind.nat64()
    for size, flags in ((1260, 0), (1261, "DF")):
        more = up_to(kind, size)
        nat64.check(Step(kind.sent(more), kind.expect(more, flags=flags)))
    atomic = kind._replace(part=(0, 2000))
    nat64.check(Step(atomic.sent(more), atomic.expect(more)))


@EACH6
def test_rfc7915_5_1_it_is_too_big_for_the_next_mtu(kind: Kind) -> None:
    nat64 = kind.nat64(translation={"mtu4": 1300})
    fits, sent = up_to(kind, 1300), kind.sent(up_to(kind, 1301))
    nat64.check(Step(kind.sent(fits), kind.expect(fits, flags="DF")))
    nat64.check(Step(sent, verdict=Verdict.TOO_BIG, answer=answer6(sent, 2, 0, 1320)))
    sent = kind.sent(up_to(kind, 1261))
    kind.nat64(translation={"mtu4": 576}).check(
        Step(sent, verdict=Verdict.TOO_BIG, answer=answer6(sent, 2, 0, 1280)),
    )


EACH_WAY = pytest.mark.parametrize("way", MAPPED_BY.values(), ids=MAPPED_BY)
BODY = UDP(**ASK) / payload(1972)


@EACH_WAY
@pytest.mark.parametrize("body", [BODY, TCP(**ASK) / payload(1960)], ids=["udp", "tcp"])
def test_rfc7915_4_2_mtu_of_too_big_without_state(way: Way, body: Packet) -> None:
    """Of a message that has none, beside those of the next hops, and never below 1280."""
    config, came4, left6, came6, left4 = way
    sent, seen = Raw(cut(left4() / body, 100)), Raw(cut(came6(hlim=63) / body, 120))
    for translation, mtus in (
        ({}, {0: 1512, 576: 1280}),
        ({"mtu6": 1400}, {9000: 1400, 576: 1280}),
        ({"mtu4": 1300}, {9000: 1320, 576: 1280}),
    ):
        nat64 = Nat64(**config, translation=translation)
        for mtu, told in mtus.items():
            nat64.check(Step(came4() / Icmp(type=3, code=4, rest=mtu) / sent, left6() / Icmp(type=2, rest=told) / seen))


@EACH_WAY
def test_rfc7915_5_2_mtu_of_too_big_without_state(way: Way) -> None:
    config, came4, left6, came6, left4 = way
    sent, seen = Raw(cut(left6() / BODY, 100)), Raw(cut(came4(ttl=63, id=0, flags="DF") / BODY, 80))
    for translation, mtu, told in (({}, 0, 1492), ({"mtu4": 1400}, 9000, 1400), ({"mtu6": 1400}, 9000, 1380)):
        nat64 = Nat64(**config, translation=translation)
        nat64.check(Step(came6() / Icmp(type=2, rest=mtu) / sent, left4() / Icmp(type=3, code=4, rest=told) / seen))
    sent, seen = fragment_of(left6() / BODY, 0, 80), fragment_of(came4(ttl=63) / BODY, 0, 80)
    nat64 = Nat64(**config)
    nat64.check(Step(came6() / Icmp(type=2, rest=1400) / sent, left4() / Icmp(type=3, code=4, rest=1372) / seen))


OF_UDP = {name: kind for name, kind in FROM_IPV4.items() if name.startswith("udp_")}


@pytest.mark.parametrize("kind", OF_UDP.values(), ids=OF_UDP)
def test_rfc7915_4_5_udp_without_checksum_as_it_is_configured(kind: Kind) -> None:
    bare = UDP(**ASK, chksum=0) / payload(40)
    gateways = {how: kind.nat64(translation={"udp_zero_checksum": how}) for how in ("drop", "calculate", "forward")}
    sent = kind._replace(body=bare).sent()
    gateways["drop"].check(Step(sent, verdict=Verdict.ZERO_UDP_CHECKSUM))
    gateways["calculate"].check(Step(sent, kind.expect()))
    gateways["forward"].check(Step(sent, kind._replace(as_body=bare).expect()))
    if kind.has_no_sessions:
        first = kind._replace(body=bare, as_body=bare, part=(0, 24))
        gateways["calculate"].check(Step(first.sent(), verdict=Verdict.ZERO_UDP_CHECKSUM))
        gateways["forward"].check(Step(first.sent(), first.expect()))


@EACH_WAY
def test_rfc7915_what_is_silently_dropped_however_a_host_is_mapped(way: Way) -> None:
    """IGMP, an error about an error, and an error with a wrong checksum."""
    config, came4, left6, came6, left4 = way
    nat64, body = Nat64(**config), UDP(**ASK)
    twice4 = came4() / Icmp(type=3, code=1) / left4() / Icmp(type=3, code=1) / came4() / body
    twice6 = came6() / Icmp(type=1) / left6() / Icmp(type=1) / came6() / body
    wrong4 = came4() / Icmp(type=3, code=1, cksum=1) / left4() / body
    wrong6 = came6() / Icmp(type=1, cksum=1) / left6() / body
    nat64.check(Step(came4(proto=2) / payload(8), verdict=Verdict.ICMP_TYPE))
    for sent, verdict in (
        (twice4, Verdict.ERROR_IN_ERROR),
        (twice6, Verdict.ERROR_IN_ERROR),
        (wrong4, Verdict.ICMP_CHECKSUM),
        (wrong6, Verdict.ICMP_CHECKSUM),
    ):
        nat64.check(Step(sent, verdict=verdict))
