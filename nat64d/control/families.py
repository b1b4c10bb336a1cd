"""Every metric, one row each: what /metrics exposes and docs/monitoring.md lists is made from these rows."""

from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric

PREFIX = "nat64d_"
# Only all four identify a pool; no two samples have the same labels.
POOL = ("addresses", "ports", "protocol", "source")


class Kind(Enum):
    """The types of Prometheus: how a family is made, and what is added to its name."""

    COUNTER = CounterMetricFamily, "_total"
    GAUGE = GaugeMetricFamily, ""
    HISTOGRAM = HistogramMetricFamily, ""
    INFO = InfoMetricFamily, "_info"


class Family(NamedTuple):
    """A metric: its name without prefix and suffix, its labels, and what it says."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def exposed(self) -> str:
        """The name of its samples; a histogram has three, with the suffixes _bucket, _count and _sum."""
        return f"{PREFIX}{self.name}{self.kind.value[1]}"

    def new(self) -> Any:
        """The family without samples."""
        make: Callable[..., Metric] = self.kind.value[0]
        return make(PREFIX + self.name, self.help, labels=() if self.kind is Kind.INFO else self.labels)


FAMILIES = (
    Family("build", Kind.INFO, ("version",), "The running version."),
    Family("uptime_seconds", Kind.GAUGE, (), "Seconds since the daemon started."),
    Family("ready", Kind.GAUGE, (), "1 while packets are translated and can pass."),
    Family("warnings", Kind.GAUGE, (), "Number of things that do not work as configured; `nat64d status` lists them."),
    Family(
        "condition",
        Kind.GAUGE,
        ("name", "blocks"),
        "How often a condition of the host stands, 0: not; `nat64d status` says what it is and which command helps.",
    ),
    Family(
        "happenings", Kind.COUNTER, ("event",), "What has happened, by event; `nat64d events` has the last thousand."
    ),
    # Packets
    Family(
        "packets",
        Kind.COUNTER,
        ("direction", "verdict"),
        "Packets by direction and verdict; `nat64d counters --all` explains each verdict.",
    ),
    Family("octets", Kind.COUNTER, ("direction", "verdict"), "Octets of those packets, from the IP header on."),
    Family(
        "events",
        Kind.COUNTER,
        ("event",),
        "Events besides the verdicts of packets; `nat64d counters --all` explains each event.",
    ),
    # Queues
    Family(
        "queue_packets",
        Kind.COUNTER,
        ("queue", "direction"),
        "Packets that came through a queue of the TUN device, whatever became of them.",
    ),
    Family("queue_octets", Kind.COUNTER, ("queue", "direction"), "Octets of those packets, from the IP header on."),
    Family(
        "queue_superframes",
        Kind.COUNTER,
        ("queue",),
        "GSO super-frames among those packets that were translated in one piece; each counts as one packet.",
    ),
    Family(
        "queue_batch_packets",
        Kind.HISTOGRAM,
        ("queue",),
        "Packets taken from a queue in one go, 256 at most: full batches mean that packets wait.",
    ),
    # Tables
    Family("sessions", Kind.GAUGE, (), "Open sessions."),
    Family("sessions_limit", Kind.GAUGE, (), "[limits] sessions."),
    Family(
        "sessions_by_state",
        Kind.GAUGE,
        ("protocol", "state"),
        "Open sessions by protocol and state: that of RFC 6146 for TCP; V6_INIT or V4_INIT of others until the other "
        "side has answered, then ANSWERED.",
    ),
    Family("bib_entries", Kind.GAUGE, (), "BIB entries, static ones included."),
    Family(
        "table_entries",
        Kind.GAUGE,
        ("table",),
        "Entries of the other tables: IPv6 hosts and subscribers with mappings, ports in quarantine, datagrams of "
        "which fragments are known, SYNs that wait for a simultaneous open, entries of the log of sessions that wait "
        "to be written.",
    ),
    Family("table_limit", Kind.GAUGE, ("table",), "How many entries these tables have room for."),
    Family(
        "expiry_lag_seconds",
        Kind.GAUGE,
        (),
        "Seconds by which sessions outlive their timeout; up to 2 is normal, more means that the daemon lacks CPU "
        "time.",
    ),
    Family(
        "restored_sessions",
        Kind.GAUGE,
        ("fate",),
        "Sessions of the run before by what became of them at the start; without [state] keep there are none.",
    ),
    # Pools
    Family("pool_ports_used", Kind.GAUGE, POOL, "Ports of a pool4 in use, over its addresses."),
    Family("pool_ports_limit", Kind.GAUGE, POOL, "Ports that a pool4 has, over its addresses."),
    Family("pool_fullest_ratio", Kind.GAUGE, POOL, "Share of its ports in use at the fullest address of a pool4."),
    Family("pool_addresses_full", Kind.GAUGE, POOL, "Addresses of a pool4 that have no port left."),
    Family(
        "pool_address_ratio",
        Kind.GAUGE,
        ("address", "ports", "protocol", "source"),
        "Share of its ports in use at each address; there are none of these if all pool4 together have more than 256 "
        "addresses.",
    ),
    # Services; many of them share one series, service="(others)"
    Family("service_sessions", Kind.GAUGE, ("service",), "Open sessions of a [[service]]."),
    Family(
        "service_flows", Kind.COUNTER, ("service",), "Flows of clients that a [[service]] has opened a session for."
    ),
    Family(
        "service_unpinned",
        Kind.COUNTER,
        ("service",),
        "Packets to a [[service]] that went where the hash says without a session, for want of room.",
    ),
    Family(
        "service_refused",
        Kind.COUNTER,
        ("service", "verdict"),
        "Packets to a [[service]] that were not let in; `nat64d counters --all` explains each verdict.",
    ),
    Family(
        "service_members",
        Kind.GAUGE,
        ("service", "state"),
        "Endpoints of a [[service]], once each whatever its protocols: ready ones get new flows, draining ones only if "
        "none is ready, those that are down none.",
    ),
    # DNS64
    Family(
        "dns64_queries",
        Kind.COUNTER,
        ("outcome",),
        "DNS queries by outcome; `nat64d counters --all` explains each outcome.",
    ),
    Family("dns64_server_asked", Kind.COUNTER, ("server",), "Queries to an upstream name server."),
    Family("dns64_server_answered", Kind.COUNTER, ("server",), "Those that were answered."),
    Family("dns64_server_failed", Kind.COUNTER, ("server",), "Those that were not answered."),
    Family("dns64_server_seconds", Kind.GAUGE, ("server",), "Smoothed response time."),
    Family("dns64_cache_entries", Kind.GAUGE, (), "Answers in the cache."),
    Family("dns64_cache_octets", Kind.GAUGE, (), "Memory used by the cache, in octets."),
    Family("dns64_cache_limit_octets", Kind.GAUGE, (), "[dns64] cache."),
    Family("dns64_cache_hits", Kind.COUNTER, (), "Questions of clients answered from the cache."),
    Family("dns64_cache_misses", Kind.COUNTER, (), "Questions of clients whose answer was not in the cache."),
)
BY_NAME = {family.name: family for family in FAMILIES}
