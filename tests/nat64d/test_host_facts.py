"""What `facts` reads of a host in a namespace, and what `check_host` makes of it."""

import errno
import subprocess
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.config.load import loads
from nat64d.host import checks
from nat64d.host.checks import check_host
from nat64d.host.facts import Facts, Route, read
from tests.nat64d.hosts import GATEWAY, SERVER, fixtures, gateway, journal
from tests.nat64d.netns import Namespace, ip, snapshot
from tests.nat64d.netns import sysctl as parameter

namespace, server, text, config = fixtures()


def link(facts: Facts, name: str):
    (one,) = (each for each in facts.links if each.name == name)
    return one


def prefixes(*texts):
    return list(map(ip_network, texts))


def test_links_have_their_addresses_and_their_kind(server):
    ip("address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
    ip("link", "add", "tail0", "type", "veth", "peer", "name", "tail1")
    facts = read()
    assert {one.name for one in facts.links} == {"lo", "eth0", "tail0", "tail1"}
    assert link(facts, "eth0").addresses == (ip_interface(f"{GATEWAY}/24"), ip_interface("2001:db8:1::1/64"))
    assert link(facts, "eth0").resolves
    assert link(facts, "tail0").addresses == ()
    assert link(facts, "lo").addresses == (ip_interface("127.0.0.1/8"), ip_interface("::1/128"))
    assert not link(facts, "lo").resolves


def test_our_own_device_has_no_neighbours(server, config):
    with gateway(config):
        assert not link(read(), "nat64").resolves


def test_proxies_of_a_link_and_of_addresses(server):
    assert (link(read(), "eth0").proxy_arp, read().proxied) == (False, frozenset())
    ip("neighbour", "add", "proxy", "192.0.2.9", "dev", "eth0")
    ip("neighbour", "add", "proxy", "2001:db8::9", "dev", "eth0")
    assert read().proxied == {("eth0", ip_address("192.0.2.9")), ("eth0", ip_address("2001:db8::9"))}
    parameter("net/ipv4/conf/eth0/proxy_arp", 1)
    assert (link(read(), "eth0").proxy_arp, link(read(), "lo").proxy_arp) == (True, False)
    parameter("net/ipv4/conf/eth0/proxy_arp", 0)
    parameter("net/ipv4/conf/all/proxy_arp", 1)
    assert link(read(), "eth0").proxy_arp


def test_default_routes_of_both_families(server):
    ip("address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
    ip("route", "replace", "default", "nexthop", "via", SERVER, "nexthop", "via", "192.0.2.3")
    ip("-6", "route", "add", "default", "via", "2001:db8:1::fe", "metric", "7")
    ip("route", "add", "default", "via", "192.0.2.4", "table", "100")
    facts = read()
    four, six = prefixes("0.0.0.0/0", "::/0")
    assert facts.defaults == (
        Route(four, "eth0", ip_address(SERVER)),
        Route(four, "eth0", ip_address("192.0.2.3")),
        Route(six, "eth0", ip_address("2001:db8:1::fe"), 7),
    )
    assert facts.masquerading == ("eth0",)


def test_the_route_towards_a_prefix_is_the_one_that_decides(server):
    ip("address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
    ip("-6", "route", "add", "64:ff9b::/96", "via", "2001:db8:1::2", "metric", "100", "proto", "bgp")
    ip("-6", "route", "add", "64:ff9b::/96", "dev", "lo", "metric", "2000")
    ip("-6", "route", "add", "blackhole", "2001:db8:9::/64")
    asked = prefixes("64:ff9b::/96", "2001:db8:9::/96", "2001:db8:8::/96", "198.51.100.0/24", "192.0.2.128/25")
    four, six, near = prefixes("0.0.0.0/0", "64:ff9b::/96", "192.0.2.0/24")
    assert read([*asked, ip_network(f"{GATEWAY}/32")]).towards == {
        six: Route(six, "eth0", ip_address("2001:db8:1::2"), 100),
        ip_network("198.51.100.0/24"): Route(four, "eth0", ip_address(SERVER)),
        ip_network("192.0.2.128/25"): Route(near, "eth0"),
    }


def test_a_look_changes_nothing(server, config):
    before = snapshot()
    check_host(config, "x.toml")
    assert snapshot() == before


def test_a_running_gateway_does_not_object_to_itself(server, config):
    with gateway(config):
        assert check_host(config, "x.toml") == ([], [])
        assert journal(config).exists()


def test_a_host_where_nothing_fits(server, text):
    ip("address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
    text = text.replace("64:ff9b::/96", "2001:db8:1::/96").replace('"auto"', '"wan0"')
    report = check_host(loads(text.replace("169.254.64.0/28", GATEWAY)), "x.toml")
    assert [error.key for error in report.errors] == ["pool6", "[[pool4]] #1 addresses", "[host] masquerade"]
    assert "'ip address del 192.0.2.2/24 dev eth0'" in str(report.errors[1])
    assert "an interface of this host (eth0)" in str(report.errors[2])


def finds(server: Namespace, address: str) -> bool:
    """Whether somebody answers the ARP requests of the other host."""
    with server:
        ip("neighbour", "flush", "dev", "far0")
        subprocess.run(("ping", "-n", "-c1", "-W1", address), capture_output=True, check=False)
        return "lladdr" in ip("neighbour", "show", address)


@pytest.mark.parametrize("addresses", ["192.0.2.128", "192.0.2.128/28"])
def test_a_pool_in_the_subnet_is_found_once_the_command_of_the_warning_was_run(server, text, addresses):
    text = text.replace('masquerade = "auto"', 'masquerade = "off"')
    config = loads(text.replace("169.254.64.0/28", addresses))
    with gateway(config):
        (warning,) = check_host(config, "x.toml").warnings
        assert not finds(server, "192.0.2.128")
        command = warning.complaint.split("'")[1].split()
        if command[0] == "ip":
            ip(*command[1:])
        else:
            key, value = command[-1].split("=")
            parameter(key.replace(".", "/"), value)
        assert check_host(config, "x.toml") == ([], [])
        assert finds(server, "192.0.2.128")


def test_a_route_that_is_preferred_to_ours_is_an_error_until_its_command_was_run(server, config):
    ip("address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
    ip("-6", "route", "add", "64:ff9b::/96", "via", "2001:db8:1::2", "metric", "100")
    with gateway(config):
        (error,) = check_host(config, "x.toml").errors
        ip(*error.complaint.split("'")[1].split()[1:])
        assert check_host(config, "x.toml") == ([], [])


def test_a_kernel_that_does_not_answer_is_a_warning(config, monkeypatch):
    def refuse(*_):
        raise NetlinkError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(checks, "read", refuse)
    report = check_host(config, "x.toml")
    assert report.errors == []
    (warning,) = report.warnings
    assert str(warning).startswith("x.toml: cannot look at this host (")
    assert str(warning).endswith("only the file is checked")


def test_a_group_of_the_control_socket_that_there_is_not_is_an_error():
    text = 'pool6 = "64:ff9b::/96"\n[[eam]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8::7"\n[api]\ngroup = "{}"\n'
    (error,) = check_host(loads(text.format("no-such-group")), "x.toml").errors
    assert str(error) == (
        "x.toml: [api] group = \"no-such-group\": expected a group of this host; make it with 'groupadd'"
    )
    assert check_host(loads(text.format("0")), "x.toml").errors == []
    assert check_host(loads(text.format("root")), "x.toml").errors == []
