"""Addresses of the benches, and programs in network namespaces.

The well-known prefix would not do: documentation addresses are not global (RFC 6052 3.1).
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

from pyroute2 import netns

from nat64d.cli.lab import Namespace

CLIENT6 = IPv6Address("2001:db8:1::2")
NAT64D_POOL6 = IPv6Network("2001:db8:b::/96")


class MissingError(Exception):
    """A way that cannot be measured here, in one sentence."""


@contextmanager
def entered(namespace: Namespace) -> Iterator[None]:
    """This thread in a namespace; sockets made meanwhile stay there."""
    netns.pushns(namespace.netns)
    try:
        yield
    finally:
        netns.popns()


def embed(pool6: IPv6Network, host4: IPv4Address) -> IPv6Address:
    """RFC 6052 2.2 for a /96."""
    return IPv6Address(int(pool6.network_address) | int(host4))


@contextmanager
def running(namespace: Namespace, log: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A program in a namespace, ended at the end; what it prints goes to a file."""
    with log.open("w") as output:
        process = namespace.popen(*command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
