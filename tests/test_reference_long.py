"""`make fuzz-long`: it counts what it compares, and cuts a disagreement down to the packets it needs."""

import dataclasses
import re
from ipaddress import IPv6Address

from nat64d.config.load import loads
from nat64d.offline.engine import Engine
from tests import fuzz_long
from tests.reference import packets as make
from tests.reference.comparison import Comparison
from tests.reference.reading import ICMPV6, UDP
from tests.reference.settings import CONFIGS, SCOPE
from tests.reference.world import HOSTS4, HOSTS6

# By the letter of RFC 6146 3.8 a hairpinned fragment loses half of its Identification; the translator keeps it.
WRONG = dataclasses.replace(SCOPE, hairpins_directly=False)
NAME = "two addresses"


def planted() -> fuzz_long.Steps:
    """Pings, and among them the two packets it takes to see the difference."""
    config = loads(CONFIGS[NAME])
    comparison = Comparison(Engine(config), config, SCOPE)
    world = comparison.world
    server = world.seen_from_ipv6(HOSTS4[0])

    def ping(sequence: int) -> bytes:
        return make.ipv6(HOSTS6[0], server, ICMPV6, make.echo(128, 7, bytes([sequence])))

    opening = make.ipv6(HOSTS6[1], server, UDP, make.udp(5001, 53))
    for packet in (ping(0), opening, ping(1), ping(2)):
        comparison.send(1.0, packet)
    (mapped4, port) = next(entry.mapped4 for entry in world.mapped if entry.protocol == "udp")  # type: ignore[misc]
    there = IPv6Address(world.seen_from_ipv6(mapped4))
    header = make.fragment_header(0, True, 0x12345678)
    fragment = make.ipv6(HOSTS6[0], there, UDP, make.udp(5000, port, bytes(8), length=100), extensions=(header,))
    for packet in (fragment, ping(3), ping(4)):
        comparison.send(1.0, packet)
    return comparison.history


def test_a_short_night_ends_without_a_disagreement(capsys) -> None:
    assert fuzz_long.main(["--packets", "60", "--processes", "2", "--seed", "1"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("seed 1: ")
    assert last.endswith(" 0 disagreements")
    assert int(last.split()[2]) >= 60


def test_a_disagreement_is_cut_down_to_the_packets_it_needs() -> None:
    steps = planted()
    assert fuzz_long.complaint_about(NAME, SCOPE, steps) == (7, "")
    fewest, complaint = fuzz_long.shrink(NAME, WRONG, steps)
    assert [packet for _, packet in fewest] == [steps[1][1], steps[4][1]]
    assert fewest[0][0] == fewest[1][0]
    assert re.search(r"^\+ +id += 305419896$", complaint, re.MULTILINE)


def test_a_disagreement_is_told_as_a_row_for_the_regressions(monkeypatch) -> None:
    def history(rng, world, send, steps) -> None:
        before = 1000.0
        for at, packet in planted():
            send(at - before, packet)
            before = at

    monkeypatch.setattr(fuzz_long, "history", history)
    monkeypatch.setattr(fuzz_long, "conversation", lambda rng, world, send: history(rng, world, send, 0))
    monkeypatch.setattr(fuzz_long, "CONFIGS", {NAME: CONFIGS[NAME]})
    told: list[fuzz_long.Report] = []
    fuzz_long.explore("any", 100, WRONG, told.append)
    rows = [report.row for report in told if report.row]
    assert len(rows) == fuzz_long.ENOUGH
    text = rows[0][rows[0].index('    "NAME": (') :]
    ((name, steps),) = eval("{" + text + "}").values()
    assert name == NAME
    assert fuzz_long.complaint_about(name, WRONG, [(at, bytes.fromhex(octets)) for at, octets in steps])[1]


def test_a_crash_is_a_disagreement_too(monkeypatch) -> None:
    monkeypatch.setattr(Comparison, "send", lambda self, pause, packet: self.history.append((0.0, packet)) or 1 / 0)
    size, complaint = fuzz_long.complaint_about(NAME, SCOPE, [(1000.0, b"")])
    assert size == 1
    assert "ZeroDivisionError" in complaint
