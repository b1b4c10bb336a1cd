"""`nat64d dns64 trace` and `nat64d export`: what they print, and their exit codes."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nat64d.cli.app import app
from tests.dns64.zone import Zone, serve

WWW, BOTH = "www.example.", "both.example."
TABLE: dict[tuple[str, str], object] = {
    (WWW, "A"): [f"{WWW} 60 IN A 192.0.2.1"],
    (WWW, "AAAA"): "NODATA",
    (BOTH, "AAAA"): [f"{BOTH} 60 IN AAAA 2001:db8::1"],
    ("1.2.0.192.in-addr.arpa.", "PTR"): [f"1.2.0.192.in-addr.arpa. 60 IN PTR {WWW}"],
    ("broken.example.", "AAAA"): "SERVFAIL",
    ("broken.example.", "A"): "SERVFAIL",
}
POLICY = 'policy = [{ clients = ["2001:db8:1::/48"], synthesise = false }]'


@contextmanager
def serving(zone: Zone) -> Iterator[int]:
    """Serve a zone from another thread, at the port given."""
    started, ended = threading.Event(), threading.Event()
    ports = []

    async def live() -> None:
        port, end = await serve(zone)
        ports.append(port)
        started.set()
        await asyncio.to_thread(ended.wait)
        end()
        await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    assert started.wait(10)
    try:
        yield ports[0]
    finally:
        ended.set()
        thread.join(10)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    with serving(Zone(TABLE)) as port:
        file = tmp_path / "nat64d.toml"
        file.write_text(
            f'pool6 = "2001:db8:64::/96"\n[[pool4]]\naddresses = "192.0.2.99"\n'
            f'[dns64]\nupstream = ["127.0.0.1:{port}"]\nclients = ["2001:db8::/32"]\n{POLICY}\n'
        )
        yield file


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="nat64d")


def last(result: Any, config: Path, number: int = 2) -> list[str]:
    assert result.stderr == ""
    return result.stdout.splitlines()[-number:]


def test_a_trace_ends_with_the_answer(config: Path) -> None:
    result = run("dns64", "trace", "www.example", "-c", config)
    assert (result.exit_code, last(result, config)) == (
        0,
        ["answer: NOERROR", "  www.example. 60 IN AAAA 2001:db8:64::c000:201"],
    )
    assert any("RFC 6147 5.1.7" in line for line in result.stdout.splitlines())


def test_a_trace_as_json_is_one_object(config: Path) -> None:
    result = run("dns64", "trace", "both.example", "AAAA", "-c", config, "--json")
    document = json.loads(result.stdout)
    assert (document["name"], document["type"], document["rcode"]) == (BOTH, "AAAA", "NOERROR")
    assert document["answer"] == ["both.example. 60 IN AAAA 2001:db8::1"]
    assert document["steps"][-1] == "AAAA: there are such records (RFC 6147 5.1.1): the answer is used as it is"


def test_an_address_is_traced_by_its_reverse_name(config: Path) -> None:
    result = run("dns64", "trace", "2001:db8:64::c000:201", "-c", config)
    assert last(result, config, 1) == ["  1.2.0.192.in-addr.arpa. 60 IN PTR www.example."]


@pytest.mark.parametrize(
    ("client", "expected", "code"),
    [
        ("2001:db8:2::1", "answer: NOERROR", 0),
        ("2001:db8:1::1", "answer: NOERROR", 0),
        ("2001:db9::1", "REFUSED: the client is not in [dns64] clients.", 1),
    ],
)
def test_a_trace_may_be_that_of_a_client(config: Path, client: str, expected: str, code: int) -> None:
    result = run("dns64", "trace", "www.example", "--client", client, "-c", config)
    assert result.exit_code == code
    assert expected in result.stdout.splitlines()
    assert ("2001:db8:64::c000:201" in result.stdout) == (client == "2001:db8:2::1")


def test_a_trace_that_failed_exits_with_1(config: Path) -> None:
    result = run("dns64", "trace", "broken.example", "-c", config)
    assert (result.exit_code, last(result, config, 1)) == (1, ["answer: SERVFAIL"])


@pytest.mark.parametrize(
    "arguments", [("a..b",), ("www.example", "NOTYPE"), ("www.example", "AAAA", "--client", "nobody")]
)
def test_what_cannot_be_asked_is_wrong_usage(config: Path, arguments: tuple[str, ...]) -> None:
    result = run("dns64", "trace", *arguments, "-c", config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["unbound", "bind", "coredns", "radvd", "networkd"])
def test_an_export_prints_the_configuration_and_on_standard_error_what_is_lost(config: Path, program: str) -> None:
    result = run("export", program, "-c", config)
    assert result.exit_code == 0
    assert "2001:db8:64::/96" in result.stdout
    assert all(line.startswith(f"{program}: ") for line in result.stderr.splitlines())


def test_an_export_for_a_program_that_is_not_known_is_wrong_usage() -> None:
    result = run("export", "tinydns")
    assert (result.exit_code, result.stderr) == (
        2,
        "tinydns: expected one of unbound, bind, coredns, radvd, networkd\n",
    )


def test_without_a_prefix_there_is_nothing_to_export(tmp_path: Path) -> None:
    file = tmp_path / "siit.toml"
    file.write_text('[[eam]]\nipv4 = "192.0.2.1"\nipv6 = "2001:db8::1"\n')
    result = run("export", "radvd", "-c", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"{file}: pool6 = (absent): expected a prefix: without one there is nothing to export\n"
