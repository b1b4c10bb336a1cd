"""`nat64d doctor` on a gateway with faults: it names them, and the commands it prints, run as printed, clear them.

client6 ── 2001:db8:1::/64 ── gateway ── 192.0.2.0/24 ── server4
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import NAT64D, Lab, Namespace
from tests.e2e.topology import Daemon, eventually, traces

pytestmark = pytest.mark.e2e

CONFIG = """
pool6 = "64:ff9b::/96"

[[pool4]]
addresses = "203.0.113.0/28"

[host]
sysctls = false

[dns64]
listen = ["127.0.0.1:53"]
upstream = ["192.0.2.2"]
"""
Row = dict[str, Any]


@pytest.fixture(scope="module")
def gateway(namespaces: None) -> Iterator[Namespace]:
    """The gateway drawn above, which forwards."""
    with Lab("doctor") as lab:
        client, gateway, server = (lab.namespace(name) for name in ("client6", "gateway", "server4"))
        lab.link(client, ["2001:db8:1::10/64"], gateway, ["2001:db8:1::1/64"])
        lab.link(gateway, ["192.0.2.1/24"], server, ["192.0.2.2/24"])
        gateway.route("default", "192.0.2.2")
        gateway.forward()
        yield gateway


def asked(gateway: Namespace, file: Path) -> tuple[int, list[Row]]:
    """The exit code and the findings, notes left out."""
    done = gateway.run(*NAT64D, "doctor", "-c", str(file), "--json", check=False)
    assert not done.stderr, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, [row for row in rows if row["severity"] != "note"]


def cured(gateway: Namespace, rows: list[Row]) -> None:
    """Run what is printed, as printed."""
    for row in rows:
        gateway.run("env", f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}", "sh", "-euc", row["command"])


def test_three_faults_are_found_and_what_is_printed_clears_them(gateway: Namespace, tmp_path: Path) -> None:
    file = tmp_path / "nat64d.toml"
    file.write_text(f'{CONFIG}\n[api]\nsocket = "{tmp_path}/api.sock"\n')
    assert asked(gateway, file) == (0, [])
    before = traces(gateway)
    gateway.ip("address", "add", "203.0.113.5/32", "dev", "lo")
    gateway.ip("tuntap", "add", "dev", "nat64", "mode", "tun", "multi_queue")
    gateway.ip("link", "set", "nat64", "mtu", "1000")
    gateway.sysctl("net.ipv4.ip_forward", 0)
    faulty = traces(gateway)
    code, found = asked(gateway, file)
    assert (code, [row["check"] for row in found]) == (1, ["forwarding_off", "own_address", "tun_device"])
    assert traces(gateway) == faulty
    cured(gateway, found)
    assert asked(gateway, file) == (0, [])
    gateway.ip("link", "del", "nat64")
    assert {name: text for name, text in traces(gateway).items() if name != "sysctls"} == {
        name: text for name, text in before.items() if name != "sysctls"
    }


def test_the_conditions_of_a_daemon_are_taken_over(gateway: Namespace, tmp_path: Path) -> None:
    daemon = Daemon(gateway, tmp_path, CONFIG).start()
    file = tmp_path / "nat64d.toml"
    gateway.run("nft", "add table inet f; add chain inet f out { type filter hook forward priority 0; policy drop; }")
    gateway.ip("-6", "route", "add", "64:ff9b::/97", "via", "2001:db8:1::10")
    said: list[Row] = []

    def says(*names: str) -> bool:
        said[:] = asked(gateway, file)[1]
        return [row["check"] for row in said] == list(names)

    eventually(lambda: says("partly_routed_elsewhere", "firewall"), daemon)
    cured(gateway, said)
    eventually(says, daemon)
    file.write_text(file.read_text().replace("64:ff9b::/96", "2001:db8:64::/96"))
    assert says("outdated", "dns64"), said
    cured(gateway, said[:1])
    eventually(says, daemon)
    assert daemon.stop() == 0
    gateway.run("nft", "delete", "table", "inet", "f")
