"""What lies in front of the IP packet in a captured frame, by link type; and the names of the types that are refused.

The numbers are those of https://www.tcpdump.org/linktypes.html.
"""

from collections.abc import Callable

IPV4, IPV6, PPPOE = 0x0800, 0x86DD, 0x8864  # EtherTypes
TAGS = (0x8100, 0x88A8, 0x9100)  # IEEE 802.1Q, 802.1ad, and what was used before
ADDRESS_FAMILIES = (2, 10, 24, 28, 30)  # AF_INET; AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS
PPP_PROTOCOLS = (0x0021, 0x0057)  # IPv4, IPv6
HDLC_LIKE = b"\xff\x03"  # address and control, RFC 1662 section 3.1
CISCO_HDLC = (0x0F, 0x8F)  # unicast, multicast
PPPOE_HEADER = 6  # octets, RFC 2516 section 4
NFULA_PAYLOAD = 9  # linux/netfilter/nfnetlink_log.h
LINKTYPE_RAW = 101


def _whole(frame: bytes) -> bytes:
    """Link types without a link header: the frame is the packet."""
    return frame


def _behind_ethertype(kind: int, header: int) -> Callable[[bytes], bytes]:
    """A function that returns the packet after a link header of `header` octets with its EtherType at `kind`."""

    def packet(frame: bytes) -> bytes:
        ethertype, start = int.from_bytes(frame[kind : kind + 2]), header
        while ethertype in TAGS:
            ethertype, start = int.from_bytes(frame[start + 2 : start + 4]), start + 4
        if ethertype == PPPOE:
            return _behind_ppp(frame[start + PPPOE_HEADER :])
        return frame[start:] if ethertype in (IPV4, IPV6) else b""

    return packet


def _behind_family(frame: bytes) -> bytes:
    """The packet after an address family, which LINKTYPE_NULL has in the byte order of the capturing machine."""
    families = int.from_bytes(frame[:4], "little"), int.from_bytes(frame[:4])
    return frame[4:] if any(family in ADDRESS_FAMILIES for family in families) else b""


def _behind_ppp(frame: bytes) -> bytes:
    """The packet after a PPP header, its protocol in two octets or compressed to one (RFC 1661 section 6.5)."""
    frame = frame.removeprefix(HDLC_LIKE)
    size = 1 if frame[:1] and frame[0] & 1 else 2
    return frame[size:] if int.from_bytes(frame[:size]) in PPP_PROTOCOLS else b""


def _behind_hdlc(frame: bytes) -> bytes:
    """The packet after a header of PPP, or of Cisco's HDLC, which has an EtherType."""
    return CISCO(frame) if frame[:1] and frame[0] in CISCO_HDLC else _behind_ppp(frame)


def _in_nflog(frame: bytes) -> bytes:
    """The payload among the attributes of a netfilter log message; their lengths are in the byte order of the machine,
    little-endian if they make sense so."""
    for order in ("little", "big"):
        at = 4
        while at + 4 <= len(frame):
            length = int.from_bytes(frame[at : at + 2], order)
            kind = int.from_bytes(frame[at + 2 : at + 4], order)
            if length < 4 or at + length > len(frame):
                break
            if kind == NFULA_PAYLOAD:
                return frame[at + 4 : at + length]
            at += (length + 3) // 4 * 4
    return b""


CISCO = _behind_ethertype(2, 4)
LINK_TYPES: dict[int, Callable[[bytes], bytes]] = {
    0: _behind_family,  # NULL
    1: _behind_ethertype(12, 14),  # ETHERNET
    9: _behind_hdlc,  # PPP
    12: _whole,  # RAW as some older programs write it
    14: _whole,  # RAW as OpenBSD writes it
    50: _behind_hdlc,  # PPP_HDLC
    51: lambda frame: _behind_ppp(frame[PPPOE_HEADER:]),  # PPP_ETHER
    LINKTYPE_RAW: _whole,
    104: CISCO,  # C_HDLC
    108: _behind_family,  # LOOP
    109: lambda frame: _behind_family(frame)[8:],  # ENC: the family is followed by SPI and flags
    113: _behind_ethertype(14, 16),  # LINUX_SLL
    138: _behind_ethertype(16, 18),  # APPLE_IP_OVER_IEEE1394
    204: lambda frame: _behind_hdlc(frame[1:]),  # PPP_WITH_DIR
    205: lambda frame: CISCO(frame[1:]),  # C_HDLC_WITH_DIR
    228: _whole,  # IPV4
    229: _whole,  # IPV6
    239: _in_nflog,  # NFLOG
    276: _behind_ethertype(0, 20),  # LINUX_SLL2
}

# Those of which a person would want to know the name.
NAMES = {
    3: "AX25",
    6: "IEEE802_5 (Token Ring)",
    7: "ARCNET_BSD",
    8: "SLIP",
    10: "FDDI",
    100: "ATM_RFC1483",
    105: "IEEE802_11 (wireless)",
    107: "FRELAY (Frame Relay)",
    114: "LTALK",
    117: "PFLOG (OpenBSD pf log)",
    119: "IEEE802_11_PRISM (wireless)",
    122: "IP_OVER_FC",
    123: "SUNATM",
    127: "IEEE802_11_RADIOTAP (wireless)",
    129: "ARCNET_LINUX",
    143: "DOCSIS",
    144: "LINUX_IRDA",
    163: "IEEE802_11_AVS (wireless)",
    166: "PPP_PPPD",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    192: "PPI (wireless)",
    195: "IEEE802_15_4_WITHFCS",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR",
    220: "USB_LINUX_MMAPPED",
    230: "IEEE802_15_4_NOFCS",
    249: "USBPCAP",
    251: "BLUETOOTH_LE_LL",
    253: "NETLINK",
    258: "PKTAP (macOS)",
}
CUT = "cut its header off with 'editcap -L -C OCTETS -T rawip IN OUT' (Wireshark), or capture with 'tcpdump -i any'"
REMEDIES = {
    "wireless": "capture on the interface without monitor mode, where frames are Ethernet",
    "BLUETOOTH": "it carries no IP packets; capture on the network interface",
    "USB": "it carries no IP packets; capture on the network interface",
    "NETLINK": "it carries no IP packets; capture on the network interface",
    "PKTAP": "capture with 'tcpdump -i en0' or 'tcpdump -y RAW', without -k",
}


def unreadable(number: int) -> str:
    """Why a capture of this link type is refused, and what to do: "has link type 105, IEEE802_11 (wireless): ..."."""
    name = NAMES.get(number, "")
    remedy = next((text for word, text in REMEDIES.items() if word in name), CUT)
    return f"has link type {number}{name and ', '}{name}, which nat64d does not read: {remedy}"
