"""Packets dropped in the queue of the TUN device, before any verdict: counted, logged, and a warning for a while."""

import logging
import os
import socket

import pytest

from nat64d.config.models import Tun as TunConfig
from nat64d.control.throttle import INTERVAL
from nat64d.dataplane.tun import open_tun
from nat64d.gateway.link_drops import RECENT, LinkDrops, dropped_by, help_of
from nat64d.gateway.state import Live
from tests.case import config_of
from tests.nat64d.netns import fresh_namespace, ip

namespace = pytest.fixture(fresh_namespace)

TABLE = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier
    lo:  940       9    0    1    0     0          0         0      940       9    0    2    0     0       0          0
nat64:123456789012 7    0    3    0     0          0         0 99999999999   12    0 29356    0     0       0          0
nat640:    0       0    0    0    0     0          0         0        0       0    0    4    0     0       0          0
"""


class Device:
    """A device whose counter is what the test says."""

    def __init__(self, dropped):
        self.dropped = dropped

    def __call__(self, name):
        assert name == "nat64"
        return self.dropped


@pytest.fixture
def device():
    return Device(5)  # of an earlier run, on a persistent device


@pytest.fixture
def drops(device):
    return LinkDrops("nat64", 1, logging.getLogger("test"), device)


@pytest.mark.parametrize(("name", "dropped"), [("nat64", 29356), ("lo", 2), ("nat640", 4), ("nat6", None), ("", None)])
def test_the_counter_is_that_of_transmission(name, dropped):
    assert dropped_by(name, TABLE) == dropped


def test_what_was_dropped_before_the_start_does_not_count(drops, device):
    assert drops.count() == 0
    device.dropped = 29361
    assert drops.count() == 29356
    assert drops.event() == {"event": "tun_queue_full", "count": 29356, "help": help_of("nat64", 1)}


def test_a_device_that_is_gone_keeps_its_last_number(drops, device):
    device.dropped = 12
    drops.look(1.0)
    device.dropped = None
    assert drops.count() == 7


def test_drops_are_a_line_at_most_once_in_ten_seconds(drops, device, caplog):
    drops.look(100.0)
    assert caplog.records == []
    device.dropped = 10
    drops.look(101.0)
    device.dropped = 1_000_010
    drops.look(101.0 + INTERVAL / 2)
    assert [record.getMessage().partition(". ")[0] for record in caplog.records] == [
        "tun_queue_full: 5 more, 5 since the start"
    ]
    drops.look(101.0 + INTERVAL)
    assert caplog.records[1].getMessage() == (
        f"tun_queue_full: 1,000,000 more, 1,000,005 since the start. {help_of('nat64', 1)}"
    )
    drops.look(200.0)
    assert len(caplog.records) == 2


def test_drops_are_a_warning_for_a_minute(drops, device):
    drops.look(100.0)
    assert drops.warnings() == []
    device.dropped = 10
    drops.look(101.0)
    drops.look(101.0 + RECENT)
    assert drops.warnings() == [f"tun_queue_full: 5 since the start. {help_of('nat64', 1)}"]
    drops.look(102.0 + RECENT)
    assert drops.warnings() == []


def test_more_queues_are_advised_only_to_a_single_one():
    assert "[tun] queues" in help_of("nat64", 1)
    assert "[tun] queues" not in help_of("nat64", 8)


def test_status_events_and_warnings_of_the_daemon_have_them(drops, device):
    live = Live(config_of())
    assert live.status()["tun"] == {}
    live.tun, live.link_drops = {"name": "nat64"}, drops
    device.dropped = 8
    drops.look(1.0)
    assert live.status()["tun"] == {"name": "nat64", "dropped": 3}
    assert live.status()["warnings"] == drops.warnings()
    assert drops.event() in live.events()


def test_a_queue_that_nobody_reads_drops_and_is_counted(namespace):
    tun = open_tun(TunConfig(name="nat64", queues=1, offload=False))
    try:
        ip("link", "set", "nat64", "up", "txqueuelen", "50")
        ip("address", "add", "192.0.2.1/24", "dev", "nat64")
        drops = LinkDrops("nat64", 1, logging.getLogger("test"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(200):
                sender.sendto(b"x", ("192.0.2.2", 9))
        assert drops.count() >= 150
        assert drops.count() + queued(tun.fds[0]) >= 200
    finally:
        tun.close()


def queued(fd):
    """How many IPv4 packets wait in a queue."""
    number = 0
    while True:
        try:
            number += os.read(fd, 1 << 16)[10] >> 4 == 4
        except BlockingIOError:
            return number
