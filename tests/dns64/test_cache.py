"""The cache: memory is bounded, the answer that was asked for longest ago goes first, expired answers may be used."""

import tracemalloc

import dns.message
import pytest

from nat64d.dns64.message import wire
from nat64d.dns64.message.reply import STALE_FOR, STALE_TTL, Reply, reply_of
from nat64d.dns64.upstreams.cache import Cache, Key
from tests.dns64.zone import reply


def query(name: str, number: int = 1) -> bytes:
    return dns.message.make_query(name, "A", id=number).to_wire()


def kept(said: object, name: str = "www.example.", now: float = 0.0) -> Reply:
    answer = reply(dns.message.from_wire(query(name)), list(said) if isinstance(said, list) else said).to_wire()
    return reply_of(answer, wire.read(answer), False, now)


def key(name: str) -> Key:
    return Key(wire.name_of(name), wire.A, wire.IN, False, False, 0)


WWW = key("www.example")
A = ["www.example. 60 IN A 192.0.2.1"]


@pytest.mark.parametrize(("later", "hit"), [(59.9, True), (60.0, False)])
def test_an_answer_is_not_given_when_its_ttl_is_over(later: float, hit: bool) -> None:
    cache = Cache(10000)
    cache.put(WWW, kept(A))
    assert (cache.get(WWW, later) is not None) is hit
    assert (cache.hits, cache.misses) == (hit, not hit)


def test_an_answer_that_is_good_for_no_time_is_not_kept() -> None:
    cache = Cache(10000)
    cache.put(WWW, kept(["www.example. 0 IN A 192.0.2.1"]))
    assert (len(cache), cache.size) == (0, 0)


@pytest.mark.parametrize("failed", [False, True])
def test_memory_is_bounded_and_what_was_wanted_longest_ago_goes_first(failed: bool) -> None:
    cache = Cache(4000)
    names = [f"n{number}.example" for number in range(20)]
    for name in names:
        cache.put(key(name), kept("SERVFAIL" if failed else [f"{name}. 60 IN A 192.0.2.1"], f"{name}."))
        assert cache.get(key(names[0]), 1.0)
        assert cache.size <= 4000
    left = [name for name in names if cache.get(key(name), 1.0)]
    assert 1 < len(left) == len(cache) < 6  # of 800 octets and more each
    assert left[0] == names[0]
    assert left[1:] == names[-len(left) + 1 :]
    cache.clear()
    assert (len(cache), cache.size) == (0, 0)


@pytest.mark.parametrize("records", [1, 12])
def test_the_objects_of_an_entry_take_less_than_is_counted_for_it(records: int) -> None:
    cache, names = Cache(1 << 30), [f"n{number}.example." for number in range(1000)]
    said = [f"example. 60 IN A 192.0.2.{at}" for at in range(records)]
    answers = [reply(dns.message.from_wire(query(name)), list(said)).to_wire() for name in names]
    tracemalloc.start()
    for name, answer in zip(names, answers, strict=True):
        cache.put(key(name), reply_of(answer, wire.read(answer), False, float(len(cache))))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.5 < taken / cache.size < 0.95  # the rest is what the allocator leaves unused


def test_rfc9520_a_failure_is_kept_again_when_its_time_is_over() -> None:
    cache = Cache(10000)
    cache.put(WWW, kept("SERVFAIL"))
    cache.put(WWW, kept("SERVFAIL", now=10.0))
    assert cache.get(WWW, 11.0)
    assert cache.stale(WWW, 20.0) is None


def test_the_same_question_takes_one_place() -> None:
    cache = Cache(10000)
    cache.put(WWW, kept(A))
    size = cache.size
    cache.put(WWW, kept(A, now=1.0))
    assert (len(cache), cache.size) == (1, size)


def test_rfc8767_an_answer_may_be_used_for_a_day_after_its_time() -> None:
    cache = Cache(10000)
    cache.put(WWW, kept(A))
    assert cache.stale(key("other.example"), 100.0) is None
    assert cache.stale(WWW, 60.0 + STALE_FOR) is None
    stale = cache.stale(WWW, 59.0 + STALE_FOR)
    assert stale is not None
    assert cache.get(WWW, 59.0 + STALE_FOR + STALE_TTL - 1) is stale
    assert cache.get(WWW, 59.0 + STALE_FOR + STALE_TTL) is None


def test_rfc9520_a_failure_takes_no_place_of_an_answer_that_may_be_used_yet() -> None:
    cache = Cache(10000)
    cache.put(WWW, kept(A))
    cache.put(WWW, kept("SERVFAIL", now=100.0))
    assert cache.stale(WWW, 100.0)
    cache.put(WWW, kept("SERVFAIL", now=60.0 + STALE_FOR))
    assert cache.stale(WWW, 60.0 + STALE_FOR) is None
    failed = cache.get(WWW, 64.0 + STALE_FOR)
    assert failed is not None
    assert failed.failed
