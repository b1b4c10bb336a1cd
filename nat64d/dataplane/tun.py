"""The TUN device: a descriptor per queue, a virtio_net_hdr before every packet, the offloads that the kernel supports.

With offloads, segments of up to 64 KiB with an unfinished checksum are exchanged with the kernel; the virtio_net_hdr
says so (Linux: Documentation/networking/tuntap.rst, include/uapi/linux/virtio_net.h).
"""

import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytun

from translator.packet.virtio import VNET_HEADER

if TYPE_CHECKING:
    from nat64d.config.models import Tun as TunConfig
    from nat64d.host.rtnetlink import Device

# linux/if_tun.h
TUNSETOFFLOAD = 0x400454D0
TUNSETVNETHDRSZ = 0x400454D8
TUNGETIFF = 0x800454D2
IFREQ, IFNAMSIZ = 40, 16  # octets of a struct ifreq, and of the name in it
FLAGS = pytun.IFF_TUN | pytun.IFF_NO_PI | pytun.IFF_VNET_HDR

GONE = 5.0  # LIMIT: seconds that are waited for a device to be gone, after the last who kept it was told to close it
MOST_QUEUES = 8  # of "auto": all queues share the lock of the session tables, which more threads would wait for

# TUN_F_*: names and bits that are requested together, each in addition to what was granted before.
OFFLOADS = (
    (("csum",), 0x01),  # all others need it
    (("tso4",), 0x02),
    (("tso6",), 0x04),
    (("tso_ecn",), 0x08),  # refused without tso4 or tso6
    (("uso4", "uso6"), 0x60),  # Linux 6.2; refused one without the other
)


class TunError(Exception):
    """The device cannot be opened; its text is one sentence that names it and says what to do."""


@dataclass
class Tun:
    """An open device, and the lock on its name."""

    name: str
    fds: list[int]  # a non-blocking descriptor per queue
    offloads: list[str]  # names of what the kernel granted, see OFFLOADS
    created: bool  # False: a persistent device that existed before and stays when closed
    left: bool  # by a process before, with what that has set up for it
    _held: ExitStack = field(repr=False)

    def close(self) -> None:
        """Close the queues and release the name; a device that `open_tun` created disappears. May be called again."""
        self.fds = []
        self._held.close()


def open_tun(config: "TunConfig", left: Sequence[int] = (), give_up: Callable[[], None] = lambda: None) -> Tun:
    """Open the device of `[tun]`, or create it; raises TunError. `left`: its queues that a process before has left
    open; all of them go on, or are closed. Then `give_up` has others close theirs.

    Call it from a thread without a running event loop (a rule of pyroute2's blocking calls).
    """
    name = config.name
    with ExitStack() as held:
        held.enter_context(_lock(name))
        if goes_on(config, left):
            fds = [_go_on(fd, held) for fd in left]
            offloads = _negotiate(fds[0]) if config.offload else []
            if not offloads:
                _set_offloads(fds[0], 0)
            return Tun(name, fds, offloads, True, True, held.pop_all())
        if left:
            _end(left, give_up)
        existing = _existing(name, config.queues)
        queues = _automatic(existing) if config.queues == "auto" else config.queues
        multi_queue = existing.multi_queue if existing else queues > 1
        fds = [_open_queue(name, multi_queue, held) for _ in range(queues)]
        fcntl.ioctl(fds[0], TUNSETVNETHDRSZ, struct.pack("i", VNET_HEADER))
        if existing:  # otherwise the next program that opens it would get segments it did not request
            held.callback(_set_offloads, fds[0], 0)
        offloads = _negotiate(fds[0]) if config.offload else []
        if not offloads:
            _set_offloads(fds[0], 0)
        return Tun(name, fds, offloads, existing is None, False, held.pop_all())


def goes_on(config: "TunConfig", left: Sequence[int]) -> bool:
    """Whether these are the queues of the device of `[tun]`, as many as there are to be: packets wait in them."""
    wanted = _automatic(None) if config.queues == "auto" else config.queues
    return len(left) == wanted and all(name_of(fd) == config.name for fd in left)


def _end(left: Sequence[int], give_up: Callable[[], None]) -> None:
    """Close these queues here and elsewhere, and wait until their devices are gone, for GONE seconds at most."""
    names = {name_of(fd) for fd in left} - {""}
    for fd in left:
        os.close(fd)
    give_up()
    until = time.monotonic() + GONE
    while names & {name for _, name in socket.if_nameindex()} and time.monotonic() < until:
        time.sleep(0.01)


def name_of(fd: int) -> str:
    """The name of the device that a descriptor is a queue of; "" of none, or of one that is gone."""
    try:
        about = fcntl.ioctl(fd, TUNGETIFF, bytes(IFREQ))
    except OSError:
        return ""
    return about[:IFNAMSIZ].partition(b"\0")[0].decode("utf-8", "replace")


def _go_on(fd: int, held: ExitStack) -> int:
    """One more queue that is open already, closed with `held`."""
    held.callback(os.close, fd)
    os.set_inheritable(fd, False)
    os.set_blocking(fd, False)
    return fd


def _lock(name: str) -> socket.socket:
    """Lock the name against other nat64d processes in this network namespace; raises TunError.

    A second process could attach to a multi-queue device and silently take part of the packets. Abstract socket names
    belong to the network namespace, as devices do, and are released when the process ends, even by kill -9.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lock.bind(f"\0nat64d/tun/{name}")
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise TunError(
            f"TUN device {name} is used by another nat64d in this network namespace: "
            "stop that one, or choose another [tun] name."
        ) from None
    return lock


def _automatic(existing: "Device | None") -> int:
    """A queue for each CPU that this process may use, MOST_QUEUES at most, and no more than an existing device takes.

    The kernel keeps both directions of a flow on one queue, so more of them change nothing for a single flow.
    """
    return min(len(os.sched_getaffinity(0)), MOST_QUEUES) if existing is None or existing.multi_queue else 1


def _existing(name: str, queues: int | Literal["auto"]) -> "Device | None":
    """The device of that name, or None; raises TunError if `queues` queues cannot be attached to it."""
    from pyroute2 import IPRoute  # noqa: PLC0415  slow to import, and packets wait in a device that goes on

    from nat64d.host.rtnetlink import find_device  # noqa: PLC0415

    with IPRoute() as ip:
        device = find_device(ip, name)
    if device is None:
        return None
    if device.kind != "tun":
        what = f"a {device.kind}" if device.kind else "another kind of"
        raise TunError(f"{name} is {what} device, not a TUN device: remove it, or choose another [tun] name.")
    if queues != "auto" and queues > 1 and not device.multi_queue:
        raise TunError(
            f"TUN device {name} exists with a single queue: set [tun] queues to 1, or create it again with "
            f"'ip tuntap del dev {name} mode tun' and 'ip tuntap add dev {name} mode tun multi_queue'."
        )
    if device.queues:  # a multi-queue device: the kernel would admit a second program
        raise _refusal(name, errno.EBUSY)
    return device


def _open_queue(name: str, multi_queue: bool, held: ExitStack) -> int:
    """Attach one more queue, closed with `held`; raises TunError."""
    try:
        device = pytun.TunTapDevice(name=name, flags=FLAGS | (pytun.IFF_MULTI_QUEUE if multi_queue else 0))
    except pytun.Error as error:
        raise _refusal(name, error.errno, str(error)) from None
    held.callback(device.close)  # also keeps the object alive; deleting it would close the descriptor
    fd: int = device.fileno()
    os.set_inheritable(fd, False)  # a child process must not keep the device open
    os.set_blocking(fd, False)
    return fd


def _negotiate(fd: int) -> list[str]:
    """Request the offloads one after the other; returns the names of those that the kernel grants."""
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
    """The error for the operator when the kernel refuses to open the device."""
    match code:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            why = "there is no /dev/net/tun: run 'modprobe tun', or pass the device /dev/net/tun to this container"
        case errno.EPERM | errno.EACCES:
            why = "no permission: run as root, or with CAP_NET_ADMIN and access to /dev/net/tun"
        case errno.EBUSY:
            why = "another program has it open: stop that one, or choose another [tun] name"
        case errno.E2BIG:
            why = "the kernel has no more queues: lower [tun] queues"
        case errno.EINVAL:
            why = "the kernel accepts neither its name nor its kind: choose another [tun] name"
        case _:
            why = f"{os.strerror(code) if code else text}: choose another [tun] name"
    return TunError(f"TUN device {name} cannot be opened, {why}.")
