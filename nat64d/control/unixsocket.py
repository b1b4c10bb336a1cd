"""The control socket in the file system: who may connect, one daemon each, removed when the daemon stops."""

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import NamedTuple

from nat64d.host.groups import group_number

PROBE = 1.0  # seconds that another daemon has to accept a connection on an existing socket


class SocketError(Exception):
    """The socket cannot be opened; its text is one sentence that names the path."""


class Access(NamedTuple):
    """Who may connect: permissions, and the name of a group, "" = that of the daemon."""

    mode: int = 0o660
    group: str = ""


OWN_GROUP = Access()


class UnixSocket:
    """A listening stream socket at `path`; its directory is created if it does not exist. Raises SocketError.

    The socket of a dead daemon is replaced. A socket that still answers, or a file that is not a socket, is an error.
    """

    def __init__(self, path: str, access: Access = OWN_GROUP) -> None:
        self.path, self._access = Path(path), access
        try:
            make_directory(self.path.parent)
            self._remove_stale()
            self.listening = self._listen()
        except OSError as error:
            raise SocketError(f"{path}: cannot create the control socket: {error.strerror or error}") from error
        self._inode = self.path.stat().st_ino

    def remove(self) -> None:
        """Remove the file unless it belongs to another daemon by now. Call it before closing `listening`."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    def _remove_stale(self) -> None:
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise SocketError(f"{self.path}: exists and is not a socket; remove it or set another [api] socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(PROBE)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
                return
            except (TimeoutError, BlockingIOError):
                pass  # another process holds the socket, even if it is slow
        raise SocketError(f"{self.path}: another nat64d is running; stop it or set another [api] socket")

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(self.path))
            self._admit()  # before listen, while no one can connect yet
            listening.listen()
        except (OSError, SocketError):
            listening.close()
            raise
        return listening

    def _admit(self) -> None:
        """Give the file its group, and then its permissions."""
        mode, group = self._access
        if group:
            number = group_number(group)
            if number is None:
                raise SocketError(f'{self.path}: this host has no group "{group}"; make it, or change [api] group')
            try:
                os.chown(self.path, -1, number)
            except PermissionError as error:
                help_ = "let the daemon's user be a member of it (systemd: SupplementaryGroups=)"
                raise SocketError(f"{self.path}: may not be given to the group {group}; {help_}") from error
        self.path.chmod(mode)


def make_directory(directory: Path) -> None:
    """Create a directory for files of the daemon, which others may enter, unless it exists."""
    if not directory.is_dir():
        directory.mkdir(parents=True)
        directory.chmod(0o755)  # independent of the umask
