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
from translator.verdict import Answer, Ask, Direction, Event, Verdict

TRANSLATOR = architecture.sources("translator")
PRODUCT = [*TRANSLATOR, *architecture.sources("nat64d")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
OPTIONAL = PROJECT["optional-dependencies"]["kubernetes"]
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
    (architecture.layer_breaks, "translator/packet/rewrite.py", "import translator.static.mapping", "static.mapping"),
    (architecture.layer_breaks, "translator/session/bib.py", "import translator.fragments.datagrams", "fragments"),
    (architecture.room_breaks, "nat64d/host/nft.py", "from nat64d.gateway import run", "nat64d.gateway.run"),
    (architecture.room_breaks, "nat64d/dns64/rules/maps.py", "import nat64d.dns64.resolver", "nat64d.dns64.resolver"),
    (architecture.kubernetes_breaks, "nat64d/kubernetes/a.py", "import nat64d.gateway.run", "nat64d.gateway.run"),
    (architecture.kubernetes_breaks, "nat64d/doctor/a.py", "from nat64d import kubernetes", "nat64d.kubernetes"),
    (architecture.homeless, "nat64d/misc.py", "", "nat64d/misc.py is in no room"),
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


def test_no_room_of_the_daemon_imports_one_above():
    assert problems(architecture.room_breaks, PRODUCT) == []
    assert problems(architecture.homeless, architecture.sources("nat64d")) == []


def test_nothing_but_the_command_knows_of_kubernetes():
    assert problems(architecture.kubernetes_breaks, PRODUCT) == []


def test_functions_fit_on_a_screen_and_files_in_a_head():
    assert problems(architecture.too_long, [*PRODUCT, *architecture.sources("tests")]) == []


def test_the_docstring_of_a_package_names_its_modules():
    packages = [file for top in ("translator", "nat64d") for file in sorted((ROOT / top).rglob("*/__init__.py"))]
    assert packages
    missing = [text for file in packages for text in architecture.unnamed_modules(file)]
    assert missing == []


def test_a_module_that_its_package_does_not_name_is_found(tmp_path):
    for name, text in (("__init__.py", '"""Has `a` and `b`."""'), ("a.py", ""), ("c.py", ""), ("b/__init__.py", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(architecture.unnamed_modules(tmp_path / "__init__.py")) == [f"{tmp_path.name} does not name c"]


def test_octets_become_numbers_in_one_place():
    elsewhere = [file for file in TRANSLATOR if file.path not in architecture.READS_OCTETS]
    assert problems(architecture.octet_reads, elsewhere) == []


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled in plain Python")
def test_compiled_code_has_no_floats_and_compile_all_leaves_nothing_uncompiled():
    report = subprocess.run(
        [sys.executable, "-m", "tests.compiled_types"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert (report.stdout, report.returncode) == ("", 0), report.stdout + report.stderr[-2000:]


@pytest.mark.parametrize("table", [Answer, Ask, Direction, Event, Verdict])
def test_no_two_rows_have_one_number(table):
    """An enum takes a second name of a number as an alias, and says nothing."""
    assert [name for name, row in table.__members__.items() if row.name != name] == []


@pytest.mark.parametrize("name", readme.TABLES)
def test_the_generated_tables_are_up_to_date(name):
    page, make = readme.TABLES[name]
    text = page.read_text("utf-8")
    assert readme.fill(text, name, make()) == text, "run: make readme"


@pytest.mark.parametrize("file", readme.FILES, ids=lambda file: file.name)
def test_the_generated_files_are_up_to_date(file):
    assert file.read_text("utf-8") == readme.FILES[file](), "run: make readme"


def test_a_page_without_a_marker_is_refused():
    with pytest.raises(LookupError, match="0 places marked <!-- verdicts -->"):
        readme.fill("no markers", "verdicts", "")


def test_readme_says_what_each_dependency_earns():
    section = PAGE.split("## Dependencies\n")[1].split("\n## ")[0]
    told = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    asked = [re.split(r"[<>=~! ]", line)[0] for line in (*PROJECT["dependencies"], *OPTIONAL)]
    assert sorted(told) == sorted(asked)


def test_what_the_product_imports_is_what_pyproject_declares():
    modules = {"python-pytun": "pytun", "dnspython": "dns", "tomli-w": "tomli_w"}
    declared = {re.split(r"[<>=~! ]", line)[0] for line in (*PROJECT["dependencies"], *OPTIONAL)}
    imported = {module.split(".")[0] for file in PRODUCT for module in architecture.imports(file)}
    foreign = imported - set(sys.stdlib_module_names) - {"nat64d", "translator", "llvmlite"}  # llvmlite is numba's own
    assert foreign == {modules.get(name, name) for name in declared}


def test_ci_runs_the_test_command_that_readme_prints():
    commands = re.findall(r"^command -v make .*$", PAGE, re.MULTILINE)
    assert [line.rsplit("; ", 1)[1] for line in commands] == ["make demo", "make run", "make test"]
    assert commands[-1] in (ROOT / ".ci/run").read_text("utf-8").splitlines()


def test_readme_names_only_targets_that_make_knows():
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests/README.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"`make ([a-z0-9-]+)", page.read_text("utf-8"))}
    assert {"run", "test", "demo"} <= named
    assert named <= targets


def test_make_e2e_looks_where_the_end_to_end_tests_are():
    others, services = re.findall(r'-m "e2e and not slow" (.*)', (ROOT / "Makefile").read_text("utf-8"))
    folders = others.removesuffix(" $(addprefix --ignore=,$(SERVED))").split()
    assert (services, folders) == ("$(SERVED)", ["tests/e2e", "tests/dns64"])
    marker = "mark." + "e2e"
    lost = [
        source.path
        for source in architecture.sources("tests")
        if marker in source.text and not source.path.startswith(tuple(f"{folder}/" for folder in folders))
    ]
    assert not lost


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
