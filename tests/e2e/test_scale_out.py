"""docs/scale-out.md in the real programs: `make shows-scale-out`."""

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from nat64d.control.client import Client
from tests.e2e.scaled import (
    BALANCED,
    FRR,
    LINK6,
    LOAD,
    NUMBERS,
    OTHER,
    POOL4,
    POOL6,
    PREFIX,
    SERVER4,
    SERVERS,
    VIP,
    Clients,
    Scaled,
    config,
    frr_folder,
    given,
    missing,
    service,
)
from tests.e2e.topology import Daemon, embed, hear, serve
from tests.kubernetes.fake.server import Fake
from tests.kubernetes.mirrored import write_kubeconfig
from tests.nat64d.netns import Named

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PATIENCE = 60.0  # seconds, on a busy machine
ROUNDS = 5
CONNECTIONS = 10_000
RATE, HELD = 200, 100


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that FRR's user may enter."""
    if lacks := missing():
        pytest.skip(f"Not installed: {lacks}.")
    with tempfile.TemporaryDirectory(prefix="nat64d-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def net(namespaces: None, folder: Path) -> Iterator[Scaled]:
    with Lab("scale") as lab:
        yield Scaled(lab, folder)


def until(holds: Callable[[], bool], net: Scaled) -> float:
    """Wait for it; how long that took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() < begun + PATIENCE, net.said()
        time.sleep(0.005)
    return time.monotonic() - begun


def test_the_programs_take_the_configurations_of_the_page(folder: Path) -> None:
    (bird,) = given("bird")
    (folder / "bird.conf").write_text(bird)
    subprocess.run(["/usr/sbin/bird", "-p", "-c", folder / "bird.conf"], check=True)
    assert len(given("frr")) == 2
    for number, text in enumerate(given("frr")):
        place = frr_folder(folder / str(number), text)
        words = ["-C", "-f", place / "frr.conf", "-i", place / "pid", "--vty_socket", place]
        done = subprocess.run([FRR / "bgpd", *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_routes_come_and_go_with_services(net: Scaled) -> None:
    for name, daemon in net.daemons.items():
        daemon.config = config(name, service("web", VIP))
        daemon.start()
    net.routing()
    until(lambda: len(net.hops(VIP)) == 2 and len(net.hops(PREFIX)) == 2, net)
    assert [net.hops(f"{one}") for one in POOL4.values()] == [["198.51.100.11"], ["198.51.100.12"]]
    assert net.hops("64:ff9b::/96") == []
    for name, daemon in net.daemons.items():
        came = []
        for number in range(ROUNDS):
            address = OTHER.replace(".81", f".{100 + number}")
            begun = time.monotonic()
            row = {"name": f"more-{number}", "ipv4": f"{address}:80"}
            Client(str(daemon.socket)).sent("PATCH", "/v1/sources/api", {"set": {"service": [row]}})
            answered = time.monotonic() - begun
            until(lambda: len(net.hops(address)) == 1, net)  # noqa: B023
            came.append((time.monotonic() - begun, answered))
        print(f"\n{name}: service → route at the router: {', '.join(f'{a:.3f} s (API {b:.3f})' for a, b in came)}")
        Client(str(daemon.socket)).sent("PUT", "/v1/sources/api", {})
        until(lambda: not net.hops(OTHER.replace(".81", ".100")), net)
    for name, daemon in net.daemons.items():
        hops = len(net.hops(VIP))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        gone = until(lambda: len(net.hops(VIP)) == hops - 1, net)  # noqa: B023
        prefix = until(lambda: len(net.hops(PREFIX)) == hops - 1, net)  # noqa: B023
        assert daemon.process.poll() is None, "the routes are gone only because the daemon is"
        print(f"{name}: SIGTERM → gone at the router: {gone:.3f} s, {PREFIX} {gone + prefix:.3f} s")
        assert daemon.process.wait(20) == 0


@pytest.fixture
def served(net: Scaled) -> Scaled:
    """With two services on both gateways, their servers, and all routes."""
    for name, daemon in net.daemons.items():
        daemon.config = config(name, service("web", VIP) + service("more", OTHER, 8081))
        daemon.start()
    net.routing()
    for program, port in ((LOAD, "8080"), (BALANCED, "8081")):
        servers = net.node.popen(sys.executable, program, "servers", port, *SERVERS, stdout=subprocess.PIPE)
        assert hear(servers) == "listening"
    until(lambda: all(len(net.hops(one)) == 2 for one in (VIP, OTHER, PREFIX)), net)
    net.client.sysctl("net.ipv4.tcp_tw_reuse", 1)
    return net


def packets(daemon: Daemon) -> dict[str, int]:
    """Translated, by direction."""
    rows = (row for row in daemon.rows("counters") if row.get("verdict") == "translated")
    return {row["direction"]: row["packets"] for row in rows}


def test_each_server_has_its_share_over_two_gateways(served: Scaled) -> None:
    words = [sys.executable, BALANCED, "connections", OTHER, "80", "10000", str(CONNECTIONS)]
    found = json.loads(served.client.run(*words, timeout=300).stdout)
    shares = {one: found["servers"].get(one, 0) / CONNECTIONS for one in SERVERS}
    passed = {name: packets(daemon) for name, daemon in served.daemons.items()}
    rows = {name: daemon.rows("sessions", "--service", "more") for name, daemon in served.daemons.items()}
    flows = {name: Counter(row["state"] for row in listed) for name, listed in rows.items()}
    print(f"\n{CONNECTIONS} connections: {', '.join(f'{share:.1%}' for share in shares.values())}")
    print(f"packets: {passed}; sessions, by what their gateway has seen: {flows}")
    assert found["failed"] == {}, served.said()
    assert all(abs(share - 0.2) < 0.02 for share in shares.values())
    elsewhere = [states["V4_INIT"] + states["TRANS"] for states in flows.values()]
    assert min(elsewhere) > CONNECTIONS / 10, "answers go by the gateway of the question"


def test_connections_outlive_a_gateway_that_is_killed(served: Scaled) -> None:
    clients = Clients(served.client, RATE, HELD)
    clients.phase("both", 5)
    first, _ = served.daemons.values()
    assert first.process is not None
    first.process.send_signal(signal.SIGKILL)
    clients.phase("killed", 10)
    told = clients.end()
    print(f"\nkilled: {len(told['failed'])} failed, of {HELD} that stayed {len(told['lost'])} ended; {report(told)}")
    assert (told["failed"], told["lost"], told["moved"]) == ([], {}, [])


def test_a_stop_loses_nothing_nor_does_a_start(served: Scaled) -> None:
    clients = Clients(served.client, RATE, HELD)
    clients.phase("both", 5)
    first, _ = served.daemons.values()
    assert first.process is not None
    first.process.send_signal(signal.SIGTERM)
    clients.phase("stopped", 10)
    assert first.process.wait(20) == 0
    first.start()
    until(lambda: len(served.hops(VIP)) == 2, served)
    clients.phase("both again", 10)
    told = clients.end()
    print(f"\nSIGTERM, and a start: {len(told['failed'])} failed, {len(told['lost'])} ended; {report(told)}")
    assert (told["failed"], told["lost"], told["moved"]) == ([], {}, [])


def report(told: dict[str, Any]) -> str:
    slowest = ", ".join(f"{phase} {told['slowest'][phase]:.2f} s" for phase in told["new"])
    return f"new connections: {sum(sum(one.values()) for one in told['new'].values())}, slowest: {slowest}"


EGRESS = """
import asyncio, json, socket, sys, time
KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 1, "TCP_KEEPCNT": 60}
async def opened(address, port):
    reader, writer = await asyncio.open_connection(address, int(port))
    writer.write(b"first\\n")
    assert await reader.readline() == b"first\\n"
    return reader, writer
async def main(address, port, count, pause, silent):
    ends = [await opened(address, port) for _ in range(int(count))]
    silents = [await opened(address, port) for _ in range(int(silent))]
    for _, writer in silents:
        one = writer.get_extra_info("socket")
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEPALIVE.items():
            one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    async def listen(reader):
        try:
            async with asyncio.timeout(60):
                how = "answered" if await reader.readline() else "ended"
        except (ConnectionResetError, TimeoutError) as error:
            how = type(error).__name__
        return time.monotonic(), how
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    async def one(reader, writer):
        sent = time.monotonic()
        try:
            async with asyncio.timeout(60):
                writer.write(b"second\\n")
                how = "answered" if await reader.readline() else "ended"
        except (ConnectionResetError, TimeoutError) as error:
            how = type(error).__name__
        return sent, time.monotonic(), how
    tasks, others = [], [asyncio.create_task(listen(reader)) for reader, _ in silents]
    for end in ends:
        tasks.append(asyncio.create_task(one(*end)))
        await asyncio.sleep(float(pause))
    print(json.dumps([await asyncio.gather(*tasks), await asyncio.gather(*others)]), flush=True)
asyncio.run(main(*sys.argv[1:]))
"""
WAITING, PAUSE = 200, 0.1  # connections, of which one asks after the other; seconds
SILENT = 20  # connections that send keepalives alone, after five seconds


class Cluster:
    """What Kubernetes adds: an API server, a mirror beside each daemon, and the routes of the node."""

    def __init__(self, net: Scaled, fake: Fake) -> None:
        self.net, self.fake = net, fake
        with Named(net.node.netns):
            fake.more.append(socket.create_server(("127.0.0.1", 0)))
        fake.kill()
        fake.start()
        self.mirrors = {name: self.mirror(name) for name in POOL4}
        config = write_kubeconfig(net.folder / "node", f"http://127.0.0.1:{fake.more[0].getsockname()[1]}")
        words = ["kubernetes", "--routes", "--node", "node", "--prefix", POOL6, "--kubeconfig", str(config)]
        with (net.folder / "routes.log").open("wb") as log:
            net.node.popen(sys.executable, "-m", "nat64d", *words, stderr=log)

    def mirror(self, name: str) -> subprocess.Popen[bytes]:
        config = write_kubeconfig(self.net.folder / f"kubeconfig.{name}", self.fake.url)
        address = f"{LINK6}{NUMBERS[name]}"
        words = [
            "--name",
            name.replace("_", "-"),
            "--address",
            address,
            "--kubeconfig",
            config,
            "--socket",
            self.net.daemons[name].socket,
        ]
        with (self.net.folder / f"mirror.{name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", "nat64d", "kubernetes", "--gateway", *words], stderr=log)

    def chosen(self) -> str:
        """The gateway that the node goes by, "" = none yet."""
        said = self.net.node.ip("-6", "route", "show", "proto", "65")
        return next((name for name in POOL4 if f"via {LINK6}{NUMBERS[name]} " in said), "")

    def close(self) -> None:
        for mirror in self.mirrors.values():
            mirror.kill()
            mirror.wait()
        self.fake.more[0].close()


@pytest.fixture
def cluster(served: Scaled) -> Iterator[Cluster]:
    with Fake(second=1.0) as fake:
        one = Cluster(served, fake)
        try:
            yield one
        finally:
            one.close()


def waiting(net: Scaled) -> subprocess.Popen[str]:
    """Connections of the node to an IPv4 server."""
    words = (embed(SERVER4), "7", str(WAITING), str(PAUSE), str(SILENT))
    program = net.node.popen(sys.executable, "-c", EGRESS, *words, stdin=-1, stdout=-1, bufsize=1)
    assert hear(program) == "open"
    return program


def moved(cluster: Cluster, program: subprocess.Popen[str], end: Callable[[str], None]) -> None:
    """Its gateway ends one second after its connections begin to ask; what becomes of them."""
    gateway = cluster.chosen()
    assert program.stdin is not None
    program.stdin.write("go\n")
    program.stdin.flush()
    time.sleep(1)
    ended = time.monotonic()
    end(gateway)
    until(lambda: cluster.chosen() not in {"", gateway}, cluster.net)
    over = time.monotonic()
    found, silent = json.loads(hear(program, 90))
    late = [(sent, got - sent, how) for sent, got, how in found if sent > over]
    early = [(sent, got - over, how) for sent, got, how in found if ended + 0.1 < sent <= over]
    print(f"\n{gateway} → {cluster.chosen()}: the node's next hop is another one {over - ended:.2f} s after the end")
    for rows, when in ((late, "after that"), (early, "before, in vain")):
        if rows:
            longest = max(seconds for _, seconds, _ in rows)
            print(f"{len(rows)} asked {when}: {dict(Counter(how for *_, how in rows))}; {longest:.3f} s later at most")
    longest = max(at - over for at, _ in silent)
    print(f"{SILENT} silent ones: {dict(Counter(how for _, how in silent))}; {longest:.1f} s later at most")
    assert {how for _, how in silent} == {"ConnectionResetError"}, cluster.net.said()
    assert {how for *_, how in late} == {"ConnectionResetError"}, cluster.net.said()
    assert {how for *_, how in early} <= {"ConnectionResetError", "answered"}


def test_egress_of_a_node_goes_by_another_gateway_when_its_own_ends(cluster: Cluster) -> None:
    net = cluster.net
    serve(net.client, "tcp_echo", SERVER4, "7")
    until(lambda: cluster.chosen() != "", net)
    clients = Clients(net.client, RATE, HELD)

    def kill(name: str) -> None:
        process = net.daemons[name].process
        assert process is not None
        process.kill()
        cluster.mirrors[name].kill()

    def stop(name: str) -> None:
        """As a Pod: the mirror first."""
        cluster.mirrors[name].terminate()
        assert cluster.mirrors[name].wait(20) == 0
        process = net.daemons[name].process
        assert process is not None
        process.send_signal(signal.SIGTERM)

    gateway = cluster.chosen()
    clients.phase("killed", 0)
    moved(cluster, waiting(net), kill)
    cluster.mirrors[gateway].wait()
    net.daemons[gateway].start()
    cluster.mirrors[gateway] = cluster.mirror(gateway)
    until(lambda: cluster.chosen() == gateway and len(net.hops(VIP)) == 2, net)
    clients.phase("stopped", 0)
    moved(cluster, waiting(net), stop)
    told = clients.end()
    print(f"services: {len(told['failed'])} failed, {len(told['lost'])} ended; {report(told)}")
    assert (told["failed"], told["lost"], told["moved"]) == ([], {}, [])
