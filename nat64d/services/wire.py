"""A socket for ARP, or neighbour advertisements, on one link (packet(7)); it needs CAP_NET_RAW."""

import ctypes
import errno
import socket
import struct
from contextlib import ExitStack
from ipaddress import IPv6Address

from nat64d.advertise.wire import link_local
from nat64d.host.descriptors import EXHAUSTED
from nat64d.services.messages import ADVERTISEMENT, ICMPV6, Heard, Sent, heard

ETHERTYPES = {4: 0x0806, 6: 0x86DD}  # of ARP and of IPv6
ETHERNET = 1  # linux/if_arp.h: ARPHRD_ETHER
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
OCTETS = 128  # of a message, at most those that count
# linux/filter.h: packets whose octet 6 is ICMPv6 and whose octet 40 is the type, and no others.
LOAD, UNLESS, RETURN = 0x30, 0x15, 0x06
ADVERTISEMENTS = (
    (LOAD, 0, 0, 6),
    (UNLESS, 0, 3, ICMPV6),
    (LOAD, 0, 0, 40),
    (UNLESS, 0, 1, ADVERTISEMENT),
    (RETURN, 0, 0, 0xFFFF),
    (RETURN, 0, 0, 0),
)


class Wire:
    """What is sent and heard on a link, of one version of IP."""

    def __init__(self, link: str, version: int) -> None:
        """Raises OSError: PermissionError, or EAFNOSUPPORT where a unit of systemd lacks the address family."""
        self.index, self.link, self._version = socket.if_nametoindex(link), link, version
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self.socket = socket.socket(socket.AF_PACKET, kind, 0)
        with ExitStack() as unused:
            unused.callback(self.socket.close)
            if version == 6:
                _attach(self.socket)
            self.socket.bind((link, ETHERTYPES[version]))
            if self.socket.getsockname()[3] != ETHERNET:
                raise OSError(errno.EPROTONOSUPPORT, "it is no Ethernet")
            unused.pop_all()

    @property
    def hardware(self) -> bytes:
        """The Ethernet address of the link."""
        address: bytes = self.socket.getsockname()[4]
        return address

    def is_gone(self) -> bool:
        """Whether the link is there no more, or another one has its name."""
        try:
            return socket.if_nametoindex(self.link) != self.index
        except OSError as error:
            return error.errno not in EXHAUSTED

    def source6(self) -> IPv6Address | None:
        """The address to send from in IPv6."""
        return link_local(self.index)

    def send(self, one: Sent) -> None:
        """Raises OSError."""
        self.socket.sendto(one.octets, (self.link, ETHERTYPES[self._version], 0, 0, one.to))

    def receive(self) -> Heard | None:
        """The next message, None if it says nothing. Raises OSError: BlockingIOError if there is none."""
        return heard(self.socket.recv(OCTETS), self._version)

    def close(self) -> None:
        """Hear nothing more."""
        self.socket.close()


def _attach(one: socket.socket) -> None:
    """Let only neighbour advertisements through: a gateway has many packets. Raises OSError."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in ADVERTISEMENTS))
    one.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(ADVERTISEMENTS), ctypes.addressof(program))
    )
