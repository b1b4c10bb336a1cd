"""Sockets for router advertisements: raw ICMPv6, which needs CAP_NET_RAW. The kernel writes and checks checksums."""

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

ALL_NODES, ALL_ROUTERS = IPv6Address("ff02::1"), IPv6Address("ff02::2")
HOP_LIMIT = 255  # RFC 4861 section 6.1: of a packet that no router has forwarded
ICMP6_FILTER = 1  # linux/icmpv6.h
OCTETS = 65536  # of a message, at most
IF_INET6 = Path("/proc/thread-self/net/if_inet6")  # of the network this thread is in
LINK_SCOPE, TENTATIVE, FAILED = 0x20, 0x40, 0x08  # columns of it, linux/ipv6.h and linux/if_addr.h


class Heard(NamedTuple):
    """A message from a neighbour, and the index of the interface that it came in by."""

    message: bytes
    source: IPv6Address
    link: int


def open_socket(kinds: Iterable[int]) -> socket.socket:
    """A socket that hears these ICMPv6 types, and not what it sends itself. Raises OSError."""
    one = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6)
    with ExitStack() as unused:
        unused.callback(one.close)
        for option, value in (
            (socket.IPV6_MULTICAST_HOPS, HOP_LIMIT),
            (socket.IPV6_UNICAST_HOPS, HOP_LIMIT),
            (socket.IPV6_MULTICAST_LOOP, 0),
            (socket.IPV6_RECVHOPLIMIT, 1),
            (socket.IPV6_RECVPKTINFO, 1),
        ):
            one.setsockopt(socket.IPPROTO_IPV6, option, value)
        one.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, passing(kinds))
        unused.pop_all()
    return one


def passing(kinds: Iterable[int]) -> bytes:
    """A filter of ICMPv6 types: a bit is set for each that is blocked (RFC 3542 section 3.2)."""
    return (((1 << 256) - 1) ^ sum(1 << kind for kind in kinds)).to_bytes(32, "little")


def join(one: socket.socket, group: IPv6Address, link: int) -> None:
    """Hear what is sent to a group on a link; a second time changes nothing. Raises OSError."""
    try:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group.packed + struct.pack("i", link))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise


def leave(one: socket.socket, group: IPv6Address, link: int) -> None:
    """The opposite of `join`; a link that is gone has been left."""
    with suppress(OSError):
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, group.packed + struct.pack("i", link))


def send(one: socket.socket, message: bytes, to: IPv6Address, link: int, source: IPv6Address | None = None) -> None:
    """Send a message to a group of a link, from an address of ours or one that the kernel chooses. Raises OSError."""
    place = (source.packed if source else bytes(16)) + struct.pack("i", link)
    one.sendmsg([message], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, place)], 0, (str(to), 0, 0, link))


def receive(one: socket.socket) -> Heard | None:
    """The next message; None if a router has forwarded it. Raises OSError: TimeoutError or BlockingIOError if there is
    none."""
    message, about, _, sender = one.recvmsg(OCTETS, socket.CMSG_SPACE(4) + socket.CMSG_SPACE(20))
    told = {kind: value for level, kind, value in about if level == socket.IPPROTO_IPV6}
    hops, place = told.get(socket.IPV6_HOPLIMIT), told.get(socket.IPV6_PKTINFO)
    if hops is None or place is None or struct.unpack("i", hops) != (HOP_LIMIT,):
        return None
    return Heard(message, IPv6Address(sender[0].partition("%")[0]), struct.unpack_from("i", place, 16)[0])


def link_local(link: int) -> IPv6Address | None:
    """The link-local address of an interface that can be sent from; None if it has none, or not yet. Raises OSError."""
    return next((address for address, index, _ in _link_locals() if index == link), None)


def links() -> list[str]:
    """The interfaces that have such an address. Raises OSError."""
    return list(dict.fromkeys(name for _, _, name in _link_locals()))


def _link_locals() -> Iterator[tuple[IPv6Address, int, str]]:
    """Address, index and name of interfaces."""
    try:
        lines = IF_INET6.read_text("ascii").splitlines()
    except FileNotFoundError:  # a kernel without IPv6
        return
    for line in lines:
        address, index, _, scope, flags, name = line.split()
        if int(scope, 16) == LINK_SCOPE and not int(flags, 16) & (TENTATIVE | FAILED):
            yield IPv6Address(bytes.fromhex(address)), int(index, 16), name
