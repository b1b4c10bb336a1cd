"""The endpoints of Services, counted for their status: incremental, as there are many."""

from collections import defaultdict
from typing import TypeAlias

from nat64d.kubernetes.addresses import Key
from nat64d.kubernetes.objects import Slice
from nat64d.kubernetes.rows import numbers
from nat64d.kubernetes.statuses import Facts
from nat64d.kubernetes.wishes import Wish

Place: TypeAlias = tuple[str, int, str, str]  # address, port, protocol, client prefix


class Endpoints:
    """`look` at what has changed, then ask for the `facts` of a Service."""

    def __init__(self) -> None:
        self._of: dict[Key, tuple[int, int, frozenset[Place]]] = {}  # ready ones, slices of IPv4, places
        self._users: defaultdict[Place, set[Key]] = defaultdict(set)

    def look(self, wish: Wish, slices: list[Slice], prefix: str = "") -> None:
        """A Service, or what is behind it, is another one now; `prefix`: of clients, if it has none of its own."""
        self.leave(wish.key)
        places: set[Place] = set()
        ready: set[Place] = set()
        prefix = wish.note("client-prefix") or prefix
        for port in wish.ports:
            for one, number in numbers(port, (one for one in slices if one.family == "IPv6")):
                here = [(end, (end.address, number, port.protocol, prefix)) for end in one.endpoints]
                places.update(place for _, place in here)
                ready.update(place for end, place in here if end.ready)
        found = frozenset(places)
        self._of[wish.key] = len(ready), sum(one.family == "IPv4" for one in slices), found
        for place in found:
            self._users[place].add(wish.key)

    def leave(self, key: Key) -> None:
        """It is no Service of ours any more."""
        for place in self._of.pop(key, (0, 0, frozenset()))[2]:
            self._users[place].discard(key)
            if not self._users[place]:
                del self._users[place]

    def facts(self, key: Key) -> Facts:
        """Of a Service that was looked at."""
        ready, slices4, places = self._of.get(key, (0, 0, frozenset()))
        others = {other for place in places if len(self._users[place]) > 1 for other in self._users[place]} - {key}
        return Facts(ready, slices4, tuple(sorted("/".join(other) for other in others)))
