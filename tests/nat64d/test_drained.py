"""nat64d/dataplane/drained.py: what a worker says of its queue is true, and it says so soon."""

import select
import socket
import time

import numpy as np
import pytest

from nat64d.dataplane.drained import ASLEEP, MOMENT, rows_of
from nat64d.dataplane.plain import plain_code
from nat64d.dataplane.worker import BATCH, NAP, POLLIN, Queue
from tests.packets import from6
from tests.sessions import Sessions
from translator.packet.virtio import VNET_HEADER
from translator.plain import Copies

PLAIN = Copies(("nat64d.dataplane.",)).module("nat64d.dataplane.drained")


@pytest.fixture
def pairs():
    made = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    for ours, _ in made:
        ours.setblocking(False)
    yield made
    for pair in made:
        for end in pair:
            end.close()


def wait_until(true) -> bool:
    """Look, for a minute at most."""
    until = time.monotonic() + 60
    while not true() and time.monotonic() < until:
        select.select([], [], [], 0.002)
    return true()


def test_the_workers_say_of_all_queues_that_they_are_empty_and_sleep_on(pairs):
    """Packets come to the first queue only, and the other worker sleeps for up to a second meanwhile."""
    nat64, rows = Sessions(), rows_of(2)
    queues = [Queue(number, ours.fileno(), coalesces=False) for number, (ours, _) in enumerate(pairs)]
    for queue in queues:
        queue.tell_in(rows, [each.fd for each in queues])
        queue.start(nat64.settings, nat64.tables, plain_code().run)
    try:
        assert wait_until(lambda: bool(rows[:, ASLEEP].all()))
        for _ in range(3):
            sent = time.monotonic_ns()
            pairs[0][1].send(bytes(VNET_HEADER) + bytes(from6(hlim=1)))
            assert wait_until(lambda sent=sent: bool((rows[:, MOMENT] > sent + NAP * 10**6).all()))
        assert int(queues[0].worker.counters.sum()) == 3
    finally:
        for queue in queues:
            queue.stop()
    assert not rows[:, ASLEEP].any()
    before = rows.copy()
    pairs[0][1].send(bytes(VNET_HEADER) + bytes(from6(hlim=1)))
    assert (rows == before).all()


def test_after_a_full_batch_nothing_is_said(pairs):
    """There may be more; a plain loop ends after it where its stop word is set by then."""
    nat64, (ours, theirs) = Sessions(), pairs[0]
    queue, seen = Queue(0, ours.fileno(), coalesces=False), list[int]()
    rows = rows_of(1)
    queue.tell_in(rows, [queue.fd])
    for _ in range(BATCH + 6):
        theirs.send(bytes(VNET_HEADER) + bytes(from6(hlim=1)))

    class Batches:
        """Counts batches, and looks at what was said before each is counted."""

        counted = np.zeros(BATCH + 1, np.int64)

        def __getitem__(self, size):
            return self.counted[size]

        def __setitem__(self, size, count):
            self.counted[size] = count
            seen.append(int(rows[0, MOMENT]))
            if len(seen) == 3:
                queue._scratch.control[0] = 1

    object.__setattr__(queue._scratch, "batches", Batches())
    queue.serve(nat64.settings, nat64.tables, plain_code().run)
    assert (Batches.counted[BATCH], Batches.counted[6], Batches.counted[0]) == (1, 1, 1)
    assert seen[:2] == [0, 0]
    assert 0 < seen[2] < rows[0, MOMENT]


@pytest.mark.parametrize(("waits", "asleep", "said"), [(False, 1, True), (True, 1, False), (False, 0, False)])
def test_of_another_queue_it_is_said_while_that_is_empty_and_its_worker_sleeps(pairs, waits, asleep, said):
    rows, clock = rows_of(2), np.array([7, 500], np.int64)
    polls = np.array([(ours.fileno(), POLLIN) for ours, _ in pairs], np.int32).reshape(-1)
    rows[1, ASLEEP] = asleep
    if waits:
        pairs[1][1].send(b"packet")
    PLAIN.vouch(rows, polls, clock)
    assert rows[:, MOMENT].tolist() == [0, 7 * 10**9 + 500 if said else 0]
    rows[1, MOMENT] = 8 * 10**9
    PLAIN.vouch(rows, polls, clock)
    assert rows[1, MOMENT] == 8 * 10**9
