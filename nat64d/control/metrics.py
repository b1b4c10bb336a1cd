"""Prometheus metrics, read from the Gateway at the moment of the scrape: nothing is counted twice or can drift."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector, CollectorRegistry

from nat64d.control.gateway import Gateway, NotReadyError, Row, name_servers, queries

_POOL = (
    "addresses",
    "ports",
    "protocol",
    "source",
)  # together they name a pool: any fewer may repeat, which Prometheus refuses


class GatewayCollector(Collector):
    """Everything the Gateway counts.  While it is not ready there are only the families that need no tables."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask a gateway that is still starting."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families, once per scrape."""
        status = self.gateway.status()
        yield InfoMetricFamily("nat64d_build", "The running version.", {"version": status["version"]})
        yield GaugeMetricFamily("nat64d_uptime_seconds", "Seconds since the daemon started.", status["uptime"])
        yield GaugeMetricFamily("nat64d_ready", "1 while packets are being translated.", int(self.gateway.ready()))
        warnings = "What does not work as configured; `nat64d status` says what."
        yield GaugeMetricFamily("nat64d_warnings", warnings, len(status["warnings"]))
        yield from self._dns64()
        try:
            yield from (*self._tables(status), *self._counts(), *self._pools())
        except NotReadyError:
            return

    def _tables(self, status: Row) -> Iterator[Metric]:
        yield GaugeMetricFamily("nat64d_sessions", "Sessions now open.", status["sessions"])
        yield GaugeMetricFamily("nat64d_sessions_limit", "[limits] sessions.", status["limits"]["sessions"])
        yield GaugeMetricFamily("nat64d_bib_entries", "BIB entries now held, static ones included.", status["bib"])

    def _counts(self) -> Iterator[Metric]:
        packets = CounterMetricFamily(
            "nat64d_packets",
            "Packets by direction and by how they ended; `nat64d counters --all` says what each verdict means.",
            labels=("direction", "verdict"),
        )
        for row in self.gateway.counters():
            packets.add_metric((row["direction"], row["verdict"]), row["packets"])
        events = CounterMetricFamily(
            "nat64d_events",
            "What happened beside the end of a packet; `nat64d counters --all` says what each event means.",
            labels=("event",),
        )
        for row in self.gateway.events():
            events.add_metric((row["event"],), row["count"])
        yield from (packets, events)

    def _dns64(self) -> Iterator[Metric]:
        """Nothing without a name server."""
        report = self.gateway.dns64()
        if not report:
            return
        ended = CounterMetricFamily(
            "nat64d_dns64_queries",
            "DNS queries by how they ended; `nat64d counters --all` says what each outcome means.",
            labels=("outcome",),
        )
        for row in queries(report):
            ended.add_metric((row["outcome"],), row["queries"])
        asked = CounterMetricFamily("nat64d_dns64_server_asked", "Questions to a name server.", labels=("server",))
        failed = CounterMetricFamily("nat64d_dns64_server_failed", "Those not answered.", labels=("server",))
        seconds = GaugeMetricFamily("nat64d_dns64_server_seconds", "Until it answers, smoothed.", labels=("server",))
        for row in name_servers(report):
            for family, key in ((asked, "asked"), (failed, "failed"), (seconds, "seconds")):
                family.add_metric((row["server"],), row[key])
        cache = report["cache"]
        yield from (ended, asked, failed, seconds)
        yield GaugeMetricFamily("nat64d_dns64_cache_entries", "Answers in the cache.", cache["entries"])
        yield GaugeMetricFamily("nat64d_dns64_cache_octets", "Octets of memory of the cache.", cache["octets"])

    def _pools(self) -> Iterator[Metric]:
        used = GaugeMetricFamily("nat64d_pool_ports_used", "Transport addresses of a pool4 in use.", labels=_POOL)
        limit = GaugeMetricFamily("nat64d_pool_ports_limit", "Transport addresses a pool4 has.", labels=_POOL)
        for row in self.gateway.pools():
            name = [row[label] or "" for label in _POOL]
            used.add_metric(name, row["used"])
            limit.add_metric(name, row["total"])
        yield from (used, limit)


class Exposition:
    """What a scrape is answered with: the Gateway's metrics and the process's own (memory, processor time, files)."""

    def __init__(self, gateway: Gateway) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(GatewayCollector(gateway))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Body and content type for an Accept header; "" gives the classic text format."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
