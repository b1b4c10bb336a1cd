"""Sessions of services that are taken over (restore.py): what becomes of one, by what services there are."""

from translator.jit.compile import int64, jit, rare
from translator.packet.fields import TCP
from translator.packet.tuples import tuple_of
from translator.session.bib import find_bib4, host6_of, mapped4_of
from translator.session.fates import Fate
from translator.session.members import RESET, enter_member
from translator.session.services import find_front, find_member, serves_source
from translator.session.sessions import host4_of, look_up4, look_up6
from translator.session.subscribers import free_sessions
from translator.tables.layout import LEAVING, NONE, OF_GONE
from translator.tables.ranges import within
from translator.tables.slots import has_room
from translator.tables.tables import MEMBERS


@rare()
def judge_member(gateway, row):
    """(Fate of a session of a service, its member or NONE). One of TCP outlives its member, which is leaving then, as
    long as packets still come to the address."""
    tables, mapped4, host4, protocol = gateway.tables, mapped4_of(row), host4_of(row), int64(row.protocol)
    host6, front, bib = host6_of(row), find_front(gateway, protocol, mapped4), int64(NONE)
    if front != NONE:
        bib = int64(find_member(gateway, protocol, host6, mapped4, int64(tables.fronts[front].prefix)))
        if not serves_source(tables, front, host4):
            return Fate.UNMAPPED, int64(NONE)
    if bib == NONE:
        bib = int64(find_member(gateway, protocol, host6, mapped4, int64(row.prefix)))
    if (bib == NONE or tables.bibs[bib].live == LEAVING) and not may_leave(gateway, protocol, mapped4):
        return Fate.UNMAPPED, int64(NONE)
    if is_there(gateway, row) or look_up4(gateway, tuple_of(4, protocol, host4, mapped4)) != NONE:
        return Fate.DAMAGED, int64(NONE)
    if free_sessions(tables) == 0 or (bib == NONE and not has_room(tables, MEMBERS, len(tables.members))):
        return Fate.LIMITED, int64(NONE)
    if bib == NONE:
        bib = enter_member(gateway, protocol, host6, mapped4, int64(row.prefix))
        tables.bibs[bib].live = LEAVING
    return Fate.KEPT, bib


@jit()
def inbound_of(gateway, row, bib):
    """What a session counts as (SESSION.inbound) that is one of a static BIB entry now."""
    entry = gateway.tables.bibs[bib]
    if entry.live == LEAVING and (row.inbound == OF_GONE or gateway.settings.endpoint_gone == RESET):
        return int64(OF_GONE)
    return int64(entry.static)


@jit()
def may_leave(gateway, protocol, mapped4):
    """Whether sessions with this mapped4 may be of a member that is of no front any more."""
    return (
        protocol == TCP
        and within(gateway.settings.vips4, mapped4.lo)
        and find_bib4(gateway, protocol, mapped4) == NONE
        and not is_in_pool(gateway, mapped4)
    )


@jit()
def is_in_pool(gateway, mapped4):
    """Whether some host behind us can have this port of TCP."""
    pool = gateway.settings.pool
    for at in range(len(pool)):
        if (
            pool[at].address == mapped4.lo
            and pool[at].tcp
            and pool[at].port_first <= mapped4.port <= pool[at].port_last
        ):
            return True
    return False


@jit()
def is_there(gateway, row):
    """Whether the host6 of a session has one with this host4 already."""
    return look_up6(gateway, tuple_of(6, row.protocol, host6_of(row), host4_of(row)), host4_of(row)) != NONE
