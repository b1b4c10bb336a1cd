"""`nat64d kubernetes --controller`: addresses, statuses and Events, of a fake API server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nat64d.kubernetes.controller import Choices, Controller
from nat64d.kubernetes.leases import Seen
from nat64d.kubernetes.statuses import Rules
from tests.kubernetes.asking import Asker
from tests.kubernetes.controlled import (
    SHORT,
    Controlled,
    Gateway,
    add_later_pool,
    add_pool,
    addresses,
    condition,
    events,
    prepared,
    until,
)
from tests.kubernetes.fake.faults import Refusal
from tests.kubernetes.fake.kinds import CIDRS, SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import write_kubeconfig
from tests.kubernetes.objects import NOT_READY, STATIC, TRANSLATOR, end, mapping, port, service, slice_

POOL = {"blocks": ["192.0.2.0/30", "2001:db8::/64"]}
SERVICES_PATH = "/api/v1/namespaces/default/services"


@pytest.fixture
def asker(fake: Fake) -> Asker:
    return prepared(fake, POOL)


@pytest.fixture
def controlled(fake: Fake, asker: Asker, tmp_path: Path) -> Iterator[Controlled]:
    with Controlled(fake, tmp_path / "controller") as controlled:
        yield controlled


def add(fake: Fake, name: str = "web", *ports: Any, **spec: Any) -> None:
    fake.set(SERVICES, service(name, "", *ports, **spec))


def waits_for(fake: Fake, name: str, reason: str) -> str:
    """The message of the condition as soon as it has this reason."""
    until(lambda: condition(fake, name)[1] == reason, lambda: condition(fake, name))
    return condition(fake, name)[2]


@pytest.mark.usefixtures("controlled")
def test_a_service_gets_an_address_of_each_family_and_is_programmed_when_all_gateways_say_so(
    fake: Fake, tmp_path: Path
) -> None:
    add(fake)
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1"))
    until(lambda: addresses(fake) == ["192.0.2.0", "2001:db8::"], lambda: addresses(fake))
    assert waits_for(fake, "web", "NoGateway").startswith("no gateway renews its Lease")
    with Gateway(fake, tmp_path / "g1", "g1") as one, Gateway(fake, tmp_path / "g2", "g2") as two:
        until(lambda: "g1, g2 of 2 gateways have not applied it yet" in condition(fake)[2], lambda: condition(fake))
        assert condition(fake)[:2] == ("False", "Pending")
        one.apply(fake.store.version)
        until(lambda: "g2 of 2 gateways" in condition(fake)[2])
        two.apply(fake.store.version)
        until(lambda: condition(fake)[0] == "True", lambda: condition(fake))
    waits_for(fake, "web", "NoGateway")


@pytest.mark.usefixtures("controlled")
def test_a_status_that_is_written_stays_while_others_change(fake: Fake, tmp_path: Path) -> None:
    with Gateway(fake, tmp_path / "g1") as gateway:
        add(fake)
        until(lambda: addresses(fake))
        gateway.apply(fake.store.version)
        until(lambda: condition(fake)[0] == "True", lambda: condition(fake))
        version = fake.get(SERVICES, "web")["metadata"]["resourceVersion"]
        fake.set(SLICES, slice_("other-1", "2001:db8:1::1", of="other"))
        add(fake, "last")
        until(lambda: addresses(fake, "last"))
        assert fake.get(SERVICES, "web")["metadata"]["resourceVersion"] == version


REASONS: dict[str, tuple[dict[str, Any], str, str]] = {
    "exhausted": (
        {"annotations": {"nat64d.io/vip-pool": "none"}},
        "PoolExhausted",
        "there is no VIPPool none",
    ),
    "outside": (
        {"annotations": {"nat64d.io/load-balancer-ips": "203.0.113.9"}},
        "AddressOutsidePool",
        "203.0.113.9 is not in any VIPPool",
    ),
    "in_use": (
        {"annotations": {"nat64d.io/load-balancer-ips": "192.0.2.3"}},
        "AddressInUse",
        "Service default/first has 192.0.2.3",
    ),
    "no_address": (
        {"annotations": {"nat64d.io/load-balancer-ips": "192.0.2.x", "nat64d.io/vip-pool": "none"}},
        "InvalidAnnotation",
        "annotation nat64d.io/load-balancer-ips: '192.0.2.x'; expected an IPv4 and an IPv6 address at most",
    ),
}


@pytest.mark.usefixtures("controlled")
@pytest.mark.parametrize("case", REASONS.values(), ids=[*REASONS])
def test_why_a_service_has_no_address_is_a_condition_and_an_event(
    fake: Fake, case: tuple[dict[str, Any], str, str]
) -> None:
    given, reason, sentence = case
    fake.set(SERVICES, service("first", "192.0.2.3", created="2020-01-01T00:00:00Z"))
    add(fake, **given)
    assert sentence in waits_for(fake, "web", reason)
    assert (condition(fake)[0], addresses(fake)) == ("False", [])
    (event,) = until(lambda: events(fake))
    assert (event["reason"], event["type"], sentence in event["note"]) == (reason, "Warning", True)
    until(lambda: addresses(fake, "first") == ["192.0.2.3", "2001:db8::"])


@pytest.mark.usefixtures("controlled")
def test_what_is_wrong_with_a_service_that_has_an_address(fake: Fake, tmp_path: Path) -> None:
    """SCTP, IPv4 slices, a broken source range, no endpoint, Local without a gateway on a node: each a sentence, and
    the rest works."""
    ports = (port(80), port(81, "sctp", "SCTP"))
    add(fake, "web", *ports, loadBalancerSourceRanges=["198.51.100.0/24", "no"], externalTrafficPolicy="Local")
    fake.set(SLICES, slice_("web-4", end("192.0.2.99"), family="IPv4"))
    fake.set(SLICES, slice_("web-6", end("2001:db8:1::1", NOT_READY)))
    with Gateway(fake, tmp_path / "g1") as gateway:
        until(lambda: addresses(fake))
        gateway.apply(fake.store.version)
        message = waits_for(fake, "web", "UnsupportedProtocol")
        until(lambda: condition(fake)[0] == "True")
    for part in ("81: SCTP is not", "'no' is no prefix", "no IPv6 endpoint", "1 EndpointSlices of IPv4", "as Cluster"):
        assert part in message
    for one in fake.get(SERVICES, "web")["status"]["loadBalancer"]["ingress"]:
        assert [(row["port"], row.get("error")) for row in one["ports"]] == [
            (80, None),
            (81, "nat64d.io/UnsupportedProtocol"),
        ]


@pytest.mark.usefixtures("controlled")
def test_a_service_that_lets_nobody_in_is_not_programmed(fake: Fake, tmp_path: Path) -> None:
    add(fake, loadBalancerSourceRanges=["no", "192.0.2.0/33"])
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1"))
    with Gateway(fake, tmp_path / "g1") as gateway:
        until(lambda: addresses(fake))
        gateway.apply(fake.store.version)
        assert "so nobody is let in; loadBalancerSourceRanges: 'no' is" in waits_for(fake, "web", "InvalidSourceRange")
        assert condition(fake)[0] == "False"
        add(fake, loadBalancerSourceRanges=["no", "192.0.2.0/24"])
        until(lambda: addresses(fake))  # the status was replaced, too
        gateway.apply(fake.store.version)
        until(lambda: condition(fake)[:2] == ("True", "InvalidSourceRange"), lambda: condition(fake))


@pytest.mark.usefixtures("controlled")
def test_services_with_the_same_endpoint_are_told_of_each_other(fake: Fake) -> None:
    for name in ("web", "also"):
        add(fake, name)
        fake.set(SLICES, slice_(f"{name}-1", "2001:db8:1::1", of=name))
    until(lambda: "has endpoints of default/also" in condition(fake)[2], lambda: condition(fake))
    until(lambda: "has endpoints of default/web" in condition(fake, "also")[2])
    add(fake, "also", annotations={"nat64d.io/client-prefix": "2001:db8:99::/96"})
    until(lambda: "has endpoints" not in condition(fake, "also")[2])
    until(lambda: "has endpoints" not in condition(fake)[2])
    spec = {"pool6": "64:ff9b:1::/96", "clientPrefix": "2001:db8:99::/96"}
    fake.set(TRANSLATOR, {"metadata": {"name": "all"}, "spec": spec})
    until(lambda: "has endpoints of default/also" in condition(fake)[2], lambda: condition(fake))


@pytest.mark.usefixtures("controlled")
def test_a_service_that_is_no_longer_ours_has_nothing_of_ours(fake: Fake, asker: Asker) -> None:
    add(fake)
    until(lambda: addresses(fake))
    asker.merge(f"{SERVICES_PATH}/web", {"spec": {"type": "ClusterIP", "loadBalancerClass": None}})
    until(lambda: condition(fake) == ("", "", ""), lambda: condition(fake))
    assert addresses(fake) == []


@pytest.mark.usefixtures("controlled")
def test_services_of_other_classes_are_left_alone(fake: Fake) -> None:
    for name, spec in {
        "other": {"loadBalancerClass": "example.com/other"},
        "none": {"loadBalancerClass": None},
    }.items():
        add(fake, name, **spec)
    fake.set(SERVICES, service("theirs", "203.0.113.1", loadBalancerClass="example.com/other"))
    add(fake)
    until(lambda: addresses(fake))
    assert [addresses(fake, name) for name in ("other", "none", "theirs")] == [[], [], ["203.0.113.1"]]
    assert condition(fake, "theirs") == ("", "", "")


def test_with_the_option_a_service_without_a_class_is_ours(fake: Fake, asker: Asker, tmp_path: Path) -> None:
    options = Choices(default_class=True, rules=Rules(ipv6_front=True), times=SHORT)
    with Controlled(fake, tmp_path / "controller", options=options):
        add(fake, loadBalancerClass=None)
        until(lambda: addresses(fake))
        modes = [one["ipMode"] for one in fake.get(SERVICES, "web")["status"]["loadBalancer"]["ingress"]]
        assert modes == ["VIP", "Proxy"], "kube-proxy is not to take what nat64d translates"


@pytest.mark.usefixtures("controlled")
def test_a_pool_says_how_much_of_it_is_used_and_why_it_is_not(fake: Fake, asker: Asker) -> None:
    def ready(name: str) -> tuple[int, str, str]:
        status = asker.get(f"/apis/nat64d.io/v1alpha1/vippools/{name}").body.get("status", {})
        one = next(iter(status.get("conditions", [])), {"reason": "", "message": ""})
        return status.get("used", -1), one["reason"], one["message"]

    add(fake)
    until(lambda: ready("a")[:2] == (2, "Ready"), lambda: ready("a"))
    add_later_pool(fake, "b", {"blocks": ["192.0.2.2/32"]})
    until(
        lambda: ready("b") == (0, "Refused", "its block 192.0.2.2 overlaps 192.0.2.0-192.0.2.3 of VIPPool a"),
        lambda: (ready("a"), ready("b")),
    )
    fake.set(CIDRS, {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["198.51.100.0/24"]}})
    add_later_pool(fake, "c", {"blocks": ["198.51.100.7"]})
    until(lambda: "ServiceCIDR kubernetes" in ready("c")[2], lambda: ready("c"))


@pytest.mark.usefixtures("controlled")
def test_an_api_server_that_refuses_for_a_while_gets_what_is_missing(fake: Fake) -> None:
    add(fake, "before")
    until(lambda: addresses(fake, "before"))
    fake.kill()
    fake.set(SERVICES, service("meanwhile", ""))
    fake.start()
    until(lambda: addresses(fake, "meanwhile") == ["192.0.2.1", "2001:db8::1"], lambda: addresses(fake, "meanwhile"))


def test_who_writes_leaves_the_api_server_alone_for_as_long_as_it_wants(
    fake: Fake, asker: Asker, tmp_path: Path
) -> None:
    """429 with Retry-After: statuses and Events wait, here for 0.3 s at most; Leases for no longer than they can."""
    writers = {
        "/services/": (0.3, "PATCH"),
        "/leases/nat64d-controller": (SHORT.gives_up / 2, "PUT"),
        "/leases/nat64d-gateway-g1": (SHORT.gateway_holds / 3, "PUT"),
        "/events": (0.3, "POST"),
    }

    def sent(words: str, method: str) -> list[int]:
        return [number for number, one in enumerate(fake.requests) if one.startswith(method) and words in one]

    options = Choices(times=SHORT, obedient=0.3)
    with Controlled(fake, tmp_path / "one", options=options) as one, Gateway(fake, tmp_path / "g1"):
        until(lambda: one.election.leads and sent("/leases/nat64d-gateway-g1", "PUT"))
        until(lambda: events(fake, "a"))  # of the pool: requests of one moment are all sent
        fake.faults.refusal = Refusal(429, "1", methods=("PUT", "PATCH"))
        add(fake)
        until(lambda: all({*sent(words, by)} & {*fake.refused} for words, (_, by) in writers.items() if by != "POST"))
        fake.faults.refusal = Refusal(429, "1", times=1, methods=("POST",))
        until(lambda: addresses(fake))
        until(lambda: events(fake), lambda: fake.requests[-20:])
    for words, (least, method) in writers.items():
        numbers = sent(words, method)
        (first, *_) = refused = [number for number in numbers if number in fake.refused]
        assert first != numbers[-1], "it was sent again"
        for number in refused:
            after = [fake.arrivals[one] - fake.arrivals[number] for one in numbers if one > number]
            assert not after or min(after) >= least - 0.01, (words, after)


@pytest.mark.usefixtures("controlled")
def test_what_a_gateway_refuses_is_said_of_the_service_and_of_no_other(fake: Fake, tmp_path: Path) -> None:
    add(fake)
    add(fake, "good")
    with Gateway(fake, tmp_path / "g1", "g1") as one, Gateway(fake, tmp_path / "g2", "g2") as two:
        until(lambda: addresses(fake) and addresses(fake, "good"))
        one.apply(fake.store.version, web="its file has the address")
        assert "g2 of 2 gateways have not applied it yet" in waits_for(fake, "web", "Refused")
        two.apply(fake.store.version)
        until(lambda: condition(fake, "good")[0] == "True")
        until(lambda: condition(fake)[2].startswith("refused by g1: its file has the address; no IPv6 endpoint"))
        assert condition(fake)[0] == "False"
        until(lambda: [one for one in events(fake) if one["reason"] == "Refused" and one["type"] == "Warning"])
        one.apply(fake.store.version)
        until(lambda: condition(fake)[0] == "True", lambda: condition(fake))
        add(fake, "web", port(81))
        one.apply(0, web="of the Service as it was before")
        waits_for(fake, "web", "Pending")


@pytest.mark.usefixtures("controlled")
def test_an_event_that_comes_again_counts_in_its_series(fake: Fake, asker: Asker) -> None:
    add(fake, annotations={"nat64d.io/vip-pool": "new"})
    until(lambda: events(fake))
    add_pool(asker, "new", {"blocks": ["203.0.113.0/24"], "autoAssign": False})
    until(lambda: addresses(fake) == ["203.0.113.0"])
    until(lambda: len(events(fake)) == 2)
    asker.send("DELETE", "/apis/nat64d.io/v1alpha1/vippools/new")
    until(lambda: any(one.get("series", {}).get("count") == 2 for one in events(fake)), lambda: events(fake))
    assert len(events(fake)) == 2


def test_its_rights_are_those_that_it_uses(fake: Fake, asker: Asker, tmp_path: Path) -> None:
    """config/kubernetes/controller-rbac.yaml: with these alone it does all, and it asks for all that they name."""
    text = (Path(__file__).parents[2] / "config/kubernetes/controller-rbac.yaml").read_text("utf-8")
    documents = [*yaml.safe_load_all(text)]
    rules = [rule for one in documents if one["kind"] in {"ClusterRole", "Role"} for rule in one["rules"]]
    path = tmp_path / "controller"
    one = Controlled(fake, path)
    write_kubeconfig(path, fake.url, "{token: controller}")
    fake.set(STATIC, mapping("pod", "198.51.100.7/32", "2001:db8:1::7/128"))
    fake.set(TRANSLATOR, {"metadata": {"name": "all"}, "spec": {"pool6": "64:ff9b:1::/96"}})
    fake.faults.tokens = {"controller": rules}
    with one:
        add(fake)
        until(lambda: addresses(fake), lambda: fake.requests[-20:])
        until(lambda: events(fake))
        until(lambda: one.controller.pools["", "a"].used == 2)
        until(lambda: condition(fake, "pod", STATIC)[1] == condition(fake, "all", TRANSLATOR)[1] == "NoGateway")
    paths = [each.partition("?")[0] for each in fake.requests]
    for resource in (each for rule in rules for each in rule["resources"]):
        name, _, status = resource.partition("/")
        assert any(f"/{name}" in each and each.endswith(status) for each in paths), resource


def test_renewals_are_no_news_and_a_lease_that_is_read_again_is_not_renewed() -> None:
    async def story() -> None:
        now = 100.0
        asyncio.get_running_loop().time = lambda: now  # type: ignore[method-assign]
        controller = Controller(lambda: None, "one", Choices())

        def tells(version: int, applied: int = 5) -> bool:
            return controller.leases.see(("nat64d", "g1"), Seen("g1", str(version), applied, "", held=True), now)

        assert [tells(1), tells(2), tells(3, applied=6), tells(4, applied=6)] == [True, False, True, False]
        now = 109.0
        assert not tells(4, applied=6)
        assert controller.gateways().applied == {"g1": 6}
        now = 110.0
        assert controller.gateways().applied == {}
        assert tells(5, applied=6), "it is alive again"

    asyncio.run(story())
