"""The translator and the oracle side by side, over pauses around every lifetime of a TCP session."""

from collections.abc import Callable
from random import Random

import pytest

from tests.histories import EXAMPLES, compare
from tests.reference import lifetimes
from tests.reference.comparison import Comparison
from tests.reference.settings import CONFIGS
from tests.reference.world import World


@pytest.mark.parametrize("kind", [lifetimes.short, lifetimes.half_closed], ids=lambda kind: kind.__name__)
def test_every_tcp_timeout_is_that_of_rfc7857_2_1_and_7_1(
    kind: Callable[[Random, World, lifetimes.Send], None],
) -> None:
    def tell(rng: Random, both: Comparison) -> None:
        kind(rng, both.world, both.send)

    compare(CONFIGS["two addresses"] + lifetimes.TIMEOUTS, EXAMPLES * 4, tell)


def test_rfc5382_req_4_a_syn_that_waits_is_dropped_in_silence_once_the_other_one_has_come() -> None:
    def tell(rng: Random, both: Comparison) -> None:
        lifetimes.met(rng, both.world, both.send)

    compare(lifetimes.ONE_PORT, EXAMPLES * 4, tell)
