"""RFC 6888 REQ-8: a port whose mapping ended is nobody's for a while, so that what still comes reaches no stranger."""

from typing import Any

import pytest

from nat64d.gateway.state import Live
from tests.packets import HOST4, NEIGHBOUR6
from tests.sessions import Address4, Sessions
from translator.session.pool4 import AT_ONCE, COUNT_OF, NEXT, OLDEST, end_quarantines
from translator.verdict import Verdict

ALONE = "192.0.2.1"
LIFE = {"udp": 300, "icmp": 60, "tcp": 240}
WAIT = 120


def one_address(ports: str, **changes: Any) -> Sessions:
    """A gateway with one pool address and no [[forward]]."""
    return Sessions(pool4=[{"addresses": ALONE, "ports": ports}], forward=[], **changes)


def asked(nat64: Sessions, protocol: str, port: int, host: str = NEIGHBOUR6) -> Address4:
    """The mapped4 that another host gets."""
    return nat64.opened(protocol, port, host=host)


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_rfc6888_req_8_released_port_is_not_given_to_another_host_for_120_seconds(protocol):
    nat64 = one_address("2000-2001")
    first = nat64.opened(protocol, 6000)
    nat64.wait(LIFE[protocol] + 1)
    assert nat64.bib() == {}
    second = asked(nat64, protocol, 7000)
    assert second != first
    for pause in (50, 50, WAIT - 101.001):
        nat64.wait(pause)
        assert asked(nat64, protocol, 7000) == second  # keeps its own
    nat64.wait(0.001)
    assert asked(nat64, protocol, 7001) == first


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_rfc6888_req_8_nor_to_the_host_that_had_it(protocol):
    nat64 = one_address("2000-2001")
    first = nat64.opened(protocol, 6000)
    nat64.wait(LIFE[protocol] + 1)
    assert nat64.opened(protocol, 6000) != first


@pytest.mark.parametrize("limits", [{}, {"port_quarantine": 1000}], ids=["default", "configured"])
@pytest.mark.parametrize("protocol", ["udp", "icmp"])
@pytest.mark.parametrize(("left", "waiting"), [(0.001, 1), (0, 0)])
def test_rfc6888_req_8_the_millisecond_decides(left, waiting, protocol, limits):
    nat64 = one_address("2000-2001", limits=limits)
    first = nat64.opened(protocol, 6000)
    nat64.wait(LIFE[protocol] + limits.get("port_quarantine", WAIT) - left)
    second = asked(nat64, protocol, 7000)
    assert nat64.tables.quarantine_of[1 if protocol == "udp" else 2, COUNT_OF] == waiting
    assert not waiting or second != first


def test_rfc6888_req_8_counts_from_the_end_of_the_last_session_though_it_was_found_late():
    nat64 = one_address("2000-2001")
    first = nat64.opened("udp", 6000)
    nat64.wait(LIFE["udp"] + WAIT)  # ended now, over since 120 seconds
    assert {asked(nat64, "udp", 7000), asked(nat64, "udp", 7001)} == {first, (ALONE, 4001 - first[1])}
    assert nat64.tables.quarantine_at.tolist() == [1, 1]


def test_rfc6888_req_8_tcp_is_exempt_as_its_connections_are_tracked():
    nat64 = one_address("2000-2001")
    first = nat64.opened("tcp", 6000)
    nat64.wait(LIFE["tcp"] + 1)
    assert {asked(nat64, "tcp", 7000), asked(nat64, "tcp", 7001)} == {first, (ALONE, 4001 - first[1])}
    assert nat64.tables.quarantine_at.tolist() == [0, 0]


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_rfc6888_req_8_quarantine_is_configurable_and_0_is_none(protocol):
    nat64 = one_address("2000-2000", limits={"port_quarantine": 0})
    first = nat64.opened(protocol, 6000)
    nat64.wait(LIFE[protocol] + 1)
    assert asked(nat64, protocol, 7000) == first
    assert nat64.tables.quarantine_at.tolist() == [0, 0]
    nat64 = one_address("2000-2001", limits={"port_quarantine": 1000})
    first = nat64.opened(protocol, 6000)
    nat64.wait(LIFE[protocol] + 940)
    assert asked(nat64, protocol, 7000) != first
    nat64.wait(60)
    assert asked(nat64, protocol, 7001) == first
    assert nat64.tables.quarantine_at.tolist() == [1, 1]  # over, not cut short for want of another port


@pytest.mark.parametrize(("protocol", "slot"), [("udp", 1), ("icmp", 2)])
def test_when_nothing_else_is_free_the_port_that_has_waited_longest_is_given(protocol, slot):
    nat64 = one_address("2000-2003")
    waited = []
    for k in range(4):
        waited.append(nat64.opened(protocol, 6000 + k))
        nat64.wait(1)
    nat64.wait(LIFE[protocol])
    assert nat64.bib() == {}
    assert [asked(nat64, protocol, 7000 + k) for k in range(4)] == waited
    assert nat64.from6(protocol, 7004).verdict == Verdict.POOL4_EXHAUSTED
    assert nat64.tables.quarantine_of.tolist()[slot] == [-1, -1, 0]


def test_a_free_port_of_another_address_comes_before_one_that_waits():
    """With soft pairing."""
    pool = {"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2000"}
    nat64 = Sessions(pool4=[pool], forward=[], limits={"pairing": "soft"})
    paired = nat64.opened("tcp", 6000)
    assert nat64.opened("udp", 6000) == paired
    nat64.wait(200)
    nat64.from6("tcp", 6000)
    nat64.wait(110)
    other = nat64.opened("udp", 6001)
    assert other[0] != paired[0]
    assert nat64.opened("udp", 6002) == paired  # nothing else is free
    assert nat64.from6("udp", 6003).verdict == Verdict.POOL4_EXHAUSTED


def test_one_given_early_leaves_a_gap_and_the_others_their_turn():
    nat64 = Sessions(
        pool4=[
            {"addresses": "192.0.2.1", "ports": "2000-2001"},
            {"addresses": "192.0.2.2", "ports": "2000-2000", "source": "2001:db8:2::/48"},
        ],
        forward=[],
    )
    for port in (6000, 6001):
        nat64.opened("udp", port)
    nat64.opened("udp", 6000, host="2001:db8:2::1")
    nat64.wait(LIFE["udp"] + 1)
    at = nat64.tables.quarantine_at
    assert (at[OLDEST], at[NEXT]) == (0, 3)
    asked(nat64, "udp", 6000, host="2001:db8:2::2")
    assert (at[OLDEST], at[NEXT]) == (0, 3)
    asked(nat64, "udp", 7000)
    nat64.wait(WAIT)
    assert (at[OLDEST], at[NEXT]) == (3, 3)
    asked(nat64, "udp", 7001)


@pytest.mark.parametrize("most", [16, 18])
def test_memory_is_bounded_and_the_oldest_waits_no_longer(most):
    """There are as many records as BIB entries."""
    nat64 = one_address("2000-2019", limits={"sessions": most})
    for turn in range(2):
        ports = [nat64.opened("icmp", 100 * turn, host=f"2001:db8:{k:x}::1")[1] for k in range(12)]
        nat64.wait(LIFE["icmp"] + 1)
        waiting = nat64.tables.quarantine_at[NEXT] - nat64.tables.quarantine_at[OLDEST]
        assert waiting == (12, most)[turn]
    assert len(set(ports)) == 12


def test_what_waits_needs_no_timer():
    """Long over, the ports are freed a few at a time, whenever one is asked for."""
    nat64 = one_address("2000-2999")
    for k in range(12):
        nat64.opened("icmp", k)
    nat64.wait(LIFE["icmp"] + 1)
    nat64.expire = lambda at: []
    nat64.wait(WAIT)
    left = []
    for k in range(4):
        nat64.opened("icmp", 100 + k)
        left.append(int(nat64.tables.quarantine_of[2, COUNT_OF]))
    assert left == [12 - AT_ONCE, 12 - 2 * AT_ONCE, 0, 0]


def test_only_so_many_are_freed_at_once():
    nat64 = one_address("2000-2999")
    for k in range(12):
        nat64.opened("icmp", k)
    nat64.wait(LIFE["icmp"] + 1)
    end_quarantines(nat64.tables, 1 << 60, 5)
    nat64.check_invariants()
    assert nat64.tables.quarantine_of[2, COUNT_OF] == 7


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_static_binding_never_waits(protocol):
    nat64 = Sessions()
    nat64.opened(protocol, 5000, to=(HOST4, 80))
    nat64.wait(1000)
    assert nat64.tables.quarantine_at.tolist() == [0, 0]


def test_pools_count_what_is_in_use_not_what_waits():
    nat64 = one_address("2000-2019")
    live = Live(nat64.config)
    live.tables, live.state = nat64.tables, "ready"
    nat64.opened("udp", 6000)
    nat64.wait(200)
    nat64.opened("udp", 6001)
    nat64.wait(101)
    assert [(pool["protocol"], pool["used"]) for pool in live.pools()] == [("tcp", 0), ("udp", 1), ("icmp", 0)]
