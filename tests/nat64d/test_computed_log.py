"""RFC 7422 section 3: the log has what the computed ports follow from."""

import logging

import pytest

from nat64d.config.load import loads
from nat64d.gateway.computed_log import DAY, ComputedLog

LOG = logging.getLogger("nat64d.test")
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
