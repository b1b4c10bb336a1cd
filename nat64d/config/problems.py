"""What is wrong with a configuration file, said so that the reader can mend it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from nat64d.config import toml
from nat64d.config.models import Config

Path = tuple[str | int, ...]  # ("pool4", 1, "ports") is the key `ports` of the second [[pool4]]

SHOWN = 80  # characters of a value
ABSENT = "(absent)"


@dataclass(frozen=True)
class Problem:
    """One complaint: where, what stands there (nothing for a whole table), and what was expected instead."""

    file: str
    key: str
    value: str
    expected: str

    def __str__(self) -> str:
        """One line."""
        place = f"{self.key} = {self.value}" if self.value else self.key
        return f"{self.file}: {place}: expected {self.expected}" if place else f"{self.file}: expected {self.expected}"


class ConfigError(Exception):
    """A configuration that cannot be used, with everything that is wrong with it, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)


class Finding(NamedTuple):
    """A problem before it is put into words: the path of a key, and what was expected there."""

    path: Path
    expected: str


def findings(error: ValidationError) -> Iterator[Finding]:
    """What pydantic objects to, in our words."""
    for item in error.errors(include_url=False):
        path = item["loc"]
        match item["type"]:
            case "value_error":
                yield Finding(path, str(item["ctx"]["error"]))
            case "extra_forbidden":
                yield Finding(path, _nearest(path))
            case "tuple_type":
                yield Finding(path, f"a list of tables, [[{path[-1]}]]")
            case _:
                yield Finding(path, f"a table, [{path[-1]}]" if len(path) == 1 else "a table")


def problems(file: str, raw: Mapping[str, Any], found: Iterable[Finding]) -> list[Problem]:
    """Findings in words, sorted as the file is."""
    ordered = sorted(found, key=lambda finding: _position(raw, finding.path))
    return [Problem(file, _key(raw, path), _value(raw, path), expected) for path, expected in ordered]


def _key(raw: Mapping[str, Any], path: Path) -> str:
    """A path as the file spells it: `pool6`, `[tun] mtu`, `[[pool4]] #2 ports`, `[[service]] #1 health.rise`,
    `[dns64] ranges #1 pool6`."""
    section, *rest = path
    name = toml.key(str(section))
    content = raw.get(str(section))
    if rest and isinstance(row := rest[0], int):
        name, rest = f"[[{name}]] #{row + 1}", rest[1:]
    elif _is_rows(content):
        name = f"[[{name}]]"
    elif rest or isinstance(content, dict):
        name = f"[{name}]"
    for before, step in pairwise((0, *rest)):
        joint = "." if isinstance(before, str) and isinstance(step, str) else " "
        name += joint + (f"#{step + 1}" if isinstance(step, int) else toml.key(step))
    return name


def _value(raw: Mapping[str, Any], path: Path) -> str:
    """What stands at a path, on one line of bearable length; nothing for a table or a list of tables."""
    at: Any = raw
    for step in path:
        try:
            at = at[step]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    if isinstance(at, dict) or _is_rows(at):
        return ""
    text = toml.value(at)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _is_rows(content: object) -> bool:
    """Whether this was written as [[name]]."""
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict)


def _position(raw: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    """Where a path comes in the file, for sorting; what is absent comes last in its table."""
    at: Any = raw
    places: list[int] = []
    for step in path:
        steps: Sequence[Any] = list(at) if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        if step not in steps:
            return (*places, len(steps))
        places.append(steps.index(step))
        at = at[step]
    return tuple(places)


def _nearest(path: Path) -> str:
    """What to write instead of an unknown key: the known key most like it, or the section it belongs to."""
    name, known = str(path[-1]), list(_model(path[:-1]).model_fields)
    close = [key for key in known if key.startswith(name)] or get_close_matches(name, known, n=1)
    if close:
        return f"a known key; the nearest is {close[0]}"
    homes = [home for home, model in _homes().items() if name in model.model_fields]
    if homes:
        return f"a known key; {name} belongs {' or '.join(homes)}"
    return f"a known key, one of {', '.join(known)}"


def _homes() -> dict[str, type[BaseModel]]:
    """The tables of the file, by the words for where their keys belong."""
    homes: dict[str, type[BaseModel]] = {"above the first section": Config}
    for name, field in Config.model_fields.items():
        if model := _inner(field.annotation):
            homes[f"in [[{name}]]" if field.default == () else f"in [{name}]"] = model
    return homes


def _model(path: Path) -> type[BaseModel]:
    """The model of the table at a path."""
    model: type[BaseModel] = Config
    for step in path:
        if isinstance(step, str):
            model = _inner(model.model_fields[step].annotation) or model
    return model


def _inner(annotation: object) -> type[BaseModel] | None:
    """The model in a field's type: T itself, or that of `tuple[T, ...]` or `T | None`."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
