"""RFC 7422 section 3: the log has what the computed ports follow from."""

import asyncio
import logging

import pytest

from nat64d.config.load import loads
from nat64d.gateway import computed_log
from nat64d.gateway import stop as stopping
from nat64d.gateway.computed_log import ComputedLog
from nat64d.gateway.first_start import FirstStart
from nat64d.gateway.reload import Reload
from nat64d.gateway.state import Live

LOG = logging.getLogger("nat64d.test")
DAY = 86400.0  # seconds
CONFIG = """
pool6 = "64:ff9b::/96"
[limits]
port_block = 1000
blocks = 3
subscriber = 56
[[pool4]]
addresses = "203.0.113.0-203.0.113.4"
source = "2001:db8:100::/48"
deterministic = true
[[pool4]]
addresses = "192.0.2.1"
"""
SENTENCE = (
    "Computed ports (RFC 7422): 2001:db8:100::/48 in /56, 203.0.113.0-203.0.113.4 ports 1024-65535, blocks of 1000: "
    "of each address 52 computed, in order, 12 dynamic; at most 3 a subscriber"
)


@pytest.fixture
def said(caplog):
    """What was said since the last look: a function of (configuration, moment)."""
    caplog.set_level(logging.INFO)
    computed = ComputedLog(LOG)

    def look(config, moment: float) -> list[str]:
        caplog.clear()
        computed.look(config, moment)
        return caplog.messages

    return look


def test_rfc7422_3_at_the_start_at_a_change_and_once_a_day(said):
    config = loads(CONFIG)
    assert said(config, 1000.0) == [SENTENCE]
    assert said(config, 1000.0 + DAY - 1) == []
    assert said(config, 1000.0 + DAY) == [SENTENCE]
    assert said(loads(CONFIG), 1001.0 + DAY) == []  # a reload that changes nothing of it
    changed = loads(CONFIG.replace("blocks = 3", "blocks = 1"))
    assert said(changed, 1002.0 + DAY) == [SENTENCE.replace("at most 3", "at most 1")]
    assert said(changed, 1002.0 + DAY + DAY) == [SENTENCE.replace("at most 3", "at most 1")]


def test_rfc7422_3_its_end_is_said_too_and_without_it_nothing(said):
    without = loads(CONFIG.replace("deterministic = true", ""))
    assert said(without, 0.0) == []
    assert said(without, 2 * DAY) == []
    assert said(loads(CONFIG), 2 * DAY) == [SENTENCE]
    assert said(without, 2 * DAY + 1) == ["Computed ports (RFC 7422): none any more"]
    assert said(without, 9 * DAY) == []


OTHER = """
[[pool4]]
addresses = "198.51.100.0/30"
ports = "2000-9999"
source = "2001:db8:200::/51"
deterministic = true
"""
OTHER_SENTENCE = (
    "Computed ports (RFC 7422): 2001:db8:200::/51 in /56, 198.51.100.0/30 ports 2000-9999, blocks of 1000: "
    "of each address 8 computed, in order, 0 dynamic; at most 3 a subscriber"
)


def test_rfc7422_3_of_each_deterministic_pool(said):
    both = loads(CONFIG + OTHER)
    assert said(both, 0.0) == [SENTENCE, OTHER_SENTENCE]
    assert said(both, DAY) == [SENTENCE, OTHER_SENTENCE]
    assert said(loads(CONFIG), DAY + 1) == [SENTENCE]
    assert said(loads(CONFIG + OTHER), DAY + 2) == [SENTENCE, OTHER_SENTENCE]
    moved = loads(CONFIG + OTHER.replace("2000-9999", "1500-9999"))
    assert said(moved, DAY + 3) == [SENTENCE, OTHER_SENTENCE.replace("2000-9999", "1500-9999")]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"2001:db8:100::/48"', '"2001:db8:300::/48"', "2001:db8:300::/48 in /56"),
        ("subscriber = 56", "subscriber = 55", "in /55"),
        ('"203.0.113.0-203.0.113.4"', '"203.0.113.8-203.0.113.15"', "203.0.113.8-203.0.113.15 ports"),
        ('addresses = "203', 'ports = "2000-65535"\naddresses = "203', "ports 2000-65535"),
        ("port_block = 1000", "port_block = 500", "blocks of 500"),
        ("blocks = 3", "blocks = 2", "at most 2 a subscriber"),
    ],
)
def test_rfc7422_3_every_variable_is_told_when_it_changes(said, old, new, told):
    said(loads(CONFIG), 0.0)
    (sentence,) = said(loads(CONFIG.replace(old, new)), 1.0)
    assert told in sentence
    assert said(loads(CONFIG.replace(old, new)), 2.0) == []


def test_rfc7422_3_the_daemon_looks_while_it_runs(monkeypatch, caplog):
    """At the start, after a reload, and after a day."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(stopping, "EVERY", 0.001)
    live, stops = Live(loads(CONFIG)), stopping.Stops()

    def times(sentence: str) -> int:
        found = [record for record in caplog.records if getattr(record, "event", "") == "computed_ports"]
        return [record.getMessage() for record in found].count(sentence)

    async def go() -> None:
        reload = Reload(live, None, lambda _: None, asyncio.Event())
        watching = asyncio.ensure_future(stopping.Course(FirstStart(live), reload, None, stops).run())
        for sentence, number, change in (
            (SENTENCE, 1, lambda: setattr(live, "config", loads(CONFIG.replace("blocks = 3", "blocks = 1")))),
            (SENTENCE.replace("at most 3", "at most 1"), 1, lambda: monkeypatch.setattr(computed_log, "DAY", 0.01)),
            (SENTENCE.replace("at most 3", "at most 1"), 3, stops.set),
        ):
            while times(sentence) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            change()
        assert await watching is None

    asyncio.run(asyncio.wait_for(go(), 20))
    assert times(SENTENCE) == 1
