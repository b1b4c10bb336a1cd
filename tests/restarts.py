"""A restart as the translator sees it: records of tables that were, taken over into others (session/restore.py)."""

from dataclasses import replace
from typing import Any

from nat64d.gateway.takeover import statics_of
from tests import invariants
from tests.case import BEGIN, engines_of
from tests.engines import Engines
from tests.packets import HOST6, NEIGHBOUR6, OTHER4
from tests.sessions import Sessions
from translator.session.fates import Fate
from translator.session.pool4 import NEXT, OLDEST
from translator.session.restore import Kept, restore
from translator.tables.gateway import Gateway, new_worker

OTHER_HOST6 = "2001:db8:2::1"
SECRET = bytes(range(16))  # of the run after
TINY: dict[str, Any] = {
    "limits": {"sessions": 64, "icmp_errors_per_second": 1000},
    "pool4": [
        {"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2003"},
        {"addresses": "192.0.2.1-192.0.2.2", "ports": "2005-2006", "protocols": ["udp"]},
        {"addresses": "192.0.2.3", "ports": "2000-2001", "source": "2001:db8:2::/48"},
    ],
    "forward": [
        {"protocol": "tcp", "ipv4": "192.0.2.1:2000", "ipv6": f"[{HOST6}]:80"},
        {"protocol": "udp", "ipv4": "203.0.113.80:80", "ipv6": f"[{NEIGHBOUR6}]:81"},
    ],
}
FORWARDED = ("192.0.2.1", 2000), ("203.0.113.80", 80)
ONE_POOL = [{"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2003"}]


def records_of(nat64: Sessions) -> Kept:
    """Copies of what is taken over."""
    tables = nat64.tables
    return Kept(tables.sessions.copy(), tables.quarantine.copy(), statics_of(tables), tables.blocks.copy())


def restart(
    nat64: Sessions, kept: Kept | None = None, changes: dict[str, Any] | None = None, secret: bytes = SECRET
) -> dict[Fate, int]:
    """The gateway as it is after a restart, with another secret and perhaps another configuration; `kept` is what it
    finds, otherwise the records that were there, where they were. Returns how many sessions had which fate."""
    engines = Engines(engines_of(**TINY | (changes or {})).config, secret)
    tables = engines.tables()
    if kept is None:
        kept = Kept(*(nat64.tables.sessions, nat64.tables.quarantine, statics_of(nat64.tables)), nat64.tables.blocks)
        tables = replace(tables, sessions=kept.sessions, quarantine=kept.quarantine, blocks=kept.blocks)
    worker = replace(new_worker(0), answer=nat64.worker.answer)
    nat64.gateway, nat64.config = Gateway(engines.predictable, tables, worker), engines.config
    fates, nat64.ended = restore(nat64.gateway, round((BEGIN + nat64.now) * 1000), kept)
    invariants.check(nat64.tables, nat64.settings)
    return {fate: int(fates[fate]) for fate in Fate if fates[fate]}


def waiting(nat64: Sessions) -> list[tuple[int, int, int]]:
    """(address, port, until) of what is in quarantine, oldest first."""
    oldest, number = map(int, nat64.tables.quarantine_at[[OLDEST, NEXT]])
    ring = [nat64.tables.quarantine[n % len(nat64.tables.quarantine)] for n in range(oldest, number)]
    return [(int(row.mapped4), int(row.port), int(row.until)) for row in ring if row.live]


def busy() -> Sessions:
    """Sessions of every protocol and kind, and two ports that wait."""
    nat64 = Sessions(**TINY)
    nat64.opened("udp", 5010)
    nat64.wait(180)
    nat64.opened("icmp", 5000)
    nat64.wait(61)
    to = nat64.opened("udp", 5000, host=NEIGHBOUR6)
    nat64.opened("udp", 5000, host=NEIGHBOUR6, to=(OTHER4, 53))
    nat64.from4("udp", to)
    nat64.from4("udp", to, (OTHER4, 99))
    nat64.opened("udp", 5000, host=OTHER_HOST6)
    nat64.from4("tcp", nat64.opened("tcp", 90), flags="SYN-ACK")
    nat64.from4("tcp", FORWARDED[0], flags="SYN")
    nat64.from4("udp", FORWARDED[1])
    nat64.wait(60)  # the first two are over
    return nat64


def first(nat64: Sessions, protocol: str = "udp", inbound: int = 0) -> Any:
    """The first record of a session."""
    number = {"udp": 17, "tcp": 6}[protocol]
    return next(r for r in nat64.tables.sessions if r.live and r.protocol == number and r.inbound == inbound)
