"""`nat64d doctor`: every row of the table finds what it is for, and nothing on a sound host."""

from dataclasses import replace

import pytest

from nat64d.config.load import loads
from nat64d.doctor.advertisements import Announced
from nat64d.doctor.checks import CHECKS
from nat64d.doctor.daemon import Answer
from nat64d.doctor.finding import Severity
from nat64d.doctor.kernel import Clock
from nat64d.doctor.links import Offloads
from nat64d.doctor.look import Look, UnseenError, examine
from nat64d.doctor.names import Made, Taken
from nat64d.doctor.privileges import NET_ADMIN, Process
from nat64d.doctor.readers import READERS
from nat64d.host.facts import Link, Route
from tests.nat64d.sound import (
    ALL_CAPABILITIES,
    EVERYTHING4,
    EVERYTHING6,
    GATEWAY,
    HERE,
    LAN,
    OTHER,
    POOL6,
    ROUTER6,
    SOUND,
    STATUS,
    TUN,
    WAN,
)

RESOLVED = GATEWAY.replace("[dns64]", "")
CLAT = """
[clat]
ipv6 = "2001:db8:1::464"
plat = "64:ff9b::/96"
"""
DISCOVERING = """
[clat]
ipv6 = "2001:db8:1::464"
"""
RESOLVER = [Made("/etc/resolv.conf", False, (POOL6,))]


def unit(**changes: str) -> dict[str, object]:
    return {"unit": {**SOUND["unit"], **changes}}


def status(**changes: object) -> dict[str, object]:
    return {"status": {**STATUS, **changes}, "answer": Answer({**STATUS, **changes}, "", True)}


def resolver(*prefixes, why: str = "") -> dict[str, object]:
    return {"made": [Made("/etc/resolv.conf", False, prefixes, why)]}


def own(*prefixes, why: str = "") -> dict[str, object]:
    return {"made": [Made("[::1]:53", True, prefixes, why)]}


def device(**changes) -> dict[str, object]:
    return {"host": replace(HERE, device=replace(HERE.device, **changes))}


def links(*there: Link) -> dict[str, object]:
    return {"host": replace(HERE, facts=replace(HERE.facts, links=there))}


def defaults(*there: Route) -> dict[str, object]:
    return {"host": replace(HERE, facts=replace(HERE.facts, defaults=there))}


def condition(name: str, blocks: bool) -> dict[str, object]:
    return {"conditions": [{"condition": name, "blocks": blocks, "sentence": "It drops. Run 'nft flush ruleset'."}]}


DROP_IN = "/etc/systemd/system/nat64d.service.d"
RELOAD = "systemctl daemon-reload && systemctl restart nat64d.service"
PRIVATE = f'mkdir -p {DROP_IN} && printf "[Service]\\nPrivateDevices=no\\n" > {DROP_IN}/PrivateDevices.conf && {RELOAD}'
AMBIENT = PRIVATE.replace("PrivateDevices=no", "AmbientCapabilities=CAP_NET_ADMIN").replace(
    "PrivateDevices", "AmbientCapabilities"
)
PLAT4 = Route(EVERYTHING4, "nat64", None, 65536)
RENEWED, RELOADED = "systemctl restart nat64d", "nat64d reload"

# the configuration, what is different from SOUND, the check that finds it, how bad that is, and the command
CASES = {
    "it_still_compiles": (
        GATEWAY,
        status(state="compiling"),
        "daemon",
        "error",
        "nat64d status --wait 300",
    ),
    "it_does_not_answer": (GATEWAY, {"answer": Answer(None, "in time", True)}, "daemon", "error", None),
    "an_older_version": (GATEWAY, status(version="0.0.1"), "outdated", "warning", RENEWED),
    "another_prefix_than_in_the_file": (GATEWAY, status(pool6=str(OTHER)), "outdated", "warning", RELOADED),
    "other_limits": (GATEWAY, status(limits={"sessions": 16}, sessions=0), "outdated", "warning", RENEWED),
    "it_warns": (GATEWAY, status(warnings=["Port 53 is taken."]), "warnings", "warning", None),
    "a_condition_that_blocks": (GATEWAY, condition("not_routed", True), "not_routed", "error", "nft flush ruleset"),
    "a_condition_that_does_not": (GATEWAY, condition("on_link", False), "on_link", "warning", "nft flush ruleset"),
    "the_firewall": (GATEWAY, condition("firewall", True), "firewall", "error", "nft flush ruleset"),
    "a_firewall_that_cannot_be_read": (GATEWAY, {"nft": "needs root"}, "firewall", "note", None),
    "a_private_pool": (GATEWAY.replace("203.0.113.0", "10.0.0.0"), {}, "configuration", "note", None),
    "the_unit_has_failed": (
        GATEWAY,
        unit(ActiveState="failed", Result="exit-code"),
        "unit",
        "error",
        "journalctl -u nat64d.service -n 30",
    ),
    "the_unit_was_changed": (
        GATEWAY,
        unit(NeedDaemonReload="yes"),
        "unit",
        "warning",
        "systemctl daemon-reload",
    ),
    "the_unit_has_no_devices": (GATEWAY, unit(PrivateDevices="yes"), "unit", "error", PRIVATE),
    "the_unit_gives_no_capability": (
        GATEWAY,
        unit(AmbientCapabilities="cap_net_bind_service"),
        "unit",
        "error",
        AMBIENT,
    ),
    "the_unit_takes_capabilities_from_root": (
        GATEWAY,
        unit(User="", DynamicUser="no", AmbientCapabilities="", CapabilityBoundingSet="cap_net_admin"),
        "unit",
        "error",
        "systemctl enable nat64d.socket && systemctl restart nat64d.service",
    ),
    "the_daemon_lacks_a_capability": (
        GATEWAY,
        {"process": Process(17, 1 << NET_ADMIN, 65536, True)},
        "capabilities",
        "error",
        None,
    ),
    "this_user_lacks_them": (GATEWAY, {"process": Process(17, 0, 65536, False)}, "capabilities", "note", None),
    "few_files": (
        GATEWAY,
        {"process": Process(17, ALL_CAPABILITIES, 512, True)},
        "open_files",
        "warning",
        "ulimit -n 65536",
    ),
    "no_tun": (GATEWAY, {"tun": 0}, "tun_driver", "error", "modprobe tun"),
    "no_offloads_of_tun": (GATEWAY, {"tun": 0x7FFF & ~0x4000}, "tun_driver", "error", None),
    "a_single_queue": (GATEWAY, {"tun": 0x7FFF & ~0x0100}, "tun_driver", "error", None),
    "a_device_of_another_kind": (GATEWAY, device(kind="dummy"), "tun_device", "error", "ip link del nat64"),
    "a_device_too_small_for_ipv6": (GATEWAY, device(mtu=1000), "tun_device", "error", "ip link set nat64 mtu 1500"),
    "a_device_of_one_queue": (
        f"{GATEWAY}[tun]\nqueues = 2\n",
        device(multi_queue=False),
        "tun_device",
        "error",
        "ip tuntap del dev nat64 mode tun && ip tuntap add dev nat64 mode tun multi_queue",
    ),
    "a_kernel_without_ipv6": (GATEWAY, {"ipv6": None}, "ipv6", "error", None),
    "ipv6_is_off": (GATEWAY, {"ipv6": "1"}, "ipv6", "error", "sysctl -w net.ipv6.conf.all.disable_ipv6=0"),
    "a_kernel_that_cannot_masquerade": (
        GATEWAY,
        {"masquerade": "Error: Could not process rule"},
        "masquerade",
        "error",
        "modprobe nft_masq",
    ),
    "connections_are_tracked": (
        GATEWAY,
        {"tracked": (80, 100)},
        "conntrack",
        "warning",
        "sysctl -w net.netfilter.nf_conntrack_max=200",
    ),
    "as_many_as_can_be": (
        GATEWAY,
        {"tracked": (100, 100)},
        "conntrack",
        "error",
        "sysctl -w net.netfilter.nf_conntrack_max=200",
    ),
    "before_it_was_installed": (
        GATEWAY,
        {"clock": Clock(0, 1.9e9, True)},
        "clock",
        "warning",
        "timedatectl set-ntp true",
    ),
    "when_certificates_are_needed": (
        f'{GATEWAY}upstream = ["tls://[2001:db8::53]:853#dns.example"]\n',
        {"clock": Clock(0, 1.9e9, True)},
        "clock",
        "error",
        "timedatectl set-ntp true",
    ),
    "nobody_sets_the_clock": (
        GATEWAY,
        {"clock": Clock(2e9, 1.9e9, False)},
        "clock",
        "note",
        "timedatectl set-ntp true",
    ),
    "lro": (GATEWAY, {"offloads": {"eth0": Offloads(True, True)}}, "offloads", "warning", "ethtool -K eth0 lro off"),
    "no_gro_of_a_card": (
        GATEWAY,
        {"offloads": {"eth0": Offloads(False, False)}},
        "offloads",
        "warning",
        "ethtool -K eth0 gro on",
    ),
    "mtu4_is_more_than_the_uplink_carries": (
        f"{GATEWAY}[translation]\nmtu4 = 9000\n",
        {},
        "mtu",
        "warning",
        None,
    ),
    "mtu6_is_more_than_the_route_carries": (
        f"{GATEWAY}[translation]\nmtu6 = 1500\n",
        defaults(*HERE.facts.defaults[:1], Route(EVERYTHING6, "lan0", ROUTER6, mtu=1480)),
        "mtu",
        "warning",
        None,
    ),
    "what_advertisements_say_of_the_mtu": (
        f"{GATEWAY}[translation]\nlowest_ipv6_mtu = 1500\n",
        {"mtus6": {"lan0": 1400}},
        "mtu",
        "warning",
        None,
    ),
    "the_way_to_the_provider_is_narrow": (
        CLAT,
        {
            **defaults(Route(EVERYTHING6, "lan0", ROUTER6, mtu=1492), Route(EVERYTHING4, "nat64", None, 9, 1480)),
        },
        "mtu",
        "warning",
        None,
    ),
    "a_route_of_ones_own_without_mtu": (
        CLAT,
        defaults(PLAT4),
        "mtu",
        "warning",
        "ip route change default dev nat64 metric 65536 mtu 1480",
    ),
    "a_route_of_ones_own_that_leaves_no_room": (
        CLAT,
        defaults(replace(PLAT4, mtu=1490)),
        "mtu",
        "warning",
        "ip route change default dev nat64 metric 65536 mtu 1480",
    ),
    "a_route_of_ones_own_with_a_large_mss": (
        CLAT,
        defaults(replace(PLAT4, mtu=1480, advmss=1460)),
        "mtu",
        "warning",
        "ip route change default dev nat64 metric 65536 mtu 1480 advmss 1440",
    ),
    "jumbo_frames_on_both_sides": (
        GATEWAY,
        {**links(replace(LAN, mtu=9000), replace(WAN, mtu=9000), TUN), "mtus6": {"lan0": 9000}},
        "mtu",
        "note",
        None,
    ),
    "ports_run_out": (
        GATEWAY,
        {"pools": [{"addresses": "203.0.113.0/28", "protocol": "udp", "used": 80, "total": 100}]},
        "pools",
        "warning",
        "nat64d bib",
    ),
    "sessions_run_out": (GATEWAY, status(sessions=900000), "sessions", "warning", "nat64d sessions"),
    "port_53_is_taken": (GATEWAY, {"taken": [Taken("[::]:53", "taken by unbound")]}, "dns64_port", "warning", None),
    "another_prefix_in_dns": (GATEWAY, own(OTHER), "dns64", "error", RELOADED),
    "no_addresses_are_made": (GATEWAY, own(why="no answer"), "dns64", "error", None),
    "it_does_not_serve_this_host": (GATEWAY, own(why="127.0.0.1 answered REFUSED"), "dns64", "note", None),
    "another_prefix_at_the_resolver": (RESOLVED, resolver(OTHER), "dns64", "warning", None),
    "no_resolver": (RESOLVED, resolver(why="no server answered"), "dns64", "note", None),
    "a_provider_with_another_prefix": (CLAT, resolver(OTHER), "dns64", "warning", None),
    "no_prefix_to_discover": (DISCOVERING, resolver(why="so it is no DNS64"), "dns64", "error", None),
    "another_prefix_is_announced": (
        GATEWAY,
        {"announced": [Announced("lan0", ROUTER6, OTHER)]},
        "pref64",
        "warning",
        None,
    ),
    "none_is_announced": (GATEWAY, {"announced": []}, "pref64", "note", None),
}


def found(text: str, changes: dict[str, object]):
    """The findings of every check."""
    seen = {**SOUND, **({} if "[dns64]" in text else {"made": RESOLVER}), **changes}
    readers = {name: (lambda _, value=value: value) for name, value in seen.items()}
    return list(examine(Look(loads(text), readers), CHECKS))


@pytest.mark.parametrize(("text", "changes", "check", "severity", "remedy"), CASES.values(), ids=CASES)
def test_what_is_wrong_is_found(text, changes, check, severity, remedy):
    (one,) = found(text, changes)
    assert (one.check, one.severity.value, one.row["command"]) == (check, severity, remedy)


def test_nothing_is_found_where_nothing_is_wrong():
    assert found(GATEWAY, {}) == []
    for text in (RESOLVED, CLAT, DISCOVERING):
        assert found(text, {}) == []


def test_the_cases_provoke_every_check():
    named = {row[2] for row in CASES.values()} - {"not_routed", "on_link"} | {"conditions"}
    assert named == {row.name for row in CHECKS}


def test_an_ordinary_resolver_of_a_gateway_is_nothing():
    assert found(RESOLVED, {"made": [Made("", False, (), "the resolver knows no address, so it is no DNS64")]}) == []


def test_rules_that_a_daemon_cannot_read_are_found_from_here():
    chain = {"family": "ip", "table": "filter of iptables-legacy", "name": "FORWARD", "hook": "forward"}
    there = replace(HERE, ruleset={"nftables": [{"chain": {**chain, "policy": "drop"}}]})
    (one,) = found(GATEWAY, {"host": there})
    assert one.row["command"].startswith("iptables-legacy -I FORWARD")
    known = {"condition": "firewall", "blocks": True, "sentence": one.sentence}
    assert found(GATEWAY, {"host": there, "conditions": [known]}) == [one]


def test_one_of_two_prefixes_on_a_link_is_enough():
    assert found(GATEWAY, {"announced": [Announced("lan0", ROUTER6, one) for one in (OTHER, POOL6)]}) == []


def test_the_resolver_of_a_gateway_is_compared_with_the_file():
    seen = found(RESOLVED, {**status(pool6=str(OTHER)), **resolver(OTHER)})
    assert [one.check for one in seen] == ["outdated", "dns64"]


def test_a_restart_is_not_asked_for_where_the_prefix_is_discovered():
    assert [one.check for one in found(DISCOVERING, status(pool6=str(OTHER)))] == ["dns64", "pref64"]


def test_every_reader_is_needed_by_a_check_or_another_reader():
    needed = {name for row in CHECKS for name in row.needs}
    assert needed | {"pid"} == set(READERS)
    assert set(SOUND) == set(READERS)


def test_what_cannot_be_looked_at_is_said_and_is_no_finding():
    def unseen(_: Look):
        raise UnseenError("needs root")

    readers = {name: (lambda _, value=value: value) for name, value in SOUND.items()} | {"tun": unseen}
    (one,) = examine(Look(loads(GATEWAY), readers), CHECKS)
    assert (one.check, one.severity, one.sentence) == ("tun_driver", Severity.NOTE, "Not checked: needs root.")


@pytest.mark.parametrize(
    ("raised", "why"),
    [(PermissionError(13, "x"), "needs root"), (OSError(19, "x"), "No such device"), (UnseenError("asleep"), "asleep")],
)
def test_a_thing_is_read_once_and_a_failure_is_a_reason(raised, why):
    asked = []

    def failing(_: Look):
        asked.append(1)
        raise raised

    look = Look(loads(GATEWAY), {"tun": failing})
    for _ in range(2):
        with pytest.raises(UnseenError, match=why):
            _ = look["tun"]
    assert len(asked) == 1
