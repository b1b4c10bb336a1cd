"""A daemon under a service manager with a store of descriptors (sd_pid_notify_with_fds(3)), as far as that goes."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from nat64d.dataplane.bpf.left import PROGRAM
from tests.e2e.topology import Daemon

START = """
import os, sys
count, command = int(sys.argv[1]), sys.argv[2:]
given = [os.dup(int(fd)) for fd in os.environ.pop("GIVEN").split()]
high = [os.dup2(fd, 500 + n) for n, fd in enumerate(given)]
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n)
os.closerange(3 + len(high), 1000)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(high))}
os.execv(command[0], command)
"""


class Managed(Daemon):
    """`store` has the descriptors that the daemon has given, by their names; each start is given all of them."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.store: dict[str, list[int]] = {}
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self.directory / "notify"))
        self._ears = threading.Thread(target=self._listen, daemon=True)
        self._ears.start()

    def _listen(self) -> None:
        while True:
            text, fds, _, _ = socket.recv_fds(self._notify, 4096, 253)
            said = dict(line.partition("=")[::2] for line in text.decode().splitlines())
            if "END" in said:
                return
            if "FDSTORE" in said:
                self.store.setdefault(said["FDNAME"], []).extend(fds)
            elif "FDSTOREREMOVE" in said:
                for fd in self.store.pop(said["FDNAME"], []):
                    os.close(fd)

    def launch(self) -> "subprocess.Popen[str]":
        """Start the daemon with what is in the store, and as a service whose directory is that of its socket."""
        every = [(name, fd) for name, fds in self.store.items() for fd in fds]
        environment = os.environ | {
            "NOTIFY_SOCKET": str(self.directory / "notify"),
            "RUNTIME_DIRECTORY": str(self.directory),
            "LISTEN_FDNAMES": ":".join(name for name, _ in every),
            "GIVEN": " ".join(str(fd) for _, fd in every),
        }
        with self.log.open("a") as log:
            self.process = self.host.popen(
                *(sys.executable, "-c", START, str(len(every)), *self.command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=[fd for _, fd in every],
            )
        return self.process

    def end(self, how: str) -> None:
        """Kill the daemon, have it stop to be started again ("restart"), or for good ("stop")."""
        if how == "restart":
            Path(self.directory, "again").mkdir()
        self.stop(signal.SIGKILL if how == "kill" else signal.SIGTERM)

    def kept(self) -> set[str]:
        """The names of what is kept of the fast path."""
        return {*self.store} - {"tun"}

    def link(self) -> int:
        """A descriptor of what its program is attached by."""
        return os.dup(self.store[PROGRAM][0])

    def close(self) -> None:
        """End all of it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.connect(str(self.directory / "notify"))
            last.send(b"END=1")
            self._ears.join()
        self._notify.close()
        for fds in self.store.values():
            for fd in fds:
                os.close(fd)
        self.store.clear()
