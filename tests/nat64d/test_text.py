"""Rows as lines for people: durations, values, and tables that are printed while they arrive."""

import pytest

from nat64d.control import output as text


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (0.4, "0s"), (59.6, "1m00s"), (7440, "2h04m00s"), (86399, "23h59m59s"), (266400, "3d02h00m")],
)
def test_durations(seconds, words):
    assert text.duration(seconds) == words


def test_values():
    given = [None, "", [], {}, True, False, 0, 1.5, [1, None], {"a": [1, 2], "b": {}}]
    assert [text.plain(value) for value in given] == ["-", "-", "-", "-", "yes", "no", "0", "1.5", "1 -", "a=1 2 b=-"]


def test_a_table_widens_for_a_late_wide_cell_and_does_not_look_ahead_further():
    taken = []

    def rows():
        for number in range(text.SAMPLE + 2):
            taken.append(number)
            yield {"x": "wide" if number == text.SAMPLE else "a", "y": number % 10}

    columns = (text.Column("X", lambda row: row["x"]), text.Column("Y", lambda row: str(row["y"]), number=True))
    lines = text.table(columns, rows())
    assert next(lines) == "X  Y"
    assert len(taken) == text.SAMPLE
    assert list(lines)[-3:] == ["a  9", "wide  0", "a     1"]


def test_an_empty_table_is_its_headings():
    assert list(text.table(text.BIB, [])) == ["PROTOCOL  HOST6  MAPPED4  STATIC  SESSIONS"]
    assert list(text.facts([])) == []
