"""Which of the datagrams that were read together are dealt with first."""

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

from nat64d.dns64.clients.accounts import Account

Datagram = TypeVar("Datagram")


def in_turn(datagrams: Iterable[tuple[Account, Datagram]]) -> list[tuple[Account, Datagram]]:
    """The datagrams in such an order that subscribers come in turn, and the addresses of each in turn among
    themselves: those of the clients that sent most are at the end."""
    return _ranked(_ranked(datagrams, 1), 0)


def _ranked(datagrams: Iterable[tuple[Account, Datagram]], level: int) -> list[tuple[Account, Datagram]]:
    """The first datagrams of all, then the second ones, and so on; `level`: 0 of subscribers, 1 of addresses."""
    seen: Counter[str] = Counter()
    rows = []
    for who, datagram in datagrams:
        rows.append((seen[who[level]], who, datagram))
        seen[who[level]] += 1
    rows.sort(key=lambda row: row[0])
    return [(who, datagram) for _, who, datagram in rows]
