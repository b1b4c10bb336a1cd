"""Network namespaces joined by veth links, for `nat64d demo` and the end-to-end tests.

    with Lab("example") as lab:
        client, gateway = lab.namespace("client"), lab.namespace("gateway")
        lab.link(client, ["2001:db8:1::2/64"], gateway, ["2001:db8:1::1/64"])
        client.run("ping", "-c1", "2001:db8:1::1")

`Daemon` runs nat64d in one of them. The network of this machine is not changed. The names of namespaces contain the
process ID, so that two labs do not collide; programs inside die with that process; and what a killed process could not
remove, the next lab removes.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NETNS = Path("/run/netns")  # where `ip netns` keeps its names
TUN = Path("/dev/net/tun")
NAME = re.compile(r"nat64d-(?P<pid>\d+)-")
NAT64D = (sys.executable, "-m", "nat64d")
TIMEOUT = 60.0  # seconds a command may take by default
START = 300.0  # seconds until nat64d must be ready, on however busy a machine
_serial = count()


class LabError(Exception):
    """A command in the lab failed or cannot run; its text is one sentence."""


class Namespace:
    """One host or router: a network namespace. Its interface to another namespace is named after that one."""

    def __init__(self, name: str, netns: str) -> None:
        self.name = name
        self.netns = netns
        self.processes: list[subprocess.Popen[str]] = []
        self._resolv: Path | None = None

    def ip(self, *arguments: str) -> str:
        """Run `ip` on this namespace and return its standard output; raises LabError."""
        return _ip("-netns", self.netns, *arguments)

    def run(
        self, *command: str, check: bool = True, timeout: float = TIMEOUT, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end. Raises LabError after `timeout` seconds, and with `check` if it fails."""
        return _run([*self._enter(), *command], check, timeout, stdin)

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[str]:
        """Start a program inside (`options`: those of Popen). It is killed with the lab, or when this process dies."""
        inside = ["setpriv", "--pdeathsig", "KILL", *self._enter(), *command]
        process = subprocess.Popen(inside, text=True, **options)  # noqa: S603  no shell
        self.processes.append(process)
        return process

    def add_address(self, address: str, interface: str) -> None:
        """Give an interface an address, written with its prefix length. An IPv6 address can be used at once: without
        `nodad` it is tentative until a worker of the kernel has looked at it, even on lo."""
        self.ip("address", "add", address, "dev", interface, *(("nodad",) if ":" in address else ()))

    def route(self, destination: str, via: str, *more: str) -> None:
        """Set the route to `destination` (a prefix or "default") through the router `via`."""
        self.ip("route", "replace", destination, "via", via, *more)

    def sysctl(self, name: str, value: int) -> None:
        """Set a kernel parameter, for example `net.ipv4.ip_forward`."""
        self.run("sh", "-c", f"echo {value} > /proc/sys/{name.replace('.', '/')}")

    def use_resolver(self, address: str, directory: Path) -> None:
        """Give programs started from now on a resolv.conf with this name server; the file is kept in `directory`."""
        self._resolv = directory / f"resolv.conf.{self.name}"
        self._resolv.write_text(f"nameserver {address}\noptions timeout:5 attempts:1\n", "utf-8")

    def forward(self) -> None:
        """Make this namespace a router for both families."""
        self.sysctl("net.ipv4.ip_forward", 1)
        self.sysctl("net.ipv6.conf.all.forwarding", 1)

    def remove(self) -> None:
        """Kill what runs inside and remove the namespace."""
        for process in self.processes:
            process.kill()
        _remove(self.netns)
        for process in self.processes:
            with process:  # waits, and closes its pipes
                pass

    def _enter(self) -> list[str]:
        """The command prefix that enters the namespace. `ip netns exec` has its own mount namespace, so the mount of
        resolv.conf is visible inside only."""
        inside = ["ip", "netns", "exec", self.netns]
        if self._resolv is None:
            return inside
        return [*inside, "sh", "-ec", 'mount --bind "$0" /etc/resolv.conf; exec "$@"', str(self._resolv)]


class Lab:
    """A set of namespaces that exists for the length of a `with` block."""

    def __init__(self, label: str) -> None:
        self.prefix = f"nat64d-{os.getpid()}-{label}{next(_serial)}-"
        self.namespaces: list[Namespace] = []

    def __enter__(self) -> Self:
        """Remove what killed labs left behind."""
        for path in NETNS.glob("nat64d-*") if NETNS.is_dir() else ():
            made_by = NAME.match(path.name)
            if made_by and not Path("/proc", made_by["pid"]).exists():
                with suppress(LabError):  # another lab may be removing it too
                    _remove(path.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove all namespaces, also after an exception."""
        while self.namespaces:
            self.namespaces.pop().remove()

    def namespace(self, name: str) -> Namespace:
        """Create a namespace. `name` has at most 15 characters, because interfaces to it have the same name."""
        namespace = Namespace(name, self.prefix + name)
        _ip("netns", "add", namespace.netns)
        self.namespaces.append(namespace)
        namespace.ip("link", "set", "lo", "up")
        for interfaces in ("all", "default"):  # no duplicate address detection: addresses can be used at once
            namespace.sysctl(f"net.ipv6.conf.{interfaces}.accept_dad", 0)
        return namespace

    def link(
        self,
        left: Namespace,
        left_addresses: Sequence[str],
        right: Namespace,
        right_addresses: Sequence[str],
        mtu: int = 1500,
    ) -> None:
        """Join two namespaces with a veth pair; addresses are written with their prefix length."""
        ends = ((left, right, left_addresses), (right, left, right_addresses))
        peer = ["type", "veth", "peer", "name", left.name, "netns", right.netns]
        _ip("link", "add", right.name, "netns", left.netns, *peer)
        for namespace, other, _ in ends:
            namespace.ip("link", "set", other.name, "mtu", str(mtu), "up")
        for namespace, other, addresses in ends:
            for address in addresses:
                namespace.add_address(address, other.name)


class Daemon:
    """`nat64d run` in a namespace, with its configuration, control socket and log in `directory`, and what it is to
    `keep` of sessions; `program`: another nat64d than this one."""

    def __init__(
        self, host: Namespace, directory: Path, config: str, keep: bool = False, program: Sequence[str] | None = None
    ) -> None:
        self.host = host
        self.directory = directory
        self.config = config
        self.keep = keep
        self.program = NAT64D if program is None else program
        self.socket = directory / "api.sock"
        self.log = directory / "log"
        self.process: subprocess.Popen[str] | None = None

    def command(self) -> list[str]:
        """Write the configuration file and return the command that runs nat64d with it."""
        file = self.directory / "nat64d.toml"
        state = f'[state]\nfile = "{self.directory / "state"}"\nkeep = {str(self.keep).lower()}\n'
        file.write_text(f'{self.config}\n[api]\nsocket = "{self.socket}"\nhttp = ""\n\n{state}', "utf-8")
        return [*self.program, "run", "-c", str(file)]

    def launch(self) -> subprocess.Popen[str]:
        """Start the daemon without waiting for it; returns the process."""
        with self.log.open("w") as log:
            files: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            self.process = self.host.popen(*self.command(), **files)
        return self.process

    def start(self, patience: float = START) -> Self:
        """Start the daemon and wait until it is ready; raises LabError, with the end of the log, if it exits or takes
        longer than `patience` seconds."""
        process = self.launch()
        deadline = time.monotonic() + patience
        while self.ask("status", "--wait", "2").returncode != 0:
            if process.poll() is not None:
                raise LabError(f"nat64d exited with {process.returncode} before it was ready:\n{self.said()}")
            if time.monotonic() > deadline:
                raise LabError(f"nat64d was not ready after {patience:g} s:\n{self.said()}")
        return self

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send the daemon a signal and return its exit status; raises LabError if it still runs 10 s later."""
        if self.process is None:
            raise LabError("nat64d was never started.")
        self.process.send_signal(by)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise LabError(f"nat64d still runs 10 s after {by.name}:\n{self.said()}") from None

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a client command of nat64d, such as `status`, against the daemon; returns the finished process."""
        return self.host.run(*self.program, *arguments, "--socket", str(self.socket), check=False)

    def said(self) -> str:
        """The last 40 lines of the log."""
        return "\n".join(self.log.read_text("utf-8").splitlines()[-40:])


def obstacle() -> str | None:
    """Why a lab with nat64d in it cannot run on this machine, as one sentence; None if it can."""
    if os.geteuid() != 0:
        return "Network namespaces need root."
    missing = [program for program in ("ip", "setpriv") if shutil.which(program) is None]
    if missing:
        return (
            f"The program {missing[0]} is not installed (package {'iproute2' if missing[0] == 'ip' else 'util-linux'})."
        )
    if not TUN.exists():
        return f"{TUN} does not exist: load the kernel module tun, or pass the device to this container."
    try:
        with Lab("try") as lab:
            lab.namespace("try")
    except LabError as error:
        return f"Network namespaces cannot be created here: {error}"
    return None


def _remove(netns: str) -> None:
    """Kill what runs in a namespace, then delete its name; its interfaces disappear with the last process."""
    for pid in _ip("netns", "pids", netns).split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _ip("netns", "delete", netns)


def _ip(*arguments: str) -> str:
    return _run(["ip", *arguments], True, TIMEOUT, "").stdout


def _run(command: list[str], check: bool, timeout: float, stdin: str) -> subprocess.CompletedProcess[str]:
    text = " ".join(command)
    try:
        done = subprocess.run(  # noqa: S603  no shell
            command, check=False, input=stdin, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{text}` did not finish within {timeout:g} s.") from error
    except FileNotFoundError as error:
        raise LabError(f"The program {command[0]} is not installed.") from error
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip() or "no output"
        raise LabError(f"`{text}` failed with {done.returncode}: {said}")
    return done
