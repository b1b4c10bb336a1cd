"""Another configuration while packets pass: SIGHUP and `nat64d reload`."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Lab
from tests.e2e.topology import (
    CLIENT6B,
    CONFIG,
    POOL4,
    SERVER4,
    Daemon,
    Topology,
    embed,
    eventually,
    hear,
    serve,
    tell,
    traces,
)

pytestmark = pytest.mark.e2e

STREAM = (Path(__file__).with_name("stream.py"), "7", str(500))  # datagrams a second
TRANSFER = (Path(__file__).with_name("transfer.py"), "7")
PATIENCE = 60.0  # seconds
OWN = f"""
[[pool4]]
addresses = "192.0.2.100"
source = "{CLIENT6B}/128"
"""
MORE = """
[[pool4]]
addresses = "192.0.2.64/27"
protocols = ["icmp"]

[[eam]]
ipv4 = "192.0.2.50"
ipv6 = "2001:db8:a::50"
"""


@pytest.fixture(scope="module")
def fresh(namespaces: None) -> Iterator[Topology]:
    """A network of its own: here the configuration changes."""
    with Lab("reload") as lab:
        net = Topology(lab)
        serve(net.server4, "udp_echo", SERVER4, "7")
        serve(net.server4, "tcp_echo", SERVER4, "7")
        serve(net.server4, "udp_whoami", SERVER4, "3478")
        yield net


@pytest.fixture(scope="module")
def running(fresh: Topology, memory: Path) -> Iterator[Daemon]:
    """The daemon, which keeps its sessions; it leaves no trace whatever it was told meanwhile."""
    before = traces(fresh.gateway)
    directory = memory / "reload"
    directory.mkdir()
    with small_pages():
        daemon = Daemon(fresh.gateway, directory, keep=True).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()
    assert traces(fresh.gateway) == before


@pytest.fixture
def daemon(running: Daemon) -> Iterator[Daemon]:
    """The daemon with its configuration, which it has again afterwards."""
    yield running
    assert change(running, CONFIG).returncode == 0, running.said()


def write(daemon: Daemon, config: str) -> None:
    """Put another configuration in place."""
    daemon.config = config
    daemon.command()


def change(daemon: Daemon, config: str) -> subprocess.CompletedProcess[str]:
    """Put it in place, and let the daemon read it."""
    write(daemon, config)
    return daemon.ask("reload")


@contextmanager
def beside(net: Topology, program: tuple[Path | str, ...]) -> Iterator[Callable[[], dict[str, Any]]]:
    """A flow from client6a to server4; the function ends it, and says what came of it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
    path, *arguments = map(str, program)
    sender = net.client6a.popen(sys.executable, path, embed(SERVER4), *arguments, **pipes)
    assert hear(sender) == "listening"

    def end() -> dict[str, Any]:
        assert sender.stdin is not None
        sender.stdin.close()
        counts: dict[str, Any] = json.loads(hear(sender, PATIENCE))
        return counts

    yield end
    sender.wait(PATIENCE)


def stream(net: Topology) -> AbstractContextManager[Callable[[], dict[str, Any]]]:
    """Datagrams, and how many were sent, and came back."""
    return beside(net, STREAM)


def transfer(net: Topology) -> AbstractContextManager[Callable[[], dict[str, Any]]]:
    """One TCP connection, how many octets were sent and came back, and whether these are the same."""
    return beside(net, TRANSFER)


def passed(counts: dict[str, Any]) -> bool:
    """Whether the connection carried all of it, and was not reset."""
    return counts["received"] == counts["sent"] > 0 and counts["same"] and not counts["failures"]


def routed(net: Topology) -> set[str]:
    return {row["dst"] for row in json.loads(net.gateway.ip("-4", "-j", "route", "show", "dev", "nat64"))}


def test_an_edited_file_and_sighup(fresh: Topology, daemon: Daemon) -> None:
    assert change(daemon, CONFIG + OWN).returncode == 0
    talker = serve(fresh.client6b, "udp_talk", "::")

    def address() -> str:
        tell(talker, "send", embed(SERVER4), 3478, "who am I?")
        tell(talker, "receive")
        return str(json.loads(json.loads(hear(talker))["text"])[0])

    assert address() == "192.0.2.100"
    with stream(fresh) as end:
        write(daemon, CONFIG + MORE)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        eventually(lambda: "[[pool4]] removed (" in daemon.said(), daemon)
        assert "ended 1 (1 that the configuration has no mapping for)" in daemon.said()
        assert address() in POOL4
        counts = end()
    assert counts["received"] == counts["sent"] > 0
    assert routed(fresh) >= {"192.0.2.50", "192.0.2.64/27"}
    assert "192.0.2.100" not in routed(fresh)


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ("[timeouts]\nudp = 5\n", 2, "[timeouts] udp = 5: expected"),
        ("[limits]\nsessions = 1000\n", 1, "[limits] sessions = 1000: nat64d runs with 1048576; changing it takes"),
        ('[[forward]]\nprotocol = "tcp"\nipv4 = "198.51.100.1:80"\nipv6 = "[2001:db8::1]:80"\n', 1, "198.51.100.1"),
    ],
    ids=["not_valid", "takes_a_restart", "does_not_fit_the_host"],
)
def test_what_is_wrong_changes_nothing(fresh: Topology, daemon: Daemon, wrong: str, code: int, said: str) -> None:
    before, pools = traces(fresh.gateway), daemon.rows("pools")
    refused = change(daemon, CONFIG + MORE + wrong)
    assert refused.returncode == code, refused.stderr
    assert said in refused.stderr
    assert not refused.stdout
    assert "Not reloaded, nothing has changed: " in daemon.said().splitlines()[-1]
    assert (traces(fresh.gateway), daemon.rows("pools")) == (before, pools)


def test_a_host_that_refuses_half_of_it_has_nothing_of_it(fresh: Topology, daemon: Daemon) -> None:
    """Where another route stands that only the kernel knows of: a route is looked up for the first pools only."""
    rows = "".join(f'[[pool4]]\naddresses = "10.64.{n}.1"\n' for n in range(70))
    fresh.gateway.ip("route", "add", "blackhole", "10.64.69.1/32")
    try:
        before = traces(fresh.gateway)
        refused = change(daemon, CONFIG + rows)
        assert refused.returncode == 1
        assert "There is already a route for 10.64.69.1/32" in refused.stderr
        assert traces(fresh.gateway) == before
    finally:
        fresh.gateway.ip("route", "del", "blackhole", "10.64.69.1/32")
    assert change(daemon, CONFIG + rows).returncode == 0
    assert routed(fresh) >= {"10.64.0.1", "10.64.69.1"}


@contextmanager
def small_pages() -> Iterator[None]:
    """Programs that are started meanwhile have tables in pages of 4 KiB. In pages of 2 MiB seven sessions take 80 MB of
    indexes where the kernel has such pages at that moment, and none where it has not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMPY_MADVISE_HUGEPAGE", "0")
        yield


def memory_of(daemon: Daemon) -> int:
    """KiB in memory that are the daemon's own."""
    assert daemon.process is not None
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize("times", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_again_and_again_beside_a_flow(fresh: Topology, daemon: Daemon, times: int) -> None:
    """What a reload leaves behind would be there twice: one set of tables has 5 MB that are touched."""
    configs = [CONFIG + OWN, CONFIG + MORE, CONFIG + OWN + MORE]
    used = []
    with stream(fresh) as end, transfer(fresh) as end_transfer:
        for number in range(times):
            done = change(daemon, configs[number % len(configs)])
            assert done.returncode == 0, done.stderr
            used.append(memory_of(daemon))
        counts, carried = end(), end_transfer()
    print(f"{times} reloads: {counts} datagrams, {carried} octets, {used[times // 2]} to {used[-1]} KiB")
    assert counts["received"] == counts["sent"] > 0
    assert passed(carried), carried
    # Soon: whoever reads the tables at that moment has those of before for a moment longer.
    eventually(lambda: memory_of(daemon) < used[times // 2] * 1.02 + 4096, daemon)
