"""A record of another key that stands under the same hash is passed over; a slot in which no port waits gives none."""

from ipaddress import IPv4Address

from tests.sessions import Sessions
from translator.packet.addresses import address4, address6
from translator.session.pool4 import end_quarantine
from translator.session.port_shares import find_use, use_hash
from translator.session.simultaneous_open import find_held
from translator.session.subscribers import find_subscriber, subscriber_hash
from translator.tables.hashing import insert
from translator.tables.layout import NONE

HIGH = 0x20010DB800770000


def test_subscriber_of_another_prefix():
    nat64 = Sessions()
    nat64.opened("udp", 6000)
    insert(nat64.tables.subscribers6, subscriber_hash(nat64.gateway, HIGH, 0), 0)
    assert find_subscriber(nat64.gateway, address6(HIGH, 1, 0)) == NONE


def test_ports_of_another_subscriber():
    nat64 = Sessions()
    nat64.opened("udp", 6000)
    insert(nat64.tables.uses_of, use_hash(nat64.gateway, 5, 7), 0)
    assert find_use(nat64.gateway, 5, 7) == NONE


def test_syn_of_another_connection():
    tables = Sessions().tables
    insert(tables.syns4, 12345, 0)
    ends = [address4(int(IPv4Address(f"192.0.2.{k}")), 1000 + k) for k in (1, 2)]
    assert find_held(tables, 12345, *ends) == NONE


def test_slot_in_which_no_port_waits():
    assert end_quarantine(Sessions().tables, 0) == NONE
