"""Ports in quarantine that are taken over into other tables."""

from typing import Any

import pytest

from tests.packets import HOST4
from tests.restarts import TINY, busy, first, records_of, restart, waiting
from tests.sessions import Sessions


def test_ports_wait_in_the_order_of_their_times():
    nat64 = busy()
    rows = nat64.tables.quarantine
    rows[[0, 1]] = rows[[1, 0]]
    expected = sorted(waiting(nat64), key=lambda port: port[2])
    restart(nat64)
    assert waiting(nat64) == expected


WAITING_DAMAGES: dict[str, tuple[str, Any]] = {
    "live is a flag": ("live", 2),
    "of TCP": ("slot", 0),
    "no address": ("mapped4", 1 << 40),
    "an address outside pool4": ("mapped4", 7),
    "a port that is none": ("port", -1),
    "a port outside pool4": ("port", 9999),
    "its time is over": ("until", -5),
}


@pytest.mark.parametrize("name", WAITING_DAMAGES)
def test_a_port_that_cannot_wait_does_not(name):
    nat64, (field, value) = busy(), WAITING_DAMAGES[name]
    _, other = waiting(nat64)
    nat64.tables.quarantine[0][field] = value
    restart(nat64)
    assert waiting(nat64) == [other]


def test_a_port_that_is_in_use_does_not_wait():
    nat64 = busy()
    row, taken = nat64.tables.quarantine[0], first(nat64)
    row.mapped4, row.port, row.slot = taken.mapped4, taken.mapped4_port, nat64.tables.bibs[taken.bib].slot
    _, other = waiting(nat64)
    restart(nat64)
    assert waiting(nat64) == [other]


def test_ports_wait_on_where_their_pool_is_now():
    nat64 = busy()
    ports = waiting(nat64)
    more = [{"addresses": "192.0.2.8", "source": "2001:db8:2::/48"}, {"addresses": "192.0.2.0"}]
    restart(nat64, records_of(nat64), {"pool4": [*more, *TINY["pool4"]]})
    assert waiting(nat64) == ports


def test_no_port_waits_where_none_has_to():
    nat64 = busy()
    restart(nat64, changes={"limits": TINY["limits"] | {"port_quarantine": 0}})
    assert waiting(nat64) == []


@pytest.mark.parametrize(
    ("pause", "changes"),
    [(310, {}), (0, {"translation": {"denylist4": [f"{HOST4}/32"]}})],
    ids=["over meanwhile", "ended by the configuration"],
)
@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_a_port_whose_mapping_is_not_kept_is_free_at_once(protocol, pause, changes):
    nat64 = Sessions(**TINY)
    nat64.opened(protocol, 5000)
    nat64.now += pause
    restart(nat64, changes=changes)
    assert (nat64.sessions(), waiting(nat64)) == ([], [])
