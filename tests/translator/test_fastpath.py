"""Whatever packet comes, the program passes it as it came, or it becomes what the pipeline makes of it
(tests/fastpath.py)."""

import errno
from dataclasses import replace
from random import Random

import pytest

from nat64d.config.load import load, loads
from nat64d.dataplane.bpf.system import SystemCallError
from nat64d.offline.capture import SECOND, Reader
from nat64d.offline.engine import START
from tests.established import CONFIGS, Traffic
from tests.fastpath import TAKEN, Apart, AtInterface, Twin, carried
from tests.golden import captures, config_of
from tests.reference.comparison import Comparison
from tests.reference.settings import CONFIGS as WORLDS
from tests.reference.settings import SCOPE
from tests.reference.traffic import conversation, history
from translator.jit.compile import COMPILED
from translator.tables.gateway import Gateway

SOME, EVERY = 12, 1  # captures


@pytest.fixture(autouse=True)
def _in_a_kernel() -> None:
    """Compiled, this machine's kernel runs the program."""
    if COMPILED:
        try:
            Twin(loads(CONFIGS["well-known"])).close()
        except SystemCallError as error:
            if error.errno != errno.EPERM:
                raise
            pytest.skip(f"bpf(2) is refused: {error}")


def established(name: str, packets: int) -> Twin:
    """A twin that has met so many packets."""
    twin = Twin(loads(CONFIGS[name]))
    traffic = Traffic(Random(name), twin)
    for _ in range(packets):
        traffic.send()
    twin.close()
    return twin


@pytest.mark.parametrize("name", CONFIGS)
def test_packets_of_established_flows(name: str) -> None:
    twin = established(name, 150)
    assert twin.wrong == []
    assert all(twin.reasons[reason] > 3 for reason in TAKEN)


@pytest.mark.parametrize("name", ["well-known", "mappings beside sessions", "no sessions"])
def test_packets_of_established_flows_where_they_come_in(name: str) -> None:
    twin = AtInterface(loads(CONFIGS[name]))
    traffic = Traffic(Random(name), twin)
    for _ in range(150):
        traffic.send()
    twin.close()
    assert twin.wrong == []
    if name == "no sessions":  # what forwards them has not seen one of these
        assert not twin.taken
    else:
        assert all(twin.taken[reason] > 3 for reason in TAKEN)


def test_no_session_ends_before_its_time_and_both_paths_count_what_it_carries() -> None:
    twin = Apart(loads(CONFIGS["well-known"] + "[log]\naccounting = true\n"))
    traffic = Traffic(Random("lifetimes"), twin)
    for _ in range(300):
        traffic.send()
    twin.close()
    assert twin.wrong == []
    assert twin.unwritten > 10
    both, alone = carried(twin), carried(twin.all)
    assert {ends: both[ends] for ends in alone} == alone
    assert sum(account[0] > 3 and account[2] > 3 for account in alone.values()) > 1, "nothing to compare"


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_many_packets_of_established_flows(name: str) -> None:
    twin = established(name, 20_000)
    assert twin.wrong == []


def replayed(step: int) -> tuple[list[str], int]:
    """What is wrong with every so manieth golden capture, and how many packets of them were taken."""
    wrong, taken = [], 0
    for capture in captures()[::step]:
        twin = Twin(load(config_of(capture)))
        with Reader(capture) as reader:
            packets = list(reader)
        for when, octets in packets:
            twin.send(octets, START / 1000 + (when - packets[0][0]) / SECOND)
        wrong += [f"{capture.name}: {text}" for text in twin.wrong]
        taken += sum(twin.reasons[reason] for reason in TAKEN)
        twin.close()
    return wrong, taken


def test_some_golden_captures() -> None:
    wrong, taken = replayed(SOME)
    assert wrong == []
    assert taken > 0


@pytest.mark.slow
def test_every_golden_capture() -> None:
    wrong, taken = replayed(EVERY)
    assert wrong == []
    assert taken > 70


@pytest.mark.slow
def test_histories_that_the_oracle_has_seen_too() -> None:
    for number, (name, text) in enumerate([*WORLDS.items()] * 8):
        rng, config = Random(f"{name} {number}"), loads(text)
        twin = Twin(config)
        both = Comparison(twin, config, SCOPE)
        if twin.program is not None and rng.randrange(2):
            for _ in range(10):
                conversation(rng, both.world, both.send)
        else:
            history(rng, both.world, both.send, 100)
        assert twin.wrong == []
        twin.close()


def test_a_difference_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline writes another traffic class than the program was told."""
    twin = Twin(loads(CONFIGS["well-known"]))
    twin.gateway = Gateway(replace(twin.settings, traffic_class=7), twin.tables, twin.worker)
    traffic = Traffic(Random("other"), twin)
    for _ in range(60):
        traffic.send()
    twin.close()
    assert any("made other octets" in text for text in twin.wrong)
