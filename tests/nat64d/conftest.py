"""What the tests of the API share: a gateway that is none, and where its control socket is."""

from pathlib import Path

import pytest

from tests.nat64d.fake_gateway import FakeGateway


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "api.sock"
