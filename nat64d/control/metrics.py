"""Prometheus metrics, read from the Gateway at each scrape; there is no second set of counters.

What each of them says stands in families.py. A scrape walks no sessions and takes no lock: it costs the same with a
million of them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from nat64d.control.families import BY_NAME, POOL
from nat64d.control.measured import Measured, QueueCounts, ServiceUse
from nat64d.control.rows import Gateway, NotReadyError, Row, name_servers, queries

VERSIONS = {"0.0.4", "1.0.0"}  # of the text formats
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # upper bounds of the buckets
DIRECTIONS = ("6to4", "4to6")


def family(name: str, samples: Iterable[tuple[Sequence[str], Any]]) -> Metric:
    """A family of families.py with samples: the values of its labels, in their order, and a number."""
    metric = BY_NAME[name].new()
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric  # type: ignore[no-any-return]


def one(name: str, value: float) -> Metric:
    """A family without labels."""
    return family(name, [((), value)])


class GatewayCollector(Collector):
    """All metrics of the Gateway. Before it is ready, only those that need no tables."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def describe(self) -> list[Metric]:
        """An empty list, so that registering does not query a gateway that is still starting."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metric families, collected once per scrape."""
        status = self.gateway.status()
        yield family("build", [((), {"version": status["version"]})])
        yield one("uptime_seconds", status["uptime"])
        yield one("ready", int(self.gateway.ready()))
        yield one("warnings", len(status["warnings"]))
        yield family(
            "condition",
            (((row["condition"], str(row["blocks"]).lower()), row["standing"]) for row in self.gateway.conditions()),
        )
        yield family("happenings", (((event,), count) for event, count in self.gateway.happened.counts.items()))
        yield from dns64(self.gateway.dns64())
        try:
            yield from counts(self.gateway.counters(), self.gateway.events())
            yield one("sessions", status["sessions"])
            yield one("sessions_limit", status["limits"]["sessions"])
            yield one("bib_entries", status["bib"])
            yield from measured(self.gateway.measured())
            yield from pools(self.gateway.pools())
        except NotReadyError:
            return


def counts(counters: Sequence[Row], events: Iterable[Row]) -> Iterator[Metric]:
    """What is counted of packets, over all queues."""
    for name in ("packets", "octets"):
        yield family(name, (((row["direction"], row["verdict"]), row[name]) for row in counters))
    yield family("events", (((row["event"],), row["count"]) for row in events))


def measured(now: Measured) -> Iterator[Metric]:
    """What the data plane says of itself."""
    yield from per_queue([(str(number), queue) for number, queue in enumerate(now.queues)])
    yield family("sessions_by_state", (((row.protocol, row.state), row.sessions) for row in now.sessions))
    yield family("table_entries", (((row.table,), row.used) for row in now.tables))
    yield family("table_limit", (((row.table,), row.size) for row in now.tables))
    yield one("expiry_lag_seconds", now.expiry_lag)
    yield family("pool_address_ratio", ((row[:4], row.share) for row in now.addresses))
    yield from services(now.services)
    if now.restored is not None:
        yield family("restored_sessions", (((fate,), count) for fate, count in now.restored.items()))


def per_queue(queues: Sequence[tuple[str, QueueCounts]]) -> Iterator[Metric]:
    """What each queue has carried."""
    for name in ("packets", "octets"):
        both = ((number, zip(DIRECTIONS, getattr(queue, name), strict=True)) for number, queue in queues)
        yield family(f"queue_{name}", (((number, where), count) for number, pair in both for where, count in pair))
    yield family("queue_superframes", (((number,), queue.superframes) for number, queue in queues))
    batches = BY_NAME["queue_batch_packets"].new()
    for number, queue in queues:
        buckets = [(str(bound), sum(queue.batches[1 : bound + 1])) for bound in BATCHES]
        total = sum(size * count for size, count in enumerate(queue.batches))
        batches.add_metric((number,), [*buckets, ("+Inf", buckets[-1][1])], total)
    yield batches


def services(rows: Sequence[ServiceUse]) -> Iterator[Metric]:
    """What services have and do; none without [[service]]."""
    if not rows:
        return
    for name in ("sessions", "flows", "unpinned"):
        yield family(f"service_{name}", (((row.service,), getattr(row, name)) for row in rows))
    yield family(
        "service_refused",
        (((row.service, verdict), count) for row in rows for verdict, count in row.refused.items()),
    )
    states = ("ready", "draining", "down")
    yield family("service_members", (((row.service, state), getattr(row, state)) for row in rows for state in states))


def pools(rows: Sequence[Row]) -> Iterator[Metric]:
    """How much of each pool4 is in use."""
    named = [([row[label] or "" for label in POOL], row) for row in rows]
    for name, key in (
        ("pool_ports_used", "used"),
        ("pool_ports_limit", "total"),
        ("pool_fullest_ratio", "fullest"),
        ("pool_addresses_full", "full"),
    ):
        yield family(name, ((labels, row[key]) for labels, row in named))


def dns64(report: Row | None) -> Iterator[Metric]:
    """The metrics of the name server; none without [dns64]."""
    if not report:
        return
    yield family("dns64_queries", (((row["outcome"],), row["queries"]) for row in queries(report)))
    servers = name_servers(report)
    for key in ("asked", "answered", "failed", "seconds"):
        yield family(f"dns64_server_{key}", (((row["server"],), row[key]) for row in servers))
    cache = report["cache"]
    for name, key in (
        ("entries", "entries"),
        ("octets", "octets"),
        ("limit_octets", "limit"),
        ("hits", "hits"),
        ("misses", "misses"),
    ):
        yield one(f"dns64_cache_{name}", cache[key])


class Exposition:
    """The response to a scrape: the metrics of the Gateway and of the process (memory, CPU time, open files)."""

    def __init__(self, gateway: Gateway) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(GatewayCollector(gateway))
        ProcessCollector(registry=self._registry)

    def content_type(self, accept: str) -> str:
        """That of the response to an Accept header; "" means the Prometheus text format."""
        return choose_encoder(understood(accept))[1]

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and content type for an Accept header."""
        encode, content_type = choose_encoder(understood(accept))
        return encode(self._registry), content_type


def understood(accept: str) -> str:
    """An Accept header, or "" if it names a version that is none: prometheus_client raises errors for some of them."""
    return accept if VERSIONS.issuperset(re.findall(r"version=([^;,\s]*)", accept)) else ""
