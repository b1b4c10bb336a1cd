"""[log] accounting: packets and octets of each session and direction, as they came, of what was translated."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from scapy.layers.inet import TCP, UDP

from nat64d.config.settings import tables_of
from nat64d.gateway.takeover import statics_of
from tests.case import BEGIN
from tests.datagrams import every
from tests.packets import FROM_HOST6, NEIGHBOUR6, TO_MAPPED, answer4, from4, from6, payload
from tests.sessions import Sessions
from tests.translator.front6 import CLIENT6, Front, from_endpoint, syn6
from tests.translator.test_rfc6146_3_8_hairpin import FORWARD, answers, calls
from translator.session.fates import Fate
from translator.session.restore import Kept, restore
from translator.tables.gateway import NOTED, Gateway, new_worker
from translator.tables.layout import NONE
from translator.tables.tables import has_accounts
from translator.verdict import Verdict

ON = {"accounting": True}


def accounts(nat64: Sessions) -> list[list[int]]:
    """Of each session that lives: packets and octets from its host6, then to it."""
    rows: list[list[int]] = nat64.tables.accounts[nat64.tables.sessions["live"] != 0].tolist()
    return rows


def test_nothing_is_counted_unless_it_is_asked_for():
    nat64 = Sessions()
    nat64.from4("udp", nat64.opened("udp", 6000))
    assert not has_accounts(nat64.tables)
    assert nat64.tables.accounts.tolist() == [[0, 0, 0, 0]]
    assert nat64.worker.state[NOTED : NOTED + 2].tolist() == [0, 0]


@pytest.mark.parametrize(("protocol", "octets"), [("udp", 12), ("tcp", 20), ("icmp", 12)])
def test_both_directions_are_counted_as_packets_come(protocol, octets):
    nat64 = Sessions(log=ON)
    mapped = nat64.opened(protocol, 6000)
    assert accounts(nat64) == [[1, 40 + octets, 0, 0]]
    nat64.from4(protocol, mapped)
    nat64.from4(protocol, mapped, flags="ACK")
    assert accounts(nat64) == [[1, 40 + octets, 2, 2 * (20 + octets)]]


def test_sums_of_a_history():
    """Of random packets of some flows each is in the account of its own."""
    nat64, rng = Sessions(log=ON), Random("accounts")
    flows = {port: nat64.opened("udp", port) for port in range(6000, 6008)}
    expected = {port: [1, 52, 0, 0] for port in flows}
    for _ in range(150):
        port, size = rng.choice(list(flows)), rng.randrange(1200)
        if rng.randrange(2):
            sent, side = from6() / UDP(sport=port, dport=53) / payload(size), 0
        else:
            host, to = flows[port]
            sent, side = from4(dst=host) / UDP(sport=53, dport=to) / payload(size), 2
        assert nat64.say(sent).verdict == Verdict.TRANSLATED
        expected[port][side] += 1
        expected[port][side + 1] += (48 if side == 0 else 28) + size
    ports = nat64.tables.sessions["host6_port"][nat64.tables.sessions["live"] != 0].tolist()
    assert dict(zip(ports, accounts(nat64), strict=True)) == expected
    counted = nat64.worker.counters[:, Verdict.TRANSLATED], nat64.worker.octets[:, Verdict.TRANSLATED]
    sums = np.array(accounts(nat64)).sum(axis=0).reshape(2, 2)
    assert (sums[:, 0].tolist(), sums[:, 1].tolist()) == tuple(each.tolist() for each in counted)


def test_what_is_refused_and_errors_are_not_counted():
    nat64 = Sessions(log=ON, translation={"mtu4": 1280})
    nat64.opened("udp", 6000)
    before = accounts(nat64)
    big = from6() / UDP(sport=6000, dport=53) / payload(1400)
    assert nat64.say(big).verdict == Verdict.TOO_BIG
    (seen,) = nat64.from6("udp", 6000).packets
    assert nat64.say(answer4(seen, 3, 1)).verdict == Verdict.TRANSLATED
    assert accounts(nat64) == [[before[0][0] + 1, 2 * before[0][1], 0, 0]]


@pytest.mark.parametrize("first", [0, 1], ids=["in_order", "first_one_last"])
@pytest.mark.parametrize("size", [208, 608])
def test_fragments_are_counted_where_the_first_one_is(first, size):
    nat64 = Sessions(log=ON)
    pieces = every(from6() / UDP(**FROM_HOST6) / payload(1200), size)
    for piece in pieces[first:] + pieces[:first]:
        nat64.say(piece)
    assert accounts(nat64) == [[len(pieces), sum(map(len, pieces)), 0, 0]]


def test_fragments_of_a_session_that_is_over_are_nobodys():
    nat64 = Sessions(log=ON)
    first, *more = every(from6() / UDP(**FROM_HOST6) / payload(1200), 608)
    nat64.say(first)
    nat64.tables.sessions["host6_lo"][nat64.tables.sessions["live"] != 0] += 1
    before = nat64.tables.accounts.tolist()
    assert [nat64.send(piece, nat64.now).verdict for piece in more] == [Verdict.TRANSLATED] * len(more)
    assert nat64.tables.accounts.tolist() == before


def test_a_datagram_that_is_put_together_is_one_packet():
    nat64 = Sessions(log=ON)
    host, port = nat64.opened("udp", 6000)
    for piece in every(from4(dst=host) / UDP(sport=53, dport=port, chksum=0) / payload(1200), 608):
        nat64.say(piece)
    assert accounts(nat64) == [[1, 52, 1, 20 + 8 + 1200]]


def test_a_hairpin_is_counted_for_both_hosts():
    nat64 = Sessions(forward=FORWARD, log=ON)
    calls(nat64, "udp")
    assert accounts(nat64) == [[1, 52, 0, 0], [0, 0, 1, 52]]
    answers(nat64, "udp")
    assert accounts(nat64) == [[1, 52, 1, 52], [1, 52, 1, 52]]


def test_what_has_no_session_is_counted_for_none():
    nat64 = Sessions(log=ON, eam=[{"ipv4": "198.51.100.77", "ipv6": NEIGHBOUR6}])
    nat64.opened("udp", 6000)
    assert nat64.from6("udp", 6000, host=NEIGHBOUR6).verdict == Verdict.TRANSLATED
    assert accounts(nat64) == [[1, 52, 0, 0]]


def test_a_session_opened_from_ipv4_begins_with_that_packet():
    nat64 = Sessions(log=ON)
    assert nat64.say(from4() / TCP(**TO_MAPPED, flags="S")).verdict == Verdict.TRANSLATED
    assert accounts(nat64) == [[0, 0, 1, 40]]


def test_another_session_of_the_same_record_begins_at_nothing():
    nat64 = Sessions(log=ON)
    for _ in range(3):
        nat64.opened("udp", 6000)
    assert accounts(nat64) == [[3, 156, 0, 0]]
    nat64.wait(1000)
    assert accounts(nat64) == []
    nat64.opened("udp", 6001)
    assert accounts(nat64) == [[1, 52, 0, 0]]


def test_the_log_has_what_a_session_has_carried():
    nat64 = Sessions(log=ON | {"sessions": "sessions"})
    nat64.opened("udp", 6000)
    nat64.wait(1000)
    assert [row.packets_6to4 for row in nat64.tables.log[:2]] == [NONE, 1]
    assert nat64.tables.log[1].octets_6to4 == 52
    nat64 = Sessions(log={"sessions": "sessions"})
    nat64.opened("udp", 6000)
    nat64.wait(1000)
    assert nat64.tables.log[1].packets_6to4 == NONE


def test_ipv6_clients_of_services():
    nat64 = Front("dnat", log=ON)
    there = nat64.client6()
    nat64.back(there)
    assert accounts(nat64) == [[1, len(from_endpoint(there, 8080, 7, "SA")), 1, len(syn6(7, 80, "S", CLIENT6))]]


def test_a_session_that_moves_takes_its_account_along():
    """To another record of the same table, as in a reload with blocks of ports."""
    nat64 = Sessions(log=ON)
    for port in (6000, 6001, 6001):
        nat64.opened("udp", port)
    old, now = nat64.tables, round((BEGIN + nat64.now) * 1000)
    old.sessions[0].host6_port = -1
    new = replace(tables_of(nat64.config, nat64.settings), sessions=old.sessions, accounts=old.accounts)
    kept = Kept(old.sessions, old.quarantine, statics_of(old), old.blocks)
    restored = restore(Gateway(nat64.settings, new, new_worker(0)), now, kept)
    assert restored.fates[[Fate.KEPT, Fate.DAMAGED]].tolist() == [1, 1]
    assert new.accounts[:2].tolist() == [[2, 104, 0, 0], [0, 0, 0, 0]]
