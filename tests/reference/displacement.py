"""Which mapping gives its port to another flow when there is no other for it: one that nobody has answered.

RFC 6888 REQ-4 asks that nobody takes all ports, and leaves open how; RFC 4787 REQ-5 is about the end of a mapping by
its time. Which of those that may give way does is the translator's choice, so it is learnt from what it sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.reference.shares import prefix_of

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from tests.reference.bib import Bibs, Entry, Pool

FEW = 16  # sessions: one that has more does not give way
ONE_IN = 1024  # ports: so many of a row may wait for an answer, of any subscriber, whatever others have

Row = tuple["Pool", "IPv4Address"]


def may_give_way(entry: Entry) -> bool:
    """To somebody."""
    has_port = not entry.protocol.isdigit()
    return has_port and not entry.static and not entry.is_answered and len(entry.sessions) <= FEW


def unanswered(bibs: Bibs, protocol: str, row: Row) -> list[Entry]:
    """Those of one address and range of ports."""
    known = [entry for (name, mapped4), entry in bibs.by_mapped4.items() if name == protocol and row[0].holds(*mapped4)]
    return [entry for entry in known if entry.mapped4[0] == row[1] and may_give_way(entry)]  # type: ignore[index]


def gives_way(bibs: Bibs, entry: Entry, host: IPv6Address, row: Row) -> bool:
    """To this host: that has less than its share, if all that wait were free, and of its own less than half of the
    average that wait, and fewer than the other one's subscriber, or hardly any.
    """
    listed, pool = unanswered(bibs, entry.protocol, row), row[0]
    if entry not in listed or not bibs.may_take(entry.protocol, host, *row, spare=len(listed)):
        return False
    own, others = (
        sum(one.host6[0] in prefix_of(of, bibs.subscriber) for one in listed) for of in (host, entry.host6[0])
    )
    subscribers = len({prefix_of(one.host6[0], bibs.subscriber) for one in listed})
    is_below = own * 2 < len(listed) / subscribers and own + 1 < others
    return is_below or own < (pool.port_last - pool.port_first + 1) // ONE_IN


def rows_for(bibs: Bibs, protocol: str, host: IPv6Address) -> list[Row]:
    """Where the host may have a mapping."""
    pools = bibs.pools_of(protocol, host)
    only = bibs.only_address(pools, host)
    return [(pool, address) for pool in pools for address in pool.addresses() if only in (None, address)]


def is_without_port(bibs: Bibs, protocol: str, host: IPv6Address) -> bool:
    """None is free for it."""
    pools = bibs.pools_of(protocol, host)
    only = bibs.only_address(pools, host)
    return bibs.is_exhausted(protocol, pools, only) or bibs.is_at_its_share(protocol, pools, host, only)


def has_to_give_way(bibs: Bibs, protocol: str, host: IPv6Address) -> bool:
    """Whichever of the unanswered mappings the translator looks at, it would."""
    if protocol.isdigit() or not is_without_port(bibs, protocol, host):
        return False
    rows = [(row, unanswered(bibs, protocol, row)) for row in rows_for(bibs, protocol, host)]
    return all(listed and all(gives_way(bibs, one, host, row) for one in listed) for row, listed in rows)


def objections_to(bibs: Bibs, entry: Entry, host: IPv6Address) -> list[str]:
    """Why this mapping should not have ended for the sake of the host."""
    if not may_give_way(entry):
        return ["in use by another entry of the same BIB (RFC 6146 3.5.1.1)"]
    if not is_without_port(bibs, entry.protocol, host):
        return ["an unanswered entry had it, and others were free (RFC 6146 3.5.1.1)"]
    rows = [row for row in rows_for(bibs, entry.protocol, host) if entry in unanswered(bibs, entry.protocol, row)]
    if not any(gives_way(bibs, entry, host, row) for row in rows):
        return ["an entry had it whose subscriber has no more that wait than that of the host (RFC 6888 REQ-4)"]
    return []
