"""Quiet hosts find the gateway as it always is, whoever attacks it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab
from tests.e2e.attack import report
from tests.e2e.attack.network import Network
from tests.e2e.attack.scenarios import ATTACKS, Attack
from tests.e2e.attack.stage import Stage

pytestmark = pytest.mark.e2e

# A machine that is busy with other things for a moment starves gateway and hosts alike: the suite takes the best of
# three runs, `make attack` the first.
ATTEMPTS = int(os.environ.get("NAT64D_ATTACK_ATTEMPTS", "3"))

SCENARIOS = [
    pytest.param(
        attack,
        pool,
        marks=() if attack.always and pool == attack.pools[0] else pytest.mark.slow,
        id=f"{attack.name} {pool}",
    )
    for attack in ATTACKS
    for pool in attack.pools
]


@pytest.fixture(scope="module")
def network(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """The hosts of network.py."""
    with Lab("attack") as lab:
        yield Network(lab, tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize(("attack", "pool"), SCENARIOS)
def test_quiet_hosts_do_not_notice(network: Network, attack: Attack, pool: str, tmp_path: Path) -> None:
    for attempt in range(ATTEMPTS):
        (directory := tmp_path / str(attempt)).mkdir()
        with Stage(network, attack, pool, directory) as stage:
            outcome = stage.play()
        report.OUTCOMES.append(outcome)
        if not outcome.faults():
            return
    pytest.fail("\n".join([*outcome.faults(), report.line(outcome), stage.daemon.said()]))
