"""The response to a scrape; what it takes is loaded with the first one, for packets wait for what is loaded before."""

from functools import cached_property
from typing import TYPE_CHECKING

from nat64d.control.rows import Gateway

if TYPE_CHECKING:
    from nat64d.control import metrics


class Exposition:
    """metrics.Exposition, as soon as somebody wants it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @cached_property
    def _made(self) -> "metrics.Exposition":
        from nat64d.control import metrics  # noqa: PLC0415  prometheus_client

        return metrics.Exposition(self._gateway)

    def content_type(self, accept: str) -> str:
        """That of the response to an Accept header."""
        return self._made.content_type(accept)

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and content type for an Accept header."""
        return self._made.render(accept)
