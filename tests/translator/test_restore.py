"""Records of tables that were, taken over into others: what lives on, and what does not."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np
import pytest

from nat64d.config.words import words
from tests.case import BEGIN
from tests.engines import Engines
from tests.packets import HOST4, HOST6, HOST6_PORT, NEIGHBOUR6, OTHER4, in6
from tests.reference import packets as make
from tests.restarts import FORWARDED, ONE_POOL, OTHER_HOST6, SECRET, TINY, busy, first, records_of, restart, waiting
from tests.sessions import Sessions
from translator.session.fates import Fate
from translator.session.restore import NOTHING, Kept, restore, warm_up
from translator.session.tcp_state import State
from translator.tables.gateway import Gateway, new_worker
from translator.verdict import Verdict


def test_everything_is_there_again():
    nat64 = busy()
    sessions, bib, ports = nat64.sessions(), nat64.bib(), waiting(nat64)
    assert (len(sessions), len(ports)) == (7, 2), "the scene is not what it should be"
    assert restart(nat64) == {Fate.KEPT: 7}
    assert sorted(nat64.sessions()) == sorted(sessions)
    assert nat64.bib() == bib
    assert waiting(nat64) == ports
    assert nat64.events() == {"BIB_CREATED": 2, "BIB_RESTORED": 3, "SESSION_RESTORED": 7}


def test_what_compiles_it_takes_nothing_over_and_changes_nothing():
    nat64 = busy()
    sessions, bib, ports, events = nat64.sessions(), nat64.bib(), waiting(nat64), nat64.events()
    warm_up(nat64.gateway)
    nat64.check_invariants()
    assert (nat64.sessions(), nat64.bib(), waiting(nat64), nat64.events()) == (sessions, bib, ports, events)


def test_it_goes_on_as_if_nothing_had_been():
    nat64 = busy()
    to = nat64.mapped("tcp", 90)
    restart(nat64)
    assert nat64.from4("tcp", to, flags="ACK").verdict == Verdict.TRANSLATED
    assert nat64.from6("tcp", 90, flags="ACK").verdict == Verdict.TRANSLATED
    assert nat64.from4("tcp", FORWARDED[0], flags="ACK").verdict == Verdict.TRANSLATED
    assert nat64.opened("tcp", 90, to=(OTHER4, 80)) == to, "another mapping for the same host6"
    nat64.wait(20000)
    assert not nat64.sessions()
    assert nat64.bib().keys() == {("tcp", HOST6, 80), ("udp", NEIGHBOUR6, 81)}


def test_a_mapping_that_was_answered_is_not_displaced():
    nat64 = busy()
    restart(nat64)
    answered = {int(row.mapped4_port): bool(row.answered) for row in nat64.tables.bibs if row.live and not row.static}
    expected = {
        nat64.mapped("udp", 5000, NEIGHBOUR6)[1]: True,
        nat64.mapped("tcp", 90)[1]: True,
        nat64.mapped("udp", 5000, OTHER_HOST6)[1]: False,
    }
    assert answered == expected


@pytest.mark.parametrize("done", range(8))
def test_broken_off_anywhere_it_can_be_done_again(done):
    nat64 = busy()
    nat64.tables.sessions.live[0] = 0  # the others move
    sessions = sorted(nat64.sessions())
    used = np.flatnonzero(nat64.tables.sessions.live)
    engines, now = Engines(nat64.config, SECRET), round((BEGIN + nat64.now) * 1000)
    gateway = Gateway(engines.settings, replace(engines.tables(), sessions=nat64.tables.sessions), new_worker(0))
    first = nat64.tables.sessions[: used[min(done, len(used) - 1)] + 1]
    restore(gateway, now, Kept(first, NOTHING.quarantine, 2, NOTHING.blocks))
    assert restart(nat64) == {Fate.KEPT: len(sessions)}
    assert sorted(nat64.sessions()) == sessions


def test_a_session_whose_time_is_over_ends():
    nat64 = busy()
    nat64.now += 7300  # all but the established one; that is over too, but not TCP_TRANS
    assert restart(nat64) == {Fate.EXPIRED: 6, Fate.KEPT: 1}
    (probe,) = nat64.wait(240)
    assert probe
    assert [session.state for session in nat64.sessions()] == ["TRANS"]


def test_nothing_lives_longer_than_it_can():
    nat64 = busy()
    nat64.tables.sessions.expires[:] = nat64.tables.quarantine.until[:] = 1 << 62
    assert restart(nat64) == {Fate.KEPT: 7}
    assert {(session.protocol, session.left) for session in nat64.sessions()} == {("udp", 300.0), ("tcp", 7440.0)}
    now = round((BEGIN + nat64.now) * 1000)
    assert [until - now for _, _, until in waiting(nat64)] == [120_000, 120_000]


DAMAGES: dict[str, tuple[str, Any]] = {
    "live is a flag": ("live", 3),
    "inbound is a flag": ("inbound", -1),
    "protocol 0": ("protocol", 0),
    "a protocol beyond all": ("protocol", 256),
    "no IPv4 address": ("host4", 1 << 32),
    "a negative IPv4 address": ("mapped4", -1),
    "a port that is none": ("host4_port", 65536),
    "a negative port": ("host6_port", -5000),
    "another protocol, with ports": ("protocol", 50),
    "ICMP with the port of a peer": ("protocol", 1),
    "TCP without a state": ("protocol", 6),
    "UDP in a state of TCP": ("state", State.TRANS),
    "UDP in no state": ("state", -1),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_record_that_says_what_no_session_says_is_dropped(name):
    nat64 = busy()
    nat64.tables.sessions.state[nat64.tables.sessions.protocol == 17] = 0
    field, value = DAMAGES[name]
    first(nat64)[field] = value
    assert restart(nat64) == {Fate.DAMAGED: 1, Fate.KEPT: 6}


@pytest.mark.parametrize("field", ["mapped4_port", "host6_port"])
def test_of_two_that_contradict_each_other_the_first_holds(field):
    nat64 = busy()
    of_neighbour = [r for r in nat64.tables.sessions if r.live and r.protocol == 17 and r.host6_port == 5000]
    of_neighbour[1][field] ^= 2  # another mapping of the same host6, another host6 of the same mapping
    assert restart(nat64) == {Fate.DAMAGED: 1, Fate.KEPT: 6}
    assert len(nat64.sessions(lambda session: session.host4 == (OTHER4, 53))) == 0


def test_a_session_that_is_there_twice_is_kept_once():
    nat64 = busy()
    row, free = first(nat64), int(np.flatnonzero(nat64.tables.sessions.live)[-1]) + 1
    nat64.tables.sessions[free] = row
    assert restart(nat64) == {Fate.DAMAGED: 1, Fate.KEPT: 7}


def test_sessions_that_collide_are_two():
    nat64 = Sessions(**TINY)
    for port in (22456, 46129):  # as in test_hashing.py
        nat64.opened("udp", HOST6_PORT, (HOST4, port))
    assert restart(nat64, secret=bytes(16)) == {Fate.KEPT: 2}


def test_a_session_of_a_forward_is_not_one_of_a_mapping_of_its_host():
    nat64 = busy()
    nat64.tables.sessions.bib[nat64.tables.sessions.host4 == int(IPv4Address(OTHER4))] = 0
    assert restart(nat64) == {Fate.UNMAPPED: 2, Fate.KEPT: 5}


CHANGES: dict[str, tuple[dict[str, Any], dict[Fate, int]]] = {
    "a pool is gone": ({"pool4": TINY["pool4"][:2]}, {Fate.UNMAPPED: 1, Fate.KEPT: 6}),
    "a pool of other hosts": (
        {"pool4": [{**TINY["pool4"][2], "source": "2001:db8:3::/48"}, *TINY["pool4"][:2]]},
        {Fate.UNMAPPED: 1, Fate.KEPT: 6},
    ),
    "all hosts are without pool": (
        {"pool4": [{**pool, "source": "2001:db8:3::/48"} for pool in TINY["pool4"]]},
        {Fate.UNMAPPED: 5, Fate.KEPT: 2},
    ),
    "other ports": ({"pool4": [{**ONE_POOL[0], "ports": "3000-3003"}]}, {Fate.UNMAPPED: 5, Fate.KEPT: 2}),
    "no UDP any more": (
        {"pool4": [{**pool, "protocols": ["tcp"]} for pool in TINY["pool4"]]},
        {Fate.UNMAPPED: 4, Fate.KEPT: 3},
    ),
    "no [[forward]] any more": ({"forward": []}, {Fate.UNMAPPED: 2, Fate.KEPT: 5}),
    "a [[forward]] to another port": (
        {"forward": [{**TINY["forward"][0], "ipv6": f"[{HOST6}]:81"}, TINY["forward"][1]]},
        {Fate.UNMAPPED: 1, Fate.KEPT: 6},
    ),
    "a [[forward]] from another port": (
        {"forward": [{**TINY["forward"][0], "ipv4": "192.0.2.1:2001"}, TINY["forward"][1]]},
        {Fate.UNMAPPED: 1, Fate.KEPT: 6},
    ),
    "without sessions": ({"pool4": [], "forward": []}, {Fate.UNMAPPED: 7}),
    "a host has an [[eam]]": (
        {"eam": [{"ipv4": "198.51.100.9", "ipv6": NEIGHBOUR6}], "forward": TINY["forward"][:1]},
        {Fate.UNMAPPED: 4, Fate.KEPT: 3},
    ),
    "an [[eam]] of others": ({"eam": [{"ipv4": "198.51.100.9", "ipv6": "2001:db8:9::1"}]}, {Fate.KEPT: 7}),
    "a peer is denied": (
        {"translation": {"denylist4": [f"{OTHER4}/32"]}},
        {Fate.UNMAPPED: 2, Fate.KEPT: 5},
    ),
    "a host may have fewer sessions": ({"limits": {"per_host_sessions": 1}}, {Fate.LIMITED: 1, Fate.KEPT: 6}),
    "a host may have as many ports": ({"limits": {"per_host_ports": 1}}, {Fate.KEPT: 7}),
    "a smaller table": ({"limits": {"sessions": 16}}, {Fate.KEPT: 7}),
    "a larger table": ({"limits": {"sessions": 100}}, {Fate.KEPT: 7}),
    "another subscriber": ({"limits": {"subscriber": 128}}, {Fate.KEPT: 7}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_under_another_configuration_what_is_still_valid_lives_on(name):
    nat64 = busy()
    before, (changes, expected) = nat64.sessions(), CHANGES[name]
    changes = {key: TINY[key] | change if key == "limits" else change for key, change in changes.items()}
    assert restart(nat64, records_of(nat64), changes) == expected
    assert set(nat64.sessions()) <= set(before)


def test_what_a_forward_takes_from_others_ends_and_what_it_takes_from_its_own_host_is_its_own():
    for host, fates in ((NEIGHBOUR6, {Fate.KEPT: 7}), ("2001:db8:7::7", {Fate.UNMAPPED: 3, Fate.KEPT: 4})):
        nat64 = busy()
        address, port = nat64.mapped("udp", 5000, NEIGHBOUR6)
        forward = {"protocol": "udp", "ipv4": f"{address}:{port}", "ipv6": f"[{host}]:5000"}
        changes = {"forward": [*TINY["forward"], forward]}
        assert restart(nat64, records_of(nat64), changes) == fates
        assert sum(nat64.tables.bibs.inbound) == (5 if Fate.UNMAPPED not in fates else 2)


def test_a_host_that_may_have_fewer_ports_keeps_the_first():
    nat64 = Sessions(**TINY)
    for port in (5000, 5001):
        nat64.opened("tcp", port)
    assert restart(nat64, changes={"limits": TINY["limits"] | {"per_host_ports": 1}}) == {Fate.KEPT: 1, Fate.LIMITED: 1}


def test_a_table_that_is_too_small_keeps_the_first_and_a_quarter_from_outside():
    nat64 = Sessions(**TINY)
    to = nat64.opened("udp", 5000)
    for port in range(9):
        nat64.from4("udp", to, (OTHER4, 1 + port))
        nat64.opened("udp", 5000, (HOST4, 1 + port))
    smaller = {"limits": TINY["limits"] | {"sessions": 16}}
    assert restart(nat64, records_of(nat64), smaller) == {Fate.KEPT: 14, Fate.LIMITED: 5}
    nat64 = Sessions(**TINY)
    for port in range(20):
        nat64.opened("udp", 5000, (HOST4, 1 + port))
    assert restart(nat64, records_of(nat64), smaller) == {Fate.KEPT: 16, Fate.LIMITED: 4}


def with_two_addresses() -> Sessions:
    """A host with strict pairing has no second address; here it has, for its own was full."""
    nat64 = Sessions(**TINY | {"limits": TINY["limits"] | {"pairing": "soft"}})
    for port in range(7):
        nat64.opened("udp", 6000 + port)
    assert len({row.mapped4 for row in nat64.tables.sessions if row.live}) == 2, "the scene is not what it should be"
    return nat64


def test_with_strict_pairing_a_host_keeps_one_address():
    nat64 = with_two_addresses()
    assert restart(nat64, changes={"limits": TINY["limits"] | {"pairing": "soft"}}) == {Fate.KEPT: 7}
    assert restart(nat64) == {Fate.UNMAPPED: 1, Fate.KEPT: 6}


def test_with_strict_pairing_a_host_keeps_an_address_for_what_its_own_does_not_serve():
    pools = [
        {"addresses": "192.0.2.1", "ports": "2000-2003", "protocols": ["udp"]},
        {"addresses": "192.0.2.2", "ports": "2000-2003", "protocols": ["tcp"]},
    ]
    changes = {"pool4": pools, "forward": []}
    nat64 = Sessions(**TINY | changes)
    nat64.opened("udp", 5000)
    nat64.opened("tcp", 5000)
    assert restart(nat64, changes=changes) == {Fate.KEPT: 2}


def test_other_protocols_are_taken_over_where_they_are_allowed():
    other = {"pool4": [{"addresses": "192.0.2.1", "protocols": ["tcp", "other"]}], "forward": []}
    for changes, protocol, fates in (
        (other, 47, {Fate.KEPT: 1}),
        (other, 51, {Fate.UNMAPPED: 1}),  # AUTHENTICATION is over addresses, too
        ({"pool4": ONE_POOL, "forward": []}, 47, {Fate.UNMAPPED: 1}),
    ):
        nat64 = Sessions(**TINY | other)
        gre = make.ipv6(IPv6Address(HOST6), IPv6Address(in6(HOST4)), 47, bytes(20))
        assert nat64.send(gre, nat64.now).verdict == Verdict.TRANSLATED
        nat64.tables.sessions.protocol[0] = protocol
        assert restart(nat64, records_of(nat64), changes) == fates


def test_hosts_that_a_packet_cannot_come_from_have_no_session():
    for host in ("ff02::1", in6(HOST4)):
        nat64 = busy()
        row = first(nat64, "tcp")
        row.host6_hi, row.host6_lo = words(IPv6Address(host))
        assert restart(nat64) == {Fate.UNMAPPED: 1, Fate.KEPT: 6}
