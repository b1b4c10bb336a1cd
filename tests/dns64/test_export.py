"""The same DNS64 in the words of other programs: what is said, and what is owned up to."""

from ipaddress import IPv4Network, IPv6Network

import pytest

from nat64d.config import Config
from nat64d.dns64.command import wish_of
from nat64d.dns64.export import PROGRAMS, Wish

PLAIN = Wish(IPv6Network("2001:db8:64::/96"), ("fd00::/8",), (), (), (), (), ("2001:db8::53", "[2001:db8::54]:5353"))
FULL = PLAIN._replace(
    exclude=(IPv6Network("::ffff:0:0/96"),),
    refused4=(IPv4Network("127.0.0.0/8"),),
    elsewhere4=((IPv4Network("10.0.0.0/8"), IPv6Network("64:ff9b:1::/96")),),
    exclude_names=("v6only.example",),
)


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_is_told_the_prefix(program: str) -> None:
    assert "2001:db8:64::/96" in PROGRAMS[program](PLAIN).text


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        ("unbound", ["  forward-addr: 2001:db8::53\n", "  forward-addr: 2001:db8::54@5353\n", "64:c000:aa"]),
        ("bind", ["forwarders { 2001:db8::53; 2001:db8::54 port 5353; };", "mapped { any; };"]),
        ("coredns", ["forward . 2001:db8::53 [2001:db8::54]:5353"]),
    ],
)
def test_the_servers_are_written_as_the_program_likes(program: str, lines: list[str]) -> None:
    text = PROGRAMS[program](PLAIN).text.replace("64::c000", "64:c000")
    assert [line for line in lines if line not in text] == []


def test_bind_keeps_what_it_can_say() -> None:
    text, losses = PROGRAMS["bind"](FULL)
    assert "mapped { !127.0.0.0/8; !10.0.0.0/8; any; };" in text
    assert "dns64 64:ff9b:1::/96 {\n        mapped { 10.0.0.0/8; };" in text
    assert text.count("exclude { ::ffff:0:0/96; };") == 2
    assert any("exclude_names" in loss for loss in losses)


@pytest.mark.parametrize(("program", "more"), [("unbound", 4), ("coredns", 4), ("radvd", 1), ("networkd", 1)])
def test_what_a_program_cannot_say_is_told_only_if_it_was_wished(program: str, more: int) -> None:
    assert len(PROGRAMS[program](FULL).losses) - len(PROGRAMS[program](PLAIN).losses) == more


def test_the_well_known_prefix_carries_no_private_address() -> None:
    wish = wish_of(Config.model_validate({"pool6": "64:ff9b::/96", "dns64": {"upstream": ["2001:db8::53"]}}))
    assert IPv4Network("10.0.0.0/8") in wish.refused4
    other = wish_of(Config.model_validate({"pool6": "2001:db8:64::/96", "dns64": {"upstream": ["2001:db8::53"]}}))
    assert IPv4Network("10.0.0.0/8") not in other.refused4
