"""What the program does where a kernel or a table is not as it mostly is: in plain Python, whose kernel can be told to
be so.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network

import numpy as np
import pytest

from nat64d.config.load import loads
from nat64d.dataplane.bpf.stand import words_of
from nat64d.dataplane.drained import MOMENT
from tests.established import ACK, CLIENT_PREFIXES, CONFIGS, FIN_ACK, SYN, SYN_ACK, TCP, UDP, under
from tests.fastpath import AT_INTERFACE, ETHERNET, NEXT, InPython, Ran, Twin, ethernet
from tests.reference import packets as make
from translator.fastpath.kernel import OURS, PACKET_TYPE, VLAN_PRESENT
from translator.fastpath.mappings import RANGE_STEPS
from translator.fastpath.prefixes import CLIENT_PREFIXES as LOOKED_FOR
from translator.fastpath.program import program
from translator.fastpath.reasons import Reason
from translator.fastpath.sessions import LAG, PROBES
from translator.jit.bpf import Stand
from translator.jit.compile import COMPILED

pytestmark = pytest.mark.skipif(COMPILED, reason="nothing is compiled in plain Python, and here something must not be")

HOST, SERVER = IPv6Address("2001:db8:9::1"), IPv4Address("8.8.8.8")
UDP_TIMEOUT = 300_000


class Flow:
    """A UDP flow that both sides have sent to, and a connection that is established."""

    def __init__(self, name: str = "well-known", more: str = "") -> None:
        self.twin = Twin(loads(CONFIGS[name] + more))
        self.program: InPython = self.twin.program
        self.kernel = self.program.kernel
        self.prefix = self.twin.config.pool6
        self.twin.translate(self.ipv6(), 1000)
        self.twin.translate(self.ipv6(TCP, SYN), 1000)
        self.mapped = {int(row.protocol): (row.mapped4, row.mapped4_port) for row in self.twin.tables.sessions[:2]}
        self.twin.translate(self.ipv4(), 1000)
        self.twin.translate(self.ipv4(TCP, SYN_ACK), 1000)
        self.program.since[:] = 0  # what of them was left to the daemon is long gone

    def ipv6(self, protocol: int = UDP, flags: int = ACK, data: bytes = b"data") -> bytes:
        payload = make.udp(5000, 53, data) if protocol == UDP else make.tcp(5000, 53, flags, data)
        return make.ipv6(HOST, under(self.prefix, SERVER), protocol, payload)

    def ipv4(
        self, protocol: int = UDP, flags: int = ACK, data: bytes = b"data", df: bool = True, more: bool = False
    ) -> bytes:
        address, port = map(int, self.mapped[protocol])
        payload = make.udp(53, port, data) if protocol == UDP else make.tcp(53, port, flags, data)
        return make.ipv4(SERVER, IPv4Address(address), protocol, payload, dont_fragment=df, more=more)

    def reason(self, packet: bytes, now: int = 1001, gso_size: int = 0, linear: int | None = None) -> Reason:
        """What the program says of a packet; the pipeline does not see it."""
        before, frame = self.program.counted(), ethernet(packet)
        Stand.kernel = self.kernel
        verdict = program(self.kernel.receive(frame, now, gso_size, linear))
        reason = Reason(int(np.flatnonzero((self.program.counted() - before)[:, 0])[0]))
        assert (verdict == 0) == (reason > Reason.FOUR_TO_SIX)
        assert verdict or self.kernel.frame == frame
        return reason


@pytest.fixture
def flow() -> Flow:
    return Flow()


def test_both_directions_are_taken(flow):
    for protocol in (TCP, UDP):
        assert flow.reason(flow.ipv6(protocol)) == Reason.SIX_TO_FOUR
        assert flow.reason(flow.ipv4(protocol)) == Reason.FOUR_TO_SIX


def test_a_header_that_is_not_in_the_first_part_of_the_buffer(flow):
    ipv6, ipv4 = ETHERNET + 40, ETHERNET + 20
    assert flow.reason(flow.ipv6(), linear=ipv6 + 7) == Reason.HEADERS
    assert flow.reason(flow.ipv6(), linear=ipv6 + 8) == Reason.SIX_TO_FOUR
    assert flow.reason(flow.ipv4(TCP), linear=ipv4 + 19) == Reason.HEADERS
    assert flow.reason(flow.ipv4(TCP), linear=ipv4 + 20) == Reason.FOUR_TO_SIX
    assert flow.reason(flow.ipv4(), linear=ipv4 + 7) == Reason.HEADERS


def test_a_kernel_without_room(flow):
    flow.kernel.full = True
    assert flow.reason(flow.ipv6()) == Reason.REFUSED
    assert flow.reason(flow.ipv4()) == Reason.REFUSED


def test_datagrams_in_one_buffer(flow):
    assert flow.reason(flow.ipv6(data=bytes(900)), gso_size=100) == Reason.UDP_SUPERFRAME


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("family", [4, 6])
def test_a_checksum_that_lacks_the_data_has_the_new_pseudo_header(flow, protocol, family):
    packet = flow.ipv6(protocol) if family == 6 else flow.ipv4(protocol)
    partial = with_partial_checksum(packet, protocol)
    flow.kernel.partial = True
    assert flow.reason(partial) <= Reason.FOUR_TO_SIX
    got = flow.kernel.frame[ETHERNET:]
    assert with_partial_checksum(got, protocol) == got


def with_partial_checksum(packet: bytes, protocol: int) -> bytes:
    """RFC 9293 section 3.1, RFC 8200 section 8.1: the sum of the pseudo-header stands in the field."""
    header, ends = (20, packet[12:20]) if packet[0] >> 4 == 4 else (40, packet[8:40])
    pseudo = ends + (len(packet) - header).to_bytes(4) + protocol.to_bytes(4)
    at, field = header + (16 if protocol == TCP else 6), make.ones_complement_sum(pseudo)
    return packet[:at] + field.to_bytes(2) + packet[at + 2 :]


def test_a_session_that_is_over(flow):
    assert flow.reason(flow.ipv6(), now=1000 + UDP_TIMEOUT - 1) == Reason.SIX_TO_FOUR
    assert flow.reason(flow.ipv6(), now=10**6) == Reason.EXPIRED


def test_fragments_and_a_fin_and_what_has_to_be_cut_are_left_to_the_daemon(flow):
    """All others of their flow are not."""
    first = make.ipv6(HOST, under(flow.prefix, SERVER), 44, bytes([UDP, 0, 0, 1, 0, 0, 0, 7]) + flow.ipv6()[40:])
    assert flow.reason(first) == Reason.PROTOCOL
    assert flow.reason(flow.ipv6()) == Reason.SIX_TO_FOUR
    assert flow.reason(flow.ipv4(df=False, more=True)) == Reason.FRAGMENT
    assert flow.reason(flow.ipv4(df=False, data=bytes(1300))) == Reason.CUT
    for df, size in ((True, 1300), (False, 1200)):
        assert flow.reason(flow.ipv4(df=df, data=bytes(size))) == Reason.FOUR_TO_SIX
    for packet in (flow.ipv6(TCP, FIN_ACK), flow.ipv4(TCP, FIN_ACK)):
        assert flow.reason(packet) == Reason.TCP_FLAGS


def test_rfc7915_5_1_identification_comes_from_a_generator_there_too(flow):
    """Every other packet has DF."""
    seen = []
    for k in range(300):
        assert flow.reason(flow.ipv6(data=bytes(1300 * (k & 1)))) == Reason.SIX_TO_FOUR
        seen.append(bytes(flow.kernel.frame[ETHERNET + 4 : ETHERNET + 6]))
    assert len(set(seen)) == 300
    assert sorted(seen) != seen


@pytest.mark.parametrize("seconds", [120, 300])
@pytest.mark.parametrize("side", ["ipv6", "ipv4"])
def test_its_time_is_written_once_a_second(side, seconds):
    flow = Flow(more=f"[timeouts]\nudp = {seconds}\n")
    row = flow.twin.tables.sessions[0]
    written = [1001, 1001 + 1000 - LAG + 1]
    for now, last in ((1001, 0), (1002, 0), (written[1] - 1, 0), (written[1], 1), (written[1] + 5, 1)):
        flow.reason(getattr(flow, side)(), now)
        assert row.expires == written[last] + 1000 * seconds + 1000


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [("prefix", 1, Reason.NO_SESSION), ("prefix", -2, Reason.NO_SESSION), ("inbound", 3, Reason.SERVICE)],
)
def test_sessions_that_only_the_daemon_knows(flow, field, value, reason):
    flow.twin.tables.sessions[0][field] = value
    assert flow.reason(flow.ipv6()) == reason


@pytest.mark.parametrize("number", range(1, len(CLIENT_PREFIXES) + 1))
def test_clients_of_services_under_prefixes_of_their_own(number):
    twin = Twin(loads(CONFIGS["services under prefixes"]))
    endpoint, to = IPv6Address(f"2001:db8:5::{number}"), under(IPv6Network(CLIENT_PREFIXES[number - 1]), SERVER)
    request = make.ipv4(SERVER, IPv4Address(f"192.0.2.{80 + number}"), UDP, make.udp(5000, 53, b"data"))
    answer = make.ipv6(endpoint, to, UDP, make.udp(53, 5000, b"data"))
    for packet in (request, answer):
        assert twin.translate(packet, 1000).packets, "the daemon opens the flow"
    twin.reasons.clear()
    twin.translate(request, 1001)
    assert twin.reasons.popitem()[0] == Reason.FOUR_TO_SIX
    twin.translate(answer, 1001)
    assert twin.reasons.popitem()[0] == (Reason.SIX_TO_FOUR if number <= LOOKED_FOR else Reason.NOT_OUR_PREFIX)
    assert twin.wrong == []


def test_a_host_with_a_mapping_of_its_own_sends_to_no_client(flow):
    twin = Twin(loads(CONFIGS["services under prefixes"] + '[[eam]]\nipv4 = "203.0.113.7"\nipv6 = "2001:db8:9::1"\n'))
    twin.translate(make.ipv6(HOST, under(IPv6Network(CLIENT_PREFIXES[0]), SERVER), UDP, make.udp(7, 7, b"")), 1000)
    assert twin.reasons == {Reason.OTHER_PREFIX: 1}


def test_a_session_under_another_prefix_is_not_found_from_ipv4_either(flow):
    flow.twin.tables.sessions[0].prefix = 1
    assert flow.reason(flow.ipv4()) == Reason.OTHER_PREFIX


def test_a_service_beside_mappings_is_left(flow):
    flow.twin.tables.sessions[0].inbound = 2
    assert flow.reason(flow.ipv6()) == Reason.SIX_TO_FOUR
    flow.kernel.symbols["eams"] = 1
    assert flow.reason(flow.ipv6()) == Reason.SERVICE


def test_a_slot_that_changes_meanwhile_names_nobody(flow, monkeypatch):
    monkeypatch.setattr("translator.fastpath.sessions.read_again", lambda _: 0)
    assert flow.reason(flow.ipv6()) == Reason.NO_SESSION


def test_a_record_that_became_another_s_keeps_its_time(flow, monkeypatch):
    row = flow.twin.tables.sessions[0]

    def taken_meanwhile(address: int, expected: int, wanted: int) -> int:
        row.expires = 77
        from translator.jit import bpf

        return int(bpf.swap(address, expected, wanted))

    monkeypatch.setattr("translator.fastpath.sessions.swap", taken_meanwhile)
    assert flow.reason(flow.ipv6(), now=5000) == Reason.SIX_TO_FOUR
    assert row.expires == 77


def test_a_chain_of_slots_has_an_end(flow):
    index = flow.twin.tables.sessions6
    index[index == 0] = 5 << 32 | 1
    flow.twin.tables.sessions[0].host6_port = 1
    at = np.flatnonzero(index >> 32 != 5)
    index[at] = 6 << 32 | 1
    assert flow.reason(flow.ipv6()) == Reason.NO_SESSION
    assert len(index) > PROBES


def test_another_flow_with_the_same_hash_is_not_taken(flow):
    flow.twin.tables.sessions[0].host4_port = 54
    assert flow.reason(flow.ipv6()) == Reason.NO_SESSION
    assert flow.reason(flow.ipv4()) == Reason.NO_SESSION


def test_what_is_taken_is_counted_for_its_session_and_what_is_left_is_not():
    flow = Flow(more="[log]\naccounting = true\n")
    accounts = flow.twin.tables.accounts
    accounts[:] = 0
    assert flow.reason(flow.ipv6()) == Reason.SIX_TO_FOUR
    assert flow.reason(flow.ipv4(data=b"longer")) == Reason.FOUR_TO_SIX
    assert flow.reason(flow.ipv6(TCP, data=bytes(900)), gso_size=100) == Reason.SIX_TO_FOUR
    expected = [[1, 40 + 8 + 4, 1, 20 + 8 + 6], [1, 40 + 20 + 900, 0, 0]]
    assert accounts[:2].tolist() == expected
    assert flow.reason(flow.ipv4(more=True)) == Reason.FRAGMENT
    flow.kernel.full = True
    assert flow.reason(flow.ipv6()) == Reason.REFUSED
    flow.kernel.full = False
    flow.kernel.areas[flow.kernel.symbols["accounts"]] = np.zeros(0, np.uint8), None
    assert flow.reason(flow.ipv6()) == Reason.SIX_TO_FOUR
    assert accounts[:2].tolist() == expected


@pytest.mark.parametrize("name", ["sessions6", "sessions", "addresses", "identifications", "counters"])
def test_a_row_that_a_map_does_not_have_is_no_address(flow, name):
    area = flow.kernel.symbols[name]
    flow.kernel.areas[area] = np.zeros(0, np.uint8), None
    Stand.kernel = flow.kernel
    verdict = program(flow.kernel.receive(ethernet(flow.ipv6()), 1001, 0))
    assert (verdict != 0) == (name in ("identifications", "counters"))


def holding(flow, ranges: np.ndarray) -> None:
    """Let these ranges be ours, and nothing hold for other addresses."""
    flow.kernel.areas[flow.kernel.symbols["addresses"]] = ranges.reshape(-1).view(np.uint8), None
    flow.kernel.symbols["ranges"] = len(ranges)


def test_an_address_of_ours_among_many_ranges(flow):
    ranges = np.array([[k * 0x1000000, k * 0x1000000 + 5, OURS] for k in range(32)], np.int64)
    ranges[0, 2] = 0
    holding(flow, ranges)
    assert flow.reason(flow.ipv6()) == Reason.SIX_TO_FOUR
    ranges[8, :2] = 0x08080800, 0x08080808
    assert flow.reason(flow.ipv6()) == Reason.OURS
    assert flow.reason(flow.ipv4()) == Reason.OURS
    ranges[8, :2] = 0x08080809, 0x08080810
    assert flow.reason(flow.ipv6()) == Reason.SIX_TO_FOUR


def test_a_map_of_ranges_that_lacks_one_says_ours(flow):
    flow.kernel.symbols["ranges"] = 64
    assert flow.reason(flow.ipv6()) == Reason.OURS
    holding(flow, np.zeros((0, 3), np.int64))
    flow.kernel.symbols["ranges"] = 1
    assert flow.reason(flow.ipv6()) == Reason.OURS


def test_the_clock_is_the_kernel_s(flow):
    flow.kernel.symbols["clock_in_mark"] = 0
    flow.twin.tables.sessions[0].expires = 1000
    assert flow.reason(flow.ipv6(), now=0) == Reason.EXPIRED  # 10^9 ns in nat64d/dataplane/bpf/stand.py
    flow.twin.tables.sessions[0].expires = 1001
    assert flow.reason(flow.ipv6(), now=10**9) == Reason.SIX_TO_FOUR


def test_a_tunnel_s_checksum_is_replaced_although_the_kernel_has_another_one_to_complete(flow):
    flow.kernel.partial = True  # of the packet inside
    expected = flow.twin.translate(flow.ipv4(), 1001).packets[0]
    assert flow.reason(flow.ipv4()) == Reason.FOUR_TO_SIX
    assert flow.kernel.frame[ETHERNET:] == expected


def test_what_is_neither_ipv4_nor_ipv6(flow):
    assert flow.reason(bytes(60)) == Reason.NOT_IP


def test_a_data_offset_that_points_nowhere(flow):
    for octet in (0x40, 0xF0):
        assert flow.reason(flow.ipv6(TCP)[:52] + bytes([octet]) + flow.ipv6(TCP)[53:]) == Reason.DAMAGED


def test_a_payload_that_ipv4_cannot_state(flow):
    assert flow.reason(flow.ipv6(TCP, data=bytes(65515 - 20)), gso_size=1000) == Reason.SIX_TO_FOUR
    assert flow.reason(flow.ipv6(TCP, data=bytes(65516 - 20)), gso_size=1000) == Reason.LENGTH


def test_as_many_ranges_as_there_may_be(flow):
    at = np.arange(1 << RANGE_STEPS) << 32 - RANGE_STEPS
    ranges = np.column_stack((at, at, np.full_like(at, OURS)))
    holding(flow, ranges)
    assert flow.reason(flow.ipv6()) == Reason.SIX_TO_FOUR
    ranges[0x08080808 >> 32 - RANGE_STEPS, :2] = 0x08080808
    assert flow.reason(flow.ipv6()) == Reason.OURS


def test_a_partial_checksum_does_not_cover_ports_that_stay(flow):
    row = flow.twin.tables.sessions[0]
    row.mapped4_port = row.host6_port
    flow.kernel.partial = True
    assert flow.reason(with_partial_checksum(flow.ipv6(), UDP)) == Reason.SIX_TO_FOUR
    got = flow.kernel.frame[ETHERNET:]
    assert with_partial_checksum(got, UDP) == got


def test_a_udp_checksum_that_comes_out_as_zero_is_written_as_ones(flow):
    for packet_of, reason, header in ((flow.ipv6, Reason.SIX_TO_FOUR, 20), (flow.ipv4, Reason.FOUR_TO_SIX, 40)):
        made = flow.twin.translate(packet_of(data=bytes(2)), 1001).packets[0]
        lacking = made[header + 6 : header + 8]
        assert flow.reason(packet_of(data=lacking)) == reason
        assert flow.kernel.frame[ETHERNET + header + 6 :][:2] == b"\xff\xff"


@pytest.fixture
def left(flow):
    """The same of whose flows the daemon has nothing in its queue: the program at the device has seen each twice."""
    flow.kernel.symbols["queues"], flow.program.drained[0, MOMENT] = 1, 6500 * 10**6
    for now in (6400, 6600):
        for packet in (flow.ipv6(), flow.ipv4(), flow.ipv6(TCP), flow.ipv4(TCP)):
            flow.reason(packet, now)
    return flow


def test_an_interface_takes_what_the_program_at_the_device_takes_already(flow):
    flow.kernel.symbols["queues"], flow.program.drained[0, MOMENT] = 1, 6500 * 10**6
    packet = flow.ipv6()
    for now in (6400, 6500, 6600):
        assert flow.program.run(packet, now, 0, at_interface=True) == Ran(NEXT, packet)
    flow.program.run(packet, 6400, 0)
    assert flow.program.run(packet, 6600, 0, at_interface=True) == Ran(NEXT, packet)
    flow.program.run(packet, 6600, 0)
    assert flow.program.run(packet, 6601, 0, at_interface=True).octets[0] == 0x45


@pytest.mark.parametrize(("at", "value"), [(PACKET_TYPE, 3), (VLAN_PRESENT, 1)])
def test_what_an_interface_overhears_or_a_vlan_has_goes_on(left, at, value):
    Stand.kernel = left.kernel
    left.kernel.symbols |= AT_INTERFACE
    for given in (0, value):
        skb = left.kernel.receive(ethernet(left.ipv6()), 6700, 0)
        left.kernel.write(skb + at, 32, "little", given)
        assert (program(skb) == -1) == bool(given)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("family", [4, 6])
def test_the_sum_that_a_network_card_has_made_stays_right(left, family, protocol, partial):
    """Also of a segment whose own checksum looks like one that lacks the data."""
    packet = left.ipv6(protocol) if family == 6 else left.ipv4(protocol)
    given = with_partial_checksum(packet, protocol) if partial else packet
    assert left.program.run(given, 6700, 0, at_interface=True).octets[0] >> 4 == 10 - family
    assert left.kernel.complete % 0xFFFF == words_of(left.kernel.frame[ETHERNET:], 0) % 0xFFFF
