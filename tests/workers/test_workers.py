"""Some seconds of `python -m tests.workers`."""

from secrets import randbits

from tests.workers.run import stress

SECONDS = 4.0
MOST_LOST = 0.01  # of the packets of a [[forward]]: a table that is full has no room for its session


def test_queues_and_the_control_plane_share_tables() -> None:
    seed = randbits(31)
    print(f"seed {seed}")
    done = stress(SECONDS, seed)
    assert done.sent > done.came > 0
    assert done.back > (1 - MOST_LOST) * done.probes
    assert sum(done.control.values())
