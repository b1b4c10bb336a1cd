"""[services] announce = "neighbours": when what is said of an address, and what its octets are."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP

from nat64d.services.claim import AGAIN, ALWAYS, ANNOUNCED, ASKED, DEFEND_INTERVAL, Claim, Say
from nat64d.services.messages import EVERYBODY, Heard, announcements, heard, question
from tests.nat64d.announcing import HIGHER, OTHER, OWN, VIP4, VIP6

# ---- when


def said(claim: Claim, until: float, begin: float = 0.0) -> list[tuple[float, Say]]:
    """What a claim says, and when, looked at every tenth of a second."""
    times = [begin + number / 10 for number in range(round((until - begin) * 10))]
    return [(now, say) for now in times if (say := claim.say(now))]


def test_rfc5227_2_1_an_address_is_asked_for_and_then_announced_for_ever():
    claim = Claim(0.0)
    told = said(claim, 130)
    assert [say for _, say in told[:ASKED]] == [Say.QUESTION] * ASKED
    assert {say for _, say in told[ASKED:]} == {Say.ANNOUNCEMENT}
    times = [now for now, _ in told[ASKED:]]
    assert times[:ANNOUNCED] == pytest.approx([0.6, 0.7, 0.8], abs=0.11)
    assert times[ANNOUNCED:] == pytest.approx([60.8, 120.8], abs=0.3)
    assert claim.held


def test_what_the_process_before_has_left_is_not_asked_for():
    assert said(Claim(0.0, held=True), 1)[0] == (0.0, Say.ANNOUNCEMENT)


def test_an_address_of_another_is_left_to_it_and_asked_for_again():
    claim = Claim(0.0)
    claim.say(0.0)
    claim.hear(HIGHER, OWN, 0.1)
    assert (claim.held, claim.rival) == (False, HIGHER)
    assert said(claim, AGAIN, 0.1) == []
    assert [say for _, say in said(claim, AGAIN + 0.5, AGAIN)][:1] == [Say.QUESTION]
    claim.hear(HIGHER, OWN, 3.0)
    assert [say for _, say in said(claim, 6.0, 3.0)][-1] is Say.ANNOUNCEMENT
    assert (claim.held, claim.rival) == (True, b"")


def test_rfc5227_2_4_of_two_that_have_it_one_remains():
    one, other = Claim(0.0, held=True), Claim(0.0, held=True)
    one.hear(OTHER, OWN, 1.0)
    other.hear(OWN, OTHER, 1.0)
    assert (one.held, other.held, other.rival) == (False, True, OWN)


def test_rfc5227_2_4_it_is_defended_but_not_too_often():
    claim = Claim(0.0, held=True)
    said(claim, 1)
    for number in range(20):
        claim.hear(HIGHER, OWN, 1.0 + number / 10)
    assert len(said(claim, 3.0, 3.0)) == 0
    assert [say for _, say in said(claim, 4.0, 3.0)] == [Say.ANNOUNCEMENT]
    claim.defend(2.0 + DEFEND_INTERVAL)
    assert claim.due == 2.0 + DEFEND_INTERVAL
    assert claim.rival == HIGHER
    said(claim, 4 * ALWAYS, 3.0)
    assert claim.rival == b""
    waiting = Claim(0.0)
    waiting.say(0.0)
    waiting.defend(0.05)
    assert waiting.due == pytest.approx(0.2)


# ---- octets


def test_rfc5227_3_an_announcement_is_a_request_for_ones_own_address_and_a_reply():
    address = IPv4Address(VIP4)
    sent = announcements(address, OWN, IPv4Address("192.0.2.2"))
    assert [one.to for one in sent] == [EVERYBODY] * 2
    request, reply = (ARP(one.octets) for one in sent)
    assert (request.op, reply.op) == (1, 2)
    for one in (request, reply):
        assert (one.psrc, one.pdst, one.hwsrc) == (VIP4, VIP4, OWN.hex(":"))
    assert all(heard(one.octets, 4) == Heard(address, OWN) for one in sent)


def test_a_question_in_ipv4_has_an_address_of_our_own():
    sent = question(IPv4Address(VIP4), OWN, IPv4Address("192.0.2.2"))
    asked = ARP(sent.octets)
    assert (asked.op, asked.psrc, asked.pdst, sent.to) == (1, "192.0.2.2", VIP4, EVERYBODY)
    probe = bytes(ARP(op=1, psrc="0.0.0.0", pdst=VIP4, hwsrc=OTHER.hex(":")))
    assert heard(probe, 4) == Heard(IPv4Address(VIP4), OTHER, wants=True)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        bytes(ARP())[:27],
        bytes(ARP(op=3)),
        bytes(ARP(op=2, psrc="0.0.0.0")),
        bytes(ARP(ptype=0x86DD, pdst="192.0.2.1", psrc="192.0.2.2", hwlen=6, plen=4)),
    ],
)
def test_other_arp_says_nothing(octets):
    assert heard(octets, 4) is None


def test_rfc4861_7_2_6_an_unsolicited_advertisement_overrides():
    (sent,) = announcements(IPv6Address(VIP6), OWN, IPv6Address("fe80::1"))
    packet = IPv6(sent.octets)
    assert (packet.src, packet.dst, packet.hlim) == ("fe80::1", "ff02::1", 255)
    told = packet[ICMPv6ND_NA]
    assert (told.tgt, told.R, told.S, told.O) == (VIP6, 1, 0, 1)
    assert packet[ICMPv6NDOptDstLLAddr].lladdr == OWN.hex(":")
    assert sent.to == bytes.fromhex("333300000001")
    assert heard(sent.octets, 6) == Heard(IPv6Address(VIP6), OWN)
    del packet[ICMPv6ND_NA].cksum
    assert bytes(packet) == sent.octets


def test_rfc4861_7_2_2_a_question_goes_to_the_group_of_the_address():
    sent = question(IPv6Address(VIP6), OWN, IPv6Address("fe80::1"))
    packet = IPv6(sent.octets)
    assert (packet.dst, packet[ICMPv6ND_NS].tgt) == ("ff02::1:ff00:80", VIP6)
    assert packet[ICMPv6NDOptSrcLLAddr].lladdr == OWN.hex(":")
    assert sent.to == bytes.fromhex("3333ff000080")
    del packet[ICMPv6ND_NS].cksum
    assert bytes(packet) == sent.octets


@pytest.mark.parametrize(
    "octets",
    [
        bytes(70),
        bytes(IPv6(hlim=254) / ICMPv6ND_NA(tgt=VIP6) / ICMPv6NDOptDstLLAddr(lladdr=OWN.hex(":"))),
        bytes(IPv6(hlim=255) / ICMPv6ND_NS(tgt=VIP6) / ICMPv6NDOptSrcLLAddr(lladdr=OWN.hex(":"))),
        bytes(IPv6(hlim=255) / ICMPv6ND_NA(tgt=VIP6) / ICMPv6NDOptSrcLLAddr(lladdr=OWN.hex(":"))),
    ],
)
def test_other_packets_say_nothing(octets):
    assert heard(octets, 6) is None
