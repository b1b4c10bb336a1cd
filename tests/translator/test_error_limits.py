"""RFC 4443 section 2.4 (f), RFC 1812 section 4.3.2.8: whoever causes many ICMP errors silences nobody else's."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Packet

from tests.case import Nat64
from tests.packets import FROM_HOST6, HOST4, HOST4_IN6, HOST6, TO_MAPPED, from4, from6, payload
from translator.packet.addresses import address4, address6
from translator.packet.error_limits import OTHERS, REKEYED, TOO_BIG, bucket_of, take_token
from translator.tables.gateway import RECEIVERS, Gateway, new_worker
from translator.verdict import Verdict

EACH_WAY = pytest.mark.parametrize("family", [6, 4], ids=["6to4", "4to6"])
BIG = payload(1450)


def small_links(**limits: int) -> Nat64:
    """A gateway whose links take 1400 octets."""
    return Nat64(translation={"mtu4": 1400, "mtu6": 1400}, limits={"sessions": 4096, **limits})


def nth(family: int, n: int) -> str:
    """An address of the nth prefix of its family; prefix 0 is HOST6's and HOST4's."""
    if family == 6:
        return str(IPv6Address(int(IPv6Address(HOST6)) + (n << 64)))
    return str(IPv4Address(int(IPv4Address(HOST4)) + (n << 8)))


def late(family: int, n: int) -> Packet:
    """A packet whose hop limit ends here."""
    if family == 6:
        return from6(src=nth(6, n), dst=HOST4_IN6, hlim=1) / UDP(**FROM_HOST6)
    return from4(src=nth(4, n), ttl=1) / UDP(**TO_MAPPED)


def too_big(family: int, n: int) -> Packet:
    if family == 6:
        return from6(src=nth(6, n), dst=HOST4_IN6) / UDP(**FROM_HOST6) / BIG
    return from4(src=nth(4, n), flags="DF") / UDP(**TO_MAPPED) / BIG


def told(nat64: Nat64, sent: Packet, at: float, verdict: Verdict) -> bool:
    outcome = nat64.send(sent, at)
    assert outcome.verdict == verdict
    return outcome.answer is not None


def under_flood(
    each: int, flood: Callable[[int, float], bool], victim: Callable[[int, float], bool]
) -> tuple[int, int]:
    """100 others send one packet each within a second, and a flood has `each` between two of them: how many are
    answered, of the flood and of the others."""
    flooder = victims = 0
    for n in range(100):
        for k in range(each):
            flooder += flood(n * each + k, n / 100)
        victims += victim(1 + n, n / 100)
    return flooder, victims


@EACH_WAY
def test_a_host_whose_packets_end_here_keeps_no_packet_too_big_from_others(family: int) -> None:
    nat64 = small_links()
    flooder, others = under_flood(
        10,
        lambda _, at: told(nat64, late(family, 0), at, Verdict.HOP_LIMIT_EXPIRED),
        lambda n, at: told(nat64, too_big(family, n), at, Verdict.TOO_BIG),
    )
    assert (flooder, others) == (19, 100)
    assert nat64.events()["ANSWER_LIMITED"] == 1000 - 19
    assert "TOO_BIG_LIMITED" not in nat64.events()


@EACH_WAY
def test_nor_does_one_whose_packets_are_too_big(family: int) -> None:
    nat64 = small_links()
    flooder, others = under_flood(
        3,
        lambda _, at: told(nat64, too_big(family, 0), at, Verdict.TOO_BIG),
        lambda n, at: told(nat64, too_big(family, n), at, Verdict.TOO_BIG),
    )
    assert (flooder, others) == (199, 100)
    assert nat64.events()["TOO_BIG_LIMITED"] == 300 - 199
    assert "ANSWER_LIMITED" not in nat64.events()


@EACH_WAY
def test_nor_does_it_keep_errors_of_its_own_kind_from_others(family: int) -> None:
    nat64 = small_links()
    _, others = under_flood(
        3,
        lambda _, at: told(nat64, late(family, 0), at, Verdict.HOP_LIMIT_EXPIRED),
        lambda n, at: told(nat64, late(family, n), at, Verdict.HOP_LIMIT_EXPIRED),
    )
    assert others == 100


@EACH_WAY
def test_many_hosts_together_use_up_no_packet_too_big_of_others(family: int) -> None:
    """Forged sources, each of another prefix: the whole of their kind is theirs, and nothing else."""
    nat64 = small_links()
    flooders, others = under_flood(
        3,
        lambda k, at: told(nat64, late(family, 200 + k), at, Verdict.HOP_LIMIT_EXPIRED),
        lambda n, at: told(nat64, too_big(family, n), at, Verdict.TOO_BIG),
    )
    assert others == 100
    assert 100 <= flooders <= 200


@EACH_WAY
def test_all_of_a_prefix_are_one_receiver(family: int) -> None:
    nat64 = small_links()
    neighbours = [late(family, 0) for _ in range(2)]
    neighbours[1].src = "2001:db8:1::ffff" if family == 6 else "198.51.100.250"
    answers = [told(nat64, neighbours[k % 2], 0, Verdict.HOP_LIMIT_EXPIRED) for k in range(12)]
    assert answers == [True] * 10 + [False] * 2
    assert told(nat64, late(family, 1), 0, Verdict.HOP_LIMIT_EXPIRED)


@EACH_WAY
@pytest.mark.parametrize(("rate", "to_one", "in_all"), [(1, 1, 1), (2, 2, 2), (5, 3, 5), (30, 3, 30), (100, 10, 100)])
def test_a_receiver_gets_a_tenth_and_no_less_than_a_traceroute_needs(
    family: int, rate: int, to_one: int, in_all: int
) -> None:
    nat64 = small_links(icmp_errors_per_second=rate)
    assert sum(told(nat64, late(family, 0), 0, Verdict.HOP_LIMIT_EXPIRED) for _ in range(20)) == to_one
    others = sum(told(nat64, late(family, n), 0, Verdict.HOP_LIMIT_EXPIRED) for n in range(1, 2 * rate + 2))
    assert others == in_all - to_one


@EACH_WAY
def test_a_rate_of_0_is_no_packet_too_big_either(family: int) -> None:
    nat64 = small_links(icmp_errors_per_second=0)
    assert not told(nat64, too_big(family, 0), 0, Verdict.TOO_BIG)
    assert nat64.events()["TOO_BIG_LIMITED"] == 1


def test_workers_share_the_rates() -> None:
    """Each has its part; a worker that has none by division sends one a second."""
    nat64 = small_links(icmp_errors_per_second=100)
    for queues, others, big in ((4, 25, 250), (1000, 1, 1)):
        gateway = Gateway(replace(nat64.settings, queues=queues), nat64.tables, new_worker(0))
        for kind, most in ((OTHERS, others), (TOO_BIG, big)):
            taken = sum(take_token(gateway, 10**6, 4, address4(n << 8, 0), kind) for n in range(2 * most))
            assert taken == most


def test_what_the_whole_refuses_costs_its_receiver_nothing() -> None:
    nat64 = small_links(icmp_errors_per_second=3)
    gateway = nat64.gateway
    assert all(take_token(gateway, 10**6, 6, address6(1, 0, 0), OTHERS) for _ in range(3))
    for _ in range(9):
        assert not take_token(gateway, 10**6, 6, address6(2, 0, 0), OTHERS)
    assert [take_token(gateway, 10**6 + 1000, 6, address6(2, 0, 0), OTHERS) for _ in range(4)] == [True] * 3 + [False]


def test_whose_bucket_is_shared_is_chance_and_anew_every_minute() -> None:
    """One prefix in 4096 has the bucket of a flooder; a minute later it is another one."""
    nat64 = small_links()
    now, secret = 10**9, nat64.settings.secret
    his = bucket_of(secret, now, 6, address6(0, 0, 0), OTHERS)
    others = [n for n in range(1, 10 * RECEIVERS) if bucket_of(secret, now, 6, address6(n, 0, 0), OTHERS) == his]
    assert 1 <= len(others) <= 30
    victim, later = address6(others[0], 0, 0), now + REKEYED
    for _ in range(10):
        assert take_token(nat64.gateway, now, 6, address6(0, 0, 0), OTHERS)
    assert not take_token(nat64.gateway, now, 6, victim, OTHERS)
    assert bucket_of(secret, later, 6, victim, OTHERS) != bucket_of(secret, later, 6, address6(0, 0, 0), OTHERS)
    for kind, family in ((TOO_BIG, 6), (OTHERS, 4), (TOO_BIG, 4)):
        assert bucket_of(secret, now, family, address6(0, 0, 0), kind) != his
