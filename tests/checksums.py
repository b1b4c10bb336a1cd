"""Whether checksums are right, by a few lines that share nothing with the translator: of packets as most tests get.
scapy takes a hundred times as long; it looks at all others, and says what is wrong.
"""

from collections.abc import Iterator

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
CHECKSUM_AT = {ICMP: 2, TCP: 16, UDP: 6, ICMPV6: 2}  # in the header of the protocol
ECHOES, ERRORS = {ICMP: (0, 8), ICMPV6: (128, 129)}, {ICMP: (3, 4, 5, 11, 12), ICMPV6: (1, 2, 3, 4)}
MESSAGES = {number: (*ECHOES[number], *ERRORS[number]) for number in ECHOES}


def are_right(octets: bytes) -> bool:
    """Whether a packet is whole, has no options and no extension headers, and has the right checksums, as has a whole
    packet that it quotes. False says nothing."""
    header = 20 if octets[0] >> 4 == 4 else 40
    protocol = octets[9 if header == 20 else 6]
    segment = octets[header:]
    return (
        is_plain(octets, header)
        and (protocol not in MESSAGES or segment[0] in MESSAGES[protocol])
        and all(adds_up(*each) for each in sums(octets, header, protocol))
        and (protocol not in ERRORS or segment[0] not in ERRORS[protocol] or quotes_right(segment[8:]))
    )


def is_plain(octets: bytes, header: int) -> bool:
    """Whether it is a whole packet of one of the protocols of its family, behind a header without more."""
    if header == 40:
        protocols, whole = (TCP, UDP, ICMPV6), len(octets) == 40 + int.from_bytes(octets[4:6])
    else:
        fragment = int.from_bytes(octets[6:8]) & 0x3FFF
        protocols, whole = (TCP, UDP, ICMP), octets[0] == 0x45 and not fragment and len(octets) == length4(octets)
    protocol = octets[9 if header == 20 else 6] if whole else 0
    long_enough = protocol in protocols and len(octets) >= header + CHECKSUM_AT[protocol] + 2
    return long_enough and (protocol != UDP or int.from_bytes(octets[header + 4 : header + 6]) == len(octets) - header)


def length4(octets: bytes) -> int:
    """Total Length."""
    return int.from_bytes(octets[2:4])


def sums(octets: bytes, header: int, protocol: int) -> Iterator[tuple[bytes, int]]:
    """What each checksum of a plain packet is about, and where in it the checksum is."""
    if header == 20:
        yield octets[:20], 10
    segment, at = octets[header:], CHECKSUM_AT[protocol]
    if protocol == ICMP:
        yield segment, at
        return
    ends = octets[12:20] if header == 20 else octets[8:40]
    pseudo = ends + len(segment).to_bytes(4) + protocol.to_bytes(4)
    yield pseudo + segment, len(pseudo) + at


def adds_up(octets: bytes, at: int) -> bool:
    """Whether the words add up with the checksum at `at`, which is none of the two that stand for one another."""
    even = octets + bytes(len(octets) % 2)
    return octets[at : at + 2] not in (b"\0\0", b"\xff\xff") and int.from_bytes(even) % 0xFFFF == 0


def quotes_right(quoted: bytes) -> bool:
    """Whether a packet in an ICMP error is cut short, or right itself."""
    if len(quoted) < 20 or quoted[0] >> 4 not in (4, 6):
        return False
    length = length4(quoted) if quoted[0] >> 4 == 4 else 40 + int.from_bytes(quoted[4:6])
    return len(quoted) < length or are_right(quoted[:length])
