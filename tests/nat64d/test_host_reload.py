"""Another configuration on a host that is set up: what comes with it is there first, what it no longer wants goes
then; and a host that refuses a part of it has none of it."""

import errno
from ipaddress import ip_network
from socket import if_nametoindex

import pytest

from nat64d.config.load import loads
from nat64d.host import nft, rtnetlink
from nat64d.host.errors import HostError
from nat64d.host.journal import Journal
from tests.nat64d.hosts import addresses, fixtures, gateway, journal, rules
from tests.nat64d.netns import ip, snapshot

namespace, server, text, config = fixtures()


def routes() -> set[str]:
    return {line.split()[0] for line in ip("route", "show", "proto", "64").splitlines()}


@pytest.fixture
def other(text):
    """Another pool, another address of the translator, and the same prefix."""
    return loads(text.replace("169.254.64.0/28", "169.254.65.0/28").replace("169.254.64.254", "169.254.65.254"))


def test_what_comes_is_there_before_what_goes_is_gone(server, config, other):
    with gateway(config) as (_, host, _):
        before = host.wanted
        host.extend(other)
        assert routes() == {"169.254.64.0/28", "169.254.65.0/28"}
        assert {"169.254.64.254/32", "169.254.65.254/32"} < set(addresses("nat64"))
        host.retract(before)
        assert routes() == {"169.254.65.0/28"}
        assert addresses("nat64") == ["169.254.65.254/32", "fd6e:6174:3634::1/128"]
        assert rules() == [
            'oifname "eth0" ip saddr 169.254.65.0-169.254.65.15 masquerade',
            'oifname "eth0" ip saddr 169.254.65.254 masquerade',
        ]


def test_afterwards_all_of_it_is_undone(server, config, other):
    before = snapshot()
    with gateway(config) as (_, host, _):
        for one in (other, config, other):
            wanted = host.wanted
            host.extend(one)
            host.retract(wanted)
        assert "169.254.64." not in journal(config).read_text()
    assert snapshot() == before


def test_what_is_the_same_stays(server, config, text, monkeypatch):
    """A route that stays is not taken away for a moment, nor asked for again: there may be 100,000."""
    other = loads(text.replace("169.254.64.254", "169.254.65.254"))
    with gateway(config) as (_, host, _):
        ip("route", "change", "169.254.64.0/28", "dev", "nat64", "proto", "64", "mtu", "1234")
        before = host.wanted
        monkeypatch.setattr(rtnetlink, "add_routes", lambda *_: pytest.fail("there is no new one"))
        host.extend(other)
        host.retract(before)
        assert "mtu 1234" in ip("route", "show", "169.254.64.0/28")


def test_many_routes_are_noted_at_once_and_one_that_stood_is_not_taken_back(server, config, text, monkeypatch):
    other = loads(
        text + "".join(f'[[eam]]\nipv4 = "198.51.100.{n}"\nipv6 = "2001:db8::{n}"\n' for n in range(0, 40, 2))
    )
    with gateway(config) as (_, host, _):
        ip("route", "add", "198.51.100.8/32", "dev", "nat64")
        written, write = [], Journal._write
        monkeypatch.setattr(Journal, "_write", lambda journal: written.append(len(journal.changes)) or write(journal))
        before = host.wanted
        host.extend(other)
        assert len(written) == 2  # before, and without the one that stood
        assert written[0] == written[1] + 1
        after = host.wanted
        host.extend(config)
        host.retract(after)
        assert ip("route", "show", "198.51.100.8/32").split()[0] == "198.51.100.8"
        assert "198.51.100.10" not in ip("route", "show")
        assert host.wanted.networks == before.networks


def test_each_of_many_routes_has_an_answer_of_its_own(server, config):
    """More than are asked for at once, of both families; one stood already, and one is gone already."""
    many = [ip_network(f"10.9.{n // 256}.{n % 256}") for n in range(150)] + [
        ip_network(f"2001:db8:9::{n:x}") for n in range(9)
    ]
    with gateway(config):
        ip("route", "add", "10.9.0.99/32", "dev", "nat64")
        device = if_nametoindex("nat64")
        assert rtnetlink.add_routes(device, many) == [errno.EEXIST * (n == 99) for n in range(159)]
        assert len(ip("route", "show", "proto", "64", "root", "10.9.0.0/16").splitlines()) == 149
        assert len(ip("-6", "route", "show", "proto", "64", "root", "2001:db8:9::/48").splitlines()) == 9
        assert rtnetlink.remove_routes(device, many[1:]) == [0] * 158
        assert rtnetlink.remove_routes(device, many) == [0] * 159
        assert not ip("route", "show", "proto", "64", "root", "10.9.0.0/16")
        assert rtnetlink.add_routes(device + 1000, many[:2]) == [errno.ENODEV] * 2


def test_a_route_that_the_kernel_refuses_leaves_all_as_it_was(server, config, text, monkeypatch):
    other = loads(
        text.replace("[tun]", '[[pool4]]\naddresses = "10.1.0.1"\n\n[[pool4]]\naddresses = "10.3.0.1"\n\n[tun]')
    )
    add = rtnetlink.add_routes
    with gateway(config) as (_, host, _):
        before, noted = snapshot(), journal(config).read_text()
        refused = [errno.ENOMEM]
        monkeypatch.setattr(rtnetlink, "add_routes", lambda index, ours: [*add(index, ours[:-1]), *refused])
        with pytest.raises(HostError, match="Cannot allocate memory"):
            host.extend(other)
        assert (snapshot(), journal(config).read_text()) == (before, noted)


def test_masquerade_comes_and_goes(server, config, text):
    off = loads(text.replace('masquerade = "auto"', 'masquerade = "off"'))
    with gateway(off) as (_, host, _):
        assert rules() == []
        for one, count in ((config, 2), (off, 0)):
            before = host.wanted
            host.extend(one)
            host.retract(before)
            assert len(rules()) == count
            assert host.masquerade == (["eth0"] if count else [])


def test_a_route_of_somebody_else_leaves_all_as_it_was(server, config, text):
    more = '[[pool4]]\naddresses = "10.1.0.1"\n\n[[pool4]]\naddresses = "10.3.0.1"\n\n[tun]'
    other = loads(text.replace("[tun]", more).replace("169.254.64.254", "169.254.65.254"))
    ip("route", "add", "blackhole", "10.3.0.1/32")
    with gateway(config) as (_, host, _):
        before, noted = snapshot(), journal(config).read_text()
        with pytest.raises(HostError, match=r"^There is already a route for 10\.3\.0\.1/32"):
            host.extend(other)
        assert snapshot() == before
        assert journal(config).read_text() == noted
        assert host.config == config
        assert host.wanted.networks


def test_a_masquerade_that_cannot_be_leaves_all_as_it_was(server, config, other, monkeypatch):
    def refuse(*_):
        raise OSError(2, "No such file or directory")

    with gateway(config) as (_, host, _):
        before = snapshot()
        monkeypatch.setattr(nft.Masquerade, "follow", refuse)
        with pytest.raises(HostError, match="set up masquerade"):
            host.extend(other)
        assert snapshot() == before
        assert host.masquerade == ["eth0"]
