"""Mistakes of a configuration file in words: place, value, and what to write instead."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, NamedTuple, get_origin

from pydantic import ValidationError

from nat64d.config import toml
from nat64d.config.errors import Problem
from nat64d.config.expected import EXTRA, Path, expected, hints, keys_of, model_in, refusals
from nat64d.config.models import Config

SHOWN = 80  # characters of a value
UNSUPPORTED = "not supported by this version; remove it"
ABSENT = "(absent)"


class Finding(NamedTuple):
    """A mistake before its place is put into words: the path of a key, and "expected true or false"."""

    path: Path
    complaint: str


def findings(error: ValidationError) -> Iterator[Finding]:
    """What pydantic objects to, a finding a key."""
    for refusal in refusals(error):
        path, item = refusal.path, refusal.item
        match item["type"]:
            case kind if kind in EXTRA:
                yield Finding(path, _unknown(path, item["input"]))
            case "tuple_type" if model_in(refusal.hint):
                yield Finding(path, f"expected a list of tables, [[{path[-1]}]]")
            case "model_type" if len(path) == 1:
                yield Finding(path, f"expected a table, [{path[-1]}]")
            case _:
                yield Finding(path, f"expected {expected(refusal)}")


def problems(file: str, raw: Mapping[str, Any], found: Iterable[Finding]) -> list[Problem]:
    """Findings in words, sorted as the file is."""
    written = (Finding(_written(raw, path), complaint) for path, complaint in found)
    ordered = sorted(written, key=lambda finding: _position(raw, finding.path))
    return [Problem(file, _key(raw, path), _value(raw, path), complaint) for path, complaint in ordered]


def _written(raw: Mapping[str, Any], path: Path) -> Path:
    """A path without what follows a text that stands in place of a table."""
    at: Any = raw
    for number, step in enumerate(path):
        if isinstance(at, str):
            return path[:number]
        try:
            at = at[step]
        except (KeyError, IndexError, TypeError):
            break
    return path


def _key(raw: Mapping[str, Any], path: Path) -> str:
    """A path as the file spells it: `pool6`, `[tun] mtu`, `[[pool4]] #2 ports`, `[dns64] ranges #1 pool6`,
    `[translation] udp_zero_checksum_ports.drop`."""
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


def _unknown(path: Path, value: object) -> str:
    """What to write instead of an unknown key: the key most like it, the section it belongs to, or a list."""
    name, known = str(path[-1]), list(keys_of(_model(path[:-1])))
    what = "unknown section" if len(path) == 1 and (isinstance(value, dict) or _is_rows(value)) else "unknown key"
    close = [key for key in known if key.startswith(name)] or get_close_matches(name, known, n=1)
    if close:
        return f"{what}; did you mean {close[0]}?"
    homes = [home for home, model in _homes().items() if name in keys_of(model)]
    if homes:
        return f"{what}; {name} belongs {' or '.join(homes)}"
    return f"{what}; known here: {', '.join(known)}"


def _homes() -> dict[str, type[Any]]:
    """The tables of the file, by the words for where their keys belong."""
    homes: dict[str, type[Any]] = {"above the first section": Config}
    for name, hint in hints(Config).items():
        if model := model_in(hint):
            homes[f"in [[{name}]]" if get_origin(hint) is tuple else f"in [{name}]"] = model
    return homes


def _model(path: Path) -> type[Any]:
    """The model of the table at a path."""
    model: type[Any] = Config
    for step in path:
        if isinstance(step, str):
            model = model_in(hints(model)[step]) or model
    return model
