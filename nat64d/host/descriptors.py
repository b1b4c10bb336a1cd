"""The limit of open files of this process."""

import errno
import resource

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}  # nothing can be opened, for now


def raise_limit() -> int:
    """Raise the soft limit to the hard one and return it; programs that call select() need the low default, not us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
