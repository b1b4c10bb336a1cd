"""The bench: a round of it over the kernel's own ways."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.path import measures, peer, places, run
from tests.bench.path.flows import FOUR_TO_SIX, SIX_TO_FOUR
from tests.bench.path.measures import Bench
from tests.bench.path.places import Way
from tests.bench.path.wire import End
from tests.bench.paths import entered

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def given(namespaces: None) -> Iterator[tuple[Bench, list[Way]]]:
    with run.bench(0.05, {name: places.WAYS[name] for name in ("forwarding", "masquerade")}, 0) as given:
        yield given


@pytest.mark.parametrize("direction", [SIX_TO_FOUR, FOUR_TO_SIX])
def test_flows_open_and_datagrams_arrive_with_their_delays(given: tuple[Bench, list[Way]], direction: str) -> None:
    bench, ways = given
    for way in ways:
        figures = run.one(bench, measures.throughput(32, direction, delays=True), way, 0).figures
        assert figures["delivered"] > 0
        assert figures["idle tagged"] == figures["idle sent"] > 0
        assert 0 < figures["idle p50"] <= figures["idle p99"] < 5


def test_new_flows_are_counted_and_sessions_end(given: tuple[Bench, list[Way]]) -> None:
    bench, (forwarding, masquerade) = given
    assert run.one(bench, measures.established(), forwarding, 0).figures["delivered"] > 0
    assert run.one(bench, measures.established(), masquerade, 0).figures["ended"] > 0


def test_a_way_that_does_not_work_says_so(given: tuple[Bench, list[Way]]) -> None:
    bench, ways = given
    broken = ways[0]._replace(client_gateway=bytes(6))
    assert "0 of 2 flows opened" in run.one(bench, measures.throughput(1, SIX_TO_FOUR), broken, 0).failed


def test_generator_and_sink_can_be_two_processes(
    given: tuple[Bench, list[Way]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, (forwarding, _) = given
    host, listen = bench.network.server, str(tmp_path / "sink")
    monkeypatch.setenv(peer.KEY, "some words")
    host.run("nft", "delete", "table", "netdev", "bench")
    sink = host.popen(sys.executable, "-m", "tests.bench.path.peer", "sink", "gateway", listen)
    try:
        while not Path(listen).exists():
            assert sink.poll() is None
            time.sleep(0.05)
        there = peer.manager(listen)
        there.connect()
        with entered(bench.network.client):
            client = End("gateway")
        macs = ",".join(mac.hex(":") for mac in (forwarding.client_gateway, forwarding.server_gateway))
        addresses = (str(places.CLIENTS6), str(places.SERVER6), str(places.SERVER6))
        way = peer.between(client, there.End("gateway"), *addresses, macs)  # type: ignore[attr-defined]
        assert run.one(bench, measures.throughput(32, FOUR_TO_SIX), way, 0).figures["delivered"] > 0
        client.close()
    finally:
        sink.terminate()
        sink.wait(10)
    assert "bench" not in host.run("nft", "list", "tables").stdout
