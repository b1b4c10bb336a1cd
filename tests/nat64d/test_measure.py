"""What the metrics show of the data plane: counted where it happens, and read without a walk through the tables."""

import socket
import threading
from ipaddress import IPv4Address

import numpy as np
import pytest
from scapy.layers.inet import UDP

from nat64d.control.measured import AddressUse
from nat64d.control.metrics import GatewayCollector
from nat64d.dataplane.plain import plain_code
from nat64d.dataplane.worker import BATCH, Queue
from nat64d.gateway import measure, pool_use
from nat64d.gateway.pool_use import PoolUse
from nat64d.gateway.state import Live
from tests.case import BEGIN, config_of
from tests.packets import HOST6, NEIGHBOUR6, OTHER4, fragment_of, from4, from6
from tests.sessions import Sessions
from translator.packet.virtio import VNET_HEADER
from translator.tables.layout import FRAGMENTS, NONE, SYNS
from translator.verdict import Direction, Event, Verdict

TWO = [{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2003"}]


def live_of(nat64: Sessions) -> Live:
    """The gateway of a test as the control plane sees it, with one queue."""
    live, queue = Live(nat64.config), Queue(0, -1, coalesces=False)
    queue.worker = nat64.worker
    live.tables, live.queues, live.state = nat64.tables, [queue], "ready"
    return live


def states(nat64: Sessions) -> dict[tuple[str, str], int]:
    """The sessions by protocol and state, without those states that none is in."""
    return {row[:2]: row.sessions for row in measure.sessions_of(nat64.tables) if row.sessions}


# Sessions


def test_a_session_is_counted_in_the_state_it_is_in():
    nat64 = Sessions()
    to = nat64.opened("tcp", 5000)
    assert states(nat64) == {("tcp", "V6_INIT"): 1}
    nat64.from4("tcp", to)
    assert states(nat64) == {("tcp", "ESTABLISHED"): 1}
    nat64.from6("tcp", 5000, flags="FIN")
    nat64.from4("tcp", to, flags="FIN")
    assert states(nat64) == {("tcp", "V4_FIN_V6_FIN_RCV"): 1}
    nat64.wait(241)
    assert states(nat64) == {}


def test_a_session_whose_time_is_over_is_counted_in_trans():
    nat64 = Sessions()
    nat64.from4("tcp", nat64.opened("tcp", 5000))
    nat64.wait(7441)
    assert states(nat64) == {("tcp", "TRANS"): 1}


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_a_session_without_tcp_is_counted_as_answered_once_it_is(protocol):
    nat64 = Sessions()
    to = nat64.opened(protocol, 5000)
    assert states(nat64) == {(protocol, "V6_INIT"): 1}
    nat64.from4(protocol, to)
    assert states(nat64) == {(protocol, "ANSWERED"): 1}


def test_every_protocol_has_its_states_zeros_included():
    rows = measure.sessions_of(Sessions().tables)
    assert [row.sessions for row in rows] == [0] * (7 + 3 * 3)
    assert len({row[:2] for row in rows}) == len(rows)
    assert ("tcp", "ANSWERED") not in {row[:2] for row in rows}


# Queues


def test_a_queue_has_the_packets_and_octets_of_its_worker():
    nat64 = Sessions()
    nat64.opened("udp", 5000)
    nat64.say(from6(hlim=1))
    nat64.say(from4(ttl=1))
    nat64.worker.events[Event.SUPERFRAMES] = 3
    (queue,) = live_of(nat64).measured().queues
    assert queue.packets == (2, 1)
    sizes = {row: int(nat64.worker.octets[row].sum()) for row in Direction}
    assert queue.octets == (sizes[Direction.SIX_TO_FOUR], sizes[Direction.FOUR_TO_SIX])
    assert all(sizes.values())
    assert queue.superframes == 3


def test_octets_are_counted_by_verdict_over_the_queues():
    nat64 = Sessions()
    nat64.say(from6(hlim=1))
    live = live_of(nat64)
    other = Queue(1, -1, coalesces=False)
    other.worker.octets[Direction.SIX_TO_FOUR, Verdict.HOP_LIMIT_EXPIRED] = 1000
    live.queues.append(other)
    counted = {(row["direction"], row["verdict"]): row["octets"] for row in live.counters() if row["octets"]}
    assert counted == {("6to4", "hop_limit_expired"): 1000 + len(bytes(from6(hlim=1)))}


def test_counters_are_there_before_there_are_queues():
    assert {row["octets"] for row in Live(config_of()).counters()} == {0}


def test_batches_are_counted_by_their_size():
    """The loop itself, on a descriptor that gives a packet a read: what waits is a full batch and six more."""
    nat64, (ours, theirs) = Sessions(), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    queue = Queue(0, ours.fileno(), coalesces=False)
    for _ in range(BATCH + 6):
        theirs.send(bytes(VNET_HEADER) + bytes(from6(hlim=1)))
    queue.start(nat64.settings, nat64.tables, plain_code().run)
    try:
        assert wait_until(lambda: int(queue.worker.counters.sum()) == BATCH + 6 and queue.batches[0] > 0)
    finally:
        queue.stop()
        ours.close()
        theirs.close()
    sizes = np.arange(BATCH + 1)
    assert (queue.batches * sizes).sum() == BATCH + 6
    assert queue.batches[BATCH] == 1
    assert queue.batches[6] == 1


def wait_until(true) -> bool:
    """Poll, for a minute at most."""
    clock = threading.Event()
    return any(true() or clock.wait(0.01) for _ in range(6000))


# Tables


def fill(nat64: Sessions, name: str) -> tuple[int, int]:
    rows = {
        row.table: (row.used, row.size) for row in measure.fills_of(nat64.tables, round((BEGIN + nat64.now) * 1000))
    }
    return rows[name]


def test_hosts_and_their_subscribers_are_counted():
    nat64 = Sessions(limits={"sessions": 16}, forward=[])
    for host in (HOST6, NEIGHBOUR6, "2001:db8:2::1"):
        nat64.opened("udp", 5000, host=host)
    assert fill(nat64, "hosts") == (3, 16 + 2 * 64)
    assert fill(nat64, "subscribers") == (2, 16 + 2 * 64)


def test_ports_in_quarantine_are_counted_as_long_as_they_wait():
    nat64 = Sessions(limits={"sessions": 16}, forward=[])
    nat64.opened("icmp", 5000)
    nat64.wait(61)
    assert fill(nat64, "waiting_ports") == (1, 16)
    nat64.wait(121)
    assert fill(nat64, "waiting_ports") == (0, 16)


def test_datagrams_in_fragments_are_counted_until_their_time_is_over():
    nat64 = Sessions()
    nat64.say(fragment_of(from6() / UDP(sport=5000, dport=53) / bytes(32), 0, 16))
    assert fill(nat64, "fragments") == (1, FRAGMENTS)
    nat64.wait(11)
    assert fill(nat64, "fragments") == (0, FRAGMENTS)


def test_syns_that_wait_are_counted():
    nat64 = Sessions()
    to = nat64.opened("tcp", 5000)
    nat64.from4("tcp", to, (OTHER4, 99), "SYN")
    assert fill(nat64, "held_syns")[1] == SYNS


def test_the_lag_is_how_far_the_wheel_is_behind():
    nat64 = Sessions()
    assert nat64.tables.wheel_at[0] == NONE
    assert measure.expiry_lag(nat64.tables, 10_000_000) == 0
    nat64.opened("udp", 5000)
    nat64.wait(1)
    now = round((BEGIN + nat64.now) * 1000)
    assert measure.expiry_lag(nat64.tables, now) == 0
    assert measure.expiry_lag(nat64.tables, now + 12_000) == 12
    assert measure.expiry_lag(nat64.tables, now - 5000) == 0


# Pools


def test_the_fullest_address_is_told_and_how_many_are_full():
    nat64 = Sessions(pool4=TWO, forward=[])
    for port in range(5000, 5003):
        nat64.opened("udp", port)
    (tcp, udp, icmp) = live_of(nat64).pools()
    assert (udp["used"], udp["total"], udp["fullest"], udp["full"]) == (3, 8, 0.75, 0)
    nat64.opened("udp", 5003)
    assert live_of(nat64).pools()[1] | {"used": 4, "fullest": 1.0, "full": 1} == live_of(nat64).pools()[1]
    assert tcp["full"] == icmp["full"] == tcp["fullest"] == 0
    nat64.opened("udp", 5000, host=NEIGHBOUR6)  # of the other address
    assert (live_of(nat64).pools()[1]["used"], live_of(nat64).pools()[1]["full"]) == (5, 1)


def test_every_pool_is_told():
    other = {"addresses": "198.51.100.9", "ports": "2000-2003", "source": f"{NEIGHBOUR6}/128"}
    nat64 = Sessions(pool4=[*TWO, other], forward=[])
    nat64.opened("udp", 5000)
    for port in (5000, 5001):
        nat64.opened("udp", port, host=NEIGHBOUR6)
    used = {(row["addresses"], row["protocol"]): row["used"] for row in live_of(nat64).pools() if row["used"]}
    assert used == {(TWO[0]["addresses"], "udp"): 1, ("198.51.100.9", "udp"): 2}


def test_a_port_in_quarantine_is_not_in_use():
    nat64 = Sessions(pool4=TWO, forward=[])
    nat64.opened("icmp", 5000)
    assert live_of(nat64).pools()[2]["fullest"] == 0.25
    nat64.wait(61)
    assert fill(nat64, "waiting_ports")[0] == 1
    assert live_of(nat64).pools()[2]["fullest"] == 0


def test_each_address_has_its_share():
    nat64 = Sessions(pool4=TWO, forward=[])
    address, _ = nat64.opened("tcp", 5000)
    shares = {row for row in live_of(nat64).measured().addresses if row.share}
    assert shares == {AddressUse(address, "2000-2003", "tcp", "", 0.25)}
    assert len(live_of(nat64).measured().addresses) == 2 * 3


def test_the_addresses_of_a_large_pool_are_not_told_one_by_one(monkeypatch):
    config, made = config_of(pool4=[{"addresses": "10.0.0.0/23"}], forward=[]), []
    monkeypatch.setattr(pool_use, "pool_rows", lambda config: made.append(config) or [])
    use = PoolUse(config)
    assert (use.addresses(None), made) == ([], [])
    assert int(IPv4Address("10.0.1.0")) - int(IPv4Address("10.0.0.0")) == pool_use.ADDRESSES


def test_the_rows_of_a_pool_are_worked_out_once_for_a_configuration(monkeypatch):
    nat64, made = Sessions(pool4=TWO, forward=[]), []
    live, real = live_of(nat64), pool_use.rows_by_pool
    monkeypatch.setattr(pool_use, "rows_by_pool", lambda config: made.append(config) or real(config))
    live.pools(), live.measured()
    assert made == [nat64.config]
    live.config = config_of(pool4=[{"addresses": "192.0.2.1", "ports": "2000-2003"}], forward=[])
    live.pools()
    assert made == [nat64.config, live.config]


# A scrape


def test_a_scrape_reads_the_tables_of_a_daemon():
    nat64 = Sessions()
    nat64.from4("tcp", nat64.opened("tcp", 5000))
    live = live_of(nat64)
    live.restored = {"kept": 7, "damaged": 0}
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in GatewayCollector(live).collect()
        for sample in family.samples
    }
    assert found["nat64d_sessions_by_state", "tcp", "ESTABLISHED"] == found[("nat64d_sessions",)] == 1
    assert found[("nat64d_bib_entries",)] == len(nat64.config.forward) == 3
    assert found["nat64d_events_total", "session_created"] == 1
    assert found["nat64d_table_entries", "hosts"] == 1
    assert found["nat64d_restored_sessions", "kept"] == 7
    assert found["nat64d_queue_packets_total", "0", "6to4"] == found["nat64d_queue_packets_total", "0", "4to6"] == 1
    octets = found["nat64d_octets_total", "6to4", "translated"]
    assert octets == found["nat64d_queue_octets_total", "0", "6to4"] > 0


def test_a_scrape_asks_for_no_lock_and_looks_at_no_session():
    """It goes on while a worker holds the lock, and the records of sessions are not touched."""
    nat64 = Sessions()
    nat64.opened("tcp", 5000)
    live = live_of(nat64)
    nat64.tables.lock[0] = 1
    nat64.tables.sessions.live = nat64.tables.sessions.state = 99
    families = {family.name: family for family in GatewayCollector(live).collect()}
    nat64.tables.lock[0] = 0
    states_of = {s.labels["state"]: s.value for s in families["nat64d_sessions_by_state"].samples if s.value}
    assert states_of == {"V6_INIT": 1}
