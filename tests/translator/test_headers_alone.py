"""Packets of which nothing but the header is there (RFC 7915 sections 4.1 and 5.1), and those that say that nothing
follows (RFC 8200 section 4.7)."""

from typing import Any

import pytest
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.packet import Raw

from tests.case import Nat64, Step
from tests.mapped import ALONE, BESIDE, as_eam4, at_eam6, of_eam6, to_eam4
from tests.packets import answer4, answer6, from4, from6, seen4, seen6
from translator.verdict import Verdict

NO_NEXT_HEADER, ICMPV6 = 59, 58
ONLY_IPV6 = (0, 43, 44, 58, 60)  # extension headers that are skipped, Fragment, and ICMPv6
OTHER = {"pool4": [{"addresses": "192.0.2.1", "protocols": ["tcp", "udp", "icmp", "other"]}], "forward": []}
WITHOUT_STATE = pytest.mark.parametrize("config", [ALONE, BESIDE], ids=["alone", "beside sessions"])
PROTOCOLS = pytest.mark.parametrize("protocol", [NO_NEXT_HEADER, 47, 50, 132, 253])


@WITHOUT_STATE
@PROTOCOLS
def test_rfc7915_5_1_an_ipv6_header_alone_is_translated(config: dict[str, Any], protocol: int) -> None:
    nat64 = Nat64(**config)
    nat64.check(Step(of_eam6(nh=protocol), as_eam4(proto=protocol)))


@WITHOUT_STATE
@PROTOCOLS
def test_rfc7915_4_1_an_ipv4_header_alone_is_translated(config: dict[str, Any], protocol: int) -> None:
    nat64 = Nat64(**config)
    nat64.check(Step(to_eam4(proto=protocol), at_eam6(nh=protocol)))


@WITHOUT_STATE
def test_rfc7915_4_1_every_protocol_is_copied_but_for_those_of_one_family(config: dict[str, Any]) -> None:
    """2 is IGMP, and dropped (section 4.2); the others are answered."""
    nat64, data = Nat64(**config), Raw(b"\1\2\3\4\5")
    for protocol in set(range(256)) - {1, 2, 6, 17, *ONLY_IPV6}:
        nat64.check(Step(to_eam4(proto=protocol) / data, at_eam6(nh=protocol) / data))
    for protocol in ONLY_IPV6:
        sent = to_eam4(proto=protocol) / data
        nat64.check(Step(sent, verdict=Verdict.PROTOCOL, answer=answer4(sent, 3, 2)))


@WITHOUT_STATE
def test_rfc7915_5_1_every_next_header_is_copied_but_for_those_of_one_family(config: dict[str, Any]) -> None:
    nat64, data = Nat64(**config), Raw(b"\1\2\3\4\5")
    for protocol in set(range(256)) - {1, 2, 6, 17, *ONLY_IPV6}:
        nat64.check(Step(of_eam6(nh=protocol) / data, as_eam4(proto=protocol) / data))
    for protocol in (1, 2):
        sent = of_eam6(nh=protocol) / data
        nat64.check(Step(sent, verdict=Verdict.PROTOCOL, answer=answer6(sent, 1, 4)))


PLACES = {"first": (0, 1), "midst": (100, 1), "last": (100, 0)}
NO_FRAGMENTS = {51, 135, 139, 140}  # extension headers, which RFC 7915 section 5.1.1 drops behind a Fragment header


@pytest.mark.no_cover
@pytest.mark.parametrize(("offset", "more"), PLACES.values(), ids=PLACES)
def test_rfc7915_4_1_every_protocol_of_fragments_is_copied_but_for_those_of_one_family(offset: int, more: int) -> None:
    nat64, data, part = Nat64(**ALONE), Raw(b"\1\2\3\4\5\6\7\x08"), {"id": 7, "frag": offset, "flags": more}
    for protocol in set(range(256)) - {1, 2, 6, 17, *ONLY_IPV6}:
        seen = at_eam6(nh=44) / IPv6ExtHdrFragment(nh=protocol, offset=offset, m=more, id=7) / data
        nat64.check(Step(to_eam4(proto=protocol, **part) / data, seen))
    for protocol in ONLY_IPV6:
        sent = to_eam4(proto=protocol, **part) / data
        nat64.check(Step(sent, verdict=Verdict.PROTOCOL, answer=None if offset else answer4(sent, 3, 2)))


@pytest.mark.no_cover
@pytest.mark.parametrize(("offset", "more"), PLACES.values(), ids=PLACES)
def test_rfc7915_5_1_1_every_protocol_of_fragments_is_copied_but_for_those_of_one_family(
    offset: int, more: int
) -> None:
    nat64, data = Nat64(**ALONE), Raw(b"\1\2\3\4\5\6\7\x08")
    for protocol in set(range(256)) - {6, 17, *ONLY_IPV6, *NO_FRAGMENTS}:
        sent = of_eam6(nh=44) / IPv6ExtHdrFragment(nh=protocol, offset=offset, m=more, id=7) / data
        if protocol in {1, 2}:
            nat64.check(Step(sent, verdict=Verdict.PROTOCOL, answer=None if offset else answer6(sent, 1, 4)))
        else:
            nat64.check(Step(sent, as_eam4(proto=protocol, id=7, frag=offset, flags=more) / data))


@WITHOUT_STATE
def test_rfc7915_5_1_extension_headers_alone_are_skipped(config: dict[str, Any]) -> None:
    sent = of_eam6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(nh=NO_NEXT_HEADER)
    Nat64(**config).check(Step(sent, as_eam4(proto=NO_NEXT_HEADER)))


@WITHOUT_STATE
def test_rfc8200_4_7_what_follows_no_next_header_is_passed_on_unchanged(config: dict[str, Any]) -> None:
    nat64, data = Nat64(**config), Raw(b"\1\2\3\4\5")
    nat64.check(Step(of_eam6(nh=NO_NEXT_HEADER) / data, as_eam4(proto=NO_NEXT_HEADER) / data))
    nat64.check(Step(to_eam4(proto=NO_NEXT_HEADER) / data, at_eam6(nh=NO_NEXT_HEADER) / data))


@pytest.mark.parametrize("protocol", [6, 17, ICMPV6])
def test_a_transport_header_that_is_not_there_is_missed(protocol: int) -> None:
    nat64 = Nat64(**BESIDE)
    nat64.check(Step(of_eam6(nh=protocol), verdict=Verdict.TRUNCATED))
    nat64.check(Step(from6(nh=protocol), verdict=Verdict.TRUNCATED))
    nat64.check(Step(to_eam4(proto=1 if protocol == ICMPV6 else protocol), verdict=Verdict.TRUNCATED))


def test_rfc6146_3_4_sessions_carry_no_protocol_without_ports_unless_asked() -> None:
    nat64 = Nat64()
    sent = from6(nh=NO_NEXT_HEADER)
    nat64.check(Step(sent, verdict=Verdict.PROTOCOL, answer=answer6(sent, 1, 4)))
    sent = from4(proto=NO_NEXT_HEADER)
    nat64.check(Step(sent, verdict=Verdict.PROTOCOL, answer=answer4(sent, 3, 2)))
    asked = Nat64(**OTHER)
    asked.check(Step(from6(nh=NO_NEXT_HEADER), seen4(src="192.0.2.1", proto=NO_NEXT_HEADER)))
    asked.check(Step(from4(dst="192.0.2.1", proto=NO_NEXT_HEADER), seen6(nh=NO_NEXT_HEADER)))
