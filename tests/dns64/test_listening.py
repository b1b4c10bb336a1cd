"""Whether a port is free, and which program holds it."""

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from nat64d.dns64.service import listening
from nat64d.dns64.service.listening import holder, obstacle

ME = f"(process {os.getpid()})"


@pytest.fixture(params=[("127.0.0.1", "udp"), ("127.0.0.1", "tcp"), ("::1", "udp"), ("::1", "tcp"), ("::", "udp")])
def taken(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, int]]:
    """(address, protocol, port) of a socket that this test opened."""
    address, protocol = request.param
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM) as one:
        one.bind((address, 0))
        if protocol == "tcp":
            one.listen()
        yield address, protocol, one.getsockname()[1]


def test_a_taken_port_is_named_with_the_program(taken: tuple[str, str, int]) -> None:
    address, protocol, port = taken
    said = obstacle(ip_address(address), port)
    assert said is not None
    assert said.startswith(f"{protocol.upper()} port {port} is taken by ")
    assert said.endswith(ME)


def test_all_addresses_are_not_free_where_one_is_taken(taken: tuple[str, str, int]) -> None:
    address, _, port = taken
    said = obstacle(ip_address("::" if ":" in address else "0.0.0.0"), port)
    assert said is not None
    assert ME in said


def test_a_program_whose_files_are_hidden_is_named_by_its_user(
    taken: tuple[str, str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, protocol, port = taken
    monkeypatch.setattr(listening.Path, "iterdir", lambda _: (_ for _ in ()).throw(PermissionError()))
    assert holder(ip_address(address), port, protocol).startswith("a program of the user ")


def test_the_holder_of_a_port_that_is_free_again_is_not_named() -> None:
    assert holder(ip_address("127.0.0.1"), 1, "udp") == "another program"


def test_a_free_port_is_free_and_stays_so() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    assert obstacle(ip_address("127.0.0.1"), port) is None
    assert obstacle(ip_address("127.0.0.1"), port) is None


def test_an_address_of_another_host_is_reported() -> None:
    assert obstacle(ip_address("192.0.2.1"), 5353) == "this host has no address 192.0.2.1"
