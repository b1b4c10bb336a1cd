"""Packets as people write them: text, hexadecimal, one of a capture; and what is none, in one sentence."""

import random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment
from scapy.packet import Packet, Raw

from nat64d.explain import command as explaining
from nat64d.explain.packet_text import PacketError, packets
from nat64d.offline.capture import CaptureError
from tests.scenarios import PCAPS

CONFIG = PCAPS / "nat64d.toml"

SIX, FOUR = {"src": "2001:db8::1", "dst": "2001:db8::2"}, {"src": "192.0.2.1", "dst": "192.0.2.2"}
ENDS6, ENDS4 = "2001:db8::1 > 2001:db8::2 ", "192.0.2.1 > 192.0.2.2 "
WRITTEN: list[tuple[str, Packet]] = [
    (ENDS6 + "udp 5000 53", IPv6(**SIX) / UDP(sport=5000, dport=53)),
    (ENDS6 + "udp 5000 53 hlim 3 tc 0x1c len 5", IPv6(hlim=3, tc=28, **SIX) / UDP(sport=5000, dport=53) / bytes(5)),
    (ENDS4 + "udp 1 2 ttl 7 df id 9", IP(ttl=7, flags="DF", id=9, **FOUR) / UDP(sport=1, dport=2)),
    (ENDS4 + "tcp 1 2", IP(**FOUR) / TCP(sport=1, dport=2, window=65535)),
    (ENDS6 + "tcp 1 2 flags fa len 3", IPv6(**SIX) / TCP(sport=1, dport=2, window=65535, flags="FA") / bytes(3)),
    (ENDS4 + "icmp echo 7", IP(**FOUR) / ICMP(type=8, id=7, seq=1)),
    (ENDS4 + "icmp reply 7", IP(**FOUR) / ICMP(type=0, id=7, seq=1)),
    (ENDS6 + "icmp echo 7 len 1", IPv6(**SIX) / ICMPv6EchoRequest(id=7, seq=1, data=b"\0")),
    (ENDS6 + "icmp reply 7", IPv6(**SIX) / ICMPv6EchoReply(id=7, seq=1)),
    (ENDS4 + "proto 47 len 4", IP(proto=47, **FOUR) / Raw(bytes(4))),
    (ENDS4 + "udp 1 2 frag 1480+ len 8", IP(flags="MF", frag=185, proto=17, **FOUR) / Raw(bytes(8))),
    (ENDS6 + "udp 1 2 frag 8 len 4 id 5", IPv6(**SIX) / IPv6ExtHdrFragment(nh=17, offset=1, id=5) / Raw(bytes(4))),
]


@pytest.mark.parametrize(("text", "packet"), WRITTEN, ids=[text for text, _ in WRITTEN])
def test_a_packet_as_text_is_the_packet_scapy_builds(text, packet):
    ((_, octets),) = packets(text)
    assert octets.hex() == bytes(packet).hex()


def test_a_udp_checksum_that_comes_out_zero_is_written_as_ffff():
    port = int.from_bytes(packets(ENDS4 + "udp 0 0")[0][1][26:28])
    assert packets(ENDS4 + f"udp {port} 0")[0][1][26:28] == b"\xff\xff"


def test_octets_in_hexadecimal_may_be_spaced():
    assert packets("4500\n 00 1C")[0][1] == b"\x45\x00\x00\x1c"


WORDS = "192.0.2.1 2001:db8::1 > udp tcp icmp echo proto ttl len frag 8+ flags SA id df -1 0 1 65535 x ١ ² 45"


@pytest.mark.parametrize("seed", range(4))
def test_words_in_any_order_are_a_packet_or_refused(seed):
    chance, refused, read = random.Random(seed), [], 0
    for _ in range(2000):
        words = chance.choices(WORDS.split(), k=chance.randrange(1, 10))
        try:
            read += len(packets(" ".join(["192.0.2.1 > 192.0.2.2 udp 1 2", *words])))
            packets(" ".join(words))
        except (PacketError, CaptureError) as error:
            refused.append(str(error))
    assert read > 10
    assert all("expected" in sentence for sentence in refused)


REFUSED = {
    "": "'' is no packet: expected 'SOURCE > DESTINATION udp PORT PORT', octets in hexadecimal, or FILE.pcap:NUMBER",
    "   ": "'   ' is no packet: expected 'SOURCE > DESTINATION udp",
    "hello": "'hello' is no packet: expected 'SOURCE > DESTINATION udp",
    "450": "'450' is no packet: expected two hexadecimal digits for each octet",
    "> b": "'>': expected an IPv4 or IPv6 address, as in",
    "192.0.2.1 >": "'': expected an IPv4 or IPv6 address",
    "192.0.2.1 to 192.0.2.2 > x": "'to' between the addresses: expected '>'",
    "192.0.2.1 > 2001:db8::1 udp 1 2": "'192.0.2.1 > 2001:db8::1': expected two addresses of one family",
    ENDS4: "'' after the addresses: expected udp, tcp, icmp or proto",
    ENDS4 + "sctp 1 2": "'sctp' after the addresses: expected udp, tcp, icmp or proto",
    ENDS4 + "udp 1": "'': expected the destination port, a number from 0 to 65535",
    ENDS4 + "udp -1 5": "'-1': expected the source port, a number from 0 to 65535",
    ENDS4 + "udp 1 65536": "'65536': expected the destination port, a number from 0 to 65535",
    ENDS4 + "icmp error 5": "'error' after icmp: expected 'echo' or 'reply'; give other messages in hexadecimal",
    ENDS4 + "proto 256": "'256': expected the protocol, a number from 0 to 255",
    ENDS4 + "udp 1 2 hops 5": "'hops': expected an option, one of hlim, ttl, tc, len, id, flags, df, frag",
    ENDS4 + "udp 1 2 ttl": "'': expected ttl, a number from 0 to 255",
    ENDS4 + "tcp 1 2 flags XY": "'XY': expected flags of TCP, some of the letters FSRPAUEC",
    ENDS4 + "tcp 1 2 flags": "'': expected flags of TCP",
    ENDS4 + "udp 1 2 frag 7": "'7': expected where the fragment begins, a multiple of 8 up to 65528",
    ENDS4 + "udp 1 2 frag": "'': expected where the fragment begins",
    ENDS4 + "udp 1 2 id 65536": "'id 65536' in IPv4: expected a number from 0 to 65535",
    ENDS4 + "udp 1 2 len 65508": "a packet of 65536 octets: expected a len that leaves at most 65535",
    ENDS6 + "udp 1 2 len 65528": "a payload of 65536 octets: expected a len that leaves at most 65535",
    ENDS6 + "udp 1 2 df": "'df' in IPv6: expected it in IPv4 only",
    "none.pcap:1": "none.pcap does not exist: expected 'SOURCE > DESTINATION udp",
    f"{PCAPS}/README.md:1": "README.md is not a capture: expected pcap or pcapng",
    f"{PCAPS}:1": "cannot be read: Is a directory",
    f"{PCAPS}/hairpin_udp.pcap:0": "hairpin_udp.pcap:0 is no packet: expected a number from 1 on",
    f"{PCAPS}/hairpin_udp.pcap:99": "hairpin_udp.pcap:99 is no packet: expected a number up to ",
    f"{PCAPS}/hairpin_udp.pcap:999999999999999": "is no packet: expected a number up to 3, the last in that file",
    f"{PCAPS}/hairpin_udp.pcap:": "is no packet: expected 'SOURCE > DESTINATION udp PORT PORT'",
    f"{PCAPS}/hairpin_udp.pcap:-1": "is no packet: expected 'SOURCE > DESTINATION udp PORT PORT'",
    f"{PCAPS}/hairpin_udp.pcap:" + "1" * 5000: "...' is no packet: expected 'SOURCE > DESTINATION udp PORT PORT'",
    f"{PCAPS}/hairpin_udp.pcap": "is no packet: expected 'SOURCE > DESTINATION udp PORT PORT'",
    "4" * 5001: "4444...' is no packet: expected two hexadecimal digits for each octet",
    "0x4500": "'0x4500' is no packet: expected 'SOURCE > DESTINATION udp",
    "45 0": "'45 0' is no packet: expected two hexadecimal digits for each octet",
    "45:00:00:1c": "'45:00:00:1c' is no packet: expected 'SOURCE",
    "192.0.2.1>192.0.2.2 udp 1 2": "'192.0.2.1>192.0.2.2': expected an IPv4 or IPv6 address",
    "192.0.2.256 > 192.0.2.2 udp 1 2": "'192.0.2.256': expected an IPv4 or IPv6 address",
    "192.0.2.1/32 > 192.0.2.2 udp 1 2": "'192.0.2.1/32': expected an IPv4 or IPv6 address",
    "[2001:db8::1]:5000 > [2001:db8::2]:53 udp": "'[2001:db8::1]:5000': expected an IPv4 or IPv6 address",
    "example.net > 192.0.2.2 udp 1 2": "'example.net': expected an IPv4 or IPv6 address",
    ENDS4 + "UDP 1 2": "'UDP' after the addresses: expected udp, tcp, icmp or proto",
    ENDS4 + "udp one 2": "'one': expected the source port, a number from 0 to 65535",
    ENDS4 + "udp 1 " + "9" * 5000: ": expected the destination port, a number from 0 to 65535",
    ENDS4 + "udp 1 2 3": "'3': expected an option, one of hlim, ttl",
    ENDS4 + "icmp": "'' after icmp: expected 'echo' or 'reply'",
    ENDS4 + "icmp echo": "'': expected the identifier, a number from 0 to 65535",
    ENDS4 + "proto tcp": "'tcp': expected the protocol, a number from 0 to 255",
    ENDS4 + "udp 1 2 ttl 256": "'256': expected ttl, a number from 0 to 255",
    ENDS4 + "udp 1 2 frag 65536": "'65536': expected where the fragment begins",
    ENDS4 + "udp 1 2 frag " + "8" * 5000: ": expected where the fragment begins",
    ENDS4 + "udp 1 2 frag ++": "'++': expected where the fragment begins",
}


@pytest.mark.parametrize("text", REFUSED, ids=[text.rsplit("/", 1)[-1][:40] for text in REFUSED])
def test_what_is_no_packet_is_2_and_one_sentence(text, capsys):
    assert explaining.main(text, CONFIG, False) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("nat64d: ")
    assert REFUSED[text] in err
