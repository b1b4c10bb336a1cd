"""What of a configuration does not fit a host: each row of CHECKS, with facts written by hand."""

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from nat64d.config.load import DEFAULT, loads
from nat64d.host.checks import CHECKS, Weight, checks, looked_up
from nat64d.host.facts import Facts, Link, Route
from nat64d.host.own4 import Bound, Sockets, own4

WELL_KNOWN = 'pool6 = "64:ff9b::/96"\n'
POOL = f'{WELL_KNOWN}[[pool4]]\naddresses = "192.0.2.1"\n'


def link(name, *addresses, **more):
    return Link(name, tuple(map(ip_interface, addresses)), **more)


def route(network, name, router=None, metric=0):
    return Route(ip_network(network), name, ip_address(router) if router else None, metric)


def towards(network, *given, **more):
    return {ip_network(network): route(*given, **more)}


LO = link("lo", "127.0.0.1/8", "::1/128", resolves=False)
LAN = link("lan0", "2001:db8:1::1/64", "fe80::1/64")
WAN = link("wan0", "198.51.100.1/24")
DEFAULT4, DEFAULT6 = route("0.0.0.0/0", "wan0", "198.51.100.254"), route("::/0", "lan0", "fe80::fe", 1024)
OURS = link("nat64", "169.254.64.254/32", "64:ff9b::1/128", "192.0.2.1/32", resolves=False)


def host(*links, **more):
    """A router between lan0 and wan0; a link of the same name replaces one."""
    named = {one.name: one for one in (LO, LAN, WAN, *links)}
    return Facts(tuple(named.values()), **{"defaults": (DEFAULT4, DEFAULT6), "masquerading": ("wan0",)} | more)


def pool(addresses, more=""):
    return POOL.replace("192.0.2.1", addresses) + more


def masquerade(interface):
    return f'[host]\nmasquerade = "{interface}"\n'


EAM = '[[eam]]\nipv4 = "{}"\nipv6 = "2001:db8:9::/{}"\n'
FORWARD = '[[forward]]\nprotocol = "tcp"\nipv4 = "{}:80"\nipv6 = "[2001:db8:9::1]:80"\n'
CLIENTS = '[services]\nclient_prefix = "{}"\n'
SERVED = '[[service]]\nname = "web"\nipv4 = "203.0.113.1:80"\nclient_prefix = "{}"\n'
CLAT = '[clat]\nipv6 = "{}"\nplat = "64:ff9b::/96"\n'
NO_ROUTES = "[host]\nroutes = false\n"
KEEPS = "expected addresses that this host does not have: it keeps packets to"
DEL_WAN = "for itself. Run 'ip address del 198.51.100.1/24 dev wan0',"
SHARE = 'or share it: addresses = "interface:wan0"'
OF_WAN = f'{WELL_KNOWN}[[pool4]]\naddresses = "interface:wan0"\n'
ARP = "expected addresses that the network routes to this host: these are in 198.51.100.0/24, the subnet of wan0, where"
PROXY = "nobody answers ARP for them. Run 'ip neighbour add proxy 198.51.100.10 dev wan0'"
PROXY_ARP = "nobody answers ARP for them. Run 'sysctl -w net.ipv4.conf.wan0.proxy_arp=1'"
CUT_OFF = "expected no address of this host: lan0 has 2001:db8:1::1/64, and its hosts would be cut off."
TAKE = "Take 64:ff9b::/96, or a prefix of your own that no link has"
BY_LAN = "2001:db8:1::2, lan0 (metric 100)"

ERRORS = [
    # own_address4
    (
        pool("198.51.100.1"),
        host(),
        '[[pool4]] #1 addresses = "198.51.100.1"',
        f"{KEEPS} 198.51.100.1 {DEL_WAN} {SHARE}",
    ),
    (pool("198.51.100.0/28", NO_ROUTES), host(), "[[pool4]] #1 addresses", f"{KEEPS} 198.51.100.1 {DEL_WAN} {SHARE}"),
    (
        pool("192.0.2.1"),
        host(link("lo", "192.0.2.1/32", resolves=False)),
        "[[pool4]] #1 addresses",
        f"{KEEPS} 192.0.2.1 for itself. Run 'ip address del 192.0.2.1/32 dev lo', {SHARE.replace('wan0', 'lo')}",
    ),
    (
        pool("192.0.2.1", FORWARD.format("198.51.100.1")),
        host(),
        '[[forward]] #1 ipv4 = "198.51.100.1:80"',
        f"{KEEPS} 198.51.100.1 {DEL_WAN} or choose another address",
    ),
    (
        WELL_KNOWN + EAM.format("203.0.113.1/32", 128) + EAM.format("198.51.100.1/32", 127),
        host(),
        '[[eam]] #2 ipv4 = "198.51.100.1/32"',
        f"{KEEPS} 198.51.100.1 {DEL_WAN} or choose another address",
    ),
    # own_address6
    (POOL.replace("64:ff9b::/96", "2001:db8:1::/96"), host(), 'pool6 = "2001:db8:1::/96"', f"{CUT_OFF} {TAKE}"),
    (POOL.replace("64:ff9b::/96", "2001:db8:1::/64"), host(), "pool6", f"{CUT_OFF} {TAKE}"),
    (POOL.replace("64:ff9b::/96", "2001:db8::/32"), host(), "pool6", f"{CUT_OFF} {TAKE}"),
    (
        CLAT.format("2001:db8:1::1"),
        host(),
        '[clat] ipv6 = "2001:db8:1::1/128"',
        "expected no address of this host: lan0 has 2001:db8:1::1/64. Take an unused address of the link",
    ),
    (
        EAM.format("0.0.0.0/0", 64).replace("2001:db8:9::/64", "2001:db8:1::/64"),
        host(),
        "[[eam]] #1 ipv6",
        f"{CUT_OFF} Take one that no link has",
    ),
    (
        POOL + CLIENTS.format("2001:db8:1::/96"),
        host(),
        '[services] client_prefix = "2001:db8:1::/96"',
        f"{CUT_OFF} Take one that no link has",
    ),
    # router_inside
    (
        pool("198.51.100.128-198.51.100.254"),
        host(link("wan0", "198.51.100.1/24", proxy_arp=True)),
        "[[pool4]] #1 addresses",
        (
            "expected no address of a router: the default route of this host is via 198.51.100.254, wan0, and would be "
            "cut off. Choose others (see 'ip -4 route')"
        ),
    ),
    (
        POOL.replace("64:ff9b::/96", "2001:db8:1:0:0:64::/96"),
        host(link("lan0", "2001:db8:1::1/128"), defaults=(route("::/0", "lan0", "2001:db8:1:0:0:64:0:1"),)),
        "pool6",
        (
            "expected no address of a router: the default route of this host is via 2001:db8:1::64:0:1, lan0, and "
            "would be cut off. Choose others (see 'ip -6 route')"
        ),
    ),
    # routed_elsewhere
    (
        POOL,
        host(towards=towards("64:ff9b::/96", "64:ff9b::/96", "lan0", "2001:db8:1::2", 100)),
        'pool6 = "64:ff9b::/96"',
        (
            f"expected a prefix that is not routed elsewhere; the kernel prefers {BY_LAN}. Run 'ip -6 route del "
            "64:ff9b::/96 via 2001:db8:1::2 dev lan0 metric 100', or set [host] routes = false"
        ),
    ),
    (
        POOL,
        host(towards=towards("192.0.2.1/32", "192.0.2.1/32", "wan0")),
        "[[pool4]] #1 addresses",
        (
            "expected a prefix that is not routed elsewhere; the kernel prefers wan0 (metric 0). Run 'ip -4 route del "
            "192.0.2.1/32 dev wan0', or set [host] routes = false"
        ),
    ),
    # masquerade_without_interface
    (
        pool("10.0.0.0/29", masquerade("ppp0")),
        host(OURS),
        '[host] masquerade = "ppp0"',
        'expected "auto" or an interface of this host (lan0, wan0); one that comes later must be up first',
    ),
]

WARNINGS = [
    # own_address_in_eam
    (
        WELL_KNOWN + EAM.format("198.51.100.0/28", 124),
        host(link("wan0", "198.51.100.1/24", proxy_arp=True)),
        '[[eam]] #1 ipv4 = "198.51.100.0/28"',
        (
            "expected addresses that this host does not have: 198.51.100.1 is among them, and this host keeps packets "
            "to it for itself. If an IPv6 host shall get them, run 'ip address del 198.51.100.1/24 dev wan0'"
        ),
    ),
    # on_link4
    (pool("198.51.100.10"), host(), '[[pool4]] #1 addresses = "198.51.100.10"', f"{ARP} {PROXY}"),
    (pool("198.51.100.10-198.51.100.11"), host(), "[[pool4]] #1 addresses", f"{ARP} {PROXY_ARP}"),
    (pool("198.51.0.0-198.51.100.0"), host(), "[[pool4]] #1 addresses", f"{ARP} {PROXY_ARP}"),
    (pool("198.51.100.10", masquerade("lan0")), host(link("lan0", "10.0.0.1/8")), "[[pool4]] #1 addresses", PROXY),
    (pool("192.0.2.1", FORWARD.format("198.51.100.10")), host(), "[[forward]] #1 ipv4", f"{ARP} {PROXY}"),
    (
        pool("10.0.0.1", masquerade("auto") + FORWARD.format("198.51.100.10")),
        host(),
        "[[forward]] #1 ipv4",
        f"{ARP} {PROXY}",
    ),
    (
        WELL_KNOWN + EAM.format("198.51.100.10/32", 128) + EAM.format("198.51.100.11/32", 127),
        host(),
        "[[eam]] #1 ipv4",
        f"{ARP} {PROXY}",
    ),
    # on_link6
    (
        POOL.replace("64:ff9b::/96", "2001:db8:1:0:0:64::/96"),
        host(),
        "pool6",
        (
            "expected a prefix that the network routes to this host: this one is inside 2001:db8:1::/64, the link of "
            "lan0, whose hosts do not find its addresses there. Run 'ip -6 route add 2001:db8:1::64:0:0/96 via "
            f"2001:db8:1::1' on each of them, or {TAKE.replace('T', 't', 1)}"
        ),
    ),
    (
        POOL + SERVED.format("2001:db8:1:0:0:64::/96"),
        host(),
        "[[service]] #1 client_prefix",
        "2001:db8:1::1' on each of them, or take one that no link has",
    ),
    # partly_routed_elsewhere
    (
        POOL,
        host(towards=towards("64:ff9b::/96", "64:ff9b::/104", "lan0", "2001:db8:1::2", 100)),
        "pool6",
        (
            f"expected no other route for a part of it; 64:ff9b::/104 goes by {BY_LAN}. Unless that is meant, run 'ip "
            "-6 route del 64:ff9b::/104 via 2001:db8:1::2 dev lan0 metric 100'"
        ),
    ),
    (
        POOL,
        host(discarded={ip_network("64:ff9b::cb00:7107/128"): "prohibit"}),
        "pool6",
        (
            "expected no other route for a part of it; packets to 64:ff9b::cb00:7107/128 are discarded. Unless that is "
            "meant, run 'ip -6 route del prohibit 64:ff9b::cb00:7107/128'"
        ),
    ),
    # masquerade_without_route
    (
        DEFAULT,
        host(defaults=(), masquerading=()),
        '[host] masquerade = "auto"',
        (
            "expected an IPv4 default route; without one nothing is masqueraded. Run 'ip route add default via "
            "ROUTER', or name an interface"
        ),
    ),
    # masquerade_without_address
    (
        pool("10.0.0.0/29", masquerade("lan0")),
        host(),
        '[host] masquerade = "lan0"',
        (
            "expected an IPv4 address on lan0; until it has one, packets are dropped there. Run 'ip address add "
            "ADDRESS/LENGTH dev lan0'"
        ),
    ),
]

ERRORS += [
    (
        f'{OF_WAN}ports = "60000-60009"',
        host(),
        '[[pool4]] #1 ports = "60000-60009"',
        (
            "expected ports that this host gives to no program of its own; it does so with 32768-60999 "
            "(ip_local_port_range). Run 'sysctl -w net.ipv4.ip_local_reserved_ports=60000-60009', or take others"
        ),
    ),
]
WARNINGS += [
    (
        OF_WAN,
        host(sockets=Sockets(bound=frozenset({Bound("tcp", None, 62000)}))),
        "[[pool4]] #1 ports",
        "gets nothing there any more. Run 'ss -lnp sport = :62000' to see which, or take others",
    ),
    (
        OF_WAN,
        host(link("wan0")),
        '[[pool4]] #1 addresses = "interface:wan0"',
        "without one nothing is translated: run 'ip address add ADDRESS/LENGTH dev wan0'",
    ),
]

FITS = {
    "a_shared_address": (OF_WAN, host()),
    "the_default": (DEFAULT, host()),
    "the_default_beside_itself": (DEFAULT, host(OURS)),
    "a_routed_pool": (POOL, host()),
    "our_own_device_is_no_other_host": (POOL, host(OURS, defaults=(route("0.0.0.0/0", "nat64", "192.0.2.1"),))),
    "our_own_routes": (
        POOL,
        host(
            towards=towards("64:ff9b::/96", "64:ff9b::/96", "nat64", metric=1024)
            | towards("192.0.2.1/32", "192.0.2.1/32", "nat64")
        ),
    ),
    "a_less_preferred_route": (
        POOL,
        host(
            towards=towards("64:ff9b::/96", "64:ff9b::/96", "lan0", metric=1025)
            | towards("192.0.2.1/32", "192.0.2.1/32", "wan0", metric=1)
        ),
    ),
    "a_wider_route": (POOL, host(towards=towards("64:ff9b::/96", "::/0", "lan0", "2001:db8:1::fe", 100))),
    "a_proxied_address": (
        pool("198.51.100.10"),
        host(proxied=frozenset({("wan0", ip_address("198.51.100.10"))})),
    ),
    "proxied_addresses": (
        pool("198.51.100.10-198.51.100.11"),
        host(proxied=frozenset({("wan0", ip_address(f"198.51.100.{n}")) for n in (10, 11)})),
    ),
    "a_proxied_subnet": (pool("198.51.100.10"), host(link("wan0", "198.51.100.1/24", proxy_arp=True))),
    "a_link_without_arp": (pool("198.51.100.10"), host(link("wan0", "198.51.100.1/24", resolves=False))),
    "a_masqueraded_pool_in_the_subnet": (pool("198.51.100.10", masquerade("auto")), host()),
    "no_interface_is_needed_without_a_pool": (WELL_KNOWN + EAM.format("203.0.113.1/32", 128) + masquerade("x"), host()),
    "the_internet_as_a_mapping": (EAM.format("0.0.0.0/0", 64), host()),
    "clat_on_its_link": (CLAT.format("2001:db8:1::464"), host()),
    "clat_and_the_route_to_the_provider": (
        CLAT.format("2001:db8:1::464"),
        host(towards=towards("64:ff9b::/96", "64:ff9b::/96", "lan0", metric=1)),
    ),
    "routes_of_the_operator": (
        POOL.replace("64:ff9b::/96", "2001:db8:1:0:0:64::/96") + NO_ROUTES,
        host(towards=towards("2001:db8:1:0:0:64::/96", "2001:db8:1:0:0:64::/96", "lan0")),
    ),
}


def settled(text, facts):
    config = loads(text)
    return config.with_pools(own4(config.pool4, facts))


def report(text, facts):
    return checks(settled(text, facts), facts, "x.toml")


@pytest.mark.parametrize(("text", "facts", "place", "complaint"), ERRORS)
def test_what_would_stop_packets_is_an_error(text, facts, place, complaint):
    (error,) = report(text, facts).errors
    assert str(error).startswith(f"x.toml: {place}")
    assert error.complaint == complaint


@pytest.mark.parametrize(("text", "facts", "place", "complaint"), WARNINGS)
def test_what_may_be_meant_is_a_warning(text, facts, place, complaint):
    told = report(text, facts)
    assert told.errors == []
    (warning,) = told.warnings
    assert str(warning).startswith(f"x.toml: {place}")
    assert warning.complaint.endswith(complaint)


@pytest.mark.parametrize("name", FITS)
def test_what_fits_raises_no_word(name):
    assert report(*FITS[name]) == ([], [])


def test_a_prefix_that_cuts_a_link_off_is_not_also_warned_of():
    told = report(POOL.replace("64:ff9b::/96", "2001:db8:1::/96"), host())
    assert (len(told.errors), told.warnings) == (1, [])


def test_an_address_of_the_host_is_not_also_said_to_lack_arp():
    told = report(pool("198.51.100.1"), host())
    assert (len(told.errors), told.warnings) == (1, [])


def test_half_of_a_range_that_is_proxied_is_not_enough():
    proxied = frozenset({("wan0", ip_address("198.51.100.10")), ("lan0", ip_address("198.51.100.11"))})
    (warning,) = report(pool("198.51.100.10-198.51.100.11"), host(proxied=proxied)).warnings
    assert warning.complaint == f"{ARP} {PROXY_ARP}"


def test_everything_is_said_at_once_in_the_order_of_the_file():
    text = POOL.replace("64:ff9b::/96", "2001:db8:1::/96").replace("192.0.2.1", "198.51.100.1") + masquerade("ppp0")
    assert [error.key for error in report(text, host()).errors] == [
        "pool6",
        "[[pool4]] #1 addresses",
        "[host] masquerade",
    ]


def test_every_row_of_the_table_is_tried_above():
    """Each check says something about some row of its weight, and nothing of the other weight's rows."""
    for weight, find in CHECKS:
        rows = ERRORS if weight is Weight.ERROR else WARNINGS
        assert any(list(find(settled(text, facts), facts)) for text, facts, *_ in rows), find.__name__


def test_what_is_asked_about_routes():
    asked = looked_up(loads(pool("192.0.2.1-192.0.2.2")))
    assert [str(network) for network in asked] == ["64:ff9b::/96", "192.0.2.1/32", "192.0.2.2/32"]
    asked = looked_up(loads(WELL_KNOWN + EAM.format("0.0.0.0/0", 64)))
    assert [str(network) for network in asked] == ["64:ff9b::/96", "2001:db8:9::/64"]
    assert [str(network) for network in looked_up(loads(CLAT.format("2001:db8:1::464")))] == ["2001:db8:1::464/128"]
    asked = looked_up(loads(POOL + CLIENTS.format("64:ff9b:1::/96") + SERVED.format("2001:db8:c::/96")))
    assert [str(network) for network in asked[:3]] == ["64:ff9b::/96", "64:ff9b:1::/96", "2001:db8:c::/96"]
    assert looked_up(loads(POOL + NO_ROUTES)) == []
