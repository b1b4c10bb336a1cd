"""All of it for a while."""

import threading
import time
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from nat64d.dataplane.worker import Queue
from tests import invariants
from tests.workers.control import CONFIGURATIONS, ONE_CLOCK, Control
from tests.workers.device import PATIENCE, Device, gateway
from tests.workers.traffic import Sender

PAUSE = 0.02  # seconds between two things of the control plane


class Done(NamedTuple):
    """How much of it there was."""

    sent: int  # packets
    came: int
    probes: int  # of `sent`, packets of a [[forward]]
    back: int  # of `came`, those
    control: dict[str, int]  # how often each thing was done


def stress(seconds: float, seed: int, queues: int = 2, say: Callable[[Done], None] = lambda _: None) -> Done:
    """Packets through so many queues at once, and control beside them. Raises what went wrong: StuckError when a packet
    did not come out, AssertionError when the tables do not add up."""
    device, ended = Device(queues), threading.Event()
    live = gateway(CONFIGURATIONS[0], device)
    senders = [Sender(device, number, seed, ended) for number in range(queues)]
    control = Control(live, Random(seed))
    try:
        for each in senders:
            each.start()
        deadline = time.monotonic() + seconds
        while not ended.wait(PAUSE) and time.monotonic() < deadline:
            control.act()
            say(_done(senders, control))
    finally:
        ended.set()
        for each in senders:
            each.join(2 * PATIENCE)
        live.stand_still()
        device.close()
    for fault in filter(None, (each.fault for each in senders)):
        raise fault
    assert live.tables is not None
    assert live.settings is not None
    invariants.check(live.tables, live.settings, ONE_CLOCK)
    _check_counters(live.queues, senders)
    return _done(senders, control)


def _check_counters(queues: list[Queue], senders: list[Sender]) -> None:
    """Each packet has had exactly one verdict."""
    for queue, sender in zip(queues, senders, strict=True):
        counted = int(queue.worker.counters.sum())
        assert counted == sender.sent, f"queue {queue.worker.number}: {sender.sent} sent, {counted} counted"


def _done(senders: list[Sender], control: Control) -> Done:
    sent, came, probes, back = (
        sum(getattr(each, name) for each in senders) for name in ("sent", "came", "probes", "back")
    )
    return Done(sent, came, probes, back, dict(control.done))
