"""The golden captures: the files in pcaps/, the scenarios and the translator agree."""

import shutil

import pytest

from nat64d.config.load import load
from nat64d.offline.capture import Reader, Writer
from nat64d.offline.engine import Engine
from tests import golden
from tests.golden import SCENARIOS
from tests.reference.comparison import Comparison
from tests.reference.front6 import Both, Front6
from tests.scenarios import PCAPS, Scenario, drops, passes, to_server4, to_server6
from tests.scenarios.conversations import PING4, PING6
from tests.test_oracle import SCOPE
from translator.verdict import Answer, Verdict

NAMES = [scenario.name for scenario in SCENARIOS]
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)


@each_scenario
def test_the_files_of_a_scenario_hold_what_it_says(scenario):
    capture = PCAPS / f"{scenario.name}.pcap"
    with Reader(capture) as reader:
        assert list(reader) == golden.packets(scenario)
    own = golden.beside(capture, ".toml")
    assert (own.read_text("utf-8") if own.exists() else None) == scenario.config
    assert golden.beside(capture, ".verdicts").read_text("utf-8").split() == [step.verdict for step in scenario.steps]


@each_scenario
def test_the_replay_meets_the_scenario_and_equals_the_expected_capture(scenario):
    capture = PCAPS / f"{scenario.name}.pcap"
    ends = golden.replayed(capture)
    assert list(golden.objections(scenario, ends)) == []
    assert golden.differences(capture, ends) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_agrees(name):
    capture = PCAPS / f"{name}.pcap"
    config = load(golden.config_of(capture))
    if config.services.ipv6_front != "off":
        with Reader(capture) as reader:
            both = Both(Engine(config), Front6(config))
            assert [both.send(octets) for _, octets in reader]
        return
    comparison = Comparison(Engine(config), config, SCOPE)
    with Reader(capture) as reader:
        last = golden.BEGIN
        for time, octets in reader:
            comparison.send((time - last) / 10**9, octets)
            last = time


def test_there_is_a_scenario_for_every_capture_and_a_line_for_both():
    assert [capture.name.removesuffix(".pcap") for capture in golden.captures()] == sorted(NAMES)
    assert (PCAPS / "README.md").read_text("utf-8") == golden.page(), "run: python -m tests.golden --write"


def test_every_verdict_has_a_capture():
    shown = {step.verdict for scenario in SCENARIOS for step in scenario.steps}
    assert shown == {verdict.name.lower() for verdict in Verdict} - {"continue"}


def test_every_answer_has_a_capture():
    answered = {step.verdict for scenario in SCENARIOS for step in scenario.steps if step.out}
    assert {verdict.name.lower() for verdict in Verdict if verdict.answer != Answer.NONE} <= answered


def test_a_wrong_scenario_is_objected_to():
    wrong = Scenario(
        "wrong",
        "",
        [
            passes(to_server6(PING6), to_server4(PING4, ttl=62)),
            drops("truncated", to_server6(PING6)),
            passes(to_server6(PING6), to_server4(PING4), to_server4(PING4)),
        ],
    )
    found = list(golden.objections(wrong, golden.run(wrong)))
    assert len(found) == 4
    assert found[0].startswith("wrong, #1: -  IP ttl = 62\n+  IP ttl = 63\n-  IP chksum = ")
    assert found[1:] == [
        "wrong, #2: verdict translated, expected truncated",
        "wrong, #2: 1 packets, expected 0",
        "wrong, #3: 1 packets, expected 2",
    ]


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """pcaps/ with one capture in it."""
    for file in (PCAPS / "nat64d.toml", *PCAPS.glob("ping_from_ipv6.*")):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(golden, "PCAPS", tmp_path)
    monkeypatch.setattr("sys.argv", ["golden"])
    return tmp_path


def test_the_command_is_quiet_about_what_is_right(copies, capsys):
    assert golden.main() == 0
    assert capsys.readouterr().out == "1 golden captures, 0 differences\n"


def test_the_command_tells_what_differs(copies, capsys):
    expected, verdicts = copies / "ping_from_ipv6.expected.pcap", copies / "ping_from_ipv6.verdicts"
    with Reader(expected) as reader:
        packets = list(reader)
    with Writer(expected) as writer:
        for time, octets in packets[1:]:
            writer.write(time, octets)
    verdicts.write_text(verdicts.read_text("utf-8").replace("translated", "hairpinned", 1), "utf-8")
    assert golden.main() == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("ping_from_ipv6.pcap: #1 translated: a packet that is not in the golden capture: IP ")
    assert told[1].startswith("ping_from_ipv6.pcap: verdicts ['translated', ")
    assert told[2:] == ["1 golden captures, 2 differences"]


def test_writing_makes_the_same_files_anew_and_removes_old_ones(copies, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["golden", "--write"])
    monkeypatch.setattr(golden, "SCENARIOS", [each for each in SCENARIOS if each.name == "ping_is_dropped_when_asked"])
    assert golden.main() == 0
    names = {"README.md", "nat64d.toml", *(file.name for file in PCAPS.glob("ping_is_dropped_when_asked.*"))}
    assert {file.name for file in copies.iterdir()} == names
    for name in names - {"README.md"}:
        assert (copies / name).read_bytes() == (PCAPS / name).read_bytes()


def test_nothing_is_written_while_a_scenario_is_not_met(copies, monkeypatch, capsys):
    before = {file.name: file.read_bytes() for file in copies.iterdir()}
    monkeypatch.setattr("sys.argv", ["golden", "--write"])
    monkeypatch.setattr(golden, "SCENARIOS", [Scenario("wrong", "", [drops("truncated", to_server6(PING6))])])
    assert golden.main() == 1
    assert {file.name: file.read_bytes() for file in copies.iterdir()} == before
