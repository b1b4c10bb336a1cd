"""The program at the ingress of other interfaces ([fastpath] interfaces): packets of established flows are not routed
to the TUN device first.

An interface may come after the daemon, go, and come back: `look` attaches the program to what is there.
"""

import fcntl
import logging
import os
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nat64d.dataplane.bpf.attach import INGRESS, Attached
from nat64d.dataplane.bpf.words import words

GET_MTU, GET_ADDRESS = 0x8921, 0x8927  # linux/sockios.h: SIOCGIFMTU, SIOCGIFHWADDR
REQUEST = "16sH22x"  # struct ifreq, of which the first number is looked at
ETHERNET = 1  # linux/if_arp.h: ARPHRD_ETHER
HEADER = 14  # octets

Load = Callable[[Mapping[str, int]], int]  # parameters that differ -> the descriptor of a program


def _asked(request: int, name: str) -> int:
    """What the kernel says of an interface. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        answer = fcntl.ioctl(one, request, struct.pack(REQUEST, name.encode(), 0))
    return int(struct.unpack(REQUEST, answer)[1])


def index_of(name: str) -> int:
    """The number of an interface, 0 if there is none of that name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


class Interfaces:
    """Those of these names; nothing is attached until `begin`. `look` may be called from any thread."""

    def __init__(self, names: Sequence[str], log: logging.Logger) -> None:
        self._names, self._log, self._lock = names, log, threading.Lock()
        self._program: int | None = None
        self._device = 0
        self._attached = dict[str, Attached]()
        self._why = dict.fromkeys(names, "the queues are not served")
        self._said = dict[str, str | None]()

    def begin(self, load: Load, device: str) -> None:
        """Attach a program that `load` loads, which hands packets to the TUN device."""
        if not self._names:
            return
        with self._lock:
            self._device = socket.if_nametoindex(device)
            try:
                mtu = _asked(GET_MTU, device)
                self._program = load({"link_header": HEADER, "device": self._device, "device_mtu": mtu})
            except OSError as error:
                self._why = dict.fromkeys(self._names, words(error))
        self.look()

    def look(self) -> None:
        """Attach the program wherever it is not."""
        with self._lock:
            for name in self._names if self._program is not None else ():
                self._look_at(name, index_of(name))

    def _look_at(self, name: str, index: int) -> None:
        attached = self._attached.get(name)
        if attached and attached.interface == index:
            return
        if attached:
            self._attached.pop(name).close()
        why = self._attach(name, index)
        if why:
            self._why[name] = why
        if self._said.get(name, "") != why:
            said = "are translated as they come in" if not why else f"go the usual way: {why}"
            self._log.info("Packets of established flows by %s %s", name, said)
        self._said[name] = why

    def _attach(self, name: str, index: int) -> str | None:
        """Attach the program to an interface; returns why it is not."""
        if not index:
            return "there is no such interface"
        assert self._program is not None
        try:
            if _asked(GET_ADDRESS, name) != ETHERNET:
                return "it is no Ethernet interface"
            self._attached[name] = Attached(self._program, index, INGRESS, self._device)
        except OSError as error:
            return words(error)
        return None

    def end(self) -> None:
        """Take the program away, everywhere. May be repeated."""
        with self._lock:
            for attached in self._attached.values():
                attached.close()
            self._attached.clear()
            self._why = dict.fromkeys(self._names, "the queues are not served")
            if self._program is not None:
                os.close(self._program)
                self._program = None

    def status(self) -> list[dict[str, Any]]:
        """For people: by what the program is attached to each interface, or why it is not."""
        attached = dict(self._attached)
        return [
            {
                "interface": name,
                "attached": attached[name].how if name in attached else None,
                "why": None if name in attached else self._why[name],
            }
            for name in self._names
        ]
