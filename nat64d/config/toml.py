"""Writing TOML: a value on one line, a configuration as a document."""

import json
import re
from collections.abc import Iterator, Mapping

from pydantic import BaseModel


def key(name: str) -> str:
    """A key, quoted when it has to be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else value(name)


def value(thing: object) -> str:
    """A value on one line; what TOML has no literal for (addresses, prefixes) becomes a string.

    Characters that could break the line or upset a terminal are escaped.
    """
    match thing:
        case bool():
            return "true" if thing else "false"
        case int() | float():
            return str(thing)
        case list() | tuple():
            return f"[{', '.join(value(item) for item in thing)}]"
        case Mapping():
            return f"{{ {', '.join(f'{key(name)} = {value(item)}' for name, item in thing.items())} }}"
        case BaseModel():
            return value(present(thing))
        case _:
            text = json.dumps(str(thing), ensure_ascii=False)
            return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08X}" for letter in text)


def present(section: BaseModel) -> dict[str, object]:
    """The keys of a section that have a value; TOML says None by leaving the key out."""
    return {name: item for name, item in section if item is not None}


def document(config: BaseModel) -> str:
    """A configuration as a TOML file: the lone keys first, then a table a section."""
    return "\n".join("".join(f"{line}\n" for line in block) for block in _blocks(config))


def _blocks(config: BaseModel) -> Iterator[list[str]]:
    """The lines of each table of the document."""
    keys = present(config)
    yield _lines({name: item for name, item in keys.items() if not isinstance(item, BaseModel | tuple)})
    for name, item in keys.items():
        if isinstance(item, BaseModel):
            yield [f"[{name}]", *_lines(present(item))]
        elif isinstance(item, tuple):
            for row in item:
                yield [f"[[{name}]]", *_lines(present(row))]


def _lines(keys: Mapping[str, object]) -> list[str]:
    """`key = value`, one a line."""
    return [f"{key(name)} = {value(item)}" for name, item in keys.items()]
