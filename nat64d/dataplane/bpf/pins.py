"""What of a fast path outlives its process where no service manager keeps descriptors: pins in a bpffs, a file system
of the kernel in memory, by which it has a map or link as by a descriptor.

Each device of each network namespace has a directory of its own there; no name of a device has a colon, and no name in
a bpffs a dot.
"""

import ctypes
import errno
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

from nat64d.dataplane.bpf import system
from nat64d.dataplane.bpf.left import PROGRAM

BPFFS = Path("/sys/fs/bpf")
MAGIC = 0xCAFE4A11  # linux/magic.h: BPF_FS_MAGIC
OURS = "nat64d"
NEW = "new"  # what takes the place of another pin in the next moment
WITHOUT = "Established flows do not outlive a crash or kill -9 of this daemon"
MOUNT = "Run 'mount -t bpf -o mode=0700 bpf {}', or give it to the container: -v {}:{}"
STAYS = "'ip tuntap add dev {} mode tun multi_queue', before nat64d is started, makes one that stays"
_libc = ctypes.CDLL(None, use_errno=True)


class Pins:
    """The pins of one device of this network namespace, which are there or not; `lasts`: the device outlives the
    process, else its program does not either."""

    def __init__(self, interface: str, log: logging.Logger, lasts: bool, root: Path = BPFFS) -> None:
        namespace = Path("/proc/thread-self/ns/net").stat().st_ino
        self.directory = root / OURS / f"{namespace}-{interface.replace('.', ':')}"
        self._interface, self._log, self._lasts, self._root = interface, log, lasts, root
        self.where: str | None = None
        self._why: dict[str, str] = {}

    @property
    def why(self) -> str | None:
        """Why flows do not outlive this process, if they do not."""
        return next(iter(self._why.values()), None)

    def left(self) -> list[int]:
        """Descriptors of what is pinned."""
        if not all(map(_is_ours, (self.directory.parent, self.directory))):
            return []
        found = []
        for pin in sorted(self.directory.iterdir()):
            with suppress(OSError):  # neither a map nor a link that this kernel gives out: it goes with the next one
                found.append(system.pinned(pin))
        return found

    def keep(self, fds: list[int], name: str) -> None:
        """Have these pinned by this name instead of those that are; says why if they cannot be."""
        why = None
        if name == PROGRAM and fds and not self._lasts:
            device = f"its device {self._interface} goes with it, but sessions do"
            why, fds = f"{device}; {STAYS.format(self._interface)}", []
        names = [f"{name}{number or ''}" for number in range(len(fds))]
        try:
            for fd, pin in zip(fds, names, strict=True):
                self._pin(fd, pin)
        except OSError as error:
            why, names = self._words(error), []
        for there in self.directory.glob(f"{name}*") if _is_ours(self.directory) else ():
            if there.name not in names:
                _remove(there)
        self._tidy()
        self._complain(name, why)

    def remove(self) -> None:
        """Have nothing pinned."""
        for pin in self.directory.iterdir() if _is_ours(self.directory) else ():
            _remove(pin)
        self._tidy()

    def _tidy(self) -> None:
        with suppress(OSError):  # there are others
            self.directory.rmdir()
            self.where = None

    def _pin(self, fd: int, name: str) -> None:
        if not _is_bpffs(self._root):
            raise OSError(errno.ENOTSUP, "no bpffs")
        for directory in (self.directory.parent, self.directory):
            with suppress(FileExistsError):
                directory.mkdir(0o700)
            if not _is_ours(directory):
                raise PermissionError(errno.EACCES, f"{directory} is another user's")
        new = self.directory / NEW
        _remove(new)
        system.pin(fd, new)
        new.rename(self.directory / name)
        self.where = str(self.directory)

    def _words(self, error: OSError) -> str:
        if error.errno == errno.ENOTSUP:
            return f"no bpffs is mounted at {self._root}. {MOUNT.format(*[self._root] * 3)}"
        return f"nothing can be pinned in {self._root} ({error.strerror}): it takes write access there, and CAP_BPF"

    def _complain(self, name: str, why: str | None) -> None:
        """Say it once; `why` None: there is nothing to complain of."""
        known = {*self._why.values()}
        self._why.pop(name, None)
        if why:
            self._why[name] = f"{WITHOUT}: {why}"
            if self._why[name] not in known:
                self._log.info(self._why[name])


def _is_ours(directory: Path) -> bool:
    """Whether it is a directory into which nobody else can have put anything."""
    try:
        about = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o022


def _is_bpffs(directory: Path) -> bool:
    about = (ctypes.c_long * 32)()  # struct statfs: it begins with f_type
    return _libc.statfs(os.fsencode(directory), about) == 0 and about[0] & 0xFFFFFFFF == MAGIC


def _remove(pin: Path) -> None:
    with suppress(OSError):
        pin.unlink()
