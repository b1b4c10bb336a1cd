"""The EndpointSlices of a cluster, by the Service that they are of."""

from collections import defaultdict
from collections.abc import KeysView

from nat64d.kubernetes.objects import Key, Slice


class Slices:
    """`put` and `remove` say which Services have other slices now."""

    def __init__(self) -> None:
        self._all: dict[Key, Slice] = {}
        self._of: defaultdict[Key, set[Key]] = defaultdict(set)

    def keys(self) -> KeysView[Key]:
        """Of all slices."""
        return self._all.keys()

    def of(self, service: Key) -> list[Slice]:
        """Those of a Service."""
        return [self._all[key] for key in self._of.get(service, ())]

    def put(self, key: Key, made: Slice) -> set[Key]:
        """A slice is new, or another one now; one that is the same touches nobody."""
        if self._all.get(key) == made:
            return set()
        touched = self.remove(key) | {made.service}
        self._all[key] = made
        self._of[made.service].add(key)
        return touched

    def remove(self, key: Key) -> set[Key]:
        """A slice is gone."""
        before = self._all.pop(key, None)
        if before is None:
            return set()
        self._of[before.service].discard(key)
        if not self._of[before.service]:
            del self._of[before.service]
        return {before.service}
