"""The Host header of requests to the monitoring listener: a web page under a foreign name must not read from it.

A browser sends a page's own name even after that name has been made to point here (DNS rebinding). The listener answers
only to its own names and addresses (RFC 9110 section 7.4).
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

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
        shown = name if len(name) <= SHOWN else name[: SHOWN - 1] + "…"
        return 421, f"Host {shown}: not a name of this listener; if it is to be one, add it to [api] hosts"

    def _is_own(self, name: str) -> bool:
        address = _address(name)
        if address is None:
            return _plain(name) in self._names
        return self._any_address or address.is_loopback or address in self._addresses


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
