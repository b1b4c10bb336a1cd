"""The alerts: config/grafana/alerts.yaml and docs/alerts.md are made from these rows (`make readme`)."""

import json
from typing import NamedTuple

HEAD = """\
# Alerts for Prometheus 2.30 or newer; in prometheus.yml: rule_files: [alerts.yaml]. The scrape job is called nat64d.
# runbook_url is relative to the sources of nat64d: put the address where you keep them in front.
# Written by `make readme`; what each alert means stands in docs/alerts.md.
groups:
  - name: nat64d
    rules:
"""
PAGE = "docs/alerts.md"


class Alert(NamedTuple):
    """A row: expression, how long it must hold ("": not at all), how bad it is, one line for a message, what it means,
    and the commands to run."""

    name: str
    expr: str
    wait: str
    severity: str  # "critical": connections fail now; "warning": look at it today
    summary: str
    meaning: str
    commands: tuple[str, ...]

    @property
    def description(self) -> str:
        """The meaning, and what to run, as one paragraph."""
        return f"{self.meaning} Run on the gateway: {', '.join(self.commands)}"

    @property
    def runbook(self) -> str:
        """Where docs/ has it."""
        return f"{PAGE}#{self.name.lower()}"


def dropped(*verdicts: str) -> str:
    """Packets end so now."""
    return f"rate(nat64d_packets_total{{verdict{_matched(verdicts)}}}[5m]) > 0"


def happens(*events: str) -> str:
    """An event is counted now."""
    return f"rate(nat64d_events_total{{event{_matched(events)}}}[5m]) > 0"


def _matched(values: tuple[str, ...]) -> str:
    """What a label is to be."""
    return f'="{values[0]}"' if len(values) == 1 else f'=~"{"|".join(values)}"'


ALERTS = (
    Alert(
        "Nat64dDown",
        'up{job="nat64d"} == 0 or nat64d_ready == 0',
        "2m",
        "critical",
        "nat64d translates nothing",
        "The daemon does not run, cannot be scraped, or is not ready.",
        ("nat64d status", "journalctl -u nat64d -e"),
    ),
    Alert(
        "Nat64dBlocked",
        'nat64d_condition{blocks="true"} > 0',
        "2m",
        "critical",
        "the host keeps packets from passing ({{ $labels.name }})",
        "A condition of the host stands that no packet gets past; the status has a sentence and the command that "
        "helps.",
        ("nat64d status", "nat64d check"),
    ),
    Alert(
        "Nat64dCondition",
        'nat64d_condition{blocks="false"} > 0',
        "5m",
        "warning",
        "something on the host has changed ({{ $labels.name }})",
        "A condition of the host stands that lets packets pass, but not all, or not as configured.",
        ("nat64d status",),
    ),
    Alert(
        "Nat64dWarnings",
        "nat64d_warnings > 0",
        "5m",
        "warning",
        "{{ $value }} things do not work as configured",
        "For example a port 53 that another program holds, or an upstream name server that does not answer.",
        ("nat64d status",),
    ),
    Alert(
        "Nat64dRestarts",
        "resets(nat64d_uptime_seconds[1h]) > 2",
        "",
        "warning",
        "the daemon restarts again and again ({{ $value }} times in an hour)",
        "It ends and is started again. Sessions outlive that, but packets wait meanwhile; the log says why it ended.",
        ("journalctl -u nat64d -p warning", "nat64d status"),
    ),
    Alert(
        "Nat64dSessionsDamaged",
        'nat64d_restored_sessions{fate="damaged"} > 0 and on (instance, job) nat64d_uptime_seconds < 3600',
        "",
        "warning",
        "{{ $value }} sessions of the run before were damaged",
        "Records in [state] file did not say what a session says, and were left out: memory of the host may be faulty, "
        "or another program has written to the file.",
        ("journalctl -u nat64d -g Kept",),
    ),
    # Sessions and pools
    Alert(
        "Nat64dPoolNearlyFull",
        "nat64d_pool_ports_used / nat64d_pool_ports_limit > 0.8",
        "5m",
        "warning",
        "pool4 {{ $labels.addresses }} is nearly full ({{ $labels.protocol }})",
        "More than four fifths of the ports are in use: add addresses to that [[pool4]], or set [limits] "
        "per_host_ports.",
        ("nat64d pools",),
    ),
    Alert(
        "Nat64dBlocksNearlyFull",
        'nat64d_table_entries{table="blocks"} / nat64d_table_limit{table="blocks"} > 0.8',
        "5m",
        "warning",
        "the table of blocks of ports is nearly full",
        "More than four fifths of the blocks that there are records for are somebody's: raise [limits] sessions, or "
        "port_block.",
        ("nat64d blocks --limit 20", "nat64d status"),
    ),
    Alert(
        "Nat64dPoolFull",
        dropped("pool4_exhausted"),
        "",
        "critical",
        "pool4 is full: new connections fail",
        "No address has a port left for a host that asked: add addresses to [[pool4]], or set [limits] per_host_ports.",
        ("nat64d pools", "nat64d counters"),
    ),
    Alert(
        "Nat64dPoolAddressFull",
        dropped("paired_full"),
        "",
        "critical",
        "an address of pool4 is full: new connections of its hosts fail",
        "Hosts keep their pool address, and that of some has no port left: add addresses, set [limits] per_host_ports, "
        'or pairing = "soft".',
        ("nat64d pools", "nat64d counters"),
    ),
    Alert(
        "Nat64dNoPool",
        dropped("no_pool4"),
        "",
        "warning",
        "IPv6 hosts have no pool4",
        "A prefix of IPv6 hosts is in no [[pool4]] source; the log names one of them.",
        ("journalctl -u nat64d -g no_pool4",),
    ),
    Alert(
        "Nat64dSessionsNearlyFull",
        "nat64d_sessions / nat64d_sessions_limit > 0.8",
        "5m",
        "warning",
        "the session table is nearly full",
        "More than four fifths of [limits] sessions are open: raise it, or set per_host_sessions; one prefix alone "
        "gets four fifths.",
        ("nat64d status", "nat64d sessions --limit 20"),
    ),
    Alert(
        "Nat64dSessionsFull",
        dropped("session_table_full"),
        "",
        "critical",
        "the session table is full: new connections fail",
        "[limits] sessions are open: raise it, or set per_host_sessions.",
        ("nat64d status", "nat64d counters"),
    ),
    Alert(
        "Nat64dHostLimit",
        dropped("host_ports", "host_sessions", "host_rate"),
        "",
        "warning",
        "IPv6 hosts are at their limit ({{ $labels.verdict }})",
        "One host opens too many connections, or its limit in [limits] is too low; the log names one of them.",
        ("journalctl -u nat64d -g {{ $labels.verdict }}", "nat64d sessions --host6 ADDRESS"),
    ),
    Alert(
        "Nat64dSubscriberShare",
        dropped("subscriber_sessions", "subscriber_ports"),
        "",
        "warning",
        "one IPv6 prefix takes all that it can get",
        "It has its share of sessions or ports and is refused more, others are not; for a prefix that needs more, "
        "raise [limits] sessions or add addresses.",
        ("journalctl -u nat64d -g {{ $labels.verdict }}", "nat64d sessions --host6 PREFIX"),
    ),
    Alert(
        "Nat64dUnansweredFlood",
        happens("port_displaced"),
        "",
        "warning",
        "a flood of flows that nobody answers takes the ports",
        "Ports run out, and mappings that nobody has answered give theirs to others; sessions in state V6_INIT show "
        "whose they are.",
        ("nat64d pools", "nat64d sessions --limit 20"),
    ),
    Alert(
        "Nat64dInboundFlood",
        happens("unpinned"),
        "",
        "warning",
        "sessions opened from IPv4 have their quarter of the table",
        "What is more passes without a session of its own, as the mapping allows it; a flood, or a busy [[forward]].",
        ("nat64d status", "nat64d sessions --limit 20"),
    ),
    # Services
    Alert(
        "Nat64dServiceDown",
        'nat64d_service_members{state="ready"} == 0',
        "1m",
        "critical",
        "no endpoint of the service {{ $labels.service }} is ready",
        "All of its endpoints are down or have weight 0, or it has none: clients are refused, or go to endpoints that "
        "fail.",
        ("nat64d services --endpoints --service {{ $labels.service }}", "nat64d events"),
    ),
    Alert(
        "Nat64dServiceClash",
        'rate(nat64d_service_refused_total{verdict=~"service_clash|service_ambiguous"}[5m]) > 0',
        "",
        "warning",
        "services share endpoints, and flows of {{ $labels.service }} fail ({{ $labels.verdict }})",
        "service_clash: a client uses one port towards two services, and every endpoint of this one has the connection "
        "to the other. service_ambiguous: an answer whose session another gateway has may be of several services. Give "
        "each service its own client_prefix, or other ports at its endpoints.",
        ("nat64d services --endpoints", "nat64d sessions --service {{ $labels.service }} --limit 20"),
    ),
    Alert(
        "Nat64dServiceUnpinned",
        "rate(nat64d_service_unpinned_total[5m]) > 0",
        "",
        "warning",
        "flows of the service {{ $labels.service }} get no sessions",
        "The session table is nearly full, or a quarter of it are flows that no endpoint has answered, perhaps a "
        "flood: clients are served, but flows move when endpoints come or go.",
        ("nat64d status", "nat64d services", "nat64d sessions --state V4_INIT --limit 20"),
    ),
    # The way of packets
    Alert(
        "Nat64dTooSlow",
        happens("tun_queue_full"),
        "",
        "warning",
        "the kernel drops packets before nat64d sees them",
        "Packets come faster than they are taken: more CPU time, more [tun] queues, or a longer txqueuelen.",
        ("nat64d status", "nat64d counters"),
    ),
    Alert(
        "Nat64dExpiryLags",
        "nat64d_expiry_lag_seconds > 10",
        "5m",
        "warning",
        "sessions end {{ $value }} s too late",
        "The worker of queue 0 ends sessions between packets and does not get to it: the daemon lacks CPU time.",
        ("nat64d status", "nat64d counters"),
    ),
    Alert(
        "Nat64dDeviceRejects",
        happens("write_failed"),
        "",
        "warning",
        "the TUN device rejects packets",
        "It is down, or its MTU is too small.",
        ("nat64d status", "ip -details link show nat64"),
    ),
    Alert(
        "Nat64dLogLost",
        happens("log_lost", "log_failed", "ipfix_failed"),
        "",
        "warning",
        "the log of sessions has gaps ({{ $labels.event }})",
        "log_lost: more begins and ends than can be written; log blocks or mappings instead of sessions. log_failed, "
        "ipfix_failed: a file or the collector does not take them; the status says why.",
        ("nat64d status", "nat64d counters"),
    ),
    Alert(
        "Nat64dTooBigLimited",
        happens("too_big_limited"),
        "",
        "warning",
        "not all who send too large packets are told",
        "Many hosts send packets that are too big: look at the MTU of the links, or raise [limits] "
        "icmp_errors_per_second.",
        ("nat64d counters", "ip link"),
    ),
    # DNS64
    Alert(
        "Nat64dNamesFail",
        'rate(nat64d_dns64_queries_total{outcome=~"failed|overloaded"}[5m]) > 1',
        "",
        "critical",
        "DNS queries fail ({{ $labels.outcome }})",
        "More than one query a second gets no answer.",
        ("nat64d dns64 servers", "nat64d dns64 trace NAME"),
    ),
    Alert(
        "Nat64dNameServersFail",
        "rate(nat64d_dns64_server_failed_total[5m]) / rate(nat64d_dns64_server_asked_total[5m]) > 0.5",
        "5m",
        "warning",
        "the name server {{ $labels.server }} does not answer",
        "More than half of what it is asked stays without an answer: it is down or unreachable.",
        ("nat64d dns64 servers",),
    ),
    Alert(
        "Nat64dNameServerRestarts",
        'increase(nat64d_events_total{event="dns64_process_restarted"}[1h]) > 0',
        "",
        "warning",
        "a process of the name server ended",
        "It was started again; the log says how it ended.",
        ("journalctl -u nat64d -g 'Name server'",),
    ),
)


def rules() -> str:
    """config/grafana/alerts.yaml."""
    return HEAD + "".join(_rule(alert) for alert in ALERTS)


def _rule(alert: Alert) -> str:
    annotations = {
        "summary": f"{alert.summary}, {{{{ $labels.instance }}}}",
        "description": alert.description,
        "runbook_url": alert.runbook,
    }
    lines = [f"- alert: {alert.name}", f"  expr: {_quoted(alert.expr)}"]
    lines += [f"  for: {alert.wait}"] if alert.wait else []
    lines += ["  labels:", f"    severity: {alert.severity}", "  annotations:"]
    lines += [f"    {name}: {_quoted(text)}" for name, text in annotations.items()]
    return "".join(f"      {line}\n" for line in lines)


def _quoted(text: str) -> str:
    """A YAML scalar: single quotes where they do, as expressions have double ones."""
    return json.dumps(text, ensure_ascii=False) if "'" in text else f"'{text}'"


def sections() -> str:
    """The alerts as docs/alerts.md has them."""
    return "\n".join(_section(alert) for alert in ALERTS)


def _section(alert: Alert) -> str:
    held = f" for {alert.wait}" if alert.wait else ""
    commands = ", ".join(f"`{command}`" for command in alert.commands)
    head = f"## {alert.name}\n\n`{alert.expr}`{held} ({alert.severity})"
    return f"{head}\n\n{alert.meaning} Run on the gateway: {commands}\n"
