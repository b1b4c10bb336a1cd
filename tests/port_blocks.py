"""What is true of blocks of ports between any two packets; a part of invariants.py."""

from collections import Counter, defaultdict
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import numpy as np

from nat64d.config.models import MOST_BLOCKS
from nat64d.config.words import address6
from translator.tables.layout import NONE
from translator.tables.settings import Settings
from translator.tables.tables import BIBS, BLOCKS, Tables

PROTOCOLS = ("tcp", "udp", "icmp")


def check_blocks(tables: Tables, settings: Settings, living: dict[int, list[int]]) -> None:
    """No block has two owners, no mapping a port outside of the blocks of its subscriber, and every record is right."""
    if settings.port_block == 0:
        assert living[BLOCKS] == [], f"blocks: {living[BLOCKS]} are live"
        return
    places = {block: place_of(tables.blocks[block], settings) for block in living[BLOCKS]}
    assert len(set(places.values())) == len(places), f"blocks: one is there twice, {places}"
    computed = computed_blocks(settings)
    assert not set(places.values()) & set(computed), "blocks: a computed one is handed out"
    statics = check_mappings(tables, settings, living[BIBS], places, computed)
    taken = {*places.values(), *computed, *statics}
    check_bitmaps(tables, settings, taken)
    check_owners(tables, settings, living[BLOCKS])
    check_held(tables, living[BLOCKS])


def place_of(one: Any, settings: Settings) -> tuple[int, int]:
    """(pool row, which block of it); the record says it in three ways."""
    row = settings.pool[one.row]
    number, rest = divmod(int(one.first - row.port_first), settings.port_block)
    assert rest == 0, f"a block begins with port {one.first}"
    assert number >= 0, f"a block begins with port {one.first}"
    assert one.first + settings.port_block - 1 <= row.port_last, f"a block ends behind {row.port_last}"
    assert one.last == one.first + settings.port_block - 1, f"a block ends with port {one.last}"
    assert one.length == settings.subscriber, f"a block of a prefix of length {one.length}"
    assert one.mapped4 == row.address, f"a block is of another address than pool row {one.row}"
    return int(one.row), number


def computed_blocks(settings: Settings) -> dict[tuple[int, int], IPv6Network]:
    """RFC 7422: (pool row, which block of it) -> whose it is, one after the other."""
    found = {}
    for group in settings.groups[settings.groups.computed > 0]:
        source = IPv6Network((int(address6(group.hi, group.lo)), int(group.length)))
        for number, subscriber in enumerate(source.subnets(new_prefix=settings.subscriber)):
            row, at = divmod(number, int(group.computed))
            found[int(group.first) + row, at] = subscriber
    return found


def check_mappings(
    tables: Tables,
    settings: Settings,
    bibs: list[int],
    places: dict[int, tuple[int, int]],
    computed: dict[tuple[int, int], IPv6Network],
) -> set[tuple[int, int]]:
    """Each dynamic mapping has a port of a block of its subscriber, which counts it; returns the blocks that have a
    forwarded port."""
    ports, statics = Counter[int](), set()
    owners = computed | {place: owner_of(tables.blocks[block], settings) for block, place in places.items()}
    blocks = {place: block for block, place in places.items()}
    for bib in bibs:
        entry = tables.bibs[bib]
        if entry.slot == NONE:
            continue
        row = int(entry.slot) // 3
        place = row, int(entry.mapped4_port - settings.pool[row].port_first) // settings.port_block
        host6 = address6(entry.host6_hi, entry.host6_lo)
        if entry.static:
            statics.add(place)
            assert place not in places.values(), f"BIB entry {bib}: forwarded, of a block that is handed out"
        else:
            assert place in owners, f"BIB entry {bib}: its port is in no block that anybody has"
            assert host6 in owners[place], f"BIB entry {bib}: {host6} has a port of the block of {owners[place]}"
            ports.update([blocks[place]] if place in blocks else [])
    counted = {block: int(tables.blocks[block].ports) for block in places if tables.blocks[block].ports}
    assert counted == ports, f"blocks: count {counted} ports, not {dict(ports)}"
    return {(row, at) for row, at in statics if at < blocks_of_row(settings, row)}


def owner_of(one: Any, settings: Settings) -> IPv6Network:
    """The subscriber of a block; IPv6Network says whether it is one."""
    return IPv6Network((IPv6Address(int(address6(one.host6_hi, one.host6_lo))), settings.subscriber))


def blocks_of_row(settings: Settings, row: int) -> int:
    pool = settings.pool[row]
    return int(pool.port_last - pool.port_first + 1) // settings.port_block


def check_bitmaps(tables: Tables, settings: Settings, taken: set[tuple[int, int]]) -> None:
    """The bitmaps have the blocks that are not to be handed out, and the rows that have none left are said to."""
    full = np.unpackbits(tables.blocks_full.view(np.uint8), axis=1, bitorder="little")
    said = full[:, : tables.blocks_used.shape[1]]
    assert (said == (tables.blocks_used == -1)).all(), "blocks: a bitmap whose levels differ"
    for row in range(len(settings.pool)):
        count = blocks_of_row(settings, row)
        bits = np.unpackbits(tables.blocks_used[row].view(np.uint8), bitorder="little")[:count]
        own = sorted(at for of, at in taken if of == row)
        assert np.flatnonzero(bits).tolist() == own, f"pool row {row}: blocks {np.flatnonzero(bits)}, not {own}"
        free = int(tables.blocks_free[row])
        assert free == count - len(own), f"pool row {row}: counts {free} free blocks of {count - len(own)}"
        for at, name in enumerate(PROTOCOLS):
            lacks = bool(tables.rows_lacking[at, 6, row // 64] >> (row % 64) & 1)
            assert lacks == (free == 0 or not settings.pool[row][name]), f"pool row {row}: {name} lacks blocks: {lacks}"


def check_owners(tables: Tables, settings: Settings, living: list[int]) -> None:
    """The blocks of a subscriber are one list, which the index has the first of."""
    lists = defaultdict(list)
    for slot in tables.blocks_of[tables.blocks_of != 0].tolist():
        block = (slot & 0xFFFFFFFF) - 1
        owner = owner_of(tables.blocks[block], settings)
        assert owner not in lists, f"blocks: {owner} is in the index twice"
        while block != NONE and len(lists[owner]) <= MOST_BLOCKS:
            assert owner_of(tables.blocks[block], settings) == owner, f"blocks: {block} is in the list of {owner}"
            lists[owner].append(block)
            block = int(tables.blocks[block].next)
        assert len(lists[owner]) <= MOST_BLOCKS, f"blocks: {owner} has {lists[owner]}"
    assert sorted(block for own in lists.values() for block in own) == living, f"blocks: listed are {dict(lists)}"


def check_held(tables: Tables, living: list[int]) -> None:
    """The blocks that nobody uses are a list; they have a time, and no others."""
    held, before, block = [], NONE, int(tables.blocks_held[0])
    while block != NONE and len(held) <= len(living):
        assert tables.blocks[block].older == before, f"blocks: {block} is linked back to {tables.blocks[block].older}"
        held.append(block)
        before, block = block, int(tables.blocks[block].newer)
    assert int(tables.blocks_held[1]) == before, f"blocks: the newest that waits is {tables.blocks_held[1]}"
    waiting = [block for block in living if tables.blocks[block].ports == 0]
    assert sorted(held) == waiting, f"blocks: {held} wait, without ports are {waiting}"
    timed = [block for block in living if tables.blocks[block].until != 0]
    assert timed == waiting, f"blocks: {timed} have a time, without ports are {waiting}"
