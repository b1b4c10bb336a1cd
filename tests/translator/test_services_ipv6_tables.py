"""What stands in the tables about IPv6 clients of services, and super-frames of theirs."""

import pytest
from scapy.layers.inet import TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from tests.translator.front6 import CLIENT6, OTHER6, VIP6, WAYS, Front
from tests.translator.services import Serving
from tests.translator.test_virtio import NEEDS_CSUM, TCPV6, Header, undone
from translator.packet.addresses import address6
from translator.session.clients6 import client_hash, find_client, find_written, settle_clients
from translator.session.restore import is_sound, may_pass
from translator.tables.handles import VIPS, find_vip6, vip_row, words_of
from translator.tables.hashing import insert
from translator.tables.layout import NONE
from translator.tables.tables import CLIENTS6, HEIGHT, NEVER_USED
from translator.verdict import Verdict


def test_another_client_under_the_same_hash_is_passed_over():
    nat64 = Front("dnat")
    nat64.client6()
    for index in (nat64.tables.clients6_by, nat64.tables.written6):
        insert(index, client_hash(nat64.gateway, 1, 2), 0)
    assert find_client(nat64.gateway, address6(1, 2, 0)) == find_written(nat64.gateway, 1, 2) == NONE


def test_addresses_that_no_service_has():
    nat64 = Front("dnat")
    nat64.tables.vips6[vip_row(nat64.gateway, 1, 2)] = 5, 6
    assert find_vip6(nat64.gateway, 1, 2) == NONE
    assert words_of(nat64.tables, VIPS + len(nat64.tables.vips6)) == (0, 0)


def test_records_of_clients_that_no_session_uses_are_free():
    nat64 = Front("dnat")
    nat64.client6()
    nat64.client6(src=OTHER6)
    tables = nat64.tables
    tables.uses6[0] = 0
    settle_clients(tables)
    assert (tables.free[CLIENTS6, HEIGHT], tables.free[CLIENTS6, NEVER_USED]) == (1, 2)
    assert tables.freed[CLIENTS6, 0] == 0


def test_a_session_under_a_prefix_that_there_is_not():
    nat64 = Serving()
    nat64.client()
    row = nat64.tables.sessions[0]
    assert (is_sound(row), may_pass(nat64.gateway, row)) == (True, True)
    row.prefix = NONE
    assert not may_pass(nat64.gateway, row)
    row.prefix, row.inbound = 1, 0
    assert not is_sound(row)


@pytest.mark.parametrize(("segment", "verdict"), [(1320, Verdict.HAIRPINNED), (1360, Verdict.TOO_BIG)])
@pytest.mark.parametrize("way", WAYS)
def test_the_segments_of_a_super_frame_may_be_as_large_as_the_mtu(way, segment, verdict):
    nat64 = Front(way, translation={"mtu6": 1400})
    nat64.client6()
    sent = IPv6(src=CLIENT6, dst=VIP6) / TCP(sport=7, dport=80, flags="A") / Raw(bytes(4000))
    header = Header(NEEDS_CSUM, TCPV6, 60, segment, 40, 16)
    assert nat64.offloaded(bytes(header), undone(sent))[0] == verdict
