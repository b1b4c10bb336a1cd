"""Services by their names: whose sessions and mappings are listed and ended, and what an unknown name is told."""

import pytest

from nat64d.control.filters import FilterError, Filters, parse_filters
from nat64d.control.listings import BY_NAME
from nat64d.gateway import flush as flushing
from nat64d.gateway import serving, state
from nat64d.gateway.flush import flush
from nat64d.gateway.serving import found
from tests.case import BEGIN
from tests.listed import rows_of
from tests.nat64d.test_measure import live_of
from tests.packets import HOST6
from tests.sessions import Sessions
from tests.translator.services import NOBODY, WEB, E, Serving, endpoints, service, tcp4, tcp6, udp6

BOTH = service("both", "203.0.113.80:53", endpoints(53, 1, 2, 3), ["tcp", "udp"])


@pytest.fixture
def nat64(monkeypatch):
    """Four connections of web, a datagram and a connection of both, and a host that has asked somebody itself."""
    nat64 = Serving(WEB, BOTH, NOBODY)
    for module in (state, flushing):
        monkeypatch.setattr(module, "now", lambda: round(BEGIN * 1000))
    for port in range(1, 5):
        nat64.client(port)
    nat64.datagram(7)
    nat64.send(udp6(E(1), 4000, 123))
    nat64.send(udp6(HOST6, 4000, 123))
    return nat64


@pytest.fixture
def live(nat64):
    live = live_of(nat64)
    live.settings = nat64.settings
    return live


def ports(live, **given):
    return {row["host4_port"] for row in rows_of(live.sessions(Filters(**given)))}


def test_sessions_are_those_of_a_service_and_no_others(live):
    assert ports(live, service="web") == {1, 2, 3, 4}
    assert ports(live, service="both") == {7}
    assert ports(live, service="nobody") == set()
    assert len(rows_of(live.sessions(Filters()))) == 7
    assert len(rows_of(live.sessions(Filters(service="web", limit=3)))) == 3
    assert ports(live, service="web", port=1) == {1}


def test_services_at_one_address_are_told_apart_by_port_and_protocol(monkeypatch):
    names = {"tcp53": "tcp", "udp53": "udp"}
    nat64 = Serving(WEB, *(service(name, "203.0.113.80:53", endpoints(53, 1), proto) for name, proto in names.items()))
    monkeypatch.setattr(state, "now", lambda: round(BEGIN * 1000))
    nat64.client(1)
    nat64.datagram(2)
    nat64.reached(tcp4(3, 53))
    assert [ports(live_of(nat64), service=name) for name in ("web", "tcp53", "udp53")] == [{1}, {3}, {2}]


def test_mappings_are_the_endpoints_of_a_service(live):
    rows = rows_of(live.bib(Filters(service="both")))
    assert sorted((row["host6"], row["protocol"]) for row in rows) == [
        (E(one), protocol) for one in (1, 2, 3) for protocol in ("tcp", "udp")
    ]
    assert {row["service"] for row in live.services(Filters(service="both"))} == {"both"}


def test_a_listing_of_one_service_looks_at_no_other_and_what_nobody_asks_has_no_problem(live, monkeypatch):
    """There may be 100,000 endpoints, and whoever follows a change asks often."""
    looked = []
    monkeypatch.setattr(live.endpoints, "known", lambda one, _: looked.append(one.name))
    assert {row["service"] for row in live.services(Filters(service="web"))} == {*looked} == {"web"}
    assert live.endpoints.warnings() == []
    assert {*looked} == {"web"}


def test_what_an_endpoint_asks_from_its_service_port_is_none_of_its_service(live, nat64):
    nat64.send(tcp6(E(2), 53, 9, "S"))
    assert ports(live, port=9) == {9}
    assert ports(live, service="both") == {7}


def test_flush_ends_those_of_a_service(live):
    assert flush(live, Filters(service="web")) == 4
    assert ports(live, service="web") == set()
    assert ports(live, service="both") == {7}
    with pytest.raises(FilterError, match=r"^service=x: no \[\[service\]\] has this name, expected web, both, nobody$"):
        flush(live, Filters(service="x"))


@pytest.mark.parametrize("listing", ["sessions", "bib", "services"])
def test_an_unknown_name_is_told_which_there_are(live, listing):
    with pytest.raises(FilterError) as caught:
        list(getattr(live, listing)(Filters(service="wob")))
    assert str(caught.value) == "service=wob: no [[service]] has this name, expected web, both, nobody"


def test_of_many_names_the_nearest_are_told(live, monkeypatch):
    monkeypatch.setattr(serving, "NAMED", 2)
    for name, words in (("wob", "web"), ("xyz", "web, both")):
        with pytest.raises(FilterError) as caught:
            found(Filters(service=name), live.tables)
        left = 3 - len(words.split())
        more = f" or one of {left} others, which nat64d services lists"
        assert str(caught.value) == f"service={name}: no [[service]] has this name, expected {words}{more}"


def test_without_services_there_is_none():
    with pytest.raises(FilterError, match=r"^service=web: there is no \[\[service\]\]$"):
        found(Filters(service="web"), Sessions().tables)


@pytest.mark.parametrize("name", ["", "-a", "a b", "ä", "a" * 254])
def test_what_can_be_no_name_is_refused(name):
    with pytest.raises(FilterError, match=r"expected the name of a \[\[service\]\]$"):
        parse_filters([("service", name)], BY_NAME["sessions"].filters)
