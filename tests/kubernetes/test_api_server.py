"""The contract with an API server: contract.md row by row, on the fake and, where there is one, on a real one."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes import servers
from tests.kubernetes.asking import BROKEN, Asker
from tests.kubernetes.servers import ASSETS, NEEDED, FakeServer, RealServer, Server

PAGE = Path(__file__).parent / "contract.md"
CORE, SLICES = "/api/v1/namespaces/default/services", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
LEASES, EVENTS = (
    "/apis/coordination.k8s.io/v1/namespaces/default/leases",
    "/apis/events.k8s.io/v1/namespaces/default/events",
)
NOT_RUN = f"{ASSETS} names no folder with {' and '.join(NEEDED)}"
NUMBERS = count()
ROWS: dict[str, Callable[[Server], None]] = {}


def row(check: Callable[[Server], None]) -> Callable[[Server], None]:
    """A row of the contract, named as its function."""
    ROWS[check.__name__.removesuffix("_")] = check
    return check


@pytest.fixture(scope="module", params=["fake", *(["real"] if servers.assets() else [])])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = servers.assets()
    if request.param == "real" and folder:
        with RealServer(folder, tmp_path_factory.mktemp("api")) as real:
            yield real
    else:
        with FakeServer() as fake:
            yield fake


def name() -> str:
    return f"one-{next(NUMBERS)}"


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "web", "port": 443, "targetPort": 8443}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": ports, **spec},
    }


def balancer(**spec: Any) -> dict[str, Any]:
    return service(name(), type="LoadBalancer", loadBalancerClass="nat64d.io/gateway", **spec)


def made(asker: Asker, path: str, given: dict[str, Any]) -> str:
    """Make an object; its path."""
    answer = asker.send("POST", path, given)
    assert answer.code == 201, answer.body
    return f"{path}/{answer.body['metadata']['name']}"


def ingress(*addresses: str, **more: Any) -> dict[str, Any]:
    rows = [{"ip": address, **more} for address in addresses]
    return {"apiVersion": "v1", "kind": "Service", "status": {"loadBalancer": {"ingress": rows}}}


def slice_(of: str, *addresses: str, port: int = 8443, **conditions: bool) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name(), "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv6",
        "endpoints": [{"addresses": [address], "conditions": conditions} for address in addresses],
        "ports": [{"name": "web", "port": port, "protocol": "TCP"}],
    }


@row
def families(server: Server) -> None:
    alone = server.asker.send("POST", CORE, service(name()))
    assert (alone.body["spec"]["ipFamilies"], alone.body["spec"]["ipFamilyPolicy"]) == (["IPv6"], "SingleStack")
    assert server.asker.send("POST", CORE, service(name(), ipFamilyPolicy="RequireDualStack")).code == 422
    prefers = server.asker.send("POST", CORE, service(name(), ipFamilyPolicy="PreferDualStack"))
    assert (prefers.code, prefers.body["spec"]["ipFamilies"]) == (201, ["IPv6"])


@row
def status(server: Server) -> None:
    path = made(server.asker, CORE, balancer()) + "/status"
    wanted = ingress("192.0.2.2", "2001:db8:ff::1")
    first = server.asker.apply(path, wanted, "nat64d")
    assert first.code == 200
    assert [one["ipMode"] for one in first.body["status"]["loadBalancer"]["ingress"]] == ["VIP", "VIP"]
    assert server.asker.apply(path, wanted, "nat64d").version == first.version
    with server.asker.watch(CORE, resourceVersion=first.version, timeoutSeconds=5) as events:
        other = made(server.asker, CORE, service(name()))
        assert next(events)["object"]["metadata"]["name"] == other.rpartition("/")[2]
    refused = server.asker.apply(path, ingress("192.0.2.3"), "somebody")
    assert (refused.code, ".status.loadBalancer.ingress" in refused.body["message"]) == (409, True)
    assert server.asker.apply(path, ingress("192.0.2.3"), "somebody", force="true").code == 200


@row
def spelling(server: Server) -> None:
    path = made(server.asker, CORE, balancer()) + "/status"
    for wrong in ("192.0.2.010", "::ffff:192.0.2.1"):
        assert server.asker.apply(path, ingress(wrong), "nat64d").code == 422
    for odd in ("2001:DB8::1", "2001:db8:0::1"):
        answer = server.asker.apply(path, ingress(odd), "nat64d")
        assert answer.body["status"]["loadBalancer"]["ingress"][0]["ip"] == odd


@row
def port_error(server: Server) -> None:
    path = made(server.asker, CORE, balancer()) + "/status"
    ports = [{"port": 443, "protocol": "SCTP", "error": "nat64d.io/UnsupportedProtocol"}]
    answer = server.asker.apply(path, ingress("192.0.2.2", ports=ports), "nat64d")
    assert answer.body["status"]["loadBalancer"]["ingress"][0]["ports"] == ports


CONDITION = {
    "type": "nat64d.io/Programmed",
    "status": "True",
    "reason": "",
    "message": "",
    "lastTransitionTime": "2026-11-29T12:00:00Z",
}


@row
def condition(server: Server) -> None:
    path = made(server.asker, CORE, balancer()) + "/status"
    given = {"apiVersion": "v1", "kind": "Service", "status": {"conditions": [CONDITION]}}
    assert server.asker.apply(path, given, "nat64d").code == 200


@row
def other_type(server: Server) -> None:
    path = made(server.asker, CORE, balancer())
    given = ingress("192.0.2.2")
    given["status"]["conditions"] = [CONDITION]
    assert server.asker.apply(path + "/status", given, "nat64d").code == 200
    after = server.asker.merge(path, {"spec": {"type": "ClusterIP"}})
    assert after.code == 200
    assert "loadBalancerClass" not in after.body["spec"]
    assert not after.body["status"]["loadBalancer"]
    assert [one["type"] for one in after.body["status"]["conditions"]] == [CONDITION["type"]]


@row
def class_(server: Server) -> None:
    path = made(server.asker, CORE, balancer())
    assert server.asker.merge(path, {"spec": {"loadBalancerClass": "example.com/other"}}).code == 422


@row
def external_ips(server: Server) -> None:
    answer = server.asker.send("POST", CORE, service(name(), externalIPs=["2001:db8::1"]))
    assert (answer.code, "Warning" in answer.headers) == (201, True)


@row
def canonical(server: Server) -> None:
    assert server.asker.send("POST", SLICES, slice_("a", "fd00::0")).code == 422
    bare = slice_("a", "fd00::1", "fd00::2")
    del bare["endpoints"][0]["conditions"]
    answer = server.asker.send("POST", SLICES, bare)
    assert answer.code == 201
    assert [one.get("conditions", {}) for one in answer.body["endpoints"]] == [{}, {}]


@row
def named_port(server: Server) -> None:
    of = name()
    first = made(server.asker, SLICES, slice_(of, "fd00::1", port=8080))
    second = made(server.asker, SLICES, slice_(of, "fd00::2", port=9090))
    there = server.asker.get(SLICES, labelSelector=f"kubernetes.io/service-name={of}")
    assert sorted(one["ports"][0]["port"] for one in there.body["items"]) == [8080, 9090]
    empty = server.asker.get(first).body | {"endpoints": None, "ports": None}
    assert server.asker.send("PUT", first, empty).code == 200
    stays = server.asker.get(first).body
    assert [stays["endpoints"], stays["ports"]] == [None, None]
    with server.asker.watch(SLICES, resourceVersion=stays["metadata"]["resourceVersion"], timeoutSeconds=5) as events:
        server.asker.send("DELETE", second)
        assert next(events)["type"] == "DELETED"


@row
def ending_pod(server: Server) -> None:
    of = name()
    path = made(server.asker, SLICES, slice_(of, "fd00::1", ready=True, serving=True, terminating=False))
    selector = f"kubernetes.io/service-name={of}"
    version = server.asker.get(path).version
    with server.asker.watch(SLICES, resourceVersion=version, labelSelector=selector, timeoutSeconds=5) as events:
        for serving in (True, False):
            one = server.asker.get(path).body
            one["endpoints"][0]["conditions"] = {"ready": False, "serving": serving, "terminating": True}
            assert server.asker.send("PUT", path, one).code == 200
        server.asker.send("PUT", path, server.asker.get(path).body | {"endpoints": None})
        told = [event["object"]["endpoints"] for event in islice(events, 3)]
    assert [one and one[0]["conditions"]["serving"] for one in told] == [True, False, None]


@row
def two_slices(server: Server) -> None:
    of = name()
    for _ in range(2):
        made(server.asker, SLICES, slice_(of, "fd00::1"))
    there = server.asker.get(SLICES, labelSelector=f"kubernetes.io/service-name={of}").body["items"]
    assert [one["endpoints"][0]["addresses"] for one in there] == [["fd00::1"], ["fd00::1"]]


@row
def lease(server: Server) -> None:
    given = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name()}}
    given["spec"] = {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-11-29T12:00:00.000000Z"}
    path = made(server.asker, LEASES, given)
    old = server.asker.get(path).body
    new = {**old, "spec": {**old["spec"], "holderIdentity": "b"}}
    assert server.asker.send("PUT", path, new).code == 200
    assert server.asker.send("PUT", path, new | {"spec": {**new["spec"], "holderIdentity": "c"}}).code == 409
    for time in ("2026-11-29T12:00:00Z", "2026-11-29T12:00:00.123Z"):
        new["metadata"]["resourceVersion"] = server.asker.get(path).version
        assert server.asker.send("PUT", path, {**new, "spec": {**new["spec"], "renewTime": time}}).code == 400


@row
def event(server: Server) -> None:
    whole = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name()},
        "eventTime": "2026-11-29T12:00:00.000000Z",
        "action": "Allocate",
        "reason": "PoolExhausted",
        "reportingController": "nat64d.io/controller",
        "reportingInstance": "nat64d-0",
        "regarding": {"kind": "Service", "name": "a", "namespace": "default"},
        "type": "Warning",
        "note": "No address is left.",
    }
    made(server.asker, EVENTS, whole)
    for missing in ("action", "reportingInstance"):
        less = {key: value for key, value in whole.items() if key != missing} | {"metadata": {"name": name()}}
        assert server.asker.send("POST", EVENTS, less).code == 422
    coarse = whole | {"metadata": {"name": name()}, "eventTime": "2026-11-29T12:00:00Z"}
    assert server.asker.send("POST", EVENTS, coarse).code == 400


@row
def items(server: Server) -> None:
    path = made(server.asker, CORE, service(name()))
    assert server.asker.get(path).body["kind"] == "Service"
    answer = server.asker.get(CORE)
    assert answer.body["kind"] == "ServiceList"
    assert all(one.keys().isdisjoint({"kind", "apiVersion"}) for one in answer.body["items"])


@row
def version_0(server: Server) -> None:
    written = [server.asker.send("POST", CORE, service(name())).version for _ in range(5)][-1]
    cached, now = server.asker.get(CORE, resourceVersion=0), server.asker.get(CORE)
    assert int(now.version) >= int(written)
    assert int(cached.version) <= int(now.version)  # on the fake always older
    assert isinstance(server, RealServer) or int(cached.version) < int(written)


@row
def list_to_come(server: Server) -> None:
    answer = server.asker.get(CORE, resourceVersion=1 << 40)
    details = answer.body["details"]
    assert (answer.code, details["retryAfterSeconds"]) == (504, 1)
    assert [one["reason"] for one in details["causes"]] == ["ResourceVersionTooLarge"]


@row
def watch_to_come(server: Server) -> None:
    with server.asker.watch(CORE, resourceVersion=1 << 40, timeoutSeconds=3) as events:
        made(server.asker, CORE, service(name()))
        assert [*events] == []


@row
def watch_too_old(server: Server) -> None:
    with server.asker.watch(CORE, resourceVersion=1, timeoutSeconds=5) as events:
        told = [*events]
    assert [(one["type"], one["object"]["code"], one["object"]["reason"]) for one in told] == [
        ("ERROR", 410, "Expired")
    ]


@row
def bookmarks(server: Server) -> None:
    version = server.asker.get(CORE).version
    with server.asker.watch(CORE, resourceVersion=version, timeoutSeconds=5, allowWatchBookmarks="true") as events:
        path = made(server.asker, CORE, service(name()))
        told = [*events]
    assert [one["type"] for one in told] == ["ADDED", "BOOKMARK"]
    assert int(told[1]["object"]["metadata"]["resourceVersion"]) >= int(server.asker.get(path).version)


@row
def pages(server: Server) -> None:
    for _ in range(5):
        made(server.asker, CORE, service(name()))
    first = server.asker.get(CORE, limit=2)
    made(server.asker, CORE, service("a-later-one-" + name()))
    second = server.asker.get(CORE, limit=500, **{"continue": first.body["metadata"]["continue"]})
    assert second.version == first.version
    names = [one["metadata"]["name"] for one in (*first.body["items"], *second.body["items"])]
    assert len(first.body["items"]) == 2
    assert names == sorted({*names})
    assert not [one for one in names if one.startswith("a-later-one")]
    assert "continue" not in second.body["metadata"]
    assert server.asker.get(CORE, limit=2, **{"continue": "nonsense"}).code == 400


@row
def killed(server: Server) -> None:
    old = server.asker.get(CORE).version
    for _ in range(50):
        path = made(server.asker, CORE, service(name()))
    with server.asker.watch(CORE, resourceVersion=old) as events:
        assert len([*islice(events, 50)]) == 50
        server.kill()
        with pytest.raises(BROKEN):
            next(events)
    with pytest.raises(BROKEN):
        server.asker.get(CORE)
    server.start()
    version = server.asker.get(path).version
    with server.asker.watch(CORE, resourceVersion=version, timeoutSeconds=5) as events:
        after = made(server.asker, CORE, service(name()))
        assert next(events)["object"]["metadata"]["name"] == after.rpartition("/")[2]
    with server.asker.watch(CORE, resourceVersion=old, timeoutSeconds=5) as events:
        assert next(events)["object"]["code"] == 410


@row
def initial_events(server: Server) -> None:
    path = made(server.asker, CORE, service(name()))
    query = {"sendInitialEvents": "true", "allowWatchBookmarks": "true", "resourceVersionMatch": "NotOlderThan"}
    seen = []
    with server.asker.watch(CORE, timeoutSeconds=5, **query) as events:
        for told in events:
            if told["type"] == "BOOKMARK":
                assert told["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
                break
            seen.append((told["type"], told["object"]["metadata"]["name"]))
    assert ("ADDED", path.rpartition("/")[2]) in seen


@pytest.mark.parametrize("name", ROWS)
def test_contract(server: Server, name: str) -> None:
    ROWS[name](server)


def test_the_contract_is_the_table_row_by_row() -> None:
    table = re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert table == [*ROWS]


def collected(*words: str, **environment: str) -> str:
    """What pytest says of this file."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words, __file__]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "CI": "", **environment}
    ).stdout


def test_real_binaries_get_the_same_rows_and_without_them_one_line_says_so(tmp_path: Path) -> None:
    for program in NEEDED:
        (tmp_path / program).touch()
    found = re.findall(r"test_contract\[(\w+)-(\w+)\]", collected("--collect-only", **{ASSETS: f"{tmp_path}"}))
    for which in ("fake", "real"):
        assert [name for server, name in found if server == which] == [*ROWS]
    without = collected("-k", "real and not rows", "-rs", **{ASSETS: ""})
    assert re.findall(r"^SKIPPED.*: (.*)", without, re.MULTILINE) == [NOT_RUN]
    assert re.search(r"^1 skipped, \d+ deselected", without, re.MULTILINE), without


@pytest.mark.skipif(servers.assets() is None, reason=NOT_RUN)
def test_real_binaries_are_asked_too() -> None:
    assert servers.assets()
