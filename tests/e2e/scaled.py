"""Two gateways that share nothing, and their router, with the configurations of docs/scale-out.md.

                                ┌── gateway_a (nat64d, BIRD)
    client ────── router (FRR) ─┤  198.51.100.0/24, 2001:db8:f::/64, a switch
     IPv4            │          ├── gateway_b (nat64d, FRR)
                     │          │
                     └───────── node: servers, and a client of IPv4 servers
                      2001:db8:e::/64

The node's way to clients of services is by the router, so that this spreads both directions over both gateways; its way
to pool6 is the next hop that it has on the switch.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nat64d.cli.lab import Lab, Namespace
from tests import pages
from tests.architecture import ROOT
from tests.e2e.topology import Daemon, hear

CLIENT, SERVER4 = "198.18.0.10", "198.18.0.10"
VIP, OTHER = "203.0.113.80", "203.0.113.81"
SERVERS = [f"2001:db8:9::{number}" for number in (11, 12, 13, 14, 15)]
NODE = "2001:db8:9::1"
POOL6, PREFIX = "64:ff9b::/96", "2001:db8:c::/96"
POOL4 = {"gateway_a": "192.0.2.1", "gateway_b": "192.0.2.2"}
NUMBERS = {"router": 1, "gateway_a": 11, "gateway_b": 12, "node": 21}
LINK4, LINK6 = "198.51.100.", "2001:db8:f::"
LOAD, BALANCED = (str(Path(__file__).with_name(name)) for name in ("load.py", "balanced.py"))
FRR = Path("/usr/lib/frr")
PAGE = ROOT / "docs/scale-out.md"


def given(language: str) -> list[str]:
    """The configurations of the page for a program, in their order."""
    return [block.text for block in pages.blocks(PAGE) if block.language == language]


def missing() -> str:
    """What has to be installed, in Debian's words."""
    there = {"bird2": shutil.which("bird", path=f"{os.environ['PATH']}:/usr/sbin"), "frr": (FRR / "bgpd").exists()}
    return ", ".join(name for name, found in there.items() if not found)


def config(name: str, services: str = "", drain: int = 5) -> str:
    """Of a gateway; `services`: rows beside."""
    return f"""
pool6 = "{POOL6}"
strict_well_known_prefix = false

[[pool4]]
addresses = "{POOL4[name]}"

[services]
client_prefix = "{PREFIX}"
drain = {drain}
{services}
"""


def service(name: str, address: str, port: int = 8080) -> str:
    ends = ", ".join(f'"[{one}]:{port}"' for one in SERVERS)
    return f'\n[[service]]\nname = "{name}"\nipv4 = "{address}:80"\nendpoints = [{ends}]\n'


def frr_folder(place: Path, text: str) -> Path:
    """A folder of the user that FRR's programs are, with their configuration."""
    place.mkdir()
    (place / "frr.conf").write_text(text)
    shutil.chown(place, "frr", "frr")
    return place


class Clients:
    """Clients of a service that do not stop: so many new connections a second, beside so many that stay."""

    def __init__(self, host: Namespace, rate: int, held: int) -> None:
        words = ("client", VIP, "80", str(rate), "9000", str(held))
        self.program: subprocess.Popen[str] = host.popen(sys.executable, LOAD, *words, stdin=-1, stdout=-1, bufsize=1)
        assert hear(self.program, 60) == "settled"

    def phase(self, name: str, seconds: float) -> None:
        assert self.program.stdin is not None
        self.program.stdin.write(f"{name}\n")
        self.program.stdin.flush()
        hear(self.program, 60)
        time.sleep(seconds)

    def end(self) -> dict[str, Any]:
        said, _ = self.program.communicate(timeout=120)
        told: dict[str, Any] = json.loads(said.splitlines()[-1])
        return told


class Scaled:
    """The network drawn above; the daemons are not started."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        names = ("switch", "client", "router", "gateway_a", "gateway_b", "node")
        self.hosts = {name: lab.namespace(name) for name in names}
        self.client, self.router, self.node = (self.hosts[name] for name in ("client", "router", "node"))
        switch = self.hosts["switch"]
        switch.ip("link", "add", "bridge", "type", "bridge")
        switch.ip("link", "set", "bridge", "up")
        for name, number in NUMBERS.items():
            lab.link(self.hosts[name], [f"{LINK4}{number}/24", f"{LINK6}{number}/64"], switch, [])
            switch.ip("link", "set", name, "master", "bridge")
        lab.link(self.client, [f"{CLIENT}/24"], self.router, ["198.18.0.1/24"])
        lab.link(self.node, ["2001:db8:e::2/64"], self.router, ["2001:db8:e::1/64"])
        self._route(lab)
        self.daemons = {}
        for name in POOL4:
            (folder / name).mkdir()
            self.daemons[name] = Daemon(self.hosts[name], folder / name, config(name))

    def _route(self, lab: Lab) -> None:
        self.client.route("default", "198.18.0.1")
        self.node.route("default", "2001:db8:e::1")
        for server in (NODE, *SERVERS):
            self.node.add_address(f"{server}/128", "lo")
        self.router.route("2001:db8:9::/64", "2001:db8:e::2")
        for one in (self.router, self.node):
            one.forward()
            for version in ("ipv4", "ipv6"):
                one.sysctl(f"net.{version}.fib_multipath_hash_policy", 1)
        for name in POOL4:
            self.hosts[name].route("default", f"{LINK4}1")
            self.hosts[name].route("2001:db8:9::/64", f"{LINK6}1")
            for version, network in (("-4", "203.0.113.0/24"), ("-6", "2001:db8:c::/64")):
                self.hosts[name].ip(version, "route", "add", "blackhole", network)

    # ---- routing daemons

    def routing(self) -> None:
        """Start them, with what the page says."""
        gateway, router = given("frr")
        (bird,) = given("bird")
        self.bird(self.hosts["gateway_a"], bird)
        self.frr(self.hosts["gateway_b"], gateway)
        self.frr(self.router, router)

    def bird(self, host: Namespace, text: str) -> None:
        place = self.folder / f"bird.{host.name}"
        place.mkdir()
        (place / "bird.conf").write_text(text)
        words = ["-f", "-c", str(place / "bird.conf"), "-s", str(place / "control"), "-P", str(place / "pid")]
        self._start(host, "/usr/sbin/bird", *words)

    def frr(self, host: Namespace, text: str) -> None:
        """zebra, which sets routes, and bgpd, which asks only now and then whether zebra has come."""
        place = frr_folder(self.folder / f"frr.{host.name}", text)
        for program in ("zebra", "bgpd"):
            words = ["-f", f"{place}/frr.conf", "-i", f"{place}/{program}.pid", "--vty_socket", str(place)]
            self._start(host, str(FRR / program), *words, "-z", f"{place}/zserv", "-P", "0")
            deadline = time.monotonic() + 30
            while not (place / "zserv").exists():
                assert time.monotonic() < deadline, self.said()
                time.sleep(0.01)

    def _start(self, host: Namespace, *command: str) -> subprocess.Popen[str]:
        name = Path(command[0]).name
        with (self.folder / f"{name}.{host.name}.log").open("ab") as log:
            return host.popen(*command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def said(self) -> str:
        """What all of them have said."""
        logs = [*self.folder.glob("*.log"), *self.folder.glob("*/log")]
        routes = [self.router.ip(version, "route") for version in ("-4", "-6")]
        texts = [f"== {one.relative_to(self.folder)}\n{one.read_text()[-3000:]}" for one in logs]
        return "\n".join([*texts, "== routes of the router", *routes])

    # ---- seen

    def hops(self, destination: str) -> list[str]:
        """Where the router sends packets to that network: addresses of gateways."""
        version = "-6" if ":" in destination else "-4"
        rows: list[dict[str, Any]] = json.loads(self.router.ip("-j", version, "route", "show", destination) or "[]")
        text = json.dumps(rows)
        devices = re.findall(r'"gateway": "([^"]+)"', text)
        return sorted(devices)
