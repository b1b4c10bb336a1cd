"""[[service]] -> the translator's tables of services."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from netaddr import IPSet

from nat64d.config.models import Config
from nat64d.config.services import Endpoint, Service
from nat64d.config.words import PROTOCOLS, ranges, words
from translator.tables.tables import services


class Made(NamedTuple):
    """Tables of services, by the names of their attributes, and the endpoints of their members: int64[n, 3]."""

    arrays: dict[str, np.ndarray]
    endpoints: np.ndarray


def services_of(config: Config) -> Made:
    """A front for each protocol of each [[service]], with its members and sources."""
    sources = [ranges(IPSet(map(str, service.sources))) for service in config.service]
    fronts = [(number, one, name) for number, one in enumerate(config.service) for name in one.protocols]
    members = [endpoint for _, service, _ in fronts for endpoint in service.ordered]
    made = services(len(fronts), len(members), sum(map(len, sources)), len(sources))
    if sources:
        made["sources"][:] = np.concatenate(sources)
    for name, service in zip(made["names"], config.service, strict=True):
        name[: len(service.name)] = np.frombuffer(service.name.encode(), np.uint8)
    first = 0
    for row, (number, service, name) in zip(made["fronts"], fronts, strict=True):
        row.address4, row.port, row.protocol = int(service.end4.address), service.end4.first, PROTOCOLS[name]
        row.affinity = service.key if service.affinity == "client" else 0
        row.first, row.count, row.service = first, len(service.endpoints), number
        row.first_source, row.sources = sum(map(len, sources[:number])), len(sources[number])
        first += row.count
    weigh(config, made["fronts"], made["members"], lambda _, endpoint: endpoint.weight)
    ends = [(*words(endpoint.end6.address), endpoint.end6.first) for endpoint in members]
    return Made(made, np.array(ends, np.int64).reshape(-1, 3))


def weigh(config: Config, fronts: np.ndarray, members: np.ndarray, weight: Callable[[Service, Endpoint], int]) -> None:
    """Give each member the weight that its endpoint has in its service; packets may pass meanwhile."""
    for row in fronts:
        service = config.service[row.service]
        weights = [weight(service, endpoint) for endpoint in service.ordered]
        members["weight"][row.first : row.first + row.count] = weights
        row.weighted = len({one for one in weights if one > 0}) > 1
