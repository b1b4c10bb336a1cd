"""What is configured beside the file: rows of some sections, each of a source, such as the API.

A source says which rows there are, as the file does; all of them together are the configuration, and checked as one.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError, model_validator

from nat64d.config import toml
from nat64d.config.addresses import (
    PoolAddresses,
    PortRange,
    Prefix4,
    Prefix6,
    Transport4,
    Transport6,
    split_transport4,
    with_ports,
)
from nat64d.config.checks import contradictions, not_supported_yet
from nat64d.config.difference import pairs
from nat64d.config.endpoint_changes import is_sound_beside
from nat64d.config.errors import ConfigError, Problem
from nat64d.config.models import Config, Eam, Forward, Protocol, Protocols
from nat64d.config.pool4 import Pool4, Section
from nat64d.config.problems import SHOWN, Finding, findings, problems
from nat64d.config.services import Service, ServiceName

FILE = "file"  # the source that is not in Sources.rows
SECTIONS = ("pool4", "eam", "forward", "service")
Table = TypeVar("Table", bound=BaseModel)


class Rows(Section):
    """What one source says."""

    pool4: tuple[Pool4, ...] = ()
    eam: tuple[Eam, ...] = ()
    forward: tuple[Forward, ...] = ()
    service: tuple[Service, ...] = ()

    @cached_property
    def version(self) -> str:
        """A word that is another one where the rows are others."""
        whole = sha256(self.model_dump_json(exclude={"service"}).encode())
        for service in self.service:
            whole.update(service.digest)
        return whole.hexdigest()[:16]


class PoolName(Section):
    """Which rows of [[pool4]] are meant: those with the values given."""

    addresses: PoolAddresses
    ports: PortRange = "1024-65535"

    _with_ports = model_validator(mode="before")(with_ports)


class EamName(Section):
    """Which rows of [[eam]] are meant."""

    ipv4: Prefix4
    ipv6: Prefix6 | None = None


class ForwardName(Section):
    """Which rows of [[forward]] are meant."""

    protocol: Protocol | Protocols
    ipv4: Transport4
    ipv6: Transport6 | None = None


class ServiceNamed(Section):
    """Which row of [[service]] is meant."""

    name: ServiceName


class Names(Section):
    """Rows that are to go."""

    pool4: tuple[PoolName, ...] = ()
    eam: tuple[EamName, ...] = ()
    forward: tuple[ForwardName, ...] = ()
    service: tuple[ServiceNamed, ...] = ()


class Sources(NamedTuple):
    """Who says what: the file, under its name, and the others."""

    name: str
    file: Config
    rows: Mapping[str, Rows]

    @property
    def names(self) -> str:
        """Those that say something, for a message."""
        return " and ".join((self.name, *(source for source, rows in self.rows.items() if any(_tables(rows)))))

    def beside(self, section: str) -> Iterator[tuple[str, int, BaseModel]]:
        """The rows of a section that the file does not have as well: source, number there, row."""
        given = [(s, number, row) for s, rows in self.rows.items() for number, row in enumerate(getattr(rows, section))]
        known = set(getattr(self.file, section)) if given else set()
        return ((source, number, row) for source, number, row in given if not known or row not in known)

    def by_row(self) -> dict[BaseModel, str]:
        """The sources of the rows that the file does not have."""
        return {row: source for section in SECTIONS for source, _, row in self.beside(section)}

    def combined(self, sound: Config | None = None) -> Config:
        """The configuration that all of them make. Raises ConfigError where they contradict each other. `sound`: one in
        which they did not; what has not changed since is not looked at again."""
        beside = {section: list(self.beside(section)) for section in SECTIONS}
        if not any(beside.values()):
            return self.file
        more = {s: (*getattr(self.file, s), *(row for _, _, row in rows)) for s, rows in beside.items() if rows}
        config = self.file.model_copy(update=more)
        raw = dict.fromkeys(self.file.model_fields_set)
        if sound and is_sound_beside(sound, config, lambda part: contradictions(raw, part)):
            return config
        if found := [*not_supported_yet(config), *contradictions(raw, config)]:
            raise ConfigError(self._placed(found, beside))
        return config

    def _placed(
        self, found: Iterable[Finding], beside: Mapping[str, list[tuple[str, int, BaseModel]]]
    ) -> list[Problem]:
        """Findings in words, each with the name of the source whose row it is about."""
        by_source: dict[str, list[Finding]] = {}
        for finding in found:
            source, path = FILE, finding.path
            match path:
                case (str(section), int(row), *rest) if row >= (own := len(getattr(self.file, section))):
                    source, number, _ = beside[section][row - own]
                    path = (section, number, *rest)
            by_source.setdefault(source, []).append(Finding(path, finding.complaint))
        return [
            problem
            for source, rows in by_source.items()
            for problem in problems(self.name if source == FILE else source, self._raw(source), rows)
        ]

    def _raw(self, source: str) -> dict[str, Any]:
        said = self.file if source == FILE else self.rows[source]
        return said.model_dump(mode="json", exclude_unset=True)


def rows_in(raw: object, name: str, known: Iterable[Service] = ()) -> Rows:
    """Rows from JSON, checked one by one; raises ConfigError, with `name` in place of that of a file. Services that say
    the same as one that is `known` are this very one."""
    services = raw.get("service") if isinstance(raw, dict) else None
    if not isinstance(services, list) or not known:
        return _read(Rows, raw, name)
    there = {service.name: service for service in known}
    return _read(Rows, raw, name, [_as_known(row, there) for row in services])


def _as_known(row: Any, known: Mapping[str, Service]) -> object:
    name = row.get("name") if isinstance(row, dict) else None
    service = known.get(name) if isinstance(name, str) else None
    return service if service is not None and service.is_said_by(row) else row


def names_in(raw: object, name: str) -> Names:
    """The rows that are meant, in the same way."""
    return _read(Names, raw, name)


def _read(model: type[Table], raw: object, name: str, services: list[object] | None = None) -> Table:
    known = f"expected an object with {', '.join(SECTIONS[:-1])} or {SECTIONS[-1]}"
    if not isinstance(raw, dict):
        raise ConfigError([Problem(name, "", "", known)])
    if unknown := [key for key in raw if key not in SECTIONS]:
        raise ConfigError([Problem(name, toml.key(str(key))[:SHOWN], "", known) for key in unknown])
    try:
        return model.model_validate(raw if services is None else {**raw, "service": services})
    except ValidationError as error:
        raise ConfigError(problems(name, raw, findings(error))) from None


def with_changes(rows: Rows, unset: Names, given: Rows, name: str, others: Sources) -> Rows:
    """The rows of a source without those that are meant by `unset`, and then with others. Raises ConfigError, with
    `name` for the source, where there is nothing to remove."""
    after: dict[str, Any] = {}
    missing: list[Problem] = []
    said = others.rows.get(name, Rows())
    for section in SECTIONS:
        if not getattr(unset, section) and not getattr(given, section):
            after[section] = getattr(rows, section)
            continue
        old = {identity(row): row for row in getattr(rows, section)}
        for meant in getattr(unset, section):
            if not _is_meant(meant, old.get(identity(meant))):
                missing.append(Problem(f"unset [[{section}]]", pairs(meant), "", _where(section, meant, name, others)))
            old.pop(identity(meant), None)
        new = _as_before(getattr(said, section), getattr(given, section))
        replaced = set(map(identity, new))
        after[section] = (*(row for key, row in old.items() if key not in replaced), *new)
    if missing:
        raise ConfigError(missing)
    return Rows(**after)


def _as_before(before: Iterable[BaseModel], rows: Iterable[BaseModel]) -> list[BaseModel]:
    """The rows, where they are as before the very ones of before: what is the same object is quickly compared."""
    known = {identity(row): row for row in before}
    return [old if (old := known.get(identity(row))) == row else row for row in rows]


def _where(section: str, meant: BaseModel, name: str, others: Sources) -> str:
    """Why a row cannot be removed."""
    if any(identity(row) == identity(meant) for row in getattr(others.file, section)):
        return f"{others.name} has it: remove it there, and reload"
    return f"expected a row that {name} has set; there is none"


def _is_meant(meant: BaseModel, row: BaseModel | None) -> bool:
    wanted = getattr(meant, "ipv6", None)
    return row is not None and (wanted is None or wanted == getattr(row, "ipv6", None))


def identity(row: BaseModel) -> Hashable:
    """What no two rows of a section have in common: one that is set takes the place of the one with the same."""
    match row:
        case Service() | ServiceNamed():
            return row.name
        case Forward() | ForwardName():
            protocols = (row.protocol,) if isinstance(row.protocol, str) else row.protocol
            return frozenset(protocols), split_transport4(row.ipv4)
        case Pool4() | PoolName():
            return row.addresses, row.ports
        case Eam() | EamName():
            return row.ipv4
    raise TypeError(row)


def _tables(rows: Rows) -> Iterator[tuple[BaseModel, ...]]:
    return (getattr(rows, section) for section in SECTIONS)
