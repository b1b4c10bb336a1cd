"""The name server as the daemon uses it: ports that are taken, a host that changes, counters for other threads."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import pytest

from nat64d.config.models import Config
from nat64d.dns64.message.endings import EVENTS
from nat64d.dns64.service import supervisor as module
from nat64d.dns64.service.supervisor import Facts, NameServer, facts, planned
from tests.dns64.asking import addresses_at, free_port
from tests.dns64.zone import Zone, serve

WWW = "www.example."
LINKS = (IPv4Network("203.0.113.0/24"), IPv6Network("2001:db8:1::/64"))
ADDRESSES = (ip_address("203.0.113.1"), ip_address("2001:db8:1::1"), ip_address("::1"))
RESOLV = "nameserver 192.0.2.53\nnameserver ::1\nnameserver 203.0.113.1\n"


def configured(port: int, **more: object) -> Config:
    given = {"listen": [f"127.0.0.1:{port}"], "upstream": ["127.0.0.1:9"], **more}
    return Config.model_validate({"pool6": "64:ff9b::/96", "dns64": given})


def zone(address: str) -> Zone:
    return Zone({(WWW, "A"): [f"{WWW} 60 IN A {address}"], (WWW, "AAAA"): "NODATA"})


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(100):
        if await condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came true")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The upstream server of every plan: a port of the loopback. Changing it acts like another resolv.conf."""
    chosen = {"port": 9}
    monkeypatch.setattr(module, "FOLLOW", 0.05)
    monkeypatch.setattr(module, "facts", lambda: Facts(LINKS, ADDRESSES, f"# {chosen['port']}"))
    monkeypatch.setattr(module, "planned", lambda *a: planned(*a) | {"upstream": [["127.0.0.1", chosen["port"], None]]})
    return chosen


def run(config: Config, body: Callable[[NameServer], Awaitable[None]]) -> None:
    async def whole() -> None:
        one = NameServer(config)
        await one.start()
        try:
            await body(one)
        finally:
            await one.stop()
            await asyncio.sleep(0.01)

    asyncio.run(whole())


def test_the_host_names_its_links_and_itself() -> None:
    found = facts()
    assert ip_address("127.0.0.1") in found.addresses
    assert IPv4Network("127.0.0.0/8") in found.links


@pytest.mark.parametrize(
    ("listening", "expected"),
    [
        (["[::]:53"], ["192.0.2.53:53", "203.0.113.1:53"]),
        (["[::]:53", "0.0.0.0:53"], ["192.0.2.53:53"]),
        (["203.0.113.1:53"], ["192.0.2.53:53", "[::1]:53"]),
        (["[::]:5353"], ["192.0.2.53:53", "[::1]:53", "203.0.113.1:53"]),
    ],
)
def test_the_servers_of_the_system_are_asked_but_not_itself(listening: list[str], expected: list[str]) -> None:
    config = Config.model_validate({"pool6": "64:ff9b::/96", "dns64": {}})
    document = planned(config, Facts(LINKS, ADDRESSES, RESOLV), listening)
    assert list(map(str, module.server_addresses(document["upstream"]))) == expected


def test_local_clients_are_those_on_our_links_too() -> None:
    config = Config.model_validate({"pool6": "64:ff9b::/96", "dns64": {}})
    (policy,) = planned(config, Facts(LINKS, ADDRESSES, ""), [])["policies"]
    assert {"203.0.113.0/24", "2001:db8:1::/64", "fc00::/7"} <= set(policy["clients"])
    assert "0.0.0.0/0" not in policy["clients"]


def test_synthesis_begins_when_packets_are_translated_and_ends_with_it(port: int, upstream: dict[str, int]) -> None:
    async def body(one: NameServer) -> None:
        upstream["port"], end = await serve(zone("192.0.2.1"))
        await until(lambda: answered(one, upstream["port"]))
        assert await addresses_at(port, WWW) == []
        for ready, expected in [(True, ["64:ff9b::c000:201"]), (False, [])]:
            one.ready(ready)
            assert await answered(one, upstream["port"])  # it has read what was said before
            assert await addresses_at(port, WWW) == expected
        end()

    run(configured(port), body)


async def answered(one: NameServer, port: int) -> bool:
    """Whether the process has adopted this upstream server."""
    report = await asyncio.to_thread(one.report)
    return f"127.0.0.1:{port}" in report.get("upstream", {})


def test_another_resolv_conf_is_followed(port: int, upstream: dict[str, int]) -> None:
    async def body(one: NameServer) -> None:
        first, end = await serve(zone("192.0.2.1"))
        second, end2 = await serve(zone("192.0.2.2"))
        one.ready(True)
        upstream["port"] = first
        await until(lambda: answered(one, first))
        assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]
        end()
        upstream["port"] = second
        await until(lambda: answered(one, second))
        assert one.status()["upstream"] == [f"127.0.0.1:{second}"]
        assert list((await asyncio.to_thread(one.report))["upstream"]) == [f"127.0.0.1:{second}"]
        end2()

    run(configured(port), body)


def test_a_server_that_does_not_answer_is_a_warning_until_it_does(port: int, upstream: dict[str, int]) -> None:
    async def body(one: NameServer) -> None:
        one.ready(True)
        upstream["port"], end = await serve(zone("192.0.2.1"))
        await until(lambda: answered(one, upstream["port"]))
        end()
        assert await addresses_at(port, WWW) == []
        await until(lambda: warned(one, 1))
        assert one.warnings() == [
            f"[dns64] upstream server 127.0.0.1:{upstream['port']} does not answer: Connection refused."
        ]
        del one.failing[f"127.0.0.1:{upstream['port']}"]
        for good, bad, failing in ((0, 3, True), (0, 3, True), (1, 4, False), (2, 4, False), (2, 5, True)):
            one._judge({"x": {"answered": good, "failed": bad, "problem": "no answer"}})
            assert one.failing == ({"x": "no answer"} if failing else {})

    async def warned(one: NameServer, number: int) -> bool:
        return len(one.warnings()) == number

    run(configured(port), body)


def test_a_taken_port_is_named_with_its_holder_and_taken_when_free(port: int, upstream: dict[str, int]) -> None:
    async def body(one: NameServer) -> None:
        (sentence,) = one.warnings()
        assert sentence.startswith(f"[dns64] listen = 127.0.0.1:{port}: UDP port {port} is taken by ")
        assert sentence.endswith(f"(process {os.getpid()}).")
        assert one.status()["listening"] == []
        holder.close()
        await until(lambda: listens(one))
        assert one.warnings() == []
        assert one.status()["listening"] == [f"127.0.0.1:{port}"]

    async def listens(one: NameServer) -> bool:
        return bool((await asyncio.to_thread(one.report)).get("listening"))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        run(configured(port), body)


def test_what_only_the_process_notices_is_told_and_tried_again(
    port: int, upstream: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(one: NameServer) -> None:
        await until(lambda: told(one, [f"[dns64] listen = 127.0.0.1:{port}: Address already in use."]))
        holder.close()
        await until(lambda: told(one, []))
        assert (await asyncio.to_thread(one.report))["listening"] == [f"127.0.0.1:{port}"]

    async def told(one: NameServer, sentences: list[str]) -> bool:
        return one.warnings() == sentences

    monkeypatch.setattr(module, "obstacle", lambda *_: None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", port))
        run(configured(port), body)


def test_a_refused_client_is_logged_once(port: int, upstream: dict[str, int], caplog: pytest.LogCaptureFixture) -> None:
    async def body(one: NameServer) -> None:
        for _ in range(2):
            assert await addresses_at(port, WWW) == []
            await until(logged)
        assert caplog.text.count("refused") == 1

    async def logged() -> bool:
        return "Name server: refused 127.0.0.1, which is in no prefix of [dns64] clients." in caplog.text

    run(configured(port, clients=["2001:db8::/32"]), body)


def test_a_host_that_cannot_be_looked_at_is_looked_at_again(
    port: int, upstream: dict[str, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = []

    def fails_once() -> Facts:
        looks.append(1)
        if len(looks) == 2:
            raise OSError("no buffer space")
        return Facts(LINKS, ADDRESSES, "")

    async def body(one: NameServer) -> None:
        await until(looked)
        assert "Name server: cannot read the addresses of this host: no buffer space" in caplog.text

    async def looked() -> bool:
        return len(looks) > 3

    monkeypatch.setattr(module, "facts", fails_once)
    run(configured(port), body)


def test_events_have_a_row_each_also_while_nothing_answers(port: int, upstream: dict[str, int]) -> None:
    async def body(one: NameServer) -> None:
        rows = await asyncio.to_thread(one.events)
        assert [row["event"] for row in rows] == list(EVENTS)
        assert {row["count"] for row in rows} == {0}

    run(configured(port), body)
    rows: list[dict[str, Any]] = asyncio.run(before_it_starts(port))
    assert [row["event"] for row in rows] == list(EVENTS)


def test_a_first_look_that_fails_does_not_keep_it_from_listening(
    port: int, upstream: dict[str, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> Facts:
        raise OSError("no buffer space")

    async def body(one: NameServer) -> None:
        assert one.status()["listening"] == [f"127.0.0.1:{port}"]
        assert "Name server: cannot read the addresses of this host: no buffer space" in caplog.text

    monkeypatch.setattr(module, "facts", fails)
    run(configured(port), body)


def test_a_plan_is_made_anew_only_for_something_new(
    port: int, upstream: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, plans = [], []

    def seen() -> Facts:
        looks.append(1)
        return Facts(LINKS[: 1 + (len(looks) > 4)], ADDRESSES, "")

    def counted(*given: Any) -> dict[str, Any]:
        plans.append(1)
        return planned(*given)

    async def body(one: NameServer) -> None:
        before = len(plans)
        await until(looked)
        assert len(plans) == before + 1, "the second link"

    async def looked() -> bool:
        return len(looks) > 7

    monkeypatch.setattr(module, "facts", seen)
    monkeypatch.setattr(module, "planned", counted)
    run(configured(port), body)


async def before_it_starts(port: int) -> list[dict[str, Any]]:
    return NameServer(configured(port)).events()


def test_no_upstream_server_is_a_warning(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(one: NameServer) -> None:
        assert one.warnings() == ["[dns64] has no upstream server: /etc/resolv.conf lists only this host, or none."]

    monkeypatch.setattr(module, "facts", lambda: Facts(LINKS, ADDRESSES, "nameserver nonsense\n"))
    run(configured(port, upstream="system"), body)


def test_another_configuration_is_followed_at_once_by_the_process_there_is(
    port: int, upstream: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sockets that stay are not closed, one that goes is; the next look at the host is far away."""

    async def body(one: NameServer) -> None:
        upstream["port"], end = await serve(zone("192.0.2.1"))
        one.ready(True)
        await until(lambda: answered(one, upstream["port"]))
        monkeypatch.setattr(module, "FOLLOW", 1000)
        another = free_port()
        both = [f"127.0.0.1:{port}", f"127.0.0.1:{another}"]
        await one.change_to(configured(port, listen=both).with_plat(IPv6Network("2001:db8:64::/96")))
        for where in (port, another):
            assert await addresses_at(where, WWW) == ["2001:db8:64::c000:201"]
        await one.change_to(configured(port))
        assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]
        assert one.status()["listening"] == [f"127.0.0.1:{port}"]
        report = await asyncio.to_thread(one.report)
        assert (report["listening"], report["restarts"]) == ([f"127.0.0.1:{port}"], 0)
        end()

    run(configured(port), body)
