"""The network of tests/e2e/topology.py, in which the gateway is a machine with a systemd of its own."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab, obstacle
from tests.e2e.topology import CONFIG, SERVER4, Topology, serve
from tests.systemd.machine import Machine
from tests.systemd.tree import tree

CONFIG_FILE = "/etc/nat64d/nat64d.toml"


@pytest.fixture(scope="session")
def debian() -> Path:
    """The tree; skip, with the reason, where no machine can be made."""
    if why := obstacle():
        pytest.skip(why)
    if missing := [tool for tool in ("debootstrap", "systemd-nspawn", "nsenter") if shutil.which(tool) is None]:
        pytest.skip(f"Not installed: {', '.join(missing)}.")
    return tree()


@pytest.fixture(scope="module")
def net(debian: Path) -> Iterator[Topology]:
    """The network, with an echo server for UDP and one for TCP."""
    with Lab("unit") as lab:
        net = Topology(lab)
        serve(net.server4, "udp_echo", SERVER4, "7")
        serve(net.server4, "tcp_echo", SERVER4, "7")
        yield net


@pytest.fixture(scope="module")
def booted(debian: Path, net: Topology, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine for all tests of a module: the first start in it compiles."""
    with Machine(debian, net.gateway, tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture
def machine(booted: Machine) -> Iterator[Machine]:
    """The machine, with the service stopped and its configuration as it was, before and after."""
    booted.write(CONFIG_FILE, CONFIG)
    booted.since = time.time()
    yield booted
    booted.systemctl("stop", check=False)
    booted.systemctl("reset-failed", check=False)
    booted.drop_in("")
