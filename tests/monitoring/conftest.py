"""A daemon that is scraped."""

import pytest

from tests.case import BEGIN
from tests.monitoring.daemon import Daemon
from translator.verdict import Event, Verdict


@pytest.fixture(scope="session")
def busy() -> Daemon:
    """With everything that a panel shows only where there is some of it; to be left as it is."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        daemon = begun(monkeypatch)
        daemon.stand(blocks=False)
        for _ in range(2):
            daemon.use()
            daemon.drop(Verdict.POOL4_EXHAUSTED)
            daemon.count(Event.SUPERFRAMES)
            daemon.link_dropped += 100
            daemon.clash()
            daemon.crowd()
            daemon.lose_endpoints()
            daemon.scrape()
    return daemon


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """One of the test's own."""
    return begun(monkeypatch)


def begun(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """Its clock stands where that of its packets begins."""
    clock = [round(BEGIN * 1000)]
    monkeypatch.setattr("nat64d.gateway.state.now", lambda: clock[0])
    return Daemon(clock)
