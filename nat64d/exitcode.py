"""What the exit code of a command says; the same rule for all of them."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every `nat64d` command."""

    GOOD = 0
    WRONG = 1  # the command did its work and found something wrong, or could not finish it
    USAGE = 2  # wrong usage or configuration: trying again changes nothing
    UNREACHABLE = 3  # no daemon answers
    INTERRUPTED = 130  # by SIGINT, as shells count: 128 + 2


RULE = "0 good, 1 found something wrong, 2 wrong usage or configuration, 3 daemon not reachable"
