"""The rate of a client: it holds for all processes together, in bounded memory, and is shared by its addresses."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from random import Random

import pytest

from nat64d.dns64.clients.accounts import Account, account
from nat64d.dns64.clients.rates import OCTETS, ROWS, WAYS, Rates, shared_memory

pytestmark = pytest.mark.no_cover  # much computing, of code that others measure

V4, NEIGHBOUR = account("192.0.2.1"), "2001:db8::2"


@pytest.fixture
def memory() -> Iterator[int]:
    """Memory as the processes share it."""
    descriptor = shared_memory()
    yield descriptor
    os.close(descriptor)


def allowed(rates: Rates, sources: dict[Callable[[], str], int], seconds: int = 10) -> list[int]:
    """How many queries of each source are allowed; a source makes addresses, and asks so many times a second."""
    events = [
        ((count + 0.5) / rate, number, made)
        for number, (made, rate) in enumerate(sources.items())
        for count in range(rate * seconds)
    ]
    found: Counter[int] = Counter()
    for at, number, made in sorted(events, key=lambda event: event[:2]):
        found[number] += rates.allows(account(made()), at)
    return [found[number] for number in range(len(sources))]


def always(address: str) -> Callable[[], str]:
    return lambda: address


@pytest.mark.parametrize("client", ["192.0.2.1", "2001:db8::1"])
def test_a_client_that_is_alone_is_allowed_its_rate_and_no_more(client: str) -> None:
    one = Rates(100)
    count = sum(one.allows(account(client), number / 1000) for number in range(10_000))
    assert abs(count - (100 + 9.999 * 100)) < 1
    assert sum(one.allows(account(client), 100.0) for _ in range(1000)) == 100


def test_a_neighbour_in_the_same_64_is_answered_while_one_floods() -> None:
    flood, neighbour = allowed(Rates(1000), {always("2001:db8::1"): 5000, always(NEIGHBOUR): 25})
    assert neighbour == 250
    assert 1000 * 10 - 250 <= flood <= 1000 * 11 - 240, "nothing of the rate is left unused"


def test_thirty_that_flood_get_equal_parts_and_the_neighbour_is_answered() -> None:
    sources = {always(f"2001:db8::f:{host}"): 500 for host in range(30)}
    *floods, neighbour = allowed(Rates(1000), {**sources, always(NEIGHBOUR): 25})
    assert neighbour == 250
    assert max(floods) < 1.3 * min(floods)
    assert sum(floods) + neighbour >= 1000 * 10


def test_who_asks_less_than_its_part_is_allowed_all_of_it() -> None:
    sources = {always(f"2001:db8::{host}"): rate for host, rate in ((1, 900), (2, 900), (3, 300), (4, 100))}
    first, second, third, fourth = allowed(Rates(1000), sources)
    assert third >= 0.99 * 3000
    assert fourth == 1000
    assert abs(first - second) < 100


def test_invented_addresses_in_a_64_do_not_push_out_those_in_use() -> None:
    random = Random(7)
    flood, neighbour = allowed(
        Rates(1000),
        {lambda: str(IPv6Address(0x20010DB8 << 96 | random.getrandbits(64))): 5000, always(NEIGHBOUR): 25},
    )
    assert neighbour >= 0.99 * 250
    assert flood > 1000


def test_what_udp_uses_up_leaves_tcp_alone() -> None:
    """The source address of UDP may be forged."""
    one = Rates(10)
    assert sum(one.allows(account(NEIGHBOUR), 0.0) for _ in range(100)) == 10
    assert sum(one.allows(account(NEIGHBOUR, tcp=True), 0.0) for _ in range(100)) == 10


def test_processes_that_map_the_same_memory_count_together(memory: int) -> None:
    some = [Rates(100, memory) for _ in range(3)]
    assert sum(some[number % 3].allows(V4, 7.0) for number in range(300)) == 100
    assert not some[1].allows(V4, 7.0)
    assert some[1].allows(account("192.0.2.2"), 7.0)
    assert some[2].allows(V4, 7.011)


def test_the_addresses_of_a_64_count_together_and_those_of_another_apart(memory: int) -> None:
    one, other = Rates(1, memory), Rates(1, memory)
    assert one.allows(account("2001:db8::1"), 0.0)
    assert not other.allows(account("2001:db8::ffff:2"), 0.0)
    assert other.allows(account("2001:db8:0:1::1"), 0.0)
    assert one.allows(account("fe80::1%eth0"), 0.0)
    assert not one.allows(account("fe80::2%eth1"), 0.0)


def test_where_there_is_no_place_the_row_that_was_used_first_gives_way() -> None:
    one = Rates(1)

    def first_of(client: Account) -> int:
        return one._row(one._tags, one._at, client.subscriber)[0] // WAYS

    clients = [account(f"198.51.{number >> 8}.{number & 255}") for number in range(1 << 16)]
    clients = [client for client in clients if first_of(client) == first_of(V4)][: WAYS + 1]
    assert len(clients) == WAYS + 1
    for number, client in enumerate(clients):
        assert one.allows(client, number / 10)
    assert one.allows(clients[0], WAYS / 10), "forgotten, so it has its whole rate again"
    for client in clients[2:]:
        assert not one.allows(client, WAYS / 10)


def test_memory_is_the_same_however_many_clients_there_are(memory: int) -> None:
    one = Rates(1, memory)
    for number in range(4 * ROWS):
        assert one.allows(account(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), 5.0)
    assert sum(tag != 0 for tag in one._tags) > 0.99 * ROWS
    assert sum(mark != 0 for mark in one._marks) > 0.99 * ROWS
    assert os.fstat(memory).st_size == OCTETS < 600_000
    assert len(one._known) <= ROWS


def test_places_depend_on_a_key_that_is_made_anew() -> None:
    memories = [shared_memory(), shared_memory()]
    some = [Rates(1, each) for each in memories]
    assert len({one._row(one._tags, one._at, V4.subscriber) for one in some}) == 2
    for each in memories:
        os.close(each)


def test_without_a_rate_nothing_is_remembered() -> None:
    one = Rates(0)
    assert all(one.allows(V4, 0.0) for _ in range(1000))
    assert not any(one._tags)


def test_an_address_is_known_from_its_second_query_on_until_many_others_have_come() -> None:
    rates, one = Rates(1000), account(NEIGHBOUR)

    def known(at: float) -> bool:
        return rates.turn_of(one, at) == one

    assert [known(at) for at in (0.0, 0.1, 0.2)] == [False, True, True]
    for number in range(10 * ROWS):
        rates.allows(account(f"2001:db8:0:{number % 100:x}::{number >> 8:x}:{number & 255:x}"), 1 + number / ROWS)
    assert [known(at) for at in (20.0, 20.1)] == [False, True]


def test_without_a_rate_nobody_is_unknown() -> None:
    assert Rates(0).turn_of(V4, 0.0) == V4
