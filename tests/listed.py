"""The rows of a listing of the Gateway, which are lines of JSON."""

import json
from typing import Any

from nat64d.control.rows import Lines


def rows_of(lines: Lines) -> list[dict[str, Any]]:
    """The rows, parsed."""
    return [json.loads(line) for chunk in lines for line in chunk.splitlines()]
