"""Two controllers and a gateway, measured: how soon a Service has addresses and is answered, and what is noticed when
the controller that writes is killed. `make shows-kubernetes`."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.kubernetes.leases import LEADER
from tests.e2e.test_service_kubernetes import PORTS, SERVERS, VIP, Cluster
from tests.e2e.test_service_kubernetes_shows import PATIENT, mirrored
from tests.e2e.test_services import start
from tests.e2e.topology import hear
from tests.kubernetes.controlled import addresses, condition
from tests.kubernetes.fake.kinds import LEASES, SERVICES, SLICES
from tests.kubernetes.fake.store import AbsentError
from tests.kubernetes.mirrored import until
from tests.kubernetes.objects import OUR_KINDS, service, slice_

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FIRST = 100  # of 192.0.2.0/24
POOL = {"blocks": [f"{VIP}/32", f"192.0.2.{FIRST}-192.0.2.199", "2001:db8:64::/112"]}
ROUNDS = 20


class Controllers:
    """The two processes, by name."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.there: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("c1", "c2"):
            words = ["--kubeconfig", cluster.config, "--name", name, "--namespace", "nat64d"]
            command = [Path(sys.executable).with_name("nat64d"), "kubernetes", "--controller", *words]
            with (cluster.folder / f"{name}.log").open("wb") as log:
                self.there[name] = subprocess.Popen(command, stderr=log)

    def leader(self) -> str:
        """The name of the one that writes, "" = none yet."""
        try:
            lease = self.cluster.fake.get(LEASES, LEADER, "nat64d")
        except AbsentError:
            return ""
        return str(lease["spec"]["holderIdentity"])

    def close(self) -> None:
        for one in self.there.values():
            one.kill()
            one.wait()


@pytest.fixture(scope="module")
def cluster(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with mirrored(tmp_path_factory.mktemp("controllers"), "controllers", OUR_KINDS) as there:
        there.fake.set(OUR_KINDS[0], {"metadata": {"name": "a"}, "spec": POOL})
        yield there


@pytest.fixture(scope="module")
def controllers(cluster: Cluster) -> Iterator[Controllers]:
    there = Controllers(cluster)
    try:
        until(lambda: there.leader() != "", 60)
        add(cluster, "web", {"nat64d.io/load-balancer-ips": VIP})
        until(lambda: cluster.has(*SERVERS), 60)
        yield there
    finally:
        there.close()


def add(cluster: Cluster, name: str, notes: dict[str, str] | None = None) -> None:
    cluster.fake.set(SLICES, slice_(f"{name}-1", *SERVERS, of=name, ports=PORTS))
    time.sleep(0.2)
    cluster.fake.set(SERVICES, service(name, "", annotations=notes))


def test_a_service_has_both_addresses_and_is_answered_soon(cluster: Cluster, controllers: Controllers) -> None:
    client = cluster.net.server4.popen(
        sys.executable, "-c", PATIENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1
    )
    answered, shown = [], []
    for number in range(ROUNDS):
        name, wanted = f"new-{number}", f"192.0.2.{FIRST + number}"
        client.stdin.write(f"{wanted}\n")
        client.stdin.flush()
        add(cluster, name)
        begun = time.monotonic()
        until(lambda: len(addresses(cluster.fake, name)) == 2, 60)  # noqa: B023
        shown.append(time.monotonic() - begun)
        answered.append(float(hear(client)) - begun)
        assert addresses(cluster.fake, name)[0] == wanted
    until(lambda: all(condition(cluster.fake, f"new-{one}")[0] == "True" for one in range(ROUNDS)), 60)
    for what, found in (("both addresses in its status", shown), ("first connection", answered)):
        print(f"\nService → {what}: median {sorted(found)[ROUNDS // 2]:.3f} s, longest {max(found):.3f} s", end="")


def test_nobody_notices_that_the_controller_that_writes_is_killed(cluster: Cluster, controllers: Controllers) -> None:
    first, found = controllers.leader(), {}

    def note() -> None:
        until(lambda: controllers.leader() not in {"", first}, 60)
        found["leader"] = time.monotonic()
        until(lambda: addresses(cluster.fake, "meanwhile"), 60)
        found["address"] = time.monotonic()

    controllers.there[first].kill()
    killed, made = time.monotonic(), 0
    add(cluster, "meanwhile")
    noting = threading.Thread(target=note)
    noting.start()
    while noting.is_alive():
        clients = start(cluster.net.server4, "connections", VIP, "80", "20000", "1000")
        one = json.loads(clients.communicate(timeout=300)[0])
        assert one["failed"] == {}, cluster.said()
        made += sum(one["servers"].values())
    noting.join()
    leader, address = found["leader"] - killed, found["address"] - killed
    print(f"\n{first} killed: {controllers.leader()} writes after {leader:.1f} s, a Service of meanwhile has", end=" ")
    print(f"addresses after {address:.1f} s; {made} connections, none failed")
    names = [key.name for key in cluster.fake.store.objects if key.kind is SERVICES]
    given = [one for name in names for one in addresses(cluster.fake, name)]
    assert len(given) == len({*given}) == 2 * len(names) - 1  # `web` has asked for one of IPv4 alone
