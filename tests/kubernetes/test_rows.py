"""What of a Service and its slices becomes a row of [[service]]."""

import json
from typing import Any

import pytest

from nat64d.config.sources import rows_in
from nat64d.kubernetes.objects import SERVICES, SLICES
from nat64d.kubernetes.rows import MOST, Made, Rules, rows_of
from tests.kubernetes.objects import DRAINING, GONE, NOT_READY, end, port, service, slice_


def made(given: dict[str, Any], *slices: dict[str, Any], rules: Rules = Rules("node-a")) -> Made:  # noqa: B008
    """Read as from the API; the daemon takes every row."""
    one = SERVICES.made(SERVICES.decoder.decode(json.dumps(given)))
    found = rows_of(one, [SLICES.made(SLICES.decoder.decode(json.dumps(each))) for each in slices], rules)
    rows_in({"service": [*found.rows.values()]}, "kubernetes")
    return found


def ends(given: dict[str, Any], *slices: dict[str, Any], rules: Rules = Rules("node-a")) -> list[Any]:  # noqa: B008
    (row,) = made(given, *slices, rules=rules).rows.values()
    return row["endpoints"]


def test_a_port_of_a_service_is_a_row():
    both = service("web", "192.0.2.2", port(80, "http"), port(443, "tls"))
    tls = [{"name": "http", "port": 8080}, {"name": "tls", "port": 8443}]
    assert made(both, slice_("a", "2001:db8::1", ports=tls)).rows == {
        "default/web/http": {
            "name": "default/web/http",
            "protocol": "tcp",
            "ipv4": "192.0.2.2:80",
            "endpoints": ["[2001:db8::1]:8080"],
        },
        "default/web/tls": {
            "name": "default/web/tls",
            "protocol": "tcp",
            "ipv4": "192.0.2.2:443",
            "endpoints": ["[2001:db8::1]:8443"],
        },
    }


def test_a_port_without_a_name_is_that_of_slices_without_one():
    given = service("web", "192.0.2.2", port(80, ""))
    slices = [
        slice_("a", "2001:db8::1", ports=[{"name": "", "port": 8080, "protocol": "TCP"}]),
        slice_("b", "2001:db8::2", ports=[{"port": 8081}]),
        slice_("c", "2001:db8::3", ports=[{"name": "other", "port": 80}]),
    ]
    assert [*made(given).rows] == ["default/web"]
    assert ends(given, *slices) == ["[2001:db8::1]:8080", "[2001:db8::2]:8081"]


def test_pods_with_other_numbers_for_one_port_have_each_their_own():
    slices = [slice_("a", "2001:db8::1", ports=[{"name": "http", "port": 8080}])]
    slices.append(slice_("b", "2001:db8::2", ports=[{"name": "http", "port": 9090}]))
    assert ends(service(), *slices) == ["[2001:db8::1]:8080", "[2001:db8::2]:9090"]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, ["[2001:db8::1]:8080"]),
        ({"ready": None, "serving": None, "terminating": None}, ["[2001:db8::1]:8080"]),
        ({"ready": True, "serving": True, "terminating": False}, ["[2001:db8::1]:8080"]),
        ({"ready": True, "serving": False, "terminating": True}, ["[2001:db8::1]:8080"]),  # publishNotReadyAddresses
        (DRAINING, [{"address": "[2001:db8::1]:8080", "weight": 0}]),
        ({"ready": False, "terminating": True}, [{"address": "[2001:db8::1]:8080", "weight": 0}]),
        (GONE, []),
        (NOT_READY, []),
        ({"ready": False}, []),
    ],
)
def test_conditions(conditions, expected):
    assert ends(service(), slice_("a", end("2001:db8::1", conditions))) == expected


def test_an_endpoint_in_two_slices_counts_once_and_ready_wins():
    slices = [
        slice_("a", end("2001:db8::1", DRAINING)),
        slice_("b", "2001:db8::1"),
        slice_("c", end("2001:db8::1", GONE)),
    ]
    for order in (slices, slices[::-1]):
        assert ends(service(), *order) == ["[2001:db8::1]:8080"]


def test_slices_without_anything_and_of_other_families():
    slices = [
        {**slice_("a"), "endpoints": None, "ports": None},
        slice_("b", "192.0.2.1", family="IPv4"),
        slice_("c", "web.example.com", family="FQDN"),
        slice_("d", "2001:db8::1", ports=[{"name": "http"}]),  # all ports
        {"metadata": {"name": "e", "namespace": "default", "labels": None}, "addressType": "IPv6"},
    ]
    assert ends(service(), *slices) == []


def test_the_order_of_endpoints_is_the_same_on_every_gateway():
    one, other = ["2001:db8::2", "2001:db8::1"], ["2001:db8::1", "2001:db8::2"]
    assert ends(service(), slice_("a", *one)) == ends(service(), slice_("b", *other))


def test_no_more_endpoints_than_the_daemon_takes_and_ready_ones_first():
    many = [f"2001:db8::{number:x}" for number in range(1, MOST + 1)]
    found = made(service(), slice_("a", end("2001:db8::", DRAINING), *many))
    (row,) = found.rows.values()
    assert len(row["endpoints"]) == MOST
    assert all(isinstance(one, str) for one in row["endpoints"])
    assert found.lacks == (f"port 80: {MOST + 1} endpoints, of which {MOST} are used",)


@pytest.mark.parametrize(
    ("given", "rules", "rows"),
    [
        (service("web", ""), Rules(), 0),
        (service(type="ClusterIP"), Rules(), 0),
        (service(type="NodePort"), Rules(), 0),
        (service(loadBalancerClass="example.com/other"), Rules(default_class=True), 0),
        (service(loadBalancerClass=None), Rules(), 0),
        (service(loadBalancerClass=None), Rules(default_class=True), 1),
        (service(), Rules(), 1),
    ],
)
def test_whose_services_are_ours(given, rules, rows):
    assert len(made(given, slice_("a", "2001:db8::1"), rules=rules).rows) == rows


def test_other_protocols_are_said_and_do_not_matter():
    found = made(service("web", "192.0.2.2", port(80), port(53, "dns", "UDP"), port(9, "s", "SCTP")))
    assert [row["protocol"] for row in found.rows.values()] == ["tcp", "udp"]
    assert found.lacks == ("port 9: SCTP is not translated",)


def test_addresses_of_the_status():
    odd = service("web", ("192.0.2.2", "2001:DB8:0::1", "192.0.2.3"), mode="Proxy")
    rows = made(odd).rows
    assert {name: (row.get("ipv4"), row.get("ipv6")) for name, row in rows.items()} == {
        "default/web/http": ("192.0.2.2:80", "[2001:db8::1]:80"),
        "default/web/http/192.0.2.3": ("192.0.2.3:80", None),
    }
    kube_proxys = made(service("web", ("192.0.2.2", "2001:db8::1"))).rows
    assert [row.get("ipv6") for row in kube_proxys.values()] == [None]
    assert made(service("web", "2001:db8::1")).rows == {}


def test_affinity_sources_and_prefix():
    given = service(
        sessionAffinity="ClientIP",
        sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}},
        loadBalancerSourceRanges=[" 198.51.100.7/24 ", "2001:db8::/32", "nonsense"],
        annotations={"nat64d.io/client-prefix": "2001:db8:c::/96"},
    )
    found = made(given)
    (row,) = found.rows.values()
    assert (row["affinity"], row["affinity_timeout"]) == ("client", 60)
    assert row["sources"] == ["198.51.100.0/24", "2001:db8::/32"]
    assert row["client_prefix"] == "2001:db8:c::/96"
    assert found.lacks == ("loadBalancerSourceRanges: 'nonsense' is no prefix, and lets nobody in",)
    assert [row["affinity_timeout"] for row in made(service(sessionAffinity="ClientIP")).rows.values()] == [10800]


def test_sources_that_are_none_let_nobody_in():
    """The row stays, so that connections of those who were let in before end."""
    found = made(service(loadBalancerSourceRanges=["nonsense", "192.0.2.0/33"]))
    assert [row["sources"] for row in found.rows.values()] == [["0.0.0.0/32", "::/128"]]
    assert found.lacks[-1] == "none of its loadBalancerSourceRanges is a prefix, so nobody is let in"


@pytest.mark.parametrize(
    ("policy", "node", "expected"),
    [
        ("Cluster", "node-a", 3),
        ("Local", "node-a", 1),
        ("Local", "node-b", 3),  # its only one is draining
        ("Local", "node-c", 3),
        ("Local", "", 3),
    ],
)
def test_the_traffic_policy_counts_on_a_node(policy, node, expected):
    one = slice_("a", end("2001:db8::1", node="node-a"), end("2001:db8::2", DRAINING, "node-b"), end("2001:db8::3"))
    assert len(ends(service(externalTrafficPolicy=policy), one, rules=Rules(node))) == expected


def test_hints_of_zones_are_left_alone():
    one = slice_("a", {**end("2001:db8::1"), "hints": {"forZones": [{"name": "b"}]}, "zone": "b"}, "2001:db8::2")
    assert len(ends(service(trafficDistribution="PreferSameZone"), one)) == 2
