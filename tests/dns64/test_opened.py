"""Sockets that systemd has opened for the name server: which are of use, and that they stay open."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import dns.asyncquery
import dns.message
import pytest

from nat64d.config.models import Config
from nat64d.dns64.clients.opened import opened, taken
from nat64d.dns64.service.children import Children
from nat64d.dns64.service.supervisor import NameServer
from tests.dns64.asking import addresses_at
from tests.dns64.test_children import TABLE, WWW, planned
from tests.dns64.zone import Zone, serve


def bound(family: int, kind: int, address: str, port: int = 0, *, six_alone: bool = True) -> socket.socket:
    """A socket as systemd would pass it."""
    one = socket.socket(family, kind)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, six_alone)
    one.bind((address, port))
    if kind == socket.SOCK_STREAM:
        one.listen()
    return one


@pytest.fixture
def pair() -> Iterator[list[socket.socket]]:
    """UDP and TCP of one port of the loopback."""
    with (
        bound(socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1") as udp,
        bound(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", udp.getsockname()[1]) as tcp,
    ):
        yield [udp, tcp]


def test_what_has_udp_and_tcp_is_of_use(pair: list[socket.socket]) -> None:
    udp, tcp = (one.fileno() for one in pair)
    port = pair[0].getsockname()[1]
    assert opened([tcp, udp]) == ({f"127.0.0.1:{port}": (udp, tcp)}, [])
    assert opened([udp]) == ({}, [f"127.0.0.1:{port} lacks ListenStream="])
    assert opened([tcp]) == ({}, [f"127.0.0.1:{port} lacks ListenDatagram="])


def test_what_is_of_no_use_is_said() -> None:
    with (
        bound(socket.AF_INET6, socket.SOCK_DGRAM, "::", six_alone=False) as mixed,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local,
    ):
        port = mixed.getsockname()[1]
        reader, writer = os.pipe()
        try:
            assert opened([mixed.fileno(), local.fileno(), reader]) == (
                {},
                [
                    f"[::]:{port} takes IPv4 too: set BindIPv6Only=ipv6-only",
                    "a descriptor is no socket of an address and a port",
                    "a descriptor is no socket of an address and a port",
                ],
            )
        finally:
            os.close(reader)
            os.close(writer)


def test_a_socket_of_ones_own_is_another_descriptor(pair: list[socket.socket]) -> None:
    with taken(pair[0].fileno()) as own:
        assert own.fileno() != pair[0].fileno()
        assert not own.getblocking()
    assert pair[0].getsockname()[0] == "127.0.0.1"
    before = len(list(Path("/proc/self/fd").iterdir()))
    reader, writer = os.pipe()
    with pytest.raises(OSError, match="non-socket"):
        taken(reader)
    os.close(reader)
    os.close(writer)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("processes", [1, 2])
def test_processes_answer_there_and_again_after_a_restart(pair: list[socket.socket], processes: int) -> None:
    port = pair[0].getsockname()[1]

    async def whole() -> None:
        upstream, end = await serve(Zone(TABLE))
        for _ in range(2):  # a restart: the sockets stay
            some = Children(planned(upstream, port, processes), [one.fileno() for one in pair])
            some.start()
            some.ready(True)
            try:
                assert await addresses_at(port, WWW) == ["64:ff9b::c000:201"]
                answer = await dns.asyncquery.tcp(
                    dns.message.make_query(WWW, "AAAA"), "127.0.0.1", port=port, timeout=9
                )
                assert answer.answer
                assert (await some.report())["problems"] == []
            finally:
                await some.stop()
        end()
        await asyncio.sleep(0.01)

    asyncio.run(whole())
    assert [one.getsockname()[1] for one in pair] == [port, port]


def test_the_daemon_takes_what_is_open_for_free(pair: list[socket.socket]) -> None:
    """`pair` is bound, which otherwise would be an obstacle."""
    port = pair[0].getsockname()[1]
    config = Config.model_validate(
        {"pool6": "64:ff9b::/96", "dns64": {"listen": [f"127.0.0.1:{port}"], "upstream": ["127.0.0.1:9"]}}
    )

    async def looked(fds: list[int]) -> tuple[list[str], list[str]]:
        one = NameServer(config, fds)
        await one._look()
        return one.status()["listening"], one.warnings()

    fds = [one.fileno() for one in pair]
    assert asyncio.run(looked(fds))[0] == [f"127.0.0.1:{port}"]
    listening, warnings = asyncio.run(looked(fds[:1]))
    assert listening == []
    assert f"A socket that systemd has opened is of no use: 127.0.0.1:{port} lacks ListenStream=." in warnings
    assert any("is taken by" in warning for warning in warnings)


def test_an_address_is_written_as_the_configuration_writes_it() -> None:
    with (
        bound(socket.AF_INET6, socket.SOCK_DGRAM, "::") as udp,
        bound(socket.AF_INET6, socket.SOCK_STREAM, "::", udp.getsockname()[1]) as tcp,
    ):
        port = udp.getsockname()[1]
        assert list(opened([udp.fileno(), tcp.fileno()])[0]) == [f"[::]:{port}"]
