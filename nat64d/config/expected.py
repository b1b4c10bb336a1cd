"""What pydantic objects to, in our words: the description of a key's type, or the text of an ExpectedError."""

from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo

from nat64d.config.addresses import host_bits
from nat64d.config.errors import ExpectedError
from nat64d.config.models import Config

Path = tuple[str | int, ...]  # ("pool4", 1, "ports") is the key `ports` of the second [[pool4]]

EXTRA = ("extra_forbidden", "unexpected_keyword_argument")  # errors: there is no such key
VERSIONS = {"ip_v4_network": 4, "ip_v6_network": 6}  # of IP, by type of error


class Refusal(NamedTuple):
    """One objection of pydantic's."""

    path: Path  # of the key
    hint: Any  # its type
    rest: Path  # what follows the key in pydantic's location: the item of a list, the alternative of a union
    item: Any  # an element of ValidationError.errors()


def refusals(error: ValidationError) -> Iterator[Refusal]:
    """One for each key; of those about a union, the one deepest inside, as that alternative was meant."""
    chosen: dict[Path, Refusal] = {}
    for found in map(_placed, error.errors(include_url=False)):
        before = chosen.setdefault(found.path, found)
        if (len(found.rest), bool(_told(found))) > (len(before.rest), bool(_told(before))):
            chosen[found.path] = found
    yield from chosen.values()


def expected(refusal: Refusal) -> str:
    """What completes the sentence "expected ..."."""
    hint, number = refusal.hint, next((step for step in refusal.rest if isinstance(step, int)), None)
    text = _told(refusal)
    if number is None:
        return _either([*_words(hint), text]) if text else described(hint)
    return f"{_either([*_words(hint), text or described(_item(hint))])} (item {number + 1})"


def described(hint: Any) -> str:
    """A type in words."""
    return _either(_alternatives(hint))


def model_in(hint: Any) -> type[Any] | None:
    """The model in a type, or what pydantic reads as one: T itself, or that of `tuple[T, ...]` or `T | None`."""
    for kind in (hint, *get_args(hint)):
        if isinstance(kind, type) and (issubclass(kind, BaseModel) or is_pydantic_dataclass(kind)):
            return kind
    return None


def keys_of(model: type[Any]) -> Mapping[str, FieldInfo]:
    """The keys of a model, or of what is read as one."""
    found: Mapping[str, FieldInfo] = getattr(model, "model_fields", None) or model.__pydantic_fields__
    return found


def hints(model: type[Any]) -> dict[str, Any]:
    """The types of a model's keys with all that is said about them."""
    return get_type_hints(model, include_extras=True)


def _placed(item: Any) -> Refusal:
    """An element of ValidationError.errors(), its location split."""
    path: Path = item["loc"]
    hint: Any = Config
    model: type[Any] | None = Config
    for at, step in enumerate(path):
        if isinstance(step, int) and get_origin(hint) is tuple and model:
            hint = model
        elif model and step in keys_of(model):
            hint = hints(model)[str(step)]
            model = model_in(hint)
        elif item["type"] not in EXTRA:
            return Refusal(path[:at], hint, path[at:], item)
    return Refusal(path, hint, (), item)


def _told(refusal: Refusal) -> str:
    """What a validator has said about the value; "" if nothing."""
    item = refusal.item
    if version := VERSIONS.get(item["type"]):
        return host_bits(item["input"], version)
    error = item.get("ctx", {}).get("error")
    return str(error) if isinstance(error, ExpectedError) else ""


def _alternatives(hint: Any) -> list[str]:
    """A type in words, each alternative by itself."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        told = [note.description for note in arguments[1:] if isinstance(note, FieldInfo) and note.description]
        return told[-1:] or _alternatives(arguments[0])
    if origin is Literal:
        return [f'"{word}"' for word in arguments]
    if origin in {Union, UnionType}:
        return [text for kind in arguments if kind is not type(None) for text in _alternatives(kind)]
    return ["true or false"] if hint is bool else ["a table"]


def _words(hint: Any) -> list[str]:
    """The words of their own meaning that a union has beside what a validator spoke about, such as "auto"."""
    return [text for kind in get_args(hint) if get_origin(kind) is Literal for text in _alternatives(kind)]


def _item(hint: Any) -> Any:
    """The type of the items of a list, which may be an alternative of a union."""
    if get_origin(hint) is tuple:
        return get_args(hint)[0]
    return next((found for kind in get_args(hint) if (found := _item(kind)) is not None), None)


def _either(alternatives: Iterable[str]) -> str:
    """a, b or c."""
    *others, last = alternatives
    return f"{', '.join(others)} or {last}" if others else last
