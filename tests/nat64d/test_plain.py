"""The loop of the queues in plain Python: what it does to packets, and to tables that several queues share."""

import select
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6

from nat64d.compiling.entries import CONFIG
from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.dataplane.plain import plain_code
from tests import invariants
from tests.packets import HOST4, in6
from tests.reference import packets as make
from tests.workers.device import Device
from translator.packet.fields import UDP
from translator.packet.virtio import VNET_HEADER
from translator.tables.layout import SESSION, records
from translator.tables.tables import SESSIONS
from translator.verdict import Verdict

PATIENCE = 60  # seconds that a packet may take on a busy machine
CODE = plain_code()


class Gateway(Device):
    """Two queues, and the tables that they share."""

    def __init__(self) -> None:
        super().__init__(2)
        config = loads(CONFIG, "test")
        self.settings = settings_of(config, bytes(16), 2)
        self.tables = tables_of(config, self.settings)

    def start(self) -> None:
        for queue in self.queues:
            queue.start(self.settings, self.tables, CODE.run)

    def close(self) -> None:
        for queue in self.queues:
            queue.stop()
        super().close()

    def pass_on(self, number: int, packet: bytes) -> bytes:
        """What comes out of a queue for a packet."""
        self.send(number, packet)
        assert select.select([self.ends[number]], [], [], PATIENCE)[0], self.queues[number].failure
        return self.ends[number].recv(65535)[VNET_HEADER:]


@pytest.fixture
def device() -> Iterator[Gateway]:
    device = Gateway()
    device.start()
    yield device
    device.close()


def datagram(port: int) -> bytes:
    """From an IPv6 host that has none of the [[forward]] entries."""
    return make.ipv6(IPv6Address("2001:db8::99"), IPv6Address(in6(HOST4)), UDP, make.udp(port, 53, b"data"))


def test_packets_pass_in_both_directions(device):
    there = IP(device.pass_on(0, datagram(5000)))
    assert (there.src, there.dst, bytes(there.payload.payload)) == ("198.51.100.1", HOST4, b"data")
    answer = make.ipv4(IPv4Address(HOST4), IPv4Address(there.src), UDP, make.udp(53, there.payload.sport, b"back"))
    back = IPv6(device.pass_on(1, answer))
    assert (back.src, back.dst) == (str(IPv6Address(in6(HOST4))), "2001:db8::99")
    assert (back.payload.dport, bytes(back.payload.payload)) == (5000, b"back")


def test_queues_share_tables_without_losing_count(device):
    def send(number: int) -> None:
        for port in range(40):
            device.pass_on(number, datagram(10000 + 1000 * number + port))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert CODE.usage(device.tables) == (80, 80 + 1)
    assert [int(queue.worker.counters.sum()) for queue in device.queues] == [40, 40]
    invariants.check(device.tables, device.settings, True)
    out = records(100, SESSION)
    assert CODE.copy_live(device.tables, SESSIONS, device.tables.sessions, 0, out, np.zeros(100, np.int64))[1] == 80
    assert len(np.unique(out[:80].host6_port)) == 80


def test_a_queue_goes_on_after_a_stop(device):
    mapped = IP(device.pass_on(0, datagram(5000))).payload.sport
    for queue in device.queues:
        queue.stop()
    device.start()
    assert IP(device.pass_on(0, datagram(5000))).payload.sport == mapped


def test_settings_are_exchanged_by_one_queue_after_the_other_and_no_thread_ends(device):
    mapped = IP(device.pass_on(0, datagram(5000))).payload.sport
    threads = {thread for thread in threading.enumerate() if thread.name.startswith("queue-")}
    denied = replace(device.settings, denylist4=np.array([[int(IPv4Address(HOST4))] * 2]))
    first, second = device.queues
    first.exchange(denied)
    device.ends[0].send(bytes(VNET_HEADER) + datagram(5001))
    assert IP(device.pass_on(1, datagram(5000))).payload.sport == mapped  # by the settings of before
    deadline = time.monotonic() + PATIENCE
    while not first.worker.counters[:, Verdict.DENIED_ADDRESS].sum() and time.monotonic() < deadline:
        time.sleep(0.001)
    for queue in (first, second):
        queue.exchange(device.settings)
    assert {thread for thread in threading.enumerate() if thread.name.startswith("queue-")} == threads
    counted = [queue.worker.counters.sum(axis=0) for queue in device.queues]
    assert [int(row[Verdict.DENIED_ADDRESS]) for row in counted] == [1, 0]
    while select.select([device.ends[0]], [], [], 0)[0]:
        device.ends[0].recv(65535)  # who is denied is told
    assert IP(device.pass_on(0, datagram(5000))).payload.sport == mapped


def test_nobody_waits_for_a_queue_whose_thread_has_ended(device):
    for queue in device.queues:
        queue.stop()
        queue.exchange(device.settings)
    device.start()
    device.ends[0].close()  # poll says that the device is gone
    deadline = time.monotonic() + PATIENCE
    while device.queues[0].failure is None and time.monotonic() < deadline:
        time.sleep(0.001)
    for _ in range(2):
        device.queues[0].exchange(device.settings)
    assert "is gone" in device.queues[0].failure
