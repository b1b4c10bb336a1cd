"""What is configured to be translated to what, and which endpoints a service has, as rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, ip_network
from typing import Any

import numpy as np
from pydantic import BaseModel

from nat64d.config.addresses import Ports
from nat64d.config.fronts import Key, keys_of, numbers_of
from nat64d.config.models import Config
from nat64d.config.services import Endpoint, Service
from nat64d.config.sources import FILE
from nat64d.config.words import PROTOCOLS, address6
from nat64d.control.filters import Filters
from nat64d.control.rows import Row
from nat64d.gateway.serving import found
from nat64d.services.standing import Known
from translator.tables.handles import NUMBER, VIPS
from translator.tables.layout import LEAVING
from translator.tables.tables import MEMBERS, NEVER_USED, Tables

OF_ENDPOINT = ("ipv6", "ipv6_ports", "weight", "state", "why", "sessions")
GONE = "it is in no list any more, and has connections"
NAMES = {number: name for name, number in PROTOCOLS.items()}
COLUMNS = ("kind", "protocol", "ipv6", "ipv6_ports", "ipv4", "ipv4_ports", "source")


def mappings(config: Config, sources: Mapping[BaseModel, str], filters: Filters) -> list[Row]:
    """A Mapped for each [[eam]], [clat] and protocol of each [[forward]] that matches the filters. `sources` has those
    of the rows that are not from the file."""
    return matching((dict(zip(COLUMNS, row, strict=True)) for row in _rows(config, sources)), filters)


def services(
    config: Config,
    tables: Tables,
    known: Callable[[Service, Endpoint], Known | None],
    filters: Filters,
    sources: Mapping[BaseModel, str],
) -> list[Row]:
    """A ServiceEndpoint for each endpoint of each protocol of each [[service]], and for each that is gone and still has
    connections, if it matches the filters; `known`: what endpoints are found to do; `sources` has those of the rows
    that are not from the file. Raises FilterError."""
    some = [service for service in config.service if filters.service in (None, service.name)]
    return matching(_endpoints(config, some, tables, known, sources), found(filters, tables))


def matching(rows: Iterable[Row], filters: Filters) -> list[Row]:
    """The rows that match the filters."""
    wanted = {name: value for name in _TESTS if (value := getattr(filters, name)) is not None}
    return [row for row in rows if all(_TESTS[name](row, value) for name, value in wanted.items())]


def _endpoints(
    config: Config,
    some: Iterable[Service],
    tables: Tables,
    known: Callable[[Service, Endpoint], Known | None],
    sources: Mapping[BaseModel, str],
) -> Iterator[Row]:
    numbers, gone = numbers_of(tables), _gone(tables)
    for service in some:
        source = sources.get(service, FILE) if sources else FILE
        for key, protocol, end in keys_of(config, service):
            front = tables.fronts[numbers[key]]
            address, port = _end(end)
            head = {
                "service": service.name,
                "protocol": protocol,
                "ipv4": address,
                "ipv4_ports": port,
                "source": source,
            }
            left = gone.pop(key, [])
            if not service.endpoints and not left:
                yield {**head, **dict.fromkeys(OF_ENDPOINT)}
            bibs = tables.members.view(np.ndarray)["bib"][front.first : front.first + front.count]
            sessions = tables.bibs.view(np.ndarray)["sessions"][bibs].tolist()
            for endpoint, own in zip(service.ordered, sessions, strict=True):
                state = known(service, endpoint)
                ipv6, ports = _end(endpoint.end6)
                about = (state.standing.value, state.why) if state else ("unasked", None)
                values = (ipv6, ports, endpoint.weight, *about, own)
                yield {**head, **dict(zip(OF_ENDPOINT, values, strict=True))}
            yield from ({**head, **one} for one in left)
    for (number, vip, vip_port), left in gone.items():
        ours = {"service": None, "protocol": NAMES[number], "ipv4": _vip(tables, vip), "ipv4_ports": str(vip_port)}
        yield from ({**ours, "source": None, **one} for one in left)


def _gone(tables: Tables) -> dict[Key, list[Row]]:
    """What is listed of the endpoints that are of no front any more and have connections, by what these came to."""
    bibs = tables.bibs.view(np.ndarray)[: int(tables.free[MEMBERS, NEVER_USED])]
    found: dict[Key, list[Row]] = {}
    names = ["protocol", "mapped4", "mapped4_port", "host6_hi", "host6_lo", "host6_port", "sessions"]
    for *key, hi, lo, port, sessions in bibs[(bibs["live"] == LEAVING) & (bibs["sessions"] > 0)][names].tolist():
        values = (str(address6(hi, lo)), str(port), None, "gone", GONE, sessions)
        found.setdefault((key[0], key[1], key[2]), []).append(dict(zip(OF_ENDPOINT, values, strict=True)))
    return found


def _vip(tables: Tables, number: int) -> str:
    """The address that a front has, or had."""
    return str(address6(*tables.vips6[number & NUMBER]) if number >= VIPS else IPv4Address(number))


def _rows(config: Config, sources: Mapping[BaseModel, str]) -> Iterator[tuple[str | None, ...]]:
    for eam in config.mappings:
        source = sources.get(eam, FILE) if sources else FILE
        yield "clat" if eam is config.clat else "eam", None, str(eam.ipv6), None, str(eam.ipv4), None, source
    for forward in config.forward:
        source = sources.get(forward, FILE) if sources else FILE
        for protocol in forward.protocols:
            yield "forward", protocol, *_end(forward.end6), *_end(forward.end4), source


def _end(end: Ports[Any]) -> tuple[str, str]:
    return str(end.address), str(end.first) if end.size == 1 else f"{end.first}-{end.last}"


def _has_host(row: Row, network: Any) -> bool:
    own = row[f"ipv{network.version}"]
    return own is not None and bool(ip_network(own).overlaps(network))


def _has_port(row: Row, port: int) -> bool:
    ends = [row[f"{version}_ports"] for version in ("ipv6", "ipv4") if row[version] is not None]
    return any(ports is None or _in(ports, port) for ports in ends)


def _in(ports: str, port: int) -> bool:
    first, _, last = ports.partition("-")
    return int(first) <= port <= int(last or first)


_TESTS: Mapping[str, Callable[[Row, Any], bool]] = {
    "proto": lambda row, name: row["protocol"] in (None, name),
    "host": _has_host,
    "port": _has_port,
    "service": lambda row, name: row["service"] == name,
}
