"""How the fake API server answers: objects, and the Status of what it refuses."""

import json
from typing import Any

from aiohttp import web


class RefusedError(Exception):
    """A request is refused. `more`: `details` of the Status, `headers`."""

    def __init__(self, code: int, reason: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code, self.reason, self.more = code, reason, more


def answer(given: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer of JSON."""
    return web.Response(
        body=json.dumps(given, separators=(",", ":")).encode(),
        status=status,
        headers=headers,
        content_type="application/json",
    )


def status_of(code: int, reason: str, message: str, details: Any = None) -> dict[str, Any]:
    """What is wrong, as the server says it."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        **({"details": details} if details else {}),
        "code": code,
    }


def refusal(
    code: int, reason: str, message: str, details: Any = None, headers: dict[str, str] | None = None
) -> web.Response:
    """The same as an answer."""
    return answer(status_of(code, reason, message, details), code, headers)
