"""Network namespaces without names: they live as long as their descriptor, so that nothing is left when a test dies.

    namespace = pytest.fixture(fresh_namespace)

    def test_something(namespace):          # the whole test runs in a fresh one
        peer = Namespace()                  # one more, where there have to be two hosts
        with peer: ...                      # this block runs in it

The thread that enters one sees its links, sockets and /proc/sys/net; so do the programs it starts.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from pyroute2 import IPRoute

CLONE_NEWNET = 0x40000000
HERE = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A fresh network namespace with its loopback up; a `with` block of it runs inside, blocks may be nested."""

    def __init__(self) -> None:
        before = os.open(HERE, os.O_RDONLY)
        try:
            _succeed(_libc.unshare(CLONE_NEWNET))
            self.fd = os.open(HERE, os.O_RDONLY)
            for interfaces in ("all", "default"):  # no duplicate address detection: addresses are of use at once
                sysctl(f"net/ipv6/conf/{interfaces}/accept_dad", 0)
            with IPRoute() as rtnetlink:
                rtnetlink.link("set", index=socket.if_nametoindex("lo"), state="up")
            _succeed(_libc.setns(before, CLONE_NEWNET))
        finally:
            os.close(before)
        self._before: list[int] = []

    def __enter__(self) -> Self:
        self._before.append(os.open(HERE, os.O_RDONLY))
        _succeed(_libc.setns(self.fd, CLONE_NEWNET))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        before = self._before.pop()
        _succeed(_libc.setns(before, CLONE_NEWNET))
        os.close(before)

    def close(self) -> None:
        os.close(self.fd)


class Named(Namespace):
    """One that `ip netns` knows by a name."""

    def __init__(self, name: str) -> None:
        self.fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
        self._before = []


def obstacle() -> str | None:
    """Why tests cannot have namespaces and TUN devices here; None when they can."""
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    try:
        Namespace().close()
    except OSError as error:
        return f"network namespaces: {error.strerror} (needs CAP_SYS_ADMIN)"
    return None


def fresh_namespace() -> Iterator[Namespace]:
    """A fixture: run the test in a namespace of its own."""
    if why := obstacle():
        pytest.skip(why)
    fresh = Namespace()
    try:
        with fresh:
            yield fresh
    finally:
        fresh.close()


def ip(*arguments: str) -> str:
    """The output of `ip`, in the namespace the caller is in."""
    return run("ip", *arguments)


def run(*command: str) -> str:
    """The output of a program that must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def sysctl(key: str, value: int | str | None = None) -> str:
    """A kernel parameter by its path below /proc/sys, set first if a value is given."""
    path = Path("/proc/sys", key)
    if value is not None:
        path.write_text(str(value), "ascii")
    return path.read_text("ascii").strip()


def snapshot() -> dict[str, str]:
    """All there is to see of the network's setup: links, addresses, routes, rules, nftables, kernel parameters."""
    commands = {
        "links": ("ip", "-details", "link"),
        "addresses": ("ip", "address"),
        "routes": ("ip", "route", "show", "table", "all"),
        "routes6": ("ip", "-6", "route", "show", "table", "all"),
        "rules": ("ip", "rule"),
        "rules6": ("ip", "-6", "rule"),
        "nftables": ("nft", "list", "ruleset"),
    }
    seen = {what: run(*command) for what, command in commands.items()}
    for path in sorted(Path("/proc/sys/net").rglob("*")):
        try:
            if path.is_file():
                seen[str(path)] = path.read_text("ascii", "replace").strip()
        except OSError:  # some can only be written, some are not set
            continue
    return seen


def _succeed(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
