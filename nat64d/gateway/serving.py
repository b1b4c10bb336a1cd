"""What the tables say of services: by its name, which fronts one has; what each has and does, read without the lock."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from nat64d.config.fronts import names_of
from nat64d.config.models import Config
from nat64d.config.services import Service
from nat64d.control.filters import FilterError, Filters, shown
from nat64d.control.measured import ServiceUse
from nat64d.control.rows import Row
from translator.tables.layout import LEAVING
from translator.tables.tables import MEMBERS, NEVER_USED, Tables
from translator.verdict import Verdict

# What a packet to or from a service can be told instead of being let through: columns of Tables.refused.
REFUSALS = (
    Verdict.SOURCE_RANGE,
    Verdict.NO_ENDPOINT,
    Verdict.SERVICE_CLASH,
    Verdict.SERVICE_AMBIGUOUS,
    Verdict.DENIED_ADDRESS,
    Verdict.NON_GLOBAL_ADDRESS,
    Verdict.SESSION_TABLE_FULL,
)
REASONS = [verdict.name.lower() for verdict in REFUSALS]
OTHERS = "(others)"  # no [[service]] can be called that
# LIMITS
NAMED = 20  # services that an error names
SHOWN = 1000  # services with metrics of their own


def found(filters: Filters, tables: Tables) -> Filters:
    """The filters with what the name of a service means now. Raises FilterError: there is no such service."""
    if filters.service is None:
        return filters
    numbers = {name: number for number, name in names_of(tables).items()}
    if filters.service not in numbers:
        raise FilterError(f"{shown(f'service={filters.service}')}: {_expected(filters.service, list(numbers))}")
    fronts = _there(tables)
    own = fronts[fronts["service"] == numbers[filters.service]]
    return replace(filters, fronts=tuple(own[["protocol", "address4", "port"]].tolist()))


def _expected(name: str, names: list[str]) -> str:
    if not names:
        return "there is no [[service]]"
    near = get_close_matches(name, names, NAMED) if len(names) > NAMED else names
    named = (near or names)[:NAMED]
    more = f" or one of {len(names) - len(named)} others, which nat64d services lists" if len(names) > NAMED else ""
    return f"no [[service]] has this name, expected {', '.join(named)}{more}"


def uses_of(tables: Tables, lost: Collection[str], most: int | None = None) -> list[ServiceUse]:
    """What each service has and does, in the order of their numbers; those beyond `most` are one, OTHERS. `lost`: those
    whose endpoints all get flows although none serves.

    Nothing that a packet makes is walked: it takes a millisecond, and some more with 100,000 endpoints.
    """
    fronts = _there(tables)
    services, first, of = np.unique(fronts["service"], return_index=True, return_inverse=True)
    numbers = np.column_stack(
        [
            _sessions(tables, fronts, of, len(services)) + _of_leaving(tables, fronts)[services],
            tables.flows[services],
            tables.refused[services[:, np.newaxis], REFUSALS],
            *_standing(tables, fronts[first]),  # other protocols have the same members
        ]
    )
    names = [*names_of(tables, fronts).values()]
    unused = [number for number, name in enumerate(names) if name in lost] if lost else []
    numbers[unused, -1] = numbers[unused, -3:].sum(axis=1)
    numbers[unused, -3:-1] = 0
    if most is not None and len(names) > most:
        names = [*names[: most - 1], OTHERS]
        numbers = np.vstack([numbers[: most - 1], numbers[most - 1 :].sum(axis=0)])
    return [_use(name, *row) for name, row in zip(names, numbers.tolist(), strict=True)]


def _use(name: str, sessions: int, pinned: int, unpinned: int, *more: int) -> ServiceUse:
    refused = dict(zip(REASONS, more[:-3], strict=True))
    return ServiceUse(name, sessions, pinned, unpinned, refused, *more[-3:])


def _members(tables: Tables, fronts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The members of some fronts, one front after the other, and which of the fronts each is of."""
    counts = fronts["count"].astype(np.int64)
    of = np.repeat(np.arange(len(fronts)), counts)
    at = np.arange(len(of)) + np.repeat(fronts["first"] - (np.cumsum(counts) - counts), counts)
    return tables.members.view(np.ndarray).take(at, mode="clip"), of  # a front may be changed while it is read


def _sessions(tables: Tables, fronts: np.ndarray, service_of: np.ndarray, services: int) -> np.ndarray:
    """The sessions of the members of each service; `service_of`: which of so many services each front is of."""
    members, of = _members(tables, fronts)
    found = np.zeros(services, np.int64)
    np.add.at(found, service_of[of], tables.bibs.view(np.ndarray)["sessions"][members["bib"]])
    return found


def _standing(tables: Tables, fronts: np.ndarray) -> list[np.ndarray]:
    """How many members of each of some fronts are ready, draining, and down."""
    members, of = _members(tables, fronts)
    weights = members["weight"]
    return [np.bincount(of[which], minlength=len(fronts)) for which in (weights > 0, weights == 0, weights < 0)]


def _of_leaving(tables: Tables, fronts: np.ndarray) -> np.ndarray:
    """For each service, the sessions of members that are of its fronts no more."""
    bibs = tables.bibs.view(np.ndarray)[: int(tables.free[MEMBERS, NEVER_USED])]
    found = np.zeros(len(tables.names), np.int64)
    left = bibs[bibs["live"] == LEAVING]
    numbers = dict(zip(fronts[["protocol", "address4", "port"]].tolist(), fronts["service"].tolist(), strict=True))
    for *key, sessions in left[["protocol", "mapped4", "mapped4_port", "sessions"]].tolist():
        if (number := numbers.get(tuple(key))) is not None:
            found[number] += sessions
    return found


def _there(tables: Tables) -> np.ndarray:
    """The fronts there are."""
    fronts = tables.fronts.view(np.ndarray)
    there: np.ndarray = fronts[fronts["protocol"] != 0]
    return there


def summaries(config: Config, uses: Sequence[ServiceUse], problem: Callable[[Service], str | None]) -> Iterator[Row]:
    """A ServiceSummary for each service; `problem` says what is wrong with its endpoints."""
    use_of = {use.service: use for use in uses}
    for service in config.service:
        use = use_of[service.name]
        wrong = problem(service) or (None if use.ready else "none of its endpoints is ready")
        yield {
            "service": service.name,
            "protocols": list(service.protocols),
            "ipv4": str(service.ends[0].address),
            "ipv4_ports": str(service.ends[0].first),
            "endpoints": use.ready + use.draining + use.down,
            **{name: getattr(use, name) for name in ("ready", "draining", "down", "sessions", "flows", "unpinned")},
            "refused": sum(use.refused.values()),
            "problem": wrong if service.endpoints else "it has no endpoint",
        }
