"""What a fake API server keeps: objects, one resourceVersion for all of them, and what has happened, for watches.

Written from any thread, read from that of the server. Objects are never changed in place: a write stores another one.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from tests.kubernetes.fake.kinds import Kind

Object = dict[str, Any]
FIRST = 200  # of an etcd that has been up for a while


class Key(NamedTuple):
    """Where an object is; `namespace` is "" of what belongs to none."""

    kind: Kind
    namespace: str
    name: str


class Change(NamedTuple):
    """A write: what was there before, and is there now."""

    version: int
    key: Key
    before: Object | None
    after: Object | None


class ConflictError(Exception):
    """There is another version, or there is one already; its text says so."""


class AbsentError(Exception):
    """There is no such object."""


class Store:
    """Objects by kind, namespace and name. `lag`: how many writes a cache of the server is behind (a list at version 0
    is answered from it)."""

    def __init__(self, lag: int = 2) -> None:
        self.lag = lag
        self.version = FIRST
        self.lock = threading.RLock()
        self.objects: dict[Key, Object] = {}
        self.history: list[Change] = []
        self.oldest = FIRST  # a watch at an earlier version is told 410
        self.wake: Callable[[], None] = lambda: None
        self._created = 0

    def find(self, key: Key) -> Object:
        """The object; raises AbsentError."""
        with self.lock:
            if key not in self.objects:
                raise AbsentError(
                    f'{key.kind.plural}{"." * bool(key.kind.group)}{key.kind.group} "{key.name}" not found'
                )
            return self.objects[key]

    def create(self, key: Key, given: Object) -> Object:
        """A new object; raises ConflictError."""
        with self.lock:
            if key in self.objects:
                raise ConflictError(f'{key.kind.plural} "{key.name}" already exists')
            self._created += 1
            metadata = {
                "creationTimestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                **given.get("metadata", {}),
                "name": key.name,
                "uid": str(uuid4()),
                "generation": 1,
            }
            if key.namespace:
                metadata["namespace"] = key.namespace
            return self._write(key, {**given, "metadata": metadata})

    def replace(self, key: Key, given: Object, version: str | None = None) -> Object:
        """Another state of an object. One that is the same stays what it is, with its version. `version`: which one it
        is meant for; raises ConflictError, AbsentError."""
        with self.lock:
            before = self.find(key)
            if version and version != before["metadata"]["resourceVersion"]:
                raise ConflictError(
                    f'Operation cannot be fulfilled on {key.kind.plural} "{key.name}": the object has been modified; '
                    "please apply your changes to the latest version and try again"
                )
            kept = ("uid", "creationTimestamp", "name", "namespace", "resourceVersion", "generation")
            metadata = {**given.get("metadata", {}), **{k: v for k, v in before["metadata"].items() if k in kept}}
            after = {**given, "metadata": metadata}
            if after == before:
                return before
            if after.get("spec") != before.get("spec"):
                metadata["generation"] = before["metadata"]["generation"] + 1
            return self._write(key, after)

    def remove(self, key: Key) -> Object:
        """Raises AbsentError."""
        with self.lock:
            before = self.find(key)
            return self._write(key, None, before)

    def listed(self, kind: Kind, namespace: str = "", at: int | None = None) -> list[Object]:
        """The objects of a kind, by name; as they were at a version."""
        with self.lock:
            state = {k: o for k, o in self.objects.items() if k.kind == kind}
            if at is not None:
                for change in reversed(self.history):
                    if change.version <= at:
                        break
                    if change.key.kind == kind:
                        state.pop(change.key, None)
                        if change.before:
                            state[change.key] = change.before
        found = sorted((k for k in state if namespace in ("", k.namespace)), key=lambda k: (k.namespace, k.name))
        return [state[key] for key in found]

    def since(self, version: int) -> Iterable[Change]:
        """What has happened after a version."""
        with self.lock:
            at = len(self.history)
            while at and self.history[at - 1].version > version:
                at -= 1
            return self.history[at:]

    @property
    def cached(self) -> int:
        """The version of the cache, which is behind."""
        with self.lock:
            behind = [change.version for change in self.history[: len(self.history) - self.lag]]
            return behind[-1] if behind else FIRST

    def forget(self, keep: int = 0) -> None:
        """Let nothing have happened but the last writes: etcd was compacted, or the server is another one."""
        with self.lock:
            gone = self.history[: len(self.history) - keep]
            self.oldest = gone[-1].version if gone else self.oldest
            del self.history[: len(gone)]
        self.wake()

    def restore(self, version: int) -> None:
        """Be as at an earlier version, with its number: etcd was restored from a copy."""
        with self.lock:
            for change in reversed([*self.since(version)]):
                self.objects.pop(change.key, None)
                if change.before:
                    self.objects[change.key] = change.before
            self.history = [change for change in self.history if change.version <= version]
            self.version = version
        self.wake()

    def bare(self) -> None:
        """Move the version on without a change of any object that somebody watches."""
        with self.lock:
            self.version += 1

    def _write(self, key: Key, after: Object | None, before: Object | None = None) -> Object:
        self.version += 1
        before = before or self.objects.get(key)
        written = deepcopy(after or before)
        assert written
        written["metadata"]["resourceVersion"] = str(self.version)
        if after is None:
            del self.objects[key]
            # What a watch is told last has the version of the deletion.
            self.history.append(Change(self.version, key, {**written}, None))
        else:
            self.objects[key] = written
            self.history.append(Change(self.version, key, before, written))
        self.wake()
        return written


class Selector:
    """A label selector: `key=value`, `key!=value`, `key`, `!key`, with commas between."""

    def __init__(self, text: str) -> None:
        self.terms = [term.strip() for term in text.split(",") if term.strip()]

    def __contains__(self, given: Object | None) -> bool:
        if given is None:
            return False
        labels = given["metadata"].get("labels") or {}
        return all(self._holds(term, labels) for term in self.terms)

    @staticmethod
    def _holds(term: str, labels: dict[str, str]) -> bool:
        if "!=" in term:
            key, _, value = term.partition("!=")
            return labels.get(key) != value
        if "=" in term:
            key, _, value = term.replace("==", "=").partition("=")
            return labels.get(key) == value
        return term[1:] not in labels if term.startswith("!") else term in labels


def told(changes: Iterable[Change], kind: Kind, namespace: str, selector: Selector) -> Iterator[tuple[str, Object]]:
    """The events of a watch: an object that no longer matches is DELETED to it."""
    for change in changes:
        if change.key.kind != kind or namespace not in ("", change.key.namespace):
            continue
        before, after = change.before in selector, change.after in selector
        if after:
            assert change.after
            yield ("MODIFIED" if before else "ADDED"), change.after
        elif before:
            assert change.before
            last = deepcopy(change.before)
            last["metadata"]["resourceVersion"] = str(change.version)
            yield "DELETED", last
