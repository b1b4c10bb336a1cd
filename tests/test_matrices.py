"""tests/rfc*.md and tests/peers.md: every requirement names a test that is run, or says why there is none.

The last cell of a row is one of four things; tests/README.md describes them for the reader:

* tests, as `file.py::name`, where `name` is a function or one of its cases; the oracle may be named beside them
* `not applicable: why` it is not a translator's business, or an option that is not taken
* `not yet: what is missing`; NOT_YET counts these, so that a change of the number is a decision
* `deviates: why` the RFC is not followed; docs/limits.md has the same for the operator, with the section as the key

The names are those that pytest collects: a separate run of `pytest --collect-only` over the files the matrices name.
"""

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent
LIMITS = TESTS.parent / "docs/limits.md"
MATRICES = [*sorted(TESTS.glob("rfc*.md")), TESTS / "peers.md"]

TEST_ID = re.compile(r"`([\w/]+\.py)::([^`]+)`")
ONE_TEST = r"(?:`[\w/]+\.py::[^`]+`(?: \([^|]+?\))?)"
TESTED = re.compile(rf"{ONE_TEST}(?:, (?:{ONE_TEST}|`rfc\d+\.md`))*(?:, oracle(?: \([^|]+\))?)?")
REASON = re.compile(r"(not applicable|not yet|deviates): \S.+")
LEVELS = {
    "MUST",
    "MUST NOT",
    "SHOULD",
    "SHOULD NOT",
    "MAY",
    "RECOMMENDED",
    "NOT RECOMMENDED",
    "must",
    "should",
    "may",
    "M",
    "S",
    "–",
}
RFC_KEY = re.compile(r"RFC \d+ [\w.-]+(?: [a-z])?")

# Tests of so many unrelated cases that only the name of the case says anything.
BY_CASE = (
    "test_a_wrong_value_is_named_with_its_place_and_what_was_expected",
    "test_mistakes_are_refused_in_the_words_of_refusals_txt",
)

NOT_YET = {
    "peers.md": 5,
    "rfc6791.md": 1,
    "rfc6888.md": 1,
    "rfc7422.md": 1,
    "rfc7857.md": 1,
}


class Row(NamedTuple):
    """A requirement: its section, what is asked, how strongly, and the tests or the reason that there are none."""

    matrix: str
    section: str
    requirement: str
    level: str
    cell: str

    @property
    def kind(self) -> str:
        """The first words of a reason, "tests" where there are tests."""
        reason = REASON.fullmatch(self.cell)
        return reason[1] if reason else "tests"

    @property
    def key(self) -> str:
        """RFC and section, as docs/limits.md has them; a section may begin with the number of another RFC."""
        number, section = re.fullmatch(r"(\d{4})?(?: ?(.+))?", self.section).groups()
        return f"RFC {number or re.sub(r'[^0-9]', '', self.matrix)} {section}"


def rows(matrix: Path) -> list[Row]:
    """The requirements of a matrix."""
    lines = [line for line in matrix.read_text("utf-8").splitlines() if line.startswith("|")]
    return [Row(matrix.name, *(cell.strip() for cell in line.strip("|").split(" | "))) for line in lines[2:]]


ROWS = [row for matrix in MATRICES for row in rows(matrix)]


def path_of(file: str) -> str:
    """Where a test file is, which a matrix may name without its folder."""
    paths = [path for path in TESTS.rglob(Path(file).name) if path.as_posix().endswith(f"/{file}")]
    assert len(paths) == 1, f"{file}: {len(paths)} files of this name"
    return paths[0].relative_to(TESTS.parent).as_posix()


class Collected:
    """The tests that pytest collects in some files."""

    def __init__(self, ids: list[str]) -> None:
        self.cases: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for one in ids:
            file, name = one.split("::", 1)
            function, _, case = name.partition("[")
            self.cases[file][function].append(case.removesuffix("]"))

    def __contains__(self, id_: tuple[str, str]) -> bool:
        """Whether a file has a function of this name, or one with a case that is called so, or so between dashes."""
        functions = self.cases[path_of(id_[0])]
        found = [name for name, cases in functions.items() if any(f"-{id_[1]}-" in f"-{case}-" for case in cases)]
        return id_[1] in functions or len(found) == 1


@pytest.fixture(scope="module")
def collected() -> Collected:
    """What a run of every file that a matrix names would run; in plain Python, where importing is quick."""
    files = sorted({path_of(file) for row in ROWS for file, _ in TEST_ID.findall(row.cell)})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "CI": "false"}
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return Collected([line for line in done.stdout.splitlines() if re.match(r"tests/[\w/]+\.py::", line)])


@pytest.mark.parametrize("matrix", MATRICES, ids=lambda path: path.stem)
def test_every_requirement_has_tests_or_a_reason(matrix):
    assert rows(matrix)
    for row in rows(matrix):
        assert TESTED.fullmatch(row.cell) or REASON.fullmatch(row.cell), row
        assert set(row.level.split(", ")) <= LEVELS, row


@pytest.mark.parametrize("matrix", MATRICES, ids=lambda path: path.stem)
def test_every_test_that_a_matrix_names_is_collected(matrix, collected):
    named = [id_ for row in rows(matrix) for id_ in TEST_ID.findall(row.cell)]
    assert [id_ for id_ in named if id_ not in collected] == []
    assert [id_ for id_ in named if id_[1] in BY_CASE] == []


def test_what_is_not_yet_there_is_counted():
    counts = {matrix.name: sum(row.kind == "not yet" for row in rows(matrix)) for matrix in MATRICES}
    assert {name: count for name, count in counts.items() if count} == NOT_YET


def limit_keys() -> list[str]:
    """The sections in docs/limits.md, column "RFC"."""
    lines = [line.strip("| ").split(" | ") for line in LIMITS.read_text("utf-8").splitlines()]
    return [key for cells in lines if len(cells) == 3 for key in RFC_KEY.findall(cells[2])]


def test_every_deviation_is_among_the_limits():
    assert {row.key for row in ROWS if row.kind == "deviates"} - set(limit_keys()) == set()


def test_every_limit_that_names_an_rfc_with_a_matrix_is_a_deviation_there():
    deviations = {row.key for row in ROWS if row.kind == "deviates"}
    with_matrix = {row.key.rsplit(" ", 1)[0] for row in ROWS if row.matrix != "peers.md"}
    assert [key for key in limit_keys() if key.rsplit(" ", 1)[0] in with_matrix and key not in deviations] == []


def test_a_name_that_no_file_has_is_noticed():
    ids = ["test_a[1]", "test_b", "test_c[alone-udp_in]", "test_c[alone-udp_in_fragments]", "test_d[6]", "test_e[6]"]
    found = Collected([f"tests/test_matrices.py::{one}" for one in ids])
    names = ("test_a", "test_b", "udp_in", "alone-udp_in", "alone", "test_", "udp", "in", "test_c[alone-udp_in]", "6")
    assert [("test_matrices.py", name) in found for name in names] == [True] * 5 + [False] * 5
