"""The MSS option of SYNs (RFC 9293 3.1, 3.7.1), where the operator wants it no larger than a number."""

import struct
from collections.abc import Iterator
from typing import Any

from tests.reference.reading import TCP, read
from tests.reference.tcp import SYN
from tests.reference.transport import update_checksum

FIXED = {4: 40, 6: 60}  # octets of the IP and TCP headers without options (RFC 6691)


def limit_of(config: Any) -> tuple[int | None, int | None]:
    """What `clamp_mss` comes to, and for services; None: options stay."""
    wanted, device = config.translation.clamp_mss, config.tun.mtu
    if wanted is False:
        return None, None
    if wanted not in (True, "services"):
        return int(wanted), int(wanted)
    narrow4, narrow6 = (device if mtu == "auto" else mtu for mtu in (config.translation.mtu4, config.translation.mtu6))
    limit = int(max(536, min(narrow4 - FIXED[4], narrow6 - FIXED[6], device - FIXED[6])))
    return limit if wanted is True else None, limit


def options(octets: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Place and octets of each option up to the first malformed one."""
    if at < len(octets) and octets[at] == 1:
        yield from options(octets, at + 1)
    elif at + 1 < len(octets) and octets[at] != 0:
        one = octets[at : at + octets[at + 1]]
        if len(one) >= 2 and len(one) == one[1]:
            yield at, one
            yield from options(octets, at + len(one))


def lowered(octets: bytes, limit: int | None) -> bytes:
    """A translated packet with the MSS of its SYN lowered; a checksum that was wrong stays wrong by as much."""
    packet = read(octets) if limit is not None else None
    if packet is None or packet.protocol != TCP or not packet.is_first or not packet.payload[13] & SYN:
        return octets
    before = packet.payload
    after = before
    for at, one in options(before[20 : (before[12] >> 4) * 4]):
        if one[:2] == b"\2\4" and int.from_bytes(one[2:]) > limit:
            after = after[: 22 + at] + struct.pack("!H", limit) + after[24 + at :]
    return octets[: -len(before)] + update_checksum(TCP, before, before, b"", after)
