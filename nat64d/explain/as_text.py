"""A packet as the text that `nat64d explain` takes: the way back from packet_text.py, for packets found in the wild."""

from ipaddress import IPv4Address, IPv6Address

from nat64d.explain.packet_text import ECHO_TYPES, ICMP, ICMPV6, TCP, TCP_FLAGS, UDP

ECHOES = {(family, number): name for name, types in ECHO_TYPES.items() for family, number in types.items()}


def as_text(octets: bytes, size: int) -> str:
    """The text of a packet of `size` octets that begins with `octets`; hexadecimal, or "" when too little is known.

    Text says what decides about a packet: addresses, ports or identifier, TCP flags, hop limit and length. Packets with
    options, extension headers or fragments have no such text.
    """
    text = ""
    if len(octets) >= 28 and octets[0] == 0x45 and not int.from_bytes(octets[6:8]) & 0x3FFF:
        ends = f"{IPv4Address(octets[12:16])} > {IPv4Address(octets[16:20])}"
        text = _transport(ends, octets[9], octets[20:], size - 20, f"ttl {octets[8]}")
    elif len(octets) >= 48 and octets[0] >> 4 == 6:
        ends = f"{IPv6Address(octets[8:24])} > {IPv6Address(octets[24:40])}"
        text = _transport(ends, octets[6], octets[40:], size - 40, f"hlim {octets[7]}")
    return text or (octets.hex() if size <= len(octets) else "")


def ends_of(octets: bytes) -> str:
    """Who sent what to whom, of a packet that has no text: addresses, and behind them protocol and ports of TCP and
    UDP, unless it is a later fragment, or an IPv6 packet with extension headers; "" when less is known."""
    if len(octets) >= 20 and octets[0] >> 4 == 4:
        ends = f"{IPv4Address(octets[12:16])} > {IPv4Address(octets[16:20])}"
        protocol, rest = octets[9], octets[4 * (octets[0] & 15) :]
        first = not int.from_bytes(octets[6:8]) & 0x1FFF
    elif len(octets) >= 40 and octets[0] >> 4 == 6:
        ends = f"{IPv6Address(octets[8:24])} > {IPv6Address(octets[24:40])}"
        protocol, rest, first = octets[6], octets[40:], True
    else:
        return ""
    name = {TCP: "tcp", UDP: "udp"}.get(protocol, "")
    if not name or not first or len(rest) < 4:
        return ends
    return f"{ends} {name} {int.from_bytes(rest[:2])} {int.from_bytes(rest[2:4])}"


def _transport(ends: str, protocol: int, octets: bytes, size: int, hops: str) -> str:
    """The rest of the text, "" if there is none for this protocol or message."""
    family, first, second = 6 if ":" in ends else 4, int.from_bytes(octets[:2]), int.from_bytes(octets[2:4])
    echo = ECHOES.get((family, octets[0]))
    if protocol == UDP and int.from_bytes(octets[6:8]):
        return f"{ends} udp {first} {second} {hops} len {size - 8}"
    if protocol == TCP and len(octets) >= 20 and octets[12] == 0x50:
        flags = "".join(letter for bit, letter in enumerate(TCP_FLAGS) if octets[13] >> bit & 1)
        return f"{ends} tcp {first} {second} flags {flags} {hops} len {size - 20}" if flags else ""
    if protocol == (ICMP if family == 4 else ICMPV6) and echo and octets[1] == 0:
        return f"{ends} icmp {echo} {int.from_bytes(octets[4:6])} {hops} len {size - 8}"
    return ""
