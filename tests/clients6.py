"""What is true of IPv6 clients of services between any two packets; a part of invariants.py."""

from collections import Counter

import numpy as np

from tests.living import gateway_of
from translator.session.clients6 import client_hash
from translator.tables.handles import CLIENTS, DNAT, FULLNAT, NUMBER, VIPS
from translator.tables.settings import Settings
from translator.tables.tables import CLIENTS6, HEIGHT, NEVER_USED, SESSIONS, Tables


def check_clients(tables: Tables, settings: Settings, living: dict[int, list[int]]) -> None:
    """A client has a record exactly while it has sessions; each index has it once; others are free."""
    rows = tables.sessions[living[SESSIONS]]
    numbers = [int(row.host4) for row in rows if row.host4 >= CLIENTS]
    assert all(number < VIPS for number in numbers), "a session is with an address of a service"
    uses = Counter(number & NUMBER for number in numbers)
    counted = {at: int(tables.uses6[at]) for at in np.flatnonzero(tables.uses6).tolist()}
    assert counted == uses, f"clients: counts {counted} sessions, there are {dict(uses)}"
    gateway = gateway_of(tables, settings)
    by, written = Counter[int](), Counter[int]()
    for client in uses:
        row = tables.clients6[client]
        by[client_hash(gateway, row.hi, row.lo) << 32 | client + 1] += 1
        written[client_hash(gateway, row.written_hi, row.written_lo) << 32 | client + 1] += 1
        own = (row.written_hi, row.written_lo) == (row.hi, row.lo)
        assert settings.front6 != DNAT or own, f"client {client}: written otherwise"
        assert settings.front6 != FULLNAT or row.written_hi == settings.source6_hi, f"client {client}: outside source6"
    for name, index, hashes in (("clients6_by", tables.clients6_by, by), ("written6", tables.written6, written)):
        assert Counter(index[index != 0].tolist()) == hashes, f"{name}: not each once, under its own hash"
    height, fresh = int(tables.free[CLIENTS6, HEIGHT]), int(tables.free[CLIENTS6, NEVER_USED])
    free = tables.freed[CLIENTS6, :height].tolist()
    assert sorted([*free, *uses]) == list(range(fresh)), f"clients: {sorted(free)} free, {sorted(uses)} used of {fresh}"
