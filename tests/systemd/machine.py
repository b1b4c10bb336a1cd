"""A Debian with systemd as process 1, booted in a network namespace; what it writes is gone when it ends.

with Machine(tree(), namespace, directory) as machine:
    machine.run("systemctl", "start", "nat64d")
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nat64d.cli.lab import NETNS, Namespace
from tests.systemd.tree import NSPAWN

BOOT = 120  # seconds on a busy machine
PATIENCE = 120  # seconds that a command may take
COMPILING = 1200  # seconds on a busy machine: one and a half minutes of a core
LIMIT = 3 * COMPILING  # seconds for a test, the first of which may unpack the tree, build or compile
HALT = 30  # seconds for an orderly shutdown; then it is killed
TUN = os.makedev(10, 200)


class Machine:
    """Process 1 of the machine is `leader`; `unit` is the service that the short forms mean, `since` when its journal
    begins (seconds since the epoch)."""

    def __init__(self, tree: Path, namespace: Namespace, directory: Path, unit: str = "nat64d") -> None:
        self.unit = unit
        self.leader = self._nspawn = 0
        self.since = time.time()
        self._console = directory / "console"
        self._tun = directory / "tun"
        # In a namespace of process IDs that ends with its first process, which ends with ours: nothing outlives a test
        # that is killed.
        self._command = [
            *("setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *NSPAWN,
            "--boot",
            f"--directory={tree}",
            "--volatile=overlay",
            # The first, nspawn grants by itself in networks of its own making alone; the other is for OOMScoreAdjust=.
            "--capability=CAP_NET_ADMIN,CAP_SYS_RESOURCE",
            f"--machine=nat64d-{os.getpid()}",
            f"--network-namespace-path={NETNS / namespace.netns}",
            f"--bind={self._tun}:/dev/net/tun",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
        ]

    def __enter__(self) -> Self:
        """Boot; raises AssertionError, with what the console shows, if that fails."""
        os.mknod(self._tun, 0o666 | 0o020000, TUN)
        self._tun.chmod(0o666)  # as udev leaves it
        with self._console.open("w") as console:
            self._outside = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT
            )
        try:
            wait(self._booted, BOOT, lambda: self._console.read_text("utf-8", "replace")[-3000:])
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _booted(self) -> bool:
        assert self._outside.poll() is None, self._console.read_text("utf-8", "replace")[-3000:]
        self._nspawn = next(iter(children(self._outside.pid)), 0)
        self.leader = next((pid for pid in children(self._nspawn) if name_of(pid) == "systemd"), 0)
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip() if self.leader else ""
        return state in {"running", "degraded"}

    def _end(self) -> None:
        """An orderly shutdown, or else no more of it: its mounts and processes end with process 1."""
        with suppress(ProcessLookupError):
            if self._nspawn:
                os.kill(self._nspawn, signal.SIGTERM)
        try:
            self._outside.wait(HALT if self.leader else 1)
        except subprocess.TimeoutExpired:
            self._outside.kill()
            self._outside.wait()
        self._tun.unlink()

    def entering(self, *command: str) -> list[str]:
        """The command that runs another one in the machine."""
        return ["nsenter", f"--target={self.leader}", "--all", "--root", "--wd", *command]

    def run(
        self, *command: str, check: bool = True, stdin: str = "", timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the machine to its end."""
        done = subprocess.run(
            self.entering(*command), input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, f"{command} failed:\n{done.stdout}{done.stderr}\n{self.journal()}"
        return done

    def popen(self, *command: str) -> subprocess.Popen[str]:
        """Start a program in the machine; its standard input and output are pipes."""
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(self.entering(*command), text=True, **pipes)

    def write(self, path: str, text: str) -> None:
        """Write a file in the machine, and its directory."""
        self.run("/bin/sh", "-ec", 'mkdir -p "$(dirname "$0")"; cat >"$0"', path, stdin=text)

    def systemctl(self, verb: str, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`systemctl VERB UNIT`."""
        return self.run("systemctl", verb, self.unit, *more, check=check, timeout=COMPILING)

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.run("systemctl", "show", "--property", name, "--value", self.unit).stdout.strip()

    def journal(self) -> str:
        """What systemd and the daemon said about the unit since `since`."""
        since = f"--since=@{self.since:.3f}"
        journal = ("journalctl", f"--unit={self.unit}", "--output=cat", "--no-pager", since)
        return subprocess.run(self.entering(*journal), capture_output=True, text=True, timeout=60, check=False).stdout

    def drop_in(self, text: str) -> None:
        """What `systemctl edit` writes; all of it is taken back by an empty text."""
        self.write(f"/etc/systemd/system/{self.unit}.service.d/override.conf", text)
        self.run("systemctl", "daemon-reload")

    def becomes(self, name: str, value: str, patience: float = 3 * PATIENCE) -> None:
        """Wait until a property has a value."""
        wait(lambda: self.show(name) == value, patience, lambda: f"{name}={self.show(name)}\n{self.journal()}")


def children(pid: int) -> list[int]:
    """The processes that a process has started; none if it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
    except OSError:
        return []


def name_of(pid: int) -> str:
    """The name of a process, "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8").strip()
    except OSError:
        return ""


def wait(until: Callable[[], bool], patience: float, why: Callable[[], str]) -> None:
    """Look again and again until something is true; an AssertionError, with the reason, after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not until():
        assert time.monotonic() < deadline, why()
        time.sleep(0.2)


def hear(program: subprocess.Popen[str], patience: float = 30) -> str:
    """The next line that a program prints; "" if there is none in time."""
    assert program.stdout is not None
    ready, _, _ = select.select([program.stdout], [], [], patience)
    return program.stdout.readline().strip() if ready else ""
