"""Where machine code is kept between two starts, and when it is not trusted.

What lies there is run with the rights of whoever starts the program, so a directory is used only if nobody else can
write to it: it and each one above belongs to root or to this user, and only those may write to it; the sticky bit of
/tmp makes up for the one above. A cache that may be read but not written is used as it is. Where there is none to use,
the program compiles for itself, and `refusal` says why.

numba's cache does not notice a change in a file that a function calls into. Here the directory is named after a digest
of this package's sources, and a function of another package stands under a digest of its own folder: code that is
compiled may call nothing else.
"""

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from llvmlite.binding import add_symbol
from numba.core.caching import Cache, CompileResultCacheImpl, _CacheLocator  # numba's way to have a place of one's own
from numba.core.runtime._nrt_python import c_helpers

PACKAGE = Path(__file__).parent.parent
# The first line is that of the Cache Directory Tagging Specification: back-up programs leave such a directory out.
TAG, TAG_TEXT = "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# compiled code of nat64d\n"
MARKS = {"complete", "findings"}  # files beside the code
_failed: list[str] = []  # why code could not be kept or read, the first reason


def digest_of(files: list[Path]) -> str:
    """A short digest of what files hold."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


@functools.cache
def cache_directory() -> Path:
    """Where compiled code is kept: $NAT64D_CACHE, else the user's cache directory.

    Bounds checks change the code but not numba's key of it, hence the mark in the name.
    """
    root = os.environ.get("NAT64D_CACHE") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = digest_of(sorted(PACKAGE.rglob("*.py"))) + ("-bounds" if numba.config.BOUNDSCHECK else "")
    return Path(root) / "nat64d" / name


def distrust(path: Path) -> str | None:
    """Why what lies in a directory, there or yet to be made, may come from somebody else; None if it may not."""
    trusted = {0, os.geteuid()}
    for each in reversed([path.absolute(), *path.absolute().parents]):
        try:
            link, found = each.lstat(), each.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{each}: {error.strerror}"
        if link.st_uid not in trusted and stat.S_ISLNK(link.st_mode):
            return f"{each} is a link of another user (uid {link.st_uid})"
        if not stat.S_ISDIR(found.st_mode):
            return f"{each} is not a directory"
        if found.st_uid not in trusted:
            return f"{each} belongs to another user (uid {found.st_uid})"
        sticky = bool(found.st_mode & stat.S_ISVTX)
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (sticky and each != path.absolute()):
            return f"other users may write to {each} (mode {stat.S_IMODE(found.st_mode):o})"
    return None


def refusal() -> str | None:
    """Why this process does not use the cache, or could not keep something in it; None: nothing of the kind."""
    return distrust(cache_directory()) or (_failed[0] if _failed else None)


def _fail(what: str, error: Exception) -> None:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else repr(error)
    _failed.append(f"{what} {cache_directory()}: {reason}")


def is_writable() -> bool:
    """Whether code can be kept: the directory is trusted, and a file can be made in it."""
    if distrust(cache_directory()):
        return False
    try:
        _Place(Path()).ensure_cache_path()
    except OSError as error:
        _fail("cannot write to", error)
        return False
    return True


@functools.cache
def _name_runtime() -> None:
    """Let machine code find the parts of numba's runtime: what unpacks its arguments calls them."""
    for name, address in c_helpers.items():
        add_symbol(name if name.startswith("_") else f"NRT_{name}", address)


class _Place(_CacheLocator):  # type: ignore[misc]  # numba has no types
    """Where the code of one function is."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Place":  # noqa: ARG003  numba calls it so
        """The place of a function of a file."""
        return cls(Path(file))

    def get_cache_path(self) -> str:
        """The directory."""
        return str(cache_directory())

    def get_source_stamp(self) -> str:
        """What changes when the code may have: the sources of this package name the directory already."""
        if PACKAGE in self._file.parents:
            return ""
        return digest_of(sorted(self._file.parent.glob("*.py")))

    def get_disambiguator(self) -> str:
        """What tells files of the same name apart."""
        return hashlib.sha256(str(self._file.parent).encode()).hexdigest()[:8]

    def ensure_cache_path(self) -> None:
        """Make the directory, with its mark; OSError where nothing can be written."""
        path = cache_directory()
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not (path / TAG).exists():
            (path / TAG).write_text(TAG_TEXT, "ascii")
        tempfile.TemporaryFile(dir=path).close()


class _Kept(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Place,)


class CodeCache(Cache):  # type: ignore[misc]
    """The kept code of one function: what goes wrong with it costs time, never the start."""

    _impl_class = _Kept

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for argument types, or None."""
        if not cache_directory().is_dir() or distrust(cache_directory()):
            return None
        try:  # numba's load_overload() would prepare the context for a compiler first, which takes a tenth of a second
            _name_runtime()
            return self._load_overload(sig, target_context)
        except Exception as error:  # noqa: BLE001  a damaged file can raise anything
            _fail("cannot read", error)
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep code, if there is room and permission."""
        if distrust(cache_directory()):
            return
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _fail("cannot write to", error)


def forget_old(keep: int) -> None:
    """Remove the directories of other versions, all but the `keep` last used; what does not carry our mark stays."""
    current = cache_directory()
    if distrust(current):
        return
    try:
        os.utime(current)
        ours = sorted(filter(_is_ours, current.parent.iterdir()), key=lambda each: each.stat().st_mtime)
        for each in ours[:-keep]:
            _remove(each)
    except OSError:
        return  # another process does the same, or nothing may be written here


def _is_ours(path: Path) -> bool:
    """Whether a directory is one of ours: no link, with our mark."""
    tag = path / TAG
    return not path.is_symlink() and tag.is_file() and tag.read_text("ascii", "replace") == TAG_TEXT


def _remove(path: Path) -> None:
    """Remove a directory of ours: files of a cache, and nothing else."""
    for file in path.iterdir():
        if file.suffix in {".nbi", ".nbc", ".bpf"} or ".tmp." in file.name or file.name in MARKS:
            file.unlink(missing_ok=True)
    if [file.name for file in path.iterdir()] == [TAG]:
        (path / TAG).unlink()
        path.rmdir()
