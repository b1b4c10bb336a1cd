"""The program at the egress of a device, or at the ingress of an interface: by a TCX link, or a filter of clsact where
the kernel has none (before 6.6).

A link is gone with the last of its descriptors, so with the process unless somebody keeps one. A filter stays as long
as its device, which may outlive the daemon. So it is a program of five instructions, which only calls the other one,
out of an array of programs: the kernel empties that when nobody has a descriptor of it any more, and the filter passes
every packet from then on.
"""

import errno
import os
import struct
from contextlib import suppress
from typing import NamedTuple

from nat64d.dataplane.bpf import system

NO_TCX = {errno.EINVAL, errno.EOPNOTSUPP}
PRIORITY, HANDLE, ALL = 1, 1, 3  # ours among filters; of every protocol (linux/if_ether.h)
TAIL_CALL = 12


class Place(NamedTuple):
    """Where at a device: for a link, for a filter (linux/pkt_sched.h: TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)), and
    what the kernel is to do with a packet that nobody looks at."""

    link: int
    parent: int
    verdict: int


EGRESS = Place(system.TCX_EGRESS, 0xFFFFFFF3, 0)
INGRESS = Place(system.TCX_INGRESS, 0xFFFFFFF2, -1)  # other programs that are attached there come next


class Attached:
    """The program at a device; `how`: "tcx" or "clsact"; `handle`: among filters of several daemons."""

    def __init__(self, program: int, interface: int, place: Place = EGRESS, handle: int = HANDLE) -> None:
        """Raises OSError."""
        self.interface, self._place, self._handle = interface, place, handle
        try:
            self.how, self._fds = "tcx", [system.attach(program, interface, place.link)]
        except system.SystemCallError as error:
            if error.errno not in NO_TCX:
                raise
            self.how, self._fds = "clsact", list[int]()
            try:
                self._by_filter(program)
            except BaseException:
                self.close()
                raise

    def _by_filter(self, program: int) -> None:
        programs = system.create_map("programs", 4, 1, system.PROGRAMS)
        self._fds.append(programs)
        system.write(programs, 0, struct.pack("<I", program))
        self._fds.append(system.load(calling(programs, self._place.verdict), "nat64d_call"))
        _change(self.interface, self._fds[-1], self._place, self._handle)

    @property
    def links(self) -> list[int]:
        """What the program stays by, if somebody has it; a filter has nothing of the kind."""
        return self._fds if self.how == "tcx" else []

    def leave(self) -> None:
        """Let go of the program: it goes on as long as somebody else has its link."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def close(self) -> None:
        """Take the program away."""
        for fd in self.links:
            with suppress(OSError):  # the device is gone
                system.detach(fd)
        self.leave()
        if self.how == "clsact":
            with suppress(OSError):  # the device is gone; or the filter stays, and passes all
                _change(self.interface, None, self._place, self._handle)


def calling(programs: int, verdict: int) -> bytes:
    """The program that calls the first of an array, or passes a packet where there is none."""
    instruction = struct.Struct("<BBhi").pack
    return b"".join(
        (
            instruction(0x18, 2 | 1 << 4, 0, programs),  # r2 = the array
            instruction(0, 0, 0, 0),
            instruction(0xB7, 3, 0, 0),  # r3 = 0; r1 is the packet's context
            instruction(0x85, 0, 0, TAIL_CALL),
            instruction(0xB7, 0, 0, verdict),  # r0: TC_ACT_OK or TC_ACT_UNSPEC
            instruction(0x95, 0, 0, 0),
        )
    )


def _change(interface: int, program: int | None, place: Place, handle: int) -> None:
    """Our filter of a device: in place of one that was left, or taken away. Raises OSError."""
    from pyroute2 import IPRoute  # noqa: PLC0415  takes a tenth of a second, and few kernels need it
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    at = {"index": interface, "parent": place.parent, "handle": handle, "prio": PRIORITY, "protocol": ALL}
    with IPRoute() as ip:
        try:
            if program is None:
                ip.tc("del-filter", **at, kind="bpf")
                return
            with suppress(NetlinkError):  # it is there already
                ip.tc("add", "clsact", interface)
            ip.tc("replace-filter", **at, kind="bpf", fd=program, name="nat64d", direct_action=True)
        except NetlinkError as error:
            raise OSError(error.code, f"clsact: {os.strerror(error.code)}") from None
