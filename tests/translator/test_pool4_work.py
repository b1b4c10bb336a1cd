"""No packet costs more than a bounded search, whatever of the pool is taken: how many words of the bitmaps are read."""

from dataclasses import replace
from ipaddress import IPv6Address
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nat64d.config.words import words
from tests.occupied import all_but_every_4096th, all_but_the_last, even, everything, nothing, occupy
from tests.packets import HOST6
from tests.sessions import Sessions
from translator.jit.compile import in_plain_python
from translator.packet.addresses import address4, address6
from translator.packet.fields import TCP, UDP
from translator.packet.tuples import tuple_of
from translator.session import pool4
from translator.session.pool4 import WAITING
from translator.tables import bitmaps, hashing
from translator.tables.bitmaps import words_of
from translator.tables.gateway import Gateway
from translator.tables.layout import NONE

QUIET = 40  # words that a search reads in an empty pool, more than enough
MOST = 3 * QUIET
COUNTED = ("ports_used", "ports_full", "ports_free", "rows_lacking", "rows_full")
PROTOCOLS = (6, 17, 1)  # in the order of the bitmaps of a pool row


class Counted(np.ndarray):
    """An array that counts how often an element or a row is read."""

    reads = 0

    def __getitem__(self, key: Any) -> Any:
        Counted.reads += 1
        return super().__getitem__(key)


@pytest.fixture(autouse=True)
def _in_plain_python(monkeypatch):
    """What a search calls counts its reads, compiled or not."""
    for module in (pool4, bitmaps, hashing):
        for name, value in vars(module).items():
            if callable(value) and not isinstance(value, type | ModuleType):
                monkeypatch.setattr(module, name, in_plain_python(value))


def pool(*rows: dict[str, Any], **limits: Any) -> Sessions:
    """A gateway with these [[pool4]], whose tables are filled by hand: its invariants need not be checked each time."""
    nat64 = Sessions(pool4=list(rows), forward=[], limits=limits)
    nat64.check_invariants = lambda: None
    return nat64


def reads(nat64: Sessions, protocol: int, port: int = 6000, paired4: int = 0) -> tuple[int, int, int]:
    """The words that `allocate` reads for a flow of HOST6, and the (row, port) it gives."""
    counted = {name: getattr(nat64.tables, name).view(Counted) for name in COUNTED}
    gateway = Gateway(nat64.settings, replace(nat64.tables, **counted), nat64.worker)
    t = tuple_of(6, protocol, address6(*words(IPv6Address(HOST6)), port), address6(0, 1, 53))
    Counted.reads = 0
    row, chosen = pool4.allocate(gateway, 0, t, address4(1, 53), paired4, NONE)
    if chosen == NONE:
        pool4.is_paired_full(gateway, t, paired4)
    return Counted.reads, int(row), int(chosen)


SIZES = {"/32": "198.18.0.1", "31 addresses": "198.18.0.1-198.18.0.31", "4096 addresses": "198.18.0.0/20"}
FILLS = (nothing, even, all_but_the_last, all_but_every_4096th, everything)


@pytest.mark.no_cover
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fill", FILLS, ids=lambda fill: fill.__name__)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("pairing", ["strict", "soft"])
def test_search_for_a_port_reads_few_words_whatever_is_taken(size, fill, protocol, pairing):
    nat64 = pool({"addresses": SIZES[size]}, pairing=pairing)
    occupy(nat64.tables, nat64.settings, range(len(nat64.settings.pool)), fill)
    for paired4 in (0, int(nat64.settings.pool.address[-1])):
        count, row, port = reads(nat64, protocol, paired4=paired4)
        assert (port == NONE) == (fill is everything)
        assert row != NONE
        assert count <= (QUIET if fill is nothing else MOST)


@pytest.mark.parametrize("distance", [1, 63, 64, 4095, 4096, 65535])
def test_rfc6888_req_3_the_one_free_port_of_65536_addresses_is_found(distance):
    nat64 = pool({"addresses": "198.18.0.0/16", "ports": "2000"})
    _, begin, _ = reads(nat64, UDP)
    for kind in range(4):
        lacking = np.ones(65536, bool)
        lacking[(begin + distance) % 65536] = kind != 2
        nat64.tables.rows_lacking[1, kind] = words_of(lacking)
        nat64.tables.rows_full[1, kind] = words_of(nat64.tables.rows_lacking[1, kind] == -1)
    count, row, port = reads(nat64, UDP, port=6000)
    assert (row, port) == ((begin + distance) % 65536, 2000)
    assert count <= MOST


@pytest.mark.no_cover
def test_rows_of_one_address_may_be_many():
    """A thousand ranges of ports, all full but the last, and the address is the one that the host has."""
    ranges = [{"addresses": "198.18.0.1", "ports": f"{first}-{first + 1}"} for first in range(10000, 13000, 3)]
    nat64 = pool({"addresses": "198.18.0.0"}, *ranges, {"addresses": "198.18.0.2"})
    paired4 = int(nat64.settings.pool.address[1])
    occupy(nat64.tables, nat64.settings, range(1, 1000), everything)
    count, row, port = reads(nat64, UDP, paired4=paired4)
    assert (row, port) == (1000, 12998)
    assert count <= MOST
    occupy(nat64.tables, nat64.settings, range(1, 1001), everything)
    assert reads(nat64, TCP, paired4=paired4)[2] == NONE
    assert reads(nat64, TCP, paired4=paired4)[0] <= MOST


def test_a_port_that_waits_is_found_among_4096_full_addresses():
    nat64 = pool({"addresses": "198.18.0.0/20"}, sessions=64)
    nat64.opened("udp", 6000)
    nat64.wait(301)
    occupy(nat64.tables, nat64.settings, range(4096), everything)
    assert not bitmaps.is_inside(nat64.tables.rows_lacking[1, WAITING], int(nat64.tables.quarantine[0].slot) // 3)
    count, row, port = reads(nat64, UDP)
    assert (row * 3 + 1, port) == (int(nat64.tables.quarantine[0].slot), int(nat64.tables.quarantine[0].port))
    assert count <= MOST
