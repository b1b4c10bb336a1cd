"""The Host and Origin headers of requests: a web page of somebody else must not read from the API, nor use it.

A browser sends a page's own name even after that name has been made to point here (DNS rebinding), and with what a page
asks of others, where that page is from. A listener answers only to its own names and addresses (RFC 9110 section 7.4),
and only to pages of its own. The control socket is no exception: `ssh -L` brings it into a browser's reach.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

NAME = "nat64d"  # that the commands ask for
SHOWN = 80  # characters of a foreign name in a sentence


class Hosts:
    """The names and addresses of a listener on `address`; `names` are further ones ([api] hosts)."""

    def __init__(self, address: str, names: Iterable[str] = ()) -> None:
        listening = _address(address)
        self._any_address = listening is not None and listening.is_unspecified
        self._addresses = {listening}
        self._names = {_plain(name) for name in ("localhost", socket.gethostname(), *names)}

    def refusal(self, given: list[str], version: tuple[int, int]) -> tuple[int, str] | None:
        """Why a request with these Host headers is refused: status and sentence; None: it is not."""
        if not given and version < (1, 1):  # an old health check; browsers always send one
            return None
        if len(given) != 1:
            return 400, "expected one Host header"
        name = _without_port(given[0])
        if self._is_own(name):
            return None
        return 421, f"Host {_shown(name)}: not a name of this listener; if it is to be one, add it to [api] hosts"

    def _is_own(self, name: str) -> bool:
        address = _address(name)
        if address is None:
            return _plain(name) in self._names
        return self._any_address or address.is_loopback or address in self._addresses


def foreign_page(hosts: list[str], origin: str | None) -> tuple[int, str] | None:
    """Why a request with this Origin header is refused: status and sentence; None: it is not. Only browsers send one
    (RFC 6454 section 7)."""
    if origin is None or origin in {f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")}:
        return None
    return 403, f"Origin {_shown(origin)}: only pages of this listener may ask it"


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _without_port(text: str) -> str:
    """The name or address in a Host header."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
