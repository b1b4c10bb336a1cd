"""What is configured to be translated to what, as rows."""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from pydantic import BaseModel

from nat64d.config.addresses import Ports
from nat64d.config.models import Config
from nat64d.config.sources import FILE
from nat64d.control.filters import Filters
from nat64d.control.rows import Row

COLUMNS = ("kind", "protocol", "ipv6", "ipv6_ports", "ipv4", "ipv4_ports", "source")


def mappings(config: Config, sources: Mapping[BaseModel, str], filters: Filters) -> list[Row]:
    """A Mapped for each [[eam]], [clat] and protocol of each [[forward]] that matches the filters. `sources` has those
    of the rows that are not from the file."""
    wanted = {name: value for name in _TESTS if (value := getattr(filters, name)) is not None}
    rows = (dict(zip(COLUMNS, row, strict=True)) for row in _rows(config, sources))
    return [row for row in rows if all(_TESTS[name](row, value) for name, value in wanted.items())]


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
    own = ip_network(row[f"ipv{network.version}"])
    return bool(own.overlaps(network))


def _has_port(row: Row, port: int) -> bool:
    return any(ports is None or _in(ports, port) for ports in (row["ipv6_ports"], row["ipv4_ports"]))


def _in(ports: str, port: int) -> bool:
    first, _, last = ports.partition("-")
    return int(first) <= port <= int(last or first)


_TESTS: Mapping[str, Callable[[Row, Any], bool]] = {
    "proto": lambda row, name: row["protocol"] in (None, name),
    "host": _has_host,
    "port": _has_port,
}
