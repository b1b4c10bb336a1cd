"""The Debian package of `make deb`: installed, upgraded, removed and purged in a machine that has nothing of nat64d."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture import ROOT
from tests.e2e.topology import CONFIG, Topology, traces
from tests.systemd.machine import LIMIT, Machine
from tests.systemd.test_service import reaches
from tests.systemd.tree import PATIENCE, WHEELS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT)]

UNITS = "/etc/systemd/system/nat64d*.service /etc/systemd/system/nat64d.socket"
AS_IT_WAS = f"rm -f {UNITS} /usr/local/bin/nat64d && systemctl daemon-reload"


@pytest.fixture(scope="module")
def package(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built from the wheels that the tree was made from: nothing is downloaded."""
    (wheel,) = WHEELS.glob("nat64d-*.whl")
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(WHEELS)}
    command = [str(ROOT / "config/debian/build"), str(tmp_path_factory.mktemp("dist")), str(wheel)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.split()[-1])


@pytest.fixture(scope="module")
def bare(booted: Machine, package: Path) -> Iterator[Machine]:
    """A machine without nat64d, and the package in it as /root/nat64d.deb."""
    booted.run("sh", "-ec", AS_IT_WAS)
    with package.open("rb") as file:
        subprocess.run(booted.entering("sh", "-c", "cat >/root/nat64d.deb"), stdin=file, check=True, timeout=PATIENCE)
    yield booted
    booted.run("dpkg", "--purge", "nat64d", check=False, timeout=PATIENCE)


def install(machine: Machine) -> None:
    machine.run("dpkg", "--install", "/root/nat64d.deb", timeout=PATIENCE)


def exists(machine: Machine, path: str) -> bool:
    return machine.run("test", "-e", path, check=False).returncode == 0


def test_the_package_installs_all_that_is_needed(bare: Machine) -> None:
    install(bare)
    assert bare.run("nat64d", "--version").stdout.startswith("nat64d ")
    assert bare.run("nat64d", "check", "--file-only").stdout
    assert "/etc/nat64d/nat64d.toml" in bare.run("dpkg-query", "--show", "--showformat=${Conffiles}", "nat64d").stdout
    for path in (
        "/usr/share/man/man8/nat64d.8.gz",
        "/usr/share/man/man5/nat64d.toml.5.gz",
        "/usr/share/bash-completion/completions/nat64d",
        "/usr/share/doc/nat64d/examples/gateway.toml",
        "/usr/share/doc/nat64d/copyright",
    ):
        assert bare.run("dpkg", "--search", path).stdout.startswith("nat64d:")
    assert bare.show("ActiveState") == "inactive", "nobody asked for a router yet"
    assert bare.systemctl("is-enabled", check=False).stdout.strip() == "disabled"
    verified = bare.run("systemd-analyze", "verify", "--man=no", "nat64d.service", "nat64d@lab.service", check=False)
    assert verified.returncode == 0, verified.stderr
    assert bare.run("dpkg", "--verify", "nat64d").stdout == ""
    has = "from nat64d.dataplane.bpf.kept import file_beside; assert file_beside().exists()"
    bare.run("/usr/lib/nat64d/bin/python3", "-B", "-c", has)


def test_an_upgrade_restarts_what_runs_and_leaves_the_configuration(bare: Machine, net: Topology) -> None:
    bare.write("/etc/nat64d/nat64d.toml", CONFIG)
    bare.systemctl("enable", "--now")
    assert reaches(net.client6a)
    bare.run("systemctl", "disable", "nat64d.socket")  # as an earlier version was enabled
    before = bare.show("MainPID")
    install(bare)
    assert bare.show("ActiveState") == "active"
    assert bare.show("MainPID") != before
    assert bare.run("cat", "/etc/nat64d/nat64d.toml").stdout == CONFIG
    assert "waiting ports over a stop" in bare.journal()
    assert bare.run("systemctl", "is-enabled", "nat64d.socket").stdout == "enabled\n"
    assert reaches(net.client6a)


def test_who_removes_it_has_the_host_as_it_was(bare: Machine, net: Topology) -> None:
    bare.systemctl("stop")
    before = traces(net.gateway)
    bare.systemctl("start")
    assert traces(net.gateway) != before
    bare.run("dpkg", "--remove", "nat64d", timeout=PATIENCE)
    assert traces(net.gateway) == before
    assert not exists(bare, "/usr/lib/nat64d"), "nothing was written below it"
    assert exists(bare, "/etc/nat64d/nat64d.toml")
    bare.run("dpkg", "--purge", "nat64d", timeout=PATIENCE)
    for path in ("/etc/nat64d", "/var/cache/private/nat64d", "/var/cache/nat64d", "/run/nat64d"):
        assert not exists(bare, path), path
    left = bare.run("sh", "-c", "find /etc/systemd /usr/lib/systemd -name '*nat64d*'").stdout
    assert left == "", "no link of a service that was enabled"
