"""The programs are started and asked once for all tests."""

import pytest

from tests.dns64.side import programs, table
from tests.dns64.side.measure import Measured, measure
from tests.dns64.side.rows import ROWS


@pytest.fixture(scope="session")
def seen() -> Measured:
    """What was answered to every row."""
    return measure(ROWS)


@pytest.fixture(params=table.VERSIONS)
def other(request: pytest.FixtureRequest) -> str:
    """unbound, then BIND."""
    name = str(request.param)
    skip_unless_as_told(name)
    return name


@pytest.fixture
def others() -> None:
    """Both."""
    for name in table.VERSIONS:
        skip_unless_as_told(name)


def skip_unless_as_told(name: str) -> None:
    """Another version may do otherwise."""
    number = programs.version(name)
    if number != table.VERSIONS[name]:
        pytest.skip(f"{name} is {number or 'not installed'}, the page tells of {table.VERSIONS[name]}")
