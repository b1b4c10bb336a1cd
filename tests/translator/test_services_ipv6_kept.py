"""Sessions of IPv6 clients of services over a restart (session/restore.py) and a reload (session/draft.py)."""

from dataclasses import replace
from typing import Any

import pytest

from nat64d.gateway.takeover import STAYS, carry_counts, records_of, statics_of
from tests import invariants
from tests.case import BEGIN, engines_of
from tests.engines import Engines
from tests.translator.front6 import CLIENT6, OTHER6, SERVICES, WAYS, Front
from tests.translator.services import DNS
from tests.translator.test_services_kept import fates_of
from translator.session import draft
from translator.session.fates import Fate
from translator.session.restore import Kept, restore
from translator.tables.gateway import Gateway, new_worker
from translator.tables.listing import usage

NOW = round(BEGIN * 1000)
BOTH = pytest.mark.parametrize("way", WAYS)


def config(way: str) -> dict[str, Any]:
    return {"service": list(SERVICES), "forward": [], "services": WAYS[way], "limits": {"sessions": 256}}


def scene(way: str) -> tuple[Front, tuple[str, str]]:
    """Connections of two clients, and one that has gone: (gateway, an endpoint and whom it sees)."""
    nat64 = Front(way)
    nat64.client6(1, src="2001:db8:9::ff")
    nat64.expire(BEGIN + 33)
    for port in (1, 2, 3):
        nat64.client6(port, src=OTHER6)
    nat64.client6(1)
    there = nat64.client6(2)
    nat64.back(there, 2)
    return nat64, there


def restart(nat64: Front, **changes: Any) -> dict[Fate, int]:
    engines = Engines(engines_of(**config(nat64.way) | changes).config, bytes(range(16)))
    before = nat64.tables
    kept = Kept(before.sessions, before.quarantine, statics_of(before), before.blocks, clients6=before.clients6)
    tables = replace(engines.tables(), sessions=kept.sessions, quarantine=kept.quarantine)
    if len(tables.clients6) == len(kept.clients6):
        tables = replace(tables, clients6=kept.clients6)
    nat64.gateway = Gateway(engines.predictable, tables, nat64.worker)
    return fates_of(restore(nat64.gateway, NOW, kept).fates)


def reload(nat64: Front, **changes: Any) -> dict[Fate, int]:
    """The gateway after a reload, during which a client goes, and another one comes."""
    engines, before = engines_of(**config(nat64.way) | changes), nat64.tables
    tables = replace(engines.tables(), **{name: getattr(before, name) for name in STAYS})
    begun = draft.begin(Gateway(engines.predictable, tables, new_worker(0)), before, NOW)
    draft.catch_up(begun, NOW)
    nat64.client6(9, src="2001:db8:9::99")
    draft.catch_up(begun, NOW)
    opened = usage(before)
    after = replace(tables, sessions=before.sessions, clients6=before.clients6)
    nat64.gateway = Gateway(engines.predictable, after, nat64.worker)
    fates = draft.finish(begun, nat64.gateway, NOW).fates
    carry_counts(before, nat64.tables, opened, usage(nat64.tables))
    return fates_of(fates)


@BOTH
def test_all_are_there_again_after_a_restart(way):
    nat64, there = scene(way)
    rows = sorted(nat64.clients())
    assert restart(nat64) == {Fate.KEPT: 5}
    invariants.check(nat64.tables, nat64.settings)
    assert sorted(nat64.clients()) == rows
    assert nat64.back(there, 2, "A").dst == CLIENT6
    assert nat64.client6(2, "A") == there
    assert nat64.client6(7, src="2001:db8:9::ff")[0] != there[0]


@BOTH
def test_all_are_there_after_a_reload(way):
    nat64, there = scene(way)
    rows = [*nat64.clients(), ("2001:db8:9::99", 9, Front(way).client6(9, src="2001:db8:9::99")[1])]
    assert reload(nat64) == {}
    invariants.check(nat64.tables, nat64.settings)
    assert sorted(nat64.clients()) == sorted(rows)
    assert nat64.back(there, 2, "A").dst == CLIENT6
    assert nat64.client6(1, src="2001:db8:9::ff")[0] != there[0]


@BOTH
def test_records_of_another_run_are_taken_with_all_its_clients(way):
    nat64, there = scene(way)
    engines, kept = engines_of(**config(way)), records_of(nat64.tables)
    nat64.gateway = Gateway(engines.predictable, engines.tables(), nat64.worker)
    copies = kept._replace(sessions=kept.sessions.copy(), clients6=kept.clients6.copy())
    assert fates_of(restore(nat64.gateway, NOW, copies).fates) == {Fate.KEPT: 5}
    invariants.check(nat64.tables, nat64.settings)
    assert nat64.client6(2, "A") == there


@BOTH
def test_sessions_of_a_service_that_is_gone_end(way):
    nat64, _ = scene(way)
    other = [one | {"ipv6": None} for one in SERVICES]
    assert reload(nat64, service=other) == {Fate.UNMAPPED: 6}
    invariants.check(nat64.tables, nat64.settings)
    nat64, _ = scene(way)
    assert restart(nat64, service=other) == {Fate.UNMAPPED: 5}
    assert not nat64.tables.uses6.any()


@pytest.mark.parametrize(
    "changes",
    [
        {"services": WAYS["fullnat"]},
        {"services": {"ipv6_front": "off"}, "service": [SERVICES[0] | {"ipv6": None}]},
        {"service": [SERVICES[0] | {"ipv6": "[2001:db8:ff::2]:80"}]},
        {
            "service": [
                SERVICES[0] | {"ipv6": f"[{CLIENT6}]:80"},
                SERVICES[0] | {"ipv6": f"[{OTHER6}]:80"} | {"name": "x"} | {"ipv4": None},
            ]
        },
    ],
)
def test_another_way_or_address_is_another_configuration(changes):
    nat64, _ = scene("dnat")
    assert restart(nat64, **changes) == {Fate.UNMAPPED: 5}
    assert nat64.tables.uses6.sum() == 0


def test_other_addresses_of_clients_too():
    nat64, _ = scene("fullnat")
    assert restart(nat64, services=WAYS["fullnat"] | {"source6": "fd00:65::/64"}) == {Fate.UNMAPPED: 5}


@BOTH
def test_damaged_records_of_clients(way):
    nat64, _ = scene(way)
    rows = nat64.tables.clients6
    rows[1] = rows[0]
    fates = restart(nat64)
    assert fates[Fate.KEPT] in (2, 3)
    invariants.check(nat64.tables, nat64.settings)
    nat64, _ = scene(way)
    nat64.tables.sessions.host4[nat64.tables.sessions.live != 0] += 1 << 24
    assert restart(nat64) == {Fate.UNMAPPED: 5}


@BOTH
def test_what_has_ended_is_logged_with_its_addresses(way):
    nat64, _ = scene(way)
    engines = Engines(engines_of(**config(way) | {"service": [DNS]}).config)
    before = nat64.tables
    kept = records_of(before)
    settings = replace(engines.predictable, logged=3)
    gateway = Gateway(settings, replace(engines.tables(), clients6=before.clients6), new_worker(0))
    ended = restore(gateway, NOW, kept).ended
    assert len(ended) == 5
    assert {int(row["client6_lo"]) & 0xFFFF for row in ended} == {9, 10}
    assert {int(row["vip6_lo"]) for row in ended} == {0}  # nobody knows it any more
