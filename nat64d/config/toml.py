"""Values as TOML on one line, for messages. Whole files are written by tomli-w."""

import json
import re
from collections.abc import Mapping


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
        case _:
            text = json.dumps(str(thing), ensure_ascii=False)
            return "".join(letter if letter.isprintable() else f"\\U{ord(letter):08X}" for letter in text)
