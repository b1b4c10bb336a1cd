"""What the page shows at a glance. On the monitoring listener it has nothing that /metrics would not say."""

from typing import Annotated, TypedDict

from nat64d.control.history import Totals, known, totals
from nat64d.control.measured import Measured, ServiceUse
from nat64d.control.rows import (
    Condition,
    Counter,
    Event,
    Gateway,
    NotReadyError,
    Pool,
    Query,
    StandingCondition,
    queries,
)


class ServiceNow(TypedDict):
    """One [[service]], or those that have no metrics of their own together."""

    service: str
    ready: Annotated[int, "endpoints that get new flows"]
    endpoints: int
    sessions: int
    flows: Annotated[int, "that got a session, since the start"]
    refused: Annotated[int, "packets that were not let in, since the start"]


class Summary(TypedDict):
    """The gateway at a glance; counts that are zero are left out, and lists are empty before it translates."""

    version: str
    state: Annotated[str, "as in /v1/status"]
    uptime: Annotated[float, "seconds"]
    whole: Annotated[bool, "whether sessions, hosts and explanations are served by this listener too"]
    sessions_limit: int
    protocols: Annotated[dict[str, int], "sessions by protocol"]
    columns: Annotated[list[str], "what `totals` are"]
    totals: Annotated[list[float], "as a row of /page/history.json"]
    counters: list[Counter]
    events: list[Event]
    queries: list[Query]
    pools: list[Pool]
    services: list[ServiceNow]
    conditions: Annotated[list[Condition], "those that stand"]
    sentences: Annotated[
        list[StandingCondition], "the same in sentences with commands; none on the monitoring listener"
    ]
    warnings: Annotated[list[str], "what does not work as configured; none on the monitoring listener"]


def summary(gateway: Gateway, whole: bool) -> Summary:
    """What the gateway has now. `whole`: with what may name addresses of hosts."""
    status, counters, measured = gateway.status(), known(gateway.counters), _measured(gateway)
    return {
        "version": status["version"],
        "state": status["state"],
        "uptime": status["uptime"],
        "whole": whole,
        "sessions_limit": status["limits"]["sessions"],
        "protocols": _protocols(measured),
        "columns": list(Totals._fields),
        "totals": list(totals(counters, status)),
        "counters": [row for row in counters if row["packets"]],
        "events": [row for row in known(gateway.events) if row["count"]],
        "queries": [row for row in queries(gateway.dns64()) if row["queries"]],  # type: ignore[misc]
        "pools": known(gateway.pools),
        "services": [_service(use) for use in measured.services] if measured else [],
        "conditions": [row for row in known(gateway.conditions) if row["standing"]],
        "sentences": status["conditions"] if whole else [],
        "warnings": status["warnings"] if whole else [],
    }


def _measured(gateway: Gateway) -> Measured | None:
    """What the data plane says of itself; None before there are tables."""
    try:
        return gateway.measured()
    except NotReadyError:
        return None


def _protocols(measured: Measured | None) -> dict[str, int]:
    """How many sessions each protocol has."""
    counts: dict[str, int] = {}
    for row in measured.sessions if measured else ():
        counts[row.protocol] = counts.get(row.protocol, 0) + row.sessions
    return counts


def _service(use: ServiceUse) -> ServiceNow:
    return {
        "service": use.service,
        "ready": use.ready,
        "endpoints": use.ready + use.draining + use.down,
        "sessions": use.sessions,
        "flows": use.flows,
        "refused": sum(use.refused.values()),
    }
