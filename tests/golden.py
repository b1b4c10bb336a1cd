"""Golden captures: `python -m tests.golden` replays each capture in pcaps/ and compares the result octet for octet.

With `--write` it writes the captures again from tests/scenarios/, but only if every scenario is met.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from scapy.layers.inet import IP

from nat64d.config.load import load, loads
from nat64d.offline.capture import Packet, Reader, Writer
from nat64d.offline.compare import Comparison, Output, differing_fields
from nat64d.offline.replay import Ended, Replay
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
    foreign,
    fragments,
    hairpinned,
    headers,
    mappings,
    mtus,
    options,
    pools,
    quoted,
    reassembly,
    services,
    services_ipv6,
    shares,
    tcp,
)

SESSIONS = (conversations, tcp, datagrams, pools, hairpinned)
ROOMS = (
    *SESSIONS,
    mappings,
    addresses,
    headers,
    options,
    mtus,
    fragments,
    reassembly,
    shares,
    errors,
    about,
    quoted,
    foreign,
    services,
    services_ipv6,
)
SCENARIOS: list[Scenario] = [scenario for room in ROOMS for scenario in room.SCENARIOS]
BEGIN = 1_700_000_000 * 10**9  # when the first packet of each capture is sent, in nanoseconds


def main() -> int:
    """0 when every capture came out as it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make pcaps/ anew from tests/scenarios/")
    if parser.parse_args().write:
        problems = [problem for scenario in SCENARIOS for problem in objections(scenario, run(scenario))]
        if not problems:
            write_all()
    else:
        problems = [problem for capture in captures() for problem in differences(capture, replayed(capture))]
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
    """How each packet of a capture ends."""
    with Reader(capture) as reader:
        return [ended for chunk in Replay(load(config_of(capture))).run(reader) for ended in chunk]


def run(scenario: Scenario) -> list[Ended]:
    """How each packet of a scenario ends; needs none of its files."""
    replay = Replay(loads(scenario.config or STANDARD, scenario.name))
    return [ended for chunk in replay.run(packets(scenario)) for ended in chunk]


def verdicts(ends: list[Ended]) -> str:
    """A line a packet."""
    return "".join(f"{ended.verdict.name.lower()}\n" for ended in ends)


def differences(capture: Path, ends: list[Ended]) -> list[str]:
    """How the replay of a capture differs from the packets and verdicts kept beside it; empty if it does not."""
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


def objections(scenario: Scenario, ends: list[Ended]) -> Iterator[str]:
    """How the outcome differs from what the scenario demands."""
    for step, ended in zip(scenario.steps, ends, strict=True):
        for problem in step_objections(step, ended):
            yield f"{scenario.name}, #{ended.number}: {problem}"


def step_objections(step: Step, ended: Ended) -> Iterator[str]:
    """How the outcome of one packet differs from what its step demands."""
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
    """Write every scenario's files and remove all others. The caller has seen that no scenario is objected to."""
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

Each `NAME.pcap` is replayed with the capture's own timestamps as the clock and a fixed secret. The output must equal
`NAME.expected.pcap` octet for octet, and `NAME.verdicts` has the verdict of each packet, one per line. The
configuration is `NAME.toml` if that file exists, otherwise `nat64d.toml`.

    make replay                                                                     all of them
    nat64d replay NAME.pcap -c nat64d.toml --expect NAME.expected.pcap              one of them

The scenarios in `tests/scenarios/` are written by hand from the RFCs: every packet sent, every packet expected, every
verdict. `python -m tests.golden --write` makes the files of this directory, this page included. Inputs, verdicts and
configurations are copies of the scenarios; each `NAME.expected.pcap` is recorded from the translator after its output
was compared with the scenario. Recording adds one thing that a scenario may leave open: the IPv4 Identification.

| Capture | What it shows |
|---|---|
"""


if __name__ == "__main__":
    sys.exit(main())
