"""Several controllers: one is the leader, and if two were, what the second writes comes too late."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from nat64d.kubernetes.controller import Choices, Controller
from nat64d.kubernetes.resources import definitions
from nat64d.kubernetes.wishes import WHOLE, WISHES, wish_of
from tests.kubernetes.asking import Asker
from tests.kubernetes.controlled import (
    NAMESPACE,
    Controlled,
    Gateway,
    InThread,
    addresses,
    condition,
    events,
    prepared,
    until,
)
from tests.kubernetes.fake.kinds import EVENTS, LEASES, SERVICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.objects import service

POOL = {"blocks": ["192.0.2.0/28"]}


@pytest.fixture
def asker(fake: Fake) -> Asker:
    return prepared(fake, POOL)


class Leading(Controlled):
    """One that writes without having asked."""

    def _tasks(self, this: InThread) -> list[Any]:
        *followers, election = super()._tasks(this)
        election.close()
        return [*followers, self.controller.lead()]


def test_of_two_that_write_at_once_the_second_is_too_late(fake: Fake, asker: Asker, tmp_path: Path) -> None:
    """Each has read the same version, and gives the lowest address to another Service: who is first is told first."""
    fake.faults.delay = 0.05
    with Leading(fake, tmp_path / "one", "one") as one, Leading(fake, tmp_path / "two", "two") as two:
        until(lambda: one.controller.is_known and two.controller.is_known)
        for number in range(8):
            fake.set(SERVICES, service(f"web-{number}", ""))
        names = [f"web-{number}" for number in range(8)]
        until(lambda: all(addresses(fake, name) for name in names))
        until(lambda: [each for each in fake.conflicts if each.partition("?")[0].endswith("/status")])
    given = [address for name in names for address in addresses(fake, name)]
    assert len({*given}) == len(names)


def test_a_dead_leader_is_followed_by_another_and_no_address_is_given_twice(
    fake: Fake, asker: Asker, tmp_path: Path
) -> None:
    with Controlled(fake, tmp_path / "one", "one") as one, Controlled(fake, tmp_path / "two", "two") as two:
        until(lambda: one.election.leads or two.election.leads)
        first, second = (one, two) if one.election.leads else (two, one)
        fake.set(SERVICES, service("before", ""))
        until(lambda: addresses(fake, "before"))
        first.kill()
        until(lambda: second.election.leads)
        fake.set(SERVICES, service("after", ""))
        until(lambda: addresses(fake, "after"))
        assert not first.election.leads
        assert [addresses(fake, name)[0] for name in ("before", "after")] == ["192.0.2.0", "192.0.2.1"]


def test_a_leader_that_ends_gives_the_lease_back_at_once(fake: Fake, asker: Asker, tmp_path: Path) -> None:
    with Controlled(fake, tmp_path / "one", "one") as one:
        until(lambda: one.election.leads)
    (lease,) = [each for key, each in fake.store.objects.items() if key.kind is LEASES]
    assert lease["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize("gone", [False, True], ids=["another_version", "no_such_service"])
def test_an_event_is_told_of_a_status_that_was_written_and_of_no_other(
    fake: Fake, asker: Asker, tmp_path: Path, gone: bool
) -> None:
    """The first write meets another Service of the name, or none; the Event of the one that follows is not left out."""
    controlled = Controlled(fake, tmp_path / "one")
    seen = [fake.set(SERVICES, service("web", ""))]
    fake.delete(SERVICES, "web")
    if not gone:
        fake.set(SERVICES, service("web", ""))

    def known(controller: Controller) -> None:
        for kind in controller._needed:
            controller._known.add(kind)
        wish = wish_of(WHOLE.decode(json.dumps(seen[-1])))
        controller.came(WISHES, wish.key, wish)

    async def story() -> None:
        controller = Controller(controlled.client, "one", Choices())
        known(controller)
        async with controlled.client() as client:
            assert await controller._round(client)
            assert events(fake) == []
            seen.append(fake.get(SERVICES, "web") if not gone else fake.set(SERVICES, service("web", "")))
            known(controller)
            assert await controller._round(client)
        (event,) = events(fake)
        assert event["regarding"]["uid"] == fake.get(SERVICES, "web")["metadata"]["uid"]

    asyncio.run(story())


def test_an_uninstall_leaves_nothing_and_an_install_begins_anew(fake: Fake, asker: Asker, tmp_path: Path) -> None:
    """In the order of docs/kubernetes.md; what is in the namespace goes with it."""
    pools, kinds = "/apis/nat64d.io/v1alpha1/vippools", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    with Controlled(fake, tmp_path / "one") as one, Gateway(fake, tmp_path / "g1"):
        fake.set(SERVICES, service("web", ""))
        until(lambda: addresses(fake) == ["192.0.2.0"] and condition(fake)[1] == "Pending")
        path = "/api/v1/namespaces/default/services/web"
        assert asker.merge(path, {"spec": {"type": "ClusterIP"}}).code == 200
        until(lambda: condition(fake) == ("", "", ""))
        assert asker.send("DELETE", f"{pools}/a").code == 200
        until(lambda: not one.controller.pools)
    for each in definitions():
        assert asker.send("DELETE", f"{kinds}/{each['metadata']['name']}").code == 200
    assert "nat64d" not in json.dumps(fake.get(SERVICES, "web"))
    left = [key for key in fake.store.objects if key.kind is not EVENTS and key.namespace != NAMESPACE]
    assert [key.name for key in left] == ["web"]
    for key in [key for key in fake.store.objects if key.namespace == NAMESPACE]:
        assert fake.store.remove(key)["spec"]["holderIdentity"] == "", key
    prepared(fake, POOL)
    with Controlled(fake, tmp_path / "one"):
        fake.set(SERVICES, service("web", ""))
        until(lambda: addresses(fake) == ["192.0.2.0"])
