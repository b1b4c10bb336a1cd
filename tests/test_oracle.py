"""The translator and the oracle of tests/reference side by side: same packets, same histories, octet for octet equal.

A disagreement prints the history as Python; it becomes a named row of reference/regressions.py, whatever side was
wrong. This is the small budget of every run of the suite; `make fuzz-long` compares a million packets.
"""

from random import Random

import pytest
from scapy.layers.inet import IP, TCP

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.offline.engine import Engine
from tests.histories import EXAMPLES, compare
from tests.reference.comparison import Comparison
from tests.reference.regressions import REGRESSIONS
from tests.reference.settings import CONFIGS, SCOPE
from tests.reference.traffic import conversation, history


@pytest.mark.parametrize("name", CONFIGS)
def test_every_history_ends_as_the_rfcs_say(name: str) -> None:
    def tell(rng: Random, both: Comparison) -> None:
        history(rng, both.world, both.send, rng.randint(1, 14))

    compare(CONFIGS[name], EXAMPLES, tell)


def test_every_tcp_conversation_lives_as_long_as_rfc6146_3_5_2_2_says() -> None:
    def tell(rng: Random, both: Comparison) -> None:
        conversation(rng, both.world, both.send)

    compare(CONFIGS["two addresses"], EXAMPLES * 4, tell)


def test_clients_of_a_service_with_affinity_stay_where_they_have_been() -> None:
    """To "again", whose second endpoint gets what goes on, but no new flow."""

    def tell(rng: Random, both: Comparison) -> None:
        for _ in range(rng.randint(1, 12)):
            client, flags = rng.choice(["8.8.8.8", "9.9.9.1", "1.1.1.1"]), rng.choice("SSAR")
            segment = TCP(sport=rng.randint(1024, 65535), dport=80, flags=flags)
            both.send(rng.choice([0.1, 30.0, 70.0, 89.9]), bytes(IP(src=client, dst="192.0.2.80") / segment))

    compare(CONFIGS["services in and beside the pool, two of one endpoint, one without any"], EXAMPLES, tell)


@pytest.mark.parametrize(
    "name",
    [
        "two addresses",
        "tenants by source prefix, denied addresses",
        "services with prefixes of their own, two of one endpoint under each, beside the well-known one",
    ],
)
def test_what_was_open_before_a_start_without_sessions_is_reset(name: str) -> None:
    def tell(rng: Random, both: Comparison) -> None:
        history(rng, both.world, both.send, rng.randint(1, 14))

    compare(CONFIGS[name], EXAMPLES, tell, resets_until=1100.0)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_a_difference_found_before_stays_settled(name: str) -> None:
    world, steps = REGRESSIONS[name]
    config: Config = loads(CONFIGS[world])
    comparison = Comparison(Engine(config), config, SCOPE)
    for at, octets in steps:
        comparison.send(at - comparison.at, bytes.fromhex(octets))
