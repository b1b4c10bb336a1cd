"""What ICMP errors carry behind their eight octets: RFC 4884 extensions, and quoted packets that have no ports."""

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
)

from tests.scenarios import (
    POOL6,
    ROUTER4,
    SERVER4,
    SERVER6,
    STANDARD,
    Scenario,
    passes,
    to_host4,
    to_host6,
    to_server4,
    to_server6,
)
from tests.scenarios.errors import (
    FULL4,
    FULL6,
    FULL_OUT4,
    FULL_OUT6,
    OPEN,
    QUOTED_ANSWER4,
    QUOTED_ANSWER6,
    QUOTED_QUERY4,
    QUOTED_QUERY6,
    error4,
    error6,
    unreachable4,
)

EAM4, EAM6 = "203.0.113.65", "2001:db8:e::41"

# RFC 4884: an MPLS label stack behind the quoted packet, which fills 128 octets or a whole number of words more.
MPLS = bytes.fromhex("2000fad6 00080101 1e2d01fe")


def labelled(quoted: bytes, size: int) -> bytes:
    return quoted.ljust(size, b"\0") + MPLS


SCENARIOS = [
    Scenario(
        "extensions_of_errors_keep_their_place",
        "An MPLS label stack (RFC 4884) after a short and a long quoted packet: length and padding "
        "are those of the other IP version, and Packet Too Big has none.",
        [
            OPEN,
            passes(
                error4(ICMP(type=11, code=0, length=32), labelled(QUOTED_QUERY4, 128)),
                to_host6(ICMPv6TimeExceeded(length=16) / labelled(QUOTED_QUERY6, 128), src=POOL6 + ROUTER4),
            ),
            passes(
                error6(ICMPv6TimeExceeded(length=16), labelled(QUOTED_ANSWER6, 128)),
                to_server4(ICMP(type=11, code=0, length=32) / labelled(QUOTED_ANSWER4, 128)),
            ),
            passes(
                error4(ICMP(type=3, code=1, length=32), bytes(to_server4(FULL_OUT4, ttl=60))[:128] + MPLS),
                to_host6(
                    ICMPv6DestUnreach(length=19) / labelled(bytes(to_server6(FULL_OUT6, hlim=60))[:148], 152),
                    src=POOL6 + ROUTER4,
                ),
            ),
            passes(
                error6(ICMPv6DestUnreach(code=3, length=25), bytes(to_host6(FULL6, hlim=60))[:200] + MPLS),
                to_server4(
                    ICMP(type=3, code=1, length=45) / bytes(to_host4(FULL4, ttl=60, id=0, flags="DF"))[:180] / MPLS
                ),
            ),
            passes(
                error4(ICMP(type=3, code=4, length=32, nexthopmtu=1400), labelled(QUOTED_QUERY4, 128)),
                to_host6(ICMPv6PacketTooBig(mtu=1420) / QUOTED_QUERY6, src=POOL6 + ROUTER4),
            ),
        ],
    ),
    Scenario(
        "ipv4_routers_that_hide_get_an_address",
        "[translation] rfc6791_ipv6: routers with private or no addresses appear in a prefix of the operator.",
        [
            OPEN,
            *(
                passes(
                    error4(ICMP(type=11, code=0), source=source),
                    to_host6(ICMPv6TimeExceeded() / QUOTED_QUERY6, src=seen),
                )
                for source, seen in (
                    ("10.9.9.9", "2001:db8:6791::a09:909"),
                    ("127.0.0.1", "2001:db8:6791::7f00:1"),
                    (ROUTER4, POOL6 + ROUTER4),
                )
            ),
        ],
        STANDARD + '\n[translation]\nrfc6791_ipv6 = "2001:db8:6791::/64"\n',
    ),
    Scenario(
        "errors_about_what_stateless_hosts_sent",
        "[[eam]]: a later fragment and GRE are quoted too, of any length; what follows the header does not change.",
        [
            passes(
                IP(src=ROUTER4, dst=EAM4) / ICMP(type=11, code=1) / bytes(IP(src=EAM4, dst=SERVER4, **later4) / b"end"),
                IPv6(src=POOL6 + ROUTER4, dst=EAM6, hlim=63)
                / ICMPv6TimeExceeded(code=1)
                / bytes(IPv6(src=EAM6, dst=SERVER6, hlim=60) / IPv6ExtHdrFragment(id=7, offset=50, nh=nh) / b"end"),
            )
            for later4, nh in (
                ({"frag": 50, "id": 7, "proto": 17, "ttl": 60}, 17),
                ({"frag": 50, "id": 7, "proto": 1, "ttl": 60}, 58),
            )
        ]
        + [
            passes(
                IPv6(src=EAM6, dst=SERVER6)
                / ICMPv6DestUnreach(code=3)
                / bytes(IPv6(src=SERVER6, dst=EAM6, nh=47) / GRE),
                IP(src=EAM4, dst=SERVER4, ttl=63)
                / unreachable4(1)
                / bytes(IP(src=SERVER4, dst=EAM4, proto=47, id=0) / GRE),
            )
            for GRE in (b"\0\0\x08\0", b"\0\0\x08\0" + bytes(20))
        ],
        STANDARD + f'\n[[eam]]\nipv4 = "{EAM4}"\nipv6 = "{EAM6}"\n',
    ),
]
