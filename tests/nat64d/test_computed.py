"""[[pool4]] deterministic and [limits] port_block: what does not go together."""

import pytest

from nat64d.config.errors import ConfigError
from nat64d.config.load import loads

POOL = """
[[pool4]]
addresses = "192.0.2.0/31"
ports = "1000-8999"
source = "2001:db8:0:10::/60"
deterministic = true
"""
LIMITS = "[limits]\nport_block = 1000\n"
FORWARD = '[[forward]]\nprotocol = ["tcp", "udp"]\nipv4 = "192.0.2.1:{}"\nipv6 = "[2001:db8:0:{}::5]:{}"\n'

FAULTS = {
    "no port_block": (POOL, "[[pool4]] #1 deterministic = true: expected [limits] port_block with it"),
    "a block larger than a row": (
        POOL + "[limits]\nport_block = 8001\n",
        '[[pool4]] #1 ports = "1000-8999": expected at least 8001 ports, a block',
    ),
    "a log of blocks that there are not": (
        POOL.replace("deterministic = true", '[log]\nsessions = "blocks"'),
        '[log] sessions = "blocks": expected [limits] port_block with it',
    ),
    "no source": (
        POOL.replace('source = "2001:db8:0:10::/60"', "") + LIMITS,
        "[[pool4]] #1 source = (absent): expected the prefix of the subscribers",
    ),
    "a part of a subscriber": (
        POOL.replace("::/60", "::/72") + LIMITS,
        '[[pool4]] #1 source = "2001:db8:0:10::/72": expected a prefix of subscribers, /64 or shorter',
    ),
    "another pool of the same source": (
        POOL + POOL.replace("192.0.2.0/31", "192.0.2.8").replace("deterministic = true", "") + LIMITS,
        "expected no other [[pool4]] with this source",
    ),
    "protocols without ports": (
        POOL + 'protocols = ["tcp", "other"]\n' + LIMITS,
        'expected no "other": who has a protocol without ports cannot be computed',
    ),
    "too few addresses": (
        POOL.replace("10::/60", "20::/59") + LIMITS,
        "expected 4 addresses for 32 subscribers with 1000 ports each, not 2",
    ),
    "a forward from the block of another": (
        POOL + FORWARD.format(8999, 15, 80) + LIMITS,
        'ipv4 = "192.0.2.1:8999": expected ports outside the computed block of 2001:db8:0:1f::/64, 192.0.2.1:8000-8999',
    ),
    "a forward of many ports into the block of another": (
        POOL + FORWARD.format("1-7000", 15, "1-7000") + LIMITS,
        "expected ports outside the computed block of 2001:db8:0:18::/64, 192.0.2.1:1000-1999",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_computed_is_refused(name):
    text, complaint = FAULTS[name]
    with pytest.raises(ConfigError) as error:
        loads('pool6 = "64:ff9b::/96"\n' + text)
    assert complaint in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_forward_of_the_subscriber_itself_is_right():
    loads('pool6 = "64:ff9b::/96"\n' + POOL + FORWARD.format(8999, "1f", 80) + FORWARD.format(80, 15, 80) + LIMITS)
