"""Sessions of services that are taken over (restore.py): what becomes of one, by what services there are."""

from translator.jit.compile import int64, jit, rare
from translator.packet.tuples import tuple_of
from translator.session.bib import host6_of, mapped4_of
from translator.session.fates import Fate
from translator.session.services import find_front, find_members, serves_source
from translator.session.sessions import host4_of, look_up4, look_up6
from translator.session.subscribers import free_sessions
from translator.tables.layout import NONE


@rare()
def judge_member(gateway, row):
    """(Fate of a session of a service, its member or NONE)."""
    mapped4, host4, protocol = mapped4_of(row), host4_of(row), int64(row.protocol)
    bib, _, _ = find_members(gateway, protocol, host6_of(row), mapped4)
    if bib == NONE or not serves_source(gateway.tables, find_front(gateway, protocol, mapped4), host4):
        return Fate.UNMAPPED, bib
    if is_there(gateway, row) or look_up4(gateway, tuple_of(4, protocol, host4, mapped4)) != NONE:
        return Fate.DAMAGED, bib
    return Fate.KEPT if free_sessions(gateway.tables) > 0 else Fate.LIMITED, bib


@jit()
def is_there(gateway, row):
    """Whether the host6 of a session has one with this host4 already."""
    return look_up6(gateway, tuple_of(6, row.protocol, host6_of(row), host4_of(row)), host4_of(row)) != NONE
