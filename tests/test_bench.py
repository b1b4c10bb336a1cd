"""The bench: its frames are what they say, and its search finds the rate at which nothing is lost."""

import json
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from tests.bench import bench, beside, dns
from tests.bench.path import frames, measures, pages, places, run
from tests.bench.path.frames import Ends
from tests.bench.path.search import RESOLUTION, Trial, loss_free

MACS = bytes(range(12))


def built(first: str, second: str, payload: frames.Octets) -> tuple[Ends, frames.Octets]:
    flows = frames.draw(len(payload) - 1, places.CLIENTS, 1)
    kind = places.CLIENTS6 if ":" in first else places.CLIENTS4
    hosts = frames.addresses([type(kind)(first) + number for number in range(places.CLIENTS)])
    ends = Ends(hosts[flows.host], flows.client_port, frames.addresses([type(kind)(second)]), flows.server_port)
    return ends, frames.build(MACS, ends, payload)


@pytest.mark.parametrize("addresses", [("2001:db8::1", "2001:db8:2::2"), ("198.18.64.1", "198.18.2.2")], ids=str)
def test_frames_are_datagrams_with_good_checksums(addresses: tuple[str, str]) -> None:
    ends, rows = built(*addresses, frames.opening(50))
    for number, row in enumerate(rows):
        frame = Ether(bytes(row))
        packet = frame[IPv6 if ":" in addresses[0] else IP]
        assert (packet[UDP].sport, packet[UDP].dport) == (ends.source_port[number], ends.target_port[number])
        assert packet.dst == addresses[1]
        assert bytes(packet[UDP].payload)[:4] == number.to_bytes(4, "big")
        sums = packet[UDP].chksum
        del packet[UDP].chksum
        if ":" not in addresses[0]:
            del packet.chksum
        assert bytes(Ether(bytes(frame))) == bytes(row)
        assert sums == Ether(bytes(frame))[UDP].chksum


@pytest.mark.parametrize("addresses", [("2001:db8::1", "2001:db8:2::2"), ("198.18.64.1", "198.18.2.2")], ids=str)
def test_frames_are_read_as_they_were_built(addresses: tuple[str, str]) -> None:
    ends, rows = built(*addresses, frames.opening(50))
    others = np.zeros_like(rows[:1])
    seen, mine = frames.read(np.concatenate([others, rows]), ends.source.shape[1])
    assert mine.tolist() == [False] + [True] * 50
    assert (seen.ends.source == ends.source).all()
    assert (seen.ends.target_port == ends.target_port).all()
    assert seen.numbers.tolist() == list(range(50))


def test_the_checksum_of_a_tagged_frame_holds_at_any_time() -> None:
    _, rows = built("2001:db8::1", "2001:db8:2::2", np.repeat(frames.tagged(frames.SMALLEST), 2, axis=0))
    before = bytes(rows[0])
    frames.tag(rows[0], frames.ETHERNET + frames.IPV6 + frames.UDP, 1_796_138_755_361_746_811)
    assert bytes(rows[0]) != before
    assert frames.read(rows, 16)[0].times.tolist() == [1_796_138_755_361_746_811, 0]
    assert frames.checksum(rows[:, 22:], 17 + 8 + frames.SMALLEST).tolist() == [0xFFFF, 0xFFFF]  # sums to zero


def test_flows_are_random_and_no_two_are_alike() -> None:
    flows = frames.draw(9999, places.CLIENTS, 7)
    assert len(set(zip(*(column.tolist() for column in flows), strict=True))) == flows.number == 10000
    assert flows.server_port[0] == frames.TAG_PORT < min(flows.server_port[1:])
    assert np.ptp(flows.client_port) > 60000
    assert len(set(flows.host.tolist())) == places.CLIENTS


@pytest.mark.parametrize("capacity", [1000, 123_456, 499_000])
def test_the_search_finds_where_loss_begins(capacity: int) -> None:
    tried = []

    def run(rate: float) -> Trial:
        tried.append(rate)
        sent = int(rate or 500_000)
        return Trial(sent, sent, True, min(sent, capacity))

    found = loss_free(run)
    assert (1 - RESOLUTION) * capacity <= found.rate <= capacity + 1
    assert found.full.loss == pytest.approx(1 - capacity / 500_000)
    assert len(tried) < 20


def test_a_single_loss_is_tried_again() -> None:
    trials = iter([Trial(1000, 1000.0, True, 900)])
    lost = []

    def run(rate: float) -> Trial:
        if first := next(trials, None):
            return first
        lost.append(rate)
        return Trial(int(rate), rate, True, int(rate) - (len(lost) == 1))

    assert loss_free(run).rate > 900


def test_a_sender_that_cannot_send_faster_has_lost_nothing() -> None:
    assert loss_free(lambda rate: Trial(500, 500.0, True, 500)).rate == 500


def sample(measure: str, way: str, number: int, **figures: float) -> dict[str, object]:
    return {"measure": measure, "way": way, "round": number, "figures": figures}


def test_a_cell_has_the_rounds_and_the_median_of_their_ratios() -> None:
    rates = {"forwarding": (100.0, 200.0, 400.0), "fast path": (90.0, 100.0, 400.0)}
    rows = [sample("m", way, number, rate=rate) for way, each in rates.items() for number, rate in enumerate(each)]
    given = pages.Samples({"samples": [*rows, sample("m", "tayga", 0)]})
    line = pages.Line("title", "m", "rate", 1)
    assert pages.cell(given, line, "forwarding") == "200 (100–400)"
    assert pages.cell(given, line, "fast path") == "100 (90–400) **0.90**"
    assert pages.cell(given, line, "tayga") == "–"


def test_what_falls_short_of_a_goal_is_said() -> None:
    name = pages.GOALS[0].measure
    rows = [sample(name, "forwarding", 0, rate=100.0), sample(name, "fast path", 0, rate=89.0)]
    assert "0.89 | at least 0.90 | missed" in pages.goals(pages.Samples({"samples": rows}))
    rows[1] = sample(name, "fast path", 0, rate=90.0)
    assert "missed" not in pages.goals(pages.Samples({"samples": rows}))


@pytest.mark.parametrize(
    ("figure", "now", "said"),
    [
        ("rate", (90.0, 80.0, 99.0), "0.90 (0.80–0.99) | worse"),
        ("rate", (90.0, 80.0, 101.0), "0.90 (0.80–1.01) | "),
        ("rate", (97.0, 97.0, 97.0), "0.97 (0.97–0.97) | "),
        ("cpu", (110.0, 120.0, 101.0), "1.10 (1.01–1.20) | worse"),
        ("cpu", (90.0, 80.0, 70.0), "0.80 (0.70–0.90) | "),
    ],
)
def test_what_is_worse_than_before_in_every_round_is_said(figure: str, now: tuple[float, ...], said: str) -> None:
    rows = [sample("m", "before", number, **{figure: 100.0}) for number in range(3)]
    rows += [sample("m", "nat64d", number, **{figure: value}) for number, value in enumerate(now)]
    assert pages.comparison(pages.Samples({"samples": rows})).splitlines()[-1].endswith(f"{said} |")


def test_a_run_that_is_cut_off_leaves_what_it_has_measured(tmp_path: Path) -> None:
    def run_out(bench: object, way: object) -> dict[str, float]:
        if next(turns) == 3:
            raise KeyboardInterrupt
        return {"rate": 1.23456}

    turns, way, file = count(), places.Way(*["way"] * len(places.Way._fields)), tmp_path / "samples.json"  # type: ignore[arg-type]
    results = run.Results(file, {"seconds": 1})
    with pytest.raises(KeyboardInterrupt):
        run.compare(None, [way, way], [measures.Measure("m", run_out)], 9, time.monotonic() + 99, results)  # type: ignore[arg-type]
    assert [row["figures"] for row in json.loads(file.read_text())["samples"]] == [{"rate": 1.235}] * 2


def test_samples_that_were_written_are_read_as_they_were() -> None:
    answered = [
        dns.Row(measure, name, dns.Sample(9.5, 0, 0.25, 0.125)) for measure in dns.MEASURES for name in dns.PORTS
    ]
    forwarded = [beside.Row(measure, load, 1.5, 1.0) for measure in beside.CHOSEN for load in beside.LOADS]
    document = {"dns": dns.documents(answered), "beside": beside.documents(forwarded)}
    document = json.loads(bench.written(document))
    assert (dns.rows(document["dns"]), beside.rows(document["beside"])) == (answered, forwarded)
