"""Metrics: the names and labels that dashboards and alerts rely on, in both text formats."""

import urllib.request

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_classic

from nat64d.control.events import EVENTS
from nat64d.control.families import FAMILIES, PREFIX, Kind
from nat64d.control.metrics import Exposition
from nat64d.dns64.message.endings import Ending
from tests.nat64d.fake_gateway import FakeGateway, serving, standing

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
QUEUE = {"queue": "0"}
POOL = {"addresses": "203.0.113.0/30", "ports": "1024-65535", "protocol": "tcp", "source": ""}
QUERIES = {"synthesised": 7, "cached": 5}
SAMPLES = [
    ("nat64d_build_info", {"version": "1.2.3"}, 1),
    ("nat64d_uptime_seconds", {}, 3723.25),
    ("nat64d_ready", {}, 1),
    ("nat64d_warnings", {}, 0),
    ("nat64d_condition", {"name": "firewall", "blocks": "true"}, 0),
    ("nat64d_condition", {"name": "on_link", "blocks": "false"}, 0),
    *(("nat64d_happenings_total", {"event": event}, 0) for event in EVENTS),
    *(("nat64d_dns64_queries_total", {"outcome": str(o)}, QUERIES.get(str(o), 0)) for o in Ending),
    ("nat64d_dns64_server_asked_total", {"server": "192.0.2.53:53"}, 14),
    ("nat64d_dns64_server_answered_total", {"server": "192.0.2.53:53"}, 12),
    ("nat64d_dns64_server_failed_total", {"server": "192.0.2.53:53"}, 1),
    ("nat64d_dns64_server_seconds", {"server": "192.0.2.53:53"}, 0.0125),
    ("nat64d_dns64_cache_entries", {}, 6),
    ("nat64d_dns64_cache_octets", {}, 4096),
    ("nat64d_dns64_cache_limit_octets", {}, 65536),
    ("nat64d_dns64_cache_hits_total", {}, 5),
    ("nat64d_dns64_cache_misses_total", {}, 9),
    ("nat64d_packets_total", {"direction": "6to4", "verdict": "translated"}, 12),
    ("nat64d_packets_total", {"direction": "4to6", "verdict": "translated"}, 0),
    ("nat64d_packets_total", {"direction": "4to6", "verdict": "hop_limit_expired"}, 3),
    ("nat64d_octets_total", {"direction": "6to4", "verdict": "translated"}, 1200),
    ("nat64d_octets_total", {"direction": "4to6", "verdict": "translated"}, 0),
    ("nat64d_octets_total", {"direction": "4to6", "verdict": "hop_limit_expired"}, 300),
    ("nat64d_events_total", {"event": "bib_created"}, 1),
    ("nat64d_events_total", {"event": "bib_ended"}, 0),
    ("nat64d_sessions", {}, 2),
    ("nat64d_sessions_limit", {}, 1048576),
    ("nat64d_bib_entries", {}, 1),
    *(
        (f"nat64d_queue_{name}_total", QUEUE | {"direction": direction}, count)
        for name, direction, count in (
            ("packets", "6to4", 12),
            ("packets", "4to6", 0),
            ("octets", "6to4", 1200),
            ("octets", "4to6", 0),
        )
    ),
    ("nat64d_queue_superframes_total", QUEUE, 2),
    *(
        ("nat64d_queue_batch_packets_bucket", QUEUE | {"le": bound}, count)
        for bound, count in (
            ("1", 2),
            ("2", 2),
            ("4", 3),
            ("8", 3),
            ("16", 3),
            ("32", 3),
            ("64", 4),
            ("128", 4),
            ("256", 4),
            ("+Inf", 4),
        )
    ),
    ("nat64d_queue_batch_packets_count", QUEUE, 4),
    ("nat64d_queue_batch_packets_sum", QUEUE, 2 * 1 + 1 * 3 + 1 * 64),
    ("nat64d_sessions_by_state", {"protocol": "tcp", "state": "ESTABLISHED"}, 1),
    ("nat64d_sessions_by_state", {"protocol": "udp", "state": "ANSWERED"}, 1),
    ("nat64d_table_entries", {"table": "hosts"}, 1),
    ("nat64d_table_limit", {"table": "hosts"}, 1048576),
    ("nat64d_expiry_lag_seconds", {}, 1),
    (
        "nat64d_pool_address_ratio",
        {"address": "203.0.113.1", "ports": "1024-65535", "protocol": "tcp", "source": ""},
        0.25,
    ),
    ("nat64d_service_sessions", {"service": "web"}, 7),
    ("nat64d_service_flows_total", {"service": "web"}, 100),
    ("nat64d_service_unpinned_total", {"service": "web"}, 2),
    ("nat64d_service_refused_total", {"service": "web", "verdict": "no_endpoint"}, 3),
    ("nat64d_service_refused_total", {"service": "web", "verdict": "source_range"}, 0),
    ("nat64d_service_members", {"service": "web", "state": "ready"}, 1),
    ("nat64d_service_members", {"service": "web", "state": "draining"}, 0),
    ("nat64d_service_members", {"service": "web", "state": "down"}, 1),
    ("nat64d_restored_sessions", {"fate": "kept"}, 2),
    ("nat64d_restored_sessions", {"fate": "damaged"}, 0),
    ("nat64d_pool_ports_used", POOL, 1),
    ("nat64d_pool_ports_used", POOL | {"source": "2001:db8:1::/48"}, 0),
    ("nat64d_pool_ports_limit", POOL, 258048),
    ("nat64d_pool_ports_limit", POOL | {"source": "2001:db8:1::/48"}, 0),
    ("nat64d_pool_fullest_ratio", POOL, 0.25),
    ("nat64d_pool_fullest_ratio", POOL | {"source": "2001:db8:1::/48"}, 0),
    ("nat64d_pool_addresses_full", POOL, 0),
    ("nat64d_pool_addresses_full", POOL | {"source": "2001:db8:1::/48"}, 2),
]


@pytest.fixture
def gateway():
    return FakeGateway()


def samples(families):
    return [(s.name, s.labels, s.value) for family in families for s in family.samples if s.name.startswith("nat64d_")]


@pytest.mark.parametrize(("accept", "parse"), [("", parse_classic), (OPENMETRICS, parse_openmetrics)])
def test_every_number_of_the_gateway_is_a_sample(gateway, accept, parse):
    body, _ = Exposition(gateway).render(accept)
    assert samples(parse(body.decode())) == SAMPLES


def test_a_condition_that_stands_is_counted(gateway):
    gateway.state, gateway.standing = "blocked", [standing("firewall")]
    body, _ = Exposition(gateway).render("")
    assert b'nat64d_condition{blocks="true",name="firewall"} 1.0' in body
    assert b'nat64d_condition{blocks="false",name="on_link"} 0.0' in body
    assert b"\nnat64d_ready 0.0\n" in body


def test_families_have_help_and_the_right_type(gateway):
    body, _ = Exposition(gateway).render(OPENMETRICS)
    families = {family.name: family for family in parse_openmetrics(body.decode())}
    ours = {name: family for name, family in families.items() if name.startswith("nat64d_")}
    assert {name: (family.type, family.documentation) for name, family in ours.items()} == {
        PREFIX + row.name: (row.kind.name.lower(), row.help) for row in FAMILIES
    }
    assert all(row.help.endswith(".") for row in FAMILIES)
    assert "process_resident_memory_bytes" in families


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.name)
def test_a_metric_has_the_name_and_the_labels_of_its_row(gateway, row):
    """A label without a name would make the sample's labels fewer than its values, which nothing else complains of."""
    body, _ = Exposition(gateway).render("")
    suffix = "_sum" if row.kind is Kind.HISTOGRAM else ""
    found = [labels for name, labels, _ in samples(parse_classic(body.decode())) if name == row.exposed + suffix]
    assert found
    assert all(labels.keys() == set(row.labels) for labels in found)


def test_before_it_is_ready_there_is_only_what_needs_no_tables(gateway):
    gateway.state, gateway.report = "compiling", None
    body, _ = Exposition(gateway).render("")
    assert [name for name, _, _ in samples(parse_classic(body.decode()))] == [
        "nat64d_build_info",
        "nat64d_uptime_seconds",
        "nat64d_ready",
        "nat64d_warnings",
        *["nat64d_happenings_total"] * len(EVENTS),
    ]
    assert b"\nnat64d_ready 0.0\n" in body


def test_starting_does_not_ask_the_gateway():
    Exposition(None)


def test_each_scrape_reads_anew(gateway):
    exposition = Exposition(gateway)
    before = exposition.render("")[0]
    gateway.state = "stopping"
    assert b"\nnat64d_ready 1.0\n" in before
    assert b"\nnat64d_ready 0.0\n" in exposition.render("")[0]


@pytest.mark.parametrize(
    ("accept", "content_type"), [("", "text/plain"), (OPENMETRICS, "application/openmetrics-text")]
)
def test_over_http_the_scraper_gets_the_format_it_asks_for(gateway, tmp_path, accept, content_type):
    with serving(gateway, tmp_path / "api.sock", "127.0.0.1:0") as server:
        request = urllib.request.Request(f"http://{server.http}/metrics", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.headers.get_content_type() == content_type
            assert b"nat64d_sessions 2.0\n" in response.read()
