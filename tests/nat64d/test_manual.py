"""What a package has besides the program: manual pages, completion, the configuration to begin with."""

import os
import re
import subprocess
import sys

import pytest

from nat64d.cli.manual import COMPLETIONS, command_page, commands, completion, config_page, escaped, write
from nat64d.config.load import DEFAULT, load, loads
from tests.architecture import ROOT
from tests.readme import commands as table_of_commands

CONFIG = ROOT / "config/nat64d.toml"
REQUESTS = {".TH", ".SH", ".SS", ".TP", ".PP"}


def plain(page: str) -> str:
    """A page without roff's escapes."""
    return page.replace(r"\-", "-").replace(r"\e", "\\").replace(r"\&", "")


def test_every_command_and_option_has_its_place():
    page = plain(command_page())
    names = re.findall(r"^\| `(nat64d [^`]+)`", table_of_commands(), re.MULTILINE)
    assert len(names) > 10
    for name in names:
        assert f'.SS "{name}' in page
    assert page.count("\\fB-c FILE\\fR\n") >= 10
    assert "\\fB-h, --help\\fR\nShow this message and exit.\n" in page
    assert "3 daemon not reachable." in page


def test_every_section_and_key_has_its_place():
    text = CONFIG.read_text("utf-8")
    page = plain(config_page(text))
    keys = re.findall(r"^#?(\w+ = .*)$", text, re.MULTILINE)
    sections = re.findall(r"^#?(\[\[?\w+\]?\])$", text, re.MULTILINE)
    assert (len(keys), len(sections)) > (80, 10)
    for key in keys:
        assert f"\\fB{key}\\fR\n" in page
    assert re.findall(r'^\.SH "(.*)"$', page, re.MULTILINE) == sections
    assert "Masquerade [[pool4]], or with [clat] its ipv6, behind an address of this host" in page


@pytest.mark.parametrize("page", [command_page(), config_page(CONFIG.read_text("utf-8"))], ids=["nat64d", "toml"])
def test_no_line_is_a_request_by_accident(page):
    assert {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))} <= REQUESTS
    assert re.search(r"(?<!\\)-", page.split("\n", 1)[1]) is None, "a hyphen that a reader could not search for"


def test_what_roff_would_understand_is_text():
    assert escaped(".SH\n'a\\-b") == "\\&.SH\n\\&'a\\e\\-b"


def test_groups_are_entered_and_hidden_commands_left_out():
    class Command:
        def __init__(self, hidden: bool = False, **commands: "Command") -> None:
            self.hidden = hidden
            if commands:
                self.commands = commands

    group = Command(one=Command(), two=Command(three=Command()), four=Command(hidden=True))
    assert [name for name, _ in commands(group, "x")] == ["x one", "x two three"]


def test_bash_completes_what_the_script_asks_for():
    script = completion("bash")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=60)
    assert "_NAT64D_COMPLETE=complete_bash" in script
    environment = {
        **os.environ,
        "COMP_WORDS": "nat64d dns64 se",
        "COMP_CWORD": "2",
        "_NAT64D_COMPLETE": "complete_bash",
    }
    command = [sys.executable, "-c", "from nat64d.cli.app import app; app(prog_name='nat64d')"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.split() == ["servers"], done.stderr


def test_everything_is_written_where_debian_has_it(tmp_path):
    write(tmp_path, CONFIG)
    written = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    pages = {"usr/share/man/man8/nat64d.8", "usr/share/man/man5/nat64d.toml.5"}
    assert written == {*pages, *COMPLETIONS.values(), "etc/nat64d/nat64d.toml"}
    assert load(tmp_path / "etc/nat64d/nat64d.toml") == loads(DEFAULT, "built in")
