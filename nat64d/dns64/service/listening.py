"""Whether a transport address is free to listen on, and which program holds it if not."""

import errno
import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from pyroute2 import DiagSocket
from pyroute2.netlink.exceptions import NetlinkError

PROC = Path("/proc")
KINDS = ((socket.SOCK_DGRAM, "udp"), (socket.SOCK_STREAM, "tcp"))
LISTENS = {"udp": (socket.IPPROTO_UDP, 7), "tcp": (socket.IPPROTO_TCP, 10)}  # protocol, state of a bound socket


def obstacle(address: IPv4Address | IPv6Address, port: int) -> str | None:
    """Why the name server cannot listen there by UDP and TCP; None if it can.

    A socket is bound for a moment without SO_REUSEPORT, which would succeed beside another program's as well.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    for kind, protocol in KINDS:
        with closing(socket.socket(family, kind)) as one:
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_STREAM:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind((str(address), port))
            except OSError as error:
                return _reason(error, address, port, protocol)
    return None


def _reason(error: OSError, address: IPv4Address | IPv6Address, port: int, protocol: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{protocol.upper()} port {port} is taken by {holder(address, port, protocol)}"
    if error.errno == errno.EACCES:
        return f"ports below 1024 take nat64d.socket or CAP_NET_BIND_SERVICE, port {port} too; 'nat64d doctor' says how"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host has no address {address}"
    return os.strerror(error.errno or 0)


def holder(address: IPv4Address | IPv6Address, port: int, protocol: str) -> str:
    """Who holds that port: the program, or its user if its open files cannot be read."""
    for uid, inode in _sockets(address, port, protocol):
        for process in PROC.glob("[0-9]*"):
            with suppress(OSError):
                if any(str(file.readlink()) == f"socket:[{inode}]" for file in (process / "fd").iterdir()):
                    return f"{(process / 'comm').read_text().strip()} (process {process.name})"
        try:
            return f"a program of the user {pwd.getpwuid(uid).pw_name}"
        except KeyError:
            return f"a program of the user {uid}"
    return "another program"


def _sockets(address: IPv4Address | IPv6Address, port: int, protocol: str) -> Iterator[tuple[int, int]]:
    """(UID, inode) of the sockets in the way: on this address or on all addresses, of either family.

    Nothing if the kernel cannot list sockets (sock_diag(7)); obstacle() works without.
    """
    number, state = LISTENS[protocol]
    for family in (socket.AF_INET6, socket.AF_INET) if address.version == 6 else (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, NetlinkError), DiagSocket() as diag:
            diag.bind()
            for row in diag.get_sock_stats(family, 1 << state, number, sport=port):
                taken = ip_address(row["idiag_src"])
                if address.is_unspecified or taken.is_unspecified or taken == address:
                    yield row["idiag_uid"], row["idiag_inode"]
