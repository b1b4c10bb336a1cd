"""[clat] on the host: native IPv4 comes first, the IPv6 address is found by neighbours, and all of it is undone."""

import time
from collections.abc import Callable

import pytest

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.dataplane.tun import open_tun
from nat64d.host.board import Board
from nat64d.host.errors import HostError
from nat64d.host.host import Host
from nat64d.host.presence import Presence
from nat64d.host.watch import Watch
from tests.nat64d.hosts import GATEWAY, LOG, addresses, fixtures, gateway, journal, killed_gateway
from tests.nat64d.netns import ip, run, snapshot
from tests.nat64d.netns import sysctl as parameter

namespace, server, text, config = fixtures()

CLAT6, NEIGHBOUR6 = "2001:db8:1::464", "2001:db8:1::1"
Configure = Callable[..., Config]


@pytest.fixture
def clat(tmp_path) -> Configure:
    """The customer side, with keys of its own and the lines of further sections."""

    def configure(more: str = "", **keys: str) -> Config:
        lines = {"ipv6": CLAT6, "plat": "64:ff9b::/96"} | keys
        section = "".join(f'{key} = "{value}"\n' for key, value in lines.items())
        return loads(f'[api]\nsocket = "{tmp_path}/run/api.sock"\n[clat]\n{section}{more}')

    return configure


@pytest.fixture
def uplink(server):
    """The uplink has IPv6 as well."""
    ip("address", "add", "2001:db8:1::2/64", "dev", "eth0", "nodad")
    with server:
        ip("address", "add", f"{NEIGHBOUR6}/64", "dev", "far0", "nodad")
    assert wait_for(lambda: "local 2001:db8:1::2 " in ip("-6", "route", "show", "table", "local"))  # a moment later
    return server


def defaults() -> list[str]:
    return [line.strip() for line in ip("route", "show", "default").splitlines()]


def way(destination: str) -> str:
    return ip("route", "get", destination)


def wait_for(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within two seconds."""
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.01)
    return False


def proxies() -> list[str]:
    return [line.strip() for line in ip("-6", "neighbour", "show", "proxy").splitlines()]


def test_rfc7335_the_host_has_an_ipv4_address_and_a_default_route(namespace, clat):
    with gateway(clat()) as (_, _, lines):
        assert addresses("nat64") == ["192.0.0.1/32", "fd6e:6174:3634::1/128"]
        assert defaults() == ["default dev nat64 proto 64 scope link src 192.0.0.1 metric 65536 mtu 1480"]
        assert "IPv4 default route to nat64, metric 65536, MTU 1480" in lines
        assert [parameter(key) for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")] == ["1", "1"]
        assert "src 192.0.0.1" in way("198.51.100.1")
    assert defaults() == []


def test_native_ipv4_is_preferred_while_it_is_there(uplink, clat):
    ip("route", "del", "default")
    ip("route", "add", "default", "via", "192.0.2.1", "metric", "20600")
    with gateway(clat()) as (_, _, lines):
        assert any(line.endswith("; the one through eth0 takes precedence") for line in lines)
        assert "dev eth0" in way("198.51.100.1")
        ip("route", "del", "default", "via", "192.0.2.1", "metric", "20600")
        assert "dev nat64" in way("198.51.100.1")
        ip("route", "add", "default", "via", "192.0.2.1", "metric", "20600")
        assert "dev eth0" in way("198.51.100.1")


def test_the_mtu_of_the_route_is_that_of_the_device_less_the_longer_header(namespace, clat):
    with gateway(clat("[tun]\nmtu = 9000\n")):
        assert defaults()[0].endswith(" mtu 8980")


def test_the_mtu_of_the_route_is_20_less_than_that_of_a_device_that_was_there_before(namespace, clat):
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    ip("link", "set", "nat64", "mtu", "1400")
    with gateway(clat("[tun]\nmtu = 9000\n")):
        assert defaults()[0].endswith(" mtu 1380")


def test_the_ipv6_address_leads_to_the_device_and_the_provider_s_prefix_does_not(uplink, clat):
    with gateway(clat()):
        ours = ip("-6", "route", "show", "proto", "64").splitlines()
        assert [line.split()[:3] for line in ours] == [[CLAT6, "dev", "nat64"]]
        assert "64:ff9b::" not in ip("-6", "route", "show", "table", "all")


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "with_others"])
def test_what_was_left_for_another_configuration_goes(uplink, clat, shared):
    run("nft", "add table inet f; add chain inet f forward { type filter hook forward priority 0; policy drop; }")
    before, rules = snapshot(), run("nft", "list", "ruleset")
    first = clat('[host]\nfirewall = "auto"\n')
    tun, host = open_tun(first.tun), Host(first, "nat64", LOG)
    host.setup()
    Watch(host, Board(LOG), LOG).check(0.0)
    host.leave()
    assert [line.split()[0] for line in proxies()] == [CLAT6]
    assert (parameter("net/ipv4/ip_forward"), run("nft", "list", "ruleset") != rules) == ("1", True)
    another = clat('[host]\nfirewall = "off"\nsysctls = false\n', ipv6="2001:db8:1::465")
    host = Host(another, "nat64", LOG)
    other = Presence("other")
    if shared:
        other.begin()
    lines = host.setup(adopted=True)
    assert any("does not forward all packets" in line for line in lines) != shared
    assert [line.split()[0] for line in proxies()] == ["2001:db8:1::465"]
    assert (parameter("net/ipv4/ip_forward"), run("nft", "list", "ruleset")) == ("1" if shared else "0", rules)
    assert "2001:db8:1::465" in ip("-6", "route", "show", "dev", "nat64")
    other.end()
    host.undo()
    tun.close()
    assert snapshot() == before


def test_a_neighbour_finds_the_ipv6_address(uplink, clat):
    with gateway(clat()) as (_, _, lines):
        assert f"Neighbour discovery for {CLAT6} is answered on eth0" in lines
        mac = ip("-brief", "link", "show", "eth0").split()[2]
        with uplink:
            probe = ("-6", "neighbour", "get", CLAT6, "dev", "far0")
            ip("-6", "neighbour", "replace", CLAT6, "dev", "far0", "nud", "none")
            ip("-6", "neighbour", "change", CLAT6, "dev", "far0", "nud", "probe", "use")
            assert wait_for(lambda: f"lladdr {mac}" in ip(*probe))


def test_an_address_behind_a_router_needs_no_neighbour(uplink, clat):
    ip("-6", "route", "add", "default", "via", NEIGHBOUR6)
    with gateway(clat(ipv6="2001:db8:4::464")):
        assert proxies() == []
        assert parameter("net/ipv6/conf/eth0/proxy_ndp") == "0"


def test_without_sysctls_the_command_is_said(uplink, clat):
    with gateway(clat("[host]\nsysctls = false\n")) as (_, _, lines):
        remedy = "sysctl -w net.ipv6.conf.eth0.proxy_ndp=1"
        assert f"Hosts on eth0 cannot resolve {CLAT6} (neighbour discovery): run '{remedy}'" in lines
        assert parameter("net/ipv6/conf/eth0/proxy_ndp") == "0"


def test_without_routes_there_are_none(uplink, clat):
    with gateway(clat("[host]\nroutes = false\n")):
        assert ip("route", "show", "proto", "64") + ip("-6", "route", "show", "proto", "64") == ""
        assert proxies() == []


def test_a_network_behind_this_host_keeps_its_addresses(uplink, clat):
    with gateway(clat(ipv4="192.0.2.0/24", ipv6="2001:db8:4::/64")):
        assert addresses("nat64") == ["fd6e:6174:3634::1/128"]
        assert defaults()[1] == "default dev nat64 proto 64 scope link metric 65536 mtu 1480"
        assert "2001:db8:4::/64 dev nat64" in ip("-6", "route", "show", "proto", "64")


def test_rfc7756_3_2_this_host_is_a_router_for_the_network_behind_it(uplink, clat):
    assert parameter("net/ipv4/ip_forward") == "0"
    with gateway(clat(ipv4="192.168.7.0/24", ipv6="2001:db8:4::/64")):
        assert [parameter(key) for key in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")] == ["1", "1"]
        ip("route", "del", "default", "via", "192.0.2.1")
        ip("link", "add", "lan0", "type", "veth", "peer", "name", "node0")
        ip("address", "add", "192.168.7.1/24", "dev", "lan0")
        ip("link", "set", "lan0", "up")
        assert "dev nat64" in ip("route", "get", "198.51.100.1", "from", "192.168.7.9", "iif", "lan0")


def test_an_address_that_the_host_has_stays_where_it_is(uplink, clat):
    with gateway(clat(ipv4=GATEWAY)):
        assert addresses("nat64") == ["fd6e:6174:3634::1/128"]
        ip("route", "del", "default", "via", "192.0.2.1")
        assert f"dev nat64 src {GATEWAY}" in way("198.51.100.1")


@pytest.mark.parametrize("other", ["192.0.0.1", "192.0.0.2", "192.0.0.7"])
def test_rfc7335_4_a_second_user_of_the_block_is_refused(uplink, clat, other):
    ip("address", "add", f"{other}/32", "dev", "eth0")
    assert refusal(clat()) == (
        f"[clat] ipv4 = 192.0.0.1: eth0 has {other}, and only one program of a host may use 192.0.0.0/29 (RFC 7335): "
        "stop that one, or choose a private address."
    )
    assert refusal(clat(ipv4="192.0.0.5")).startswith("[clat] ipv4 = 192.0.0.5: eth0 has ")
    with gateway(clat(ipv4="10.9.9.1")):
        assert "10.9.9.1/32" in addresses("nat64")


def test_rfc7335_4_what_lies_beside_the_block_is_no_second_user(uplink, clat):
    ip("address", "add", "192.0.0.8/32", "dev", "eth0")
    with gateway(clat()):
        assert "192.0.0.1/32" in addresses("nat64")


@pytest.mark.parametrize("prepare", ["nothing", "everything_is_there"])
def test_undo_leaves_the_host_exactly_as_it_was(uplink, clat, prepare):
    if prepare == "everything_is_there":
        ip("-6", "neighbour", "add", "proxy", CLAT6, "dev", "eth0")
        parameter("net/ipv6/conf/eth0/proxy_ndp", 1)
    before = snapshot(), proxies()
    with gateway(clat()):
        assert proxies() == [f"{CLAT6} dev eth0 proxy"]
        assert parameter("net/ipv6/conf/eth0/proxy_ndp") == "1"
    assert (snapshot(), proxies()) == before


def test_a_killed_process_leaves_nothing_that_the_next_one_does_not_undo(uplink, clat, tmp_path):
    before = snapshot(), proxies()
    config = clat()
    file = tmp_path / "nat64d.toml"
    file.write_text(f'[clat]\nipv6 = "{CLAT6}"\nplat = "64:ff9b::/96"\n[api]\nsocket = "{config.api.socket}"\n')
    killed_gateway(file)
    assert journal(config).exists()
    assert proxies() != []
    with gateway(config):
        pass
    assert (snapshot(), proxies()) == before


def refusal(config: Config) -> str:
    before = snapshot(), proxies()
    tun = open_tun(config.tun)
    try:
        with pytest.raises(HostError) as caught:
            Host(config, tun.name, LOG).setup()
    finally:
        tun.close()
    assert (snapshot(), proxies()) == before
    return str(caught.value)


def test_an_ipv6_address_of_this_host_is_refused(uplink, clat):
    sentence = "[clat] ipv6 = 2001:db8:1::2 is an address of this host: choose an unused one."
    assert refusal(clat(ipv6="2001:db8:1::2")) == sentence


def test_a_default_route_of_the_same_metric_is_not_replaced(uplink, clat):
    ip("route", "add", "default", "via", "192.0.2.1", "metric", "65536")
    assert refusal(clat()).startswith("There is already an IPv4 default route with metric 65536: remove it, or set")


def test_rfc7757_a_row_of_all_ipv4_stands_for_the_internet_and_not_for_this_host(server, tmp_path):
    mapped = {
        "0.0.0.0/0": "2001:db8:ff::/96",
        "198.51.100.7": "2001:db8::7",
        "198.51.100.16/28": "2001:db8:1::/124",
        "198.51.100.9": "2001:db8::9",
    }
    rows = "".join(f'[[eam]]\nipv4 = "{row4}"\nipv6 = "{row6}"\n' for row4, row6 in mapped.items())
    with gateway(loads(f'pool6 = "2001:db8:46::/96"\n{rows}[api]\nsocket = "{tmp_path}/run/api.sock"\n')):
        ours4, ours6 = (ip(version, "route", "show", "proto", "64").splitlines() for version in ("-4", "-6"))
        assert {line.split(" scope")[0] for line in ours4} == {f"{row4} dev nat64" for row4 in [*mapped][1:]}
        assert {line.split()[0] for line in ours6} == {"2001:db8:46::/96", "2001:db8:ff::/96"}
        assert "dev eth0" in way("203.0.113.1")
