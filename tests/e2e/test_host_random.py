"""A minute of random changes of the host under traffic: whenever they stop, packets pass again, or a condition says why
not; and once the operator has undone what is the operator's, they pass.

The network is that of test_host_watch.py. `-m slow`; the seed is printed, and NAT64D_SEED repeats a run.
"""

import os
import random
import time
from collections.abc import Iterator

import pytest

from nat64d.cli.lab import Namespace
from tests.e2e import test_host_watch
from tests.e2e.test_host_watch import CONFIG, GATEWAY_A, PATIENCE, POOL6, ROUTER_A, ROUTER_B, SERVER4, seen_as, status
from tests.e2e.topology import Daemon, traces

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

network = test_host_watch.network

SECONDS = 60.0  # of changes
BURST, PAUSE = 8, 0.3  # at most so many changes one after the other, and seconds between two of them
LONGEST = 6.0  # seconds, on a busy machine, until packets pass or a condition says why not; 3 where nobody else works
DROPS = "add table inet f; add chain inet f out { type filter hook forward priority 0; policy drop; }"

OURS = (  # what nat64d sets up again
    "ip route flush dev nat64 proto 64",
    "ip -6 route flush dev nat64 proto 64",
    f"ip -6 route del {POOL6}/96 dev nat64",
    "ip address flush dev nat64",
    "ip link set nat64 down",
    "ip link set nat64 up",
    "ip link set nat64 mtu 1400",
    "ip link set nat64 mtu 1000",
    "sysctl -qw net.ipv4.ip_forward=0",
    "sysctl -qw net.ipv6.conf.all.forwarding=0",
    "sysctl -qw net.ipv4.conf.nat64.forwarding=0",
    "sysctl -qw net.ipv4.conf.all.rp_filter=1",
    "sysctl -qw net.ipv6.conf.nat64.disable_ipv6=1",
    "nft flush ruleset",
)
THEIRS = (  # what is the operator's
    f"nft {DROPS}",
    f"ip route replace default via {ROUTER_A}",
    f"ip route replace default via {ROUTER_B}",
    "ip route del default",
    "ip link set wan_a down",
    "ip link set wan_a up",
    f"ip -6 route add {POOL6}/97 via 2001:db8:1::10",
    f"ip -6 route add blackhole {POOL6}/95",
    f"ip -6 route add unreachable {POOL6}{SERVER4}/128",
    "ip route add 169.254.64.0/30 via 192.0.2.2",
    "ip address add 169.254.64.1/32 dev lo",
    "ip -6 rule add pref 10 to 2001:db8:64::/96 unreachable",
    "ip rule add pref 10 to 169.254.64.0/29 prohibit",
)
UNDONE = (
    "nft delete table inet f",
    "ip link set wan_a up",
    f"ip route replace default via {ROUTER_A}",
    f"ip -6 route del {POOL6}/97 via 2001:db8:1::10",
    f"ip -6 route del blackhole {POOL6}/95",
    f"ip -6 route del unreachable {POOL6}{SERVER4}/128",
    "ip route del 169.254.64.0/30 via 192.0.2.2",
    "ip address del 169.254.64.1/32 dev lo",
    "ip -6 rule del pref 10",
    "ip rule del pref 10",
    "sysctl -qw net.ipv4.conf.all.rp_filter=0",
)


@pytest.fixture(scope="module")
def daemon(network: dict[str, Namespace], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon whose host is changed; after its end nothing of it is left, but for the order of routes."""
    before = lines(network["gateway"])
    daemon = Daemon(network["gateway"], tmp_path_factory.mktemp("daemon"), CONFIG).start()
    yield daemon
    assert daemon.stop() == 0, daemon.said()
    assert lines(network["gateway"]) == before


def lines(gateway: Namespace) -> dict[str, list[str]]:
    return {name: sorted(text.splitlines()) for name, text in traces(gateway).items()}


def change(gateway: Namespace, command: str) -> None:
    """Run it; that it fails, because there is nothing to remove, is no matter."""
    program, _, arguments = command.partition(" ")
    gateway.run(program, *([arguments] if program == "nft" else arguments.split()), check=False)


def why_not(daemon: Daemon) -> list[str]:
    """The conditions that stand, those that let packets pass too: a part of a prefix may be the part that is used."""
    return [row["condition"] for row in status(daemon)["conditions"]]


def test_packets_pass_again_or_a_condition_says_why_not(network: dict[str, Namespace], daemon: Daemon) -> None:
    seed = int(os.environ.get("NAT64D_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"NAT64D_SEED={seed}")
    chance, gateway, waits = random.Random(seed), network["gateway"], []
    traffic = network["client6"].popen(
        "sh", "-c", f"while :; do curl -s --max-time 1 http://[{POOL6}{SERVER4}]/whoami; sleep 0.05; done >/dev/null"
    )
    began, done = time.monotonic(), []
    try:
        while time.monotonic() < began + SECONDS:
            for _ in range(chance.randint(1, BURST)):
                done.append(chance.choice(OURS if chance.random() < 0.6 else THEIRS))
                change(gateway, done[-1])
                time.sleep(chance.random() * PAUSE)
            waits.append(settled(network, daemon, done))
            if chance.random() < 0.5:
                undo(gateway)
                done.append("undone")
        undo(gateway)
        deadline = time.monotonic() + PATIENCE
        while seen_as(network) != GATEWAY_A or status(daemon)["state"] != "ready":
            assert time.monotonic() < deadline, f"{done}\n{daemon.said()}\n{status(daemon)}"
    finally:
        traffic.kill()
        undo(gateway)
    assert max(waits) < LONGEST, f"{done}\n{waits}"
    print(f"{len(done)} changes, {len(waits)} pauses; the longest wait was {max(waits):.1f} s")


def settled(network: dict[str, Namespace], daemon: Daemon, done: list[str]) -> float:
    """Wait until packets pass or a condition stands; returns the seconds that took."""
    began = time.monotonic()
    while True:
        if seen_as(network) or why_not(daemon):
            return time.monotonic() - began
        assert time.monotonic() < began + PATIENCE, f"{done}\n{daemon.said()}\n{status(daemon)}"


def undo(gateway: Namespace) -> None:
    for command in UNDONE:
        change(gateway, command)
