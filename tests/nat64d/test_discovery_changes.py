"""The provider's prefix changes: it is followed, but not to and fro."""

import asyncio
from contextlib import ExitStack
from ipaddress import IPv6Network

import pytest

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.gateway import announced
from nat64d.gateway import run as daemon
from nat64d.gateway.clat_prefix import CALM, Found, follow
from nat64d.gateway.state import Live
from tests.nat64d.test_discovery import CLAT, OTHER, THIRD, WKP, Network, Notes, answer, reload_of


class EnoughError(Exception):
    """The test has seen enough."""


def test_another_prefix_is_followed_and_one_that_could_not_be_used_is_tried_again():
    turns = (OTHER, THIRD), (OTHER, WKP), (OTHER,), (OTHER,), (WKP, THIRD), (WKP, THIRD)  # the first one is used
    network = Network(*(answer(*prefixes) for prefixes in turns))
    used: list[IPv6Network] = []

    async def use(prefix: IPv6Network) -> bool:
        used.append(prefix)
        if len(used) == 3:
            raise EnoughError
        return len(used) > 1

    with pytest.raises(EnoughError):
        asyncio.run(follow(Found((WKP,), 300), network, network.said.append, use, network.sleep))
    assert used == [OTHER, OTHER, WKP]
    assert network.answers == []


def followed(network: Network) -> list[IPv6Network]:
    """The prefixes that were used after WKP, until the network has no more answers."""
    used: list[IPv6Network] = []

    async def use(prefix: IPv6Network) -> bool:
        used.append(prefix)
        return True

    with pytest.raises(IndexError):
        asyncio.run(follow(Found((WKP,), 300), network, network.said.append, use, network.sleep))
    return used


def test_a_resolver_that_takes_turns_with_two_prefixes_changes_nothing_but_once():
    assert followed(Network(*[answer(OTHER), answer(WKP)] * 50)) == [OTHER]


def test_whoever_changes_again_has_to_say_it_twice_as_often_each_time():
    turns = [*[answer(OTHER)] * 1, *[answer(WKP)] * 2, *[answer(OTHER)] * 4, *[answer(WKP)] * 7]
    assert followed(Network(*turns)) == [OTHER, WKP, OTHER]
    assert followed(Network(*turns, answer(WKP))) == [OTHER, WKP, OTHER, WKP]
    random = [answer(OTHER), answer(WKP), answer(WKP)] * 500
    assert followed(Network(*random)) == [OTHER, WKP]


def test_after_calm_answers_a_change_is_a_change():
    calm = [answer(OTHER)] * CALM
    assert followed(Network(answer(OTHER), *calm, answer(WKP))) == [OTHER, WKP]
    assert followed(Network(answer(OTHER), *calm[1:], answer(WKP))) == [OTHER]


def test_in_another_network_the_first_answer_counts():
    for after, used in ((2 * 290, [OTHER, WKP]), (10**6, [OTHER])):
        network = Network(answer(OTHER), answer(WKP))
        network.other_network_after = after
        assert followed(network) == used


class NameServer:
    """A name server that notes under which prefix it answers."""

    def __init__(self) -> None:
        self.prefixes: list[IPv6Network | None] = []

    def use(self, config: Config) -> None:
        self.prefixes.append(config.pool6)


def test_the_daemon_follows_the_provider_and_its_name_server_has_the_prefix_in_use(monkeypatch):
    network, used, nameserver = Network(answer(WKP, OTHER), answer(OTHER, WKP), answer(OTHER)), [], NameServer()
    live = Live(loads(CLAT))
    live.nameserver = nameserver

    async def at_once(*_: object) -> None:
        """Nobody waits."""

    async def use(prefix: IPv6Network) -> bool:
        used.append(prefix)
        return True

    async def go() -> None:
        reload, stopping = reload_of(live), asyncio.get_running_loop().create_future()
        monkeypatch.setattr(reload, "use_prefix", use)
        with ExitStack() as up:
            begin = await daemon._find_plat(live, reload, Notes(), stopping, up)
            assert (live.config.pool6, nameserver.prefixes) == (WKP, [WKP])
            monkeypatch.setattr("nat64d.gateway.clat_prefix._wait", at_once)
            with pytest.raises(IndexError):
                await begin()

    monkeypatch.setattr(announced, "HostSources", lambda _: network)
    asyncio.run(asyncio.wait_for(go(), 20))
    assert used == [OTHER]
