"""The limit of open files of this process."""

import resource


def raise_limit() -> int:
    """Raise the soft limit to the hard one and return it; programs that call select() need the low default, not us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
