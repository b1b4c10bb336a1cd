"""Histories by chance, through the translator and the oracle of tests/reference side by side."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nat64d.config.load import loads
from tests.conftest import IN_PLAIN_PYTHON, WITH_BOUNDS_CHECKS
from tests.engines import Engines
from tests.reference.comparison import Comparison
from tests.reference.settings import SCOPE

EXAMPLES = 10 if IN_PLAIN_PYTHON else 25 if WITH_BOUNDS_CHECKS else 40  # histories of a configuration in this pass


def compare(text: str, examples: int, tell: Callable[[Random, Comparison], None], resets_until: float = 0.0) -> None:
    """Let `tell` send so many histories under a configuration, each to an engine and an oracle that remember nothing;
    raises what it raises, for the shortest history that does. `resets_until`: seconds, [filtering] reset_unknown.
    """
    engines, scope = Engines(loads(text)), replace(SCOPE, resets_until=resets_until)
    engines.settings = replace(engines.settings, reset_until=round(resets_until * 1000))

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))  # its choices shrink
    def check(rng: Random) -> None:
        tell(rng, Comparison(engines.new(), engines.config, scope))

    check()
