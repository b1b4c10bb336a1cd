"""Services that change while packets pass (session/members.py): what becomes of flows, and of members that go."""

from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from nat64d.config.fronts import NoRoomError, change_fronts, fronts_of, given_weight, numbers_of
from tests import invariants
from tests.case import BEGIN
from tests.packets import whole
from tests.translator.services import (
    DNS,
    NOBODY,
    OTHER_VIP,
    SHARED,
    VIP,
    WEB,
    E,
    Serving,
    endpoints,
    service,
    tcp4,
    tcp6,
    udp4,
    udp6,
)
from translator.session import members
from translator.tables.layout import LEAVING, NONE
from translator.verdict import Verdict

PORTS = range(1, 21)


def web(*numbers: int, **keys: Any) -> dict[str, Any]:
    return service("web", f"{VIP}:80", endpoints(8080, *numbers), **keys)


def dns(*numbers: int, **keys: Any) -> dict[str, Any]:
    return service("dns", f"{VIP}:53", endpoints(53, *numbers), "udp", **keys)


def busy(*services: dict[str, Any], **changes: Any) -> tuple[Serving, dict[int, str]]:
    """A gateway where ten clients have a connection each; where they have it."""
    nat64 = Serving(*(services or (WEB, DNS)), **changes)
    there = {port: nat64.client(port) for port in PORTS[:10]}
    for port, endpoint in there.items():
        nat64.answer(endpoint, port)
    return nat64, there


def leaving(nat64: Serving) -> int:
    return int((nat64.tables.bibs.live == LEAVING).sum())


# ---- members


def test_who_comes_gets_new_flows_and_none_that_there_are():
    nat64, there = busy()
    nat64.change(web(1, 2, 3, 4, 5, 6), DNS)
    assert {port: nat64.client(port, "A") for port in there} == there
    assert {nat64.client(port) for port in range(30, 45)} >= {E(4), E(5), E(6)}


def test_who_goes_keeps_connections_until_the_last_has_ended():
    nat64, there = busy()
    nat64.change(web(2, 3), DNS)
    assert {port: nat64.client(port, "A") for port in there} == there
    assert E(1) in there.values()
    assert leaving(nat64) == 1
    assert E(1) not in {nat64.client(port) for port in range(30, 45)}
    for port, endpoint in there.items():
        if endpoint == E(1):
            assert nat64.answer(E(1), port, "FA", 1.0)[IP].src == VIP
            nat64.client(port, "FA", 1.0)
    nat64.client(99, at=1000.0)
    assert (leaving(nat64), E(1) in {row[0] for row in nat64.rows()}) == (0, False)


def test_who_comes_back_has_its_connections_still():
    nat64, there = busy()
    bibs = nat64.tables.bibs.copy()
    nat64.change(web(2, 3), DNS)
    nat64.change(web(1, 2, 3), DNS)
    assert leaving(nat64) == 0
    assert (nat64.tables.bibs == bibs).all()
    assert {port: nat64.client(port) for port in there} == there


def test_who_had_no_session_is_gone_at_once():
    nat64 = Serving(WEB, DNS)
    nat64.change(web(4), DNS)
    assert int((nat64.tables.bibs.static == 2)[: len(nat64.tables.members)].sum()) >= 4
    assert int((nat64.tables.bibs.live != 0).sum()) == 1 + 3
    assert nat64.client() == E(4)


def test_of_a_service_that_is_gone_connections_go_on():
    nat64, there = busy()
    nat64.change(DNS)
    assert {port: nat64.client(port, "A") for port in there} == there
    assert nat64.send(tcp4(50, 80)).verdict == Verdict.CLOSED_PORT
    nat64.change(WEB, DNS)
    assert leaving(nat64) == 0
    assert {nat64.client(port) for port in range(30, 45)} == {E(1), E(2), E(3)}


def test_datagrams_of_who_goes_go_elsewhere_at_once():
    nat64 = Serving(WEB, DNS)
    there = {port: nat64.datagram(port) for port in PORTS}
    nat64.change(WEB, dns(2, 3))
    assert leaving(nat64) == 0
    now = {port: nat64.datagram(port) for port in PORTS}
    assert all(now[port] == there[port] for port in PORTS if there[port] != E(1))
    assert set(now.values()) == {E(2), E(3)} < set(there.values())


@pytest.mark.parametrize(("left", "verdict"), [([dns()], Verdict.NO_ENDPOINT), ([], Verdict.CLOSED_PORT)])
def test_datagrams_are_refused_when_the_last_endpoint_or_the_service_is_gone(left, verdict):
    nat64 = Serving(WEB, DNS)
    nat64.datagram()
    nat64.change(WEB, *left)
    assert nat64.rows() == []
    assert nat64.send(udp4(7, 53)).verdict == verdict


def test_an_answer_of_who_is_gone_without_session_is_its_own():
    nat64 = Serving(WEB)
    assert nat64.send(tcp6(E(1), 8080, 7, "A")).verdict == Verdict.TRANSLATED
    nat64.change(web(2, 3))
    assert nat64.send(tcp6(E(1), 8080, 7, "A")).verdict != Verdict.TRANSLATED


# ---- reset


def test_connections_of_who_goes_are_reset_where_that_is_wanted():
    nat64, there = busy()
    nat64.change(web(2, 3), DNS, services={"endpoint_gone": "reset"})
    for port, endpoint in there.items():
        outcome = nat64.send(tcp4(port, 80, "A"))
        if endpoint == E(1):
            reset = whole(outcome.answer)
            assert (outcome.verdict, reset[IP].src, reset[TCP].flags) == (Verdict.LOST_SESSION, VIP, "R")
            assert nat64.client(port, "S") in {E(2), E(3)}
        else:
            assert outcome.verdict == Verdict.TRANSLATED
    assert leaving(nat64) == 0


def test_a_client_that_begins_anew_has_another_endpoint_at_once():
    nat64, there = busy()
    nat64.change(web(2, 3), DNS, services={"endpoint_gone": "reset"})
    again = {port: nat64.client(port) for port, endpoint in there.items() if endpoint == E(1)}
    assert set(again.values()) <= {E(2), E(3)}
    assert (len(again) > 0, leaving(nat64)) == (True, 0)


def test_no_reset_answers_a_reset_and_the_endpoint_may_still_answer():
    nat64, there = busy()
    nat64.change(web(2, 3), DNS, services={"endpoint_gone": "reset"})
    port = next(port for port, endpoint in there.items() if endpoint == E(1))
    assert nat64.answer(E(1), port, "A")[IP].src == VIP
    assert nat64.reached(tcp4(port, 80, "RA")) == E(1)


# ---- sources, weights, affinity, names


def test_new_sources_end_the_sessions_they_exclude():
    nat64, there = busy()
    nat64.datagram()
    other = nat64.client(5, src="192.0.2.9")
    nat64.change(web(2, 3, sources=["192.0.2.0/24"]), DNS)
    assert {row[1] for row in nat64.rows(6)} == {"192.0.2.9"}
    assert nat64.client(5, "A", src="192.0.2.9") == other
    assert nat64.send(tcp4(1, 80, "A")).verdict == Verdict.SOURCE_RANGE
    assert len(nat64.rows(17)) == 1
    nat64.change(web(2, 3), DNS)
    assert nat64.client(50) in {E(2), E(3)}
    assert there


def test_the_same_sources_again_end_nothing():
    nat64, there = busy(web(1, 2, 3, sources=["198.51.100.0/24"]))
    nat64.change(web(2, 3, sources=["198.51.100.0/24"]))
    assert {port: nat64.client(port, "A") for port in there} == there


def test_weights_and_affinity_hold_for_new_flows():
    nat64, there = busy()
    nat64.change(service("web", f"{VIP}:80", endpoints(8080, 1, 2, 3, e2=0, e3=0)), DNS)
    assert {nat64.client(port) for port in range(30, 40)} == {E(1)}
    nat64.change(WEB | {"affinity": "client"}, DNS)
    assert len({nat64.client(port) for port in range(40, 50)}) == 1
    assert {port: nat64.client(port, "A") for port in there} == there
    nat64.change(WEB | {"name": "shop"}, DNS)
    (number,) = (n for key, n in numbers_of(nat64.tables).items() if key[0] == 6)
    assert bytes(nat64.tables.names[nat64.tables.fronts[number].service]).rstrip(b"\0") == b"shop"


def test_a_hash_chooses_the_same_whatever_the_history():
    nat64, fresh = Serving(web(4, 9), DNS, NOBODY), Serving(WEB)
    nat64.change(web(5, 3), NOBODY)
    nat64.change(dns(1), WEB)
    assert [nat64.client(port) for port in PORTS] == [fresh.client(port) for port in PORTS]


# ---- an endpoint of two services, and one with an [[eam]]


def test_an_endpoint_of_two_services_is_one_of_the_other_then():
    both = service("other", f"{OTHER_VIP}:80", endpoints(8080, 1))
    nat64 = Serving(WEB, both)
    assert nat64.send(tcp6(E(1), 8080, 7, "A")).verdict != Verdict.TRANSLATED
    nat64.change(WEB)
    assert whole(nat64.send(tcp6(E(1), 8080, 7, "A")).packets[0])[IP].src == VIP
    nat64.change(both)
    assert whole(nat64.send(tcp6(E(1), 8080, 7, "A")).packets[0])[IP].src == OTHER_VIP


def test_an_endpoint_with_an_eam_answers_as_the_service_as_long_as_a_session_has_it():
    eam = [{"ipv4": "203.0.113.99", "ipv6": E(1)}]
    nat64 = Serving(web(1), DNS, eam=eam)
    nat64.client(7)
    nat64.change(DNS, eam=eam)
    assert nat64.answer(E(1), 7)[IP].src == VIP
    nat64.change(DNS | {"endpoints": endpoints(53, 2)}, eam=eam)
    assert whole(nat64.send(udp6(E(1), 8080, 9)).packets[0])[IP].src == "203.0.113.99"


# ---- room


def test_many_sessions_are_looked_at_a_slice_at_a_time(monkeypatch):
    calls = []
    original = members.review_sessions
    nat64 = Serving(dns(1), limits={"sessions": 4096, "service_members": 64})
    for port in range(600):
        nat64.translate(bytes(udp4(1 + port, 53)), round(BEGIN * 1000))
    monkeypatch.setattr(members, "review_sessions", lambda *given: calls.append(given) or original(*given))
    count = len(nat64.rows(17))
    assert count > 2 * members.WALK
    nat64.change(dns(2), limits={"sessions": 4096, "service_members": 64})
    assert (nat64.rows(17), len(calls)) == ([], -(-count // members.WALK))


def test_a_walk_begins_again_where_its_place_is_gone():
    nat64, _ = busy(web(1))
    nat64.change(DNS)
    bib = int(np.flatnonzero(nat64.tables.bibs.live == LEAVING)[0])
    for session in (0, len(nat64.tables.sessions) - 1):
        nat64.tables.sessions[session].bib = bib if session else 1
        last = members.review_sessions(nat64.gateway, round(BEGIN * 1000), bib, session, NONE, members.KEEP)
        nat64.tables.sessions[0].bib = bib
        assert last == NONE
    invariants.check(nat64.tables, nat64.settings)


def wanted(nat64: Serving, *services: dict[str, Any]) -> Any:
    config = Serving(*services, limits={"service_members": 1000}).config
    return fronts_of(config, given_weight)


@pytest.mark.parametrize(
    "services",
    [
        [web(*range(1, 129))],
        [web(*range(1, 66)), service("shop", f"{SHARED}:80", endpoints(8080, *range(1, 65)))],
        [WEB | {"sources": [f"10.{number}.0.0/16" for number in range(0, 256, 2)]}, dns(sources=["10.0.0.0/8"])],
        [service("web", f"{VIP}:{port}", []) | {"name": str(port)} for port in range(200, 270)],
    ],
    ids=["members", "lists", "sources", "fronts"],
)
def test_what_there_is_no_room_for_changes_nothing(services):
    nat64, there = busy()
    before = {name: getattr(nat64.tables, name).copy() for name in ("bibs", "members", "fronts", "sources", "free")}
    with pytest.raises(NoRoomError):
        change_fronts(members, nat64.gateway, 0, wanted(nat64, *services))
    assert all((getattr(nat64.tables, name) == array).all() for name, array in before.items())
    assert {port: nat64.client(port, "A") for port in there} == there


def test_room_is_used_again():
    nat64 = Serving(WEB)
    for turn in range(1, 40):
        nat64.change(web(*range(turn, turn + 1 + turn % 60)), DNS, service(f"s{turn}", f"{VIP}:{100 + turn}", []))
    assert nat64.tables.members["front"].max() < 64


def test_members_that_there_is_no_room_for_are_not_entered():
    """That is found out before (NoRoomError)."""
    nat64 = Serving(WEB)
    row = fronts_of(nat64.config, given_weight)[6, int(nat64.tables.fronts[0].address4), 80].row
    ends = np.array([[1, 2, port, 1] for port in range(1, 200)], np.int64)
    assert members.enter_members(nat64.gateway, row, 0, 0, ends) == len(nat64.tables.members) - 3
    assert members.warm_up(nat64.settings) is None


def test_members_whose_front_is_not_there_yet_are_counted_nowhere():
    nat64 = Serving(
        WEB,
        service("other", f"{OTHER_VIP}:80", endpoints(8080, 1)),
        services={"client_prefix": "2001:db8:65::/96"},
    )
    nat64.tables.fronts4[:] = 0
    packet = whole(IPv6(src=E(1), dst="2001:db8:65::c633:6407", hlim=64) / TCP(sport=8080, dport=7, flags="A"))
    outcome = nat64.translate(bytes(packet), round(BEGIN * 1000))
    assert outcome.verdict == Verdict.SERVICE_AMBIGUOUS
    assert not nat64.tables.refused.any()
