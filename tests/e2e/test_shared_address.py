"""[[pool4]] addresses = "interface:…": the pool shares the one address that the gateway has, by ports, and follows it.

client6 ── 2001:db8:1::/64 ── gateway ── 198.51.100.0/24 ── server4
::2                      ::1           .1, later others          .2

The server has no route back: what answers it sends go to an address of its own link, which is the gateway's own.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests.e2e import WITH_FASTPATH
from tests.e2e.topology import Daemon, eventually, hear, run, serve, tell, traces

pytestmark = pytest.mark.e2e

CLIENT6, GATEWAY4, SERVER4 = "2001:db8:1::2", "198.51.100.1", "198.51.100.2"
POOL6 = "64:ff9b::"
CONFIG = f"""
pool6 = "{POOL6}/96"
strict_well_known_prefix = false

[[pool4]]
addresses = "interface:server4"
"""
PORTS = range(61001, 65536)


@pytest.fixture(scope="module")
def network(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Namespace]]:
    """The hosts drawn above."""
    with Lab("shared") as lab:
        client, gateway, server = (lab.namespace(name) for name in ("client6", "gateway", "server4"))
        lab.link(client, [f"{CLIENT6}/64"], gateway, ["2001:db8:1::1/64"])
        lab.link(gateway, [f"{GATEWAY4}/24"], server, [f"{SERVER4}/24"])
        client.route("default", "2001:db8:1::1")
        serve(server, "http", SERVER4, "80", str(tmp_path_factory.mktemp("offered")))
        serve(server, "udp_whoami", SERVER4, "3478")
        serve(server, "udp_echo", SERVER4, "7")
        yield {host.name: host for host in lab.namespaces}


@pytest.fixture
def daemon(network: dict[str, Namespace], tmp_path: Path) -> Iterator[Daemon]:
    """The daemon; afterwards there is no trace of it."""
    before = traces(network["gateway"])
    daemon = Daemon(network["gateway"], tmp_path, CONFIG).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()
    assert traces(network["gateway"]) == before


def seen_as(network: dict[str, Namespace]) -> str:
    """The address that the server sees the client come from; "" if it does not answer."""
    asked = ("curl", "-sS", "--max-time", "5", f"http://[{POOL6}{SERVER4}]/whoami")
    return network["client6"].run(*asked, check=False).stdout.strip()


def talker(network: dict[str, Namespace]) -> subprocess.Popen[str]:
    """A UDP socket of the client."""
    return serve(network["client6"], "udp_talk", "::")


def seen_from(talking: subprocess.Popen[str]) -> list[object]:
    """The transport address that the server sees a socket come from."""
    tell(talking, "send", f"{POOL6}{SERVER4}", 3478, "who am I?")
    tell(talking, "receive")
    seen: list[object] = json.loads(json.loads(hear(talking))["text"] or "[null, null]")
    return seen


def conditions(daemon: Daemon) -> set[str]:
    return {row["condition"] for row in json.loads(daemon.ask("status", "--json").stdout)["conditions"]}


def events(daemon: Daemon) -> list[str]:
    return [row["text"] for row in daemon.rows("events") if row["event"] == "addresses"]


def test_the_gateway_and_the_pool_share_an_address(network: dict[str, Namespace], daemon: Daemon) -> None:
    gateway, server = network["gateway"], network["server4"]
    assert seen_as(network) == GATEWAY4
    address, port = seen_from(talker(network))
    assert address == GATEWAY4
    assert port in PORTS
    network["client6"].run("ping", "-c1", "-W5", f"{POOL6}{SERVER4}")
    server.run("ping", "-c1", "-W5", GATEWAY4)
    assert gateway.run("curl", "-sS", "--max-time", "5", f"http://{SERVER4}/whoami").stdout.strip() == GATEWAY4
    serve(gateway, "http", GATEWAY4, "8080", str(daemon.directory))
    assert server.run("curl", "-sS", "--max-time", "5", f"http://{GATEWAY4}:8080/whoami").stdout.strip() == SERVER4
    assert [row["addresses"] for row in daemon.rows("pools")] == [f"interface:server4/{GATEWAY4}"] * 3
    assert conditions(daemon) == set()


def test_errors_about_its_packets_get_there(network: dict[str, Namespace], daemon: Daemon) -> None:
    """An error quotes a packet of ours: the ports are inside of it."""
    answer = run(network["client6"], "udp_error", f"{POOL6}{SERVER4}", "9", "64", "100")
    assert (answer["type"], answer["code"]) == (1, 4), answer
    assert answer["same"]


def test_long_datagrams_are_put_together(network: dict[str, Namespace], daemon: Daemon) -> None:
    """Only the first fragment has ports."""
    talking = talker(network)
    text = "x" * 4000
    tell(talking, "send", f"{POOL6}{SERVER4}", 7, text)
    tell(talking, "receive")
    assert json.loads(hear(talking))["text"] == text


def test_it_follows_the_addresses_of_the_interface(network: dict[str, Namespace], daemon: Daemon) -> None:
    gateway, first, second = network["gateway"], "198.51.100.1", "198.51.100.9"
    kept, lost = talker(network), talker(network)
    mapped = seen_from(kept)
    assert mapped[0] == first

    gateway.ip("address", "add", f"{second}/24", "dev", "server4")
    eventually(lambda: len(events(daemon)) == 1, daemon)
    assert seen_from(kept) == mapped, "a session of an address that stays is kept"

    gateway.ip("address", "del", f"{first}/24", "dev", "server4")
    gateway.ip("address", "replace", f"{second}/24", "dev", "server4")
    eventually(lambda: seen_from(lost)[0] == second, daemon)
    assert seen_from(kept)[0] == second
    assert "ended" in events(daemon)[-1]

    gateway.ip("-4", "address", "flush", "dev", "server4")
    eventually(lambda: conditions(daemon) == {"pool4_without_address"}, daemon)
    assert seen_as(network) == ""
    gateway.ip("address", "add", f"{first}/24", "dev", "server4")
    eventually(lambda: seen_as(network) == first, daemon)
    eventually(lambda: conditions(daemon) == set(), daemon)


def test_what_leads_the_ports_is_set_up_again(network: dict[str, Namespace], daemon: Daemon) -> None:
    gateway = network["gateway"]
    talking = talker(network)
    mapped = seen_from(talking)
    gateway.run("nft", "flush", "ruleset")
    (rule,) = [row for row in json.loads(gateway.ip("-j", "rule")) if "fwmark" in row]
    gateway.ip("rule", "del", "pref", "0", "fwmark", rule["fwmark"])
    eventually(lambda: "were not led to nat64" in daemon.said(), daemon)
    eventually(lambda: seen_from(talking) == mapped, daemon)


def test_a_port_that_a_program_receives_at_is_a_condition(network: dict[str, Namespace], daemon: Daemon) -> None:
    program = serve(network["gateway"], "udp_echo", GATEWAY4, "62000")
    network["gateway"].sysctl("net.ipv4.conf.lo.forwarding", 0)  # a change of any kind: it looks again
    eventually(lambda: conditions(daemon) == {"shared_ports_in_use"}, daemon)
    program.kill()
    program.wait()
    network["gateway"].sysctl("net.ipv4.conf.lo.forwarding", 1)
    eventually(lambda: conditions(daemon) == set(), daemon)


def test_the_first_pool_and_the_last_one(network: dict[str, Namespace], memory: Path) -> None:
    """A gateway without sessions gets them, keeps them over a kill, and has none afterwards."""
    before = traces(network["gateway"])
    directory = memory / "first"
    directory.mkdir()
    daemon = Daemon(network["gateway"], directory, CONFIG.partition("[[pool4]]")[0], keep=True).start()
    assert seen_as(network) == ""
    assert daemon.ask("set", "pool4", "interface:server4").returncode == 0, daemon.said()
    assert seen_as(network) == GATEWAY4
    talking = talker(network)
    mapped = seen_from(talking)
    daemon.stop(signal.SIGTERM if WITH_FASTPATH else signal.SIGKILL)  # docs/fastpath.md: with it a kill leaves none
    daemon.start()
    assert seen_from(talking) == mapped
    assert daemon.rows("sessions", "--port", str(mapped[1]))
    done = daemon.ask("unset", "pool4", "interface:server4")
    assert done.returncode == 0, done.stderr
    assert "that the configuration has no mapping for" in done.stdout
    assert seen_as(network) == ""
    assert daemon.stop() == 0
    assert traces(network["gateway"]) == before


def test_ports_that_the_kernel_gives_away_are_refused(network: dict[str, Namespace], tmp_path: Path) -> None:
    gateway = network["gateway"]
    config = CONFIG + 'ports = "50000-65535"\n'
    daemon = Daemon(gateway, tmp_path, config)
    refused = gateway.run(sys.executable, "-m", "nat64d", "check", "-c", daemon.command()[-1], check=False)
    assert refused.returncode == 1
    assert "Run 'sysctl -w net.ipv4.ip_local_reserved_ports=50000-60999'" in refused.stderr
    gateway.run("sysctl", "-qw", "net.ipv4.ip_local_reserved_ports=50000-60999")
    done = gateway.run(sys.executable, "-m", "nat64d", "check", "-c", daemon.command()[-1], check=False)
    gateway.run("sysctl", "-qw", "net.ipv4.ip_local_reserved_ports=")
    assert done.returncode == 0, done.stderr
