"""What holds the house together: layers, sizes, types of compiled code, and derived pages that equal their source."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import architecture, conftest, readme
from tests.architecture import ROOT, Source

TRANSLATOR = architecture.sources("translator")
PRODUCT = [*TRANSLATOR, *architecture.sources("nat64d")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PAGE = readme.README.read_text("utf-8")

LONG_FUNCTION = "def f():\n" + "    pass\n" * 40
PLANTED = [
    (architecture.impure_imports, "translator/pipeline.py", "import time", "imports time"),
    (architecture.impure_imports, "translator/verdict.py", "import os", "imports os"),
    (architecture.impure_imports, "translator/session/bib.py", "from nat64d import config", "imports nat64d.config"),
    (architecture.layer_breaks, "translator/packet/fields.py", "from translator.packet import checksum", "checksum"),
    (architecture.layer_breaks, "translator/packet/checksum.py", "from .parse import View", "translator.packet.parse"),
    (architecture.layer_breaks, "translator/static/eam.py", "import translator.session.bib", "translator.session.bib"),
    (architecture.layer_breaks, "translator/packet/icmp.py", "from translator.pipeline import x", "pipeline"),
    (architecture.too_long, "nat64d/a.py", "\n" * 401, "has 401 lines"),
    (architecture.too_long, "nat64d/a.py", LONG_FUNCTION, "f has 41 lines"),
    (architecture.octet_reads, "translator/pipeline.py", "x = packet[at + 4]", "reads packet[at + 4]"),
    (architecture.octet_reads, "translator/pipeline.py", "p[0] = 1", "reads p[0]"),
]


def problems(check, files: list[Source]) -> list[str]:
    assert files
    return [problem for file in files for problem in check(file)]


@pytest.mark.parametrize(("check", "path", "text", "sentence"), PLANTED)
def test_each_rule_finds_what_breaks_it(check, path, text, sentence):
    found = list(check(Source(path, text)))
    assert len(found) == 1
    assert sentence in found[0]


def test_the_translator_touches_nothing_outside():
    assert problems(architecture.impure_imports, TRANSLATOR) == []


def test_no_room_of_the_translator_imports_up_or_sideways():
    assert problems(architecture.layer_breaks, TRANSLATOR) == []


def test_functions_fit_on_a_screen_and_files_in_a_head():
    assert problems(architecture.too_long, [*PRODUCT, *architecture.sources("tests")]) == []


def test_octets_become_numbers_in_one_place():
    elsewhere = [file for file in TRANSLATOR if file.path not in architecture.READS_OCTETS]
    assert problems(architecture.octet_reads, elsewhere) == []


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled in plain Python")
def test_compiled_code_has_no_floats_and_compile_all_leaves_nothing_uncompiled(tmp_path):
    report = subprocess.run(
        [sys.executable, "-m", "tests.compiled_types"],
        cwd=ROOT,
        env=os.environ | {"NAT64D_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (report.stdout, report.returncode) == ("", 0), report.stdout + report.stderr[-2000:]


@pytest.mark.parametrize("name", readme.TABLES)
def test_the_tables_of_readme_are_up_to_date(name):
    assert readme.fill(PAGE, name, readme.TABLES[name]()) == PAGE, "run: make readme"


def test_readme_without_a_marker_is_refused():
    with pytest.raises(LookupError, match="0 places marked <!-- verdicts -->"):
        readme.fill("no markers", "verdicts", "")


def test_readme_says_what_each_dependency_earns():
    section = PAGE.split("## Dependencies\n")[1].split("\n## ")[0]
    told = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    asked = [re.split(r"[<>=~! ]", line)[0] for line in PROJECT["dependencies"]]
    assert sorted(told) == sorted(asked)


def test_what_the_product_imports_is_what_pyproject_declares():
    modules = {"python-pytun": "pytun", "dnspython": "dns"}
    declared = {re.split(r"[<>=~! ]", line)[0] for line in PROJECT["dependencies"]}
    imported = {module.split(".")[0] for file in PRODUCT for module in architecture.imports(file)}
    foreign = imported - set(sys.stdlib_module_names) - {"nat64d", "translator", "llvmlite"}  # llvmlite is numba's own
    assert foreign == {modules.get(name, name) for name in declared}


def test_ci_runs_the_test_command_that_readme_prints():
    commands = re.findall(r"^command -v make .*$", PAGE, re.MULTILINE)
    assert [line.rsplit("; ", 1)[1] for line in commands] == ["make run", "make test", "make demo"]
    assert commands[1] in (ROOT / ".ci/run").read_text("utf-8").splitlines()


def test_readme_names_only_targets_that_make_knows():
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests/README.md"]
    named = {name for page in pages for name in re.findall(r"`make ([a-z0-9-]+)", page.read_text("utf-8"))}
    assert {"run", "test", "demo"} <= named
    assert named <= targets


def marked_blocks() -> list[str]:
    """The shell lines of README after `<!-- runs -->`: they run as they stand, without a daemon and without root."""
    return re.findall(r"<!-- runs -->\n```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", marked_blocks())
def test_the_examples_of_readme_run_as_printed(block, tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for folder in ("config", "pcaps"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    done = subprocess.run(
        ["sh", "-euc", block],
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_configurations_are_valid():
    from nat64d.config import load

    files = [*sorted((ROOT / "config").glob("*.toml")), *sorted((ROOT / "config/examples").glob("*.toml"))]
    assert ROOT / "config/nat64d.toml" in files
    for file in files:
        load(file)


def test_every_capture_has_a_line_in_the_table_of_captures():
    captures = sorted((ROOT / "pcaps").glob("*.pcap"))
    assert captures
    assert architecture.undescribed_captures(captures, (ROOT / "pcaps/README.md").read_text("utf-8")) == []


def test_a_capture_without_a_line_is_found():
    captures = [Path("a ttl of 1.pcap"), Path("a ttl of 1.expected.pcap"), Path("echo.pcap")]
    assert architecture.undescribed_captures(captures, "| echo | ... |") == ["a ttl of 1"]


def test_ci_notes_a_skip_unless_it_is_allowed(monkeypatch):
    monkeypatch.setattr(conftest, "ALLOWED_SKIPS", {"needs .* hardware": "CI has none"})
    watch = conftest.SkipsFail()
    for reason in ("Skipped: not today", "Skipped: needs real hardware"):
        watch.note(pytest.CollectReport("tests/a.py", "skipped", ("a.py", 1, reason), []))
    assert watch.unexpected == ["tests/a.py: Skipped: not today"]
