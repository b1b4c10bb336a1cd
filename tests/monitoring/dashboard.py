"""The dashboard: config/grafana/dashboard.json is made from these rows (`make readme`), for Grafana 10 and newer.

In an expression `$i` stands for the instances that are chosen, `[r]` for the range that Grafana thinks fit.
"""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

SCHEMA = 38  # of Grafana 10.0; newer ones convert it
WIDTH = 24  # columns
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
PASSED = 'verdict=~"translated|hairpinned"'
DROPPED = 'verdict!~"translated|hairpinned|echoed"'
BATCHES = "sum by (le, instance, queue) (rate(nat64d_queue_batch_packets_bucket{$i}[r]))"
HITS = "rate(nat64d_dns64_cache_hits_total{$i}[r])"
POOL = "{{addresses}} {{ports}} {{protocol}} {{source}}"


class Panel(NamedTuple):
    """A row of one of ROWS: unit, and expressions with their legends; `bad` is where a number becomes red."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    help: str = ""
    columns: int = 8
    kind: str = "timeseries"
    bad: float | None = None


def stat(title: str, unit: str, expr: str, bad: float | None = None) -> Panel:
    """A single number for each instance, as it is now."""
    return Panel(title, unit, ((expr, "{{instance}}"),), columns=4, kind="stat", bad=bad)


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "State",
        (
            stat("Not ready", "none", "nat64d_ready{$i} == bool 0", 1),
            stat("Conditions of the host", "none", "sum by (instance) (nat64d_condition{$i})", 1),
            stat("Warnings", "none", "nat64d_warnings{$i}", 1),
            stat("Restarts within a day", "none", "resets(nat64d_uptime_seconds{$i}[1d])", 3),
            stat("Uptime", "s", "nat64d_uptime_seconds{$i}"),
            stat("Sessions", "short", "nat64d_sessions{$i}"),
            Panel(
                "Conditions that stand",
                "none",
                (("nat64d_condition{$i} > 0", "{{name}}, blocks: {{blocks}}, {{instance}}"),),
                "`nat64d status` has a sentence for each, and the command that helps.",
                columns=12,
            ),
            Panel(
                "What has happened",
                "none",
                (("increase(nat64d_happenings_total{$i}[r]) > 0", "{{event}}, {{instance}}"),),
                "`nat64d events` has a sentence for each: reloads, changes, flushes, conditions of the host.",
                columns=12,
            ),
        ),
    ),
    (
        "Traffic",
        (
            Panel(
                "Octets translated",
                "bps",
                ((f"sum by (direction) (rate(nat64d_octets_total{{$i, {PASSED}}}[r])) * 8", "{{direction}}"),),
            ),
            Panel(
                "Packets translated",
                "pps",
                ((f"sum by (direction) (rate(nat64d_packets_total{{$i, {PASSED}}}[r]))", "{{direction}}"),),
                "A super-frame is one packet.",
            ),
            Panel(
                "Drops by verdict",
                "pps",
                (
                    (
                        f"topk(10, sum by (verdict, direction) (rate(nat64d_packets_total{{$i, {DROPPED}}}[r])) > 0)",
                        "{{verdict}} {{direction}}",
                    ),
                ),
                "The ten most frequent; docs/verdicts.md says what each of them means.",
            ),
            Panel(
                "Packets by queue",
                "pps",
                (("sum by (instance, queue) (rate(nat64d_queue_packets_total{$i}[r]))", "{{queue}}, {{instance}}"),),
                "One queue that has all of them is one flow, or one core.",
            ),
            Panel(
                "Super-frames",
                "pps",
                (("rate(nat64d_queue_superframes_total{$i}[r])", "{{queue}}, {{instance}}"),),
                "GSO packets that were translated in one piece.",
            ),
            Panel(
                "Packets taken at once",
                "none",
                tuple(
                    (
                        f"histogram_quantile({share}, {BATCHES})",
                        f"{name}, queue {{{{queue}}}}, {{{{instance}}}}",
                    )
                    for share, name in ((0.5, "median"), (0.99, "99 %"))
                ),
                "At 64, which is all that is taken in one go, packets wait for nat64d.",
            ),
            Panel(
                "Lost before nat64d saw them",
                "pps",
                (('rate(nat64d_events_total{$i, event="tun_queue_full"}[r])', "{{instance}}"),),
                "The queue of the TUN device was full.",
            ),
            Panel(
                "Events",
                "ops",
                (("topk(10, sum by (event) (rate(nat64d_events_total{$i}[r])) > 0)", "{{event}}"),),
                "The ten most frequent; `nat64d counters --all` explains each.",
                columns=16,
            ),
        ),
    ),
    (
        "Sessions",
        (
            Panel(
                "Sessions against capacity",
                "short",
                (
                    ("nat64d_sessions{$i}", "sessions, {{instance}}"),
                    ("nat64d_sessions_limit{$i}", "[limits] sessions, {{instance}}"),
                ),
            ),
            Panel(
                "Sessions by protocol and state",
                "short",
                (("sum by (protocol, state) (nat64d_sessions_by_state{$i}) > 0", "{{protocol}} {{state}}"),),
                "Many in V6_INIT or V4_INIT: one side sends, and nobody answers.",
            ),
            Panel(
                "Opened and ended",
                "ops",
                (
                    (
                        'sum by (event) (rate(nat64d_events_total{$i, event=~"session_created|session_ended"}[r]))',
                        "{{event}}",
                    ),
                ),
            ),
            Panel(
                "Other tables",
                "percentunit",
                (("nat64d_table_entries{$i} / nat64d_table_limit{$i}", "{{table}}, {{instance}}"),),
            ),
            Panel(
                "Expiry lag",
                "s",
                (("nat64d_expiry_lag_seconds{$i}", "{{instance}}"),),
                "By how much sessions outlive their timeout; up to 2 s is normal.",
            ),
            Panel(
                "Sessions of the run before",
                "short",
                (("nat64d_restored_sessions{$i}", "{{fate}}, {{instance}}"),),
                "What became of them at the last start.",
            ),
        ),
    ),
    (
        "Pools",
        (
            Panel("Ports in use", "percentunit", (("nat64d_pool_ports_used{$i} / nat64d_pool_ports_limit{$i}", POOL),)),
            Panel("Fullest address", "percentunit", (("nat64d_pool_fullest_ratio{$i}", POOL),)),
            Panel("Addresses without a port left", "none", (("nat64d_pool_addresses_full{$i}", POOL),)),
            Panel(
                "Addresses, the twenty fullest",
                "percentunit",
                (("topk(20, nat64d_pool_address_ratio{$i})", "{{address}} {{ports}} {{protocol}} {{source}}"),),
                "Only while all [[pool4]] together have no more than 256.",
                columns=24,
            ),
        ),
    ),
    (
        "Services",
        (
            Panel(
                "Sessions of services, the twenty with most",
                "short",
                (("topk(20, nat64d_service_sessions{$i})", "{{service}}, {{instance}}"),),
            ),
            Panel(
                "New flows, the twenty with most",
                "cps",
                (("topk(20, rate(nat64d_service_flows_total{$i}[r]))", "{{service}}, {{instance}}"),),
                "Flows of clients that got a session.",
            ),
            Panel(
                "Refused",
                "pps",
                (
                    (
                        "topk(20, rate(nat64d_service_refused_total{$i}[r]) > 0)",
                        "{{service}} {{verdict}}, {{instance}}",
                    ),
                ),
                "Packets of clients that were not let in; docs/verdicts.md says what each verdict means.",
            ),
            Panel(
                "Endpoints that are not ready",
                "none",
                (
                    (
                        'topk(20, nat64d_service_members{$i, state!="ready"} > 0)',
                        "{{service}} {{state}}, {{instance}}",
                    ),
                ),
                "Draining ones get new flows only if none is ready, those that are down none.",
                columns=12,
            ),
            Panel(
                "Without a session",
                "pps",
                (("rate(nat64d_service_unpinned_total{$i}[r]) > 0", "{{service}}, {{instance}}"),),
                "For want of room in the session table: clients are served, but flows move when endpoints change.",
                columns=12,
            ),
        ),
    ),
    (
        "DNS64",
        (
            Panel(
                "Queries by outcome",
                "reqps",
                (("sum by (outcome) (rate(nat64d_dns64_queries_total{$i}[r])) > 0", "{{outcome}}"),),
            ),
            Panel(
                "Answered from the cache",
                "percentunit",
                (
                    (
                        f"{HITS} / ({HITS} + rate(nat64d_dns64_cache_misses_total{{$i}}[r]))",
                        "{{instance}}",
                    ),
                ),
            ),
            Panel(
                "Memory of the cache",
                "bytes",
                (
                    ("nat64d_dns64_cache_octets{$i}", "used, {{instance}}"),
                    ("nat64d_dns64_cache_limit_octets{$i}", "[dns64] cache, {{instance}}"),
                ),
            ),
            Panel(
                "Asked of upstream servers",
                "reqps",
                (("sum by (server) (rate(nat64d_dns64_server_asked_total{$i}[r]))", "{{server}}"),),
            ),
            Panel(
                "Not answered by upstream servers",
                "reqps",
                (("sum by (server) (rate(nat64d_dns64_server_failed_total{$i}[r]))", "{{server}}"),),
            ),
            Panel(
                "Response time of upstream servers",
                "s",
                (("nat64d_dns64_server_seconds{$i}", "{{server}}, {{instance}}"),),
            ),
        ),
    ),
    (
        "Process",
        (
            Panel("CPU", "percentunit", (("rate(process_cpu_seconds_total{$i}[r])", "{{instance}}"),), "1 is a core."),
            Panel("Memory", "bytes", (("process_resident_memory_bytes{$i}", "{{instance}}"),)),
            Panel("Open files", "none", (("process_open_fds{$i}", "{{instance}}"),)),
        ),
    ),
)


def expression(text: str) -> str:
    """What Grafana gets for an expression of a Panel."""
    return text.replace("$i", 'instance=~"$instance"').replace("[r]", "[$__rate_interval]")


def document() -> str:
    """config/grafana/dashboard.json."""
    return json.dumps(_dashboard(), indent=2, ensure_ascii=False) + "\n"


def _dashboard() -> dict[str, Any]:
    return {
        "title": "nat64d",
        "uid": "nat64d",
        "description": "NAT64 gateways; the metrics are explained in docs/monitoring.md.",
        "tags": ["nat64d"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": _variables()},
        "panels": list(_panels()),
    }


def _variables() -> list[dict[str, Any]]:
    """The data source, and the gateways that are shown."""
    query = "label_values(nat64d_build_info, instance)"
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Gateway",
            "type": "query",
            "datasource": DATASOURCE,
            "query": {"query": query, "refId": "instances"},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        },
    ]


def _panels() -> Iterator[dict[str, Any]]:
    """The panels from left to right and top to bottom; each row of them begins with its title."""
    numbers, y = count(1), 0
    for title, panels in ROWS:
        place = {"h": 1, "w": WIDTH, "x": 0, "y": y}
        yield {"id": next(numbers), "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        x, y, height = 0, y + 1, 0
        for panel in panels:
            if x + panel.columns > WIDTH:
                x, y = 0, y + height
            height = 4 if panel.kind == "stat" else 8
            yield _panel(panel, next(numbers), {"h": height, "w": panel.columns, "x": x, "y": y})
            x += panel.columns
        y += height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps = [{"color": "green", "value": None}]
    steps += [{"color": "red", "value": panel.bad}] if panel.bad is not None else []
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "stat":
        options: dict[str, Any] = {
            "colorMode": "background" if panel.bad is not None else "none",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "auto",
        }
    else:
        defaults["custom"] = {"drawStyle": "line", "fillOpacity": 10, "showPoints": "never", "spanNulls": False}
        options = {
            "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {"refId": chr(65 + at), "datasource": DATASOURCE, "expr": expression(text), "legendFormat": legend}
            for at, (text, legend) in enumerate(panel.queries)
        ],
    }
