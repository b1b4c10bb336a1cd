"""What a fuzzer raises, and where it begins."""

import secrets


class FaultError(Exception):
    """What is wrong, with the message and how to see it again."""


def new_seed() -> int:
    """A seed nobody chose."""
    return secrets.randbelow(1 << 32)
