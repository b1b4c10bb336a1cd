"""[clat] ipv6 = "interface:eth0": which address that is, and that it is set up, followed and undone; and a CLAT that is
hidden behind the one address its host has."""

import asyncio
from contextlib import suppress
from functools import partial
from ipaddress import IPv6Network, ip_interface
from pathlib import Path

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.config.addresses import BEHIND
from nat64d.config.errors import ConfigError
from nat64d.config.load import dump, loads
from nat64d.control.changes import Wish
from nat64d.gateway import reload as module
from nat64d.host.errors import HostError
from nat64d.host.facts import Facts, Link, read
from nat64d.host.own6 import Own6, own6
from tests.nat64d.hosts import fixtures, gateway, rules
from tests.nat64d.netns import Namespace, ip, run
from tests.nat64d.test_host_clat import CLAT6, clat, proxies, uplink
from tests.nat64d.test_reload import Scene, here, scene

__all__ = ["clat", "here", "scene", "uplink"]
namespace, server, _text, _config = fixtures()

LOCAL = "fe80::a8bb:ccff:fedd:1/64"
OF_ETH0 = '[clat]\nipv6 = "interface:eth0"\nplat = "64:ff9b::/96"\n'


def facts(*addresses: str, passing: tuple[str, ...] = (), local: str = LOCAL) -> Facts:
    """A host whose eth0 has these addresses."""
    every = tuple(map(ip_interface, (*addresses, *passing, local, "192.0.2.2/24")))
    return Facts((Link("lo"), Link("eth0", every, passing=frozenset(map(ip_interface, passing)))))


def chosen(*addresses: str, **more) -> str:
    """The prefix of 64 bits that the address is in."""
    own = own6(facts(*addresses, **more), "eth0")
    assert own is not None
    assert (own.behind, own.network.prefixlen) == (None, 128)
    return str(own.network.supernet(new_prefix=64))


def test_an_address_of_the_interfaces_prefix_that_nobody_has():
    assert chosen("2001:db8:1::2/64") == "2001:db8:1::/64"
    one, again = (own6(facts("2001:db8:1::2/64"), "eth0") for _ in range(2))
    assert one == again, "the same at each start"
    other = own6(facts("2001:db8:1::2/64", local="fe80::2/64"), "eth0")
    assert other != one, "another one on another host"
    assert own6(facts("2001:db8:1::2/64"), "eth7") is None


def test_rfc4291_2_6_1_neither_that_of_the_routers_nor_its_own():
    for number in range(256):
        own = own6(facts(f"2001:db8::{number:x}/120"), "eth0")
        assert own is not None
        assert own.network[0] not in {ip_interface(f"2001:db8::{number:x}").ip, ip_interface("2001:db8::").ip}


def test_global_addresses_go_before_private_ones_and_lasting_ones_alone_count():
    assert chosen("fd00:1::2/64", "2001:db8:1::2/64") == "2001:db8:1::/64"
    assert chosen("fd00:1::2/64") == "fd00:1::/64"
    assert chosen("2001:db8:2::2/64", passing=("2001:db8:1::2/64",)) == "2001:db8:2::/64"
    assert own6(facts(passing=("2001:db8:1::2/64",)), "eth0") is None
    assert own6(facts(), "eth0") is None, "a link-local address is none"


@pytest.mark.parametrize("private", ["fd00:1::2/64", "fd00:1::2/128"])
def test_private_addresses_count_only_where_no_global_one_is_not_even_a_passing_one(private):
    assert own6(facts("2001:db8:1::2/128", private), "eth0") == Own6(BEHIND, "eth0")
    for before in (None, IPv6Network("2001:db8:1::464"), IPv6Network("fd00:1::464")):
        assert own6(facts(private, passing=("2001:db8:1::2/64",)), "eth0", before) is None, "its successor is to come"
    assert chosen(private, "2001:db8:2::2/64", passing=("2001:db8:1::2/64",)) == "2001:db8:2::/64"


def test_the_address_stays_as_long_as_its_prefix_is_there():
    before = IPv6Network("2001:db8:2::464")
    assert own6(facts("2001:db8:1::2/64", "2001:db8:2::2/64"), "eth0", before) == Own6(before)
    assert own6(facts("2001:db8:1::2/64"), "eth0", before) != Own6(before)


@pytest.mark.parametrize("single", ["2001:db8:1::2/128", "2001:db8:1::2/127"])
def test_a_host_with_one_single_address_hides_its_clat_behind_it(single):
    assert own6(facts(single), "eth0") == Own6(BEHIND, "eth0")
    assert own6(facts(single, "2001:db8:2::2/64"), "eth0") != Own6(BEHIND, "eth0")


# ---- in a configuration


def test_what_an_interface_gives_is_not_known_from_a_file_alone():
    config = loads(OF_ETH0)
    assert (config.clat_interface, config.mappings[-1].ipv6[0]) == ("eth0", BEHIND[0])
    assert 'ipv6 = "interface:eth0"' in dump(config)
    assert config == loads(OF_ETH0) != loads(OF_ETH0.replace("eth0", "eth1"))
    known = config.with_clat6(*Own6(IPv6Network(CLAT6)))
    assert (known.clat_interface, str(known.mappings[-1].ipv6), known.host.masquerade) == (None, f"{CLAT6}/128", "off")
    assert config.with_clat6(*Own6(BEHIND, "eth0")).host.masquerade == "eth0"


def test_a_name_that_no_interface_has_is_refused():
    with pytest.raises(ConfigError, match="an interface name: 1 to 15 printable"):
        loads(OF_ETH0.replace("eth0", "eth 0"))


# ---- on a host


def test_deprecated_and_temporary_addresses_are_passing(server: Namespace):
    ip("address", "add", "2001:db8:1::2/64", "dev", "eth0", "nodad")
    ip("address", "add", "2001:db8:2::2/64", "dev", "eth0", "nodad", "preferred_lft", "0")
    (eth0,) = (link for link in read().links if link.name == "eth0")
    assert eth0.passing == {ip_interface("2001:db8:2::2/64")}


def test_a_clat_is_hidden_behind_an_address_of_the_uplink(uplink, clat):
    ip("-6", "route", "add", "default", "dev", "eth0")  # every address is on the link
    config = clat('[host]\nmasquerade = "eth0"\n', ipv6=str(BEHIND[0]))
    with gateway(config) as (_, _, lines):
        assert rules() == [f'oifname "eth0" ip6 saddr {BEHIND[0]} masquerade']
        assert "table ip6 nat64d_nat64" in run("nft", "list", "tables")
        assert f"Masquerade: {BEHIND} behind the address of eth0" in lines
        assert proxies() == [], "nobody asks for it"
        run("nft", "flush", "ruleset")
        assert len(rules()) == 1, "it is ours"
    assert run("nft", "list", "ruleset") == ""


def test_auto_is_the_interface_of_the_ipv6_default_route(uplink, clat):
    config = clat('[host]\nmasquerade = "auto"\n', ipv6=str(BEHIND[0]))
    with gateway(config):
        assert rules() == []
    ip("-6", "route", "add", "default", "via", "2001:db8:1::1", "dev", "eth0")
    assert read().masquerading6 == ("eth0",)
    with gateway(config):
        assert len(rules()) == 1


def test_a_reload_moves_routes_neighbour_discovery_and_masquerade(uplink, clat):
    ip("address", "add", "2001:db8:2::2/64", "dev", "eth0", "nodad")
    with gateway(clat()) as (_, host, _):
        assert proxies() == [f"{CLAT6} dev eth0 proxy"]
        for config, there in (
            (clat(ipv6="2001:db8:2::464"), ["2001:db8:2::464 dev eth0 proxy"]),
            (clat('[host]\nmasquerade = "eth0"\n', ipv6=str(BEHIND[0])), []),
            (clat(), [f"{CLAT6} dev eth0 proxy"]),
        ):
            before = host.wanted
            host.extend(config)
            host.retract(before)
            assert proxies() == there
            assert len(rules()) == (not there)
            assert config.clat is not None
            routes = ip("-6", "route", "show", "dev", "nat64", "proto", "64").split()
            assert [word for word in routes if ":" in word] == [str(config.clat.ipv6[0])]
    assert (proxies(), run("nft", "list", "ruleset")) == ([], "")


# ---- followed


def test_it_is_waited_for_and_followed(scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    seen = [facts(), facts("2001:db8:1::2/64")]
    monkeypatch.setattr(module.look, "read", lambda: seen.pop(0) if len(seen) > 1 else seen[0])
    monkeypatch.setattr(module, "LOOK", 0.0)
    scene.path.write_text(OF_ETH0)
    scene = Scene(scene.path)
    said: list[str] = []

    async def body(reload: module.Reload) -> list[str]:
        await reload.find_address(said.append)
        found = [str(scene.live.config.clat.ipv6)]  # type: ignore[union-attr]
        following = asyncio.ensure_future(reload.follow_interfaces())
        for now in (seen[0], facts("2001:db8:2::2/64"), facts(), facts("2001:db8:3::2/128")):
            seen[:] = [now]
            reload.look(now)
            expected = own6(now, "eth0", scene.live.config.clat.ipv6)  # type: ignore[union-attr]
            while expected and scene.live.config.clat.ipv6 != expected.network:  # type: ignore[union-attr]  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            found.append(str(scene.live.config.clat.ipv6))  # type: ignore[union-attr]
        following.cancel()
        return found

    monkeypatch.setattr(Scene, "retract", lambda self, _: self.done.append("retract"))
    found = scene.run(body)
    assert said == [
        "waiting for an address: [clat] ipv6: eth0 has no IPv6 address that others can reach, or is not there"
    ]
    assert found[0] == found[1] != found[2] == found[3] != found[4] == str(BEHIND)
    assert scene.live.config.host.masquerade == "eth0"


def test_it_is_followed_after_a_dry_run_and_after_a_refusal(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    seen = [facts("2001:db8:1::2/64")]
    monkeypatch.setattr(module.look, "read", lambda: seen[0])
    monkeypatch.setattr(Scene, "retract", lambda self, _: self.done.append("retract"))
    scene.path.write_text(f'{OF_ETH0}[state]\nfile = "{tmp_path / "state"}"\n')
    scene = Scene(scene.path)
    wish = Wish("api", {"eam": [{"ipv4": "198.51.100.7", "ipv6": "2001:db8::7"}]}, {}, dry_run=True)

    async def body(reload: module.Reload) -> None:
        await reload.find_address(print)
        for number, attempt in enumerate((partial(reload.change, wish), reload.reload)):
            scene.objection = HostError("no room")
            seen[:] = [facts(f"2001:db8:{number + 2}::2/64")]
            with suppress(module.RefusedError):
                await asyncio.to_thread(attempt)
            scene.objection = None
            reload.look(seen[0])
            await asyncio.sleep(0)  # what a look asks for is asked in the event loop
            assert reload._renumbered.is_set()
            await asyncio.to_thread(reload._use_interface)
            reload._renumbered.clear()
            reload.look(seen[0])
            await asyncio.sleep(0)
            assert not reload._renumbered.is_set(), "it is that"

    scene.run(body)


@pytest.mark.parametrize("error", [OSError(105, "No buffer space available"), NetlinkError(105)])
def test_a_host_that_cannot_be_looked_at_ends_no_following(scene: Scene, monkeypatch: pytest.MonkeyPatch, error):
    seen: list[Facts | Exception] = [facts("2001:db8:1::2/64")]

    def look() -> Facts:
        if isinstance(seen[0], Exception):
            raise seen.pop(0)
        return seen[0]

    monkeypatch.setattr(module.look, "read", look)
    monkeypatch.setattr(Scene, "retract", lambda self, _: self.done.append("retract"))
    scene.path.write_text(OF_ETH0)
    scene = Scene(scene.path)

    async def body(reload: module.Reload) -> None:
        await reload.find_address(print)
        following = asyncio.ensure_future(reload.follow_interfaces())
        before, other = scene.live.config.clat.ipv6, facts("2001:db8:2::2/64")  # type: ignore[union-attr]
        seen[:] = [error, other]
        while scene.live.config.clat.ipv6 == before and not following.done():  # type: ignore[union-attr]
            reload.look(other)
            await asyncio.sleep(0.01)
        assert (seen, following.done()) == ([other], False)
        following.cancel()
        monkeypatch.setattr(reload, "_use", lambda _: seen.insert(0, error) or look())
        assert not await reload.use_prefix(IPv6Network("2001:db8:65::/96"))

    scene.run(body)


def test_a_reload_keeps_it_while_the_interface_has_no_address(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    seen = [facts("2001:db8:1::2/64")]
    monkeypatch.setattr(module.look, "read", lambda: seen[0])
    monkeypatch.setattr(Scene, "retract", lambda self, _: self.done.append("retract"))
    scene.path.write_text(OF_ETH0)
    scene = Scene(scene.path)

    async def body(reload: module.Reload) -> None:
        await reload.find_address(print)
        own = scene.live.config.clat
        seen[:] = [facts()]
        scene.path.write_text(OF_ETH0 + "[timeouts]\nudp = 600\n")
        await asyncio.to_thread(reload.reload)
        assert (scene.live.config.clat, scene.live.config.timeouts.udp) == (own, 600)
        scene.path.write_text(OF_ETH0.replace("eth0", "eth1"))
        with pytest.raises(module.RefusedError, match="eth1 has no IPv6 address"):
            await asyncio.to_thread(reload.reload)

    scene.run(body)
