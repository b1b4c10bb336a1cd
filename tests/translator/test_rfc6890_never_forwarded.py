"""Addresses that no router forwards, whatever the prefix: RFC 6890 ("Forwardable: False"), RFC 1812 section 5.3.7, RFC
3927 section 2.7. Documentation blocks pass; an IPv4 link-local pool4 is ours."""

from typing import Any

import pytest
from scapy.layers.inet import TCP, UDP

from tests.case import Nat64, Step
from tests.mapped import ASK, EAM, EAM4, EAM6, SIIT
from tests.packets import (
    FROM_HOST6,
    FROM_MAPPED,
    HOST4,
    HOST6,
    OUR6,
    ROUTER6,
    TO_HOST6,
    TO_MAPPED,
    Icmp,
    answer4,
    answer6,
    from4,
    from6,
    in6,
    seen4,
    seen6,
)
from translator.verdict import Verdict

OPERATORS = "2001:db8:6052::"
OURS: dict[str, Any] = {"pool6": f"{OPERATORS}/96"}
NEVER = ("0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.0.0", "169.254.1.1", "169.254.255.255", "224.0.0.1", "240.0.0.1")
BESIDE_THEM = ("1.0.0.1", "126.255.255.255", "128.0.0.1", "169.253.255.255", "169.255.0.0", "223.255.255.255")
every = pytest.mark.parametrize("address", NEVER)


def under(address: str) -> str:
    return in6(address, OPERATORS)


@every
@pytest.mark.parametrize("config", [OURS, OURS | SIIT, OURS | {"eam": EAM}], ids=["stateful", "siit", "eam"])
def test_rfc3927_2_7_nobody_reaches_it_and_the_sender_is_told(config: dict[str, Any], address: str) -> None:
    """RFC 7915 section 5.4: a discarded IPv6 packet is answered."""
    nat64 = Nat64(**config)
    source = under(HOST4) if config == OURS | SIIT else EAM6 if "eam" in config else HOST6
    for payload in (UDP(**FROM_HOST6), TCP(**FROM_HOST6, flags="S")):
        sent = from6(src=source, dst=under(address)) / payload
        nat64.check(Step(sent, verdict=Verdict.NOT_UNICAST, answer=answer6(sent, 1, 1)))
    assert nat64.events().get("SESSION_CREATED", 0) == 0


@every
def test_rfc3927_2_7_no_ipv4_packet_comes_from_it(address: str) -> None:
    nat64 = Nat64(**OURS, eam=EAM)
    nat64.check(Step(from4(src=address) / UDP(**TO_MAPPED), verdict=Verdict.NOT_UNICAST))
    nat64.check(Step(from4(src=address, dst=EAM4) / UDP(**ASK), verdict=Verdict.NOT_UNICAST))
    siit = Nat64(**OURS | SIIT)
    siit.check(Step(from4(src=address) / UDP(**TO_MAPPED), verdict=Verdict.NOT_UNICAST))


@pytest.mark.parametrize("config", [OURS, OURS | SIIT], ids=["stateful", "siit"])
def test_rfc3927_2_7_no_ipv4_packet_goes_to_it(config: dict[str, Any]) -> None:
    nat64 = Nat64(**config)
    sent = from4(dst="169.254.1.1") / UDP(**TO_MAPPED)
    nat64.check(Step(sent, verdict=Verdict.NOT_UNICAST, answer=answer4(sent, 3, 13)))
    for address in ("0.1.2.3", "127.0.0.1", "240.0.0.1"):  # RFC 1122 section 3.2.2: no error about these
        nat64.check(Step(from4(dst=address) / UDP(**TO_MAPPED), verdict=Verdict.NOT_UNICAST))


@pytest.mark.parametrize("address", BESIDE_THEM)
def test_rfc6890_the_addresses_around_them_are_reached(address: str) -> None:
    nat64 = Nat64(**OURS)
    nat64.check(Step(from6(dst=under(address)) / UDP(**FROM_HOST6)))
    siit = Nat64(**OURS | SIIT)
    sent = from6(src=under(address), dst=under(HOST4)) / UDP(**ASK)
    siit.check(Step(sent, seen4(src=address, dst=HOST4) / UDP(**ASK)))


def test_a_link_local_pool_is_ours() -> None:
    """The built-in configuration has one, behind masquerading; no other link-local address is reached through it."""
    config = {"pool4": [{"addresses": "169.254.64.0/30"}], "forward": [], "pool6": "64:ff9b::/96"}
    nat64 = Nat64(**config)
    (got,) = nat64.send(from6() / UDP(**FROM_HOST6)).packets
    mapped4, port = ".".join(map(str, got[12:16])), int.from_bytes(got[20:22])
    assert mapped4.startswith("169.254.64.")
    back = from4(dst=mapped4) / UDP(sport=53, dport=port)
    nat64.check(Step(back, seen6() / UDP(sport=53, dport=FROM_HOST6["sport"])))
    hairpin = from6(src=ROUTER6, dst=in6(mapped4)) / UDP(sport=7, dport=port)
    assert nat64.send(hairpin).verdict == Verdict.HAIRPINNED
    sent = from6(dst=in6("169.254.64.4")) / UDP(**FROM_HOST6)
    nat64.check(Step(sent, verdict=Verdict.NOT_UNICAST, answer=answer6(sent, 1, 1)))


@pytest.mark.parametrize(
    ("section", "keys"),
    [
        ("forward", {"ipv6": f"[{HOST6}]:5000"}),
        ("service", {"name": "dns", "endpoints": [f"[{HOST6}]:5000"]}),
    ],
)
def test_a_link_local_address_of_a_forward_or_service_is_ours(section: str, keys: dict[str, Any]) -> None:
    row = {"protocol": "udp", "ipv4": "169.254.64.9:40000", **keys}
    nat64 = Nat64(**{"forward": [], section: [row]})
    sent = from4(dst="169.254.64.9") / UDP(**TO_MAPPED)
    nat64.check(Step(sent, seen6() / UDP(**TO_HOST6)))
    assert nat64.send(from6(src=ROUTER6, dst=in6("169.254.64.9")) / UDP(sport=7, dport=40000)).verdict == (
        Verdict.HAIRPINNED
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.1.1", "224.0.0.1", "0.0.0.0", "240.0.0.1"])
def test_rfc7915_4_1_an_error_of_an_illegal_source_is_translated_under_a_prefix_of_the_operator(address: str) -> None:
    """ "For the purpose of trouble shooting." Under the well-known prefix RFC 6052 section 3.1 forbids the address."""
    quoted4, quoted6 = seen4(src=EAM4) / UDP(**ASK), from6(src=EAM6, hlim=63) / UDP(**ASK)
    nat64 = Nat64(**OURS, eam=EAM)
    quoted = quoted6.copy()
    quoted.dst = under(HOST4)
    expect = seen6(src=under(address), dst=EAM6) / Icmp(type=3) / quoted
    nat64.check(Step(from4(src=address, dst=EAM4) / Icmp(type=11) / quoted4, expect))
    for one in (nat64, Nat64(**OURS)):  # about the packet of a host with sessions
        quoted = from6(dst=under(HOST4), hlim=63) / UDP(**FROM_HOST6)
        expect = seen6(src=under(address)) / Icmp(type=3) / quoted
        one.check(Step(from4(src=address) / Icmp(type=11) / seen4() / UDP(**FROM_MAPPED), expect))
    quoted = from6(src=under(EAM4), dst=under(HOST4), hlim=63) / UDP(**ASK)
    expect = seen6(src=under(address), dst=under(EAM4)) / Icmp(type=3) / quoted
    Nat64(**OURS | SIIT).check(Step(from4(src=address, dst=EAM4) / Icmp(type=11) / quoted4, expect))
    strict = Nat64(eam=EAM)
    expect = seen6(src=OUR6, dst=EAM6) / Icmp(type=3) / quoted6
    strict.check(Step(from4(src=address, dst=EAM4) / Icmp(type=11) / quoted4, expect))
