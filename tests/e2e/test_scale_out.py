"""docs/scale-out.md in the real programs: `make shows-scale-out`."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab
from nat64d.control.client import Client
from tests.e2e.scaled import FRR, OTHER, POOL4, PREFIX, VIP, Scaled, config, frr_folder, given, missing, service

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PATIENCE = 60.0  # seconds, on a busy machine
ROUNDS = 5


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
