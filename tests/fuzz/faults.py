"""What a fuzzer finds and raises, and where it begins."""

import secrets
from enum import IntEnum


class Fault(IntEnum):
    """What can be wrong; 0 is nothing."""

    NONE = 0
    COUNTERS = 1  # counted otherwise than once under its verdict
    SLOT_CANARY = 2  # written outside the slot, or behind the packet
    HEADROOM_CANARY = 3  # written before the new header and its virtio_net_hdr
    ANSWER_CANARY = 4  # written outside the buffer of answers
    OUTCOME = 5  # out or not out does not go with the verdict
    ALTERED = 6  # dropped, but not as it came
    HEADER = 7  # length fields or header checksum of what leaves
    CHECKSUM = 8  # a right transport checksum became wrong, or a wrong one right
    OFFLOAD = 9  # the virtio_net_hdr promises what is not there
    FRAGMENTS = 10  # pieces too large, or not all of the packet
    ANSWER = 11  # a broken ICMP error, or one that may not be sent


class FaultError(Exception):
    """What is wrong, with the message and how to see it again."""


def new_seed() -> int:
    """A seed nobody chose."""
    return secrets.randbelow(1 << 32)
