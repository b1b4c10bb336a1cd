"""The name server as processes of its own: started, told, asked, started again, ended."""

import asyncio
import os
import signal
import socket
from ipaddress import ip_address
from typing import Any

import pytest

from nat64d.config import Config
from nat64d.dns64 import children as module
from nat64d.dns64.children import Children
from nat64d.dns64.plan import plan, system_servers
from tests.dns64.asking import addresses_at, free_port
from tests.dns64.zone import Zone, serve

WWW = "www.example."
TABLE: dict[tuple[str, str], object] = {(WWW, "A"): [f"{WWW} 60 IN A 192.0.2.1"], (WWW, "AAAA"): "NODATA"}


def planned(upstream: int, port: int, processes: int = 1) -> dict[str, Any]:
    given = {"listen": [f"127.0.0.1:{port}"], "upstream": [f"127.0.0.1:{upstream}"], "processes": processes}
    config = Config.model_validate({"pool6": "64:ff9b::/96", "dns64": given})
    return plan(config, [], [], [])


def run(body: Any, processes: int = 1) -> None:
    async def whole() -> None:
        upstream, end = await serve(Zone(TABLE))
        port = free_port()
        some = Children(planned(upstream, port, processes))
        some.start()
        try:
            await body(some, port)
        finally:
            await some.stop()
            end()
            await asyncio.sleep(0.01)

    asyncio.run(whole())


@pytest.mark.parametrize("processes", [1, 2])
def test_they_answer_and_report_and_synthesise_when_packets_are_translated(processes: int) -> None:
    async def body(some: Children, port: int) -> None:
        assert await addresses_at(port, WWW) == []
        some.ready(True)
        report = await some.report()
        assert report["problems"] == []
        assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]
        report = await some.report()
        assert report["queries"]["synthesised"] == 1
        assert len(report["upstream"]) == 1

    run(body, processes)


def test_one_that_dies_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.05)

    async def body(some: Children, port: int) -> None:
        some.ready(True)
        assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]
        process = some.children[0]._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]

    run(body)


def test_one_that_hangs_is_ended_and_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.05)
    monkeypatch.setattr(module, "SILENT", 0.1)

    async def body(some: Children, port: int) -> None:
        some.ready(True)
        assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]
        process = some.children[0]._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        monkeypatch.setattr(module, "PATIENCE", 0.2)
        assert await some.children[0].report() == {}
        monkeypatch.setattr(module, "PATIENCE", 5.0)
        assert await process.wait() == -signal.SIGKILL
        assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]
        assert (await some.report())["restarts"] == 1

    run(body)


def test_a_taken_port_is_told() -> None:
    async def body(some: Children, port: int) -> None:
        await addresses_at(port, WWW)
        other = Children(planned(1, port))
        other.start()
        try:
            report = {}
            for _ in range(50):
                report = await other.report()
                if report.get("problems"):
                    break
                await asyncio.sleep(0.1)
            assert report["problems"] == [f"127.0.0.1:{port}: Address already in use"]
            assert report["listening"] == []
        finally:
            await other.stop()

    run(body)


def test_a_link_local_server_is_asked_over_its_link() -> None:
    (server,) = system_servers("nameserver fe80::1%lo\n", [])
    assert server.sockaddr == ("fe80::1", 53, 0, socket.if_nametoindex("lo"))


def test_the_servers_of_the_system_but_not_ourselves() -> None:
    text = "# a comment\nnameserver 192.0.2.53\nnameserver ::1\nnameserver fe80::1%eth0\nsearch example\nnameserver x\n"
    servers = system_servers(text, [ip_address("::1")])
    assert list(map(str, servers)) == ["192.0.2.53:53", "[fe80::1%eth0]:53"]
