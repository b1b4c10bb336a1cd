"""Who else on this host needs it to forward packets, so that a stop cuts nobody off.

Every instance of nat64d holds an abstract unix socket: these belong to the network namespace, as forwarding does, need
no directory, and are gone with their process. The last instance to stop puts back what the others found.
"""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PREFIX = "nat64d.forwards."
LISTED = Path("/proc/thread-self/net/unix")


class Presence:
    """That this instance, with the device `tun`, is one of those that need forwarding."""

    def __init__(self, tun: str) -> None:
        self._name = PREFIX + tun
        self._socket: socket.socket | None = None

    def begin(self) -> None:
        """Be seen by other instances, until `end`."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with suppress(OSError):  # another program has taken the name: it is there for the others all the same
                self._socket.bind(f"\0{self._name}")

    def end(self) -> None:
        """Be seen no more. May be called again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def others(self) -> list[str]:
        """The devices of other instances."""
        return [tun for tun in instances() if PREFIX + tun != self._name]


def instances() -> list[str]:
    """The devices of all instances in this network namespace."""
    return sorted(name.removeprefix(PREFIX) for name in _names())


def _names() -> Iterator[str]:
    for line in LISTED.read_text("utf-8", errors="replace").splitlines():
        name = line.rpartition(" ")[2]
        if name.startswith(f"@{PREFIX}"):
            yield name.removeprefix("@")
