"""A fake API server, a daemon that is only a book of rows, and a mirror between them that has told it one Service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.fake.kinds import SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import Book, Mirrored, until
from tests.kubernetes.objects import service, slice_


@pytest.fixture
def fake() -> Iterator[Fake]:
    with Fake() as one:
        yield one


@pytest.fixture
def daemon() -> Book:
    return Book()


@pytest.fixture
def mirror(fake: Fake, daemon: Book, tmp_path: Path) -> Iterator[Mirrored]:
    fake.set(SERVICES, service())
    fake.set(SLICES, slice_("web-1", "2001:db8:1::1", "2001:db8:1::2"))
    with Mirrored(fake, daemon, tmp_path / "kubeconfig") as one:
        until(lambda: len(daemon.ends()) == 2 and fake.watching == 4)
        yield one
