"""Sizes (RFC 7915 sections 4.1, 4.2, 5.1, 5.2): who is told which MTU, who is cut, and when a packet may be."""

from typing import Any

from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6ExtHdrFragment
from scapy.packet import Raw

from tests.scenarios import (
    MAPPED_PORT,
    STANDARD,
    Scenario,
    Step,
    drops,
    passes,
    tell4,
    tell6,
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)
from tests.scenarios.errors import FULL4, FULL6, OPEN, error6, needs_fragmentation, outwards, unreachable4
from tests.scenarios.fragments import answer, cut, data, part4, part6

LINKS = "\n[translation]\nmtu4 = {}\nmtu6 = {}\n"


def quoted(size: int) -> tuple[bytes, bytes]:
    """What a router sends back of an IPv4 packet of so many octets, as it had it and as HOST6 had sent it."""
    whole = to_server4(UDP(sport=MAPPED_PORT, dport=53) / bytes(size - 28))
    sent = to_server6(UDP(sport=5000, dport=53) / bytes(size - 28), hlim=63)
    return bytes(whole)[:28], bytes(sent)[:48]


def guessed(size: int, mtu6: int) -> Step:
    """Fragmentation needed without an MTU, about a packet of so many octets."""
    quoted4, quoted6 = quoted(size)
    return needs_fragmentation(quoted4, 0, quoted6, mtu6)


def told(mtu: int, mtu6: int) -> Step:
    """Fragmentation needed with an MTU."""
    quoted4, quoted6 = quoted(1500)
    return needs_fragmentation(quoted4, mtu, quoted6, mtu6)


def segment(octets: int, flags: Any, **ip: Any) -> Step:
    """A TCP segment in an IPv6 packet of so many octets, and the flags of the IPv4 packet it becomes."""
    body = {"dport": 80, "flags": "S"}
    return passes(
        to_server6(TCP(sport=5000, **body) / data(octets - 60), **ip),
        to_server4(TCP(sport=MAPPED_PORT, **body) / data(octets - 60), flags=flags),
    )


def mss6(mss: int, become: int) -> Step:
    """A SYN of HOST6."""
    return passes(
        to_server6(TCP(sport=5000, dport=80, flags="S", options=[("MSS", mss)])),
        to_server4(TCP(sport=MAPPED_PORT, dport=80, flags="S", options=[("MSS", become)])),
    )


def mss4(mss: int, become: int) -> Step:
    """What SERVER4 answers."""
    return passes(
        to_host4(TCP(sport=80, dport=MAPPED_PORT, flags="SA", options=[("MSS", mss)])),
        to_host6(TCP(sport=80, dport=5000, flags="SA", options=[("MSS", become)])),
    )


def atomic(octets: int) -> Step:
    """A datagram of so many octets behind the IPv6 header and an atomic Fragment header: never DF."""
    sent = to_server6(UDP(sport=5000, dport=53) / data(octets - 8))
    got = to_server4(UDP(sport=MAPPED_PORT, dport=53) / data(octets - 8), id=0x1234)
    return passes(to_server6(IPv6ExtHdrFragment(nh=17, id=0xABCD1234) / Raw(bytes(sent)[40:])), got)


def from4(octets: int, **ip: Any) -> tuple[Any, Any]:
    """An IPv4 packet of so many octets from SERVER4, and what HOST6 gets of it."""
    sent, got = answer(octets - 20)
    return to_host4(Raw(sent), proto=17, **ip), to_host6(Raw(got), nh=17)


def whole(octets: int, **ip: Any) -> Step:
    return passes(*from4(octets, **ip))


def refused4(octets: int, mtu: int, **ip: Any) -> Step:
    sent, _ = from4(octets, flags="DF", **ip)
    return drops("too_big", sent, tell4(sent, 3, 4, nexthopmtu=mtu))


def refused6(octets: int, mtu: int) -> Step:
    sent = to_server6(UDP(sport=5000, dport=53) / data(octets - 48))
    return drops("too_big", sent, tell6(sent, ICMPv6PacketTooBig(mtu=mtu)))


SCENARIOS = [
    Scenario(
        "ipv6_of_1279_to_1281_octets",
        "RFC 7915 5.1: up to 1280 octets, which every IPv6 path carries, DF is clear; one octet more has DF set.",
        [segment(1279, 0), segment(1280, 0), segment(1281, "DF"), segment(1500, "DF"), segment(60, 0)],
    ),
    Scenario(
        "atomic_fragments_of_every_size",
        "A Fragment header on a whole packet: DF clear, also above 1260 octets, and its Identification.",
        [atomic(octets) for octets in (8, 1231, 1232, 1240, 1241, 1452)],
    ),
    Scenario(
        "ipv4_with_df_of_1259_to_1281_octets",
        "With DF it passes in one piece and without Fragment header, below and above 1280 octets of IPv6.",
        [OPEN, *(whole(octets, flags="DF") for octets in (28, 1259, 1260, 1261, 1280, 1281, 1480))],
    ),
    Scenario(
        "ipv4_without_df_of_1259_to_1281_octets",
        "Without DF it is fragmented above 1260 octets, and below has no Fragment header.",
        [
            OPEN,
            cut(1259),
            cut(1260),
            cut(1261, (0, 1232), (1232, 1241)),
            cut(1280, (0, 1232), (1232, 1260)),
            cut(1281, (0, 1232), (1232, 1261)),
        ],
    ),
    Scenario(
        "lowest_ipv6_mtu_of_1500",
        "[translation] lowest_ipv6_mtu: where all links carry 1500 octets, less is fragmented.",
        [OPEN, cut(1480), cut(1481, (0, 1448), (1448, 1461))],
        STANDARD + "\n[translation]\nlowest_ipv6_mtu = 1500\n",
    ),
    Scenario(
        "mtu_plateaus",
        "RFC 1191 7: an MTU of 0 means the next plateau below the size of the packet; plus 20, and never below 1280.",
        [
            OPEN,
            *(
                guessed(size, mtu6)
                for size, mtu6 in (
                    *((65535, 32020), (32001, 32020), (32000, 17934), (17914, 8186), (9000, 8186), (8166, 4372)),
                    *((4352, 2022), (2003, 2022), (2002, 1512), (1493, 1512), (1492, 1280), (1300, 1280)),
                )
            ),
        ],
    ),
    Scenario(
        "mtu_plateaus_of_ones_own",
        "[translation] mtu_plateaus: other steps, largest first.",
        [OPEN, guessed(1500, 1420), guessed(1400, 1320), guessed(1300, 1280)],
        STANDARD + "\n[translation]\nmtu_plateaus = [1400, 1300]\n",
    ),
    Scenario(
        "fragmentation_needed_of_every_mtu",
        "20 more than the router says, as IPv6 headers are longer; 1280 at least (RFC 7915 4.2).",
        [
            OPEN,
            *(told(mtu, mtu6) for mtu, mtu6 in ((68, 1280), (1259, 1280), (1260, 1280), (1261, 1281), (1480, 1500))),
        ],
    ),
    Scenario(
        "packet_too_big_of_every_mtu",
        "20 less than the router says, also below 1280, which an IPv6 router must not say; at least 68. An MTU of 0 "
        "means the next plateau below the length of the quoted packet (RFC 1191 3 and 7).",
        [
            OPEN,
            *(
                outwards(ICMPv6PacketTooBig(mtu=mtu), unreachable4(4, mtu - 20))
                for mtu in (1281, 1280, 1279, 89, 88, 1500, 65535)
            ),
            *(outwards(ICMPv6PacketTooBig(mtu=mtu), unreachable4(4, 68)) for mtu in (87, 68, 67, 1)),
            outwards(ICMPv6PacketTooBig(mtu=0), unreachable4(4, 68)),
            passes(
                error6(ICMPv6PacketTooBig(mtu=0), bytes(to_host6(FULL6, hlim=60))[:1232]),
                to_server4(unreachable4(4, 1006) / bytes(to_host4(FULL4, ttl=60, id=0, flags="DF"))[:548]),
            ),
        ],
    ),
    Scenario(
        "our_own_links_are_routers_too",
        "mtu4 = 1400, mtu6 = 1450: no host is told more than these links carry (RFC 7915 4.2 and 5.2).",
        [
            OPEN,
            told(1480, 1420),
            told(1300, 1320),
            outwards(ICMPv6PacketTooBig(mtu=1500), unreachable4(4, 1400)),
            outwards(ICMPv6PacketTooBig(mtu=1410), unreachable4(4, 1390)),
        ],
        STANDARD + LINKS.format(1400, 1450),
    ),
    Scenario(
        "the_ipv6_link_is_narrower",
        "mtu6 = 1400: IPv4 of 1380 octets with DF passes, 1381 is told 1380. Without DF both are fragmented.",
        [
            OPEN,
            whole(1380, flags="DF"),
            refused4(1381, 1380),
            refused4(1500, 1380),
            cut(1381, (0, 1232), (1232, 1361)),
        ],
        STANDARD + LINKS.format('"auto"', 1400),
    ),
    Scenario(
        "an_ipv6_link_of_1280_octets",
        "mtu6 = 1280: with DF up to 1260 octets of IPv4 pass; a fragment with DF may have eight less.",
        [
            OPEN,
            whole(1260, flags="DF"),
            refused4(1261, 1260),
            passes(part4(answer(2400)[0], 0, 1232, "DF"), part6(answer(2400)[1], 0, 1232)),
            drops(
                "too_big",
                part4(answer(2400)[0], 0, 1240, "DF"),
                tell4(part4(answer(2400)[0], 0, 1240, "DF"), 3, 4, nexthopmtu=1252),
            ),
        ],
        STANDARD + LINKS.format('"auto"', 1280),
    ),
    Scenario(
        "an_ipv4_link_of_1260_octets",
        "mtu4 = 1260: 1280 octets of IPv6 always pass, with DF clear. Larger ones are told 1280.",
        [segment(1280, 0), refused6(1281, 1280), refused6(1500, 1280)],
        STANDARD + LINKS.format(1260, '"auto"'),
    ),
    Scenario(
        "the_ipv4_link_is_narrower_than_1260_octets",
        "mtu4 = 576: no host can be told less than 1280, so such packets leave with DF clear and are fragmented later.",
        [segment(577 + 20, 0), segment(1280, 0), refused6(1281, 1280)],
        STANDARD + LINKS.format(576, '"auto"'),
    ),
    Scenario(
        "the_mss_of_syns_is_lowered",
        "clamp_mss = true, mtu4 = 1420, mtu6 = 1430: no SYN says more than 1370, nor more than it did.",
        [
            mss6(1440, 1370),
            mss4(1460, 1370),
            mss6(1370, 1370),
            mss4(536, 536),
        ],
        STANDARD + LINKS.format(1420, 1430) + "clamp_mss = true\n",
    ),
]
