"""Blocks of ports ([limits] port_block): RFC 6888 REQ-3, REQ-4, REQ-8, REQ-13 to REQ-15.

tests/port_blocks.py, which runs after every packet, says that no block has two owners and that no mapping has a port
outside of the blocks of its subscriber.
"""

from dataclasses import replace
from ipaddress import IPv6Address
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nat64d.config.words import words
from tests.case import BEGIN
from tests.packets import HOST6, NEIGHBOUR6
from tests.restarts import records_of, restart
from tests.sessions import Sessions
from tests.translator.test_shares import STRANGER6
from translator.jit.compile import in_plain_python
from translator.packet.addresses import address4, address6
from translator.packet.fields import UDP
from translator.packet.tuples import tuple_of
from translator.session import block_ports
from translator.session.log import NEXT, Kind
from translator.session.pool4 import AT_SHARE, KINDS
from translator.session.restore import Fate
from translator.verdict import Event, Verdict

COUSIN6 = "2001:db8:1::77"  # of the /64 of HOST6
EACH = pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
ONE = [{"addresses": "192.0.2.1", "ports": "2000-2099"}]  # ten blocks of ten ports


def gateway(pool4=ONE, forward=(), **limits) -> Sessions:
    """A gateway with blocks of ten ports."""
    return Sessions(pool4=pool4, forward=list(forward), limits={"sessions": 256, "port_block": 10, **limits})


def open_ports(nat64: Sessions, count: int, host: str = HOST6, protocol: str = "udp", first: int = 6000) -> list[int]:
    """New mappings of a host; their ports."""
    return [nat64.opened(protocol, first + k, host=host)[1] for k in range(count)]


def blocks(ports: list[int]) -> set[int]:
    """The first ports of their blocks."""
    return {port // 10 * 10 for port in ports}


def events(nat64: Sessions) -> tuple[int, int]:
    """Blocks handed out, and blocks that are free again."""
    return int(nat64.tables.events[Event.BLOCK_ALLOCATED]), int(nat64.tables.events[Event.BLOCK_FREED])


@EACH
def test_rfc6888_req_14_a_subscriber_fills_a_block_before_it_gets_another(protocol):
    nat64 = gateway()
    first, second = (open_ports(nat64, 10, protocol=protocol, first=first) for first in (6000, 7000))
    assert len(blocks(first)) == len(blocks(second)) == 1
    assert blocks(first) != blocks(second)
    assert events(nat64) == (2, 0)


@pytest.mark.parametrize(("pool4", "even"), [("2000-2099", 5), ("2001-2100", 5)])
def test_a_block_has_ports_of_both_parities_wherever_it_begins(pool4, even):
    nat64 = gateway([{"addresses": "192.0.2.1", "ports": pool4}])
    ports = open_ports(nat64, 10)
    assert sum(port % 2 == 0 for port in ports) == even
    assert max(ports) - min(ports) == 9


def test_a_block_is_of_all_protocols():
    nat64 = gateway()
    ports = [open_ports(nat64, 10, protocol=protocol) for protocol in ("udp", "tcp", "icmp")]
    assert blocks(ports[0]) == blocks(ports[1]) == blocks(ports[2])
    assert events(nat64) == (1, 0)


def test_hosts_of_a_subscriber_share_its_blocks_and_others_get_their_own():
    nat64 = gateway()
    own, cousin = open_ports(nat64, 5), open_ports(nat64, 5, host=COUSIN6)
    assert blocks(own) == blocks(cousin)
    assert not blocks(own) & blocks(open_ports(nat64, 5, host=STRANGER6))


@EACH
def test_rfc6888_req_4_a_subscriber_has_no_more_blocks_than_it_may(protocol):
    nat64 = gateway(blocks=3, port_block=12)
    open_ports(nat64, 36, protocol=protocol)
    assert nat64.from6(protocol, 7000, host=COUSIN6).verdict == Verdict.SUBSCRIBER_PORTS
    nat64.opened("tcp" if protocol == "udp" else "udp", 7000)  # of another protocol none is used
    open_ports(nat64, 5, host=STRANGER6, protocol=protocol)


@EACH
def test_rfc6888_req_4_nor_more_than_its_share_of_an_address(protocol):
    nat64 = gateway([{"addresses": "192.0.2.1", "ports": "2000-2049"}], blocks=64)
    open_ports(nat64, 40, protocol=protocol)
    assert nat64.from6(protocol, 7000).verdict == Verdict.SUBSCRIBER_PORTS
    open_ports(nat64, 10, host=STRANGER6, protocol=protocol)


@pytest.mark.parametrize("parity", [0, 1])
def test_parity_is_kept_as_long_as_the_blocks_have_such_a_port(parity):
    nat64 = gateway()
    ports = [nat64.opened("udp", 6000 + parity + 2 * k)[1] for k in range(6)]
    assert [port % 2 for port in ports] == [parity] * 5 + [1 - parity]
    assert events(nat64) == (1, 0)  # one is not worth a block


@pytest.mark.parametrize("ports", [(80, 443, 5000), (5000, 443, 80)])
@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_a_port_below_1024_is_kept_below_where_a_block_has_both(protocol, ports):
    nat64 = gateway([{"addresses": "192.0.2.1", "ports": "1019-1028"}])
    assert [nat64.opened(protocol, port)[1] < 1024 for port in ports] == [port < 1024 for port in ports]


def test_rfc6888_req_3_ports_of_no_whole_block_are_nobodys():
    nat64 = gateway([{"addresses": "192.0.2.1", "ports": "2000-2024"}], subscriber=128)
    ports = [port for k in range(2) for port in open_ports(nat64, 10, host=f"2001:db8:1::{k + 1}")]
    assert sorted(ports) == list(range(2000, 2020))
    assert nat64.from6("udp", 6000, host=STRANGER6).verdict == Verdict.POOL4_EXHAUSTED


def test_a_block_with_a_forwarded_port_is_handed_out_to_nobody():
    forward = [{"protocol": "tcp", "ipv4": "192.0.2.1:2005", "ipv6": f"[{NEIGHBOUR6}]:80"}]
    nat64 = gateway([{"addresses": "192.0.2.1", "ports": "2000-2019"}], forward)
    assert blocks(open_ports(nat64, 10)) == {2010}
    assert nat64.from6("udp", 6000, host=STRANGER6).verdict == Verdict.POOL4_EXHAUSTED


@pytest.mark.parametrize(("protocol", "life"), [("udp", 300), ("tcp", 240), ("icmp", 60)])
def test_rfc6888_req_8_a_block_waits_after_its_last_mapping_and_then_is_anybodys(protocol, life):
    pool4 = [{"addresses": "192.0.2.1", "ports": "2000-2009"}]
    nat64 = gateway(pool4)
    open_ports(nat64, 2, protocol=protocol)
    nat64.wait(life)  # the mappings end
    assert nat64.from6(protocol, 6000, host=STRANGER6).verdict == Verdict.POOL4_EXHAUSTED
    nat64.wait(119.999)
    assert nat64.from6(protocol, 6000, host=STRANGER6).verdict == Verdict.POOL4_EXHAUSTED
    nat64.wait(0.001)
    assert events(nat64) == (1, 1)
    open_ports(nat64, 10, host=STRANGER6, protocol=protocol)


def test_who_comes_back_has_its_block_again():
    nat64 = gateway()
    before = open_ports(nat64, 2)
    nat64.wait(400)
    assert blocks(open_ports(nat64, 10)) == blocks(before)
    assert events(nat64) == (1, 0)
    nat64.wait(299)  # longer than it would have waited
    assert events(nat64) == (1, 0)


def test_blocks_are_free_again_without_any_packet():
    nat64 = gateway(port_quarantine=10)
    for host in (HOST6, STRANGER6):
        open_ports(nat64, 2, host=host)
    nat64.wait(301)  # the mappings end
    nat64.wait(8.999)
    assert events(nat64) == (2, 0)
    nat64.wait(0.001)
    assert events(nat64) == (2, 2)


def test_however_many_have_waited_long_enough_they_are_free_together():
    nat64 = gateway([{"addresses": "192.0.2.1-192.0.2.9", "ports": "2000-2099"}], subscriber=128, port_quarantine=10)
    for k in range(20):
        nat64.opened("udp", 6000, host=f"2001:db8:1::{k + 1:x}")
    nat64.wait(301)
    nat64.wait(10)
    assert events(nat64) == (20, 20)


def test_rfc7857_4_who_has_full_blocks_only_has_each_looked_through_once(monkeypatch):
    nat64, searched = gateway(blocks=2), []
    open_ports(nat64, 20)
    for name in ("allocate_in_blocks", "port_of_blocks"):
        monkeypatch.setattr(block_ports, name, in_plain_python(getattr(block_ports, name)))
    search = block_ports.port_of_kind
    monkeypatch.setattr(block_ports, "port_of_kind", lambda *of: searched.append(of[3]) or search(*of))
    t = tuple_of(6, UDP, address6(*words(IPv6Address(HOST6)), 7000), address4(1, 53))
    paired4 = int(nat64.tables.blocks[0].mapped4)
    assert block_ports.allocate_in_blocks(nat64.gateway, 0, t, t.dst, paired4)[1] == AT_SHARE
    assert len(searched) == 2 * KINDS


@EACH
def test_rfc7857_4_a_paired_host_gets_blocks_of_its_address_only(protocol):
    nat64 = gateway([{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2019"}], subscriber=128)
    address, _ = nat64.opened(protocol, 5999)
    assert {nat64.opened(protocol, 6000 + k)[0] for k in range(19)} == {address}
    assert nat64.from6(protocol, 7000).verdict == Verdict.PAIRED_FULL


@EACH
def test_rfc7857_4_nor_does_it_get_ports_of_blocks_that_a_cousin_has_elsewhere(protocol):
    nat64 = gateway([{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2009"}])
    own = {nat64.opened(protocol, 6000 + k)[0] for k in range(10)}
    assert len(own | {nat64.opened(protocol, 6000, host=COUSIN6)[0]}) == 2
    assert nat64.from6(protocol, 7000).verdict == Verdict.PAIRED_FULL


@EACH
def test_with_soft_pairing_it_gets_another_then(protocol):
    nat64 = gateway([{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2019"}], pairing="soft")
    assert [len({nat64.opened(protocol, first + k)[0] for k in range(20)}) for first in (6000, 7000)] == [1, 1]
    assert len({address for address, _ in nat64.bib().values()}) == 2


def test_the_next_host_of_a_subscriber_gets_the_address_of_its_blocks():
    nat64 = gateway([{"addresses": "192.0.2.0/28", "ports": "2000-2019"}])
    hosts = [f"2001:db8:1::{k + 1:x}" for k in range(20)]
    assert len({nat64.opened("udp", 6000, host=host)[0] for host in hosts}) == 1


@EACH
def test_rfc6888_req_15_which_block_and_port_it_is_depends_on_the_secret(protocol):
    found = set()
    for secret in range(24):
        nat64 = gateway()
        changed = replace(nat64.settings, secret=nat64.settings.secret ^ secret)
        nat64.gateway = replace(nat64.gateway, settings=changed)
        found |= set(open_ports(nat64, 1, protocol=protocol))
    assert len(blocks([*found])) > 5
    assert len({port % 10 for port in found}) > 3
    many = open_ports(
        gateway([{"addresses": "192.0.2.1", "ports": "2000-2999"}], port_block=1000), 8, protocol=protocol
    )
    assert len({after - before for before, after in pairwise(many)}) > 3


def test_a_table_of_blocks_that_is_full_says_so():
    nat64 = gateway([{"addresses": "192.0.2.0/27", "ports": "2000-2099"}], sessions=64, subscriber=128)
    assert len(nat64.tables.blocks) == 16
    for k in range(16):
        nat64.opened("udp", 6000, host=f"2001:db8:1::{k + 1:x}")
    assert nat64.from6("udp", 6000, host=STRANGER6).verdict == Verdict.SESSION_TABLE_FULL
    nat64.wait(301)  # they all wait: the oldest waits no longer
    nat64.opened("udp", 6000, host=STRANGER6)
    assert events(nat64) == (17, 1)


# ---- over a restart


def states(nat64: Sessions) -> dict[tuple[str, int], tuple[int, int]]:
    """(address, first port) -> ports in use, and for how many milliseconds the block waits, of each."""
    now = round((BEGIN + nat64.now) * 1000)
    return {
        (str(int(row.mapped4)), int(row.first)): (int(row.ports), int(row.until and row.until - now))
        for row in nat64.tables.blocks
        if row.live
    }


def test_blocks_are_their_owners_after_a_restart():
    nat64 = gateway()
    open_ports(nat64, 3)
    nat64.wait(250)
    before = blocks(open_ports(nat64, 12, host=STRANGER6))
    nat64.wait(60)  # those of the first have ended: its block waits
    known = states(nat64)
    assert sorted(known.values()) == [(0, 110_000), (2, 0), (10, 0)]
    assert restart(nat64, changes=changes(nat64)) == {Fate.KEPT: 12}
    assert states(nat64) == known
    assert blocks(open_ports(nat64, 1)) not in [{one} for one in before]
    assert len(states(nat64)) == 3  # it has the one that waited
    assert nat64.tables.events[Event.BLOCK_RESTORED] == 3


def test_without_a_quarantine_blocks_in_use_are_handed_out_no_second_time():
    nat64 = gateway(port_quarantine=0)
    open_ports(nat64, 12)
    since = nat64.tables.blocks.since[:2].tolist()
    nat64.wait(5)
    restart(nat64, changes=changes(nat64))
    assert (events(nat64), nat64.tables.events[Event.BLOCK_RESTORED]) == ((0, 0), 2)
    assert sorted(nat64.tables.blocks.since[nat64.tables.blocks.live != 0]) == since


def test_the_log_says_whose_a_block_was_that_nobody_has_with_other_subscribers():
    nat64 = gateway()
    open_ports(nat64, 1, STRANGER6)
    found = changes(nat64) | {"log": {"sessions": "blocks"}}
    found["limits"] |= {"subscriber": 56}
    kept = records_of(nat64)
    kept.blocks[1] = kept.blocks[0]
    kept.blocks["length"][1] = 129  # damaged
    assert restart(nat64, kept, found) == {Fate.KEPT: 1}
    said = [(Kind(row.kind), row.length) for row in nat64.tables.log[: nat64.tables.log_at[NEXT]]]
    assert said == [(Kind.BLOCK_FREED, 64), (Kind.BLOCK_ALLOCATED, 56)]


def test_blocks_whose_records_are_lost_follow_from_the_sessions():
    nat64 = gateway()
    open_ports(nat64, 12)
    known, kept = states(nat64), records_of(nat64)
    kept.blocks["live"] = 0
    restart(nat64, kept, changes(nat64))
    assert states(nat64) == known


def test_a_session_in_the_block_of_another_ends():
    nat64 = gateway()
    nat64.opened("udp", 6000)
    kept = records_of(nat64)
    kept.blocks["host6_hi"] ^= 1 << 20
    assert restart(nat64, kept, changes(nat64)) == {Fate.UNMAPPED: 1}


@pytest.mark.parametrize("change", [{"port_block": 12}, {"port_block": 0}, {"subscriber": 56}, {"blocks": 1}])
def test_another_configuration_ends_what_it_does_not_have(change):
    nat64 = gateway()
    open_ports(nat64, 12)
    open_ports(nat64, 12, host=STRANGER6)
    found = changes(nat64)
    found["limits"] |= change
    fates = restart(nat64, changes=found)  # checks all invariants
    assert fates.get(Fate.KEPT, 0) > 0
    assert nat64.from6("udp", 9000).verdict in (Verdict.TRANSLATED, Verdict.SUBSCRIBER_PORTS)


def test_blocks_come_with_a_reload_and_sessions_that_fit_stay():
    nat64 = Sessions(pool4=ONE, forward=[], limits={"sessions": 256, "subscriber": 128})
    open_ports(nat64, 20)
    open_ports(nat64, 20, host=STRANGER6)
    fates = restart(nat64, changes={"pool4": ONE, "forward": [], "limits": {"sessions": 256, "port_block": 10}})
    assert fates[Fate.KEPT] + fates[Fate.UNMAPPED] == 40
    assert fates[Fate.KEPT] >= 10


DAMAGES = {
    "no flag": ("live", 3),
    "no address": ("mapped4", 1 << 40),
    "no port": ("first", -2000),
    "within a block": ("first", 2003),
    "behind the last block": ("first", 65530),
    "no prefix": ("host6_lo", 7),
    "of the end of time": ("until", 1 << 62),
    "long over": ("until", 1),
    "of a row that is not there": ("row", 77),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_record_that_is_damaged_does_no_harm(name):
    nat64 = gateway()
    open_ports(nat64, 12)
    kept = records_of(nat64)
    field, value = DAMAGES[name]
    kept.blocks[field][0] = value
    assert restart(nat64, kept, changes(nat64)) == {Fate.KEPT: 12}
    assert len(states(nat64)) == 2


def test_one_block_twice_is_one():
    nat64 = gateway()
    open_ports(nat64, 1)
    kept = records_of(nat64)
    kept.blocks[5] = kept.blocks[0]
    restart(nat64, kept, changes(nat64))
    assert len(states(nat64)) == 1


def changes(nat64: Sessions) -> dict:
    """The configuration there is, for restart()."""
    document = nat64.config.model_dump(mode="json", exclude_defaults=True)
    return {key: document.get(key, []) for key in ("pool4", "forward")} | {"limits": dict(document["limits"])}


# ---- by chance

STEPS = st.tuples(
    st.sampled_from(["udp", "tcp", "icmp"]),
    st.sampled_from([HOST6, COUSIN6, NEIGHBOUR6, STRANGER6]),
    st.integers(6000, 6009),
    st.sampled_from([0, 0, 0, 0, 5, 130, 400, "restart"]),
)


@pytest.mark.no_cover
@given(st.lists(STEPS, min_size=10, max_size=60))
@settings(max_examples=5, deadline=None)
def test_whatever_happens_no_block_has_two_owners(steps):
    """The invariants of tests/port_blocks.py hold after each step; who is refused has no free port in its blocks."""
    nat64 = gateway([{"addresses": "192.0.2.1-192.0.2.2", "ports": "1000-1039"}], blocks=2, port_quarantine=60)
    for protocol, host, port, pause in steps:
        if pause == "restart":
            restart(nat64, changes=changes(nat64))
        else:
            nat64.wait(pause)
        outcome = nat64.from6(protocol, port, host=host)
        assert outcome.verdict in (Verdict.TRANSLATED, Verdict.SUBSCRIBER_PORTS, Verdict.PAIRED_FULL), outcome.verdict
