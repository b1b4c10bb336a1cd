"""What this room raises, and how an error of the kernel becomes a sentence."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class HostError(Exception):
    """The host cannot be set up; its text is one sentence that says why and what to do."""


@contextmanager
def explaining(what: str, remedy: str = "") -> Iterator[None]:
    """Turn an error of the kernel into a HostError that says what could not be done."""
    try:
        yield
    except Exception as error:
        from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415  slow to import; here it is loaded

        if not isinstance(error, NetlinkError | OSError):
            raise
        if code_of(error) in {errno.EPERM, errno.EACCES}:
            raise HostError(f"No permission to {what}: run as root or with CAP_NET_ADMIN.") from error
        raise HostError(f"Cannot {what} ({reason(error)}){remedy and ': '}{remedy}.") from error


def reason(error: Exception) -> str:
    """The words of the operating system for an error."""
    code = code_of(error)
    return os.strerror(code) if code else str(error)


def code_of(error: Exception) -> int | None:
    """The errno of a NetlinkError or an OSError, None if it has none."""
    code: int | None = getattr(error, "code", None) or getattr(error, "errno", None)
    return code
