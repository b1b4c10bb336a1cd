"""The ways in which a client changes a part of an object: merge patch, strategic merge patch, server-side apply."""

from copy import deepcopy
from typing import Any

Path = tuple[Any, ...]

# Lists whose items are told apart by some of their fields; every other list is one value.
BY_FIELDS = {
    ("status", "conditions"): ("type",),
    ("spec", "ports"): ("port", "protocol"),
}


class ApplyConflictError(Exception):
    """Another manager owns what is applied; its text is the server's."""


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def strategic(target: Any, patch: Any, at: Path = ()) -> Any:
    """As a merge patch, but items of the lists above are merged with those of the same fields."""
    if isinstance(patch, list) and at in BY_FIELDS and isinstance(target, list):
        merged = list(target)
        for item in patch:
            found = [n for n, old in enumerate(merged) if _key(at, old) == _key(at, item)]
            if item.get("$patch") == "delete":
                merged = [old for n, old in enumerate(merged) if n not in found]
            elif found:
                merged[found[0]] = strategic(merged[found[0]], item, (*at, _key(at, item)))
            else:
                merged.append(deepcopy(item))
        return merged
    if not isinstance(patch, dict):
        return deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = strategic(merged.get(key), value, (*at, key))
    return merged


def _key(at: Path, item: dict[str, Any]) -> Path:
    return tuple((name, item.get(name, "TCP" if name == "protocol" else None)) for name in BY_FIELDS[at])


def leaves(given: Any, at: Path = ()) -> dict[Path, Any]:
    """The fields of an object and their values; items of the lists above are fields of their own."""
    general = tuple(step for step in at if isinstance(step, str))
    if isinstance(given, dict) and given:
        found: dict[Path, Any] = {}
        for key, value in given.items():
            found.update(leaves(value, (*at, key)))
        return found
    if isinstance(given, list) and general in BY_FIELDS:
        found = {}
        for item in given:
            found.update(leaves(item, (*at, _key(general, item))))
        return found
    return {at: given}


def applied(
    current: dict[str, Any], given: dict[str, Any], manager: str, owners: dict[str, set[Path]], force: bool
) -> tuple[dict[str, Any], dict[str, set[Path]]]:
    """What an object is after server-side apply, and who owns which fields then. Raises ApplyConflictError."""
    wanted, there = leaves(given), leaves(current)
    clashes = sorted(
        {
            (other, _spelled(path))
            for other, owned in owners.items()
            if other != manager
            for path in owned & wanted.keys()
            if there.get(path) != wanted[path]
        }
    )
    if clashes and not force:
        named = ", ".join(f'conflict with "{other}": {path}' for other, path in clashes)
        raise ApplyConflictError(f"Apply failed with {len(clashes)} conflict{'s' * (len(clashes) > 1)}: {named}")
    after = deepcopy(current)
    for path in owners.get(manager, set()) - wanted.keys():
        if not any(path in owned for other, owned in owners.items() if other != manager):
            _drop(after, path)
    after = strategic(after, given)
    taken = {_path for _path in wanted if there.get(_path) != wanted[_path]}
    kept = {other: owned - taken for other, owned in owners.items() if other != manager}
    return after, {**{other: owned for other, owned in kept.items() if owned}, manager: set(wanted)}


def _spelled(path: Path) -> str:
    words = []
    for step in path:
        if isinstance(step, tuple):
            words.append("[" + ",".join(f'{name}="{value}"' for name, value in step) + "]")
        else:
            words.append(f".{step}")
    return "".join(words)


def _drop(given: Any, path: Path) -> None:
    """Remove a field, and what holds nothing else."""
    step, rest = path[0], path[1:]
    if isinstance(given, list):
        for item in [one for one in given if all(one.get(name) == value for name, value in step)]:
            names = {name for name, _ in step}
            if rest and rest[0] not in names:  # by these it is found; they go with the last of the others
                _drop(item, rest)
            if not rest or item.keys() <= names:
                given.remove(item)
    elif isinstance(given, dict) and step in given:
        if rest:
            _drop(given[step], rest)
        if not rest or given[step] in ({}, []):
            given.pop(step)
