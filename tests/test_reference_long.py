"""`make fuzz-long`: it counts what it compares, and cuts a disagreement down to the packets it needs."""

import dataclasses

from tests import fuzz_long
from tests.reference.settings import CONFIGS, SCOPE

WRONG = dataclasses.replace(SCOPE, hairpins_directly=False)  # the letter of RFC 6146 3.8: the translator does otherwise


def test_a_short_night_ends_without_a_disagreement(capsys) -> None:
    assert fuzz_long.main(["--packets", "60", "--processes", "2", "--seed", "1"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("seed 1: ")
    assert last.endswith(" 0 disagreements")
    assert int(last.split()[2]) >= 60


def test_a_disagreement_is_cut_down_to_a_row_that_still_shows_it() -> None:
    found: list[str] = []
    seeds = (f"planted/{k}" for k in range(50))
    while not found:
        fuzz_long.explore(next(seeds), 1500, WRONG, lambda report: found.append(report.row) if report.row else None)
    text = found[0][found[0].index('    "NAME": (') :]
    ((name, steps),) = eval("{" + text + "}").values()
    assert name in CONFIGS
    assert len(steps) <= 12
    octets = [(at, bytes.fromhex(packet)) for at, packet in steps]
    assert fuzz_long.complaint_about(name, WRONG, octets)[1]
    for at in range(len(octets)):
        assert not fuzz_long.complaint_about(name, WRONG, octets[:at] + octets[at + 1 :])[1]
    assert not fuzz_long.complaint_about(name, SCOPE, octets)[1]
