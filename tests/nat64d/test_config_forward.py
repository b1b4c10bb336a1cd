"""[[forward]] of many ports: which BIB entries it makes, and how long its checks take."""

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.config.errors import ConfigError
from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from tests.invariants import ports_taken
from translator.packet.fields import TCP, UDP
from translator.session.pool4 import slot_of
from translator.tables.layout import NONE

POOL6 = 'pool6 = "2001:db8:64::/96"\nlimits = { sessions = 16, fragments_memory = 0 }\n'


def pool(ports: str, addresses: str = "192.0.2.1") -> str:
    return f'[[pool4]]\naddresses = "{addresses}"\nports = "{ports}"\nprotocols = ["udp"]\n'


def forward(ports4: str, ports6: str, protocol: str = '"udp"') -> str:
    return f'[[forward]]\nprotocol = {protocol}\nipv4 = "192.0.2.1:{ports4}"\nipv6 = "[2001:db8::5]:{ports6}"\n'


def entries(text: str) -> set[tuple[int, int, int, int]]:
    """The BIB entries of a file: protocol, IPv4 port, IPv6 port, pool bitmap."""
    config = loads(POOL6 + text)
    settings = settings_of(config, bytes(16))
    tables = tables_of(config, settings)
    names = ["protocol", "mapped4_port", "host6_port", "slot"]
    rows = [tuple(map(int, row)) for row in tables.bibs[tables.bibs["live"] != 0][names]]
    assert len(rows) == len(set(rows))
    assert ports_taken(tables) == sum(slot != NONE for *_, slot in rows)
    return set(rows)


def test_a_telephone_with_10_001_ports_is_one_table():
    made = entries(pool("1024-9999") + forward("10000-20000", "10000-20000"))
    assert made == {(UDP, port, port, NONE) for port in range(10000, 20001)}


def test_ranges_may_be_shifted_and_have_several_protocols():
    made = entries(forward("100-104", "65531-65535", '["tcp", "udp"]'))
    assert made == {(protocol, 100 + k, 65531 + k, NONE) for protocol in (TCP, UDP) for k in range(5)}


@given(
    cuts=st.lists(st.integers(1, 60), min_size=2, max_size=6, unique=True).map(sorted),
    ends=st.tuples(st.integers(1, 60), st.integers(1, 60)).map(sorted),
)
def test_each_port_belongs_to_the_pool_row_that_has_it(cuts, ends):
    pools = list(zip(cuts[::2], cuts[1::2], strict=False))
    text = "".join(pool(f"{first}-{last}") for first, last in pools) + pool("1-65535", "192.0.2.2")
    row_of = {port: row for row, (first, last) in enumerate(pools) for port in range(first, last + 1)}
    first, last = ends
    assert entries(text + forward(f"{first}-{last}", f"{first + 7}-{last + 7}")) == {
        (UDP, port, port + 7, int(slot_of(row_of[port], UDP)) if port in row_of else NONE)
        for port in range(first, last + 1)
    }


RANGES = st.tuples(st.integers(1, 40), st.integers(0, 9))
ROWS = st.lists(st.tuples(RANGES, st.integers(1, 40), st.sampled_from(["tcp", "udp", "both"])), max_size=8)


@given(ROWS)
def test_a_port_with_two_owners_is_found_and_nothing_else(rows):
    text, taken, guilty = "", [set(), set()], set()
    for number, ((first4, more), first6, protocol) in enumerate(rows):
        names = ["tcp", "udp"] if protocol == "both" else [protocol]
        text += forward(f"{first4}-{first4 + more}", f"{first6}-{first6 + more}", str(names))
        for end, (key, first) in enumerate((("ipv4", first4), ("ipv6", first6))):
            ports = {name: {(name, port) for port in range(first, first + more + 1)} for name in names}
            free = [each for each in ports.values() if not each & taken[end]]
            if len(free) < len(ports):
                guilty.add(f"[[forward]] #{number + 1} {key}")
            for each in ports.values():  # up to the first protocol that is refused
                if each & taken[end]:
                    break
                taken[end] |= each
    try:
        loads(POOL6 + text)
        found = set()
    except ConfigError as error:
        found = {problem.key for problem in error.problems}
    assert found == guilty


def calls_of(function: Callable[[], object]) -> int:
    """How many functions, of Python or C, a call makes in all."""
    count, before = 0, sys.getprofile()

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("width", [1, 4])
def test_twice_as_many_ports_are_twice_the_work(width):
    def rows(many: int) -> str:
        ranges = [f"{first}-{first + width - 1}" for first in range(1, many * width, width)]
        return POOL6 + pool("1-65535") + "".join(forward(ports, ports) for ports in ranges)

    few, many = (calls_of(partial(loads, rows(number))) for number in (500, 1000))
    assert many < 2.2 * few


def test_every_port_of_a_thousand_ranges_has_its_entry():
    ranges = [f"{first}-{first + 3}" for first in range(1, 4000, 4)]
    config = loads(POOL6 + pool("1-65535") + "".join(forward(ports, ports) for ports in ranges))
    assert sum(entry.end4.size for entry in config.forward) == 4000


def test_no_forward_makes_no_entry():
    config = loads(POOL6)
    assert not np.any(tables_of(config, settings_of(config, bytes(16))).bibs["live"])
