"""A daemon without a service manager, with a bpffs and a persistent device, as in a container that is started again."""

import signal
import subprocess
from pathlib import Path
from typing import Any

from nat64d.dataplane.bpf import system
from nat64d.dataplane.bpf.left import PROGRAM
from tests.e2e.topology import Daemon, hear

HOLD = "mount -t bpf -o mode=0700 bpf /sys/fs/bpf && echo mounted && exec sleep infinity"


class Pinned(Daemon):
    """The bpffs is mounted in a mount namespace that goes with the lab."""

    persistent = True  # the device

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._holder = self.host.popen("sh", "-c", HOLD, stdout=subprocess.PIPE)
        assert hear(self._holder) == "mounted"
        if self.persistent:
            self.host.ip("tuntap", "add", "dev", "nat64", "mode", "tun", "multi_queue")

    def command(self) -> list[str]:
        """The same, where the bpffs is."""
        return ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", f"--wd={Path.cwd()}", *super().command()]

    def _pins(self) -> dict[str, Path]:
        below = Path(f"/proc/{self._holder.pid}/root/sys/fs/bpf/nat64d")
        return {pin.name: pin for pin in below.glob("*/*")}

    def kept(self) -> set[str]:
        """The names of what is pinned."""
        return {*self._pins()}

    def link(self) -> int:
        """A descriptor of what its program is attached by."""
        return system.pinned(self._pins()[PROGRAM])

    def end(self, how: str) -> None:
        """Kill the daemon, or have it stop."""
        self.stop(signal.SIGKILL if how == "kill" else signal.SIGTERM)

    def close(self) -> None:
        """End all of it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._holder.kill()
        self._holder.wait()
        if self.persistent:
            self.host.ip("link", "delete", "nat64")


class Passing(Pinned):
    """The device goes with the daemon."""

    persistent = False
