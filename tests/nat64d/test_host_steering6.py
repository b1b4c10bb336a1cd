"""[services] ipv6_front = "dnat": what endpoints send is led to us, and what IPv6 clients take is routed."""

import errno
from ipaddress import IPv6Address, IPv6Network

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.config.load import loads
from nat64d.host import steering, steering6
from nat64d.host.errors import HostError
from nat64d.host.steering6 import End
from nat64d.host.wanted import networks
from tests.nat64d.hosts import fixtures, gateway, journal, killed_gateway
from tests.nat64d.netns import ip, run, snapshot

namespace, server, text, config = fixtures()
SERVICE = """
[services]
ipv6_front = "dnat"
[[service]]
name = "web"
protocol = ["tcp", "udp"]
ipv6 = "[2001:db8:ff::1]:80"
endpoints = ["[2001:db8:1::11]:8080", "[2001:db8:1::12]:8080"]
"""
FULLNAT = SERVICE.replace('"dnat"', '"fullnat"\nsource6 = "fd00:64::/64"')
ENDS = tuple(End(IPv6Address(f"2001:db8:1::1{n}"), protocol, 8080) for n in (1, 2) for protocol in ("tcp", "udp"))
TABLE = ("list", "table", "ip6", "nat64d_nat64_services")


def test_which_ports_are_led_and_what_is_routed(text):
    config = loads(text + SERVICE)
    assert steering6.ends_of(config) == ENDS
    assert steering.led(config) == ENDS
    assert IPv6Network("2001:db8:ff::1") in networks(config)
    config = loads(text + FULLNAT)
    assert steering.led(config) == ()
    assert {IPv6Network("2001:db8:ff::1"), IPv6Network("fd00:64::/64")} <= {*networks(config)}
    assert steering.led(loads(text)) == ()
    without = config.model_copy(update={"host": config.host.model_copy(update={"routes": False})})
    assert steering.led(without) == ()
    only4 = SERVICE.replace("ipv6 =", "ipv4 =").replace("[2001:db8:ff::1]", "203.0.113.1")
    assert steering.led(loads(text + only4)) == ()


def test_they_are_led_to_the_device_and_all_of_it_is_taken_back(server, text):
    before = snapshot()
    with gateway(loads(text + SERVICE)) as (_, host, lines):
        assert "Ports led to nat64: " + ", ".join(map(str, ENDS)) in lines
        assert host.standing_shares() == ENDS
        first, second, *_ = ip("-6", "rule").splitlines()
        assert first.startswith("0:\tfrom all fwmark 0x6464")
        assert second == "0:\tfrom all lookup local"
        listing = run("nft", *TABLE)
        assert "type ipv6_addr . inet_proto . inet_service" in listing
        assert listing.count('iifname "nat64" return') == 2
        assert listing.count("ip6 saddr . meta l4proto . th sport @endpoints meta mark set 0x6464") == 2
        assert listing.count("udp socket wildcard 0 return") == 1
        assert listing.count("icmpv6 type 1-4 @th,256,128 . @th,112,8 . @th,400,16 @endpoints") == 2
        for end in ENDS:
            assert f"{end.address} . {end.protocol} . {end.port}" in listing
    assert snapshot() == before


def test_another_configuration_leads_others(server, text):
    with gateway(loads(text + SERVICE)) as (_, host, _lines):
        for changed, protocols in (("::13", 2), ("::11", 2), ("::12", 2)):
            before = host.wanted
            host.extend(loads(text + SERVICE.replace("::12", changed)) if changed != "::11" else loads(text + SERVICE))
            host.retract(before)
            assert run("nft", *TABLE).count("2001:db8:1::11 . ") == protocols
            assert run("nft", *TABLE).count("2001:db8:1::13 . ") == (2 if changed == "::13" else 0)
        before = host.wanted
        host.extend(loads(text))
        host.retract(before)
        assert host.standing_shares() == ()
        assert "services" not in run("nft", "list", "tables")
        assert "fwmark" not in ip("-6", "rule")


def test_it_outlives_the_flush_of_a_firewall_and_the_end_of_a_process(server, text):
    config = loads(text + SERVICE)
    with gateway(config) as (_, host, _lines):
        run("nft", "flush", "ruleset")
        if not host.standing_shares():  # before Linux 6.9
            host.restore([])
        host.leave()
        assert "nat64d_nat64_services" in run("nft", "list", "tables")
        assert host.setup(adopted=True)
        assert host.standing_shares() == ENDS
        assert run("nft", *TABLE).count("2001:db8:1::11 . ") == 2
    assert run("nft", "list", "ruleset") == ""


def test_what_a_killed_process_left_is_replaced(server, text, tmp_path):
    before = snapshot()
    file = tmp_path / "nat64d.toml"
    file.write_text(text + SERVICE)
    killed_gateway(file)
    assert journal(loads(text)).exists()
    with gateway(loads(text + SERVICE)) as (_, host, _lines):
        assert host.standing_shares() == ENDS
    assert snapshot() == before


def test_a_kernel_that_cannot_look_up_sockets_is_told_of(server, text, monkeypatch):
    """It answers a rule with an expression that it does not have with ENOENT."""
    before = snapshot()
    replace_rules = steering6.nft.replace_rules

    def answer(table, name, chain, rules):
        if any(("NFTA_EXPR_NAME", "socket") in expression["attrs"] for rule in rules for expression in rule):
            raise NetlinkError(errno.ENOENT)
        replace_rules(table, name, chain, rules)

    monkeypatch.setattr(steering6.nft, "replace_rules", answer)
    with pytest.raises(HostError) as refused, gateway(loads(text + SERVICE)):
        pass
    assert str(refused.value) == (
        "Cannot lead ports (No such file or directory): the kernel needs CONFIG_NF_TABLES, CONFIG_NFT_CT and "
        'CONFIG_NFT_SOCKET, with IPv6; without them set [services] ipv6_front = "fullnat".'
    )
    assert snapshot() == before
