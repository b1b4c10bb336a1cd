"""One network and one daemon for all tests that leave both as they were; a start costs more than a test."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import NAT64D, Lab, obstacle
from tests.e2e.topology import CLIENT6B, SERVER4, Daemon, Topology, random_file, serve

TOOLS = ("curl", "ping", "traceroute", "mtr", "ethtool", "nft", "unbound", "dig")
COMPILING = 600  # seconds that a busy machine may take; no time if everything is compiled
MEGABYTES = int(os.environ.get("NAT64D_E2E_MEGABYTES", "200"))  # size of the large file


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skip, with the reason, where these tests cannot run; compile what they run."""
    if why := obstacle():
        pytest.skip(why)
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"Not installed: {', '.join(missing)}.")
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled in plain Python")
    subprocess.run([*NAT64D, "compile"], check=True, stderr=subprocess.DEVNULL, timeout=COMPILING)


@pytest.fixture(scope="session")
def net(namespaces: None) -> Iterator[Topology]:
    """The network of topology.py."""
    with Lab("e2e") as lab:
        yield Topology(lab)


@pytest.fixture(scope="session")
def nat64d(net: Topology, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon in the gateway of `net`."""
    daemon = Daemon(net.gateway, tmp_path_factory.mktemp("daemon")).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A directory in memory."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def files(memory: Path) -> dict[str, str]:
    """Files offered by both web servers: name to SHA-256."""
    sizes = {"large": MEGABYTES, "medium": 20, "small": 2}
    (memory / "offered").mkdir()
    return {name: random_file(memory / "offered" / name, megabytes) for name, megabytes in sizes.items()}


@pytest.fixture(scope="session")
def servers(net: Topology, nat64d: Daemon, files: dict[str, str], memory: Path) -> None:
    """Web, echo and whoami servers on server4; web and echo servers on client6b behind its [[forward]] entries."""
    offered = str(memory / "offered")
    serve(net.server4, "http", SERVER4, "80", offered)
    serve(net.server4, "tcp_echo", SERVER4, "7")
    serve(net.server4, "udp_echo", SERVER4, "7")
    serve(net.server4, "udp_whoami", SERVER4, "3478")
    serve(net.client6b, "http", CLIENT6B, "8080", offered)
    serve(net.client6b, "udp_echo", CLIENT6B, "7007")
