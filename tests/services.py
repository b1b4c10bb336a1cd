"""What is true of services between any two packets; a part of invariants.py."""

from collections import Counter

import numpy as np

from translator.packet.addresses import address4, address6
from translator.session.bib import bib_hash4, bib_hash6
from translator.session.rendezvous import member_key
from translator.session.tcp_state import State
from translator.tables.gateway import Gateway, new_worker
from translator.tables.layout import OF_SERVICE
from translator.tables.settings import Settings
from translator.tables.tables import BIBS, SESSIONS, Tables


def check_services(tables: Tables, settings: Settings, living: dict[int, list[int]]) -> None:
    """Each member is a BIB entry of its front, and the other way round; indexes have each once; what is not answered
    is counted; and a session is one of a service exactly if its BIB entry is."""
    own = [bib for bib in living[BIBS] if tables.bibs[bib].static == OF_SERVICE]
    members = tables.members
    assert sorted(members.bib.tolist()) == own, f"members: {sorted(members.bib.tolist())}, BIB entries are {own}"
    gateway = Gateway(settings, tables, new_worker(0))
    hashes4, hashes6 = Counter[int](), Counter[int]()
    for number, front in enumerate(tables.fronts):
        hashes4[bib_hash4(gateway, front.protocol, address4(front.address4, front.port)) << 32 | number + 1] += 1
        for at in range(front.first, front.first + front.count):
            row = tables.bibs[members[at].bib]
            ends = (row.protocol, row.mapped4, row.mapped4_port)
            assert ends == (front.protocol, front.address4, front.port), f"member {at}: not of front {number}"
            assert members[at].front == number, f"member {at}: names front {members[at].front}, not {number}"
            host6 = address6(row.host6_hi, row.host6_lo, row.host6_port)
            assert members[at].key == member_key(settings.seed, host6), f"member {at}: another key than its own"
            hashes6[bib_hash6(gateway, row.protocol, host6) << 32 | at + 1] += 1
    for name, index, hashes in (("fronts4", tables.fronts4, hashes4), ("members6", tables.members6, hashes6)):
        assert Counter(index[index != 0].tolist()) == hashes, f"{name}: not each once, under its own hash"
    rows = tables.sessions[living[SESSIONS]]
    of_service = rows.inbound == OF_SERVICE
    assert (of_service == np.isin(rows.bib, own)).all(), "a session of a service without member, or the other way round"
    unanswered = int((of_service & np.isin(rows.state, (State.V4_INIT, State.V6_INIT))).sum())
    assert tables.inbound[1] == unanswered, f"counts {tables.inbound[1]} sessions not answered of {unanswered}"
