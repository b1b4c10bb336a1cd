"""Whatever is so of a Service is a condition and an Event of the same reason, and keeps nothing else from working.

One controller, one gateway that applies all, and all cases at once: each has a Service of its own beside the others.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.kubernetes.controlled import Controlled, Gateway, add_pool, addresses, condition, events, prepared, until
from tests.kubernetes.fake.kinds import SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.objects import end, port, service, slice_

OLD = "2020-01-01T00:00:00Z"
ASKS, POOL, SHARES = (f"nat64d.io/{name}" for name in ("load-balancer-ips", "vip-pool", "allow-shared-ip"))
SCTP = (port(80), port(81, "sctp", "SCTP"))


class Case(NamedTuple):
    """A Service, and what becomes of it. `addresses`: None = one that is its own; `status`: of the condition."""

    given: dict[str, Any]
    reason: str
    sentence: str
    status: str = "True"
    addresses: list[str] | None = None
    endpoints: tuple[Any, ...] | None = None
    ports: tuple[Any, ...] = ()


def notes(**given: str) -> dict[str, Any]:
    return {"annotations": {globals()[name.upper()]: value for name, value in given.items()}}


CASES = {
    "plain": Case({}, "Programmed", "applied by g1"),
    "requested": Case(notes(asks="192.0.2.200"), "Programmed", "applied by g1", addresses=["192.0.2.200"]),
    "shared": Case(
        {**notes(asks="192.0.2.201", shares="key"), "created": OLD}, "Programmed", "by g1", addresses=["192.0.2.201"]
    ),
    "sharing": Case(
        notes(asks="192.0.2.201", shares="key"),
        "Programmed",
        "applied by g1",
        addresses=["192.0.2.201"],
        ports=(port(81, "other"),),
    ),
    "not-sharing": Case(
        notes(asks="192.0.2.201"), "AddressInUse", "Service default/shar", "False", [], ports=(port(82, "third"),)
    ),
    "last": Case({**notes(pool="small"), "created": OLD}, "Programmed", "by g1", addresses=["198.51.100.0"]),
    "exhausted": Case(notes(pool="small"), "PoolExhausted", "no IPv4 address is free in VIPPool small", "False", []),
    "outside": Case(notes(asks="203.0.113.9"), "AddressOutsidePool", "is not in any VIPPool", "False", []),
    "moves-outside": Case(
        {**notes(asks="203.0.113.9"), "ip": "192.0.2.202"},
        "AddressOutsidePool",
        "203.0.113.9 is not in any VIPPool",
        addresses=["192.0.2.202"],
    ),
    "sctp": Case({}, "UnsupportedProtocol", "port 81: SCTP is not translated", ports=SCTP),
    "ipv4-slices": Case({}, "IPv4Endpoints", "1 EndpointSlices of IPv4 are left out"),
    "source": Case(
        {"loadBalancerSourceRanges": ["198.51.100.0/24", "no"]}, "InvalidSourceRange", "'no' is no prefix, and lets"
    ),
    "no-endpoint": Case({}, "NoEndpoints", "no IPv6 endpoint is ready", endpoints=()),
    "one": Case({}, "EndpointsShared", "has endpoints of default/other", endpoints=("2001:db8:f::1",)),
    "other": Case({}, "EndpointsShared", "has endpoints of default/one", endpoints=("2001:db8:f::1",)),
    "local": Case({"externalTrafficPolicy": "Local"}, "TreatedAsCluster", "no gateway runs on a node"),
}


def set_up(fake: Fake, name: str, case: Case, number: int) -> None:
    given = dict(case.given)
    fake.set(SERVICES, service(name, given.pop("ip", ""), *case.ports, **given))
    ends = (f"2001:db8:1::{number:x}",) if case.endpoints is None else case.endpoints
    rows = [{"name": one["name"], "port": 8080, "protocol": one["protocol"]} for one in case.ports or (port(),)]
    fake.set(SLICES, slice_(f"{name}-6", *ends, of=name, ports=rows))
    if name == "ipv4-slices":
        fake.set(SLICES, slice_(f"{name}-4", end("192.0.2.99"), of=name, family="IPv4"))


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    folder = tmp_path_factory.mktemp("reasons")
    with Fake() as fake:
        asker = prepared(fake, {"blocks": ["192.0.2.0/24"]})
        add_pool(asker, "small", {"blocks": ["198.51.100.0/32"], "autoAssign": False})
        for number, (name, case) in enumerate(CASES.items(), 1):
            set_up(fake, name, case, number)
        with Controlled(fake, folder / "one"), Gateway(fake, folder / "g1") as gateway:
            gateway.apply(1 << 40)
            yield fake


@pytest.mark.parametrize("name", CASES)
def test_each_is_a_condition_and_an_event_and_has_an_address_if_there_is_one(fake: Fake, name: str) -> None:
    case = CASES[name]
    until(lambda: condition(fake, name)[:2] == (case.status, case.reason), lambda: condition(fake, name))
    assert case.sentence in condition(fake, name)[2]
    there = until(lambda: [one for one in events(fake, name) if one["reason"] == case.reason])
    assert [one["type"] for one in there] == ["Normal" if case.reason == "Programmed" else "Warning"]
    assert case.sentence in there[0]["note"]
    has = addresses(fake, name)
    assert has == case.addresses if case.addresses is not None else len(has) == 1


def test_nobody_has_the_address_of_another(fake: Fake) -> None:
    until(lambda: all(condition(fake, name)[1] == case.reason for name, case in CASES.items()))
    given = [one for name in CASES if name != "sharing" for one in addresses(fake, name)]
    assert len(given) == len({*given})


def test_a_service_that_is_of_another_type_for_a_while_is_told_of_again(fake: Fake) -> None:
    """The API server takes class and addresses away; the condition goes with the next round, and comes back."""

    def told() -> int:
        found = [one for one in events(fake, "back") if one["reason"] == "Programmed"]
        return sum(one.get("series", {}).get("count", 1) for one in found)

    set_up(fake, "back", Case({}, "", ""), 99)
    until(lambda: told() == 1)
    fake.set(SERVICES, {**service("back", "", type="ClusterIP"), "status": fake.get(SERVICES, "back")["status"]})
    until(lambda: condition(fake, "back") == ("", "", ""))
    assert addresses(fake, "back") == []
    fake.set(SERVICES, service("back", ""))
    until(lambda: told() == 2, lambda: events(fake, "back"))
    fake.delete(SERVICES, "back")
    fake.set(SERVICES, service("back", "", loadBalancerClass="example.com/other"))
    set_up(fake, "later", Case({}, "", ""), 98)
    until(lambda: condition(fake, "later")[0] == "True")
    assert (condition(fake, "back"), addresses(fake, "back")) == (("", "", ""), [])
