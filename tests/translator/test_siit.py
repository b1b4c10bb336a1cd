"""Stateless translation (RFC 7915 with RFC 7757 and RFC 6052): alone, beside sessions, other protocols, hairpins."""

from typing import Any

import pytest
from scapy.layers.inet import GRE, TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop
from scapy.packet import Raw

from tests.case import Case, Nat64, Step
from tests.packets import (
    HOST4,
    NEIGHBOUR6,
    OUR4,
    ROUTER4,
    ROUTER4_IN6,
    ROUTER6,
    Icmp,
    answer4,
    answer6,
    fragment_of,
    from4,
    from6,
    in6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
    with_options,
)
from translator.verdict import Verdict

SERVER6, SERVER4 = "2001:db8:5::a", "198.51.100.138"  # a host behind us with an address of its own
SECOND6, SECOND4 = "2001:db8:5::b", "198.51.100.139"
EAM: dict[str, Any] = {"eam": [{"ipv4": "198.51.100.128/27", "ipv6": "2001:db8:5::/123"}]}
ALONE = EAM | {"pool4": None, "forward": None}
NO_PREFIX = ALONE | {"pool6": None}
BOTH = {"alone": ALONE, "beside_sessions": EAM}
PORTS = {"sport": 4321, "dport": 80}
BACK = {"sport": 80, "dport": 4321}


def to_server(**fields: Any) -> Any:
    """HOST4 -> SERVER4, and what SERVER6 sees of it."""
    return from4(**{"dst": SERVER4} | fields)


def at_server(**fields: Any) -> Any:
    return seen6(**{"dst": SERVER6} | fields)


def of_server(**fields: Any) -> Any:
    """SERVER6 -> HOST4, and what HOST4 sees of it."""
    return from6(**{"src": SERVER6} | fields)


def at_host4(**fields: Any) -> Any:
    return seen4(**{"src": SERVER4} | fields)


UDP_IN, UDP_OUT = UDP(**PORTS) / b"abc", UDP(**BACK) / b"abc"
FOREIGN = {"gre": (47, bytes(GRE(proto=0x800) / b"abc")), "esp": (50, payload(40)), "sctp": (132, payload(28))}
PASSES = {
    "udp_in": Step(to_server() / UDP_IN, at_server() / UDP_IN),
    "udp_out": Step(of_server() / UDP_OUT, at_host4() / UDP_OUT),
    "tcp_without_a_syn": Step(to_server() / TCP(**PORTS, flags="A"), at_server() / TCP(**PORTS, flags="A")),
    "tcp_out": Step(of_server() / TCP(**BACK, flags="R"), at_host4() / TCP(**BACK, flags="R")),
    "echo_in": Step(to_server() / ping4(True, b"x", id=77), at_server() / ping6(True, b"x", id=77)),
    "echo_out": Step(of_server() / ping6(False, b"x", id=77), at_host4() / ping4(False, b"x", id=77)),
    **{
        f"{name}_in": Step(to_server(proto=number) / Raw(data), at_server(nh=number) / Raw(data))
        for name, (number, data) in FOREIGN.items()
    },
    **{
        f"{name}_out": Step(of_server(nh=number) / Raw(data), at_host4(proto=number) / Raw(data))
        for name, (number, data) in FOREIGN.items()
    },
    "a_later_fragment_alone_in": Step(
        fragment_of(to_server() / UDP(**PORTS) / payload(1600), 800, 400),
        fragment_of(at_server() / UDP(**PORTS) / payload(1600), 800, 400),
    ),
    "a_later_fragment_alone_out": Step(
        fragment_of(of_server() / UDP(**BACK) / payload(1600), 800, 400),
        fragment_of(at_host4() / UDP(**BACK) / payload(1600), 800, 400),
    ),
    "an_error_about_what_the_server_sent": Step(
        to_server(src=ROUTER4) / Icmp(type=11) / at_host4() / UDP_OUT,
        at_server(src=ROUTER4_IN6) / Icmp(type=3) / of_server(hlim=63) / UDP_OUT,
    ),
    "an_error_about_an_echo_of_the_server": Step(
        to_server() / Icmp(type=3, code=1) / at_host4() / ping4(True, b"x", id=77),
        at_server() / Icmp(type=1, code=0) / of_server(hlim=63) / ping6(True, b"x", id=77),
    ),
    "an_error_about_gre": Step(
        to_server() / Icmp(type=3, code=2) / at_host4(proto=47) / Raw(b"12345678"),
        at_server() / Icmp(type=4, code=1, rest=6) / of_server(hlim=63, nh=47) / Raw(b"12345678"),
    ),
    **{
        f"an_error_about_a_whole_{name}_packet_of_{size}_octets_in": Step(
            to_server() / Icmp(type=3, code=1) / at_host4(proto=number) / Raw(payload(size)),
            at_server() / Icmp(type=1) / of_server(hlim=63, nh=number) / Raw(payload(size)),
        )
        for name, number in (("gre", 47), ("esp", 50))
        for size in (0, 4, 7, 8, 40)
    },
    **{
        f"an_error_about_a_whole_{name}_packet_of_{size}_octets_out": Step(
            of_server() / Icmp(type=1, code=3) / at_server(nh=number) / Raw(payload(size)),
            at_host4() / Icmp(type=3, code=1) / to_server(ttl=63, id=0, proto=number) / Raw(payload(size)),
        )
        for name, number in (("gre", 47), ("esp", 50))
        for size in (0, 4, 7, 8, 40)
    },
    **{
        f"an_error_about_a_later_fragment_of_{name}_in": Step(
            to_server() / Icmp(type=3, code=1) / fragment_of(at_host4(proto=number) / Raw(payload(900)), 400, size),
            at_server() / Icmp(type=1) / fragment_of(of_server(hlim=63, nh=number6) / Raw(payload(900)), 400, size),
        )
        for name, number, number6 in (("udp", 17, 17), ("tcp", 6, 6), ("icmp", 1, 58), ("gre", 47, 47))
        for size in (400, 500)
    },
    **{
        f"an_error_about_a_later_fragment_of_{name}_out": Step(
            of_server()
            / Icmp(type=3, code=1)
            / fragment_of(at_server(nh=number6) / Raw(payload(900)), 400, 496, 0xABCD1234),
            at_host4()
            / Icmp(type=11, code=1)
            / fragment_of(to_server(ttl=63, proto=number) / Raw(payload(900)), 400, 496, 0x1234),
        )
        for name, number, number6 in (("udp", 17, 17), ("tcp", 6, 6), ("icmp", 1, 58), ("gre", 47, 47))
    },
    "an_error_about_a_later_fragment_of_3_octets": Step(
        to_server() / Icmp(type=3, code=1) / fragment_of(at_host4() / UDP(**BACK) / payload(395), 400, 8),
        at_server() / Icmp(type=1) / fragment_of(of_server(hlim=63) / UDP(**BACK) / payload(395), 400, 8),
    ),
    "an_error_about_a_packet_with_options": Step(
        to_server() / Icmp(type=3, code=1) / Raw(with_options(at_host4() / UDP_OUT, b"\x07\x07" + bytes(38))),
        at_server() / Icmp(type=1) / of_server(hlim=63) / UDP_OUT,
    ),
    "an_error_about_a_packet_with_extension_headers": Step(
        of_server() / Icmp(type=1, code=4) / at_server() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP_IN,
        at_host4() / Icmp(type=3, code=3) / to_server(ttl=63, id=0) / UDP_IN,
    ),
    "an_error_of_the_server": Step(
        of_server() / Icmp(type=1, code=4) / at_server() / UDP_IN,
        at_host4() / Icmp(type=3, code=3) / to_server(ttl=63, id=0) / UDP_IN,
    ),
    "an_error_of_a_router_that_has_a_mapping": Step(
        of_server(src=SECOND6) / Icmp(type=3) / at_server() / UDP_IN,
        at_host4(src=SECOND4) / Icmp(type=11) / to_server(ttl=63, id=0) / UDP_IN,
    ),
}
CASES = [
    Case(f"rfc7915_stateless_{how}_{name}", config=config, steps=[step])
    for how, config in BOTH.items()
    for name, step in PASSES.items()
]

ERROR6 = Icmp(type=3) / at_server() / UDP_IN
ERROR4 = Icmp(type=11) / to_server(ttl=63, id=0) / UDP_IN
UNKNOWN6, UNKNOWN4 = from6(src=NEIGHBOUR6) / UDP_OUT, from4(dst="192.0.2.77") / UDP_IN
FOREIGN6, FOREIGN4 = from6(nh=47) / b"abcd", from4(proto=47) / b"abcd"
CASES += [
    *(
        Case(
            f"rfc7915_4_3_an_error_about_protocol_{number}_of_one_family_only",
            config=ALONE,
            sent=to_server() / Icmp(type=3, code=1) / at_host4(proto=number) / Raw(payload(40)),
            verdict=Verdict.QUOTED_PACKET,
        )
        for number in (58, 0, 44, 2)
    ),
    *(
        Case(
            f"rfc6146_3_4_an_error_about_a_later_fragment_that_may_be_of_a_session_{at}",
            config=EAM,
            sent=sent,
            verdict=Verdict.QUOTED_PACKET,
        )
        for at, sent in (
            ("in", from4() / Icmp(type=3, code=1) / fragment_of(seen4() / UDP(**PORTS) / payload(900), 400, 400)),
            ("out", from6() / Icmp(type=1, code=4) / fragment_of(seen6() / UDP(**PORTS) / payload(900), 400, 400)),
        )
    ),
    *(
        Case(
            f"rfc7915_4_2_igmp_is_silently_dropped_{how}_ttl_{ttl}",
            config=config,
            sent=to_server(proto=2, ttl=ttl) / Raw(b"\x16" + bytes(7)),
            verdict=Verdict.ICMP_TYPE,
        )
        for how, config in BOTH.items()
        for ttl in (1, 64)
    ),
    *(
        Case(
            f"rfc7915_4_2_igmp_to_its_group_is_silently_dropped_{how}",
            config=config,
            sent=from4(dst="224.0.0.22", proto=2, ttl=1) / Raw(b"\x22" + bytes(7)),
            verdict=Verdict.NOT_UNICAST,
        )
        for how, config in BOTH.items()
    ),
    Case(
        "rfc7915_4_5_a_first_fragment_without_checksum_is_dropped_alone",
        config=ALONE,
        sent=fragment_of(to_server() / UDP(**PORTS, chksum=0) / payload(900), 0, 400),
        verdict=Verdict.ZERO_UDP_CHECKSUM,
    ),
    Case(
        "rfc7915_4_2_igmp_is_silently_dropped_with_sessions",
        steps=[Step(from4(proto=2, ttl=ttl) / Raw(b"\x16" + bytes(7)), verdict=Verdict.ICMP_TYPE) for ttl in (1, 64)],
    ),
    Case(
        "rfc6791_an_error_of_a_router_without_a_mapping_comes_from_us",
        config=ALONE,
        sent=from6(src=ROUTER6) / ERROR6,
        expect=at_host4(src=OUR4) / ERROR4,
    ),
    Case(
        "rfc6791_an_error_of_a_router_without_a_mapping_comes_from_the_pool",
        config=ALONE | {"translation": {"rfc6791_ipv4": ["198.51.100.99/32"]}},
        sent=from6(src=ROUTER6) / ERROR6,
        expect=at_host4(src="198.51.100.99") / ERROR4,
    ),
    Case(
        "rfc7757_an_ipv6_source_without_a_mapping_is_answered",
        config=ALONE,
        sent=UNKNOWN6,
        verdict=Verdict.NO_MAPPING,
        answer=answer6(UNKNOWN6, 1, 1),
    ),
    Case(
        "rfc7915_5_4_an_ipv6_destination_without_a_mapping_is_answered",
        config=ALONE,
        sent=(lost := of_server(dst="2001:db8:77::1") / UDP_OUT),
        verdict=Verdict.NO_MAPPING,
        answer=answer6(lost, 1, 1),
    ),
    Case(
        "rfc7757_without_a_prefix_a_destination_needs_a_mapping",
        config=NO_PREFIX,
        sent=(lost := of_server() / UDP_OUT),
        verdict=Verdict.NO_MAPPING,
        answer=answer6(lost, 1, 1),
    ),
    Case(
        "rfc7757_without_a_prefix_an_ipv4_source_needs_a_mapping",
        config=NO_PREFIX,
        sent=(stranger := to_server() / UDP_IN),
        verdict=Verdict.NO_MAPPING,
        answer=answer4(stranger, 3, 13),
    ),
    Case(
        "rfc7757_without_a_prefix_two_mapped_hosts_speak",
        config={
            "pool6": None,
            "pool4": None,
            "forward": None,
            "eam": [
                {"ipv4": "198.51.100.128/27", "ipv6": "2001:db8:5::/123"},
                {"ipv4": "198.51.100.0/25", "ipv6": "2001:db8:6::/121"},
            ],
        },
        sent=to_server() / UDP_IN,
        expect=at_server(src="2001:db8:6::7") / UDP_IN,
    ),
    Case(
        "rfc6052_without_sessions_both_addresses_go_by_the_prefix",
        config={"pool4": None, "forward": None, "pool6": "2001:db8:64::/48", "tun": {"ipv6": "2001:db8:65::1"}},
        steps=[
            Step(
                from6(src="2001:db8:64:c000:2:100::", dst="2001:db8:64:c633:64:700::") / UDP_OUT,
                seen4(src="192.0.2.1") / UDP_OUT,
            ),
            Step(
                from4(dst="192.0.2.1") / UDP_IN,
                seen6(src="2001:db8:64:c633:64:700::", dst="2001:db8:64:c000:2:100::") / UDP_IN,
            ),
        ],
    ),
    Case(
        "rfc6146_3_4_beside_sessions_other_protocols_of_other_hosts_are_answered",
        config=EAM,
        steps=[
            Step(FOREIGN6, verdict=Verdict.PROTOCOL, answer=answer6(FOREIGN6, 1, 4)),
            Step(FOREIGN4, verdict=Verdict.PROTOCOL, answer=answer4(FOREIGN4, 3, 2)),
        ],
    ),
    Case(
        "denylist4_holds_without_sessions_too",
        config=ALONE | {"translation": {"denylist4": [f"{HOST4}/32"]}},
        steps=[
            Step(
                denied := of_server() / UDP_OUT,
                verdict=Verdict.DENIED_ADDRESS,
                answer=answer6(denied, 1, 1),
            ),
            Step(
                denied := to_server() / UDP_IN,
                verdict=Verdict.DENIED_ADDRESS,
                answer=answer4(denied, 3, 13),
            ),
        ],
    ),
]


PRIVATE = {"eam": [*EAM["eam"], {"ipv4": "10.9.0.0/24", "ipv6": "2001:db8:9::/120"}]}
CASES += [
    Case(
        "rfc6052_3_1_a_private_server_with_a_mapping_of_its_own_is_reached",
        config=PRIVATE,
        sent=of_server(dst="2001:db8:9::1") / UDP_OUT,
        expect=at_host4(dst="10.9.0.1") / UDP_OUT,
    ),
    Case(
        "rfc6052_3_1_a_private_server_with_a_mapping_of_its_own_answers",
        config=PRIVATE,
        sent=to_server(src="10.9.0.1") / UDP_IN,
        expect=at_server(src="2001:db8:9::1") / UDP_IN,
    ),
    Case(
        "rfc6052_3_1_a_host_of_ours_without_one_is_not_reached",
        config=PRIVATE | ALONE,
        sent=(private := to_server(dst="10.9.1.1") / UDP_IN),
        verdict=Verdict.NON_GLOBAL_ADDRESS,
        answer=answer4(private, 3, 13),
    ),
    Case(
        "rfc6052_3_1_a_host_of_ours_without_one_does_not_send",
        config=PRIVATE | ALONE,
        sent=(private := of_server(src=in6("10.9.1.1")) / UDP_OUT),
        verdict=Verdict.NON_GLOBAL_ADDRESS,
        answer=answer6(private, 1, 1),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_siit(case):
    case.check()


@pytest.mark.parametrize("step", PASSES.values(), ids=PASSES)
def test_siit_makes_no_session_beside_sessions(step):
    nat64 = Nat64(**EAM)
    before = nat64.events()
    nat64.check(step)
    assert nat64.events() == before


# RFC 7757 section 4.2.2, intrinsic: the packet turns round inside, its source stays under the prefix, one hop counts.
FIRST_IN6, SECOND_IN6 = in6(SERVER4), in6(SECOND4)
TURNING = of_server(dst=SECOND_IN6)
TURNED = seen6(src=FIRST_IN6, dst=SECOND6)


@pytest.mark.parametrize("config", BOTH.values(), ids=BOTH)
def test_rfc7757_4_2_2_two_mapped_hosts_meet_through_us(config):
    nat64 = Nat64(**config)
    for sent, seen in [
        (UDP_OUT, UDP_OUT),
        (TCP(**PORTS, flags="A"), TCP(**PORTS, flags="A")),
        (ping6(True, b"x", id=9), ping6(True, b"x", id=9)),
    ]:
        nat64.check(Step(TURNING / sent, TURNED / seen, Verdict.HAIRPINNED))
    gre = Step(from6(src=SERVER6, dst=SECOND_IN6, nh=47) / b"abcd", seen6(src=FIRST_IN6, dst=SECOND6, nh=47) / b"abcd")
    nat64.check(Step(gre.sent, gre.expect, Verdict.HAIRPINNED))
    later = [fragment_of(header / UDP(**PORTS) / payload(900), 400, 512) for header in (TURNING, TURNED)]
    nat64.check(Step(*later, Verdict.HAIRPINNED))
    error = from6(src=SECOND6, dst=FIRST_IN6) / Icmp(type=1, code=4) / TURNED / UDP_OUT
    expect = seen6(src=SECOND_IN6, dst=SERVER6) / Icmp(type=1, code=4) / of_server(dst=SECOND_IN6, hlim=63) / UDP_OUT
    nat64.check(Step(error, expect, Verdict.HAIRPINNED))


def test_a_host_of_the_pool_and_a_mapped_one_meet_through_us():
    nat64 = Nat64(**EAM)
    (out,) = nat64.send(from6(src=NEIGHBOUR6, dst=FIRST_IN6) / UDP(sport=7777, dport=80) / b"abc").packets
    got = whole(out)
    assert got.src.startswith("64:ff9b::c000:20")
    assert bytes(got) == bytes(seen6(src=got.src, dst=SERVER6) / UDP(sport=got.sport, dport=80) / b"abc")
    answer = of_server(dst=got.src) / UDP(sport=80, dport=got.sport) / b"ok"
    expect = seen6(src=FIRST_IN6, dst=NEIGHBOUR6) / UDP(sport=80, dport=7777) / b"ok"
    nat64.check(Step(answer, expect, Verdict.HAIRPINNED))


def test_fragments_between_a_host_of_the_pool_and_a_mapped_one():
    nat64 = Nat64(**EAM)
    sent = from6(src=NEIGHBOUR6, dst=FIRST_IN6) / UDP(sport=7777, dport=80) / payload(900)
    got = whole(nat64.send(fragment_of(sent, 0, 400)).packets[0])
    expect = seen6(src=got.src, dst=SERVER6) / UDP(sport=got.sport, dport=80) / payload(900)
    assert bytes(got) == bytes(fragment_of(expect, 0, 400))
    nat64.check(Step(fragment_of(sent, 400, 512), fragment_of(expect, 400, 512), Verdict.HAIRPINNED))
