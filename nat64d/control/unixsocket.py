"""The control socket in the file system: found free or refused, mode 0660, gone when the daemon is."""

import contextlib
import socket
import stat
from pathlib import Path

PROBE = 1.0  # seconds the owner of an existing socket has to accept a connection


class SocketError(Exception):
    """The socket cannot be had; its text is one sentence naming the path."""


class UnixSocket:
    """A listening stream socket at `path`, its directory made if need be.  Raises SocketError.

    What a dead daemon left behind is removed; a socket that still answers, and a file that is none, are left alone.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        try:
            self._make_directory()
            self._remove_stale()
            self.listening = self._listen()
        except OSError as error:
            raise SocketError(f"{path}: cannot make the control socket: {error.strerror or error}") from error
        self._inode = self.path.stat().st_ino

    def remove(self) -> None:
        """Remove the file, unless it has become another daemon's.  To be called before `listening` is closed."""
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    def _make_directory(self) -> None:
        if not self.path.parent.is_dir():
            self.path.parent.mkdir(parents=True)
            self.path.parent.chmod(0o755)  # whatever the umask

    def _remove_stale(self) -> None:
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise SocketError(f"{self.path}: exists and is not a socket; remove it or name another in [api] socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(PROBE)
            try:
                probe.connect(str(self.path))
            except ConnectionRefusedError:
                self.path.unlink()
                return
            except (TimeoutError, BlockingIOError):
                pass  # somebody holds it, however slowly
        raise SocketError(f"{self.path}: another nat64d answers here; stop it or name another in [api] socket")

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(self.path))
            self.path.chmod(0o660)  # before listen: nobody could connect so far
            listening.listen()
        except OSError:
            listening.close()
            raise
        return listening
