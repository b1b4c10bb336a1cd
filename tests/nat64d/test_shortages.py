"""What there was not enough of, as the log of sessions has it (RFC 8158): when it is said, and how often."""

from ipaddress import IPv6Address
from types import SimpleNamespace
from typing import Any

import pytest

from nat64d.gateway.shortages import Shortages, serving
from nat64d.gateway.state import Live
from nat64d.natlog.lines import DaemonLog, LineFile
from nat64d.natlog.place import Moment
from nat64d.natlog.shortage import Shortage, What, sentence
from tests.case import BEGIN
from tests.packets import HOST6, NEIGHBOUR6
from tests.sessions import Sessions
from translator.tables.gateway import new_worker
from translator.verdict import Verdict

POOL = {"addresses": "192.0.2.1", "ports": "2000-2003", "protocols": ["udp"]}
LIMITS = {"sessions": 64, "pairing": "soft"}


class Daemon:
    """A gateway whose workers drop packets, and what the log of sessions is told."""

    def __init__(self, **changes: Any) -> None:
        config = {"limits": LIMITS, "pool4": [POOL], "forward": [], "log": {"sessions": "mappings"}}
        self.nat64 = Sessions(**config | changes)
        self.live = Live(self.nat64.config)
        self.live.settings, self.live.tables = self.nat64.settings, self.nat64.tables
        self.live.state = "ready"
        self.live.queues = [SimpleNamespace(worker=self.nat64.worker)]  # type: ignore[list-item]
        self.shortages = Shortages(self.live)

    def refused(self, port: int, verdict: Verdict, protocol: str = "udp") -> None:
        """A packet that opens no session; the worker keeps it as an example."""
        assert self.nat64.from6(protocol, port).verdict == verdict

    def held(self, port: int, protocol: str = "udp") -> None:
        """A mapping that is in use: it gives way to nobody."""
        self.nat64.from4(protocol, self.nat64.opened(protocol, port))

    def said(self, seconds: float) -> list[str]:
        """What is new, in words."""
        self.live.marks()
        self.shortages.look(Moment(0, seconds))
        told = self.live.session_log.shortages
        return [sentence(told.popleft()) for _ in range(len(told))]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nat64d.gateway.state.now", lambda: round(BEGIN * 1000))


def test_rfc8158_4_6_5_exhausted_addresses_and_ports_are_said_once_in_ten_seconds():
    daemon = Daemon(limits={**LIMITS, "watermark": 0})
    for port in range(5000, 5004):
        daemon.held(port)
    assert daemon.said(100.0) == []
    for port in range(6000, 6003):
        daemon.refused(port, Verdict.POOL4_EXHAUSTED)
    assert daemon.said(101.0) == ["addresses-exhausted pool 1", "ports-exhausted udp 192.0.2.1"]
    daemon.refused(7000, Verdict.POOL4_EXHAUSTED)
    assert daemon.said(105.0) == []
    assert daemon.said(111.5) == ["addresses-exhausted pool 1", "ports-exhausted udp 192.0.2.1"]
    assert daemon.said(130.0) == []


@pytest.mark.parametrize("protocol", ["udp", "tcp", "icmp"])
def test_rfc8158_4_6_6_ports_of_the_address_that_a_host_is_paired_with_are_said_alone(protocol):
    pool = {**POOL, "addresses": "192.0.2.1-192.0.2.2", "protocols": [protocol]}
    other = {"addresses": "192.0.2.9", "source": f"{NEIGHBOUR6}/128"}
    daemon = Daemon(limits={**LIMITS, "watermark": 0, "pairing": "strict"}, pool4=[other, pool])
    for port in range(5000, 5004):
        daemon.held(port, protocol)
    daemon.refused(6000, Verdict.PAIRED_FULL, protocol)
    (address,) = {mapped4 for mapped4, _ in daemon.nat64.bib().values()}
    assert daemon.said(1.0) == [f"ports-exhausted {protocol} {address}"]


def test_rfc8158_4_6_7_1_a_table_of_sessions_that_is_full_is_said_whichever_queue_met_it():
    daemon = Daemon(limits={**LIMITS, "watermark": 0, "per_host_sessions": 7})
    daemon.live.queues += [SimpleNamespace(worker=new_worker(number)) for number in (1, 2)]
    daemon.live.queues[1].worker.counters[0, Verdict.SESSION_TABLE_FULL] = 1
    assert daemon.said(1.0) == ["sessions-exceeded 64"]


def test_rfc8158_4_6_7_3_a_limit_of_a_host_is_said_with_the_host():
    for limit, verdict in (("per_host_sessions", Verdict.HOST_SESSIONS), ("per_host_ports", Verdict.HOST_PORTS)):
        daemon = Daemon(limits={**LIMITS, limit: 2})
        daemon.held(5000)
        daemon.held(5001)
        daemon.refused(5002, verdict)
        assert f"host-exceeded {HOST6} 2" in daemon.said(1.0)


def test_rfc8158_4_6_8_2_a_threshold_is_said_when_it_is_reached():
    daemon = Daemon(limits={**LIMITS, "watermark": 75})
    for port in (5000, 5001):
        daemon.held(port)
    assert daemon.said(1.0) == []
    daemon.held(5002)
    assert daemon.said(2.0) == ["ports-threshold pool 1 3"]
    assert daemon.said(20.0) == []


def test_without_a_log_nothing_is_kept():
    daemon = Daemon(log={"sessions": "off"}, limits={**LIMITS, "watermark": 75})
    for port in range(5000, 5004):
        daemon.held(port)
    daemon.refused(6000, Verdict.POOL4_EXHAUSTED)
    assert daemon.said(1.0) == []
    assert not daemon.live.session_log.shortages


def test_the_pools_of_a_host_are_those_with_the_longest_source():
    rows = [POOL, {"addresses": "192.0.2.8", "source": f"{NEIGHBOUR6}/128"}, {"addresses": "192.0.2.9"}]
    config = Sessions(limits=LIMITS, pool4=rows).config
    assert serving(config, IPv6Address(HOST6)) == [1, 3]
    assert serving(config, IPv6Address(NEIGHBOUR6)) == [2]


def test_the_daemons_log_has_it_as_a_warning_and_a_file_as_a_line(caplog, tmp_path):
    one, file = Shortage(0, What.SESSIONS_EXCEEDED, most=64), LineFile(str(tmp_path / "log"))
    for place in (DaemonLog(), file):
        place.write([one], Moment(0, 1.0))
    file.close()
    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), record.most) == ("WARNING", "sessions-exceeded 64", 64)
    assert (tmp_path / "log").read_text() == "1970-01-01T00:00:00.000Z sessions-exceeded 64\n"
