"""Sockets that another program has opened for the name server, as systemd does by nat64d.socket: port 53 without a
capability, and questions that wait in it while the daemon is started again."""

import os
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from nat64d.dns64.upstreams.exchange import ServerAddress


class Opened(NamedTuple):
    """The descriptors of a transport address; they stay open whoever listens there."""

    udp: int
    tcp: int


def opened(fds: Iterable[int]) -> tuple[dict[str, Opened], list[str]]:
    """The addresses that can be listened on, written as `ServerAddress` does; and a sentence for each socket that is of
    no use."""
    found: dict[str, dict[int, int]] = {}
    useless: list[str] = []
    for fd in fds:
        try:
            with taken(fd) as one:
                place, mixed, kind = _place(one), _mixed(one), one.type
        except (OSError, ValueError):
            useless.append("a descriptor is no socket of an address and a port")
            continue
        if mixed:
            useless.append(f"{place} takes IPv4 too: set BindIPv6Only=ipv6-only")
        else:
            found.setdefault(place, {})[kind] = fd
    kinds = {socket.SOCK_DGRAM: "ListenDatagram", socket.SOCK_STREAM: "ListenStream"}
    for place, by_kind in found.items():
        useless += [f"{place} lacks {name}=" for kind, name in kinds.items() if kind not in by_kind]
    whole = {place: by_kind for place, by_kind in found.items() if kinds.keys() <= by_kind.keys()}
    return {place: Opened(each[socket.SOCK_DGRAM], each[socket.SOCK_STREAM]) for place, each in whole.items()}, useless


def _place(one: socket.socket) -> str:
    """Where it listens. Raises ValueError."""
    if one.family not in (socket.AF_INET, socket.AF_INET6):
        raise ValueError
    host, port = one.getsockname()[:2]
    return str(ServerAddress(ip_address(host), port))


def _mixed(one: socket.socket) -> bool:
    """Whether an IPv6 socket of all addresses takes IPv4 packets."""
    everywhere = one.family == socket.AF_INET6 and ip_address(one.getsockname()[0]).is_unspecified
    return everywhere and not one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def taken(fd: int) -> socket.socket:
    """A socket of one's own to listen with: closing it leaves `fd` open. Raises OSError if that is none."""
    copy = os.dup(fd)
    try:
        one = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
    one.setblocking(False)
    return one
