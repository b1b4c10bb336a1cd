"""Blocks of ports where something is at its end: ports of no block, rows of other protocols, lists, full tables.

As in test_port_blocks.py, tests/port_blocks.py looks through the tables after every packet.
"""

import pytest

from tests.packets import NEIGHBOUR6, OTHER4
from tests.restarts import restart
from tests.sessions import Sessions
from tests.translator.test_port_blocks import EACH, ONE, blocks, events, gateway, open_ports
from tests.translator.test_shares import STRANGER6
from translator.jit.compile import in_plain_python
from translator.packet.addresses import address6
from translator.session import port_blocks
from translator.session.restore import Fate
from translator.tables.layout import NONE
from translator.verdict import Verdict


def forwards(*ports: int) -> list[dict[str, str]]:
    return [{"protocol": "tcp", "ipv4": f"192.0.2.1:{port}", "ipv6": f"[{NEIGHBOUR6}]:{port}"} for port in ports]


def test_two_forwarded_ports_take_one_block():
    nat64 = gateway([{"addresses": "192.0.2.1", "ports": "2000-2019"}], forwards(2005, 2007))
    assert nat64.tables.blocks_free[0] == 1
    assert blocks(open_ports(nat64, 10)) == {2010}


def test_a_forwarded_port_behind_the_last_block_takes_none():
    nat64 = gateway([{"addresses": "192.0.2.1", "ports": "2000-2014"}], forwards(2012))
    assert nat64.tables.blocks_free[0] == 1
    assert blocks(open_ports(nat64, 10)) == {2000}


def test_a_block_of_an_address_has_no_port_of_a_protocol_that_this_does_not_serve():
    rows = [
        {"addresses": f"192.0.2.{k}", "ports": "2000-2019", "protocols": [one]} for k, one in ((1, "tcp"), (2, "udp"))
    ]
    nat64 = gateway(rows)
    assert nat64.opened("tcp", 6000)[0] == "192.0.2.1"
    assert {nat64.opened("udp", 6000 + k)[0] for k in range(10)} == {"192.0.2.2"}
    assert {nat64.opened("tcp", 6001 + k)[0] for k in range(9)} == {"192.0.2.1"}
    assert events(nat64) == (2, 0)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_whichever_block_of_a_subscriber_ends_it_keeps_the_others(which):
    nat64 = gateway(port_quarantine=10, port_block=8)
    ports = [open_ports(nat64, 8, first=first) for first in (6000, 6008, 6016)]
    kept = [k for k in range(3) if k != which]
    for _ in range(2):
        nat64.wait(200)
        for port in (6000 + 8 * k for k in kept):
            nat64.from6("udp", port)
    assert events(nat64) == (3, 1)
    assert {port for _, port in nat64.bib().values()} == {ports[k][0] for k in kept}
    open_ports(nat64, 23, first=7000)  # 14 of the two blocks that it has, 9 of new ones
    assert events(nat64) == (5, 1)


def test_the_blocks_of_two_subscribers_with_one_hash_are_told_apart(monkeypatch):
    """What a flood makes of an index: this one has one hash for all."""
    monkeypatch.setattr(port_blocks, "owner_hash", lambda gateway, hi, lo: 5)
    for name in ("oldest_block", "claim_block", "free_block", "find_block"):
        monkeypatch.setattr(port_blocks, name, in_plain_python(getattr(port_blocks, name)))
    nat64 = gateway()
    hosts = [address6(1 << 32, 7, 0), address6(2 << 32, 7, 0), address6(3 << 32, 7, 0)]
    given = [port_blocks.claim_block(nat64.gateway, 0, host, 0, number) for number, host in enumerate(hosts)]
    for number, host in enumerate(hosts):
        found = [port_blocks.find_block(nat64.gateway, host, 0, 2000 + 10 * k) for k in range(3)]
        assert found == [given[k] if k == number else NONE for k in range(3)]
    port_blocks.free_block(nat64.gateway, 0, given[0])
    assert [port_blocks.oldest_block(nat64.gateway, host) for host in hosts] == [NONE, *given[1:]]


def test_a_packet_frees_no_more_than_a_few_of_those_that_have_waited():
    """The others are the timer's, which comes each second."""
    nat64 = gateway([{"addresses": "192.0.2.1-192.0.2.9", "ports": "2000-2099"}], subscriber=128, port_quarantine=10)
    for k in range(20):
        nat64.opened("udp", 6000, host=f"2001:db8:1::{k + 1:x}")
    nat64.wait(301)
    nat64.expire = lambda at: []  # the timer is late
    nat64.wait(10)
    nat64.opened("udp", 6000, host=STRANGER6)
    assert events(nat64) == (21, 4)


def test_a_session_on_a_port_of_no_whole_block_ends_when_blocks_come():
    pool4 = [{"addresses": "192.0.2.1", "ports": "2000-2014"}]
    nat64 = Sessions(pool4=pool4, forward=[], limits={"sessions": 256, "subscriber": 128})
    for k in range(14):  # of 15 ports
        nat64.opened("udp", 6000 + k, host=f"2001:db8:1::{k % 3 + 1:x}")
    behind = sum(port >= 2010 for _, port in nat64.bib().values())
    fates = restart(nat64, changes={"pool4": pool4, "forward": [], "limits": {"sessions": 256, "port_block": 10}})
    assert fates[Fate.UNMAPPED] >= behind > 0
    assert all(port < 2010 for _, port in nat64.bib().values())


@EACH
def test_rfc6888_req_14_ports_of_an_older_block_that_are_free_again_go_before_another_block(protocol):
    alike = {"udp": 300, "tcp_opening": 300, "icmp": 300}
    nat64 = Sessions(pool4=ONE, forward=[], limits={"sessions": 256, "port_block": 10}, timeouts=alike)
    first = open_ports(nat64, 10, protocol=protocol)
    nat64.wait(200)
    open_ports(nat64, 10, protocol=protocol, first=7000)
    nat64.opened(protocol, 6000)  # so that the block is in use
    nat64.wait(101)
    assert blocks(open_ports(nat64, 9, protocol=protocol, first=8000)) == blocks(first)
    assert events(nat64) == (2, 0)


def test_errors_and_answers_find_mappings_as_ever():
    nat64 = gateway()
    mapped = nat64.opened("udp", 5000)
    assert nat64.from4("udp", mapped, (OTHER4, 9)).verdict == Verdict.TRANSLATED
    assert nat64.opened("udp", 5000, to=(OTHER4, 7)) == mapped  # endpoint-independent


def test_rfc6888_req_4_the_most_blocks_are_those_of_all_addresses_together():
    nat64 = gateway([{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2019"}], blocks=3, pairing="soft")
    open_ports(nat64, 30)
    assert nat64.from6("udp", 7000).verdict == Verdict.SUBSCRIBER_PORTS
    open_ports(nat64, 10, host=STRANGER6)


def test_rfc6888_req_4_the_share_is_one_of_each_address():
    nat64 = gateway([{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2049"}], blocks=64, pairing="soft")
    open_ports(nat64, 80)
    assert nat64.from6("udp", 7000).verdict == Verdict.SUBSCRIBER_PORTS
    open_ports(nat64, 20, host=STRANGER6)
