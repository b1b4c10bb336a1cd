"""Whether a transport address is free to listen at, and who has it if not."""

import errno
import os
import pwd
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

PROC = Path("/proc")
KINDS = ((socket.SOCK_DGRAM, "udp"), (socket.SOCK_STREAM, "tcp"))
# SPEC: proc(5), net/udp6: number, local address and port, remote ones, state, …, UID, timeout, inode
_ROW = re.compile(
    r"\s*\d+: (?P<address>[0-9A-F]+):(?P<port>[0-9A-F]{4}) \S+ (?P<state>\S\S) (?:\S+ ){3}"
    r"\s*(?P<uid>\d+)\s+\d+ (?P<inode>\d+) "
)
LISTENS = {"udp": "07", "tcp": "0A"}


def obstacle(address: IPv4Address | IPv6Address, port: int) -> str | None:
    """Why nobody of ours can listen there by UDP and TCP, None if it can.

    A socket is bound for a moment, and not shared (SO_REUSEPORT): it would be shared with strangers too.
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
        return f"ports below 1024 need the capability CAP_NET_BIND_SERVICE, port {port} too"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host has no address {address}"
    return os.strerror(error.errno or 0)


def holder(address: IPv4Address | IPv6Address, port: int, protocol: str) -> str:
    """Who has that port: the program, if its open files may be looked at, else its user."""
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
    """(UID, inode) of the sockets in the way: of this address or of all, of either family."""
    for suffix in ("6", "") if address.version == 6 else ("", "6"):
        with suppress(OSError):
            for line in (PROC / "net" / f"{protocol}{suffix}").read_text().splitlines()[1:]:
                row = _ROW.match(line)
                if row is None or int(row["port"], 16) != port or row["state"] != LISTENS[protocol]:
                    continue
                taken = _address(row["address"])
                if address.is_unspecified or taken.is_unspecified or taken == address:
                    yield int(row["uid"]), int(row["inode"])


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address as /proc/net writes it: words of four octets in the order of this machine."""
    words = (int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    octets = b"".join(words)
    return IPv6Address(octets) if len(octets) == 16 else IPv4Address(octets)
