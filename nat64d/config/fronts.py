"""[[service]] -> the translator's tables of services."""

from typing import NamedTuple

import numpy as np
from netaddr import IPSet

from nat64d.config.models import Config
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
    made["members"]["weight"] = [endpoint.weight for endpoint in members]
    first = 0
    for row, (number, service, name) in zip(made["fronts"], fronts, strict=True):
        row.address4, row.port, row.protocol = int(service.end4.address), service.end4.first, PROTOCOLS[name]
        row.affinity = service.key if service.affinity == "client" else 0
        row.first, row.count, row.service = first, len(service.endpoints), number
        row.first_source, row.sources = sum(map(len, sources[:number])), len(sources[number])
        row.weighted = len({endpoint.weight for endpoint in service.endpoints} - {0}) > 1
        first += row.count
    ends = [(*words(endpoint.end6.address), endpoint.end6.first) for endpoint in members]
    return Made(made, np.array(ends, np.int64).reshape(-1, 3))
