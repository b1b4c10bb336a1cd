"""nat64d is right in every row of docs/dns64.md, and the page tells what was measured."""

import pytest

from tests.dns64.side import table
from tests.dns64.side.measure import Measured
from tests.dns64.side.rows import GROUPS, ROWS

pytestmark = pytest.mark.e2e  # programs that run


@pytest.mark.parametrize("id_", ROWS)
def test_nat64d_is_right(id_: str, seen: Measured) -> None:
    assert table.verdict(ROWS[id_], seen["nat64d"][id_]) == table.RIGHT


def test_no_row_is_there_twice() -> None:
    assert len(ROWS) == sum(len(rows) for rows in GROUPS.values())


def test_the_page_has_every_row_and_says_that_nat64d_is_right_there() -> None:
    assert table.verdicts(table.PAGE.read_text("utf-8"), "nat64d") == [table.RIGHT] * len(ROWS)


def test_the_page_tells_of_the_others_what_they_do(other: str, seen: Measured) -> None:
    told = dict(zip(ROWS, table.verdicts(table.PAGE.read_text("utf-8"), other), strict=True))
    found = {id_: table.verdict(row, seen[other][id_]) for id_, row in ROWS.items()}
    assert told == found, "run: make side"


def test_the_page_is_what_would_be_written(others: None, seen: Measured) -> None:
    page = table.PAGE.read_text("utf-8")
    assert table.fill(page, seen) == page, "run: make side"
