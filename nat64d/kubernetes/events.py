"""Events about objects (events.k8s.io/v1): one when the reason changes; the same one again counts in its series."""

import asyncio
import logging
from typing import Any, NamedTuple

from nat64d.kubernetes.addresses import Key
from nat64d.kubernetes.cluster import AnswerError, HeldError, explained
from nat64d.kubernetes.leases import FAILURES
from nat64d.kubernetes.writing import ABSENT, Object, create, merge, now

CONTROLLER = "nat64d.io/controller"
MOST = 4096  # LIMITS: Events whose series is remembered
NOTE = 1024  # octets that the API server takes

log = logging.getLogger("nat64d")


class About(NamedTuple):
    """The object that an Event is about; `key`: namespace, "" = of the cluster, and name."""

    kind: str
    api_version: str
    key: Key
    uid: str


class Events:
    """Writes them."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._series: dict[tuple[About, str], tuple[str, int]] = {}  # name of the Event, how often it was

    async def tell(self, client: Any, about: About, reason: str, note: str, *, warns: bool) -> bool:
        """One more; never raises for what the API server does. False if it is to be told again, as the API server was
        busy or away; what it refuses is in the log and nowhere else."""
        known = self._series.pop((about, reason), None)
        try:
            async with asyncio.timeout(5):
                if known and await self._again(client, about, *known):
                    self._series[about, reason] = known[0], known[1] + 1
                    return True
                made = await create(client, _path(about), self._event(about, reason, note, warns))
        except FAILURES as error:
            if known:
                self._series[about, reason] = known
            if not isinstance(error, HeldError):
                log.warning("No Event for %s: %s", "/".join(about.key), explained(error), extra={"event": "no_event"})
            return isinstance(error, AnswerError) and error.is_final
        self._series[about, reason] = made["metadata"]["name"], 1
        if len(self._series) > MOST:
            self._series.pop(next(iter(self._series)))
        return True

    async def _again(self, client: Any, about: About, name: str, count: int) -> bool:
        """Count one more in its series; False if it is gone, as Events are after an hour."""
        series = {"series": {"count": count + 1, "lastObservedTime": now()}}
        try:
            await merge(client, f"{_path(about)}/{name}", series)
        except AnswerError as error:
            if error.status != ABSENT:
                raise
            return False
        return True

    def _event(self, about: About, reason: str, note: str, warns: bool) -> Object:
        namespace, name = about.key
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"generateName": f"{name[:200]}.", "namespace": namespace or "default"},
            "eventTime": now(),
            "reportingController": CONTROLLER,
            "reportingInstance": self.identity[:128],
            "action": "Program",
            "reason": reason,
            "type": "Warning" if warns else "Normal",
            "note": note.encode()[:NOTE].decode("utf-8", "ignore"),
            "regarding": {
                "kind": about.kind,
                "apiVersion": about.api_version,
                "name": name,
                "uid": about.uid,
                **({"namespace": namespace} if namespace else {}),
            },
        }


def _path(about: About) -> str:
    return f"apis/events.k8s.io/v1/namespaces/{about.key[0] or 'default'}/events"
