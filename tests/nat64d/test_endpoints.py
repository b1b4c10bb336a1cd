"""What is known of endpoints becomes weights of members, and chooses where new flows go."""

import asyncio
import logging
import time
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from nat64d.config import service_owners
from nat64d.config.errors import ConfigError
from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.control.filters import Filters
from nat64d.control.listings import BY_NAME
from nat64d.gateway.endpoints import FINE, LAST_RESORT, NO_NEW_FLOWS, Endpoints
from nat64d.gateway.mappings import services
from nat64d.services.checker import Checker
from nat64d.services.standing import Key, Place

WEIGHTED = '{ address = "[2001:db8:1::%d]:80", weight = %d }'
WEB = ", ".join(WEIGHTED % (number, weight) for number, weight in ((1, 3), (2, 1), (3, 0)))


def config(health: str = "health = { fall = 2, rise = 1 }", protocol: str = '["tcp", "udp"]') -> Any:
    return loads(
        f"""
        pool6 = "64:ff9b::/96"
        [[service]]
        name = "web"
        protocol = {protocol}
        ipv4 = "192.0.2.80:80"
        endpoints = [{WEB}]
        {health}
        [[service]]
        name = "unasked"
        ipv4 = "192.0.2.80:81"
        endpoints = ["[2001:db8:1::1]:80"]
        [[service]]
        name = "nobody"
        ipv4 = "192.0.2.80:82"
        """
    )


class Known:
    """Endpoints of a configuration, of which answers are noted by hand."""

    def __init__(self, **changes: str) -> None:
        self.config = config(**changes)
        self.tables = tables_of(self.config, settings_of(self.config, bytes(16)))
        self.endpoints = Endpoints(lambda: (self.config, self.tables))
        self.checker = Checker(self.endpoints._told, self._never, asyncio.sleep)
        self.endpoints._checker = self.checker
        self.endpoints.use(self.config)

    @staticmethod
    async def _never(*_: object) -> str | None:
        await asyncio.Event().wait()
        return None

    def answers(self, number: int, *whys: str | None) -> None:
        key = Key(Place(IPv6Address(f"2001:db8:1::{number}"), 80), self.config.service[0].health)
        for why in whys:
            if self.checker.known[key].note(why, 100.0):
                self.endpoints._told(key, self.checker.known[key])

    def weights(self) -> list[list[int]]:
        self.endpoints.weigh(self.config, self.tables)
        rows = self.tables.fronts[self.tables.fronts.protocol != 0]
        return [self.tables.members["weight"][row.first : row.first + row.count].tolist() for row in rows]


def played(body: Any, **changes: str) -> None:
    async def main() -> None:
        known = Known(**changes)
        await asyncio.sleep(0)
        body(known)
        await known.checker.close()

    asyncio.run(main())


def test_weights_follow_what_is_known():
    def body(known: Known) -> None:
        assert known.weights() == [[3, 1, 0], [3, 1, 0], [1], []]
        known.answers(1, "refused")
        assert known.weights() == [[LAST_RESORT, 1, 0], [LAST_RESORT, 1, 0], [1], []]
        assert known.tables.fronts[0].weighted == 0
        known.answers(1, "refused")
        assert known.weights() == [[NO_NEW_FLOWS, 1, 0], [NO_NEW_FLOWS, 1, 0], [1], []]
        known.answers(3, "refused", "refused")
        assert known.weights()[0] == [NO_NEW_FLOWS, 1, NO_NEW_FLOWS]
        known.answers(1, None)
        assert known.weights()[0] == [3, 1, NO_NEW_FLOWS]
        assert known.tables.fronts[0].weighted == 1

    played(body)


@pytest.mark.parametrize(("panic", "weights"), [("false", [NO_NEW_FLOWS] * 3), ("true", [3, 1, 0])])
def test_where_none_serves_none_is_used_or_all(panic, weights):
    def body(known: Known) -> None:
        for number in (1, 2):
            known.answers(number, "refused")
        assert known.weights()[0] == [NO_NEW_FLOWS, NO_NEW_FLOWS, 0]
        known.answers(3, "refused")
        assert known.weights()[0] == weights

    played(body, health=f"health = {{ fall = 1, panic = {panic} }}")


def test_one_that_comes_back_slowly_begins_with_a_tenth(monkeypatch):
    def body(known: Known) -> None:
        assert known.weights()[0] == [3 * FINE, FINE, 0]
        known.answers(1, "refused", None)
        for moment, weight in ((100.0, 30), (110.0, 165), (120.0, 300), (500.0, 300)):
            monkeypatch.setattr(time, "monotonic", lambda moment=moment: moment)
            assert known.weights()[0] == [weight, FINE, 0]

    played(body, health="health = { fall = 1, rise = 1, slow_start = 20 }")


def test_where_nobody_asks_nothing_is_changed():
    def body(known: Known) -> None:
        assert known.checker.known == {}
        known.tables.members["weight"][0] = 77
        assert known.weights()[0] == [77, 1, 0]

    played(body, health="")


def test_it_is_said_once_which_does_not_serve_and_why(caplog):
    caplog.set_level(logging.INFO)

    def body(known: Known) -> None:
        known.answers(1, "connection refused")
        assert known.endpoints.warnings() == []
        known.answers(1, "connection refused", "connection refused")
        assert known.endpoints.warnings() == [
            "Service web: of its 3 endpoints [2001:db8:1::1]:80 does not serve: connection refused"
        ]
        known.answers(2, "HTTP 503", "HTTP 503")
        assert known.endpoints.warnings() == [
            "Service web: of its 3 endpoints 2 do not serve, [2001:db8:1::1]:80 among them: connection refused"
        ]
        known.answers(1, None)
        known.answers(2, None)
        assert known.endpoints.warnings() == []

    played(body)
    assert [record.getMessage() for record in caplog.records] == [
        "Endpoint [2001:db8:1::1]:80 of service web does not serve: connection refused",
        "Endpoint [2001:db8:1::2]:80 of service web does not serve: HTTP 503",
        "Endpoint [2001:db8:1::1]:80 of service web serves again",
        "Endpoint [2001:db8:1::2]:80 of service web serves again",
    ]
    assert [getattr(record, "event", "") for record in caplog.records] == ["endpoint_down"] * 2 + ["endpoint_up"] * 2


@pytest.mark.parametrize(("protocol", "flows"), [('"tcp"', 0), ('["tcp", "udp"]', 1)])
def test_flows_of_udp_leave_one_that_has_fallen(protocol, flows):
    def body(known: Known) -> None:
        known.answers(1, "refused", "refused")
        found = list(known.endpoints._flows_of(known.endpoints._fallen))
        assert len(found) == flows
        for filters in found:
            assert (filters.proto, filters.port) == ("udp", 80)
            assert (str(filters.host6), filters.service) == ("2001:db8:1::1/128", "web")

    played(body, protocol=protocol)


def test_the_listing_has_every_endpoint_and_services_without():
    def body(known: Known) -> None:
        known.answers(1, "connection refused", "connection refused")
        rows = services(known.config, known.tables, known.endpoints.known, Filters(), {})
        assert all(tuple(row) == BY_NAME["services"].fields for row in rows)
        ports = [(row["service"], row["protocol"], row["ipv4_ports"], row["ipv6"], row["state"]) for row in rows]
        web = [("2001:db8:1::1", "down"), ("2001:db8:1::2", "up"), ("2001:db8:1::3", "up")]
        assert ports == [
            *(("web", "tcp", "80", *end) for end in web),
            *(("web", "udp", "80", *end) for end in web),
            ("unasked", "tcp", "81", "2001:db8:1::1", "unasked"),
            ("nobody", "tcp", "82", None, None),
        ]
        assert [row["why"] for row in rows][:2] == ["connection refused", None]
        assert [row["weight"] for row in rows][:3] == [3, 1, 0]

        def found(**given: Any) -> list[str]:
            rows = services(known.config, known.tables, known.endpoints.known, Filters(**given), {})
            return sorted({row["service"] for row in rows})

        assert found(port=81) == ["unasked"]
        assert found(proto="udp") == ["web"]
        assert found(host=IPv6Network("2001:db8:1::1/128")) == ["unasked", "web"]
        assert found(host=IPv4Network("192.0.2.0/24")) == ["nobody", "unasked", "web"]

    played(body)


def test_asking_begun_again_gives_back_the_weights_of_before():
    """What was known is lost when the task has failed; nobody stays down for that."""

    async def main() -> None:
        known = Known()
        await known.checker.close()
        known.tables.members["weight"][:] = NO_NEW_FLOWS
        asking = asyncio.ensure_future(known.endpoints.run(lambda _: None))
        for _ in range(1000):
            await asyncio.sleep(0.001)
            if known.tables.members["weight"][0] != NO_NEW_FLOWS:
                break
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert known.tables.members["weight"][:7].tolist() == [3, 1, 0, 3, 1, 0, 1]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        (
            "ENDPOINTS",
            "[[service]] #1 endpoints: expected at most 2 endpoints",
        ),
        (
            "",
            "expected at most 2 endpoints, counted for each protocol, in all of [[service]]; up to here ",
        ),
    ],
)
def test_there_are_bounds_of_what_a_packet_is_compared_with(monkeypatch, limit, sentence):
    if limit:
        monkeypatch.setattr(service_owners, limit, 2)
    with pytest.raises(ConfigError, match=r"expected at most 2 endpoints") as refused:
        config("" if limit else "[limits]\nservice_members = 2")
    assert sentence in str(refused.value)
