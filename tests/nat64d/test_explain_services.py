"""`nat64d explain` names the service of a packet, the endpoint, and why it is that one; or why it is none."""

import re

import pytest

from tests.nat64d.test_explain import steps_for, told

BASE = """
pool6 = "2001:db8:64::/96"
[translation]
denylist4 = ["192.0.2.0/24"]
"""
ROW = '[[service]]\nname = "{}"\nipv4 = "203.0.113.80:{}"\nendpoints = [{}]\n{}\n'
SYN = "{} > 203.0.113.80 tcp 5000 {} flags S"


def row(name: str, port: int, *numbers: int, more: str = "", **weights: int) -> str:
    """A service of endpoints; e2=5: the second has weight 5."""
    ends = (f'{{ address = "[2001:db8:5::{n}]:80", weight = {weights.get(f"e{n}", 1)} }}' for n in numbers)
    return ROW.format(name, port, ", ".join(ends), more)


CONFIG = BASE + "".join(
    (
        row("web", 80, 1, 2, 3),
        row("draining", 81, 1, 2, 3, 4, e3=0),
        row("weighted", 82, 7, 8, e7=9),
        row("sticky", 83, 5, 6, more='affinity = "client"'),
        row("one", 84, 9),
        row("same", 85, 9),
        row("nobody", 86),
        row("staff", 87, 1, more='sources = ["198.51.100.128/25"]'),
        row("again", 88, 1, 2, 3),
    )
)


def found(*ports: int, client: str = "198.51.100.7") -> str:
    return told("filter, update", steps_for(*(SYN.format(client, port) for port in ports), config=CONFIG))


MEMBER = r"member \[2001:db8:5::[{}]\]:80"
SCORE = r"score [\d,]+ of 2,147,483,648"


@pytest.mark.parametrize(
    ("ports", "pattern"),
    [
        (
            (80,),
            rf"web, .*:80: {MEMBER.format('123')}, chosen by the hash of the flow among 3 members, {SCORE}; pinned",
        ),
        (
            (81,),
            rf"draining, .*:81: {MEMBER.format('124')}, chosen by the hash of the flow among 3 of 4 members, .*; p",
        ),
        ((82,), rf"weighted, .*:82: {MEMBER.format('7')}, chosen by the hash of the flow among 2 members, weight 9; p"),
        ((83,), rf"sticky, .*:83: {MEMBER.format('56')}, chosen by the hash of the client's address among 2 members"),
        ((84,), rf"one, .*:84: {MEMBER.format('9')}, chosen by the hash of the flow among one member, {SCORE}; pinned"),
        ((80, 80), rf"web, .*:80: {MEMBER.format('123')}, where its session is pinned"),
        ((84, 85), r"same, .*:85: each of its endpoints has a flow with this port of the client already"),
        ((86,), r"nobody, .*:86: it has no endpoint for this flow"),
        ((87,), r"staff, .*:87: not for this client"),
    ],
)
def test_a_service_its_endpoint_and_the_reason_are_named(ports, pattern):
    assert re.match(f"service {pattern}", found(*ports)), found(*ports)


def test_a_denied_client_is_told_of_which_service():
    assert found(80, client="192.0.2.7").startswith("service web, 203.0.113.80:80: not for this client")


def test_the_next_best_endpoint_is_named_with_its_own_score():
    """Where the best one has a flow with this port of the client already."""
    ends = r"\[2001:db8:5::(.)\]:80, chosen by the hash of the flow among 3 members(.*), score ([\d,]+) of"
    alone, beside = (re.search(ends, found(*ports, client="198.51.100.3")) for ports in ((88,), (80, 88)))
    assert alone
    assert beside
    assert (alone[1], alone[2]) == ("2", "")
    assert (beside[1], beside[2]) == ("3", ", but for those that have a flow with this port of the client already")
    assert int(beside[3].replace(",", "")) < int(alone[3].replace(",", ""))
