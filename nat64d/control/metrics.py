"""Prometheus metrics, read from the Gateway at each scrape; there is no second set of counters."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import Executor

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from nat64d.control.rows import Gateway, NotReadyError, Row, name_servers, queries

VERSIONS = {"0.0.4", "1.0.0"}  # of the text formats
_POOL = (
    "addresses",
    "ports",
    "protocol",
    "source",
)  # only all four together identify a pool; Prometheus refuses two samples with the same labels


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
        yield InfoMetricFamily("nat64d_build", "The running version.", {"version": status["version"]})
        yield GaugeMetricFamily("nat64d_uptime_seconds", "Seconds since the daemon started.", status["uptime"])
        yield GaugeMetricFamily(
            "nat64d_ready", "1 while packets are translated and can pass.", int(self.gateway.ready())
        )
        warnings = "Number of things that do not work as configured; `nat64d status` lists them."
        yield GaugeMetricFamily("nat64d_warnings", warnings, len(status["warnings"]))
        yield from (self._conditions(), *self._dns64())
        try:
            yield from (*self._tables(status), *self._counts(), *self._pools())
        except NotReadyError:
            return

    def _conditions(self) -> Metric:
        standing = GaugeMetricFamily(
            "nat64d_condition",
            "How often a condition of the host stands; `nat64d status` says what it is and which command helps.",
            labels=("name", "blocks"),
        )
        for row in self.gateway.conditions():
            standing.add_metric((row["condition"], str(row["blocks"]).lower()), row["standing"])
        return standing

    def _tables(self, status: Row) -> Iterator[Metric]:
        yield GaugeMetricFamily("nat64d_sessions", "Open sessions.", status["sessions"])
        yield GaugeMetricFamily("nat64d_sessions_limit", "[limits] sessions.", status["limits"]["sessions"])
        yield GaugeMetricFamily("nat64d_bib_entries", "BIB entries, static ones included.", status["bib"])

    def _counts(self) -> Iterator[Metric]:
        packets = CounterMetricFamily(
            "nat64d_packets",
            "Packets by direction and verdict; `nat64d counters --all` explains each verdict.",
            labels=("direction", "verdict"),
        )
        for row in self.gateway.counters():
            packets.add_metric((row["direction"], row["verdict"]), row["packets"])
        events = CounterMetricFamily(
            "nat64d_events",
            "Events besides the verdicts of packets; `nat64d counters --all` explains each event.",
            labels=("event",),
        )
        for row in self.gateway.events():
            events.add_metric((row["event"],), row["count"])
        yield from (packets, events)

    def _dns64(self) -> Iterator[Metric]:
        """The metrics of the name server; none without [dns64]."""
        report = self.gateway.dns64()
        if not report:
            return
        ended = CounterMetricFamily(
            "nat64d_dns64_queries",
            "DNS queries by outcome; `nat64d counters --all` explains each outcome.",
            labels=("outcome",),
        )
        for row in queries(report):
            ended.add_metric((row["outcome"],), row["queries"])
        label = ("server",)
        asked = CounterMetricFamily("nat64d_dns64_server_asked", "Queries to an upstream name server.", labels=label)
        failed = CounterMetricFamily("nat64d_dns64_server_failed", "Those that were not answered.", labels=label)
        seconds = GaugeMetricFamily("nat64d_dns64_server_seconds", "Smoothed response time.", labels=label)
        for row in name_servers(report):
            for family, key in ((asked, "asked"), (failed, "failed"), (seconds, "seconds")):
                family.add_metric((row["server"],), row[key])
        cache = report["cache"]
        yield from (ended, asked, failed, seconds)
        yield GaugeMetricFamily("nat64d_dns64_cache_entries", "Answers in the cache.", cache["entries"])
        yield GaugeMetricFamily("nat64d_dns64_cache_octets", "Memory used by the cache, in octets.", cache["octets"])

    def _pools(self) -> Iterator[Metric]:
        used = GaugeMetricFamily("nat64d_pool_ports_used", "Ports of a pool4 in use, over its addresses.", labels=_POOL)
        limit = GaugeMetricFamily(
            "nat64d_pool_ports_limit", "Ports that a pool4 has, over its addresses.", labels=_POOL
        )
        for row in self.gateway.pools():
            name = [row[label] or "" for label in _POOL]
            used.add_metric(name, row["used"])
            limit.add_metric(name, row["total"])
        yield from (used, limit)


class Exposition:
    """The response to a scrape: the metrics of the Gateway and of the process (memory, CPU time, open files)."""

    def __init__(self, gateway: Gateway) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(GatewayCollector(gateway))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and content type for an Accept header; "" means the Prometheus text format."""
        encode, content_type = choose_encoder(understood(accept))
        return encode(self._registry), content_type


def understood(accept: str) -> str:
    """An Accept header, or "" if it names a version that is none: prometheus_client raises errors for some of them."""
    return accept if VERSIONS.issuperset(re.findall(r"version=([^;,\s]*)", accept)) else ""


class Scrapes:
    """Answers to scrapes: those that wait for the same format share one exposition, so that many cost no more than
    two."""

    def __init__(self, exposition: Exposition, threads: Executor) -> None:
        self._exposition = exposition
        self._threads = threads
        self._next: dict[str, asyncio.Future[tuple[bytes, str]]] = {}  # by content type; not begun yet

    async def answer(self, accept: str) -> tuple[bytes, str]:
        """The body and content type for an Accept header, as they are now or later."""
        _, content_type = choose_encoder(understood(accept))
        if content_type not in self._next:
            loop = asyncio.get_running_loop()
            self._next[content_type] = loop.run_in_executor(self._threads, self._render, content_type, accept)
        return await asyncio.shield(self._next[content_type])

    def _render(self, content_type: str, accept: str) -> tuple[bytes, str]:
        self._next.pop(content_type, None)  # who asks from now on wants to see what comes from now on
        return self._exposition.render(accept)
