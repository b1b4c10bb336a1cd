"""Which member a flow goes to: the hash, said a second time in plain integers, and what it is there for."""

from collections import Counter
from math import log2

import pytest

from nat64d.config.words import words
from tests.translator.services import VIP, E, Serving, endpoints, service
from translator.packet.addresses import address4, address6
from translator.packet.tuples import tuple_of
from translator.session.rendezvous import LOG2, distance, member_key, score
from translator.session.services import OPENS, choose
from translator.tables.hashing import hash3
from translator.tables.layout import NONE

FLOWS = 1500


def chosen(nat64: Serving, count: int = FLOWS) -> list[str]:
    """The endpoints that the flows of many clients go to."""
    found = []
    for number in range(count):
        host4, front = address4(0x01020300 + number % 251, 1024 + number), nat64.tables.fronts[0]
        t = tuple_of(4, int(front.protocol), host4, address4(front.address4, front.port))
        bib = choose(nat64.gateway, 0, t, 0, OPENS, False)
        found.append(E(int(nat64.tables.bibs[bib].host6_lo)))
    return found


def web(*numbers: int, **keys: int) -> Serving:
    return Serving(service("web", f"{VIP}:80", endpoints(8080, *numbers, **keys)))


def test_the_logarithm_is_right_to_a_millionth():
    for x in (0, 1, 2, 3, 255, 256, 1000, 0x12345678, 0x3FFFFFFF, 0x40000000, 0x7FFFFFFE):
        assert abs(int(distance(x)) / (1 << 24) + log2((x + 1) / (1 << 31))) < 4e-6
    assert int(distance(0x7FFFFFFF)) == 0
    assert LOG2[0] == 0
    assert LOG2[128] == int(log2(1.5) * (1 << 24))


def test_distance_falls_as_the_score_rises():
    found = [int(distance(x)) for x in range(0, 0x7FFFFFFF, 1_234_567)]
    assert found == sorted(found, reverse=True)


def by_hand(seed, host6, port, client, sport, vip, vport):
    """The score of a member for a TCP flow, from services.md."""
    mask = 0x7FFFFFFF
    key = int(hash3(seed, *words(host6), port))
    flow = int(hash3(seed, client, sport << 32 | vip, vport << 16 | 6))
    x = (flow ^ key) & mask
    x = ((x ^ x >> 15) * 0x2C1B3C6D) & mask
    x = ((x ^ x >> 12) * 0x297A2D39) & mask
    return x ^ x >> 15


def test_the_highest_score_wins():
    from ipaddress import IPv4Address, IPv6Address

    nat64 = web(1, 2, 3, 4, 5)
    for number, endpoint in enumerate(chosen(nat64, 200)):
        ends = (0x01020300 + number % 251, 1024 + number, int(IPv4Address(VIP)), 80)
        scores = {E(one): by_hand(nat64.settings.seed, IPv6Address(E(one)), 8080, *ends) for one in range(1, 6)}
        assert scores[endpoint] == max(scores.values())


def test_score_and_key_have_31_bits():
    nat64 = web(1)
    keys = [int(member_key(nat64.settings.seed, address6(1, 2, port))) for port in range(50)]
    assert all(0 <= int(score(flow, key)) < 1 << 31 for key in keys for flow in (0, 1, 0x7FFFFFFF))


def test_shares_are_equal():
    shares = Counter(chosen(web(1, 2, 3, 4, 5)))
    assert len(shares) == 5
    assert all(0.16 < count / FLOWS < 0.24 for count in shares.values())


@pytest.mark.parametrize("weights", [{"e1": 9}, {"e1": 9, "e2": 3}, {"e1": 1, "e2": 2, "e3": 65535}])
def test_shares_are_those_of_the_weights(weights):
    nat64 = web(1, 2, 3, **weights)
    shares, whole = Counter(chosen(nat64)), sum(weights.get(f"e{one}", 1) for one in (1, 2, 3))
    for one in (1, 2, 3):
        assert abs(shares[E(one)] / FLOWS - weights.get(f"e{one}", 1) / whole) < 0.03


def test_equal_weights_are_as_none():
    assert chosen(web(1, 2, 3, e1=7, e2=7, e3=7), 300) == chosen(web(1, 2, 3), 300)


def test_one_that_goes_moves_only_its_own_flows_and_one_that_comes_takes_a_share():
    few, many = chosen(web(1, 2, 3, 4)), chosen(web(1, 2, 3, 4, 5))
    moved = [after for before, after in zip(few, many, strict=True) if before != after]
    assert set(moved) == {E(5)}
    assert 0.16 < len(moved) / FLOWS < 0.24


def test_another_weight_moves_flows_to_or_from_that_member_only():
    before, after = chosen(web(1, 2, 3, e1=2, e2=3)), chosen(web(1, 2, 3, e1=2, e2=6))
    assert {now for was, now in zip(before, after, strict=True) if was != now} == {E(2)}


def test_the_choice_is_the_same_on_another_gateway_with_another_secret():
    here = web(1, 2, 3)
    other = Serving(service("web", f"{VIP}:80", endpoints(8080, 3, 1, 2)))
    assert chosen(here, 300) == chosen(other, 300)
    assert chosen(
        Serving(service("web", f"{VIP}:80", endpoints(8080, 1, 2, 3)), services={"seed": "b"}), 300
    ) != chosen(here, 300)


def test_there_is_none_without_members():
    nat64 = web()
    t = tuple_of(4, 6, address4(1, 2), address4(3, 4))
    assert choose(nat64.gateway, 0, t, 0, OPENS, False) == NONE
