"""Packets that need no session, and echoes: what the program does at the edges, in plain Python
(nat64d/dataplane/bpf/stand.py)."""

from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest

from nat64d.config.load import loads
from nat64d.explain.explainer import Explainer, explained
from nat64d.explain.fast_path import path_step, reason_of
from tests.established import ACK, CONFIGS, ICMP, ICMPV6, SYN, TCP, UDP, under
from tests.fastpath import InPython, Twin, ethernet
from tests.reference import packets as make
from translator.fastpath.mappings import EAM_LENGTHS, EAM_PROBES
from translator.fastpath.program import program
from translator.fastpath.reasons import Reason
from translator.fastpath.sessions import SLACK
from translator.jit.bpf import Stand
from translator.jit.compile import COMPILED

pytestmark = pytest.mark.skipif(COMPILED, reason="nothing is compiled in plain Python, and here something must not be")

HOST6, HOST4 = IPv6Address("2001:db8:9::1"), IPv4Address("198.51.100.8")  # an [[eam]] of CONFIGS
OTHER6, SERVER = IPv6Address("2001:db8:9::2"), IPv4Address("8.8.8.8")
BESIDE, ALONE = "mappings beside sessions", "no sessions"


class Meeting:
    """Packets that meet the program beside the pipeline."""

    def __init__(self, name: str, more: str = "") -> None:
        self.twin = Twin(loads(CONFIGS[name] + more))
        self.program: InPython = self.twin.program
        self.kernel = self.program.kernel

    def ipv6(self, protocol: int = UDP, host: IPv6Address = HOST6, to: IPv4Address = SERVER, flags: int = ACK) -> bytes:
        payload = {TCP: make.tcp(5000, 53, flags), UDP: make.udp(5000, 53), ICMPV6: make.echo(128, 77)}[protocol]
        return make.ipv6(host, under(self.twin.config.pool6, to), protocol, payload)

    def ipv4(
        self, protocol: int = UDP, server: IPv4Address = SERVER, to: IPv4Address = HOST4, flags: int = ACK
    ) -> bytes:
        payload = {TCP: make.tcp(53, 5000, flags), UDP: make.udp(53, 5000), ICMP: make.echo(8, 77)}[protocol]
        return make.ipv4(server, to, protocol, payload, dont_fragment=True)

    def reason(self, packet: bytes, now: int = 5000) -> Reason:
        """What the program says of a packet, which the pipeline sees after it."""
        before = self.twin.reasons.copy()
        self.twin.translate(packet, now)
        assert self.twin.wrong == []
        return next(iter(self.twin.reasons - before))

    def alone(self, packet: bytes, now: int = 5000) -> Reason:
        """The same, where the pipeline has not what the program is told."""
        before, frame = self.program.counted(), ethernet(packet)
        Stand.kernel = self.kernel
        verdict = program(self.kernel.receive(frame, now, 0))
        reason = Reason(int(np.flatnonzero((self.program.counted() - before)[:, 0])[0]))
        assert verdict or self.kernel.frame == frame
        return reason

    def put(self, name: str, array: np.ndarray) -> None:
        """Another array for a map."""
        self.kernel.areas[self.kernel.symbols[name]] = np.ascontiguousarray(array).reshape(-1).view(np.uint8), None


@pytest.mark.parametrize("name", [BESIDE, ALONE, "no sessions, another prefix"])
def test_hosts_with_a_mapping_need_no_session(name):
    met = Meeting(name)
    for protocol in (TCP, UDP, ICMPV6):
        assert met.reason(met.ipv6(protocol)) == Reason.SIX_TO_FOUR
    for protocol in (TCP, UDP, ICMP):
        assert met.reason(met.ipv4(protocol)) == Reason.FOUR_TO_SIX
    assert not met.twin.sessions()["live"].any()
    assert met.reason(met.ipv6(host=OTHER6)) == (Reason.NO_SESSION if name == BESIDE else Reason.NO_MAPPING)


def test_echoes_of_living_sessions():
    met = Meeting("well-known")
    request = met.ipv6(ICMPV6)
    assert met.reason(request) == Reason.NO_SESSION
    assert met.reason(request) == Reason.NOT_ESTABLISHED
    row = met.twin.tables.sessions[0]
    reply = make.ipv4(SERVER, IPv4Address(int(row.mapped4)), ICMP, make.echo(0, int(row.mapped4_port)))
    assert met.reason(reply) == Reason.NOT_ESTABLISHED
    assert met.reason(reply) == Reason.FOUR_TO_SIX
    assert met.reason(request) == Reason.SIX_TO_FOUR
    timeout = met.twin.settings.timeouts[4]
    assert row.expires == 5000 + timeout
    for packet, now in ((request, 9000), (reply, 14000)):
        met.reason(packet, now)
        assert 0 <= row.expires - now - timeout <= SLACK


@pytest.mark.parametrize(
    ("config", "reason"),
    [("well-known", Reason.NO_SESSION), ("no echoes", Reason.ECHO), ("check_rst", Reason.NO_SESSION)],
)
def test_echoes_may_be_filtered(config, reason):
    met = Meeting(config)
    assert met.reason(met.ipv6(ICMPV6)) == reason


def test_other_icmp_is_the_daemon_s():
    met = Meeting(ALONE)
    for kind in (1, 3, 130, 135):
        assert met.reason(make.ipv6(HOST6, under(met.twin.config.pool6, SERVER), ICMPV6, make.echo(kind, 1))) == 9
    assert met.reason(make.ipv4(SERVER, HOST4, ICMPV6, make.echo(128, 1))) == Reason.PROTOCOL
    assert met.alone(met.ipv4(ICMP)) == Reason.FOUR_TO_SIX


def test_an_echo_whose_new_checksum_is_zero_may_be_one_of_zeros():
    met = Meeting(ALONE)
    made = met.twin.translate(
        make.ipv6(HOST6, under(met.twin.config.pool6, SERVER), ICMPV6, make.echo(129, 7, bytes(2))), 1
    )
    lacking = made.packets[0][22:24]
    packet = make.ipv6(HOST6, under(met.twin.config.pool6, SERVER), ICMPV6, make.echo(129, 7, lacking))
    assert met.reason(packet) == Reason.ZERO_CHECKSUM
    made = met.twin.translate(make.ipv4(SERVER, HOST4, ICMP, make.echo(0, 7, bytes(2))), 1)
    lacking = made.packets[0][42:44]
    assert met.reason(make.ipv4(SERVER, HOST4, ICMP, make.echo(0, 7, lacking))) == Reason.ZERO_CHECKSUM


def test_hosts_under_pool6_where_there_are_no_sessions():
    met = Meeting(ALONE)
    near, far = IPv4Address("9.9.9.9"), SERVER
    assert met.reason(met.ipv6(host=under(met.twin.config.pool6, near))) == Reason.SIX_TO_FOUR
    assert met.reason(met.ipv4(to=near)) == Reason.FOUR_TO_SIX
    assert met.reason(met.ipv6(host=under(met.twin.config.pool6, far))) == Reason.OURS  # to itself
    assert met.reason(met.ipv4(server=near, to=near)) == Reason.OURS


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.99.0.1", Reason.BARRED),  # not global, under the well-known prefix
        ("224.0.0.1", Reason.BARRED),
        ("169.254.0.1", Reason.BARRED),
        ("127.0.0.1", Reason.BARRED),
        ("203.0.113.65", Reason.OURS),
        ("10.1.2.3", Reason.OURS),
    ],
)
def test_servers_that_are_none(address, reason):
    met, server = Meeting(ALONE), IPv4Address(address)
    assert met.reason(met.ipv6(to=server)) == reason
    assert met.reason(met.ipv4(server=server)) == reason


def test_hosts_that_are_denied_or_must_not_be_under_the_prefix():
    met = Meeting(ALONE, 'denylist4 = ["198.51.100.8/32", "9.9.9.0/24"]\n')
    near = under(met.twin.config.pool6, IPv4Address("10.99.0.1"))
    assert met.reason(met.ipv6()) == Reason.BARRED
    assert met.reason(met.ipv4()) == Reason.BARRED
    assert met.reason(met.ipv6(host=near)) == Reason.BARRED
    assert met.reason(met.ipv4(to=IPv4Address("10.99.0.1"))) == Reason.BARRED
    assert met.reason(met.ipv6(host=IPv6Address("2001:db8:d::5"))) == Reason.SIX_TO_FOUR  # 10.1.0.5, by [[eam]]
    assert met.reason(met.ipv4(to=IPv4Address("10.1.0.5"))) == Reason.FOUR_TO_SIX


def test_an_address_that_no_host_has(monkeypatch):
    met = Meeting(ALONE)
    monkeypatch.setattr("translator.fastpath.ways.is_unicast", lambda family, address: (family, address.lo) != (6, 1))
    assert met.alone(met.ipv6()) == Reason.BARRED


def test_a_syn_whose_mss_may_be_lowered():
    met = Meeting(BESIDE)
    assert met.reason(met.ipv6(TCP, flags=SYN)) == Reason.SIX_TO_FOUR
    clamped = Meeting(ALONE, "clamp_mss = true\n")
    assert clamped.reason(clamped.ipv6(TCP, flags=SYN)) == Reason.TCP_FLAGS
    assert clamped.reason(clamped.ipv4(TCP, flags=SYN)) == Reason.TCP_FLAGS
    assert clamped.reason(clamped.ipv4(TCP, flags=ACK)) == Reason.FOUR_TO_SIX


def test_after_a_start_the_daemon_s_queue_is_not_overtaken():
    met = Meeting(BESIDE)
    met.kernel.symbols["begins"] = 6000
    assert met.alone(met.ipv6(), 5999) == Reason.YOUNG
    assert met.alone(met.ipv4(), 5999) == Reason.YOUNG
    assert met.alone(met.ipv4(), 6000) == Reason.FOUR_TO_SIX


def test_a_host_with_a_mapping_may_be_an_endpoint_of_a_service():
    service = '[[service]]\nname = "s"\nprotocol = "udp"\nipv4 = "192.0.2.80:53"\nendpoints = ["[2001:db8:9::1]:53"]\n'
    met = Meeting(BESIDE, service)
    assert met.reason(met.ipv6()) == Reason.SERVICE
    assert met.reason(met.ipv6(ICMPV6)) == Reason.SIX_TO_FOUR


def test_a_search_without_an_end_is_the_daemon_s():
    met = Meeting(ALONE)
    for name in ("eam_index6", "eam_index4"):
        index = getattr(met.twin.settings, name).copy()
        index[index == 0] = 5 << 32 | 1
        met.put(name, index)
        met.put(name, np.full(64, 5 << 32 | 1))
    met.kernel.symbols["eam_mask"] = 63
    assert met.alone(met.ipv6()) == met.alone(met.ipv4()) == Reason.MAPPING
    assert EAM_PROBES < 64


@pytest.mark.parametrize("name", ["eam", "eam_index4", "eam_index6", "eam_lengths"])
def test_a_row_that_a_map_does_not_have_is_no_mapping(name):
    met = Meeting(ALONE)
    met.put(name, np.zeros(0, np.uint8))
    assert (met.alone(met.ipv6()) == Reason.MAPPING) == (name != "eam_index4")
    assert (met.alone(met.ipv4()) == Reason.MAPPING) == (name != "eam_index6")


def test_another_mapping_with_the_same_hash_is_not_taken():
    met = Meeting(ALONE)
    rows = met.twin.settings.eam.copy()
    rows["length4"] = rows["length6"] = 1
    met.put("eam", rows)
    assert met.alone(met.ipv6()) == met.alone(met.ipv4()) == Reason.MAPPING


def test_as_many_prefix_lengths_as_there_may_be():
    rows = [f'[[eam]]\nipv4 = "192.{k}.0.0/{k}"\nipv6 = "2001:db8:{k:x}::/{k + 64}"\n' for k in (17, 18, 19, 20)]
    met = Meeting(ALONE, "".join(rows))
    assert len(met.twin.settings.eam_lengths6) == EAM_LENGTHS
    assert met.reason(met.ipv6(host=OTHER6)) == Reason.NO_MAPPING
    assert met.reason(met.ipv4(to=IPv4Address("192.17.1.1"))) == Reason.FOUR_TO_SIX
    met.put("eam_index4", np.zeros(64, np.int64))
    for lengths in (3, EAM_LENGTHS):
        met.kernel.symbols["eam_lengths4"] = lengths
        assert met.alone(met.ipv4()) == Reason.FOUR_TO_SIX  # as one under pool6


def test_explain_says_which_way_a_packet_takes():
    met = Meeting("well-known")
    settings, tables = met.twin.settings, met.twin.tables

    def said(packet: bytes, now: int) -> str:
        before = [array.tobytes() for array in (tables.sessions, tables.sessions6)]
        (line,) = path_step(settings, tables, packet, now).found
        assert [array.tobytes() for array in (tables.sessions, tables.sessions6)] == before
        return line

    request = met.ipv6(ICMPV6)
    assert said(request, 5000) == f"up to the daemon (no_session): {Reason.NO_SESSION.help}"
    met.twin.translate(request, 5000)
    row = tables.sessions[0]
    met.twin.translate(
        make.ipv4(SERVER, IPv4Address(int(row.mapped4)), ICMP, make.echo(0, int(row.mapped4_port))), 5000
    )
    assert said(request, 6000) == "through the kernel ([fastpath]), once the daemon has written what it has of its flow"
    assert said(request, 10**6) == f"up to the daemon (expired): {Reason.EXPIRED.help}"
    assert reason_of(settings, tables, b"", 1) == Reason.NOT_IP


def test_explain_says_why_there_is_no_fast_path_and_nothing_where_it_is_off():
    alone = '[[eam]]\nipv4 = "192.0.2.1"\nipv6 = "2001:db8::1"\n'
    for mode, begins in (("off", ""), ("auto", "up to the daemon: there is no fast path, as there is no pool6")):
        steps, _ = explained(loads(f'{alone}[fastpath]\nmode = "{mode}"\n'), [(0, Meeting(ALONE).ipv4())])
        assert [step.found[0].startswith(begins) for step in steps if step.name == "path"] == [True] * bool(begins)


def test_explain_of_a_running_gateway_says_it_where_a_fast_path_is_on():
    met = Meeting("well-known")
    for fast in (False, True):
        steps, _ = Explainer.of(met.twin.gateway).explain(met.ipv6(), 5000, fast)
        assert (steps[0].name == "path") == fast
