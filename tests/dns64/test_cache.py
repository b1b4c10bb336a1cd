"""Answers kept and given again: TTLs fall to the second, negative answers by RFC 2308, memory is bounded."""

import dns.message
import pytest

from nat64d.dns64 import wire
from nat64d.dns64.cache import LONGEST, LONGEST_NEGATIVE, Cache, Key, lifetime
from tests.dns64.zone import SOA, reply


def query(name: str, number: int = 1) -> bytes:
    return dns.message.make_query(name, "A", id=number).to_wire()


def answer(said: object, name: str = "www.example.") -> wire.Message:
    return wire.read(
        reply(dns.message.from_wire(query(name)), list(said) if isinstance(said, list) else said).to_wire()
    )


def key(name: str) -> Key:
    return Key(wire.name_of(name), wire.A, wire.IN, False, False, False, 0)


def test_a_hit_has_the_clients_id_and_letters_and_a_ttl_that_fell() -> None:
    cache = Cache(10000)
    cache.put(key("www.example"), answer(["www.example. 60 IN A 192.0.2.1"]), 100.0)
    octets = cache.get(key("www.example"), query("WwW.eXample.", 77), 142.9)
    assert octets is not None
    found = dns.message.from_wire(octets)
    assert (found.id, found.question[0].name.to_text(), found.answer[0].ttl) == (77, "WwW.eXample.", 18)


@pytest.mark.parametrize(("later", "hit"), [(59.9, True), (60.0, False)])
def test_an_answer_is_gone_when_its_ttl_is_over(later: float, hit: bool) -> None:
    cache = Cache(10000)
    cache.put(key("www.example"), answer(["www.example. 60 IN A 192.0.2.1"]), 0.0)
    assert (cache.get(key("www.example"), query("www.example."), later) is not None) is hit
    assert len(cache) == hit


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (["www.example. 60 IN A 192.0.2.1", "www.example. 30 IN A 192.0.2.2"], 30),
        (["www.example. 9999999 IN A 192.0.2.1"], LONGEST),
        (["www.example. 0 IN A 192.0.2.1"], 0),
        ([f"example. 300 IN SOA {SOA}"], 120),  # RFC 2308 section 5: the lesser of TTL and MINIMUM
        ([f"example. 50 IN SOA {SOA}"], 50),
        (["example. 99999 IN SOA ns.example. a.example. 1 1 1 1 99999"], LONGEST_NEGATIVE),
        (["www.example. 20 IN CNAME web.example.", f"example. 300 IN SOA {SOA}"], 20),
        ("NXDOMAIN", 120),
        ("SERVFAIL", 0),
    ],
)
def test_rfc2308_how_long_an_answer_may_be_kept(said: object, seconds: int) -> None:
    assert lifetime(answer(said)) == seconds


def test_memory_is_bounded_and_what_was_wanted_longest_ago_goes_first() -> None:
    cache = Cache(2000)
    names = [f"n{number}.example" for number in range(20)]
    for name in names:
        cache.put(key(name), answer([f"{name}. 60 IN A 192.0.2.1"], f"{name}."), 0.0)
        assert cache.get(key(names[0]), query(f"{names[0]}."), 1.0)
        assert cache.size <= 2000
    kept = [name for name in names if cache.get(key(name), query(f"{name}."), 1.0)]
    assert kept[0] == names[0]
    assert kept[1:] == names[-len(kept) + 1 :]
    cache.clear()
    assert (len(cache), cache.size) == (0, 0)
