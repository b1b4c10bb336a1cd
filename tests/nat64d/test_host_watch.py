"""The watch on a host in a namespace: what somebody changed is set up again, or is a condition until it is undone."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.host.board import Board
from nat64d.host.host import Host
from nat64d.host.watch import Watch
from tests.nat64d.hosts import LOG, SERVER, addresses, existing_device, fixtures, gateway, rules
from tests.nat64d.netns import ip, run, snapshot
from tests.nat64d.netns import sysctl as parameter

namespace, server, text, config = fixtures()


@contextmanager
def watched(config: Config) -> Iterator[tuple[Host, Callable[[], list[str]]]]:
    """A host that is set up, and a function that looks at it and names the conditions that stand."""
    with gateway(config) as (_, host, _lines):
        board = Board(LOG)
        watch = Watch(host, board, LOG)

        def look() -> list[str]:
            watch.check(time.monotonic())
            return [row["condition"] for row in board.standing(time.monotonic())]

        assert look() == []
        yield host, look


def seen() -> dict[str, str]:
    """What the gateway set up, as the programs of the system show it, without numbers that grow."""
    return {
        "link": run("ip", "link", "show", "nat64"),
        "addresses": " ".join(sorted(addresses("nat64"))),
        "routes": ip("route", "show", "table", "main"),
        "routes6": ip("-6", "route", "show", "table", "main"),
        "masquerade": "\n".join(rules()),
        "forwarding": parameter("net/ipv4/ip_forward") + parameter("net/ipv6/conf/all/forwarding"),
        "filter": parameter("net/ipv4/conf/nat64/rp_filter"),
    }


TAKEN = {
    "routes": ("ip route flush dev nat64 proto 64", "ip -6 route flush dev nat64 proto 64"),
    "one_route": ("ip -6 route del 64:ff9b::/96 dev nat64",),
    "addresses": ("ip address flush dev nat64",),
    "down": ("ip link set nat64 down",),
    "down_and_up": ("ip link set nat64 down", "ip link set nat64 up"),
    "smaller_mtu": ("ip link set nat64 mtu 1300",),
    "larger_mtu": ("ip link set nat64 mtu 9000",),
    "mtu_without_ipv6": ("ip link set nat64 mtu 1000",),
    "ipv6_off": ("sysctl -qw net.ipv6.conf.nat64.disable_ipv6=1",),
    "forwarding4": ("sysctl -qw net.ipv4.ip_forward=0",),
    "forwarding6": ("sysctl -qw net.ipv6.conf.all.forwarding=0",),
    "forwarding_of_the_device": ("sysctl -qw net.ipv4.conf.nat64.forwarding=0",),
    "accept_local": ("sysctl -qw net.ipv4.conf.nat64.accept_local=0",),
}


@pytest.mark.parametrize("commands", TAKEN.values(), ids=TAKEN)
def test_what_is_taken_away_is_set_up_again(server, config, commands):
    at_first = snapshot()
    with watched(config) as (_, look):
        before = seen()
        for command in commands:
            run(*command.split())
        assert look() == []
        assert seen() == before
    assert snapshot() == at_first


def test_a_strict_filter_of_the_device_is_made_loose(server, config):
    with watched(config) as (_, look):
        parameter("net/ipv4/conf/all/rp_filter", 1)
        assert look() == []
        assert parameter("net/ipv4/conf/nat64/rp_filter") == "2"


def test_without_sysctls_the_filter_and_forwarding_are_conditions(server, text):
    parameter("net/ipv4/ip_forward", 1)
    parameter("net/ipv6/conf/all/forwarding", 1)
    with watched(loads(text.replace("[host]\n", "[host]\nsysctls = false\n"))) as (_, look):
        parameter("net/ipv4/conf/all/rp_filter", 1)
        parameter("net/ipv4/ip_forward", 0)
        assert look() == ["forwarding_off", "reverse_path"]
        run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.nat64.rp_filter=2")
        assert look() == []


def test_the_mtu_of_an_existing_device_is_the_operators(server, config):
    existing_device()
    with watched(config) as (_, look):
        ip("link", "set", "nat64", "mtu", "1350")
        assert look() == []
        assert "mtu 1350" in ip("link", "show", "nat64")


@contextmanager
def second_uplink(metric: int) -> Iterator[None]:
    ip("link", "add", "wan0", "type", "veth", "peer", "name", "far1")
    ip("address", "add", "203.0.113.2/24", "dev", "wan0")
    ip("link", "set", "wan0", "up")
    ip("link", "set", "far1", "up")
    ip("route", "add", "default", "via", "203.0.113.1", "metric", str(metric))
    yield
    ip("link", "del", "wan0")


def test_masquerade_follows_the_default_route(server, config):
    at_first = snapshot()
    with watched(config) as (host, look):
        with second_uplink(100):
            assert (look(), host.masquerade) == ([], ["eth0"])
            ip("route", "del", "default", "via", SERVER)
            assert (look(), host.masquerade) == ([], ["wan0"])
            assert [rule.split()[1] for rule in rules()] == ['"wan0"', '"wan0"']
        assert look() == ["masquerade_without_route", "masquerade_without_address"][:1]
        assert host.masquerade == ["wan0"]
        ip("route", "add", "default", "nexthop", "via", SERVER, "nexthop", "via", "192.0.2.3")
        assert (look(), host.masquerade) == ([], ["eth0"])
    assert {**snapshot(), "routes": ""} == {**at_first, "routes": ""}


def test_masquerade_waits_for_a_default_route(server, config):
    ip("route", "del", "default")
    at_first = snapshot()
    with gateway(config) as (_, host, _lines):
        board = Board(LOG)
        watch = Watch(host, board, LOG)
        watch.check(0.0)
        assert (board.blocking(), rules()) == (["masquerade_without_route"], [])
        ip("route", "add", "default", "via", SERVER)
        watch.check(1.0)
        assert (board.blocking(), len(rules())) == ([], 2)
    ip("route", "del", "default")
    assert snapshot() == at_first


def test_a_table_of_ours_that_is_gone_is_made_again(server, config, monkeypatch):
    monkeypatch.setattr("nat64d.host.nft.NFT_TABLE_F_OWNER", 1 << 30)  # a flag that this kernel does not know
    with watched(config) as (_, look):
        run("nft", "flush", "ruleset")
        assert (look(), len(rules())) == ([], 2)


OPERATORS = {  # what is done, which condition that is, and what ends it if not the command it names
    "firewall": (
        "nft add table inet f; nft add chain inet f out { type filter hook forward priority 0; policy drop; }",
        "firewall",
        "",
    ),
    "own_address": ("ip address add 169.254.64.1/32 dev eth0", "own_address", ""),
    "own_address6": (
        "ip address add 64:ff9b::1/128 dev eth0 nodad",
        "own_address",
        "ip address del 64:ff9b::1/128 dev eth0",
    ),
    "routed_elsewhere": ("ip -6 route add 64:ff9b::/96 via 2001:db8:1::2 metric 100", "routed_elsewhere", ""),
    "partly": ("ip -6 route add 64:ff9b::/97 via 2001:db8:1::2", "partly_routed_elsewhere", ""),
    "one_host": ("ip -6 route add unreachable 64:ff9b::203.0.113.7/128", "partly_routed_elsewhere", ""),
    "one_address": ("ip route add blackhole 169.254.64.5/32", "partly_routed_elsewhere", ""),
    "discarded": (
        "ip -6 route add blackhole 64:ff9b::/96 metric 100",
        "not_routed",
        "ip -6 route del blackhole 64:ff9b::/96 metric 100",
    ),
    "rule": (
        "ip -6 rule add to 64:ff9b::/96 blackhole",
        "not_routed",
        "ip -6 rule del to 64:ff9b::/96 blackhole",
    ),
    "no_default_route": (
        f"ip route del default via {SERVER}",
        "masquerade_without_route",
        f"ip route add default via {SERVER}",
    ),
}


@pytest.mark.parametrize(("done", "condition", "remedy"), OPERATORS.values(), ids=OPERATORS)
def test_what_is_the_operators_is_a_condition_until_the_command_was_run(server, config, done, condition, remedy):
    ip("address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
    with gateway(config) as (_, host, _lines):
        board = Board(LOG)
        watch = Watch(host, board, LOG)
        for command in done.split("; ", 1):
            run(*command.split())
        watch.check(10.0)
        (standing,) = board.standing(12.5)
        assert (standing["condition"], standing["seconds"]) == (condition, 2.5)
        for command in (remedy or standing["command"]).split(" && "):
            run(*command.split())
        watch.check(20.0)
        assert board.standing(20.0) == []
