"""Masquerade: one nftables table of ours, for the interface that packets leave by."""

import pytest

from nat64d.config.load import loads
from nat64d.host import nft
from nat64d.host.checks import check_host
from tests.nat64d.hosts import SERVER, fixtures, gateway, rules
from tests.nat64d.netns import ip, run

namespace, server, text, config = fixtures()


def test_masquerade_is_a_table_of_our_own(server, config):
    with gateway(config) as (_, host, lines):
        assert rules() == [
            'oifname "eth0" ip saddr 169.254.64.0-169.254.64.15 masquerade',
            'oifname "eth0" ip saddr 169.254.64.254 masquerade',
        ]
        assert "table ip nat64d_nat64" in run("nft", "list", "tables")
        assert "type nat hook postrouting priority srcnat; policy accept;" in run("nft", "list", "ruleset")
        assert host.masquerade == ["eth0"]
        assert "Masquerade: 169.254.64.0/28, 169.254.64.254/32 behind the address of eth0" in lines
    assert host.masquerade == []
    assert run("nft", "list", "ruleset") == ""


def test_masquerade_outlives_the_flush_of_a_firewall(server, config):
    with gateway(config):
        run("nft", "flush", "ruleset")
        assert len(rules()) == 2


def test_masquerade_on_a_kernel_whose_tables_have_no_owner(server, config, monkeypatch):
    monkeypatch.setattr(nft, "NFT_TABLE_F_OWNER", 1 << 30)  # a flag this kernel does not know either
    with gateway(config):
        assert len(rules()) == 2
        run("nft", "flush", "ruleset")
    with gateway(config):
        assert len(rules()) == 2
    assert run("nft", "list", "ruleset") == ""


def test_a_table_left_behind_is_replaced(server, config):
    run("nft", "add table ip nat64d_nat64; add chain ip nat64d_nat64 old; add rule ip nat64d_nat64 old drop")
    with gateway(config):
        assert len(rules()) == 2
        assert "drop" not in run("nft", "list", "ruleset")
    assert run("nft", "list", "ruleset") == ""


def test_other_tables_are_left_alone(server, config):
    run("nft", "add table ip nat64d; add chain ip nat64d c { type nat hook postrouting priority 0; }")
    before = run("nft", "list", "ruleset")
    with gateway(config):
        pass
    assert run("nft", "list", "ruleset") == before


def test_without_a_default_route_there_is_no_masquerade(server, config):
    ip("route", "del", "default")
    (warning,) = check_host(config, "x.toml").warnings
    assert warning.complaint.startswith("expected an IPv4 default route; without one nothing is masqueraded.")
    with gateway(config) as (_, host, _lines):
        assert host.masquerade == []
        assert rules() == []


def test_a_named_interface_is_taken_even_before_it_exists(namespace, text):
    with gateway(loads(text.replace('masquerade = "auto"', 'masquerade = "wan0"'))) as (_, host, _lines):
        assert [rule.split()[1] for rule in rules()] == ['"wan0"', '"wan0"']
        assert host.masquerade == ["wan0"]


@pytest.mark.parametrize(
    ("routes", "interfaces"),
    [
        ([("default", "via", SERVER, "metric", "100"), ("default", "via", "198.51.100.1", "metric", "50")], ["eth1"]),
        ([("default", "via", SERVER), ("default", "via", "198.51.100.1", "metric", "50")], ["eth0"]),
        ([("unreachable", "default", "metric", "10"), ("default", "dev", "eth1", "metric", "20")], ["eth1"]),
        ([("default", "nexthop", "via", SERVER, "nexthop", "via", "198.51.100.1")], ["eth0", "eth1"]),
        ([("default", "via", SERVER, "table", "7")], []),
    ],
    ids=["lowest_metric", "no_metric_is_lowest", "unreachable_does_not_count", "two_next_hops", "another_table"],
)
def test_auto_is_the_interface_of_the_best_default_route(server, config, routes, interfaces):
    ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
    ip("address", "add", "198.51.100.2/24", "dev", "eth1")
    ip("link", "set", "eth1", "up")
    ip("link", "set", "far1", "up")
    ip("route", "del", "default")
    for route in routes:
        ip("route", "add", *route)
    with gateway(config) as (_, host, _lines):
        assert host.masquerade == interfaces
