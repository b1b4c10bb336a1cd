"""README and docs/: every code block runs or loads, every link leads somewhere, every name in them exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nat64d.config.load import load, loads
from nat64d.control.metrics import Exposition
from tests import pages
from tests.architecture import ROOT
from tests.nat64d.fake_gateway import FakeGateway
from tests.pages import Block
from translator.verdict import Verdict

BLOCKS = pages.all_blocks()
RUNNABLE = [block for block in BLOCKS if block.how == "runs"]
CONFIGS = [block for block in BLOCKS if block.language == "toml"]
EXAMPLES = sorted((ROOT / "config/examples").glob("*.toml"))
HOW = re.compile(r"runs|(runs|starts) on \w+|lines of \S+|tested by (?P<file>\S+?)::(?P<test>\w+): \S.*")


def name(block: Block) -> str:
    return block.name


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in ("sh", "toml", "yaml")], ids=name)
def test_every_block_says_how_it_is_tested(block):
    assert HOW.fullmatch(block.how) or (block.language == "toml" and not block.how), block.how


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.how.startswith("tested by")], ids=name)
def test_what_cannot_run_is_covered_by_a_test_that_exists(block):
    found = HOW.fullmatch(block.how)
    assert re.search(rf"^def {found['test']}\(", (ROOT / found["file"]).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("block", RUNNABLE, ids=name)
def test_a_block_runs_as_printed(block, tmp_path):
    for folder in ("config", "pcaps"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", block.text],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert pages.difference(block, done.stdout) is None


@pytest.mark.parametrize("block", CONFIGS, ids=name)
def test_a_configuration_is_valid_or_part_of_a_file_that_is(block):
    if not block.how:
        loads(block.text, block.name)
        return
    lines = iter((ROOT / block.how.removeprefix("lines of ")).read_text("utf-8").splitlines())
    for line in filter(None, block.text.splitlines()):
        assert line in lines, f"{line!r} is not in the file, or not behind the line above it"


@pytest.mark.parametrize("page", [*pages.PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading_in_it(page):
    for path, anchor in pages.links(page):
        assert path.exists(), path
        assert not anchor or anchor in pages.anchors(path), f"{path.name}#{anchor}"


def test_the_example_configurations_are_valid():
    for file in (ROOT / "config/nat64d.toml", *EXAMPLES):
        load(file)


def test_readme_names_every_example_and_every_page():
    linked = {path for path, _ in pages.links(ROOT / "README.md")}
    assert EXAMPLES
    assert {*EXAMPLES, *pages.PAGES} - linked - {ROOT / "README.md"} == set()


def test_contributing_names_every_package_and_no_other():
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    named = set(re.findall(r"^\| `((?:translator|nat64d)/\w*/?)`", page, re.MULTILINE))
    packages = {f"{file.parent.relative_to(ROOT)}/" for top in ("translator", "nat64d") for file in packages_of(top)}
    assert named == packages | {"translator/"}


def packages_of(top: str) -> list[Path]:
    return sorted((ROOT / top).glob("*/__init__.py"))


def exposed_metrics() -> set[str]:
    body, _ = Exposition(FakeGateway()).render("")
    return set(re.findall(r"^# TYPE (nat64d_\w+?) ", body.decode(), re.MULTILINE))


def test_the_monitoring_page_names_every_metric_and_no_other():
    text = (ROOT / "docs/monitoring.md").read_text("utf-8")
    assert set(re.findall(r"\bnat64d_\w+", text)) - {"nat64d_nat64"} == exposed_metrics()


@pytest.mark.parametrize("page", [ROOT / "docs/troubleshooting.md", ROOT / "docs/monitoring.md"], ids=lambda p: p.name)
def test_a_table_of_verdicts_names_verdicts_that_exist(page):
    named = set(re.findall(r"^\| `([a-z0-9_]+)`", page.read_text("utf-8"), re.MULTILINE))
    verdicts = {verdict.name.lower() for verdict in Verdict}
    assert {word for word in named if not word.startswith("nat64d_")} <= verdicts
    assert named & verdicts or page.name == "monitoring.md"


@pytest.mark.parametrize(
    ("expected", "printed", "equal"),
    [
        ("A  B\n1  2", "A    B\n1    2\n", True),
        ("A  B\n1  2", "A    B\n1    3\n", False),
        ("port …", "port 4711", True),
        ("first\n…\nlast", "first\nsecond\nthird\nlast\n", True),
        ("first\n…\nlast", "first\nsecond\nthird\n", False),
        ("whole", "whole and more", False),
    ],
)
def test_what_a_block_printed_is_compared(expected, printed, equal):
    block = Block(ROOT / "README.md", 1, "sh", "", "runs", expected)
    assert (pages.difference(block, printed) is None) == equal
