"""Router advertisements on several interfaces: each is told, and each by itself."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from types import SimpleNamespace

import pytest

from nat64d.advertise import timing, wire
from nat64d.advertise.advertiser import Advertiser, Link
from nat64d.advertise.listener import Listener, Offer
from nat64d.advertise.message import Advertisement, Pref64, built, parsed, solicitation
from nat64d.gateway.neighbours import advertise
from nat64d.gateway.state import Live
from tests.nat64d.test_advertise import OTHER6, POOL6, SENDER, config_of, servers_in
from tests.nat64d.test_advertise_rules import Clocked

LINKS = {"eth0": 7, "eth1": 8, "eth2": 9}
SERVERS = ("2001:db8::53", "2001:db8::54")


class Several(Clocked):
    """An advertiser on three interfaces, and what it has sent where and when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self.messages: list[tuple[int, float, bytes]] = []
        self.left: list[int] = []
        monkeypatch.setattr(
            wire, "send", lambda _, message, __, link, ___: self.messages.append((link, self.now, message))
        )
        monkeypatch.setattr(wire, "leave", lambda _, __, link: self.left.append(link))
        self.advertiser._links |= {
            name: Link(index, timing.Timing(600, self.now, lambda: 1.0)) for name, index in LINKS.items()
        }
        self.use([*LINKS])

    def use(self, names: list[str], servers: tuple[str, ...] = SERVERS, prefix: object = POOL6) -> None:
        self.advertiser.use(config_of(f"interface = {names}\nrdnss = {[*servers]}" if names else "", prefix))

    def told(self, seconds: float) -> dict[int, list[tuple[float, tuple[Pref64, ...], list[tuple[int, ...]]]]]:
        """What was sent by each interface, also just before: when, the prefixes, the name servers."""
        self.until(self.now + seconds)
        found, self.messages = self.messages, []
        links = sorted({link for link, *_ in found})
        return {
            each: [(when, parsed(message).pref64, servers_in(message)) for link, when, message in found if link == each]
            for each in links
        }


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Iterator[Several]:
    one = Several(monkeypatch)
    yield one
    assert one.advertiser._socket
    one.advertiser._socket.close()


def servers(*texts: str) -> tuple[IPv6Address, ...]:
    return tuple(map(IPv6Address, texts))


def test_rfc8781_4_1_what_a_reload_changes_is_taken_back_on_each_interface(several: Several) -> None:
    """The prefix and both name servers."""
    assert set(several.told(100)) == {7, 8, 9}
    several.use([*LINKS], (), OTHER6)
    both = (Pref64(OTHER6, 1800), Pref64(POOL6, 0))
    changed = several.told(100)
    assert changed == {
        link: [(when, both, [(0, servers(*SERVERS))]) for when in (100, 116, 132)] for link in LINKS.values()
    }


def test_rfc4861_6_2_5_all_is_taken_back_on_each_interface_that_is_removed(several: Several) -> None:
    """Several in one reload, and at once; one that stays goes on."""
    several.told(100)
    several.use(["eth1"])
    over = (Pref64(POOL6, 0),), [(0, servers(*SERVERS))]
    told = several.told(100)
    assert [told.pop(link) for link in (7, 9)] == [[(100.0, *over)]] * 2
    assert [(link, when) for link, each in told.items() for when, *_ in each] == [(8, 100), (8, 116), (8, 132)]
    assert sorted(several.left) == [7, 9]
    several.use([])
    assert several.told(1000) == {8: [(200.0, *over)]}


def test_rfc4861_6_2_6_who_asks_is_answered_on_that_interface_alone(several: Several) -> None:
    several.told(100)
    for index, link in enumerate(LINKS.values()):
        several.advertiser._hear(wire.Heard(solicitation(), SENDER, link))
        assert [*several.told(10)] == [link], index
    several.advertiser._hear(wire.Heard(solicitation(), SENDER, 10))
    assert several.told(10) == {}


def test_rfc4861_6_3_7_a_listener_asks_on_each_link_also_behind_one_that_is_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[int] = []

    def send(_: object, message: bytes, to: IPv6Address, link: int) -> None:
        asked.append(link)
        assert (message, to) == (solicitation(), wire.ALL_ROUTERS)
        if link == 8:
            raise OSError

    table = tmp_path / "if_inet6"
    table.write_text("".join(f"fe80{'0' * 27}{index} {index:02x} 40 20 80 {name}\n" for name, index in LINKS.items()))
    monkeypatch.setattr(wire, "IF_INET6", table)
    monkeypatch.setattr(wire, "send", send)
    monkeypatch.setattr(wire, "open_socket", lambda _: socket.socket(type=socket.SOCK_DGRAM))
    monkeypatch.setattr("nat64d.advertise.listener.PATIENCE", 0.0)
    monkeypatch.setattr(socket, "if_nametoindex", LINKS.__getitem__)
    with Listener(lambda: 0.0) as listener:
        assert listener.look() == []
    assert asked == [*LINKS.values()]


def test_rfc4861_6_2_1_the_interval_is_that_of_each_interface_from_the_first_on(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who asks is heard on each."""
    joined: list[int] = []
    monkeypatch.setattr(socket, "if_nametoindex", LINKS.__getitem__)
    monkeypatch.setattr(wire, "join", lambda _, group, link: group == wire.ALL_ROUTERS and joined.append(link))
    several.advertiser._links.clear()
    several.advertiser.use(config_of(f"interface = {[*LINKS]}\ninterval = 100"))
    several.advertiser._look()
    assert joined == [7, 8, 9]
    times = [0, 16, 32, 132, 232]
    assert {link: [when for when, *_ in told] for link, told in several.told(300).items()} == dict.fromkeys(
        (7, 8, 9), times
    )


def test_rfc4861_6_2_4_a_change_of_any_key_is_told_three_times_soon(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nat64d.advertise.advertiser.sysctl.read", lambda _: "1")
    several.told(100)
    text, lifetimes = f"interface = {[*LINKS]}", []
    for key in ("interval = 100", "default_router = true", 'rdnss = ["2001:db8::53"]'):
        text += f"\n{key}"
        several.advertiser.use(config_of(text))
        start = several.now
        several.until(start + 150)
        found, several.messages = several.messages, []
        assert [when - start for _, when, _ in found] == [when for when in (0, 16, 32, 132) for _ in LINKS]
        lifetimes.append({parsed(message).router_lifetime for *_, message in found})
    assert lifetimes == [{0}, {300}, {300}]


def test_rfc8781_5_a_listener_takes_each_prefix_of_an_advertisement(monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes = tuple(Pref64(IPv6Network((f"2001:db8:{number}::", 96)), 600) for number in range(1, 4))
    heard = [wire.Heard(built(Advertisement(0, prefixes)), SENDER, 7)]

    def receive(_: object) -> wire.Heard:
        if not heard:
            raise TimeoutError
        return heard.pop()

    monkeypatch.setattr(wire, "receive", receive)
    monkeypatch.setattr(wire, "open_socket", lambda _: socket.socket(type=socket.SOCK_DGRAM))
    with Listener(lambda: 0.0) as listener:
        assert listener.look() == [Offer(7, SENDER, *each) for each in prefixes]


def test_rfc4861_6_2_5_the_daemon_takes_all_back_unless_the_next_process_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Callable[[], bool]] = []

    async def run(_: Advertiser, goes_on: Callable[[], bool]) -> None:
        asked.append(goes_on)

    monkeypatch.setattr(Advertiser, "run", run)
    live = Live(config_of())
    asyncio.run(advertise(live, SimpleNamespace(look_again=lambda: None)))  # type: ignore[arg-type]
    (goes_on,) = asked
    for live.is_started_again in (False, True):
        assert goes_on() is live.is_started_again
