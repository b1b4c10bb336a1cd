"""tests/rfc*.md and tests/peers.md: every requirement names a test that exists, or says why there is none.

A test is `file.py::name`, the name being that of a function or of a case in that file (which may be put together there
by an f-string). Nothing is run.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MATRICES = [*sorted(TESTS.glob("rfc*.md")), TESTS / "peers.md"]
TEST_ID = re.compile(r"`([\w/]+\.py)::([^`]+)`")

# What no test shows because it is not built: told here, so that a number that changes is a decision.
NOT_YET = {
    "peers.md": 11,
    "rfc2308.md": 0,
    "rfc4884.md": 0,
    "rfc5382.md": 0,
    "rfc6052.md": 0,
    "rfc6146.md": 0,
    "rfc6147.md": 0,
    "rfc6791.md": 1,
    "rfc6877.md": 0,
    "rfc6888.md": 3,
    "rfc6891.md": 0,
    "rfc7050.md": 0,
    "rfc7755.md": 0,
    "rfc7757.md": 0,
    "rfc7857.md": 0,
    "rfc7915.md": 0,
    "rfc8880.md": 0,
}


def rows(matrix: Path) -> list[list[str]]:
    """The cells of a matrix, without its heading."""
    lines = [line for line in matrix.read_text().splitlines() if line.startswith("|")]
    return [line.strip("|").split(" | ") for line in lines[2:]]


@cache
def names_in(file: str) -> re.Pattern[str]:
    """What a test of a file may be called."""
    (path,) = [path for path in TESTS.rglob(Path(file).name) if path.as_posix().endswith(f"/{file}")]
    patterns = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            patterns.append(re.escape(node.name))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            patterns.append(re.escape(node.value))
        elif isinstance(node, ast.JoinedStr):
            pieces = [re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in node.values]
            patterns.append("".join(pieces))
    return re.compile("|".join(pattern for pattern in patterns if re.search("[a-z]{3}", pattern)))


@pytest.mark.parametrize("matrix", MATRICES, ids=lambda path: path.stem)
def test_every_requirement_has_a_test_or_a_reason(matrix):
    assert rows(matrix)
    for row in rows(matrix):
        assert len(row) == 4, row
        cell = row[3].strip()
        assert "TODO" not in cell, row
        named = TEST_ID.search(cell) or re.match(r"oracle\b", cell)
        assert named or re.match(r"not (applicable|yet)(:| because) \S", cell), row


@pytest.mark.parametrize("matrix", MATRICES, ids=lambda path: path.stem)
def test_every_test_that_a_matrix_names_exists(matrix):
    missing = [
        f"{file}::{name}"
        for row in rows(matrix)
        for file, name in TEST_ID.findall(row[3])
        if not names_in(file).fullmatch(name)
    ]
    assert missing == []


def test_what_is_not_yet_there_is_counted():
    counts = {matrix.name: sum("not yet:" in row[3] for row in rows(matrix)) for matrix in MATRICES}
    assert counts == NOT_YET


def test_a_name_that_no_file_has_is_noticed():
    assert not names_in("test_case.py").fullmatch("test_a_name_that_no_file_has_is_noticed")
    assert names_in("test_matrices.py").fullmatch("test_a_name_that_no_file_has_is_noticed")
