"""The TUN device: a descriptor per queue, a virtio_net_hdr before every packet, offloads as far as the kernel has them.

With offloads the kernel hands over, and takes, segments of up to 64 KiB whose checksum is still to be finished; the
header in front says so (Linux: Documentation/networking/tuntap.rst, include/uapi/linux/virtio_net.h).
"""

import errno
import fcntl
import os
import socket
import struct
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytun
from pyroute2 import IPRoute

from nat64d.dataplane.rtnetlink import Device, find_device

if TYPE_CHECKING:
    from nat64d.config.models import Tun as TunConfig

# linux/if_tun.h
TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
FLAGS = pytun.IFF_TUN | pytun.IFF_NO_PI | pytun.IFF_VNET_HDR

VNET_HEADER = 10  # octets; with 12 there is a count of merged buffers, which TUN devices do not use

# TUN_F_*: names and bits of what is asked for together, each on top of what was granted before.
OFFLOADS = (
    (("csum",), 0x01),  # all others need it
    (("tso4",), 0x02),
    (("tso6",), 0x04),
    (("tso_ecn",), 0x08),  # refused without tso4 or tso6
    (("uso4", "uso6"), 0x60),  # Linux 6.2; refused one without the other
)


class TunError(Exception):
    """The device cannot be had; one sentence that names it and says what to do."""


@dataclass
class Tun:
    """An open device, and the claim to its name."""

    name: str
    fds: list[int]  # a non-blocking descriptor per queue
    offloads: list[str]  # names of what the kernel granted, see OFFLOADS
    created: bool  # False: it was there before, and stays when we close it
    vnet_header: int  # octets in front of every packet read and written
    _held: ExitStack = field(repr=False)

    def close(self) -> None:
        """Close the queues, with which a device of our making goes, and let others have the name; may be repeated."""
        self.fds = []
        self._held.close()


def open_tun(config: "TunConfig") -> Tun:
    """Open the device of `[tun]`, or make it; raises TunError.

    Like all of pyroute2's blocking calls this wants a thread without a running event loop.
    """
    name = config.name
    queues = 1 if config.queues == "auto" else config.queues
    with ExitStack() as held:
        held.enter_context(_lock(name))
        existing = _existing(name, queues)
        multi_queue = existing.multi_queue if existing else queues > 1
        fds = [_open_queue(name, multi_queue, held) for _ in range(queues)]
        fcntl.ioctl(fds[0], TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER))
        if existing:  # or the next program to open it would get segments it never asked for
            held.callback(_set_offloads, fds[0], 0)
        offloads = _negotiate(fds[0]) if config.offload else []
        if not offloads:
            _set_offloads(fds[0], 0)
        return Tun(name, fds, offloads, existing is None, VNET_HEADER, held.pop_all())


def _lock(name: str) -> socket.socket:
    """Claim the name against other nat64d in this network namespace.

    A second process could attach to a device of several queues and take part of the packets, unnoticed. Abstract socket
    names belong to the network namespace, as devices do, and to the process: kill -9 gives them back.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0nat64d/tun/{name}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise TunError(
            f"TUN device {name} is served by another nat64d of this network namespace: "
            "stop that one, or choose another [tun] name."
        ) from None
    return lock


def _existing(name: str, queues: int) -> Device | None:
    """The device of that name, None if there is none; raises TunError if it is not one we can attach `queues` to."""
    with IPRoute() as ip:
        device = find_device(ip, name)
    if device is None:
        return None
    if device.kind != "tun":
        what = f"a {device.kind}" if device.kind else "another kind of"
        raise TunError(f"{name} is {what} device, not a TUN device: remove it, or choose another [tun] name.")
    if queues > 1 and not device.multi_queue:
        raise TunError(
            f"TUN device {name} exists with a single queue: set [tun] queues to 1, or make it again with "
            f"'ip tuntap del dev {name} mode tun' and 'ip tuntap add dev {name} mode tun multi_queue'."
        )
    if device.queues:  # of several: the kernel would let us in beside the other program
        raise _refusal(name, errno.EBUSY)
    return device


def _open_queue(name: str, multi_queue: bool, held: ExitStack) -> int:
    """Attach one more queue, closed with `held`; raises TunError."""
    try:
        device = pytun.TunTapDevice(name=name, flags=FLAGS | (pytun.IFF_MULTI_QUEUE if multi_queue else 0))
    except pytun.Error as error:
        raise _refusal(name, error.errno, str(error)) from None
    held.callback(device.close)  # also keeps the object, whose end would close the descriptor
    fd: int = device.fileno()
    os.set_inheritable(fd, False)  # a child that kept it would keep the device
    os.set_blocking(fd, False)
    return fd


def _negotiate(fd: int) -> list[str]:
    """Ask for one offload after the other, keep what is granted, return the names."""
    granted, names = 0, list[str]()
    for together, bits in OFFLOADS:
        try:
            _set_offloads(fd, granted | bits)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        else:
            granted |= bits
            names += together
    return names


def _set_offloads(fd: int, bits: int) -> None:
    fcntl.ioctl(fd, TUNSETOFFLOAD, bits)


def _refusal(name: str, code: int | None, text: str = "") -> TunError:
    """What the kernel's refusal means to the operator."""
    match code:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            mend = "there is no /dev/net/tun: run 'modprobe tun', or give this container the device /dev/net/tun"
        case errno.EPERM | errno.EACCES:
            mend = "no permission: run as root, or with CAP_NET_ADMIN and access to /dev/net/tun"
        case errno.EBUSY:
            mend = "another program has it open: stop that one, or choose another [tun] name"
        case errno.E2BIG:
            mend = "the kernel has no more queues to give: lower [tun] queues"
        case errno.EINVAL:
            mend = "the kernel takes neither its name nor its kind: choose another [tun] name"
        case _:
            mend = f"{os.strerror(code) if code else text}: choose another [tun] name"
    return TunError(f"TUN device {name} cannot be opened, {mend}.")
