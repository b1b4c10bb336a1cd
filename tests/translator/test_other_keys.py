"""A record of another key that stands under the same hash is passed over; a slot in which no port waits gives none."""

from ipaddress import IPv4Address

from tests.sessions import Sessions
from tests.translator.services import Serving
from translator.packet.addresses import address4, address6, under
from translator.packet.tuples import tuple_of
from translator.session.bib import bib_hash4, host6_of
from translator.session.hosts import host_hash
from translator.session.pool4 import end_quarantine
from translator.session.port_shares import find_use, use_hash
from translator.session.services import find_front, find_member, find_serving, is_endpoint, member_hash
from translator.session.sessions import host4_of, look_up6, session_hash6
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


def test_front_and_members_of_another_transport_address():
    nat64 = Serving()
    tables, gateway, other4, other6 = nat64.tables, nat64.gateway, address4(1, 2), address6(1, 2, 3)
    insert(tables.fronts4, bib_hash4(gateway, 6, other4), 0)
    for prefix in (0, 1):
        insert(tables.members6, member_hash(gateway, 6, other6, prefix), 0)
    insert(tables.endpoints6, host_hash(gateway, 1, 2), 0)
    assert find_front(gateway, 6, other4) == NONE
    assert find_member(gateway, 6, other6, other4, 0) == NONE
    assert find_serving(gateway, 6, other6, 0) == find_serving(gateway, 6, other6, 1) == (NONE, False)
    own6 = host6_of(tables.bibs[tables.members[0].bib])
    insert(tables.members6, member_hash(gateway, 6, own6, 1), 0)
    assert find_serving(gateway, 6, own6, 1) == (NONE, False)
    assert find_serving(gateway, 6, own6, 0) == (tables.members[0].bib, False)
    assert not is_endpoint(gateway, other6)


def test_session_under_another_prefix():
    nat64 = Serving()
    nat64.client()
    row = nat64.tables.sessions[0]
    other = under(host4_of(row), 1)
    insert(nat64.tables.sessions6, session_hash6(nat64.gateway, row.protocol, host6_of(row), other), 0)
    assert look_up6(nat64.gateway, tuple_of(6, row.protocol, host6_of(row), other), other) == NONE
    assert look_up6(nat64.gateway, tuple_of(6, row.protocol, host6_of(row), other), host4_of(row)) == 0


def test_slot_in_which_no_port_waits():
    assert end_quarantine(Sessions().tables, 0) == NONE
