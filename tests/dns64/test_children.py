"""The name server's processes: started, configured, asked, restarted, ended."""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

import dns.message
import pytest

from nat64d.config.models import Config
from nat64d.dns64.service import children as module
from nat64d.dns64.service.children import Children
from nat64d.dns64.service.plan import plan, system_servers
from nat64d.dns64.service.process import Process
from tests.dns64.asking import addresses_at, free_port
from tests.dns64.zone import Zone, serve

WWW = "www.example."
TABLE: dict[tuple[str, str], object] = {(WWW, "A"): [f"{WWW} 60 IN A 192.0.2.1"], (WWW, "AAAA"): "NODATA"}


def planned(upstream: int, port: int, processes: int = 1, rate: int = 1000) -> dict[str, Any]:
    given = {
        "listen": [f"127.0.0.1:{port}"],
        "upstream": [f"127.0.0.1:{upstream}"],
        "processes": processes,
        "rate": rate,
    }
    config = Config.model_validate({"pool6": "64:ff9b::/96", "dns64": given})
    return plan(config, [], [])


def run(body: Any, processes: int = 1, rate: int = 1000) -> None:
    async def whole() -> None:
        upstream, end = await serve(Zone(TABLE))
        port = free_port()
        some = Children(planned(upstream, port, processes, rate))
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


def test_a_clients_rate_holds_for_two_processes_together_whatever_its_ports() -> None:
    rate, ports = 50, 200
    asked = dns.message.make_query("www.example.", "A", rdclass="CH", id=7).to_wire()[:12]  # FORMERR, at once

    async def body(some: Children, port: int) -> None:
        await addresses_at(port, WWW)
        for _ in range(500):
            if all([(await child.report()).get("listening") for child in some.children]):
                break
            await asyncio.sleep(0.01)
        begin = asyncio.get_running_loop().time()
        clients = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(ports)]
        for client in clients:
            client.bind(("127.0.0.2", 0))
            client.setblocking(False)
            client.connect(("127.0.0.1", port))
            client.send(asked)
        for _ in range(200):
            reports = [await child.report() for child in some.children]
            came = [sum(report["queries"].get(end, 0) for end in ("unreadable", "limited")) for report in reports]
            if sum(came) == ports:
                break
            await asyncio.sleep(0.05)
        gone = asyncio.get_running_loop().time() - begin
        answered = 0
        for client in clients:
            with client, suppress(BlockingIOError):
                answered += len(client.recv(512)) >= 12
        assert sum(came) == ports
        assert min(came) > ports / 5, "one process had them all"
        # Queries that both count at once may count as one; without shared counts there were twice as many.
        assert rate <= answered <= 1.5 * rate + rate * gone

    run(body, 2, rate)


def test_the_octets_of_the_cache_are_those_of_all_processes_together() -> None:
    for processes in (1, 4):
        document = planned(1, 1, processes) | {"cache": 4000}
        assert Process(document).resolver.cache.capacity == 4000 // processes


def test_one_that_dies_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESTART_AFTER", 0.05)

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
    monkeypatch.setattr(module, "RESTART_AFTER", 0.05)
    monkeypatch.setattr(module, "SILENT", 0.1)

    async def body(some: Children, port: int) -> None:
        some.ready(True)
        assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]
        process = some.children[0]._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        monkeypatch.setattr(module, "REPLY_WITHIN", 0.2)
        assert await some.children[0].report() == {}
        monkeypatch.setattr(module, "REPLY_WITHIN", 5.0)
        assert await process.wait() == -signal.SIGKILL
        assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]
        assert (await some.report())["restarts"] == 1

    run(body)


def test_a_taken_port_is_reported() -> None:
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


@pytest.mark.parametrize("text", ["", "options ndots:x timeout:y\n", "nameserver\n", "# nameserver 192.0.2.53\n"])
def test_a_resolv_conf_may_name_no_server(text: str) -> None:
    assert system_servers(text, []) == []


def test_a_line_that_says_nothing_hides_no_server() -> None:
    text = f"search {'x' * 64}\nnameserver example\nnameserver 192.0.2.53 # ours\n"
    assert [str(server.address) for server in system_servers(text, [])] == ["192.0.2.53"]


def test_the_servers_of_the_system_but_not_ourselves() -> None:
    text = "# a comment\nnameserver 192.0.2.53\nnameserver ::1\nnameserver fe80::1%eth0\nsearch example\nnameserver x\n"
    servers = system_servers(text, [ip_address("::1")])
    assert list(map(str, servers)) == ["192.0.2.53:53", "[fe80::1%eth0]:53"]
