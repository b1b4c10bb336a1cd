"""Conditions as functions of how a host stands: each is provoked and ended; and the board that they are on."""

import logging
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from nat64d.config.load import loads
from nat64d.host.board import Board
from nat64d.host.changes import differences
from nat64d.host.conditions import CONDITIONS, Announcing, Situation, conditions
from nat64d.host.facts import Facts, Link, Route
from nat64d.host.own4 import Bound, Share, Sockets, own4
from nat64d.host.rtnetlink import Device
from nat64d.host.standing import Standing
from nat64d.host.wanted import Default, Wanted

GATEWAY = """
pool6 = "2001:db8:64::/96"
[[pool4]]
addresses = "203.0.113.0/28"
[[eam]]
ipv4 = "198.51.100.128/25"
ipv6 = "2001:db8:e::/121"
[host]
masquerade = "auto"
"""
CLAT = """
[clat]
ipv6 = "2001:db8:1::464"
plat = "64:ff9b::/96"
"""
POOL6, POOL4 = ip_network("2001:db8:64::/96"), ip_network("203.0.113.0/28")
EVERYTHING4, EVERYTHING6 = ip_network("0.0.0.0/0"), ip_network("::/0")
DEVICE = Device(9, "tun", False, True, 1, 1500, {"up": 1, "rp_filter": 2, "accept_local": 1})
FORWARDS = {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1", "net/ipv4/conf/nat64/forwarding": "1"}
WANTED = Wanted("nat64", {"up": 1, "mtu": 1500}, networks=(POOL6, POOL4), masquerade=("eth0",))


def interfaces(*texts: str) -> tuple:
    return tuple(map(ip_interface, texts))


LAN = Link("lan0", interfaces("2001:db8:1::1/64"))
WAN = Link("eth0", interfaces("192.0.2.2/24"))
FACTS = Facts(
    links=(LAN, WAN, Link("nat64", interfaces("192.0.0.1/32"), resolves=False)),
    defaults=(Route(EVERYTHING4, "eth0", ip_address("192.0.2.1")), Route(EVERYTHING6, "lan0", ip_address("fe80::1"))),
    masquerading=("eth0",),
    towards={POOL6: Route(POOL6, "nat64", None, 1024), POOL4: Route(POOL4, "nat64")},
)
SOUND = Standing(
    facts=FACTS, device=DEVICE, networks=frozenset((POOL6, POOL4)), parameters=FORWARDS, masquerade=("eth0",)
)


def facts(**changes) -> Standing:
    return replace(SOUND, facts=replace(FACTS, **changes))


def parameters(**changes: str) -> Standing:
    return replace(SOUND, parameters={**FORWARDS, **{key.replace("__", "/"): value for key, value in changes.items()}})


def ruleset(hook: str, *, family: str = "inet", table: str = "f", name: str = "out") -> Standing:
    chain = {"family": family, "table": table, "name": name, "hook": hook, "policy": "drop"}
    return replace(SOUND, ruleset={"nftables": [{"chain": chain}]})


def link_with(*addresses: str) -> Standing:
    return facts(links=(*FACTS.links, Link("new0", interfaces(*addresses))))


def towards(network, route) -> Standing:
    routes = {**FACTS.towards, network: route}
    return facts(towards={key: value for key, value in routes.items() if value})


ELSEWHERE = ip_address("2001:db8:1::2")
HALF = ip_network("2001:db8:64::/97")
NFT = "nft insert rule inet f out iifname nat64 accept && nft insert rule inet f out oifname nat64 accept"
IPTABLES = "iptables -I FORWARD -i nat64 -j ACCEPT && iptables -I FORWARD -o nat64 -j ACCEPT"

# how the host stands, the condition that is, and the command that it names
GATEWAY_CASES = {
    "ipv4_forwarding_is_off": (
        parameters(net__ipv4__ip_forward="0"),
        "forwarding_off",
        "sysctl -w net.ipv4.ip_forward=1",
    ),
    "ipv6_forwarding_is_off": (
        parameters(net__ipv6__conf__all__forwarding="0"),
        "forwarding_off",
        "sysctl -w net.ipv6.conf.all.forwarding=1",
    ),
    "the_filter_is_strict": (
        parameters(net__ipv4__conf__all__rp_filter="1", net__ipv4__conf__nat64__rp_filter="0"),
        "reverse_path",
        "sysctl -w net.ipv4.conf.nat64.rp_filter=2",
    ),
    "a_policy_drops": (ruleset("forward"), "firewall", NFT),
    "a_policy_of_iptables": (ruleset("forward", family="ip", table="filter", name="FORWARD"), "firewall", IPTABLES),
    "a_policy_of_ip6tables": (
        ruleset("forward", family="ip6", table="filter", name="FORWARD"),
        "firewall",
        IPTABLES.replace("iptables", "ip6tables"),
    ),
    "another_route_is_preferred": (
        towards(POOL6, Route(POOL6, "lan0", ELSEWHERE, 100)),
        "routed_elsewhere",
        "ip -6 route del 2001:db8:64::/96 via 2001:db8:1::2 dev lan0 metric 100",
    ),
    "a_route_for_a_part": (
        towards(POOL6, Route(HALF, "lan0", ELSEWHERE)),
        "partly_routed_elsewhere",
        "ip -6 route del 2001:db8:64::/97 via 2001:db8:1::2 dev lan0",
    ),
    "a_route_that_discards": (towards(POOL6, None), "not_routed", None),
    "a_pool_address_on_an_interface": (
        link_with("203.0.113.5/32"),
        "own_address",
        "ip address del 203.0.113.5/32 dev new0",
    ),
    "an_address_in_pool6": (link_with("2001:db8:64::9/128"), "own_address", None),
    "an_address_in_an_eam": (
        link_with("198.51.100.129/32"),
        "own_address_in_eam",
        "ip address del 198.51.100.129/32 dev new0",
    ),
    "a_router_in_pool6": (
        facts(defaults=(*FACTS.defaults, Route(EVERYTHING6, "new0", ip_address("2001:db8:64::1")))),
        "router_inside",
        None,
    ),
    "a_pool_in_a_subnet": (
        link_with("198.51.100.1/24"),
        "on_link",
        "sysctl -w net.ipv4.conf.new0.proxy_arp=1",
    ),
    "no_default_route": (
        facts(defaults=(), masquerading=()),
        "masquerade_without_route",
        "ip route add default via ROUTER",
    ),
    "no_address_to_hide_behind": (
        facts(links=(LAN, Link("eth0"))),
        "masquerade_without_address",
        "ip address add ADDRESS/LENGTH dev eth0",
    ),
}

HOME = replace(
    SOUND, networks=frozenset((ip_network("2001:db8:1::464/128"),)), masquerade=(), link="lan0", proxied=True
)
HOME = replace(
    HOME,
    facts=replace(
        FACTS, towards={ip_network("2001:db8:1::464/128"): Route(ip_network("2001:db8:1::464/128"), "nat64")}
    ),
)
CLAT_WANTED = Wanted("nat64", {"up": 1}, link="lan0")
CLAT_CASES = {
    "no_route_to_the_provider": (
        replace(HOME, plat=False),
        "plat_unreachable",
        "ip -6 route add default via ROUTER dev INTERFACE",
    ),
    "the_prefix_of_the_link_is_gone": (replace(HOME, link=None), "clat_off_link", "nat64d reload"),
    "another_program_is_a_clat": (
        replace(HOME, facts=replace(HOME.facts, links=(*FACTS.links, Link("clat0", interfaces("192.0.0.4/32"))))),
        "clat_ipv4_in_use",
        "ip address del 192.0.0.4/32 dev clat0",
    ),
    "the_firewall_drops_what_is_forwarded": (replace(HOME, ruleset=ruleset("forward").ruleset), "firewall", NFT),
    "what_programs_here_send": (
        replace(HOME, ruleset=ruleset("output").ruleset),
        "firewall",
        "nft insert rule inet f out oifname nat64 accept",
    ),
    "what_they_get": (
        replace(HOME, ruleset=ruleset("input").ruleset),
        "firewall",
        "nft insert rule inet f out iifname nat64 accept",
    ),
}

SHARED = 'pool6 = "2001:db8:64::/96"\n[[pool4]]\naddresses = "interface:eth0"\n'
SHARED_SOUND = replace(SOUND, networks=frozenset((POOL6,)), masquerade=())
SHARED_CASES = {
    "a_shared_address_is_gone": (
        replace(SHARED_SOUND, facts=replace(FACTS, links=(LAN, Link("eth0")))),
        "pool4_without_address",
        "ip address add ADDRESS/LENGTH dev eth0",
    ),
    "a_program_receives_at_a_shared_port": (
        replace(SHARED_SOUND, facts=replace(FACTS, sockets=Sockets(bound=frozenset({Bound("udp", None, 62000)})))),
        "shared_ports_in_use",
        "ss -lnp sport = :62000",
    ),
    "programs_are_given_shared_ports": (
        replace(SHARED_SOUND, facts=replace(FACTS, sockets=Sockets(1024, 65535))),
        "shared_ports_in_use",
        "sysctl -w net.ipv4.ip_local_reserved_ports=61001-65535",
    ),
}
SHARED_WANTED = replace(WANTED, networks=(POOL6,), masquerade=())

CASES = [
    *((SHARED, SHARED_SOUND, SHARED_WANTED, *case) for case in SHARED_CASES.values()),
    *((GATEWAY, SOUND, WANTED, *case) for case in GATEWAY_CASES.values()),
    *((CLAT, HOME, CLAT_WANTED, *case) for case in CLAT_CASES.values()),
]


def found(text: str, standing: Standing, wanted: Wanted, **more):
    config = loads(text)
    config = config.with_pools(own4(config.pool4, standing.facts))
    return conditions(Situation(config, standing, wanted, **more))


@pytest.mark.parametrize(
    ("text", "sound", "wanted", "standing", "name", "command"), CASES, ids=[*SHARED_CASES, *GATEWAY_CASES, *CLAT_CASES]
)
def test_a_condition_stands_and_ends(text, sound, wanted, standing, name, command):
    (one,) = found(text, standing, wanted)
    assert (one.condition.name, one.command) == (name, command)
    assert found(text, sound, wanted) == []


def test_what_cannot_be_set_up_again_is_a_condition():
    why = "No permission to set up nat64 again: run as root or with CAP_NET_ADMIN."
    (one,) = found(GATEWAY, SOUND, WANTED, failures={"route": why, "address": why})
    assert (one.condition.name, one.sentence, one.condition.blocks) == ("not_set_up", why, True)


def test_what_is_undone_again_and_again_is_a_condition():
    (one,) = found(GATEWAY, SOUND, WANTED, contested=("address", "route"))
    assert (one.condition.name, one.condition.blocks) == ("contested", False)
    assert "(address, route)" in one.sentence


@pytest.mark.parametrize("standing", [parameters(net__ipv4__ip_forward="0"), ruleset("forward")])
def test_a_name_server_alone_needs_no_forwarding_until_packets_are_led_to_it(standing):
    text = 'pool6 = "2001:db8:64::/96"\n[dns64]\n[host]\nroutes = false\nsysctls = false\n'
    assert len(found(text, standing, WANTED)) == 1
    assert found(text, replace(standing, networks=frozenset()), WANTED) == []


def test_an_interface_that_cannot_be_advertised_on_is_a_condition():
    announcing = Announcing(silent=(("eth7", "it is down, or has no link-local address. Run 'ip link set eth7 up'"),))
    (one,) = found(GATEWAY, SOUND, WANTED, announcing=announcing)
    assert (one.condition.name, one.condition.blocks, one.command) == ("ra_silent", False, "ip link set eth7 up")


def test_other_routers_with_another_prefix_are_one_condition_for_each_link():
    rivals = (
        ("eth0", "fe80::1", "2001:db8:a::/96"),
        ("eth0", "fe80::2", "2001:db8:b::/96"),
        ("eth1", "fe80::1", "::/96"),
    )
    (one, other) = found(GATEWAY, SOUND, WANTED, announcing=Announcing(rivals=rivals))
    assert (one.condition.name, one.condition.blocks, one.command) == ("ra_rival", False, None)
    assert {"fe80::1 on eth0, announces the NAT64 prefix 2001:db8:a::/96", "fe80::1 on eth1"} == {
        text
        for text in ("fe80::1 on eth0, announces the NAT64 prefix 2001:db8:a::/96", "fe80::1 on eth1")
        if text in one.sentence + other.sentence
    }


def test_every_condition_is_provoked_here():
    elsewhere = {"not_set_up", "contested", "ra_silent", "ra_rival"}
    elsewhere |= {"vip_silent", "vip_taken", "vip_off_link"}  # in test_announce*.py
    elsewhere |= {"pool4_filling", "tables_filling"}  # in test_watermarks.py
    elsewhere |= {"fastpath_interface", "fastpath_half_seen"}  # in test_fastpath_interfaces.py
    assert {case[4] for case in CASES} | elsewhere == {row.name for row in CONDITIONS}


def test_the_passage_of_hosts_behind_a_clat_is_forwarded():
    text = CLAT + 'ipv4 = "192.168.7.0/24"\n'
    text = text.replace("2001:db8:1::464", "2001:db8:4::/120")
    for hook, names in (("forward", ["firewall"]), ("output", []), ("input", [])):
        standing = replace(HOME, ruleset=ruleset(hook).ruleset)
        standing = replace(
            standing, facts=replace(FACTS, towards={ip_network("2001:db8:4::/120"): Route(POOL6, "nat64")})
        )
        assert [one.condition.name for one in found(text, standing, replace(CLAT_WANTED, link=None))] == names


# ---- what has to be set up again

SHARE = Share(ip_address("192.0.2.2"), 61001, 65535, ("udp",))
CHANGES = {
    "down": (replace(SOUND, device=replace(DEVICE, settings={"up": 0})), "device", {"up": 1}),
    "mtu": (replace(SOUND, device=replace(DEVICE, mtu=1400)), "device", {"mtu": 1500}),
    "filter": (parameters(net__ipv4__conf__all__rp_filter="1"), "device", {"rp_filter": 2}),
    "ipv6": (parameters(net__ipv6__conf__nat64__disable_ipv6="1"), "ipv6", None),
    "route": (replace(SOUND, networks=frozenset((POOL4,))), "route", POOL6),
    "masquerade": (replace(SOUND, masquerade=()), "masquerade", ("eth0",)),
    "shares": (replace(SOUND, shares=(SHARE,)), "shares", ()),
    "forwarding": (parameters(net__ipv4__ip_forward="0"), "forwarding", ["net/ipv4/ip_forward"]),
}


@pytest.mark.parametrize(("standing", "name", "subject"), CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_found(standing, name, subject):
    (difference,) = differences(WANTED, standing)
    assert (difference.name, difference.subject) == (name, subject)
    assert differences(WANTED, SOUND) == []


def test_addresses_neighbours_and_the_default_route_of_a_clat():
    wanted = replace(CLAT_WANTED, addresses=interfaces("192.0.0.1/32"), default=Default(1480, None))
    gone = [difference.name for difference in differences(wanted, replace(HOME, proxied=False))]
    assert gone == ["address", "default", "proxy"]
    sound = replace(HOME, addresses=frozenset(wanted.addresses), default=True)
    assert differences(wanted, sound) == []
    assert differences(wanted, replace(sound, link=None, proxied=False)) == []


def test_parameters_that_are_not_ours_are_left_alone():
    off = parameters(net__ipv4__ip_forward="0", net__ipv4__conf__all__rp_filter="1")
    assert differences(replace(WANTED, sysctls=False), off) == []


def test_of_a_device_that_is_gone_nothing_is_set_up():
    assert differences(WANTED, Standing()) == []


# ---- the board

DROPPED = found(GATEWAY, ruleset("forward"), WANTED)
DOUBTFUL = found(GATEWAY, link_with("198.51.100.1/24"), WANTED)


def test_a_condition_is_logged_once_when_it_begins_and_once_when_it_ends(caplog):
    caplog.set_level(logging.INFO)
    board = Board(logging.getLogger("test"))
    for now in (100.0, 101.0, 160.0):
        board.update(DROPPED, now)
    assert [row["seconds"] for row in board.standing(161.5)] == [61.5]
    assert board.blocking() == ["firewall"]
    board.update(DOUBTFUL, 170.0)
    assert (board.blocking(), board.standing(170.0)[0]["blocks"]) == ([], False)
    assert [record.getMessage() for record in caplog.records] == [
        f"firewall (packets cannot pass): {DROPPED[0].sentence}",
        f"on_link (packets pass): {DOUBTFUL[0].sentence}",
        f"Over after 70 s: firewall: {DROPPED[0].sentence}",
    ]


def test_every_condition_has_a_row_with_how_often_it_stands():
    board = Board(logging.getLogger("test"))
    board.update([*DROPPED, *DOUBTFUL], 0.0)
    rows = board.rows(1.0)
    assert [row["condition"] for row in rows] == [row.name for row in CONDITIONS]
    assert {row["condition"] for row in rows if row["standing"]} == {"firewall", "on_link"}
