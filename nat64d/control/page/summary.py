"""What the page shows at a glance. On the monitoring listener it has nothing that /metrics would not say."""

from contextlib import suppress
from typing import Annotated, TypedDict

from nat64d.control.history import Totals, known, totals
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
    conditions: Annotated[list[Condition], "those that stand"]
    sentences: Annotated[
        list[StandingCondition], "the same in sentences with commands; none on the monitoring listener"
    ]
    warnings: Annotated[list[str], "what does not work as configured; none on the monitoring listener"]


def summary(gateway: Gateway, whole: bool) -> Summary:
    """What the gateway has now. `whole`: with what may name addresses of hosts."""
    status, counters = gateway.status(), known(gateway.counters)
    return {
        "version": status["version"],
        "state": status["state"],
        "uptime": status["uptime"],
        "whole": whole,
        "sessions_limit": status["limits"]["sessions"],
        "protocols": _protocols(gateway),
        "columns": list(Totals._fields),
        "totals": list(totals(counters, status)),
        "counters": [row for row in counters if row["packets"]],
        "events": [row for row in known(gateway.events) if row["count"]],
        "queries": [row for row in queries(gateway.dns64()) if row["queries"]],  # type: ignore[misc]
        "pools": known(gateway.pools),
        "conditions": [row for row in known(gateway.conditions) if row["standing"]],
        "sentences": status["conditions"] if whole else [],
        "warnings": status["warnings"] if whole else [],
    }


def _protocols(gateway: Gateway) -> dict[str, int]:
    """How many sessions each protocol has; none before there are tables."""
    counts: dict[str, int] = {}
    with suppress(NotReadyError):
        for row in gateway.measured().sessions:
            counts[row.protocol] = counts.get(row.protocol, 0) + row.sessions
    return counts
