"""What outlives the daemon: connections, over a stop and over kill -9; and a state file that is not as it was."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nat64d.cli.lab import Lab, Namespace
from nat64d.control.client import Client
from nat64d.gateway.state_header import PAGE, header_in
from tests.e2e import WITH_FASTPATH
from tests.e2e.topology import SERVER4, Daemon, Topology, embed, random_file, serve, sha256
from translator.tables.layout import SESSION

pytestmark = pytest.mark.e2e

MEGABYTES = 12
PATIENCE = 300  # seconds that a transfer may take, with a restart in between


@pytest.fixture(scope="module")
def offered(memory: Path) -> str:
    """The SHA-256 of the file that server4 offers."""
    (memory / "restart").mkdir()
    return random_file(memory / "restart" / "file", MEGABYTES)


@pytest.fixture(scope="module")
def fresh(namespaces: None, memory: Path, offered: str) -> Iterator[Topology]:
    """A network of its own: here daemons come and go."""
    with Lab("again") as lab:
        net = Topology(lab)
        serve(net.server4, "udp_echo", SERVER4, "7")
        serve(net.server4, "http", SERVER4, "80", str(memory / "restart"))
        yield net


@pytest.fixture
def daemon(fresh: Topology, memory: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that runs, and keeps its sessions in memory."""
    directory = memory / tmp_path.name
    directory.mkdir()
    daemon = Daemon(fresh.gateway, directory, keep=True)
    try:
        yield daemon.start()
    finally:
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()


def reaches(host: Namespace) -> bool:
    return host.run("ping", "-6", "-n", "-c1", "-W5", embed(SERVER4), check=False).returncode == 0


def scraped(daemon: Daemon) -> dict[tuple[str, ...], float]:
    """The metrics, by their name and the values of their labels."""
    text = b"\n".join(Client(str(daemon.socket)).lines("/metrics", {})).decode()
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


# docs/fastpath.md: with a fast path a kill leaves no session.
@pytest.mark.parametrize("by", [*([] if WITH_FASTPATH else [signal.SIGKILL]), signal.SIGTERM])
def test_a_transfer_goes_on_after_a_restart(
    fresh: Topology, daemon: Daemon, tmp_path: Path, offered: str, by: signal.Signals
) -> None:
    got, url = tmp_path / "got", f"http://[{embed(SERVER4)}]/file"
    curl = fresh.client6a.popen("curl", "-gsS", "--limit-rate", "1M", "-m", str(PATIENCE), "-o", str(got), url)
    deadline = time.monotonic() + PATIENCE
    while not got.exists() or got.stat().st_size < 1_000_000:
        assert curl.poll() is None
        assert time.monotonic() < deadline, daemon.said()
        time.sleep(0.05)
    daemon.stop(by)
    assert curl.poll() is None, "it was too quick for this test"
    daemon.start()
    assert curl.wait(PATIENCE) == 0
    assert sha256(got) == offered
    assert f"waiting ports over {'a kill or crash' if by == signal.SIGKILL else 'a stop'}" in daemon.said()
    metrics = scraped(daemon)
    assert metrics["nat64d_restored_sessions", "kept"] >= 1
    passed = metrics["nat64d_octets_total", "4to6", "translated"]
    assert passed > 0
    queues = [value for name, value in metrics.items() if name[0] == "nat64d_queue_octets_total" and "4to6" in name]
    assert sum(queues) >= passed or WITH_FASTPATH  # what the kernel translates is in no queue
    assert sum(value for name, value in metrics.items() if name[0] == "nat64d_queue_batch_packets_sum") > 0


def test_explain_changes_nothing_of_what_is_kept(fresh: Topology, daemon: Daemon) -> None:
    assert reaches(fresh.client6a)
    before = daemon.rows("sessions")
    explained = daemon.ask("explain", "--live", f"2001:db8:a::99 > {embed(SERVER4)} udp 5000 53")
    assert "new" in explained.stdout, explained.stderr
    assert [row["mapped4_port"] for row in daemon.rows("sessions")] == [row["mapped4_port"] for row in before]


def cut(state: Path) -> None:
    os.truncate(state, state.stat().st_size - PAGE)


def other_boot(state: Path) -> None:
    with state.open("r+b") as file:
        header = header_in(file.read(PAGE))
        assert header is not None
        file.seek(0)
        file.write(header._replace(boot=b"0" * 36).page)


def flip_a_hundred(state: Path) -> None:
    rng = Random(5)
    with state.open("r+b") as file:
        for _ in range(100):
            at = PAGE + rng.randrange(4 * SESSION.itemsize)
            file.seek(at)
            (octet,) = file.read(1)
            file.seek(at)
            file.write(bytes([octet ^ 1 << rng.randrange(8)]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cut, "state is now state.damaged, because it has"),
        (other_boot, "is from before this host was last started: starting without sessions"),
        (flip_a_hundred, "over a kill or crash; ended"),
    ],
)
def test_a_state_file_that_is_not_as_it_was(fresh: Topology, daemon: Daemon, change, said: str) -> None:
    for host in (fresh.client6a, fresh.client6b):
        assert reaches(host)
    daemon.stop(signal.SIGKILL)
    change(daemon.directory / "state")
    daemon.start()
    assert said in daemon.said()
    for host in (fresh.client6a, fresh.client6b):
        assert reaches(host)
    assert daemon.stop() == 0, daemon.said()
