"""`nat64d doctor`: what is printed, and how it exits."""

import json

import pytest

from nat64d.doctor import command
from nat64d.doctor.checks import CHECKS
from nat64d.doctor.look import Look, UnseenError
from tests import pages
from tests.architecture import ROOT
from tests.nat64d.sound import ABSENT, GATEWAY, SOUND
from tests.nat64d.test_cli import run


@pytest.fixture
def seen(monkeypatch):
    """What the command reads, on a sound host without a daemon; a test may change it."""
    there = {**SOUND, "answer": ABSENT}
    readers = {name: (lambda _, name=name: there[name]) for name in there}
    monkeypatch.setattr(command, "READERS", readers)
    return there


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "nat64d.toml"
    path.write_text(GATEWAY)
    return path


def test_nothing_found_is_0(seen, file):
    seen["answer"] = SOUND["answer"]
    result = run("doctor", "-c", file)
    assert (result.exit_code, result.stdout) == (0, f"{len(CHECKS)} checks: nothing found\n")
    assert run("doctor", "-c", file, "--json").stdout == ""


def test_a_finding_is_1_and_the_worst_comes_first(seen, file):
    seen["tracked"], seen["tun"] = (90, 100), 0
    result = run("doctor", "-c", file)
    assert result.exit_code == 1
    severities = [line.split()[0] for line in result.stdout.splitlines() if line]
    assert severities == ["SEVERITY", "error", "warning", "note", str(len(CHECKS))]
    assert result.stdout.endswith(f"{len(CHECKS)} checks: 1 error, 1 warning, 1 note\n")
    assert "There is no /dev/net/tun. Run 'modprobe tun'" in result.stdout


def test_a_note_alone_is_0(seen, file):
    result = run("doctor", "-c", file)
    assert result.exit_code == 0
    assert "note      daemon  docs/troubleshooting.md#the-daemon-does-not-start  No daemon runs" in result.stdout


def test_what_was_not_checked_for_one_reason_is_one_row(seen, file):
    def unseen(_: Look):
        raise UnseenError("needs root")

    command.READERS.update(tun=unseen, clock=unseen)
    lines = run("doctor", "-c", file).stdout.splitlines()
    assert [line.split()[1] for line in lines if "Not checked" in line] == ["tun_driver,clock"]


def test_json_has_a_line_for_each_finding(seen, file):
    seen["tun"] = 0
    first, second = map(json.loads, run("doctor", "-c", file, "--json").stdout.splitlines())
    assert first["check"] == "daemon"
    assert second == {
        "check": "tun_driver",
        "severity": "error",
        "sentence": "There is no /dev/net/tun. Run 'modprobe tun', or pass the device /dev/net/tun to this container.",
        "command": "modprobe tun",
        "docs": "docs/doctor.md#the-kernel",
    }


def test_a_mistake_in_the_file_is_2(file):
    file.write_text("pool6 = 3\n")
    result = run("doctor", "-c", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pool6 = 3" in result.stderr


def test_every_check_names_a_page_and_a_heading_that_exist():
    for row in CHECKS:
        page, _, heading = row.page.partition("#")
        assert (ROOT / "docs" / page).exists(), row.page
        assert not heading or heading in pages.anchors(ROOT / "docs" / page), row.page
