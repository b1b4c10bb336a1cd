"""Golden captures: `python -m tests.golden` replays every one of pcaps/ and compares the result byte for byte.

With `--write` the captures are made anew from tests/scenarios/, and only if the outcome is what the scenarios say.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from scapy.layers.inet import IP

from nat64d.config import load, loads
from nat64d.replay.capture import Packet, Reader, Writer
from nat64d.replay.compare import Comparison, Output, differing_fields
from nat64d.replay.replay import Ended, Replay
from tests.scenarios import (
    PCAPS,
    STANDARD,
    Scenario,
    Sent,
    Step,
    about,
    addresses,
    conversations,
    datagrams,
    errors,
    fragments,
    hairpinned,
    headers,
    mappings,
    mtus,
    options,
    pools,
    quoted,
    reassembly,
    tcp,
)

SESSIONS = (conversations, tcp, datagrams, pools, hairpinned)
ROOMS = (*SESSIONS, mappings, addresses, headers, options, mtus, fragments, reassembly, errors, about, quoted)
SCENARIOS: list[Scenario] = [scenario for room in ROOMS for scenario in room.SCENARIOS]
BEGIN = 1_700_000_000 * 10**9  # when the first packet of each capture is sent, in nanoseconds


def main() -> int:
    """0 when every capture came out as it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make pcaps/ anew from tests/scenarios/")
    if parser.parse_args().write:
        problems = [problem for scenario in SCENARIOS for problem in objections(scenario)]
        if not problems:
            write_all()
    else:
        problems = [problem for capture in captures() for problem in differences(capture)]
    for problem in problems:
        print(problem)
    print(f"{len(captures())} golden captures, {len(problems)} differences")
    return 1 if problems else 0


def captures() -> list[Path]:
    """The inputs in pcaps/."""
    return sorted(file for file in PCAPS.glob("*.pcap") if not file.name.endswith(".expected.pcap"))


def beside(capture: Path, suffix: str) -> Path:
    """The file of that suffix that belongs to an input."""
    return capture.with_name(capture.name.removesuffix(".pcap") + suffix)


def config_of(capture: Path) -> Path:
    """The capture's own configuration, else the one for all."""
    own = beside(capture, ".toml")
    return own if own.exists() else PCAPS / "nat64d.toml"


def replayed(capture: Path) -> list[Ended]:
    """What becomes of a capture's packets."""
    with Reader(capture) as reader:
        return [ended for chunk in Replay(load(config_of(capture))).run(reader) for ended in chunk]


def verdicts(ends: list[Ended]) -> str:
    """A line a packet."""
    return "".join(f"{ended.verdict.name.lower()}\n" for ended in ends)


def differences(capture: Path) -> list[str]:
    """In what the replay differs from the files kept; empty when in nothing."""
    ends = replayed(capture)
    found: list[str] = []
    with Reader(beside(capture, ".expected.pcap")) as golden:
        comparison = Comparison(golden, lambda text: found.append(f"{capture.name}: {text}"))
        for ended in ends:
            for octets in (*ended.due, *ended.outputs):
                comparison.add(Output(ended.time, octets, ended.number, ended.verdict))
        comparison.finish()
    got, expected = verdicts(ends).split(), beside(capture, ".verdicts").read_text("utf-8").split()
    if got != expected:
        found.append(f"{capture.name}: verdicts {got}, expected {expected}")
    return found


def packets(scenario: Scenario) -> list[Packet]:
    """What a scenario sends, with its times."""
    time, sent = BEGIN, []
    for number, step in enumerate(scenario.steps):
        time += round(step.after * 10**9) if number else 0
        sent.append((time, bytes(step.sent)))
    return sent


def objections(scenario: Scenario) -> Iterator[str]:
    """In what the translator differs from a scenario."""
    replay = Replay(loads(scenario.config or STANDARD, scenario.name))
    ends = [ended for chunk in replay.run(packets(scenario)) for ended in chunk]
    for step, ended in zip(scenario.steps, ends, strict=True):
        for problem in step_objections(step, ended):
            yield f"{scenario.name}, #{ended.number}: {problem}"


def step_objections(step: Step, ended: Ended) -> Iterator[str]:
    """In what the end of one packet differs from what has to come of it."""
    if ended.verdict.name.lower() != step.verdict:
        yield f"verdict {ended.verdict.name.lower()}, expected {step.verdict}"
    got, wanted = (*ended.due, *ended.outputs), (*step.due, *step.out)
    if len(got) != len(wanted):
        yield f"{len(got)} packets, expected {len(wanted)}"
    for packet, octets in zip(wanted, got, strict=False):
        expected = as_octets(packet, octets)
        if expected != octets:
            yield "\n".join(differing_fields(expected, octets))


def as_octets(packet: Sent, got: bytes) -> bytes:
    """A scenario's packet as octets; an IPv4 Identification that it leaves open is the translator's choice."""
    if isinstance(packet, IP) and "id" not in packet.fields:
        packet = packet.copy()
        packet.id = int.from_bytes(got[4:6])
    return bytes(packet)


def write_all() -> None:
    """Write every scenario's files, and remove those of none."""
    for file in (*PCAPS.glob("*.pcap"), *PCAPS.glob("*.verdicts"), *PCAPS.glob("*.toml")):
        if file.name != "nat64d.toml":
            file.unlink()
    for scenario in SCENARIOS:
        capture = PCAPS / f"{scenario.name}.pcap"
        with Writer(capture) as writer:
            for time, octets in packets(scenario):
                writer.write(time, octets)
        if scenario.config:
            beside(capture, ".toml").write_text(scenario.config, "utf-8")
        ends = replayed(capture)
        with Writer(beside(capture, ".expected.pcap")) as writer:
            for ended in ends:
                for octets in (*ended.due, *ended.outputs):
                    writer.write(ended.time, octets)
        beside(capture, ".verdicts").write_text(verdicts(ends), "utf-8")
    (PCAPS / "README.md").write_text(page(), "utf-8")


def page() -> str:
    """pcaps/README.md."""
    rows = "".join(f"| `{scenario.name}` | {scenario.shows} |\n" for scenario in SCENARIOS)
    return PAGE + rows


PAGE = """\
# Golden captures

Each `NAME.pcap` goes through the translator, by its own clock and without secret, and must become `NAME.expected.pcap`
to the octet, with the verdicts of `NAME.verdicts`, a line a packet. The configuration is `NAME.toml` where there is
one, else `nat64d.toml`.

    make replay                                                                     all of them
    nat64d replay NAME.pcap -c nat64d.toml --expect NAME.expected.pcap              one of them

`tests/scenarios/` holds what is sent and what has to come of it, written by hand from the RFCs;
`python -m tests.golden --write` makes these files from it, this page too.

| Capture | What it shows |
|---|---|
"""


if __name__ == "__main__":
    sys.exit(main())
