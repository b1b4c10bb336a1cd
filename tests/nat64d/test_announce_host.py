"""[services] announce = "neighbours": on which links addresses are answered for, how the host has them, and how they
are withdrawn."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from nat64d.config.load import loads
from nat64d.host import vips
from nat64d.host.board import Board
from nat64d.host.changes import answers
from nat64d.host.errors import HostError
from nat64d.host.facts import Facts, Link
from nat64d.host.host import Host
from nat64d.host.standing import Standing
from nat64d.host.vips import Vip, off_link, on_links
from nat64d.host.wanted import Wanted, networks, served
from nat64d.host.watch import Watch
from tests.nat64d import hosts
from tests.nat64d.announcing import OURS, OURS6, VIP4, VIP6, a_config, text_of
from tests.nat64d.hosts import LOG, fixtures, gateway, journal, killed_gateway
from tests.nat64d.netns import ip, snapshot
from tests.nat64d.netns import sysctl as parameter

namespace, server, _text, _config = fixtures()

config = pytest.fixture(a_config)
CLIENTS = "2001:db8:c::/96"


# ---- where

LINKS = (
    Link("lo", (ip_interface("127.0.0.1/8"),), resolves=False),
    Link("eth0", (ip_interface("192.0.2.2/24"), ip_interface("192.0.2.80/32"))),
    Link("eth1", (ip_interface("192.0.2.3/25"), ip_interface("2001:db8:1::1/64"))),
    Link("nat64", (ip_interface("192.0.2.9/24"),)),
)


def test_an_address_belongs_to_each_link_in_whose_subnet_it_is(config):
    facts = Facts(links=LINKS)
    assert on_links(config, facts) == {
        OURS: ip_address("192.0.2.2"),
        Vip("eth1", ip_address(VIP4)): ip_address("192.0.2.3"),
    }
    assert [*off_link(config, facts)] == []
    routed = config.model_copy(update={"services": config.services.model_copy(update={"announce": "routes"})})
    assert on_links(routed, facts) == {}
    assert [*off_link(routed, Facts())] == []


def test_so_does_an_ipv6_address(config, monkeypatch):
    monkeypatch.setattr(vips, "addresses", lambda _: [ip_address(VIP6)])
    assert on_links(config, Facts(links=LINKS)) == {Vip("eth1", ip_address(VIP6)): ip_address("2001:db8:1::1")}
    assert vips.parameters(OURS6)[0] == ("net/ipv6/conf/eth0/proxy_ndp", "1")
    assert served(config) == [ip_network(f"{VIP4}/32")]  # `wanted` has a name of its own for it


def test_that_no_address_is_in_a_subnet_is_told(server, tmp_path):
    config = loads(text_of(tmp_path, "203.0.113.80", "203.0.113.81"))
    with gateway(config) as (_, host, _lines):
        board = Board(LOG)
        watch = Watch(host, board, LOG)
        watch.check(1.0)
        (row,) = board.standing(1.0)
        assert row["condition"] == "vip_off_link"
        assert "(203.0.113.80 and others)" in row["sentence"]
        ip(*row["command"].replace("ADDRESS/LENGTH", "203.0.113.1/24").replace("INTERFACE", "eth0").split()[1:])
        watch.check(2.0)
        assert board.standing(2.0) == []


def test_addresses_of_services_have_routes_of_their_own(tmp_path):
    more = '[[pool4]]\naddresses = "192.0.2.81-192.0.2.82"\nports = "1024-65535"\n'
    config = loads(text_of(tmp_path, VIP4, "192.0.2.81", "192.0.2.83", "192.0.2.84", more=more))
    ours = [ip_network(f"192.0.2.{number}/32") for number in (80, 83, 84)]
    assert served(config) == ours
    pool = [ip_network("192.0.2.81/32"), ip_network("192.0.2.82/32")]
    assert networks(config) == [ip_network("64:ff9b::/96"), *pool, *ours]
    off = loads(text_of(tmp_path, VIP4, more="[host]\nroutes = false\n"))
    assert (networks(off), served(off)) == ([], [])


def test_answers_that_are_gone_are_set_again_on_links_that_are_there():
    wanted = Wanted("nat64", {}, sysctls=False, answered=frozenset({OURS, Vip("eth7", ip_address(VIP4))}))
    standing = Standing(facts=Facts(links=LINKS), device=object())  # type: ignore[arg-type]
    found = differences_of_answers(wanted, standing)
    assert found == [OURS]
    there = replace(standing, facts=replace(standing.facts, proxied=frozenset({tuple(OURS)})))
    assert differences_of_answers(wanted, there) == []


def differences_of_answers(wanted: Wanted, standing: Standing) -> list[object]:
    return [one.subject for one in answers(wanted, standing)]


# ---- on the host


def test_answers_are_in_the_journal_and_undone(server, config):
    before = snapshot()
    with gateway(config) as (_, host, _lines):
        parameter("net/ipv4/neigh/eth0/proxy_delay", 80)
        host.answer({OURS, OURS6})
        assert {VIP4, VIP6} == {line.split()[0] for line in ip("neighbour", "show", "proxy").splitlines()}
        assert parameter("net/ipv4/neigh/eth0/proxy_delay") == "0"
        assert parameter("net/ipv6/conf/eth0/proxy_ndp") == "1"
        assert "vip" in journal(config).read_text()
        host.answer({OURS})
        assert VIP6 not in ip("neighbour", "show", "proxy")
        assert host.wanted.answered == {OURS}
        with pytest.raises(HostError):
            host.answer({OURS, Vip("eth9", ip_address(VIP4))})
    assert snapshot() == before


def test_the_watch_sets_answers_again(server, config, caplog):
    with gateway(config) as (_, host, _lines):
        host.answer({OURS})
        ip("neighbour", "del", "proxy", VIP4, "dev", "eth0")
        watch = Watch(host, Board(LOG), LOG)
        watch.check(1.0)
        assert VIP4 in ip("neighbour", "show", "proxy")
        watch.check(2.0)
    assert [record.message for record in caplog.records] == [f"Set up again: nobody answered for {VIP4} on eth0"]


def test_an_answer_of_somebody_else_stays(server, config):
    ip("neighbour", "add", "proxy", VIP4, "dev", "eth0")
    with gateway(config) as (_, host, _lines):
        host.answer({OURS})
        host.answer(())
    assert VIP4 in ip("neighbour", "show", "proxy")


def test_without_sysctls_parameters_stay(server, tmp_path):
    config = loads(text_of(tmp_path, VIP4, more="[host]\nsysctls = false\n"))
    with gateway(config) as (_, host, _lines):
        host.answer({OURS})
        assert parameter("net/ipv4/neigh/eth0/proxy_delay") == "80"


def test_a_withdrawal_takes_routes_and_answers_back_and_packets_still_arrive(server, tmp_path):
    text = text_of(tmp_path, VIP4).replace("[services]", f'[services]\nclient_prefix = "{CLIENTS}"')
    config, before = loads(text), snapshot()
    with gateway(config) as (_, host, _lines):
        host.answer({OURS})
        assert f"{VIP4} dev nat64 proto 64" in ip("route", "show")
        host.withdraw()
        assert VIP4 not in ip("route", "show")
        assert ip("neighbour", "show", "proxy") == ""
        assert CLIENTS not in ip("-6", "route", "show")
        for one in (VIP4, CLIENTS.removesuffix("/96")):
            assert "dev nat64" in ip("route", "get", one)
        assert "64:ff9b::/96" in ip("-6", "route", "show")
        assert "aside" in journal(config).read_text()
    assert snapshot() == before


# Goes on in HOLDER: half-way through a withdrawal.
WITHDRAWING = f"""
from ipaddress import ip_address
from nat64d.host.vips import Vip
host = Host(config, tun.name, logging.getLogger())
host.setup()
host.withdraw()
host.answer([Vip("eth0", ip_address("{VIP4}"))])
"""


def test_what_a_gateway_left_that_was_killed_while_it_withdrew_is_undone(server, config, tmp_path, monkeypatch):
    before = snapshot()
    file = tmp_path / "nat64d.toml"
    file.write_text(text_of(tmp_path, VIP4))
    setup = "Host(config, tun.name, logging.getLogger()).setup()\n"
    assert setup in hosts.HOLDER
    monkeypatch.setattr(hosts, "HOLDER", hosts.HOLDER.replace(setup, WITHDRAWING))
    killed_gateway(file)
    assert "32765:" in ip("rule", "show")
    assert VIP4 in ip("neighbour", "show", "proxy")
    with gateway(config):
        assert "32765:" not in ip("rule", "show")
        assert ip("neighbour", "show", "proxy") == ""
    assert snapshot() == before


def test_a_process_that_goes_on_with_the_device_has_the_answers(server, config):
    with gateway(config) as (tun, host, _lines):
        host.answer({OURS})
        host.leave()
        other = Host(config, tun.name, LOG)
        other.setup(adopted=True)
        try:
            assert other.wanted.answered == {OURS}
            assert VIP4 in ip("neighbour", "show", "proxy")
        finally:
            other.undo()
        assert ip("neighbour", "show", "proxy") == ""
