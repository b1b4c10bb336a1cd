"""[[service]] whose members change 10,000 times a minute under 100,000 packets a second: none is lost.

`make shows-services` runs it, and prints what was reached: a machine that is slow, or busy with other things, sends and
carries fewer packets even while nothing changes.
"""

import json
import random
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest

from nat64d.cli.lab import Lab, Namespace
from nat64d.control.client import Client, DaemonUnreachableError
from tests.bench.traffic import IPV4, IPV6, UDP, datagrams
from tests.e2e.steady import PAYLOAD
from tests.e2e.test_services import start
from tests.e2e.test_services_change import hold, told
from tests.e2e.topology import Daemon, Topology, hear, tell

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

VIP, PORT, SERVED = "192.0.2.80", 1000, 8080
SERVICES, MEMBERS, FLOWS = 20, 20, 5  # flows: to each service
SECONDS, A_MINUTE = 60.0, 10_000
RATES = (100_000, 70_000, 50_000, 30_000, 20_000, 10_000)
QUEUE = 200_000  # packets that wait for the daemon: a machine that is busy elsewhere takes seconds
SOURCE = "/v1/sources/kubernetes"
CONFIG = """
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false

[services]
drain = 0

[[pool4]]
addresses = "192.0.2.20"
"""
LARGE = [[f"2001:db8:c:{number:x}::{one:x}" for one in range(1, 31)] for number in range(1, 1001)]
SERVERS = [f"2001:db8:b::{number:x}" for number in range(0x100, 0x100 + MEMBERS)]


class Count:
    """Datagrams that a host has received and a rule matches."""

    def __init__(self, host: Namespace, rule: str, header: int) -> None:
        self.host, self.header = host, header + UDP
        chain = f"type filter hook prerouting priority raw\n{rule}\n"
        host.run("nft", "-f", "-", stdin=f"table inet counted {{\nchain arriving {{\n{chain}}}\n}}\n")

    def read(self) -> int:
        said = self.host.run("nft", "-j", "list", "table", "inet", "counted").stdout
        (counter,) = re.findall(r'"packets": (\d+), "bytes": (\d+)', said)
        frames, octets = map(int, counter)
        return round(datagrams(octets, frames, self.header, PAYLOAD))


class Load:
    """Datagrams from server4 to the services, counted where they leave and where they arrive."""

    def __init__(self, net: Topology) -> None:
        self.net = net
        words = ("-m", "tests.e2e.steady", VIP, str(PORT), str(SERVICES), str(FLOWS))
        self.process = net.server4.popen(sys.executable, *words, stdin=-1, stdout=-1, bufsize=1)
        assert hear(self.process) == "ready"
        self.left = Count(net.router4, f"ip daddr {VIP} udp dport {PORT}-{PORT + SERVICES - 1} counter", IPV4)
        self.arrived = Count(net.client6b, f"meta nfproto ipv6 udp dport {SERVED} counter drop", IPV6)
        self.before = (0, 0)

    def begin(self, seconds: float, rate: int) -> None:
        self.before = self._counted()
        tell(self.process, seconds, rate)

    def end(self, seconds: float) -> dict[str, Any]:
        """How many the client has sent, how many left its link, and how many arrived at the servers."""
        told: dict[str, Any] = json.loads(hear(self.process, seconds + 60))
        counts, deadline = self._counted(), time.monotonic() + 20
        while counts[1] - self.before[1] < told["sent"] and time.monotonic() < deadline:
            time.sleep(0.2)
            counts = self._counted()
        left, arrived = (now - then for now, then in zip(counts, self.before, strict=True))
        return {**told, "left": left, "arrived": arrived, "rate": round(told["sent"] / told["seconds"])}

    def _counted(self) -> tuple[int, int]:
        return self.left.read(), self.arrived.read()


class Sent(NamedTuple):
    """What came of the changes of a minute."""

    changes: int
    requests: int
    median: float  # milliseconds until the answer to a request
    slowest: float
    seconds: float


class Fleet:
    """What the source says, and what is to be so: `servers` of each service."""

    def __init__(self, daemon: Daemon, servers: list[list[str]]) -> None:
        self.client = Client(str(daemon.socket), 300)
        self.random = random.Random(12)
        self.servers = servers
        self.members = [set(some) for some in servers]

    def put(self) -> None:
        rows = [self.row(number) for number in range(len(self.members))]
        self.client.sent("PUT", SOURCE, {"service": rows})

    def row(self, number: int) -> dict[str, Any]:
        ends = [f"[{server}]:{SERVED}" for server in sorted(self.members[number])]
        return {"name": f"of/{number}", "protocol": "udp", "ipv4": f"{VIP}:{PORT + number}", "endpoints": ends}

    def flip(self) -> int:
        """A member of a service goes, or is back; half of them stay at least. Returns the number of the service."""
        number = self.random.randrange(len(self.members))
        servers = self.servers[number]
        self.members[number] ^= {self.random.choice(servers)}
        if len(self.members[number]) < len(servers) // 2:
            self.members[number] |= set(servers)
        return number

    def change(self, seconds: float, a_minute: int) -> Sent:
        """So many changes a minute, as steadily as requests are answered."""
        began, done, took = time.monotonic(), 0, list[float]()
        whole = round(seconds / 60 * a_minute)
        while done < whole:
            due = min(whole, int((time.monotonic() - began) / 60 * a_minute)) - done
            if due < 1:
                time.sleep(0.005)
                continue
            touched = {self.flip() for _ in range(due)}
            asked = time.monotonic()
            self.client.sent("PATCH", SOURCE, {"set": {"service": [self.row(number) for number in sorted(touched)]}})
            took.append(round(1000 * (time.monotonic() - asked), 1))
            done += due
        return Sent(done, len(took), median(took), max(took), round(time.monotonic() - began, 1))

    def check(self, daemon: Daemon) -> None:
        """What the daemon has is what it was told."""
        there = {(row["service"], row["ipv6"]) for row in daemon.rows("services", "--endpoints")}
        assert there == {(f"of/{number}", one) for number, members in enumerate(self.members) for one in members}


@pytest.fixture
def net(namespaces: None) -> Iterator[Topology]:
    with Lab("flips") as lab:
        net = Topology(lab)
        for server in SERVERS:
            net.client6b.ip("address", "add", f"{server}/64", "dev", "router6", "nodad")
        yield net


def test_no_packet_is_lost_while_members_change(net: Topology, tmp_path: Path) -> None:
    daemon = Daemon(net.gateway, tmp_path, CONFIG).start()
    net.gateway.ip("link", "set", "nat64", "txqueuelen", str(QUEUE))
    fleet = Fleet(daemon, [SERVERS] * SERVICES)
    fleet.put()
    load = Load(net)
    for rate in RATES:
        load.begin(3, rate)
        quiet = load.end(3)
        print(f"nothing changes: {quiet}")
        if quiet["sent"] == quiet["left"] == quiet["arrived"]:
            break
    load.begin(SECONDS, rate)
    changed = fleet.change(SECONDS - 1, A_MINUTE)
    found = load.end(SECONDS)
    print(f"members change: {found}\n{changed}")
    fleet.check(daemon)
    assert changed.changes >= A_MINUTE * (SECONDS - 1) / 60 - 1
    assert found["sent"] == found["left"] == found["arrived"], daemon.ask("status").stdout
    assert daemon.stop() == 0, daemon.said()


def test_members_of_a_large_fleet_change_as_often(net: Topology, tmp_path: Path) -> None:
    """30,000 of them; what has changed meanwhile goes with the next request, as a controller does it."""
    daemon = Daemon(net.gateway, tmp_path, CONFIG).start()
    fleet = Fleet(daemon, LARGE)
    began = time.monotonic()
    fleet.put()
    print(f"PUT of {sum(map(len, LARGE))} endpoints: {time.monotonic() - began:.1f} s")
    changed = fleet.change(SECONDS, A_MINUTE)
    print(changed)
    fleet.check(daemon)
    assert changed.changes == A_MINUTE
    assert daemon.stop() == 0, daemon.said()


def test_no_packet_is_lost_while_addresses_come_and_go(net: Topology, tmp_path: Path) -> None:
    """A thousand of them. The settings are exchanged then, and packets wait for that."""
    daemon = Daemon(net.gateway, tmp_path, CONFIG).start()
    net.gateway.ip("link", "set", "nat64", "txqueuelen", str(QUEUE))
    fleet = Fleet(daemon, [SERVERS] * SERVICES)
    alone = [{"name": f"alone/{n}", "ipv4": f"10.9.{n // 250}.{1 + n % 250}:80"} for n in range(1000)]
    served = [fleet.row(number) for number in range(SERVICES)]
    fleet.client.sent("PUT", SOURCE, {"service": [*served, *alone]})
    load = Load(net)
    load.begin(SECONDS, RATES[0])
    until, pauses, took = time.monotonic() + SECONDS - 5, list[float](), list[float]()
    while time.monotonic() < until:
        asked = time.monotonic()
        one = fleet.random.choice(alone)
        fleet.client.sent("PATCH", SOURCE, {"unset": {"service": [{"name": one["name"]}]}})
        answer = fleet.client.sent("PATCH", SOURCE, {"set": {"service": [one]}})
        took.append(1000 * (time.monotonic() - asked))
        pauses.append(1000 * answer["pause"])
    found = load.end(SECONDS)
    print(f"{found}\n{len(pauses)} went and came, {median(took):.0f} ms for both; ", end="")
    print(f"packets waited {median(pauses):.1f} ms, at most {max(pauses):.1f}")
    assert len(pauses) > 5
    assert found["sent"] == found["left"] == found["arrived"], daemon.ask("status").stdout
    assert daemon.stop() == 0, daemon.said()


def test_a_kill_in_the_middle_of_a_change_leaves_what_was_or_what_is(net: Topology, tmp_path: Path) -> None:
    """Never half of it, and connections go on: by members that stay, and by those that are gone."""
    assert hear(start(net.client6b, "servers", str(SERVED), *SERVERS)) == "listening"
    daemon = Daemon(net.gateway, tmp_path, CONFIG, keep=True).start()
    fleet, chance = Fleet(daemon, [SERVERS] * SERVICES), random.Random(4)
    held = {"name": "held", "ipv4": f"{VIP}:80", "endpoints": [f"[{server}]:{SERVED}" for server in SERVERS]}
    wanted = []
    for part in (0, 1):
        fleet.members = [set(SERVERS[part::2])] * SERVICES
        wanted.append(
            [*(fleet.row(number) for number in range(SERVICES)), {**held, "endpoints": held["endpoints"][part:]}]
        )
    took = [timed(fleet.client, rows) for rows in (*wanted, wanted[0])][-1]
    open_ = [hold(net, own) for own in range(50001, 50031)]
    load = Load(net)
    load.begin(600, 5000)
    found = []
    for turn in range(1, 13):
        asking = threading.Thread(target=tried, args=(fleet.client, wanted[turn % 2]))
        asking.start()
        time.sleep(chance.random() * 2 * took)
        assert daemon.process is not None
        daemon.process.kill()
        daemon.process.wait()
        asking.join()
        daemon.start()
        rows = Client(str(daemon.socket)).document(SOURCE)["service"]
        there = {
            (row["service"], row["ipv6"]) for row in daemon.rows("services", "--endpoints") if row["state"] != "gone"
        }
        assert rows in [as_kept(some) for some in wanted]
        ends = {(row["name"], end["address"][1:].partition("]")[0]) for row in rows for end in row["endpoints"]}
        assert there == ends
        found.append("after" if rows == as_kept(wanted[turn % 2]) else "before")
        if found[-1] == "before":
            fleet.client.sent("PUT", SOURCE, {"service": wanted[turn % 2]})
    print(f"after a kill it was as {', '.join(found)}")
    assert all(told(one).keys() == {"server"} for one in open_)
    assert daemon.stop() == 0, daemon.said()


def timed(client: Client, rows: list[dict[str, Any]]) -> float:
    """Seconds that it takes to say so."""
    asked = time.monotonic()
    client.sent("PUT", SOURCE, {"service": rows})
    return time.monotonic() - asked


def tried(client: Client, rows: list[dict[str, Any]]) -> None:
    with suppress(DaemonUnreachableError):
        client.sent("PUT", SOURCE, {"service": rows})


def as_kept(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As the API says it: without what is the default."""
    return [{**row, "endpoints": [{"address": end} for end in row["endpoints"]]} for row in rows]
