"""What differs between two configurations, and what of it a reload can change; every key has its place in EFFECTS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.config.difference import EFFECTS, LISTED, Change, Effect, difference, fixed
from nat64d.config.expected import hints, model_in
from nat64d.config.load import load, loads
from nat64d.config.models import Config

BASE = """
pool6 = "64:ff9b::/96"

[[pool4]]
addresses = "192.0.2.1"
"""
PORTS = "{{ calculate = [], drop = [{}], forward = [] }}"
PORTS = "{ calculate = [], drop = [%s], forward = [] }"
FORWARD = """
[[forward]]
protocol = "tcp"
ipv4 = "192.0.2.1:80"
ipv6 = "[2001:db8::1]:80"
"""


def changes(before: str, after: str) -> list[str]:
    return [change.clause for change in difference(loads(BASE + before), loads(BASE + after))]


def refusals(before: str, after: str) -> list[str]:
    old, new = loads(before), loads(after)
    return list(map(str, fixed(difference(old, new), "a.toml")))


def all_keys() -> Iterator[tuple[str, str]]:
    """(section, key) of everything a file can have; the section is "" for what is in none, and for whether one that may
    be missing is there."""
    for name, hint in hints(Config).items():
        model = model_in(hint)
        if model is None or Config.model_fields[name].default is None:
            yield "", name
        if model:
            yield from ((name, key) for key in model.model_fields)


def test_every_key_has_its_effect_and_there_are_no_others():
    """A key that is new: put it into EFFECTS. What it takes is in gateway/takeover.py and host/host.py."""
    keys = list(all_keys())
    assert len(keys) == len(set(keys))
    assert set(keys) == set(EFFECTS)


def test_of_the_same_configuration_nothing_differs():
    config = load(Path("config/nat64d.toml"))
    found = difference(config, config)
    assert found == fixed(found, "") == []


@pytest.mark.parametrize(
    ("before", "after", "clauses"),
    [
        ("", "[timeouts]\nudp = 600", ["[timeouts] udp = 600 (was 300)"]),
        ("[timeouts]\nudp = 600", "", ["[timeouts] udp = 300 (was 600)"]),
        ("", '[tun]\nipv4 = "192.0.2.9"', ['[tun] ipv4 added ("192.0.2.9")']),
        ('[tun]\nipv4 = "192.0.2.9"', "", ['[tun] ipv4 removed ("192.0.2.9")']),
        ("", "[dns64]", ["[dns64] added"]),
        ("[dns64]", "", ["[dns64] removed"]),
        ("[dns64]", "[dns64]\ndns46 = true", ["[dns64] dns46 = true (was false)"]),
        ("", '[[pool4]]\naddresses = "192.0.2.2"', ['[[pool4]] added (addresses = "192.0.2.2")']),
        (
            '[[eam]]\nipv4 = "192.0.2.8"\nipv6 = "2001:db8::8"',
            '[[eam]]\nipv4 = "192.0.2.8"\nipv6 = "2001:db8::9"',
            [
                '[[eam]] removed (ipv4 = "192.0.2.8/32", ipv6 = "2001:db8::8/128")',
                '[[eam]] added (ipv4 = "192.0.2.8/32", ipv6 = "2001:db8::9/128")',
            ],
        ),
        (
            "",
            "[translation]\nudp_zero_checksum_ports = { drop = ['53'] }",
            ["[translation] udp_zero_checksum_ports = " + PORTS % '"53"' + f" (was {PORTS % ''})"],
        ),
    ],
)
def test_a_difference_in_words(before, after, clauses):
    assert changes(before, after) == clauses


def test_pool6_has_no_section():
    other = loads(BASE.replace("64:ff9b::/96", "2001:db8:64::/96"))
    assert difference(loads(BASE), other) == [
        Change("pool6", '"64:ff9b::/96"', '"2001:db8:64::/96"', Effect.SESSIONS),
    ]


def test_the_order_of_rows_is_no_difference():
    rows = [f'[[pool4]]\naddresses = "192.0.2.{n}"\n' for n in (5, 6, 7)]
    assert changes("".join(rows), "".join(reversed(rows))) == []


def test_values_that_differ_beyond_what_is_shown_differ():
    names = [f"a{n}.example" for n in range(100)]
    one, other = (f"[dns64]\nexclude_names = {given}" for given in (names, names[:-1]))
    (clause,) = changes(one, other)
    assert clause.startswith("[dns64] exclude_names = [")
    assert len(clause) < 250


def test_of_many_rows_the_number_is_said():
    rows = "".join(f'[[eam]]\nipv4 = "198.51.100.{n}"\nipv6 = "2001:db8::{n:x}"\n' for n in range(LISTED + 7))
    assert changes("", rows)[-1] == "[[eam]] added (7 more)"
    assert len(changes("", rows)) == len(changes(rows, "")) == LISTED + 1


@pytest.mark.parametrize(
    ("before", "after", "sentences"),
    [
        (BASE, BASE + "[tun]\nqueues = 4", ['[tun] queues = 4: nat64d runs with "auto"; changing it takes a restart']),
        (
            BASE,
            BASE + "[limits]\nsessions = 1000\n[timeouts]\nudp = 600\n[state]\nkeep = false",
            [
                "[limits] sessions = 1000: nat64d runs with 1048576; changing it takes a restart",
                "[state] keep = false: nat64d runs with true; changing it takes a restart",
            ],
        ),
        (
            '[clat]\nipv6 = "2001:db8::1"\nplat = "64:ff9b::/96"',
            'pool6 = "64:ff9b::/96"',
            ["[clat] = (absent): nat64d runs with it; changing it takes a restart"],
        ),
        (BASE, 'pool6 = "64:ff9b::/96"', []),
        ('pool6 = "2001:db8:64::/96"', 'pool6 = "2001:db8:64::/96"\n' + FORWARD, []),
    ],
)
def test_what_takes_a_restart_is_named(before, after, sentences):
    assert refusals(before, after) == [f"a.toml: {sentence}" for sentence in sentences]
