"""Two translators in a row: an IPv4 program behind [clat] and the provider's NAT64 (RFC 6877), or behind an edge relay
and the border relay of a data centre (RFC 7755, RFC 7756)."""

from typing import Any

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet, Raw

from tests.case import Case, Nat64, Step
from tests.packets import (
    HOST4,
    HOST4_IN6,
    OUR4,
    POOL6,
    ROUTER4,
    Icmp,
    answer4,
    answer6,
    from4,
    from6,
    in6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
)
from translator.verdict import Verdict

CLAT4, CLAT6 = "192.0.0.1", "2001:db8:1::464"
NO_SESSIONS: dict[str, Any] = {"pool4": [], "forward": []}
CLAT = {"pool6": None, "clat": {"ipv6": CLAT6, "plat": POOL6}, **NO_SESSIONS}
LAN = {"pool6": None, "clat": {"ipv4": "192.168.7.0/24", "ipv6": "2001:db8:4::/120", "plat": POOL6}, **NO_SESSIONS}
LAN64 = LAN | {"clat": LAN["clat"] | {"ipv6": "2001:db8:4::/64"}}
NAME = DNS(qd=DNSQR(qname="dns.example"))
ASK, REPLY = {"sport": 4000, "dport": 80}, {"sport": 80, "dport": 4000}
CASES = [
    Case(
        "rfc6877_2_the_program_s_packet_is_one_of_ours_to_the_provider_s_prefix",
        config=CLAT,
        sent=IP(src=CLAT4, dst=HOST4) / UDP(**ASK) / b"x",
        expect=from6(src=CLAT6, hlim=63) / UDP(**ASK) / b"x",
    ),
    Case(
        "rfc6877_2_the_answer_is_one_of_the_server_s",
        config=CLAT,
        sent=from6(src=HOST4_IN6, dst=CLAT6) / UDP(**REPLY) / b"x",
        expect=seen4(src=HOST4, dst=CLAT4) / UDP(**REPLY) / b"x",
    ),
    Case(
        "rfc6877_2_ping",
        config=CLAT,
        sent=IP(src=CLAT4, dst=HOST4) / ping4(True, b"x", id=7),
        expect=from6(src=CLAT6, hlim=63) / ping6(True, b"x", id=7),
    ),
    Case(
        "rfc6877_2_pong",
        config=CLAT,
        sent=from6(src=HOST4_IN6, dst=CLAT6) / ping6(False, b"x", id=7),
        expect=seen4(src=HOST4, dst=CLAT4) / ping4(False, b"x", id=7),
    ),
    Case(
        "rfc6877_2_tcp_out",
        config=CLAT,
        sent=IP(src=CLAT4, dst=HOST4) / TCP(**ASK, flags="S"),
        expect=from6(src=CLAT6, hlim=63) / TCP(**ASK, flags="S"),
    ),
    Case(
        "rfc6877_2_tcp_in",
        config=CLAT,
        sent=from6(src=HOST4_IN6, dst=CLAT6) / TCP(**REPLY, flags="SA"),
        expect=seen4(src=HOST4, dst=CLAT4) / TCP(**REPLY, flags="SA"),
    ),
    Case(
        "rfc6877_6_4_a_query_to_another_name_server_passes",
        config=CLAT,
        steps=[
            step
            for query, answer in (
                (UDP(sport=4000, dport=53), UDP(sport=53, dport=4000)),
                (TCP(sport=4000, dport=53, flags="PA"), TCP(sport=53, dport=4000, flags="PA")),
            )
            for step in (
                Step(IP(src=CLAT4, dst=HOST4) / query / NAME, from6(src=CLAT6, hlim=63) / query / NAME),
                Step(from6(src=HOST4_IN6, dst=CLAT6) / answer / NAME, seen4(src=HOST4, dst=CLAT4) / answer / NAME),
            )
        ],
    ),
    Case(
        "rfc6877_2_a_network_behind_it_has_an_address_for_each_host",
        config=LAN,
        steps=[
            step
            for node4, node6 in (("192.168.7.0", "2001:db8:4::"), ("192.168.7.255", "2001:db8:4::ff"))
            for step in (
                Step(
                    IP(src=node4, dst=HOST4) / TCP(**ASK, flags="S"), from6(src=node6, hlim=63) / TCP(**ASK, flags="S")
                ),
                Step(from6(src=HOST4_IN6, dst=node6) / UDP(**REPLY), seen4(src=HOST4, dst=node4) / UDP(**REPLY)),
            )
        ],
    ),
    Case(
        "rfc6877_6_3_its_prefix_may_have_64_bits",
        config=LAN64,
        steps=[
            Step(IP(src="192.168.7.9", dst=HOST4) / UDP(**ASK), from6(src="2001:db8:4:0:900::", hlim=63) / UDP(**ASK)),
            Step(
                from6(src=HOST4_IN6, dst="2001:db8:4:0:900::") / UDP(**REPLY),
                seen4(src=HOST4, dst="192.168.7.9") / UDP(**REPLY),
            ),
        ],
    ),
    Case(
        "rfc6052_3_1_a_private_server_is_not_reached_through_the_well_known_prefix",
        config=CLAT,
        sent=(private := IP(src=CLAT4, dst="10.0.0.1") / UDP(**ASK)),
        verdict=Verdict.NON_GLOBAL_ADDRESS,
        answer=answer4(private, 3, 13),
    ),
    *(
        Case(
            f"rfc7915_4_4_the_source_{source}_is_not_the_program_s_with_hairpins_{mode}",
            config=CLAT | {"translation": {"eam_hairpin": mode}},
            sent=(foreign := IP(src=source, dst=HOST4) / UDP(**ASK)),
            verdict=Verdict.CLAT_SOURCE,
            answer=answer4(foreign, 3, 13),
        )
        for source in ("192.168.7.2", "192.0.0.2", "8.8.8.8")
        for mode in ("intrinsic", "simple")
    ),
    *(
        Case(
            f"rfc7915_4_4_the_source_{of_it}is_of_another_network",
            config=LAN,
            sent=(foreign := IP(src="192.168.8.9", dst=HOST4, **fields) / body),
            verdict=Verdict.CLAT_SOURCE,
            answer=answer4(foreign, 3, 13),
        )
        for of_it, fields, body in (
            ("", {}, TCP(**ASK, flags="S")),
            ("of_an_echo_", {}, ping4(True, b"x", id=7)),
            ("of_esp_", {"proto": 50}, Raw(b"x")),
            ("of_a_first_fragment_", {"proto": 17, "flags": "MF"}, Raw(payload(16))),
        )
    ),
    Case(
        "rfc6877_2_the_source_may_have_an_eam_row_of_its_own",
        config=CLAT | {"eam": [{"ipv4": "203.0.113.81", "ipv6": "2001:db8:dc::81"}]},
        sent=IP(src="203.0.113.81", dst=HOST4) / UDP(**ASK),
        expect=from6(src="2001:db8:dc::81", hlim=63) / UDP(**ASK),
    ),
    Case(
        "an_error_about_a_packet_to_somebody_else",
        config=CLAT,
        sent=IP(src=CLAT4, dst=HOST4) / Icmp(type=3, code=3) / from4(dst="192.168.7.2") / UDP(**REPLY),
        verdict=Verdict.CLAT_SOURCE,
    ),
    *(
        Case(
            f"rfc6791_a_router_between_has_the_address_of_clat_and_not_{router}",
            config=LAN,
            sent=IP(src=router, dst=HOST4) / Icmp(type=3, code=4, rest=1400) / from4(dst="192.168.7.9") / UDP(**REPLY),
            expect=from6(src="2001:db8:4::", hlim=63)
            / Icmp(type=2, rest=1420)
            / from6(src=HOST4_IN6, dst="2001:db8:4::9")
            / UDP(**REPLY),
        )
        for router in ("10.0.0.1", ROUTER4)
    ),
    Case(
        "the_deny_list_is_for_servers",
        config=CLAT | {"translation": {"denylist4": ["198.51.100.0/24"]}},
        sent=(denied := IP(src=CLAT4, dst=HOST4) / UDP(**ASK)),
        verdict=Verdict.DENIED_ADDRESS,
        answer=answer4(denied, 3, 13),
    ),
    Case(
        "an_address_that_is_not_the_program_s",
        config=CLAT | {"pool6": None},
        sent=(other := from6(src=HOST4_IN6, dst="2001:db8:1::465") / UDP(**REPLY)),
        verdict=Verdict.NO_MAPPING,
        answer=answer6(other, 1, 1),
    ),
    Case(
        "rfc7756_6_a_packet_that_claims_to_come_from_the_program_itself",
        config=CLAT,
        sent=from6(src=CLAT6, dst=CLAT6) / UDP(**ASK),
        verdict=Verdict.FORGED_SOURCE,
    ),
    Case(
        "rfc6877_2_a_host_of_the_ipv6_internet_is_nobody_s_peer",
        config=CLAT,
        sent=(stranger := from6(src="2001:db8:99::1", dst=CLAT6) / UDP(**REPLY)),
        verdict=Verdict.NO_MAPPING,
        answer=answer6(stranger, 1, 1),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc6877_2_one_side_keeps_no_sessions(case):
    nat64 = Nat64(**case.config)
    case.check(nat64)
    assert nat64.events().keys() <= {"ANSWER_SENT", "ANSWER_FORBIDDEN"}


class Chain:
    """Translators one behind the other; what comes back takes the way in reverse."""

    def __init__(self, *translators: Nat64) -> None:
        self.translators = translators

    def send(self, packet: Packet, back: bool = False) -> Packet:
        """What comes out at the other end."""
        octets = bytes(packet)
        for translator in self.translators[:: -1 if back else 1]:
            outcome = translator.send(octets)
            assert outcome.verdict == Verdict.TRANSLATED
            (octets,) = outcome.packets
        return whole(octets)


def same(got: Packet, sent: Packet, **but: Any) -> None:
    """The packet that was sent, two hops later; `but` for these addresses, and for ports and checksums."""
    expect = whole(sent)
    wanted = {name: getattr(expect, name) for name in ("src", "dst", "proto", "tos")} | {"ttl": 62} | but
    assert {name: getattr(got, name) for name in wanted} == wanted
    assert content(got) == content(expect)


def content(packet: Packet) -> bytes:
    """What a packet carries, without what a translator may change."""
    message = packet.payload.copy()
    for field in {"chksum", "sport", "dport", "id"} & set(message.fields):
        setattr(message, field, 0)
    return bytes(message)


DATA = payload(300)
MESSAGES = {
    "udp": (UDP(**ASK) / DATA, UDP(**REPLY) / DATA),
    "tcp": (TCP(**ASK, flags="S"), TCP(**REPLY, flags="SA")),
    "ping": (ping4(True, DATA, id=4000), ping4(False, DATA, id=4000)),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_rfc6877_4_a_program_and_a_server_meet_over_the_provider_s_nat64(name):
    plat = Nat64()
    chain, (ask, reply) = Chain(Nat64(**CLAT), plat), MESSAGES[name]
    sent = IP(src=CLAT4, dst=HOST4) / ask
    got = chain.send(sent)
    same(got, sent, src=got.src)
    assert got.src.startswith("192.0.2.")
    answered = reply.copy()
    if name == "ping":
        answered.id = got["ICMP"].id
    else:
        answered.dport = got.sport
    back = chain.send(IP(src=HOST4, dst=got.src) / answered, back=True)
    same(back, IP(src=HOST4, dst=CLAT4) / reply)
    assert plat.events()["SESSION_CREATED"] == 1
    assert back.payload.fields.get("dport", 4000) == 4000


# A service with an IPv4 address, on a host that has IPv6 only.
SERVICE4, NODE6, CENTRE = "203.0.113.80", "2001:db8:dc::80", "2001:db8:46::/96"
BORDER = {"pool6": CENTRE, "eam": [{"ipv4": SERVICE4, "ipv6": NODE6}], **NO_SESSIONS}
EDGE = {"pool6": None, "clat": {"ipv4": SERVICE4, "ipv6": NODE6, "plat": CENTRE}, **NO_SESSIONS}


@pytest.mark.parametrize(
    ("ask", "reply"),
    [*MESSAGES.values(), (Raw(DATA), Raw(DATA))],
    ids=[*MESSAGES, "a protocol of its own"],
)
def test_rfc7756_a_client_sees_the_address_it_called_and_the_program_the_client_s(ask, reply):
    chain = Chain(Nat64(**BORDER), Nat64(**EDGE))
    other = {"proto": 253} if isinstance(ask, Raw) else {}
    sent = IP(src=HOST4, dst=SERVICE4, **other) / ask
    same(chain.send(sent), sent)
    sent = IP(src=SERVICE4, dst=HOST4, **other) / reply
    same(chain.send(sent, back=True), sent)


def test_rfc7756_an_error_about_the_program_s_packet_finds_it():
    chain = Chain(Nat64(**BORDER), Nat64(**EDGE))
    about = seen4(src=SERVICE4, ttl=62) / UDP(**REPLY) / b"x"
    got = chain.send(IP(src=ROUTER4, dst=SERVICE4) / Icmp(type=3, code=1) / about)
    assert (got.src, got.dst, got["ICMP"].type, got["ICMP"].code) == (ROUTER4, SERVICE4, 3, 1)
    quoted = got["IP in ICMP"]
    assert (quoted.src, quoted.dst, got["UDP in ICMP"].sport) == (SERVICE4, HOST4, 80)


OTHER4, OTHER_NODE6 = "203.0.113.81", "2001:db8:dc::81"
OTHER_EAM = {"ipv4": OTHER4, "ipv6": OTHER_NODE6}
OTHER_EDGE = {"pool6": None, "clat": {"ipv4": OTHER4, "ipv6": OTHER_NODE6, "plat": CENTRE}, **NO_SESSIONS}


def by_way_of(octets: bytes, *translators: tuple[Nat64, Verdict]) -> bytes:
    """What comes out of the last of several translators, each of which ends the packet with this verdict."""
    for translator, verdict in translators:
        outcome = translator.send(octets)
        assert outcome.verdict == verdict
        (octets,) = outcome.packets
    return octets


@pytest.mark.parametrize("name", MESSAGES)
def test_rfc7756_5_1_programs_behind_two_edge_relays_meet_by_the_hairpin_of_the_border_relay(name):
    border = Nat64(pool6=CENTRE, eam=[*BORDER["eam"], OTHER_EAM], **NO_SESSIONS)
    edges = Nat64(**EDGE), Nat64(**OTHER_EDGE)
    for message, src, dst, (here, there) in zip(
        MESSAGES[name], (SERVICE4, OTHER4), (OTHER4, SERVICE4), (edges, edges[::-1]), strict=True
    ):
        sent = IP(src=src, dst=dst, ttl=64) / message
        way = (here, Verdict.TRANSLATED), (border, Verdict.HAIRPINNED), (there, Verdict.TRANSLATED)
        same(whole(by_way_of(bytes(sent), *way)), sent, ttl=61)


@pytest.mark.parametrize("name", MESSAGES)
def test_rfc7756_5_2_programs_behind_two_edge_relays_with_each_other_s_rows_need_no_border_relay(name):
    edges = Nat64(**EDGE, eam=[OTHER_EAM]), Nat64(**OTHER_EDGE, eam=BORDER["eam"])
    for message, src, dst, (here, there) in zip(
        MESSAGES[name], (SERVICE4, OTHER4), (OTHER4, SERVICE4), (edges, edges[::-1]), strict=True
    ):
        sent = IP(src=src, dst=dst, ttl=64) / message
        same(whole(by_way_of(bytes(sent), (here, Verdict.TRANSLATED), (there, Verdict.TRANSLATED))), sent, ttl=62)


SIIT_DC = [
    Case(
        "rfc7755_an_ipv4_client_reaches_an_ipv6_server",
        config=BORDER,
        sent=from4(dst=SERVICE4) / TCP(**ASK, flags="S"),
        expect=seen6(src=in6(HOST4, "2001:db8:46::"), dst=NODE6) / TCP(**ASK, flags="S"),
    ),
    Case(
        "rfc7755_the_server_sees_every_client_s_address",
        config=BORDER,
        sent=from4(src=ROUTER4, dst=SERVICE4) / TCP(**ASK, flags="S"),
        expect=seen6(src=in6(ROUTER4, "2001:db8:46::"), dst=NODE6) / TCP(**ASK, flags="S"),
    ),
    Case(
        "rfc7755_a_client_with_a_private_address_under_the_operator_s_prefix",
        config=BORDER,
        sent=from4(src="10.1.2.3", dst=SERVICE4) / TCP(**ASK, flags="S"),
        expect=seen6(src=in6("10.1.2.3", "2001:db8:46::"), dst=NODE6) / TCP(**ASK, flags="S"),
    ),
    Case(
        "rfc7755_an_address_without_a_service",
        config=BORDER,
        sent=from4(dst="203.0.113.81") / TCP(**ASK, flags="S"),
        expect=seen6(src=in6(HOST4, "2001:db8:46::"), dst=in6("203.0.113.81", "2001:db8:46::")) / TCP(**ASK, flags="S"),
    ),
    Case(
        "rfc7755_an_error_of_a_router_of_the_data_centre_comes_from_us",
        config=BORDER,
        sent=from6(src="2001:db8:dc::1", dst=in6(HOST4, "2001:db8:46::"))
        / Icmp(type=1, code=0)
        / seen6(src=in6(HOST4, "2001:db8:46::"), dst=NODE6)
        / UDP(**ASK)
        / b"x",
        expect=seen4(src=OUR4) / Icmp(type=3, code=1) / from4(dst=SERVICE4, ttl=63, id=0) / UDP(**ASK) / b"x",
    ),
    *(
        Case(
            f"rfc8215_a_private_address_under_{prefix}",
            config={"pool6": prefix, "eam": BORDER["eam"], **NO_SESSIONS},
            sent=from4(src="10.1.2.3", dst=SERVICE4) / UDP(**ASK),
            expect=seen6(src=address, dst=NODE6) / UDP(**ASK),
        )
        for prefix, address in (
            ("64:ff9b:1::/96", "64:ff9b:1::10.1.2.3"),
            ("64:ff9b:1:fffe::/96", "64:ff9b:1:fffe::10.1.2.3"),
            ("64:ff9b:1:abcd::/64", "64:ff9b:1:abcd:a:102:300:0"),
            ("64:ff9b:1::/48", "64:ff9b:1:a01:2:300::"),
        )
    ),
    Case(
        "rfc8215_and_back",
        config={"pool6": "64:ff9b:1:fffe::/96", "eam": BORDER["eam"], **NO_SESSIONS},
        sent=from6(src=NODE6, dst="64:ff9b:1:fffe::10.1.2.3") / UDP(**REPLY),
        expect=seen4(src=SERVICE4, dst="10.1.2.3") / UDP(**REPLY),
    ),
]


@pytest.mark.parametrize("case", SIIT_DC, ids=str)
def test_rfc7755_border_relay(case):
    nat64 = Nat64(**case.config)
    case.check(nat64)
    assert "SESSION_CREATED" not in nat64.events()
