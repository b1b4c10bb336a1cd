"""Controllers before the fake API server, each in a thread of its own."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from nat64d.kubernetes.cluster import client_of
from nat64d.kubernetes.controller import KINDS, Choices, Controller
from nat64d.kubernetes.leases import Applied, Beat, Election, Times, Who, gateways_of
from nat64d.kubernetes.listwatch import Follower
from nat64d.kubernetes.members import Members
from nat64d.kubernetes.pace import Pace
from nat64d.kubernetes.resources import definitions
from tests.kubernetes.asking import Asker
from tests.kubernetes.fake.kinds import EVENTS, SERVICES, Kind, defined_by
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import PATIENCE, QUICK, write_kubeconfig

NAMESPACE = "nat64d"
SHORT = Times(holds=1.0, gives_up=0.6, renews=0.1, gateway_holds=0.8, gateway_renews=0.2, gateway_rests=0.01)


def prepared(fake: Fake, *pools: dict[str, Any]) -> Asker:
    """The API server with our kinds, and pools of their specs, "a", "b" and so on."""
    asker = Asker(fake.url)
    for one in definitions():
        assert asker.send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", one).code == 201
    for name, spec in zip("abcdef", pools, strict=False):
        add_pool(asker, name, spec)
    return asker


def add_pool(asker: Asker, name: str, spec: dict[str, Any]) -> None:
    made = asker.send("POST", "/apis/nat64d.io/v1alpha1/vippools", {"metadata": {"name": name}, "spec": spec})
    assert made.code == 201, made.body


def add_later_pool(fake: Fake, name: str, spec: dict[str, Any]) -> None:
    """One that is younger than all others, by years."""
    (kind,) = (kind for one in definitions() for kind in defined_by(one) if kind.name == "VIPPool")
    fake.set(kind, {"metadata": {"name": name, "creationTimestamp": "2099-01-01T00:00:00Z"}, "spec": spec})


class InThread:
    """Something that runs until `with` ends, or it is killed."""

    def __init__(self, work: Callable[["InThread"], Any]) -> None:
        self._work = work
        self._begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.failure: BaseException | None = None
        self.killed = False

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._begun.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.over.set)
        self._thread.join(PATIENCE)
        assert self.failure is None, self.failure

    def kill(self) -> None:
        """It ends without a word to the API server."""
        self.killed = True
        self.__exit__()

    async def _run(self) -> None:
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        self._begun.set()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one) for one in self._work(self)]
                await self.over.wait()
                for task in tasks:
                    task.cancel()
        except BaseException as error:  # noqa: BLE001  the test is to see it
            self.failure = error


class Controlled(InThread):
    """A controller that wants to lead."""

    def __init__(self, fake: Fake, kubeconfig: Path, identity: str = "one", options: Choices | None = None) -> None:
        write_kubeconfig(kubeconfig, fake.url)
        super().__init__(self._tasks)
        self.kubeconfig, self.identity = kubeconfig, identity
        self.options = options or Choices(times=SHORT)

    def client(self) -> Any:
        if self.killed:
            raise OSError("killed")
        return client_of(self.kubeconfig, QUICK)

    def _tasks(self, _: InThread) -> list[Any]:
        self.controller = Controller(self.client, self.identity, self.options)
        self.election = Election(self.client, NAMESPACE, self.identity, self.options.times)
        kinds = (*KINDS, gateways_of(NAMESPACE))
        followers = [Follower(kind, self.client, self.controller, QUICK) for kind in kinds]
        return [*(one.run() for one in followers), self.election.run(self.controller.lead)]


class Gateway(InThread):
    """The Lease of a gateway that applies what it is told to."""

    def __init__(self, fake: Fake, kubeconfig: Path, name: str = "g1", node: str = "", address: str = "") -> None:
        write_kubeconfig(kubeconfig, fake.url)
        super().__init__(self._tasks)
        self.kubeconfig, self.who = kubeconfig, Who(name, node, NAMESPACE, address)
        self.applied = 0
        self.refused: dict[str, str] = {}

    def apply(self, version: int, **refused: str) -> None:
        """Services and StaticMappings up to this version, but for what is refused."""
        self.applied, self.refused = version, refused
        self.loop.call_soon_threadsafe(self.news.set)

    def _applied(self) -> Applied:
        refused = tuple((f"Service default/{name}", why) for name, why in self.refused.items())
        return Applied(*[str(self.applied)] * 3, "64:ff9b:1::/96", refused)

    def _tasks(self, _: InThread) -> list[Any]:
        self.news = asyncio.Event()
        self.beat = Beat(self._client, self.who, self._applied, SHORT)
        return [self.beat.run(self.news)]

    def kill(self) -> None:
        """Its Lease stays as it is."""
        self.beat._lease.give_back = self._nothing  # type: ignore[method-assign]
        super().kill()

    async def _nothing(self, *_: object) -> None:
        pass

    def _client(self) -> Any:
        if self.killed:
            raise OSError("killed")
        return client_of(self.kubeconfig, QUICK)


class Watching(InThread):
    """One who notes which gateways are alive, and when that has changed."""

    def __init__(self, kubeconfig: Path, changed: Callable[[], Any] = lambda: None, pace: Pace = QUICK) -> None:
        super().__init__(self._tasks)
        self.kubeconfig, self.told, self.pace = kubeconfig, changed, pace
        self.members = Members(self._client, gateways_of(NAMESPACE), SHORT)

    def _tasks(self, _: InThread) -> list[Any]:
        follower = Follower(gateways_of(NAMESPACE), self._client, self.members, self.pace)
        self.members.contact = follower.contact
        return [follower.run(), self.members.run(self._changed)]

    async def _changed(self) -> None:
        self.told()

    def _client(self) -> Any:
        return client_of(self.kubeconfig, QUICK)


def until(holds: Callable[[], Any], seen: Callable[[], Any] = lambda: "") -> Any:
    """Wait for it; what it gave."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, seen()
        time.sleep(0.005)
    return found


def addresses(fake: Fake, name: str = "web") -> list[str]:
    """Of the status of a Service."""
    return [one["ip"] for one in fake.get(SERVICES, name)["status"].get("loadBalancer", {}).get("ingress", [])]


def condition(fake: Fake, name: str = "web", kind: Kind = SERVICES) -> tuple[str, str, str]:
    """Ours: status, reason, message."""
    for one in fake.get(kind, name).get("status", {}).get("conditions", []):
        if one["type"].endswith("Programmed"):
            return one["status"], one["reason"], one["message"]
    return "", "", ""


def events(fake: Fake, name: str = "web") -> list[dict[str, Any]]:
    """Those about an object."""
    found = [one for key, one in fake.store.objects.items() if key.kind is EVENTS]
    return [one for one in found if one["regarding"]["name"] == name]
