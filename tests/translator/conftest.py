"""A gateway in memory for every test that asks for one."""

import pytest

from tests.case import Nat64


@pytest.fixture
def nat64() -> Nat64:
    return Nat64()
