"""What is promised of a cluster before a gateway, measured: `make shows-kubernetes`."""

import hashlib
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from nat64d.control.client import Client
from nat64d.kubernetes.objects import SERVICE_NAME
from tests.e2e.test_service_kubernetes import CONFIG, PORTS, SERVERS, VIP, Cluster
from tests.e2e.test_services import start
from tests.e2e.topology import Daemon, Topology, hear
from tests.kubernetes.fake.faults import Refusal
from tests.kubernetes.fake.kinds import SERVICES, SLICES
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import until
from tests.kubernetes.objects import DRAINING, GONE, READY, fill, service, slice_

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CLUSTER, EACH = 1000, 30  # Services, and endpoints of each
FLIPS = 10_000  # in a minute
OUTAGE = 60.0  # seconds
PATIENT = r"""
import socket, sys, time
for line in sys.stdin:
    address = line.strip()
    while True:
        with socket.socket() as one:
            one.settimeout(0.05)
            try:
                one.connect((address, 80))
                one.settimeout(5)
                one.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert one.recv(9)
            except OSError:
                continue
        print(time.monotonic(), flush=True)
        break
"""


@contextmanager
def mirrored(folder: Path, name: str, kinds: Iterable[Any] = ()) -> Iterator[Cluster]:
    """A cluster, whose API server also has these kinds, and the servers of its endpoints; the daemon is told of it."""
    with Lab(name) as lab, Fake(second=1.0) as fake:
        net = Topology(lab)
        for server in SERVERS:
            net.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        assert hear(start(net.client6b, "servers", "8080", *SERVERS)) == "listening"
        fake.kinds += tuple(kinds)
        daemon = Daemon(net.gateway, folder, CONFIG, keep=True).start()
        there = Cluster(net, daemon, fake, folder)
        there.mirrors()
        until(lambda: "The daemon has" in (folder / "mirror.log").read_text(), 60)
        try:
            yield there
        finally:
            there.stop()
        assert daemon.stop() == 0, daemon.said()


@pytest.fixture(scope="module")
def cluster(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with mirrored(tmp_path_factory.mktemp("shows"), "shows") as there:
        yield there


def memory(process: int) -> float:
    """MB that are in use."""
    (kilobytes,) = re.findall(r"^VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(kilobytes) / 1024


def settled(process: int) -> float:
    """The same, once the process has loaded the code that it goes on to load after its start."""
    before, now = 0.0, memory(process)
    while now - before > 0.5:
        time.sleep(5)
        before, now = now, memory(process)
    return now


def logged(text: str, sentence: str) -> list[float]:
    """When the log has a sentence, in seconds since the epoch."""
    lines = [line for line in text.splitlines() if sentence in line]
    return [datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp() for line in lines]  # noqa: DTZ007


def test_a_service_is_answered_soon_after_it_has_an_address(cluster: Cluster) -> None:
    client = cluster.net.server4.popen(
        sys.executable, "-c", PATIENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1
    )
    found = []
    for number in range(20):
        cluster.fake.set(SLICES, slice_(f"new-{number}-1", *SERVERS, of=f"new-{number}", ports=PORTS))
        time.sleep(0.2)
        client.stdin.write(f"192.0.2.{100 + number}\n")
        client.stdin.flush()
        begun = time.monotonic()
        cluster.fake.set(SERVICES, service(f"new-{number}", f"192.0.2.{100 + number}"))
        found.append(float(hear(client)) - begun)
    print(f"\nService → first connection: median {sorted(found)[10]:.3f} s, longest {max(found):.3f} s")


def test_a_large_cluster_is_there_at_once_and_one_flip_soon(cluster: Cluster) -> None:
    fake = cluster.fake
    fake.set(SERVICES, service("web", VIP))
    fake.set(SLICES, slice_("web-1", *SERVERS, ports=PORTS))
    until(lambda: cluster.has(*SERVERS), 60)
    assert cluster.stop() == 0
    fill(fake, CLUSTER, EACH)
    before = settled(cluster.daemon.process.pid)
    log = cluster.folder / "mirror.log"
    log.write_text("")
    cluster.mirrors()
    until(lambda: "The daemon has" in log.read_text(), 120)
    text = log.read_text()
    seconds = logged(text, "The daemon has")[0] - logged(text, "Mirroring")[0]
    print(f"\n{text.splitlines()[-1]}")
    more = memory(cluster.daemon.process.pid) - before
    mirror = memory(cluster.mirror.pid)
    print(f"all of it after {seconds:.2f} s; the mirror has {mirror:.0f} MB, the daemon {more:.0f} MB more")
    flips = []
    for number in range(40):
        ends = SERVERS if number % 2 else SERVERS[:2]
        begun = time.monotonic()
        fake.set(SLICES, slice_("web-1", *ends, ports=PORTS))
        until(lambda: cluster.has(*ends))  # noqa: B023
        flips.append(time.monotonic() - begun)
    print(f"a flip is in the tables after {sorted(flips)[20]:.3f} s (median), {max(flips):.3f} s at most")
    print(f"the mirror has {memory(cluster.mirror.pid):.0f} MB")
    assert memory(cluster.mirror.pid) < 100


def test_the_table_is_what_the_api_has_after_ten_thousand_flips(cluster: Cluster) -> None:
    """In a minute, among 30,000 endpoints: each becomes one that is ready, that drains, or that is gone."""
    fake, chance = cluster.fake, random.Random(13)
    fill(fake, CLUSTER, EACH)
    until(lambda: applied(cluster), 120)
    begun = time.monotonic()
    for number in range(FLIPS):
        time.sleep(max(0.0, begun + 60 * number / FLIPS - time.monotonic()))
        flip(fake, f"web-{chance.randrange(CLUSTER)}-0", chance)
    seconds = time.monotonic() - begun
    until(lambda: applied(cluster), 120)
    late = time.monotonic() - begun - seconds
    print(f"\n{FLIPS} flips in {seconds:.1f} s: the table is that of the API {late:.2f} s after the last one")
    weights = {row["weight"] for row in listed(cluster)}
    assert weights == {0, 1}  # some drain
    assert 0 < len(listed(cluster)) < CLUSTER * EACH  # some are gone


def flip(fake: Fake, name: str, chance: random.Random) -> None:
    """An endpoint of a slice becomes another one."""
    before = fake.get(SLICES, name)
    ends = [*before["endpoints"]]
    at = chance.randrange(len(ends))
    others = [one for one in (READY, DRAINING, GONE) if one != ends[at]["conditions"]]
    ends[at] = {**ends[at], "conditions": chance.choice(others)}
    fake.set(SLICES, {**before, "endpoints": ends})


def applied(cluster: Cluster) -> bool:
    """Whether the daemon has the endpoints of the large cluster that the API has, and no others."""
    slices = ((one["metadata"]["labels"][SERVICE_NAME], one) for one in cluster.fake.store.listed(SLICES))
    wanted = [
        (name, str(IPv6Address(each["addresses"][0])), each["conditions"]["ready"])
        for name, one in slices
        if name.startswith("web-")
        for each in one["endpoints"]
        if each["conditions"] != GONE
    ]
    there = [(row["service"].split("/")[1], row["ipv6"], row["weight"] == 1) for row in listed(cluster)]
    return digest(wanted) == digest(there)


def listed(cluster: Cluster) -> list[dict[str, Any]]:
    """What the daemon lists of the large cluster."""
    rows = Client(str(cluster.daemon.socket)).rows("/v1/services", {})
    return [row for row in rows if row["state"] != "gone" and row["service"].startswith("default/web-")]


def digest(rows: list[tuple[Any, ...]]) -> str:
    return hashlib.sha256("\n".join(sorted(map(str, rows))).encode()).hexdigest()


def outages(fake: Fake) -> list[tuple[str, Callable[[], None], Callable[[], None]]]:
    def refuse(refusal: Refusal | None) -> Callable[[], None]:
        def do() -> None:
            fake.faults.refusal = refusal
            if refusal:
                fake.kill()
                fake.start()

        return do

    return [
        ("killed", fake.kill, fake.start),
        ("half open", fake.freeze, fake.thaw),
        ("429", refuse(Refusal(429, "1")), refuse(None)),
        ("500", refuse(Refusal(500)), refuse(None)),
    ]


@pytest.mark.parametrize("which", range(4), ids=["killed", "half_open", "429", "500"])
def test_no_packet_is_lost_while_the_api_server_is_away(cluster: Cluster, which: int) -> None:
    fake = cluster.fake
    fake.set(SERVICES, service("web", VIP))
    fake.set(SLICES, slice_("web-1", *SERVERS, ports=PORTS))
    fake.set(SERVICES, service("gone", "192.0.2.99"))
    fake.set(SLICES, slice_("gone-1", SERVERS[0], of="gone", ports=PORTS))
    until(lambda: cluster.has(SERVERS[0], name="default/gone/http"), 60)
    name, begin, end = outages(fake)[which]
    begin()
    fake.delete(SERVICES, "gone")
    fake.delete(SLICES, "gone-1")
    over, made = time.monotonic() + OUTAGE, 0
    while time.monotonic() < over:
        clients = start(cluster.net.server4, "connections", VIP, "80", "20000", "1000")
        found = json.loads(clients.communicate(timeout=300)[0])
        assert found["failed"] == {}, cluster.said()
        made += sum(found["servers"].values())
    assert cluster.has(SERVERS[0], name="default/gone/http")
    begun = time.monotonic()
    end()
    until(lambda: cluster.has(name="default/gone/http"), 60)
    seconds = time.monotonic() - begun
    print(f"\n{name} for {OUTAGE:.0f} s: {made} connections, none failed; caught up {seconds:.2f} s after it")
