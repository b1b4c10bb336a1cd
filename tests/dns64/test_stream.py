"""TCP and TLS to an upstream server, on the loopback: many questions per connection, how it ends, which certificates
are accepted."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from pathlib import Path

import dns.message
import pytest

from nat64d.dns64.upstreams import race
from nat64d.dns64.upstreams.exchange import ServerAddress
from nat64d.dns64.upstreams.upstream import Upstreams
from tests.dns64 import clock
from tests.dns64.asking import UnansweredError, asked
from tests.dns64.zone import reply

LOCALHOST = ip_address("127.0.0.1")
NAME = "dns.example"
Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Serve = Callable[[Reader, Writer], Awaitable[None]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and self-signed certificate for NAME, in one file."""
    if not shutil.which("openssl"):
        pytest.skip("the program openssl is not installed")
    file = tmp_path_factory.mktemp("tls") / "dns.pem"
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(file)]
    made = ["openssl", "req", "-x509", "-days", "2", *names, *key]
    text = subprocess.run(made, check=True, capture_output=True, text=True).stdout
    file.write_text(file.read_text() + text)
    return file


async def read(reader: Reader) -> dns.message.Message:
    return dns.message.from_wire(await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big")))


def write(writer: Writer, query: dns.message.Message) -> None:
    octets = reply(query, [f"{query.question[0].name} 60 IN A 192.0.2.1"]).to_wire()
    writer.write(len(octets).to_bytes(2, "big") + octets)


async def polite(reader: Reader, writer: Writer) -> None:
    """Answer every query."""
    while True:
        write(writer, await read(reader))


class Lines:
    """A TCP or TLS server; `count` is the number of connections it accepted."""

    def __init__(self, serve: Serve) -> None:
        self.serve, self.count = serve, 0
        self.alpn: str | None = None
        self.writers: list[Writer] = []

    async def connected(self, reader: Reader, writer: Writer) -> None:
        self.count += 1
        self.writers.append(writer)
        if tls := writer.get_extra_info("ssl_object"):
            self.alpn = tls.selected_alpn_protocol()
        try:
            await self.serve(reader, writer)
        except (EOFError, OSError):
            pass
        finally:
            writer.close()


def run(
    serve: Serve, body: Callable[[Upstreams, Lines], Awaitable[None]], tls: Path | None = None, name: str = NAME
) -> Lines:
    """Run `body` with one server that is asked over a stream only."""

    async def inside() -> Lines:
        lines, context = Lines(serve), None
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls)
            context.set_alpn_protocols(["dot"])
        server = await asyncio.start_server(lines.connected, "127.0.0.1", 0, ssl=context)
        upstreams = Upstreams([ServerAddress(LOCALHOST, server.sockets[0].getsockname()[1], name if tls else None)])
        upstreams.all[0].datagrams = None
        try:
            await body(upstreams, lines)
        finally:
            upstreams.close()
            server.close()
            for writer in lines.writers:
                writer.close()
            await asyncio.sleep(0.02)
        return lines

    return clock.run(inside())


async def several(upstreams: Upstreams, count: int = 20) -> None:
    """Ask questions at the same time; each gets the answer to its name."""
    names = [f"n{number}.example" for number in range(count)]
    for name, answer in zip(names, await asyncio.gather(*(asked(upstreams, name) for name in names)), strict=True):
        assert str(dns.message.from_wire(answer.octets).answer[0].name) == f"{name}."


def test_rfc7766_6_2_1_1_questions_are_pipelined_and_answers_come_in_any_order() -> None:
    async def backwards(reader: Reader, writer: Writer) -> None:
        for query in reversed([await read(reader) for _ in range(20)]):
            write(writer, query)
        await reader.read()

    async def body(upstreams: Upstreams, _lines: Lines) -> None:
        await several(upstreams)

    assert run(backwards, body).count == 1


def test_rfc7766_6_2_4_what_waits_when_a_kept_connection_ends_is_asked_again_once() -> None:
    async def one_answer(reader: Reader, writer: Writer) -> None:
        write(writer, await read(reader))
        await read(reader)  # and hangs up instead of answering

    async def body(upstreams: Upstreams, lines: Lines) -> None:
        for number in range(3):
            await asked(upstreams, f"n{number}.example")
            assert lines.count == number + 1
        asking = [asyncio.ensure_future(asked(upstreams, f"m{number}.example")) for number in range(3)]
        ended = await asyncio.gather(*asking, return_exceptions=True)
        assert [isinstance(each, UnansweredError) for each in ended] == [False, True, True]

    run(one_answer, body)


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5, 3.5])
def test_rfc9520_3_1_a_server_is_asked_the_same_three_times_at_most_though_connections_end(seconds: float) -> None:
    heard: list[dns.message.Message] = []

    async def tired(reader: Reader, writer: Writer) -> None:
        if not heard:
            write(writer, await read(reader))
        async with asyncio.timeout(seconds):
            while True:
                heard.append(await read(reader))

    async def body(upstreams: Upstreams, _lines: Lines) -> None:
        await asked(upstreams, "other.example")
        with pytest.raises(UnansweredError):
            await asked(upstreams, NAME)
        await asyncio.sleep(2 * race.DEADLINE)
        assert 2 <= len(heard) <= 3

    run(tired, body)


def test_a_server_that_only_closes_connections_is_not_asked_for_ever() -> None:
    async def mute(reader: Reader, _writer: Writer) -> None:
        await read(reader)

    async def body(upstreams: Upstreams, _lines: Lines) -> None:
        with pytest.raises(UnansweredError, match="closed the connection"):
            await asked(upstreams, NAME)

    assert run(mute, body).count == 1


def test_a_connection_without_answers_is_not_kept() -> None:
    ended = asyncio.Event()

    async def body(upstreams: Upstreams, lines: Lines) -> None:
        await asked(upstreams, NAME)
        await ended.wait()
        await asked(upstreams, NAME)
        assert lines.count == 2

    async def served(reader: Reader, writer: Writer) -> None:
        try:
            await polite(reader, writer)
        finally:
            ended.set()

    run(served, body)


def test_an_unreachable_server_is_not_tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(upstreams: Upstreams, _lines: Lines) -> None:
        opened: list[object] = []

        async def never(*arguments: object, **_options: object) -> object:
            opened.append(arguments)
            return await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
        for _ in range(5):
            with pytest.raises(UnansweredError, match="no connection within 3 s"):
                await asked(upstreams, NAME)
        assert len(opened) == 1
        clock.skip(0.5)
        with pytest.raises(UnansweredError, match="no connection within 3 s"):
            await asked(upstreams, NAME)
        assert len(opened) == 2

    run(polite, body)


def test_rfc7858_a_server_is_asked_over_tls_by_the_name_of_its_certificate(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def body(upstreams: Upstreams, _lines: Lines) -> None:
        await several(upstreams)
        await several(upstreams)

    lines = run(polite, body, certificate)
    assert (lines.count, lines.alpn) == (1, "dot")


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [("other.example", True, "Hostname mismatch.*other.example"), (NAME, False, "self-signed certificate")],
)
def test_rfc7858_another_certificate_is_an_error_that_says_so(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, name: str, trusted: bool, reason: str
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def body(upstreams: Upstreams, lines: Lines) -> None:
        with pytest.raises(UnansweredError, match=f"TLS: {reason}"):
            await asked(upstreams, NAME)
        assert upstreams.all[0].failed == 1
        assert upstreams.all[0].problem.startswith("TLS: ")
        assert lines.count == 0

    run(polite, body, certificate, name)


def test_a_tls_handshake_that_never_ends_is_given_up(certificate: Path) -> None:
    ended = asyncio.Event()

    async def mute(reader: Reader, _writer: Writer) -> None:
        await reader.read()
        ended.set()

    async def body(upstreams: Upstreams, _lines: Lines) -> None:
        server = await asyncio.start_server(Lines(mute).connected, "127.0.0.1", 0)
        upstreams.replace([ServerAddress(LOCALHOST, server.sockets[0].getsockname()[1], NAME)])
        with pytest.raises(UnansweredError, match="no connection within"):
            await asked(upstreams, NAME)
        await ended.wait()
        server.close()

    run(polite, body, certificate)
