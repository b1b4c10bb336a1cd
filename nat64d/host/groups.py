"""Groups of users on this host."""

import grp


def group_number(name: str) -> int | None:
    """The number of a group, given by its name or number; None: this host has no such group."""
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
