"""Where domain names are in the data of records: they are decompressed (RFC 3597 section 4), and a label of an extended
type is noticed (RFC 6891 section 5). Data of any other type is opaque (RFC 3597 section 3)."""

from collections.abc import Callable
from typing import Final

# SPEC: RFC 1035, 1183, 1706, 2163, 2535, 2782, 3403, 4025, 4034, 6672, 6742, 8005, 8777, 9460, 9859, 2874 (A6)
NAME, NAMES, STRING, REST = -1, -2, -3, -4  # a name, names to the end, a character string, octets to the end

# Items of the data, in their order; a positive number: so many octets.
Layout = tuple[int, ...]
LAYOUTS: Final[dict[int, Layout]] = {
    **dict.fromkeys((2, 3, 4, 5, 7, 8, 9, 12, 23, 39), (NAME,)),  # NS, MD, MF, CNAME, MB, MG, MR, PTR, NSAP-PTR, DNAME
    **dict.fromkeys((14, 17, 58), (NAME, NAME)),  # MINFO, RP, TALINK
    **dict.fromkeys((15, 18, 21, 36, 107), (2, NAME)),  # MX, AFSDB, RT, KX, LP
    6: (NAME, NAME, 20),  # SOA
    **dict.fromkeys((24, 46), (18, NAME, REST)),  # SIG, RRSIG
    26: (2, NAME, NAME),  # PX
    **dict.fromkeys((30, 47), (NAME, REST)),  # NXT, NSEC
    33: (6, NAME),  # SRV
    35: (4, STRING, STRING, STRING, NAME),  # NAPTR
    **dict.fromkeys((64, 65), (2, NAME, REST)),  # SVCB, HTTPS
    66: (5, NAME),  # DSYNC
}


def _a6(data: bytes) -> Layout:
    """Prefix length, the rest of the address, and the name of the prefix, if it has one."""
    bits = data[0] if data else 0
    return (1 + (135 - bits) // 8, NAME) if 0 < bits <= 128 else (REST,)


def _ipseckey(data: bytes) -> Layout:
    """Precedence, kind of gateway, algorithm, gateway, key."""
    return (3, NAME, REST) if data[1:2] == b"\3" else (REST,)


def _hip(data: bytes) -> Layout:
    """Lengths of tag and key, algorithm, tag, key, rendezvous servers."""
    return (4 + data[0] + int.from_bytes(data[2:4], "big"), NAMES) if len(data) >= 4 else (REST,)


def _amtrelay(data: bytes) -> Layout:
    """Precedence, a flag and the kind of relay, relay."""
    return (2, NAME) if len(data) >= 2 and data[1] & 0x7F == 3 else (REST,)


# By the data itself.
CHOSEN: Final[dict[int, Callable[[bytes], Layout]]] = {38: _a6, 45: _ipseckey, 55: _hip, 260: _amtrelay}
