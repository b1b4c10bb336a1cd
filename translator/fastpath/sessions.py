"""The session of a packet, in the tables of the daemon: the same hash, the same slots, the same record.

The daemon changes them meanwhile, under a lock that the program does not know. So it reads the record, then the slot of
the index again: what the slot still names was that session's all the time. A slot that is moved just now is missed, and
the daemon has the packet.
"""

from typing import Any, NamedTuple

from translator.fastpath import kernel
from translator.fastpath.reasons import Reason
from translator.jit.bpf import add64, le8s, le16s, le32s, le64, put32, read_again, stack, swap
from translator.jit.compile import int64, jit
from translator.packet.fields import ICMP, TCP
from translator.session.accounts import FROM_HOST4, FROM_HOST6
from translator.session.sessions import is_session4, is_session6, session_hash4, session_hash6
from translator.session.tcp_state import State
from translator.tables.layout import OF_GONE, OF_SERVICE, SESSION
from translator.tables.tables import OCTETS, PACKETS

# LIMITS
PROBES = 8  # slots that are looked at; in a full table that is enough for all but one flow in fifty
SLACK = 1000  # milliseconds that `expires` may be late, so that a busy session's record is written once a second
LAG = 10  # milliseconds that the coarse clock may be behind the daemon's: a tick of a kernel with 100 Hz

FIELDS: Any = SESSION.fields
AT = {name: field[1] for name, field in FIELDS.items()}
HOST6_HI, HOST6_LO, HOST6_PORT = AT["host6_hi"], AT["host6_lo"], AT["host6_port"]
MAPPED4, MAPPED4_PORT = AT["mapped4"], AT["mapped4_port"]
HOST4, HOST4_PORT, PREFIX = AT["host4"], AT["host4_port"], AT["prefix"]
EXPIRES, PROTOCOL, STATE, INBOUND, LIVE = AT["expires"], AT["protocol"], AT["state"], AT["inbound"], AT["live"]


class Session(NamedTuple):
    """A record of tables.layout.SESSION, as it was read."""

    host6_hi: int
    host6_lo: int
    host6_port: int
    mapped4: int
    mapped4_port: int
    host4: int
    host4_port: int
    expires: int
    protocol: int
    state: int
    inbound: int
    live: int
    prefix: int


class Found(NamedTuple):
    """A session, its number, where its record lies, where `since` has it; or the reason there is none (`address` 0)."""

    reason: Reason
    number: int
    address: int
    since: int
    hashed: int
    session: Session


@jit()
def nothing(reason):
    """No session."""
    return Found(reason, 0, 0, 0, 0, Session(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))


@jit()
def slot_of(index, hashed):
    """The address of the first slot of an index that agrees with a hash, or 0."""
    key, at = stack(8), hashed * kernel.index_size() >> 31
    for _ in range(PROBES):
        put32(key, at)
        slot = kernel.lookup(index, key)
        if slot == 0:
            return 0
        entry = le64(slot)
        if entry == 0:
            return 0
        if entry >> 32 == hashed:
            return slot
        at = at + 1 if at + 1 < kernel.index_size() else 0
    return 0


@jit()
def read_session(row):
    """The record at an address."""
    return Session(
        host6_hi=le64(row + HOST6_HI),
        host6_lo=le64(row + HOST6_LO),
        host6_port=le32s(row + HOST6_PORT),
        mapped4=le64(row + MAPPED4),
        mapped4_port=le32s(row + MAPPED4_PORT),
        host4=le64(row + HOST4),
        host4_port=le32s(row + HOST4_PORT),
        expires=le64(row + EXPIRES),
        protocol=le16s(row + PROTOCOL),
        state=le8s(row + STATE),
        inbound=le8s(row + INBOUND),
        live=le16s(row + LIVE),
        prefix=le16s(row + PREFIX),
    )


@jit()
def found_in(index, hashed):
    """What the first slot that agrees with a hash names."""
    slot, key = slot_of(index, hashed), stack(8)
    if slot == 0:
        return nothing(Reason.NO_SESSION)
    entry = le64(slot)
    number = (entry & 0xFFFFFFFF) - 1
    put32(key, number)
    row, since = kernel.lookup(kernel.sessions(), key), kernel.lookup(kernel.since(), key)
    if row == 0 or since == 0:
        return nothing(Reason.NO_SESSION)
    session = read_session(row)
    if read_again(slot) != entry:
        return nothing(Reason.NO_SESSION)
    return Found(Reason.SIX_TO_FOUR, number, row, since, hashed, session)


@jit()
def find6(gateway, t, host4):
    """The session of a tuple from IPv6."""
    found = found_in(kernel.sessions6(), session_hash6(gateway, t.protocol, t.src, host4))
    if found.address == 0 or not is_session6(found.session, t, host4):
        return nothing(Reason.NO_SESSION)
    return found


@jit()
def find4(gateway, t):
    """The session of a tuple from IPv4."""
    found = found_in(kernel.sessions4(), session_hash4(gateway, t.protocol, t.dst, t.src))
    if found.address == 0 or not is_session4(found.session, t):
        return nothing(Reason.NO_SESSION)
    return found


@jit()
def objection(found, moment):
    """The reason to leave a session's packet to the daemon, which is to change more than `expires`; or that there is
    none."""
    session = found.session
    if session.inbound == OF_GONE or (session.inbound >= OF_SERVICE and kernel.eams() != 0):
        return Reason.SERVICE
    if session.state != (int64(State.ESTABLISHED) if session.protocol == TCP else int64(State.NONE)):
        return Reason.NOT_ESTABLISHED
    if session.expires <= moment:
        return Reason.EXPIRED
    return Reason.SIX_TO_FOUR


@jit()
def touch(found, moment):
    """Give a session its time anew, as sessions.touch, and up to SLACK more: it never ends before its time is over.
    Where its record has become another one's, its time is another one too, and stays."""
    session = found.session
    timeout = kernel.tcp_timeout()
    if session.protocol == ICMP:
        timeout = kernel.icmp_timeout()
    elif session.protocol != TCP:
        timeout = kernel.service_udp_timeout() if session.inbound >= OF_SERVICE else kernel.udp_timeout()
    if moment + timeout + LAG > session.expires:
        swap(found.address + EXPIRES, session.expires, moment + timeout + SLACK)


@jit()
def account(number, family, octets):
    """Count a packet for the session of that number, as accounts.count_packet."""
    key = stack(8)
    put32(key, number)
    row = kernel.lookup(kernel.accounts(), key)
    if row == 0:
        return
    row += 8 * 2 * (FROM_HOST6 if family == 6 else FROM_HOST4)
    add64(row + 8 * PACKETS, 1)
    add64(row + 8 * OCTETS, octets)
