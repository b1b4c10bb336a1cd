"""Sessions of services over a restart (session/restore.py) and a reload (session/draft.py)."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scapy.layers import inet as scapy
from scapy.layers.inet import IP

from nat64d.gateway.takeover import STAYS, carry_counts, statics_of
from tests.case import BEGIN, engines_of
from tests.engines import Engines
from tests.packets import HOST4, whole
from tests.translator.services import DNS, OTHER_VIP, VIP, WEB, E, Serving, endpoints, service, tcp4, udp6
from translator.packet.fields import TCP, UDP
from translator.session import draft
from translator.session.fates import Fate
from translator.session.restore import Kept, restore
from translator.session.tcp_state import State
from translator.tables.gateway import Gateway, new_worker
from translator.tables.layout import OF_SERVICE
from translator.tables.listing import usage
from translator.verdict import Verdict

NOW = round(BEGIN * 1000)
BOTH: dict[str, Any] = {"service": [WEB, DNS], "forward": []}


def scene() -> Serving:
    """Six connections, one of them answered, and two flows of datagrams."""
    nat64 = Serving(WEB, DNS)
    for port in range(1, 7):
        nat64.client(port)
    nat64.answer(nat64.client(6), 6)
    nat64.datagram(1)
    nat64.send(udp6(nat64.datagram(2), 53, 2))
    return nat64


def restart(nat64: Serving, **changes: Any) -> dict[Fate, int]:
    """The gateway after a restart with another secret; how many sessions had which fate."""
    engines = Engines(engines_of(**BOTH | changes).config, bytes(range(16)))
    names = ("sessions", "quarantine", "blocks", "affinities")
    kept = Kept(statics=statics_of(nat64.tables), **{name: getattr(nat64.tables, name) for name in names})
    tables = replace(engines.tables(), **{name: getattr(kept, name) for name in names})
    nat64.gateway = Gateway(engines.predictable, tables, nat64.worker)
    return fates_of(restore(nat64.gateway, NOW, kept).fates)


def reload(nat64: Serving, **changes: Any) -> dict[Fate, int]:
    """The gateway after a reload; how many sessions that are not kept had which fate."""
    engines, before = engines_of(**BOTH | changes), nat64.tables
    tables = replace(engines.tables(), **{name: getattr(before, name) for name in STAYS})
    begun = draft.begin(Gateway(engines.predictable, tables, new_worker(0)), before, NOW)
    nat64.client(7)
    draft.catch_up(begun, NOW)
    opened = usage(before)
    nat64.gateway = Gateway(engines.predictable, replace(tables, sessions=before.sessions), nat64.worker)
    fates = draft.finish(begun, nat64.gateway, NOW).fates
    carry_counts(before, nat64.tables, opened, usage(nat64.tables))
    return fates_of(fates)


def fates_of(fates: Any) -> dict[Fate, int]:
    return {fate: int(fates[fate]) for fate in Fate if fates[fate]}


def test_all_are_there_again_after_a_restart():
    nat64 = scene()
    rows = nat64.rows()
    assert restart(nat64) == {Fate.KEPT: 8}
    assert nat64.rows() == rows
    assert nat64.client(6, "A") == next(row[0] for row in rows if row[2:] == (6, "ESTABLISHED"))
    assert nat64.tables.inbound.tolist() == [0, 6]
    assert nat64.rows() == rows


def test_all_are_there_after_a_reload_and_more_members_move_none():
    nat64 = scene()
    nat64.client(7)
    rows = nat64.rows()
    many = [service("web", f"{VIP}:80", endpoints(8080, *range(1, 9))), DNS]
    assert reload(nat64, service=many) == {}
    assert sorted(nat64.rows()) == sorted(rows)
    for endpoint, _, port, state in rows:
        assert state == "NONE" or port <= 2 or nat64.client(port) == endpoint
    assert len({nat64.client(port) for port in range(20, 28)}) > 3


LEFT = [service("web", f"{VIP}:80", endpoints(8080, 2, 3)), service("dns", f"{VIP}:53", endpoints(53, 2, 3), "udp")]


@pytest.mark.parametrize("over", [restart, reload])
def test_of_a_member_that_is_gone_connections_go_on_and_datagrams_go_elsewhere(over):
    nat64 = scene()
    for port in range(7, 16):
        nat64.client(port)
        nat64.datagram(port)
    connections, flows = nat64.rows(TCP), nat64.rows(UDP)
    gone = [row for row in flows if row[0] == E(1)]
    assert over(nat64, service=LEFT)[Fate.UNMAPPED] == len(gone) > 0
    assert sorted(nat64.rows(TCP)) == sorted(connections)
    assert sorted(nat64.rows(UDP)) == sorted(row for row in flows if row not in gone)
    for endpoint, _, port, _ in connections:
        assert nat64.client(port, "A") == endpoint
    assert {nat64.client(port) for port in range(20, 40)} == {E(2), E(3)}


@pytest.mark.parametrize("over", [restart, reload])
def test_connections_of_a_member_that_is_gone_are_reset_where_that_is_wanted(over):
    nat64 = scene()
    nat64.client(7)
    ports = [row[2] for row in nat64.rows(TCP) if row[0] == E(1)]
    assert ports
    over(nat64, service=LEFT, services={"endpoint_gone": "reset"})
    for port in ports:
        outcome = nat64.send(tcp4(port, 80, "A"))
        assert (outcome.verdict, whole(outcome.answer)[scapy.TCP].flags) == (Verdict.LOST_SESSION, "R")
    assert E(1) not in {row[0] for row in nat64.rows()}


@pytest.mark.parametrize(
    "changes",
    [
        {"service": [service("web", f"{OTHER_VIP}:80", endpoints(8080, 1, 2, 3))]},
        {"service": [DNS], "forward": [{"protocol": "tcp", "ipv4": f"{VIP}:80", "ipv6": "[2001:db8::1]:80"}]},
        {"service": [DNS], "pool4": [{"addresses": VIP, "ports": "54-100"}]},
    ],
    ids=["address", "forward", "pool4"],
)
@pytest.mark.parametrize("over", [restart, reload])
def test_connections_end_whose_address_or_port_is_anothers(over, changes):
    nat64 = scene()
    count = len(nat64.rows(TCP))
    assert over(nat64, **changes)[Fate.UNMAPPED] >= count > 0
    assert not nat64.rows(TCP)


@pytest.mark.parametrize("over", [restart, reload])
def test_those_that_new_sources_exclude_end(over):
    nat64 = scene()
    assert over(nat64, service=[WEB | {"sources": ["192.0.2.0/24"]}, DNS])[Fate.UNMAPPED] >= 6
    assert {row[3] for row in nat64.rows()} == {"V4_INIT", "NONE"}


@pytest.mark.parametrize("over", [restart, reload])
def test_of_a_service_that_is_gone_connections_go_on(over):
    nat64 = scene()
    nat64.client(7)
    rows = nat64.rows(TCP)
    assert over(nat64, service=[service("web", f"{VIP}:81", endpoints(8080, 1))])[Fate.UNMAPPED] == 2
    assert sorted(nat64.rows()) == sorted(rows)
    assert nat64.send(tcp4(20, 80)).verdict == Verdict.CLOSED_PORT


def test_an_endpoint_that_gets_an_eam_keeps_them():
    nat64 = scene()
    rows = nat64.rows()
    assert restart(nat64, eam=[{"ipv4": "203.0.113.99", "ipv6": E(1)}]) == {Fate.KEPT: 8}
    assert nat64.rows() == rows


def test_of_two_that_contradict_each_other_the_first_holds():
    nat64 = scene()
    rows = nat64.tables.sessions
    first, second, third = np.flatnonzero(rows.live)[:3]
    rows[second].host4_port = rows[first].host4_port  # the same flow, perhaps by another member
    rows[third] = rows[first]
    assert restart(nat64) == {Fate.KEPT: 6, Fate.DAMAGED: 2}
    nat64.client(30)


def test_a_session_of_the_endpoints_own_contradicts_one_of_a_service():
    nat64 = Serving(service("dns", f"{VIP}:53", endpoints(53, 1), "udp"))
    nat64.send(udp6(E(1), 53, 9))
    nat64.datagram(8)
    own, served = nat64.tables.sessions[0], nat64.tables.sessions[1]
    assert (own.inbound, served.inbound) == (0, OF_SERVICE)
    served.host4_port = own.host4_port
    one = {"service": [service("dns", f"{VIP}:53", endpoints(53, 1), "udp")]}
    assert restart(nat64, **one) == {Fate.KEPT: 1, Fate.DAMAGED: 1}
    nat64 = Serving(service("dns", f"{VIP}:53", endpoints(53, 1), "udp"))
    nat64.datagram(8)
    nat64.send(udp6(E(1), 53, 9))
    nat64.tables.sessions[1].host4_port = 8
    assert restart(nat64, **one) == {Fate.KEPT: 1, Fate.DAMAGED: 1}


def test_there_may_be_no_room():
    nat64 = scene()
    nat64.tables.sessions.state[nat64.tables.sessions.protocol == 6] = State.ESTABLISHED
    kept = Kept(nat64.tables.sessions.copy(), nat64.tables.quarantine, statics_of(nat64.tables), nat64.tables.blocks)
    engines = engines_of(**BOTH, limits={"sessions": 16})
    tables = engines.tables()
    tables = replace(tables, sessions=tables.sessions[:6])
    gateway = Gateway(engines.predictable, tables, new_worker(0))
    assert fates_of(restore(gateway, NOW, kept).fates) == {Fate.KEPT: 6, Fate.LIMITED: 2}


def test_answers_go_on_from_the_service_after_a_restart():
    nat64 = scene()
    there = next(row[0] for row in nat64.rows() if row[3] == "NONE")
    restart(nat64)
    assert whole(nat64.send(udp6(there, 53, 2)).packets[0])[IP].src == VIP
    assert HOST4 in {row[1] for row in nat64.rows()}
