"""RFC 7915 sections 4.5 and 5.5: ports and checksums of TCP, UDP and echoes; UDP without checksum; damage is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet

from tests.case import Case, Nat64, Step, check_checksums, compare
from tests.mapped import ALONE, ASK, at_eam6, to_eam4
from tests.packets import (
    DATA,
    FROM_HOST6,
    FROM_MAPPED,
    HOST6_PORT,
    MAPPED4_PORT,
    PORTS,
    TO_HOST6,
    TO_MAPPED,
    flip_checksum,
    fragment_of,
    from4,
    from6,
    payload,
    ping4,
    ping6,
    seen4,
    seen6,
    whole,
)
from translator.verdict import Verdict

OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 2)), ("NOP", None), ("WScale", 7)]
SEGMENT = {"seq": 0xFFFFFFFF, "ack": 0x80000000, "flags": "PAUEC", "window": 0xFFFF, "urgptr": 7}
BARE4, BARE6 = from4() / UDP(**TO_MAPPED, chksum=0) / b"abc", from6() / UDP(**FROM_HOST6, chksum=0) / b"abc"
LONG_BARE4 = from4() / UDP(**TO_MAPPED, chksum=0) / payload(1600)
LONG_BARE6 = from6() / UDP(**FROM_HOST6, chksum=0) / payload(1600)
ZERO = Verdict.ZERO_UDP_CHECKSUM


def with_checksum(value: int, packet: Packet) -> Packet:
    """A datagram and two octets that give it this checksum."""
    without = whole(packet / b"\0\0")[UDP].chksum
    return packet / ((without - value) % 0xFFFF).to_bytes(2)


def zero_checksum(how: str, name: str, sent: Packet, expect: Packet | None = None) -> Case:
    verdict = Verdict.TRANSLATED if expect else ZERO
    return Case(name, sent=sent, expect=expect, verdict=verdict, config={"translation": {"udp_zero_checksum": how}})


# The UDP checksum covers what the UDP length says, though the IP payload may be longer.
SHORT4, SHORT6 = whole(from4() / UDP(**TO_MAPPED) / b"abc"), whole(seen6() / UDP(**TO_HOST6) / b"abc")
SHORT4.len, SHORT4.chksum, SHORT6.plen = None, None, None

CASES = [
    Case(
        "rfc7915_4_5_tcp_passes_unchanged_but_for_ports_and_checksum",
        sent=from4() / TCP(**TO_MAPPED, **SEGMENT, options=OPTIONS) / payload(33),
        expect=seen6() / TCP(**TO_HOST6, **SEGMENT, options=OPTIONS) / payload(33),
    ),
    Case(
        "rfc7915_5_5_tcp_passes_unchanged_but_for_ports_and_checksum",
        sent=from6() / TCP(**FROM_HOST6, **SEGMENT | {"flags": "S"}, options=OPTIONS) / payload(33),
        expect=seen4() / TCP(**FROM_MAPPED, **SEGMENT | {"flags": "S"}, options=OPTIONS) / payload(33),
    ),
    *(
        Case(
            f"rfc7915_4_5_udp_with_{size}_octets",
            sent=from4() / UDP(**TO_MAPPED) / payload(size),
            expect=seen6() / UDP(**TO_HOST6) / payload(size),
        )
        for size in (0, 1, 2, 3, 1232)
    ),
    *(
        Case(
            f"rfc7915_5_5_udp_with_{size}_octets",
            sent=from6() / UDP(**FROM_HOST6) / payload(size),
            expect=seen4() / UDP(**FROM_MAPPED) / payload(size),
        )
        for size in (0, 1, 2, 3, 1232)
    ),
    *(
        Case(
            f"rfc7915_4_5_echo_with_{size}_octets",
            sent=from4() / ping4(True, payload(size)),
            expect=seen6() / ping6(True, payload(size)),
        )
        for size in (0, 1, 1232)
    ),
    Case("rfc7915_4_5_udp_that_ends_before_its_packet", sent=SHORT4 / b"defg", expect=SHORT6 / b"defg"),
    # RFC 768: a computed checksum of 0 is sent as 0xFFFF.
    Case(
        "rfc7915_4_5_udp_checksum_that_comes_out_as_0_is_0xffff",
        sent=from4() / UDP(**TO_MAPPED) / (tail := with_checksum(0, seen6() / UDP(**TO_HOST6))[UDP].payload),
        expect=seen6() / UDP(**TO_HOST6, chksum=0xFFFF) / tail,
    ),
    Case(
        "rfc7915_5_5_udp_checksum_that_comes_out_as_0_is_0xffff",
        sent=from6() / UDP(**FROM_HOST6) / (tail := with_checksum(0, seen4() / UDP(**FROM_MAPPED))[UDP].payload),
        expect=seen4() / UDP(**FROM_MAPPED, chksum=0xFFFF) / tail,
    ),
    Case(
        "rfc7915_4_5_udp_checksum_0xffff_is_one",
        sent=with_checksum(0, from4() / UDP(**TO_MAPPED, chksum=None)),
        expect=seen6() / UDP(**TO_HOST6) / with_checksum(0, from4() / UDP(**TO_MAPPED))[UDP].payload,
    ),
    Case(
        "rfc6146_3_4_a_missing_checksum_is_calculated_by_default", sent=BARE4, expect=seen6() / UDP(**TO_HOST6) / b"abc"
    ),
    zero_checksum("calculate", "rfc7915_4_5_calculate_a_missing_checksum", BARE4, seen6() / UDP(**TO_HOST6) / b"abc"),
    zero_checksum(
        "calculate", "rfc7915_5_5_calculate_a_missing_checksum", BARE6, seen4() / UDP(**FROM_MAPPED) / b"abc"
    ),
    zero_checksum(
        "calculate",
        "rfc7915_4_5_a_checksum_calculated_as_0_is_0xffff",
        from4() / UDP(**TO_MAPPED, chksum=0) / (tail := with_checksum(0, seen6() / UDP(**TO_HOST6))[UDP].payload),
        seen6() / UDP(**TO_HOST6, chksum=0xFFFF) / tail,
    ),
    Case(
        "rfc7915_4_5_none_for_a_first_fragment",
        sent=fragment_of(LONG_BARE4, 0, 800),
        verdict=Verdict.ZERO_UDP_CHECKSUM,
        config={"limits": {"fragments_memory": 0}},
    ),
    zero_checksum("calculate", "rfc7915_5_5_none_for_a_first_fragment", fragment_of(LONG_BARE6, 0, 800)),
    *(
        Case(
            f"rfc7915_4_5_{how}_a_missing_checksum_without_sessions",
            config=ALONE | {"translation": {"udp_zero_checksum": how}},
            sent=to_eam4() / UDP(**ASK, chksum=0) / b"abc",
            expect=expect,
            verdict=Verdict.TRANSLATED if expect else ZERO,
        )
        for how, expect in (
            ("drop", None),
            ("calculate", at_eam6() / UDP(**ASK) / b"abc"),
            ("forward", at_eam6() / UDP(**ASK, chksum=0) / b"abc"),
        )
    ),
    zero_checksum("drop", "rfc7915_4_5_drop_a_missing_checksum", BARE4),
    zero_checksum("drop", "rfc7915_5_5_drop_a_missing_checksum", BARE6),
    zero_checksum("drop", "rfc7915_4_5_drop_spares_checksums", SHORT4, SHORT6),
    zero_checksum(
        "forward",
        "rfc7915_4_5_forward_without_checksum",
        BARE4,
        seen6() / UDP(**TO_HOST6, chksum=0) / b"abc",
    ),
    zero_checksum(
        "forward",
        "rfc7915_5_5_forward_without_checksum",
        BARE6,
        seen4() / UDP(**FROM_MAPPED, chksum=0) / b"abc",
    ),
    zero_checksum(
        "forward",
        "rfc7915_4_5_forward_a_first_fragment_without_checksum",
        fragment_of(LONG_BARE4, 0, 800),
        fragment_of(seen6() / UDP(**TO_HOST6, chksum=0) / payload(1600), 0, 800),
    ),
]

# [translation] udp_zero_checksum_ports: by the destination port as it came, whatever holds for the others.
LISTS = {"forward": ["1-52", "54-4000"], "drop": ["53"], "calculate": ["39999-40001"]}
WISHES = {1: "forward", 52: "forward", 53: "drop", 54: "forward", 4000: "forward", 4001: None, 65535: None}


def by_port(how: str, name: str, sent: Packet, expect: Packet | None = None) -> Case:
    config = {"translation": {"udp_zero_checksum": how, "udp_zero_checksum_ports": LISTS}}
    return Case(name, sent=sent, expect=expect, verdict=Verdict.TRANSLATED if expect else ZERO, config=config)


def bare(port: int, wish: str) -> tuple[Packet, Packet | None]:
    """HOST6 to a port without checksum, and what has to become of it."""
    ends = {"sport": MAPPED4_PORT, "dport": port} | ({"chksum": 0} if wish == "forward" else {})
    out = seen4() / UDP(**ends) / b"abc"
    return from6() / UDP(sport=HOST6_PORT, dport=port, chksum=0) / b"abc", None if wish == "drop" else out


CASES += [
    *(
        by_port(how, f"rfc7915_5_5_port_{port}_without_checksum_where_others_{how}", *bare(port, wish or how))
        for how in ("calculate", "drop", "forward")
        for port, wish in WISHES.items()
    ),
    by_port(
        "drop",
        "rfc7915_4_5_the_port_is_the_one_the_packet_came_with",
        from4() / UDP(sport=53, dport=MAPPED4_PORT, chksum=0) / b"abc",
        seen6() / UDP(sport=53, dport=HOST6_PORT) / b"abc",
    ),
    by_port("calculate", "rfc7915_4_5_a_source_port_on_a_list_says_nothing", BARE4, seen6() / UDP(**TO_HOST6) / b"abc"),
    Case(
        "rfc7915_4_5_by_port_without_sessions",
        config=ALONE | {"translation": {"udp_zero_checksum": "drop", "udp_zero_checksum_ports": LISTS}},
        steps=[
            Step(to_eam4() / UDP(sport=4000, dport=port, chksum=0), expect, Verdict.TRANSLATED if expect else ZERO)
            for port, expect in (
                (52, at_eam6() / UDP(sport=4000, dport=52, chksum=0)),
                (53, None),
                (39999, at_eam6() / UDP(sport=4000, dport=39999)),
                (40002, None),
            )
        ],
    ),
    by_port(
        "drop",
        "rfc7915_5_5_a_port_to_forward_spares_a_first_fragment",
        fragment_of(from6() / UDP(sport=HOST6_PORT, dport=54, chksum=0) / payload(1600), 0, 800),
        fragment_of(seen4() / UDP(sport=MAPPED4_PORT, dport=54, chksum=0) / payload(1600), 0, 800),
    ),
    by_port(
        "forward",
        "rfc7915_5_5_a_port_to_drop_spares_a_checksum",
        from6() / UDP(**FROM_HOST6) / b"abc",
        seen4() / UDP(**FROM_MAPPED) / b"abc",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc7915_4_5(case):
    case.check()


DAMAGED = [
    from4() / UDP(**TO_MAPPED) / b"abc",
    from4() / TCP(**TO_MAPPED, flags="A") / b"abc",
    from4() / ping4(True, b"abc"),
    from6() / UDP(**FROM_HOST6) / b"abc",
    from6() / TCP(**FROM_HOST6, flags="S") / b"abc",
    from6() / ping6(True, b"abc"),
]


@pytest.mark.parametrize("packet", DAMAGED, ids=lambda packet: packet.summary().replace(" ", "_"))
def test_rfc7915_4_5_a_packet_that_arrives_damaged_leaves_damaged(nat64, packet):
    (sound,) = nat64.send(packet).packets
    (out,) = nat64.send(flip_checksum(packet), damaged=True).packets
    assert len(out) == len(sound)
    with pytest.raises(pytest.fail.Exception, match=r"chksum|cksum"):
        check_checksums(out)


@given(port4=PORTS, data=DATA, protocol=st.sampled_from([TCP, UDP]))
def test_rfc7915_4_5_checksums_of_any_datagram_stay_right(port4, data, protocol):
    fields = {"flags": "S"} if protocol is TCP else {}
    nat64 = Nat64()
    (out,) = nat64.send(from6() / protocol(sport=HOST6_PORT, dport=port4, **fields) / data).packets
    compare([out], [seen4() / protocol(sport=MAPPED4_PORT, dport=port4, **fields) / data])
    (back,) = nat64.send(from4() / protocol(sport=port4, dport=MAPPED4_PORT, **fields) / data).packets
    compare([back], [seen6() / protocol(sport=port4, dport=HOST6_PORT, **fields) / data])
