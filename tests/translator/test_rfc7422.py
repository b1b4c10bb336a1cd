"""RFC 7422: the block of ports of a subscriber follows from its prefix ([[pool4]] deterministic)."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat64d.config.computed import Block, block_of, owner_of
from nat64d.config.load import loads
from nat64d.config.settings import settings_of
from nat64d.config.words import words
from tests.restarts import restart
from tests.sessions import Sessions
from tests.translator.test_port_blocks import changes, events, open_ports
from translator.packet.addresses import address6
from translator.session.computed_blocks import computed_block
from translator.session.restore import NOTHING, Fate
from translator.verdict import Verdict

# Section 2.3, with /64s of a /60 instead of IPv4 addresses: sixteen subscribers on one address, no dynamic ports.
POOL = {"addresses": "192.0.2.1", "ports": "1024-65535", "source": "2001:db8:0:10::/60", "deterministic": True}
# Four subscribers on two addresses, of each of which two blocks are dynamic.
SMALL = POOL | {"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2039", "source": "2001:db8:0:10::/62"}
HOSTS = [f"2001:db8:0:1{k}::5" for k in range(4)]
EACH = pytest.mark.parametrize("protocol", ["tcp", "udp", "icmp"])


def gateway(pool=SMALL, block: int = 10, **limits) -> Sessions:
    return Sessions(pool4=[pool], forward=[], limits={"sessions": 256, "port_block": block, **limits})


@EACH
def test_rfc7422_2_3_the_example(protocol):
    nat64 = gateway(POOL, 4032)
    for number in range(16):
        first = 1024 + 4032 * number
        address, port = nat64.opened(protocol, 5000, host=f"2001:db8:0:1{number:x}::77")
        assert (address, (port - first) // 4032) == ("192.0.2.1", 0)
    assert events(nat64) == (0, 0)


@EACH
def test_rfc7422_2_subscribers_are_spread_over_the_addresses_in_their_order(protocol):
    nat64 = gateway()
    found = [{nat64.opened(protocol, 5000 + k, host=host) for k in range(10)} for host in HOSTS]
    assert [{address for address, _ in own} for own in found] == [{"192.0.2.1"}] * 2 + [{"192.0.2.2"}] * 2
    assert [min(port for _, port in own) for own in found] == [2000, 2010, 2000, 2010]
    assert [max(port for _, port in own) for own in found] == [2009, 2019, 2009, 2019]


@EACH
def test_rfc7422_2_step_3_the_computed_ports_go_before_dynamic_ones(protocol):
    nat64 = gateway()
    assert all(2000 <= port < 2010 for port in open_ports(nat64, 10, HOSTS[0], protocol))
    assert events(nat64) == (0, 0)
    assert all(2020 <= port < 2040 for port in open_ports(nat64, 1, HOSTS[0], protocol, first=7000))
    assert events(nat64) == (1, 0)
    nat64.wait(301)  # the first ten end, and the last one with them
    open_ports(nat64, 1, HOSTS[0], protocol, first=8000)
    assert all(2000 <= mapped[1] < 2010 for mapped in nat64.bib().values())


@EACH
def test_rfc7422_2_step_4_dynamic_blocks_are_of_the_same_address_and_no_more_than_allowed(protocol):
    nat64 = gateway(blocks=2)
    ports = {nat64.opened(protocol, 5000 + k, host=HOSTS[3]) for k in range(20)}
    assert {address for address, _ in ports} == {"192.0.2.2"}
    assert events(nat64) == (1, 0)
    assert nat64.from6(protocol, 9000, host=HOSTS[3]).verdict == Verdict.SUBSCRIBER_PORTS


@EACH
def test_rfc7422_2_step_4_so_are_those_of_a_host_that_finds_the_computed_block_full(protocol):
    nat64 = gateway()
    for host in HOSTS:
        addresses = {nat64.opened(protocol, 5000 + k, host=host)[0] for k in range(10)}
        assert {nat64.opened(protocol, 5000, host=host.replace("::5", "::9"))[0]} == addresses
    assert events(nat64) == (4, 0)
    open_ports(nat64, 9, HOSTS[0], protocol, first=7000)  # its dynamic block has one port in use
    assert nat64.from6(protocol, 9000, host=HOSTS[0]).verdict == Verdict.PAIRED_FULL  # no third block


@EACH
def test_rfc7422_2_step_4_one_subscriber_gets_four_fifths_of_the_dynamic_blocks_of_an_address(protocol):
    """Eight of ten, and others one each."""
    nat64 = gateway(SMALL | {"addresses": "192.0.2.1", "ports": "2000-2139"}, blocks=64)
    open_ports(nat64, 90, HOSTS[0], protocol)
    assert events(nat64) == (8, 0)
    assert nat64.from6(protocol, 9000, host=HOSTS[0]).verdict == Verdict.SUBSCRIBER_PORTS
    for host in HOSTS[1:3]:
        open_ports(nat64, 11, host, protocol)
    assert events(nat64) == (10, 0)


@EACH
def test_rfc7422_2_with_one_block_nothing_is_dynamic(protocol):
    nat64 = gateway(blocks=1)
    open_ports(nat64, 10, HOSTS[1], protocol)
    assert nat64.from6(protocol, 9000, host=HOSTS[1]).verdict == Verdict.SUBSCRIBER_PORTS
    assert events(nat64) == (0, 0)


@EACH
def test_rfc7422_2_step_3_ports_within_the_range_are_random(protocol):
    """Of one flow at gateways with other secrets; of UDP with its parity."""
    for source in (5000, 5001):
        found = set()
        for secret in range(20):
            nat64 = gateway(POOL, 4032)
            changed = replace(nat64.settings, secret=nat64.settings.secret ^ secret)
            nat64.gateway = replace(nat64.gateway, settings=changed)
            found.add(nat64.opened(protocol, source, host=HOSTS[0])[1])
        assert len(found) > 15
        assert {(port - 1024) // 4032 for port in found} == {0}
        assert {port % 2 for port in found} == ({source % 2} if protocol == "udp" else {0, 1})


@EACH
def test_rfc7422_2_step_3_those_of_the_other_parity_go_before_dynamic_ones(protocol):
    """So do those on the other side of 1024."""
    for first in (2000, 1019):
        nat64 = gateway(SMALL | {"ports": f"{first}-{first + 39}"})
        found = {nat64.opened(protocol, 5000 + 2 * k, host=HOSTS[0])[1] for k in range(10)}
        assert found == {*range(first, first + 10)}
        assert events(nat64) == (0, 0)


@EACH
def test_rfc6888_req_8_b_a_computed_port_is_free_at_once(protocol):
    nat64 = gateway(blocks=1)
    open_ports(nat64, 10, HOSTS[0], protocol)
    nat64.wait(301)
    open_ports(nat64, 10, HOSTS[0], protocol, first=7000)


def test_identifiers_of_icmp_are_of_the_block_too():
    nat64 = gateway()
    assert all(2010 <= port < 2020 for port in open_ports(nat64, 10, HOSTS[1], "icmp"))


def test_sessions_stay_after_a_restart_and_end_where_the_computation_is_another():
    nat64 = gateway()
    for host in HOSTS:
        open_ports(nat64, 12, host)
    bib = nat64.bib()
    assert restart(nat64, changes=changes(nat64)) == {Fate.KEPT: 48}
    assert nat64.bib() == bib
    moved = changes(nat64)
    moved["limits"] |= {"port_block": 8}
    assert restart(nat64, changes=moved)[Fate.UNMAPPED] > 0


def test_rfc7422_2_step_4_after_a_restart_with_fewer_blocks_the_computed_one_is_one_of_them():
    nat64 = gateway()
    open_ports(nat64, 30, HOSTS[0])
    fewer = changes(nat64)
    fewer["limits"] |= {"blocks": 2}
    assert restart(nat64, changes=fewer) == {Fate.KEPT: 20, Fate.UNMAPPED: 10}
    assert len(nat64.tables.blocks[nat64.tables.blocks.live != 0]) == 1


@EACH
def test_rfc7422_2_2_no_secret_is_in_it(protocol):
    """Nor the order in which hosts come."""
    first, found = gateway(), []
    for secret in range(1, 5):
        mapped = {host: first.opened(protocol, 5000, host=host) for host in (*HOSTS[secret:], *HOSTS[:secret])}
        found.append({host: (address, port // 10) for host, (address, port) in mapped.items()})
        restart(first, kept=NOTHING, changes=changes(first), secret=bytes([secret] * 16))
    assert found == [found[0]] * 4


LENGTHS = st.tuples(st.integers(48, 128), st.integers(0, 10), st.integers(1, 5))


@given(LENGTHS, st.integers(0, (1 << 128) - 1), st.integers(8, 40))
@settings(max_examples=30, deadline=None)
def test_rfc7422_2_both_functions_of_the_configuration_are_those_of_the_translator(lengths, bits, size):
    """Function 1 (host -> address and ports) and function 2 (address and port -> subscriber) are inverse."""
    subscriber, width, addresses = lengths
    source = IPv6Network((0x20010DB8 << 96 | bits & (1 << 96) - 1, max(subscriber - width, 40)), strict=False)
    subscribers = 1 << subscriber - source.prefixlen
    each = -(-subscribers // addresses)
    last = 1024 + each * size + 3
    if last > 65535:
        return
    config = loads(
        f"""
        pool6 = "64:ff9b::/96"
        limits = {{ sessions = 16, subscriber = {subscriber}, port_block = {size}, fragments_memory = 0 }}
        [[pool4]]
        addresses = "192.0.2.1-192.0.2.{addresses}"
        ports = "1024-{last}"
        source = "{source}"
        deterministic = true
        """
    )
    number = bits % subscribers
    host = IPv6Address(int(source[0]) + (number << 128 - subscriber) + bits % (1 << 128 - subscriber))
    block = block_of(config, host)
    row, first = computed_block(settings_of(config, bytes(16)), 0, address6(*words(host), 5))
    address = IPv4Address("192.0.2.1") + number // each
    expected = 1024 + number % each * size
    assert block == Block(IPv6Network((host, subscriber), strict=False), address, expected, expected + size - 1)
    assert (int(row), int(first)) == (number // each, expected)
    for protocol in ("tcp", "udp", "icmp"):
        for port in (expected, expected + bits % size, expected + size - 1):
            assert owner_of(config, address, port, protocol) == block
        before = owner_of(config, address, expected - 1, protocol)
        assert before is None or before.subscriber != block.subscriber


@EACH
def test_rfc7422_2_both_functions_are_right_about_ports_in_use(protocol):
    """Of each protocol, of two deterministic pools beside one that is not, and that is for all others."""
    pools = [SMALL, SMALL | {"addresses": "203.0.113.4-203.0.113.5", "source": "2001:db8:0:20::/62"}]
    other = {"addresses": "198.51.100.1", "source": "2001:db8::/32"}
    nat64 = Sessions(pool4=[*pools, other], forward=[], limits={"sessions": 256, "port_block": 10})
    for host in (*HOSTS, *(host.replace(":1", ":2") for host in HOSTS)):
        for k in range(3):
            address, port = nat64.opened(protocol, 5000 + k, host=host)
            block = block_of(nat64.config, IPv6Address(host))
            assert owner_of(nat64.config, IPv4Address(address), port, protocol) == block
            assert (block.address, IPv6Address(host) in block.subscriber) == (IPv4Address(address), True)
            assert block.first <= port <= block.last
    address, port = nat64.opened(protocol, 5000, host="2001:db8:0:30::5")
    assert address == "198.51.100.1"
    assert owner_of(nat64.config, IPv4Address(address), port, protocol) is None
    assert block_of(nat64.config, IPv6Address("2001:db8:0:30::5")) is None


@pytest.mark.parametrize(
    ("address", "port", "protocol"),
    [("192.0.2.2", 2020, "udp"), ("192.0.2.2", 1999, "udp"), ("192.0.2.3", 2000, "udp"), ("192.0.2.2", 2000, "gre")],
)
def test_rfc7422_2_who_has_a_port_that_is_not_computed_is_not_said(address, port, protocol):
    config = gateway().config
    assert owner_of(config, IPv4Address(address), port, protocol) is None


def test_rfc7422_2_of_a_protocol_that_the_pool_is_not_for_nobody_has_it():
    config = gateway(SMALL | {"protocols": ["tcp", "icmp"]}).config
    owners = {
        protocol: owner_of(config, IPv4Address("192.0.2.1"), 2005, protocol) for protocol in ("tcp", "udp", "icmp")
    }
    assert {protocol for protocol, owner in owners.items() if owner} == {"tcp", "icmp"}


def test_rfc7422_2_a_host_outside_has_no_computed_block():
    assert block_of(gateway().config, IPv6Address("2001:db8:5::1")) is None
    assert gateway().from6("udp", 5000, host="2001:db8:5::1").verdict == Verdict.NO_POOL4
