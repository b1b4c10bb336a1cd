"""RFC 9293 section 3.7.1, RFC 6691: the MSS option of SYNs, lowered where the operator asks for it."""

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import TCP

from nat64d.config.settings import settings_of
from tests.case import Case, Nat64, check_checksums, config_of
from tests.packets import FROM_HOST6, FROM_MAPPED, TO_HOST6, TO_MAPPED, flip_checksum, from4, from6, seen4, seen6, whole
from tests.translator.test_virtio import NEEDS_CSUM, Header, checked, undone

CLAMPED = {"translation": {"clamp_mss": 1360}}
SACK, WINDOW = "0402", "030307"


def segment(ports: dict[str, int], options: str, flags: str = "S") -> Any:
    """A segment whose options are these octets."""
    octets = bytes.fromhex(options)
    return TCP(**ports, flags=flags, dataofs=5 + len(octets) // 4) / octets


def both(name: str, options: str, become: str, flags: str = "S", config: dict[str, Any] = CLAMPED) -> list[Case]:
    """Options of a segment, and what becomes of them, in either direction."""
    return [
        Case(
            f"{name}_from_ipv6",
            sent=from6() / segment(FROM_HOST6, options, flags),
            expect=seen4() / segment(FROM_MAPPED, become, flags),
            config=config,
        ),
        Case(
            f"{name}_from_ipv4",
            sent=from4() / segment(TO_MAPPED, options, flags),
            expect=seen6() / segment(TO_HOST6, become, flags),
            config=config,
        ),
    ]


def unchanged(name: str, options: str, flags: str = "S", config: dict[str, Any] = CLAMPED) -> list[Case]:
    return both(name, options, options, flags, config)


def malformed(name: str, options: str) -> list[Case]:
    """Options that scapy would write in other octets, so that it cannot check the checksum."""
    return [replace(case, damaged=True) for case in unchanged(name, options)]


CASES = [
    *both("rfc9293_3_7_1_an_mss_above_the_limit_is_lowered", "020405b4", "02040550"),
    *both("rfc9293_3_7_1_that_of_a_syn_ack_too", "020405b4", "02040550", "SA"),
    *both("one_above_is_lowered", "02040551", "02040550"),
    *unchanged("the_limit_itself_stays", "02040550"),
    *unchanged("rfc9293_3_7_1_it_is_never_raised", "02040218"),
    *unchanged("an_mss_of_zero_stays", "02040000"),
    *unchanged("without_the_option_none_is_added", SACK + "0101"),
    *unchanged("a_segment_without_options", ""),
    *unchanged("a_segment_that_is_no_syn", "020405b4", "A"),
    *unchanged("rfc6691_is_off_by_default", "020405b4", config={}),
    *both("behind_other_options", f"{SACK}{WINDOW}01020405b40000", f"{SACK}{WINDOW}01020405500000"),
    *both("at_an_odd_place", "01020405b4" + WINDOW, "0102040550" + WINDOW),
    *both("as_the_last_four_octets", f"{SACK}0101020405b4", f"{SACK}010102040550"),
    *both("both_of_two", "020405b4020405b5", "0204055002040550"),
    *malformed("behind_the_end_of_options", "00020405b4010101"),
    *unchanged("of_a_wrong_length", "02030501" + "01010101"),
    *both("behind_one_of_a_wrong_length", "02030501020405b4", "0203050102040550"),
    *malformed("cut_off_by_the_end", "0101010101020405"),
    *malformed("a_kind_without_a_length", "01010102"),
    *malformed("behind_a_length_of_zero", "0500" + "020405b4" + "0101"),
    *malformed("behind_a_length_of_one", "0501" + "020405b4" + "0101"),
    *malformed("behind_a_length_beyond_the_end", "050b" + "020405b4" + "0101"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rfc9293_3_7_1(case: Case) -> None:
    case.check()


def test_a_wrong_checksum_stays_wrong() -> None:
    sent = flip_checksum(from6() / segment(FROM_HOST6, "01020405b4010101"))
    (out,) = Nat64(**CLAMPED).send(sent, damaged=True).packets
    assert whole(out)[TCP].options[1] == ("MSS", 1360)
    with pytest.raises(pytest.fail.Exception, match="chksum"):
        check_checksums(out)


@pytest.mark.parametrize("options", ["020405b4", "01020405b4010101"], ids=["even", "odd"])
def test_a_checksum_that_is_left_to_the_device_is_left_to_it(options: str) -> None:
    become = options.replace("05b4", "0550")
    sent = undone(from6() / segment(FROM_HOST6, options))
    checked(Nat64(**CLAMPED), Header(NEEDS_CSUM, 0, 0, 0, 40, 16), sent, seen4() / segment(FROM_MAPPED, become))


def test_a_checksum_elsewhere_that_is_left_to_the_device_covers_the_new_mss() -> None:
    sent = whole(from6() / segment(FROM_HOST6, "020405b4") / bytes(8))
    _, _, (out,) = Nat64(**CLAMPED).offloaded(bytes(Header(NEEDS_CSUM, 0, 0, 0, 40 + 24, 2)), bytes(sent))
    assert out[40:44].hex() == "02040550"
    assert out[46:48] == b"\xff\xff"


def test_a_segment_between_two_hosts_of_ours_is_clamped_once() -> None:
    nat64 = Nat64(translation={"clamp_mss": 1360})
    (out,) = nat64.send(from6(dst="64:ff9b::192.0.2.1") / segment({"sport": 6000, "dport": 40000}, "020405b4")).packets
    assert whole(out)[TCP].options == [("MSS", 1360)]
    check_checksums(out)


LIMITS = [
    (False, "auto", "auto", 1500, 0),
    (True, "auto", "auto", 1500, 1440),
    (True, "auto", "auto", 9000, 8940),
    (True, 1500, 1480, 1500, 1420),
    (True, 1440, 1500, 1500, 1400),
    (True, 1400, 1400, 1280, 1220),
    (True, 68, "auto", 1500, 536),
    (1300, 576, 1280, 1500, 1300),
    (65475, "auto", "auto", 1500, 65475),
]


@pytest.mark.parametrize(("clamp", "mtu4", "mtu6", "device", "limit"), LIMITS)
def test_rfc6691_the_limit_is_what_both_networks_carry_without_fixed_headers(
    clamp: bool | int, mtu4: int | str, mtu6: int | str, device: int, limit: int
) -> None:
    config = config_of(
        translation={"clamp_mss": clamp, "mtu4": mtu4, "mtu6": mtu6, "lowest_ipv6_mtu": 1280}, tun={"mtu": device}
    )
    assert settings_of(config, bytes(16)).mss == limit
