"""systemd's store of descriptors (FileDescriptorStoreMax=, sd_pid_notify_with_fds(3)): the queues of the TUN device are
in it, so that the device and its routes outlive the daemon. While it is started again packets wait in them; with a
[fastpath] the program at the device goes on meanwhile, as it is in the store with the sessions it works by.

Where there is no such store, all of it does nothing.
"""

import os
import socket
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

from nat64d.dataplane.bpf.left import PROGRAM, SESSIONS

TUN = "tun"  # FDNAME= of these descriptors in the store; those of a fast path have the names of dataplane/bpf/left.py
DNS = "dns"  # FileDescriptorName= of what nat64d.socket has opened
FIRST = 3  # sd_listen_fds(3): the first descriptor that is passed
PART = 100  # are sent at a time; the kernel takes 253 (SCM_MAX_FD)
NAMES = (TUN, DNS, SESSIONS, PROGRAM)
MARK = "again"  # made by root, who follows no link there: a directory


class Store:
    """It keeps the fast path (dataplane/bpf/left.py)."""

    where: str | None = "service manager"
    why: str | None = None

    def keep(self, fds: list[int], name: str) -> None:
        """Have these kept by this name instead of those that are."""
        keep(fds, name)


def is_there(environment: Mapping[str, str]) -> bool:
    """Whether there is one: a container may be told of a service manager, but has no RuntimeDirectory= of it."""
    return {"NOTIFY_SOCKET", "RUNTIME_DIRECTORY"} <= environment.keys()


def passed(environment: MutableMapping[str, str], pid: int) -> dict[str, list[int]]:
    """The descriptors that systemd passes by the names TUN, SESSIONS and PROGRAM, which an earlier process of this
    service has left, and DNS; for once: they are no longer in the environment afterwards. Those with another name are
    closed."""
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    count, of = environment.pop("LISTEN_FDS", ""), environment.pop("LISTEN_PID", "")
    if of != str(pid) or not count.isdecimal():
        return {wanted: [] for wanted in NAMES}
    every = list(zip(range(FIRST, FIRST + int(count)), names, strict=False))
    for fd, name in every:
        if name in NAMES:
            os.set_inheritable(fd, False)
        else:
            os.close(fd)
    return {wanted: [fd for fd, name in every if name == wanted] for wanted in NAMES}


def keep(fds: list[int], name: str = TUN) -> None:
    """Have these descriptors kept by this name instead of those that are. A map or a link has nothing to wait for,
    which systemd would take for an end of it (FDPOLL=)."""
    forget(name)
    for first in range(0, len(fds), PART):
        poll = "" if name == TUN else "\nFDPOLL=0"
        _notify(f"FDSTORE=1\nFDNAME={name}{poll}", fds[first : first + PART])


def forget(name: str = TUN) -> None:
    """Have none kept by it: without a process the device is gone. systemd closes them a moment later."""
    _notify(f"FDSTOREREMOVE=1\nFDNAME={name}", [])


def is_started_again(environment: Mapping[str, str]) -> bool:
    """Whether systemd stops this service only to start it again. The unit says so by a directory in RuntimeDirectory=,
    which this takes away."""
    directory = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not directory:
        return False
    try:
        (Path(directory) / MARK).rmdir()
    except OSError:
        return False
    return True


def tell(text: str) -> None:
    """Tell systemd, if there is one."""
    _notify(text, [])


def _notify(text: str, fds: list[int]) -> None:
    if "NOTIFY_SOCKET" in os.environ:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifier:
            address = os.environ["NOTIFY_SOCKET"]
            notifier.connect("\0" + address[1:] if address.startswith("@") else address)
            socket.send_fds(notifier, [text.encode()], fds)
