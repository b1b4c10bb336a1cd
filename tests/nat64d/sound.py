"""A gateway that nothing is wrong with, as the readers of `nat64d doctor` see it."""

from ipaddress import IPv6Address, ip_address, ip_interface, ip_network

from nat64d import __version__
from nat64d.doctor.advertisements import Announced
from nat64d.doctor.daemon import Answer
from nat64d.doctor.kernel import Clock
from nat64d.doctor.links import Offloads
from nat64d.doctor.names import Made
from nat64d.doctor.privileges import NET_ADMIN, NET_BIND_SERVICE, Process
from nat64d.host.facts import Facts, Link, Route
from nat64d.host.rtnetlink import Device
from nat64d.host.standing import Standing

GATEWAY = """
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "203.0.113.0/28"
[dns64]
"""
POOL6, OTHER = ip_network("64:ff9b::/96"), ip_network("2001:db8:64::/96")
EVERYTHING4, EVERYTHING6 = ip_network("0.0.0.0/0"), ip_network("::/0")
ROUTER6 = IPv6Address("fe80::1")
ALL_CAPABILITIES = (1 << 41) - 1

STATUS = {
    "version": __version__,
    "state": "ready",
    "pool6": str(POOL6),
    "sessions": 10,
    "limits": {"sessions": 1048576},
    "dns64": {"listening": ["[::]:53"]},
    "warnings": [],
    "conditions": [],
}
LAN = Link("lan0", (ip_interface("2001:db8:1::1/64"),), hardware=True)
WAN = Link("eth0", (ip_interface("192.0.2.2/24"),), hardware=True)
TUN = Link("nat64", (), resolves=False)
HERE = Standing(
    facts=Facts(
        links=(LAN, WAN, TUN),
        defaults=(
            Route(EVERYTHING4, "eth0", ip_address("192.0.2.1")),
            Route(EVERYTHING6, "lan0", ROUTER6),
            Route(EVERYTHING4, "nat64", None, 65536, 1480),
        ),
        masquerading=("eth0",),
    ),
    device=Device(9, "tun", False, True, 1, 1500, {"up": 1}),
    ruleset={"nftables": []},
)
SOUND = {
    "answer": Answer(STATUS, "", True),
    "status": STATUS,
    "pools": [{"addresses": "203.0.113.0/28", "protocol": "udp", "used": 10, "total": 100}],
    "pid": 17,
    "host": HERE,
    "conditions": [],
    "nft": "",
    "process": Process(17, ALL_CAPABILITIES, 65536, True),
    "unit": {
        "ActiveState": "active",
        "User": "nat64d",
        "DynamicUser": "yes",
        "PrivateDevices": "no",
        "AmbientCapabilities": "cap_net_bind_service cap_net_admin",
        "CapabilityBoundingSet": "cap_net_bind_service cap_net_admin",
    },
    "needed": [NET_ADMIN, NET_BIND_SERVICE],
    "tun": 0x7FFF,
    "ipv6": "0",
    "masquerade": "",
    "tracked": (10, 100),
    "clock": Clock(2e9, 1.9e9, True),
    "offloads": {"lan0": Offloads(False, True), "eth0": Offloads(False, True)},
    "mtus6": {"lan0": 1500, "eth0": 1500},
    "made": [Made("[::1]:53", True, (POOL6,))],
    "taken": [],
    "announced": [Announced("lan0", ROUTER6, POOL6)],
}
ABSENT = Answer(None, "no daemon answers here", False)
