"""affinity = "client": a client stays with its endpoint, also when others are added, until that is gone or the client
stays away for `affinity_timeout`."""

from typing import Any

import pytest

from nat64d.offline.engine import Ended
from tests.case import BEGIN, Nat64, Sent
from tests.translator.services import VIP, WEB, E, Serving, endpoints, service
from tests.translator.test_services_kept import reload, restart
from translator.session.affinity import OFTEN, ONCE, WAYS, find_held, first_way, hold, restore_affinities
from translator.tables.layout import AFFINITY, NONE, records
from translator.tables.tables import SESSIONS_OF_CLIENT

NOW = round(BEGIN * 1000)
STICKY = WEB | {"affinity": "client", "affinity_timeout": 300}
CLIENTS = [f"198.51.100.{number}" for number in range(1, 31)]
MANY = range(1, 9)


def web(*numbers: int, **keys: Any) -> list[dict[str, Any]]:
    """The service with these endpoints, or with weights e1= … of them."""
    weights = {key: keys.pop(key) for key in list(keys) if key[0] == "e"}
    return [STICKY | {"endpoints": endpoints(8080, *numbers, **weights)} | keys]


def places(nat64: Serving, sport: int, at: float = 0.0, flags: str = "S") -> list[str]:
    """Where a new flow of each client goes."""
    return [nat64.client(sport, flags, at, src=client) for client in CLIENTS]


ROOM = {"limits": {"sessions": 1024}}


class Many(Serving):
    """Not checked after each of so many packets."""

    def send(self, packet: Sent, at: float = 0.0, damaged: bool = False) -> Ended:
        return Nat64.send(self, packet, at, damaged)


def serving(*services: dict[str, Any]) -> Many:
    return Many(*services, **ROOM)


def grown(over: Any, nat64: Serving, *services: dict[str, Any]) -> None:
    """The gateway after a reload or restart with other services."""
    over(nat64, service=list(services), **ROOM)


@pytest.mark.parametrize("over", [reload, restart])
def test_clients_stay_when_endpoints_are_added_and_new_ones_go_to_all(over):
    nat64 = serving(*web(1, 2, 3))
    before = places(nat64, 7)
    grown(over, nat64, *web(*MANY))
    assert places(nat64, 8) == before
    assert places(nat64, 9, flags="A") == before  # of a connection whose session is lost
    assert nat64.client(9, "R", src=CLIENTS[0]) == before[0]
    others = [nat64.client(7, src=f"198.51.100.{number}") for number in range(60, 100)]
    assert set(others) == {E(number) for number in MANY}


def test_a_gateway_that_does_not_know_them_goes_by_the_hash():
    here = serving(*web(*MANY))
    assert places(here, 7) == places(serving(*web(*MANY)), 99)
    assert places(here, 7) != places(serving(*web(1, 2, 3)), 7)


def test_a_client_that_stays_away_too_long_goes_by_the_hash():
    nat64 = serving(*web(1, 2, 3))
    before, hashed = places(nat64, 7), places(serving(*web(*MANY)), 7)
    grown(reload, nat64, *web(*MANY))
    nat64.expire(BEGIN + 290)
    assert nat64.client(8, at=299, src=CLIENTS[0]) == before[0]  # counted anew from here
    found = places(nat64, 9, at=300)
    assert (found[0], found[1:]) == (before[0], hashed[1:])
    assert places(nat64, 10, at=598.9)[0] == before[0]


def test_a_shorter_timeout_ends_what_would_have_lasted_longer():
    nat64 = serving(*web(1, 2, 3))
    places(nat64, 7)
    grown(reload, nat64, *web(*MANY, affinity_timeout=100))
    assert places(nat64, 8) == places(serving(*web(*MANY)), 7)


@pytest.mark.parametrize("over", [reload, restart])
def test_one_whose_endpoint_is_gone_goes_to_another_and_stays_there(over):
    nat64 = serving(*web(1, 2, 3))
    before = places(nat64, 7)
    grown(over, nat64, *web(2, 3))
    later = places(nat64, 8)
    assert {there for there, was in zip(later, before, strict=True) if was == E(1)} == {E(2), E(3)}
    assert all(there == was for there, was in zip(later, before, strict=True) if was != E(1))
    grown(over, nat64, *web(*MANY))
    assert places(nat64, 9) == later


def test_one_whose_endpoint_is_drained_goes_to_another_but_for_what_it_has_open():
    nat64 = serving(*web(1, 2, 3))
    before = places(nat64, 7)
    nat64.tables.members.weight[0] = 0
    assert places(nat64, 8, flags="A") == before
    assert E(1) not in places(nat64, 9)
    nat64.tables.members.weight[0] = -1
    assert E(1) not in places(nat64, 10, flags="A")


def test_another_worker_may_have_looked_at_the_clock_a_little_earlier():
    nat64 = serving(*web(1, 2, 3))
    before = places(nat64, 7, at=0.5)
    grown(reload, nat64, *web(*MANY))
    assert places(nat64, 8, at=0.4) == before


def test_services_do_not_share_clients_but_protocols_of_one_do():
    both = service("both", f"{VIP}:53", endpoints(53, *MANY), ["tcp", "udp"], affinity="client")
    nat64 = serving(both, *web(*MANY))
    assert {nat64.datagram(7, src=client) == nat64.client(7, src=client) for client in CLIENTS} == {True, False}
    few = service("both", f"{VIP}:53", endpoints(53, 1, 2), ["tcp", "udp"], affinity="client")
    nat64 = serving(few, *web(*MANY))
    before = [nat64.datagram(7, src=client) for client in CLIENTS]
    grown(reload, nat64, both, *web(*MANY))
    assert [nat64.datagram(8, src=client) for client in CLIENTS] == before
    rows = nat64.tables.affinities
    rows = rows[rows.live != 0]
    assert len(set(zip(rows.service.tolist(), rows.client.tolist(), strict=True))) == len(rows) == len(CLIENTS) + 1


def test_a_flow_that_has_to_go_elsewhere_does_not_move_its_client():
    other = service("other", "203.0.113.81:80", endpoints(8080, 1, 2, 3))
    nat64 = serving(*web(1, 2, 3), other)
    home = nat64.client(7)
    clash = next(port for port in range(100, 200) if nat64.client(port, vip="203.0.113.81") == home)
    assert nat64.client(clash) != home
    assert nat64.client(201) == home


def test_without_affinity_nobody_is_noted_and_in_a_crowded_table_nobody_new():
    nat64 = Serving()
    nat64.client()
    assert not nat64.tables.affinities.live.any()
    nat64 = Serving(*web(1, 2, 3), limits={"sessions": 64})
    for client in CLIENTS:
        nat64.client(src=client)
    assert len(nat64.rows()) == 16
    assert 10 < (nat64.tables.affinities.live != 0).sum() <= 16
    noted = {int(client) for client in nat64.tables.affinities.client}
    assert noted <= {0, *range(0xC6336401, 0xC6336411)}


# ---- a full table


def full(nat64: Serving, live: int = OFTEN) -> int:
    """All rows that CLIENTS[0] may have are those of others, the fourth for the shortest time; the first of them."""
    front = nat64.tables.fronts[0]
    first = int(first_way(nat64.gateway, front.affinity, 0xC6336401))
    rows = nat64.tables.affinities[first : first + WAYS]
    rows.service[:], rows.client[:], rows.key[:] = front.affinity, range(WAYS), 1
    rows.live[:], rows.expires[:] = live, NOW + 9000
    rows.expires[3] -= 1
    return first


def test_there_is_a_row_for_every_eighth_session_and_each_client_has_a_few():
    nat64 = Serving(*web(1), limits={"sessions": 4096})
    assert len(nat64.tables.affinities) == 4096 // SESSIONS_OF_CLIENT
    found = {int(first_way(nat64.gateway, 5, client)) for client in range(2000)}
    assert found == set(range(0, 512, WAYS))


def test_where_all_rows_are_those_of_others_only_the_hash_counts():
    nat64 = Serving(*web(1, 2, 3))
    first = full(nat64)
    before = nat64.tables.affinities.copy()
    there = nat64.client(7, src=CLIENTS[0])
    assert there == Serving(*web(1, 2, 3)).client(7, src=CLIENTS[0])
    assert (nat64.tables.affinities == before).all()
    nat64.tables.affinities[first + 5].expires = NOW
    nat64.client(8, src=CLIENTS[0])
    assert nat64.tables.affinities[first + 5].client == 0xC6336401


def test_the_one_who_came_once_and_longest_ago_gives_way():
    nat64 = Serving(*web(1, 2, 3))
    first = full(nat64, ONCE)
    nat64.client(7, src=CLIENTS[0])
    row = nat64.tables.affinities[first + 3]
    assert (int(row.client), int(row.live)) == (0xC6336401, ONCE)
    nat64.client(8, src=CLIENTS[0])
    assert row.live == OFTEN


def test_rows_of_a_damaged_file_are_no_more_than_wrong():
    nat64 = Serving(*web(1, 2, 3))
    kept = records(6, AFFINITY)
    kept.live[:], kept.service[:], kept.client[:] = (1, 2, 3, -1, 1, 1), -(1 << 62), (0, 1, 2, 3, 4, 1)
    kept.expires[:] = NOW, NOW + 50, NOW + 50, NOW + 50, 1 << 62, NOW + 50
    restore_affinities(nat64.gateway, NOW, kept)
    rows = nat64.tables.affinities
    assert sorted(rows.client[rows.live != 0].tolist()) == [1, 4]


def test_what_does_not_find_room_is_not_taken_over():
    nat64 = Serving(*web(1, 2, 3))
    first = full(nat64)
    kept = nat64.tables.affinities[first : first + 1].copy()
    kept.client[:] = 0xC6336401
    restore_affinities(nat64.gateway, NOW, kept)
    assert find_held(nat64.gateway, NOW, 0, nat64_client(), True) == NONE
    hold(nat64.gateway, NOW, 0, nat64_client(), 0)
    assert find_held(nat64.gateway, NOW, 0, nat64_client(), True) == NONE


def nat64_client() -> Any:
    from translator.packet.addresses import address4

    return address4(0xC6336401, 7)
