"""What is true of the fragments that are kept, between any two packets; a part of invariants.py."""

from itertools import pairwise

import numpy as np

from translator.fragments.reassembly import OVERLAPPING
from translator.tables.layout import NONE
from translator.tables.tables import Tables


def check_fragments(tables: Tables) -> list[int]:
    """The rings hold the newest fragments, each in one piece; the datagrams' lists lead through those that are kept for
    them, in the order they came. Returns the numbers of these."""
    oldest, following, head = tables.stored_at.tolist()
    capacity, size = len(tables.stored_octets), len(tables.stored)
    assert 0 <= oldest <= following <= oldest + size, f"fragments {oldest} to {following} in {size} records"
    end = 0
    for number in range(oldest, following):
        one = tables.stored[number % size]
        assert one.position >= end, f"fragment {number}: begins at {one.position}, before {end}"
        assert one.position % capacity + one.octets <= capacity, f"fragment {number}: does not lie in one piece"
        assert one.header + one.length == one.octets, f"fragment {number}: {one.octets} octets"
        end = int(one.position) + int(one.octets)
    assert oldest == following or head == end, f"the head is at {head}, the last fragment ends at {end}"
    assert oldest == following or head - tables.stored[oldest % size].position <= capacity, "the ring ran over itself"
    found = [number for at in np.flatnonzero(tables.fragments["count"]).tolist() for number in kept(tables, at)]
    assert all(oldest <= number < following for number in found), f"lists name {sorted(found)}, which are forgotten"
    return sorted(found)


def kept(tables: Tables, at: int) -> list[int]:
    """The numbers of a datagram's kept fragments."""
    row, found = tables.fragments[at], []
    number = int(row.oldest)
    while number != NONE and len(found) <= row.count:
        found.append(number)
        number = int(tables.stored[number % len(tables.stored)].next)
    ones = [tables.stored[number % len(tables.stored)] for number in found]
    assert len(found) == row.count, f"datagram {at}: counts {row.count} fragments, lists {found}"
    assert found == sorted(set(found)), f"datagram {at}: lists {found}, not as they came"
    assert found[-1] == row.newest, f"datagram {at}: lists {found}, the newest is {row.newest}"
    assert all(one.datagram == at for one in ones), f"datagram {at}: has fragments of another"
    received = sum(int(one.length) for one in ones)
    assert received == row.received, f"datagram {at}: counts {row.received} octets, has {received}"
    edges = sorted((int(one.offset), int(one.offset + one.length)) for one in ones)
    assert edges[-1][1] <= row.reach, f"datagram {at}: reaches {edges[-1][1]}, says {row.reach}"
    disjoint = all(before[1] <= after[0] for before, after in pairwise(edges))
    assert disjoint or row.overlaps, f"datagram {at}: fragments {edges} overlap"
    assert row.stage != OVERLAPPING, f"datagram {at}: refused, yet fragments are kept"
    return found
