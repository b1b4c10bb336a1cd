"""RFC 6146 sections 3.5.1.1 and 3.5.2.3, RFC 6056 section 3.3.3: which IPv4 transport address a host6 gets."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from itertools import pairwise

import pytest

from nat64d.config.words import words
from tests import invariants
from tests.packets import HOST4, HOST6, NEIGHBOUR6, OTHER4, answer6, in6
from tests.reference import packets as make
from tests.sessions import Address4, Sessions, flow
from translator.packet.addresses import address6
from translator.session.pool4 import group_of, slot_of
from translator.tables.layout import GROUP, NONE, records
from translator.verdict import Verdict

ALONE = "192.0.2.1/32"
UDP_SLOT = 1  # of the first row


def pools(*rows: dict[str, object], **changes) -> Sessions:
    """A gateway with these [[pool4]] and no [[forward]]."""
    return Sessions(pool4=list(rows), forward=[], **changes)


def one_address(ports: str, **changes) -> Sessions:
    return pools({"addresses": ALONE, "ports": ports}, **changes)


BASE = one_address("2000-2000").settings


def subscriber(number: int) -> str:
    """A host of its own /64: alone, one has no more than its share of the ports."""
    return f"2001:db8:{number + 16:x}::1"


def refusal(nat64: Sessions, protocol: str, port: int, **named) -> tuple[Verdict, tuple[int, int] | None]:
    """The verdict of a packet that is not translated; type and code of the answer."""
    outcome = nat64.from6(protocol, port, **named)
    return outcome.verdict, (outcome.answer[40], outcome.answer[41]) if outcome.answer else None


# ---- RFC 6056 section 3.3.3, algorithm 3: port = first + (hash(flow) + next_ephemeral) % number, then linear search


@pytest.mark.parametrize("protocol", ["tcp", "icmp"])
def test_rfc6056_3_3_3_same_flow_again_gets_the_next_port(protocol):
    nat64 = one_address("2000-2999", limits={"sessions": 16})
    given_out = []
    for _ in range(12):
        given_out.append(nat64.opened(protocol, 6000)[1])
        nat64.wait(301)
    # The next one of its parity; 500 of the range have it.
    assert [port - 2000 for port in given_out] == [(given_out[0] - 2000 + 2 * k) % 1000 for k in range(12)]


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_rfc6056_3_3_3_other_flow_starts_elsewhere(protocol):
    def first_port(**flow) -> int:
        nat64 = one_address("1024-65535")
        return nat64.opened(protocol, flow.pop("port", 6000), **flow)[1]

    variants = [{}, {"port": 6001}, {"to": (OTHER4, 53)}, {"host": NEIGHBOUR6}]
    variants += [{"to": (HOST4, 54)}] if protocol != "icmp" else []  # a query has no port there
    assert len({first_port(**flow) for flow in variants}) == len(variants)


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_rfc6056_3_3_3_the_secret_decides_where(protocol):
    nat64 = [one_address("1024-65535") for _ in range(2)]
    settings = replace(nat64[1].settings, secret=nat64[1].settings.secret ^ 1)
    nat64[1].gateway = replace(nat64[1].gateway, settings=settings)
    assert nat64[0].opened(protocol, 6000) != nat64[1].opened(protocol, 6000)


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
def test_rfc6056_3_3_3_ports_are_spread_over_the_range(protocol):
    nat64 = one_address("1024-65535", limits={"sessions": 256})
    nat64.check_invariants = lambda: None  # once, below
    chosen = sorted(nat64.opened(protocol, port)[1] for port in range(5000, 5100))
    invariants.check(nat64.tables, nat64.settings)
    assert len(set(chosen)) == 100
    assert chosen[0] < 10000
    assert chosen[-1] > 56000
    assert sum(1 for a, b in pairwise(chosen) if b == a + 1) < 20


# ---- the range


@pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])
@pytest.mark.parametrize(
    ("ports", "first", "last"),
    [
        ("2000-2015", 2000, 2015),
        ("65528-65535", 65528, 65535),
        ("2003-2003", 2003, 2003),
        ("1-9", 1, 9),
        ("2007-2008", 2007, 2008),
    ],
)
def test_every_port_of_the_range_is_handed_out_once_and_no_other(protocol, ports, first, last):
    nat64 = one_address(ports)
    number = last - first + 1
    chosen = [nat64.opened(protocol, 6000 + k, host=subscriber(k))[1] for k in range(number)]
    assert sorted(chosen) == list(range(first, last + 1))
    assert refusal(nat64, protocol, 7000) == (Verdict.POOL4_EXHAUSTED, (1, 3))


def test_rfc6146_3_5_1_1_exhausted_pool_is_answered_and_spares_what_there_is():
    nat64 = one_address("2000-2003")
    for port in range(6000, 6004):
        nat64.opened("udp", port)
    before = nat64.sessions()
    sent = make.ipv6(IPv6Address(HOST6), IPv6Address(in6(HOST4)), 17, make.udp(6004, 53, b"data"))
    outcome = nat64.say(sent)
    assert outcome.verdict == Verdict.POOL4_EXHAUSTED
    assert outcome.answer == bytes(answer6(sent, 1, 3))
    assert nat64.sessions() == before
    assert nat64.mapped("udp", 6004) is None
    nat64.opened("udp", 6000, to=(OTHER4, 53))  # an old binding may still have new peers


def test_rfc6146_3_5_1_1_bindings_of_one_protocol_leave_the_ports_of_the_others():
    nat64 = one_address("2000-2001")
    for protocol in ("tcp", "udp", "icmp"):
        assert {nat64.opened(protocol, 6000)[1], nat64.opened(protocol, 6001)[1]} == {2000, 2001}
        assert refusal(nat64, protocol, 6002)[0] == Verdict.POOL4_EXHAUSTED


def test_port_is_free_again_when_its_binding_ends():
    nat64 = one_address("2000-2000")
    nat64.opened("udp", 6000)
    assert refusal(nat64, "udp", 6001)[0] == Verdict.POOL4_EXHAUSTED
    nat64.wait(301)
    assert nat64.opened("udp", 6001) == ("192.0.2.1", 2000)
    assert refusal(nat64, "udp", 6000)[0] == Verdict.POOL4_EXHAUSTED


# ---- RFC 6146 section 3.5.1.1: parity and the well-known ports


@pytest.mark.parametrize("ports", ["1024-65535", "1-65535", "1-1023"])
@pytest.mark.parametrize("port", [6000, 6001, 65535, 1024, 1023, 80])
def test_rfc6146_3_5_1_1_udp_keeps_the_parity(port, ports):
    nat64 = one_address(ports)
    for _ in range(8):
        mapped = nat64.opened("udp", port)[1]
        assert mapped % 2 == port % 2
        assert ports != "1-65535" or (mapped < 1024) == (port < 1024)
        nat64.wait(301)


def test_rfc6146_3_5_1_1_parity_gives_way_when_no_such_port_is_left():
    nat64 = one_address("2000-2005")
    assert [nat64.opened("udp", 6000, host=subscriber(k))[1] % 2 for k in range(6)] == [0, 0, 0, 1, 1, 1]


def test_rfc6146_3_5_2_3_tcp_and_icmp_do_not_care_for_parity():
    for protocol in ("tcp", "icmp"):
        nat64 = one_address("1024-65535", limits={"sessions": 64})
        assert {nat64.opened(protocol, 6000 + 2 * k)[1] % 2 for k in range(20)} == {0, 1}


@pytest.mark.parametrize(("low", "high"), [(100, 5000), (1023, 1024), (0, 65535)])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_rfc6146_3_5_1_1_port_stays_on_its_side_of_1024(protocol, low, high):
    nat64 = one_address("1016-1031")
    for k in range(8):
        assert nat64.opened(protocol, low, host=subscriber(k))[1] < 1024
        assert nat64.opened(protocol, high, host=subscriber(k))[1] >= 1024
    assert refusal(nat64, protocol, 5024, host=subscriber(0))[0] == Verdict.POOL4_EXHAUSTED


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_rfc6146_3_5_1_1_side_of_1024_gives_way_when_it_is_full_or_missing(protocol):
    nat64 = one_address("1022-1025")
    low = [nat64.opened(protocol, 100 + k)[1] for k in range(4)]
    assert [port < 1024 for port in low] == [True, True, False, False]
    nat64 = one_address("1022-1025")
    high = [nat64.opened(protocol, 5000 + k)[1] for k in range(4)]
    assert [port < 1024 for port in high] == [False, False, True, True]
    assert one_address("2000-2003").opened(protocol, 80)[1] >= 2000
    assert one_address("100-103").opened(protocol, 5000)[1] <= 103


def test_rfc6146_3_5_1_1_side_of_1024_matters_more_than_parity():
    for hosts in ([HOST6] * 4, [subscriber(k) for k in range(4)]):
        nat64 = one_address("1020-1027")
        low = [nat64.opened("udp", 100 + 2 * k, host=host)[1] for k, host in enumerate(hosts)]
        assert sorted(low) == [1020, 1021, 1022, 1023]


def test_rfc6146_3_5_3_identifier_has_neither_side_nor_parity():
    nat64 = one_address("1-65535", limits={"sessions": 64})
    chosen = [nat64.opened("icmp", 2 * k)[1] for k in range(24)]
    assert {port % 2 for port in chosen} == {0, 1}
    assert max(chosen) >= 1024


# ---- source prefixes


GROUPED = (
    {"addresses": "192.0.2.1", "source": "2001:db8::/32"},
    {"addresses": "192.0.2.2", "source": "2001:db8:1::/48"},
    {"addresses": "192.0.2.3", "source": "2001:db8:1::20/128"},
)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
@pytest.mark.parametrize(
    ("host", "address"),
    [("2001:db8:2::1", "192.0.2.1"), ("2001:db8:1::1", "192.0.2.2"), ("2001:db8:1::20", "192.0.2.3")],
)
def test_longest_source_prefix_wins(order, host, address):
    nat64 = pools(*(GROUPED[k] for k in order))
    assert nat64.opened("udp", 6000, host=host)[0] == address


def test_host_outside_every_source_prefix_is_prohibited():
    for protocol in ("tcp", "udp", "icmp"):
        assert refusal(pools(*GROUPED), protocol, 6000, host="2001:db9::1") == (Verdict.NO_POOL4, (1, 1))


def test_pool_without_source_serves_the_rest():
    nat64 = pools(*GROUPED, {"addresses": "192.0.2.0"})
    assert nat64.opened("udp", 6000, host="2001:db9::1")[0] == "192.0.2.0"
    assert nat64.opened("udp", 6000, host="2001:db8:2::1")[0] == "192.0.2.1"


def test_group_that_is_exhausted_borrows_from_no_other():
    nat64 = pools(
        {"addresses": "192.0.2.1", "ports": "2000-2000", "source": "2001:db8:1::/48"}, {"addresses": "192.0.2.2"}
    )
    nat64.opened("udp", 6000)
    assert refusal(nat64, "udp", 6001)[0] == Verdict.POOL4_EXHAUSTED


@pytest.mark.parametrize(
    "prefix", ["2001:db8:f0f0:aaaa:5555:1234:8765:ffff", "fedc:ba98:7654:3210:f012:3456:789a:bcde"]
)
def test_prefix_of_any_length_covers_what_it_should(prefix):
    """Against ipaddress: addresses that differ in one bit, on either side of the prefix's end."""
    groups = records(1, GROUP)
    settings = replace(BASE, groups=groups)
    for length in range(129):
        net = IPv6Network((prefix, length), strict=False)
        groups[0].hi, groups[0].lo = words(net[0])
        groups[0].length = length
        for bit in {0, length - 2, length - 1, length, length + 1, 127} & set(range(128)):
            host = IPv6Address(int(IPv6Address(prefix)) ^ 1 << 127 - bit)
            assert group_of(settings, address6(*words(host), 0)) == (0 if host in net else NONE), (
                f"/{length}, bit {bit}"
            )


# ---- protocols


def test_row_serves_its_protocols_only():
    nat64 = pools({"addresses": "192.0.2.1", "protocols": ["tcp"]}, {"addresses": "192.0.2.2", "protocols": ["udp"]})
    assert nat64.opened("tcp", 6000)[0] == "192.0.2.1"
    assert nat64.opened("udp", 6000)[0] == "192.0.2.2"
    assert refusal(nat64, "icmp", 6000) == (Verdict.NO_POOL4, (1, 1))
    nat64 = pools({"addresses": "192.0.2.1", "protocols": ["icmp"]})
    for protocol in ("tcp", "udp"):
        assert refusal(nat64, protocol, 6000) == (Verdict.NO_POOL4, (1, 1))


def test_every_row_and_protocol_has_a_bitmap_of_its_own():
    assert sorted(slot_of(row, protocol) for row in range(4) for protocol in (1, 6, 17)) == list(range(12))


# ---- several rows of one address


SPLIT = ({"addresses": "192.0.2.1", "ports": "512-1023"}, {"addresses": "192.0.2.1", "ports": "1024-65535"})


def test_rows_of_one_address_are_used_one_after_the_other():
    nat64 = pools({"addresses": ALONE, "ports": "2000-2001"}, {"addresses": ALONE, "ports": "3000-3001"})
    chosen = {nat64.opened("udp", 6000 + k) for k in range(4)}
    assert chosen == {("192.0.2.1", port) for port in (2000, 2001, 3000, 3001)}
    assert refusal(nat64, "udp", 7000)[0] == Verdict.POOL4_EXHAUSTED


def test_rows_of_one_address_pair_as_one():
    rows = [{"addresses": "192.0.2.1-192.0.2.2", "ports": ports} for ports in ("2000-2000", "3000-3000")]
    nat64 = pools(*rows, limits={"pairing": "soft"})
    chosen: list[Address4] = [nat64.opened("tcp", 6000 + k) for k in range(4)]
    assert len({address for address, _ in chosen[:2]}) == 1
    assert len(set(chosen)) == 4


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_rfc6146_3_5_1_1_side_of_1024_is_looked_for_in_every_row_of_the_address(protocol):
    for host in (HOST6, NEIGHBOUR6, "2001:db8::3", "2001:db8::4"):
        nat64 = pools(*SPLIT)
        assert nat64.opened(protocol, 600, host=host)[1] < 1024
        assert nat64.opened(protocol, 6000, host=host)[1] >= 1024


@pytest.mark.parametrize("port", [6000, 6001])
def test_rfc6146_3_5_1_1_parity_is_looked_for_in_every_row_of_the_address(port):
    nat64 = pools(*({"addresses": ALONE, "ports": ports} for ports in ("2000", "2001")))
    nat64.opened("tcp", 6000)  # so that the host has the address
    assert nat64.opened("udp", port)[1] == port - 4000


# ---- several addresses


def test_rfc6888_req_3_ranges_that_do_not_touch_are_one_pool():
    nat64 = pools({"addresses": "192.0.2.1", "ports": "2000"}, {"addresses": "203.0.113.9", "ports": "2000"})
    chosen = {nat64.opened("udp", 6000, host=subscriber(k)) for k in range(2)}
    assert chosen == {("192.0.2.1", 2000), ("203.0.113.9", 2000)}
    assert refusal(nat64, "udp", 6000, host=subscriber(2)) == (Verdict.POOL4_EXHAUSTED, (1, 3))
    for k, mapped in enumerate(nat64.mapped("udp", 6000, host=subscriber(k)) for k in range(2)):
        (packet,) = nat64.from4("udp", mapped).packets
        assert flow(packet).dst == subscriber(k)


def test_new_host_gets_the_emptier_of_the_two_addresses_that_its_own_names():
    """The power of two choices: with one choice the fullest of 16 addresses has 17 of 160 ports, with two 12."""
    nat64 = pools({"addresses": "192.0.2.0/28"}, limits={"sessions": 256})
    nat64.check_invariants = lambda: None  # once, below
    for number in range(160):
        nat64.opened("udp", 6000, host=f"2001:db8::{number + 1:x}")
    invariants.check(nat64.tables, nat64.settings)
    used = 64512 - nat64.tables.ports_free[UDP_SLOT::3].sum(axis=1)
    assert used.max() <= 13


def test_group_borrows_no_row_of_its_neighbours_when_candidates_are_full():
    """The groups of three source prefixes, two rows each, lie side by side."""
    prefixes = ["2001:db8:1::/48", "2001:db8:2::/48", "2001:db8:3::/48"]
    rows = [{"addresses": f"192.0.2.{2 * k}/31", "ports": "2000", "source": p} for k, p in enumerate(prefixes)]
    nat64 = pools(*rows)
    hosts = [f"2001:db8:2::{number}" for number in range(3)]
    assert {nat64.opened("udp", 6000, host=host)[0] for host in hosts[:2]} == {"192.0.2.2", "192.0.2.3"}
    assert refusal(nat64, "udp", 6000, host=hosts[2])[0] == Verdict.POOL4_EXHAUSTED


def test_pool_of_many_addresses_is_one_row_each():
    nat64 = pools({"addresses": "192.0.2.0/26"})
    assert [int(row) for row in nat64.settings.pool.address] == [int(a) for a in IPv4Network("192.0.2.0/26")]
