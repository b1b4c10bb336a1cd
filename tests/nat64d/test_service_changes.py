"""Services that change while packets pass: in the tables there are, unless these have no place for what they become."""

from ipaddress import IPv6Network
from typing import Any

import pytest

from nat64d.config.difference import Effect, difference
from nat64d.config.errors import ConfigError
from nat64d.config.fronts import numbers_of
from nat64d.config.sources import Names, Rows, Sources, rows_in, with_changes
from nat64d.control.filters import Filters
from nat64d.dataplane.code import COMPILED_CODE
from nat64d.gateway import service_changes, state_file, takeover
from nat64d.gateway.mappings import services
from nat64d.gateway.state import Live
from nat64d.gateway.takeover import Outcome, change_over, prepare
from tests import invariants
from tests.case import BEGIN, engines_of
from tests.packets import HOST6
from tests.translator.services import DNS, OTHER_VIP, VIP, WEB, E, Serving, endpoints, service, tcp4
from translator.tables.gateway import Gateway
from translator.tables.handles import VIPS
from translator.tables.layout import LEAVING
from translator.verdict import Verdict


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (state_file, takeover, service_changes):
        monkeypatch.setattr(module, "now", lambda: round(BEGIN * 1000))


class Daemon:
    """A gateway with services, as the control plane sees it."""

    def __init__(self, *services: dict[str, Any], **changes: Any) -> None:
        self.nat64 = Serving(*services, **changes)
        self.live = Live(self.nat64.config)
        self.live.settings, self.live.tables = self.nat64.settings, self.nat64.tables
        self.live.state, self.live.code = "ready", COMPILED_CODE

    def change(self, *services: dict[str, Any], **changes: Any) -> Outcome:
        config = engines_of(service=list(services), forward=[], **changes).config
        judges = any(change.effect is Effect.SESSIONS for change in difference(self.live.config, config))
        outcome = change_over(self.live, prepare(self.live, config, judges))
        assert self.live.config == config
        assert self.live.settings is not None
        assert self.live.tables is not None
        self.nat64.gateway = Gateway(self.live.settings, self.live.tables, self.nat64.worker)
        invariants.check(self.live.tables, self.live.settings)
        return outcome


def web(*numbers: int, **keys: Any) -> dict[str, Any]:
    return service("web", f"{VIP}:80", endpoints(8080, *numbers), **keys)


def test_endpoints_change_and_nothing_else_does():
    daemon = Daemon(WEB, DNS)
    settings, tables, there = daemon.live.settings, daemon.live.tables, daemon.nat64.client()
    outcome = daemon.change(web(4, 5), DNS)
    assert (daemon.live.settings, daemon.live.tables) == (settings, tables)
    assert (outcome.kept, outcome.ended, outcome.pause) == (1, {}, 0.0)
    assert daemon.nat64.client(flags="A") == there
    assert daemon.nat64.client(8) in {E(4), E(5)}


def test_flows_of_datagrams_that_end_are_told():
    daemon = Daemon(WEB, DNS)
    for port in range(9):
        daemon.nat64.datagram(1 + port)
    outcome = daemon.change(WEB)
    assert outcome.ended == {"that the configuration has no mapping for": 9}
    assert daemon.change(WEB, DNS).ended == {}


def test_another_address_is_there_at_once_and_its_flows_are_as_those_of_others():
    daemon = Daemon(WEB, DNS)
    tables, there = daemon.live.tables, daemon.nat64.client()
    daemon.change(WEB, DNS, service("other", f"{OTHER_VIP}:80", endpoints(8081, 1)))
    assert daemon.live.tables is tables
    assert daemon.nat64.client(vip=OTHER_VIP) == E(1)
    assert daemon.nat64.client(flags="A") == there
    daemon.change(WEB, DNS)
    assert daemon.nat64.send(tcp4(9, 80, vip=OTHER_VIP)).verdict != Verdict.TRANSLATED


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"services": {"client_prefix": "2001:db8:65::/96"}}),
        ({}, {"translation": {"denylist4": ["198.18.0.0/15"]}}),
    ],
    ids=["prefix", "sessions"],
)
def test_other_changes_beside_take_other_tables(before, after):
    daemon = Daemon(WEB, DNS, **before)
    tables, there = daemon.live.tables, daemon.nat64.client()
    daemon.change(web(2, 3, 1, 4), DNS, **after)
    assert daemon.live.tables is not tables
    assert daemon.nat64.client(flags="A") == there


def test_the_first_service_of_a_gateway_without_sessions_takes_other_tables():
    daemon = Daemon(WEB, pool4=[])
    tables = daemon.live.tables
    daemon.change(pool4=[], eam=[{"ipv4": "192.0.2.99", "ipv6": HOST6}])
    daemon.change(WEB, pool4=[], eam=[{"ipv4": "192.0.2.99", "ipv6": HOST6}])
    assert daemon.live.tables is not tables
    assert daemon.nat64.client() in {E(1), E(2), E(3)}


def test_what_has_no_place_in_the_tables_there_are_has_one_in_new_ones():
    daemon = Daemon(*(service(f"s{n}", f"{VIP}:{n}", endpoints(80, n)) for n in range(1, 62)))
    tables = daemon.live.tables
    for n in range(1, 4):  # members that are gone but have a connection
        daemon.nat64.reached(tcp4(7, n))
    assert tables is not None
    tables.fronts.first[:61] = [2 * n for n in range(61)]  # each list by itself: no room for another one
    for number in reversed(range(61)):
        tables.members[2 * number] = tables.members[number]
    invariants.check(tables, daemon.nat64.settings)
    daemon.change(web(*range(1, 31)), *(service(f"s{n}", f"{VIP}:{n}", endpoints(80, n)) for n in range(1, 32)))
    assert daemon.live.tables is not tables
    assert daemon.nat64.client() in {E(n) for n in range(1, 31)}


def test_weights_by_health_outlive_a_change_of_others():
    daemon = Daemon(WEB, DNS)
    daemon.live.endpoints.weight = lambda _: lambda service, endpoint: 0 if str(E(1)) in endpoint.address else 1  # type: ignore[method-assign]
    daemon.change(web(1, 2), DNS)
    assert {daemon.nat64.client(port) for port in range(1, 9)} == {E(2)}


# ---- sources


FILE = engines_of(service=[WEB], forward=[]).config
SOURCES = Sources("a.toml", FILE, {})
ROW = {"name": "shop", "ipv4": f"{OTHER_VIP}:80", "endpoints": ["[2001:db8:5::9]:80"]}


def said(*rows: dict[str, Any], source: str = "kubernetes") -> Sources:
    given = rows_in({"service": list(rows)}, "set")
    return SOURCES._replace(rows={source: with_changes(Rows(), Names(), given, source, SOURCES)})


def test_services_of_a_source_stand_beside_those_of_the_file_and_are_listed_with_it():
    sources = said(ROW)
    assert [one.name for one in sources.combined().service] == ["web", "shop"]
    daemon = Daemon(WEB)
    daemon.change(WEB, ROW)
    daemon.live.sources = sources
    rows = daemon.live.services(Filters())
    assert [(row["service"], row["source"]) for row in rows] == [("web", "file")] * 3 + [("shop", "kubernetes")]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({**ROW, "name": "web"}, 'kubernetes: [[service]] #1 name = "web": expected a name that no earlier'),
        (
            {**ROW, "ipv4": f"{VIP}:80"},
            f'kubernetes: [[service]] #1 ipv4 = "{VIP}:80": expected a port that no earlier',
        ),
        (
            {**ROW, "endpoints": ["[64:ff9b::1]:80"]},
            'kubernetes: [[service]] #1 endpoints #1 address = "[64:ff9b::1]:80"',
        ),
    ],
    ids=["name", "front", "endpoint"],
)
def test_overlaps_between_sources_are_refused_where_they_stand(row, sentence):
    with pytest.raises(ConfigError) as refused:
        said(row).combined()
    (problem,) = map(str, refused.value.problems)
    assert problem.startswith(sentence)


def test_a_row_is_set_again_and_unset_by_its_name():
    first = with_changes(Rows(), Names(), rows_in({"service": [ROW]}, "set"), "api", SOURCES)
    other = {**ROW, "ipv4": f"{OTHER_VIP}:81"}
    second = with_changes(first, Names(), rows_in({"service": [other]}, "set"), "api", SOURCES)
    assert [one.ipv4 for one in second.service] == [f"{OTHER_VIP}:81"]
    assert with_changes(second, Names(service=[{"name": "shop"}]), Rows(), "api", SOURCES).service == ()


# ---- endpoints that are gone, and have connections


def listed(daemon: Daemon, **given: Any) -> list[tuple[Any, ...]]:
    names = ("service", "ipv4", "ipv6", "state", "sessions")
    return [tuple(row[name] for name in names) for row in daemon.live.services(Filters(**given))]


def test_endpoints_that_are_gone_are_listed_until_their_connections_have_ended():
    daemon = Daemon(web(1), service("other", f"{OTHER_VIP}:80", endpoints(8080, 2)))
    daemon.nat64.client()
    daemon.nat64.client(8)
    daemon.nat64.client(vip=OTHER_VIP)
    daemon.change(web(3))
    new = ("web", VIP, E(3), "unasked", 0)
    assert listed(daemon) == [new, ("web", VIP, E(1), "gone", 2), (None, OTHER_VIP, E(2), "gone", 1)]
    assert listed(daemon, service="web") == [new, ("web", VIP, E(1), "gone", 2)]
    assert listed(daemon, host=IPv6Network(f"{E(2)}/128")) == [(None, OTHER_VIP, E(2), "gone", 1)]
    rows = daemon.live.services(Filters())
    assert [row["source"] for row in rows] == ["file", "file", None]
    assert rows[1]["why"] == "it is in no list any more, and has connections"
    daemon.change(web())
    assert [row[2] for row in listed(daemon)] == [E(1), E(2)]
    daemon.change(web(1, 2))
    assert listed(daemon)[:2] == [("web", VIP, E(1), "unasked", 2), ("web", VIP, E(2), "unasked", 0)]


def test_so_are_those_of_ipv6_clients():
    six = {"services": {"ipv6_front": "fullnat", "source6": "fd00:64::/64"}}
    both = {"name": "six", "ipv6": "[2001:db8:ff::1]:80", "endpoints": endpoints(8080, 1)}
    daemon = Daemon(both, web(5), **six)
    tables = daemon.live.tables
    assert tables is not None
    (key,) = (key for key in numbers_of(tables) if key[1] >= VIPS)
    member = tables.members[tables.fronts[numbers_of(tables)[key]].first].bib
    tables.bibs[member].live, tables.bibs[member].sessions = LEAVING, 1
    nothing = daemon.live.config.model_copy(update={"service": ()})
    (row,) = services(nothing, tables, lambda *_: None, Filters(), {})
    assert (row["service"], row["ipv4"], row["ipv4_ports"], row["ipv6"]) == (None, "2001:db8:ff::1", "80", E(1))
