"""The limits of ICMP errors against the oracle of tests/reference: of each kind, for each receiver and in all."""

from random import Random

import pytest

from nat64d.config.load import loads
from nat64d.offline.engine import Engine
from tests.conftest import IN_PLAIN_PYTHON
from tests.reference.comparison import Comparison
from tests.reference.settings import SCOPE
from tests.reference.traffic import history
from translator.verdict import Event

LIMITED = """
    pool6 = "2001:db8:64::/96"
    pool4 = [{ addresses = "192.0.2.1-192.0.2.2" }]
    filtering = { drop_inbound_tcp = true }
    translation = { mtu4 = 1000, mtu6 = 1280 }
    limits = { sessions = 64, icmp_errors_per_second = %d }
"""


PACKETS = 400 if IN_PLAIN_PYTHON else 1200


@pytest.mark.parametrize("rate", [1, 4, 12])
@pytest.mark.parametrize("seed", range(1 if IN_PLAIN_PYTHON else 3))
def test_icmp_errors_are_limited_by_kind_and_receiver(seed: int, rate: int) -> None:
    """The same each time: by chance two receivers may have one bucket, of which the oracle knows nothing."""
    config, engine = loads(LIMITED % rate), Engine(loads(LIMITED % rate))
    comparison = Comparison(engine, config, SCOPE)
    history(Random(seed), comparison.world, lambda _, packet: comparison.send(0.001, packet), PACKETS)
    assert engine.worker.events[Event.ANSWER_LIMITED] > 0
    assert engine.worker.events[Event.ANSWER_SENT] > rate
