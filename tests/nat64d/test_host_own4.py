"""[[pool4]] addresses = "interface:eth0": which addresses these are, and whose ports; and that they are led to us."""

import socket
from dataclasses import replace
from ipaddress import IPv4Address, ip_interface

import pytest

from nat64d.cli import app
from nat64d.config.load import loads
from nat64d.config.pool4 import Pool4
from nat64d.config.settings import pool_rows, settings_of, tables_of
from nat64d.config.sources import PoolName
from nat64d.gateway.pool_use import PoolUse
from nat64d.host import facts as looking
from nat64d.host import own4
from nat64d.host.checks import checks, shares_ports
from nat64d.host.facts import Facts, Link, read
from nat64d.host.own4 import Bound, Share, Sockets
from tests.nat64d.hosts import GATEWAY, fixtures, gateway, journal, killed_gateway
from tests.nat64d.netns import ip, run, snapshot, sysctl

namespace, server, text, config = fixtures()
SHARED = """
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "interface:eth0"
"""


def facts(*addresses: str, **more) -> Facts:
    return Facts((Link("lo"), Link("eth0", tuple(map(ip_interface, addresses)))), **more)


def settled(there: Facts, text: str = SHARED):
    config = loads(text)
    return config.with_pools(own4.own4(config.pool4, there))


def given(config) -> list[str]:
    return [pool.addresses for pool in config.pool4]


@pytest.mark.parametrize(
    ("addresses", "rows"),
    [
        (("198.51.100.1/24", "2001:db8::1/64"), ["/198.51.100.1"]),
        (("198.51.100.1/24", "203.0.113.1/32"), ["/198.51.100.1", "/203.0.113.1"]),
        (("169.254.7.7/16",), [""]),
        (("127.0.0.1/8", "203.0.113.1/32"), ["/203.0.113.1"]),
        ((), [""]),
    ],
    ids=["ipv4_alone", "each_of_several", "link_local_reaches_nobody", "loopback", "none"],
)
def test_the_addresses_that_an_interface_has(addresses, rows):
    config = settled(facts(*addresses))
    assert given(config) == [f"interface:eth0{row}" for row in rows]
    again = own4.own4(config.pool4, facts(*addresses))
    assert again == config.pool4, "what is known already is looked up again"
    assert own4.own4(config.pool4, facts("192.0.2.9/24"))[0].addresses == "interface:eth0/192.0.2.9"


def test_an_interface_that_is_not_there_gives_nothing_and_sessions_are_asked_all_the_same():
    config = settled(Facts())
    assert given(config) == ["interface:eth0"]
    assert pool_rows(config) == []
    settings = settings_of(config, bytes(16))
    assert settings.stateful
    assert PoolUse(config).pools(tables_of(config, settings)) == []


def test_its_ports_are_those_above_what_linux_gives_to_programs():
    (pool,) = loads(SHARED).pool4
    assert pool.port_range == (61001, 65535)
    assert pool.ports == PoolName(addresses="interface:eth0").ports
    assert PoolName(addresses="192.0.2.1").ports == Pool4(addresses="192.0.2.1").ports == "1024-65535"
    assert loads(SHARED + 'ports = "2000-2999"').pool4[0].port_range == (2000, 2999)


def test_the_translator_is_told_of_the_address_and_the_host_of_its_ports():
    config = settled(facts("198.51.100.1/24"), SHARED + 'protocols = ["tcp", "udp"]')
    settings = settings_of(config, bytes(16))
    assert [int(row["address"]) for row in settings.pool] == [int(IPv4Address("198.51.100.1"))]
    assert own4.shares(config) == (Share(IPv4Address("198.51.100.1"), 61001, 65535, ("tcp", "udp")),)
    assert own4.shares(loads(SHARED)) == ()
    assert own4.shares(config.model_copy(update={"host": config.host.model_copy(update={"routes": False})})) == ()


GIVEN_AWAY = "expected ports that this host gives to no program of its own; it does so with "
OWN = "198.51.100.1/24"


def unfit(text: str, there: Facts) -> list[str]:
    report = checks(settled(there, text), there, "x.toml")
    return [problem.complaint for problem in (*report.errors, *report.warnings)]


@pytest.mark.parametrize(
    ("ports", "sockets", "complaint"),
    [
        ("61001-65535", Sockets(), None),
        ("60999-61000", Sockets(), "Run 'sysctl -w net.ipv4.ip_local_reserved_ports=60999-60999', or take others"),
        ("60000-60009", Sockets(reserved=((60005, 60009), (60000, 60004))), None),
        ("60000-60009", Sockets(reserved=((1, 60004), (60006, 60009))), "=1-60004,60006-60009,60000-60009'"),
        ("61001-65535", Sockets(1024, 65535), "it does so with 1024-65535 (ip_local_port_range)"),
        ("61001-65535", Sockets(bound=frozenset({Bound("udp", None, 62000)})), "one does at 62000 (udp), and"),
        (
            "61001-65535",
            Sockets(bound=frozenset({Bound("tcp", IPv4Address("198.51.100.1"), 62000), Bound("udp", None, 63000)})),
            "one does at 62000 (tcp), and at 1 more, and gets nothing",
        ),
        ("61001-65535", Sockets(bound=frozenset({Bound("tcp", IPv4Address("127.0.0.1"), 62000)})), None),
        ("61001-65535", Sockets(bound=frozenset({Bound("udp", None, 61000)})), None),
    ],
    ids=["clear", "at_the_edge", "reserved", "partly_reserved", "all_ports", "bound", "two", "loopback", "below"],
)
def test_ports_that_this_host_uses_itself(ports, sockets, complaint):
    found = unfit(f'{SHARED}ports = "{ports}"', facts(OWN, sockets=sockets))
    assert [complaint in one for one in found] == ([True] if complaint else [])


def test_an_interface_without_an_address():
    (complaint,) = unfit(SHARED, facts())
    assert complaint.startswith(
        "expected an IPv4 address on eth0; without one nothing is translated: run 'ip address add"
    )
    assert "there is no such interface" in unfit(SHARED.replace("eth0", "eth9"), facts())[0]


def test_what_the_kernel_says_about_sockets(namespace):
    sysctl("net/ipv4/ip_local_port_range", "40000 50000")
    sysctl("net/ipv4/ip_local_reserved_ports", "80,41000-41009")
    with (
        socket.socket() as tcp,
        socket.socket(socket.AF_INET6) as mapped,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as everywhere,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other,
        socket.socket(type=socket.SOCK_DGRAM) as connected,
        socket.socket() as silent,
    ):
        tcp.bind(("127.0.0.1", 62001))
        tcp.listen()
        mapped.bind(("::ffff:127.0.0.1", 62002))
        mapped.listen()
        everywhere.bind(("::", 62003))
        other.bind(("::1", 62004))
        connected.bind(("127.0.0.1", 62005))
        connected.connect(("127.0.0.1", 62003))
        silent.bind(("127.0.0.1", 62006))
        loopback = IPv4Address("127.0.0.1")
        assert own4.read_sockets() == Sockets(
            40000,
            50000,
            ((80, 80), (41000, 41009)),
            frozenset({Bound("tcp", loopback, 62001), Bound("tcp", loopback, 62002), Bound("udp", None, 62003)}),
        )


def shared(text: str):
    """The default, with the address of eth0 in place of its pool."""
    config = loads(
        text.replace("169.254.64.0/28", "interface:eth0").replace('masquerade = "auto"', 'masquerade = "off"')
    )
    return config.with_pools(own4.own4(config.pool4, read()))


def test_ports_are_led_to_the_device_and_all_of_it_is_taken_back(server, text):
    before = snapshot()
    with gateway(shared(text)) as (_, host, lines):
        assert f"Ports led to nat64: {GATEWAY}:61001-65535" in lines
        assert host.standing_shares() == own4.shares(host.config)
        first, second, *_ = ip("rule").splitlines()
        assert first.startswith("0:\tfrom all fwmark 0x6464")
        assert second == "0:\tfrom all lookup local"
        listing = run("nft", "list", "table", "ip", "nat64d_nat64_ports")
        assert f"ip daddr {GATEWAY} udp dport 61001-65535" in listing
        assert f"ip daddr {GATEWAY} icmp type echo-reply icmp id 61001-65535" in listing
        assert "type filter hook prerouting priority mangle" in listing
    assert snapshot() == before


def test_a_rule_of_the_local_table_that_somebody_made_is_put_behind_ours(server, text):
    ip("rule", "add", "pref", "0", "lookup", "local", "protocol", "static")
    ip("rule", "del", "pref", "0", "lookup", "local", "protocol", "kernel")
    with gateway(shared(text)) as (_, host, _lines):
        assert host.standing_shares()
    assert ip("-d", "rule").splitlines()[0] == "0:\tfrom all lookup local proto static"


def test_it_outlives_the_flush_of_a_firewall_and_the_end_of_a_process(server, text):
    config = shared(text)
    with gateway(config) as (_, host, _lines):
        run("nft", "flush", "ruleset")
        if not host.standing_shares():  # before Linux 6.9
            host.restore([])
        host.leave()
        assert "nat64d_nat64_ports" in run("nft", "list", "tables")
        assert host.setup(adopted=True)
        assert host.standing_shares() == own4.shares(config)
    assert run("nft", "list", "ruleset") == ""


def test_what_a_killed_process_left_is_replaced(server, text, tmp_path):
    before = snapshot()
    file = tmp_path / "nat64d.toml"
    file.write_text(text)
    killed_gateway(file)
    assert journal(loads(text)).exists()
    with gateway(shared(text)) as (_, host, _lines):
        assert host.standing_shares()
    assert snapshot() == before


def test_another_configuration_leads_other_ports(server, text):
    config = shared(text)
    with gateway(config) as (_, host, _lines):
        before = host.wanted
        (pool,) = config.pool4
        other = config.with_pools((pool.model_copy(update={"ports": "62000-62999"}),))
        host.extend(other)
        host.retract(before)
        assert "62000-62999" in run("nft", "list", "table", "ip", "nat64d_nat64_ports")
        assert "61001" not in run("nft", "list", "table", "ip", "nat64d_nat64_ports")
        before = host.wanted
        host.extend(other.with_pools((pool.at(None),)))
        host.retract(before)
        assert host.standing_shares() == ()
        assert run("nft", "list", "ruleset") == ""
        assert "fwmark" not in ip("rule")


def test_only_who_shares_looks_at_sockets():
    assert shares_ports(loads(SHARED))
    assert not shares_ports(loads(SHARED.replace("interface:eth0", "192.0.2.1")))
    assert read().sockets == Sockets()
    assert replace(read(sockets=True).sockets, bound=frozenset()).first > 0


def test_the_host_is_looked_at_only_for_pools_that_share_its_addresses(text):
    def unseen() -> Facts:
        pytest.fail("there is nothing to look for")

    config = loads(text)
    assert own4.with_own4(config, unseen) is config
    sharing = loads(text.replace("169.254.64.0/28", "interface:eth0").replace('"auto"', '"off"'))
    links = (Link("eth0", (ip_interface("198.51.100.9/24"),)),)
    (pool,) = own4.with_own4(sharing, lambda: Facts(links=links)).pool4
    assert (pool.range.first, pool.known) == (int(IPv4Address("198.51.100.9")), True)


def test_explain_knows_the_address_without_a_daemon(monkeypatch):
    config = loads(SHARED)
    monkeypatch.setattr(looking, "read", lambda: facts("198.51.100.9/24"))
    assert given(app._of_this_host(config)) == ["interface:eth0/198.51.100.9"]

    def unseen():
        raise PermissionError

    monkeypatch.setattr(looking, "read", unseen)
    assert app._of_this_host(config) is config
    alone = loads('pool6 = "64:ff9b::/96"\n')
    assert app._of_this_host(alone) is alone
