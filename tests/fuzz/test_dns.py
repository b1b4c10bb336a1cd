"""A short fuzz of the name server with every run of the suite; what once broke a rule; and that the judges notice."""

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from nat64d.dns64 import resolver
from nat64d.dns64.message import reply, wire
from nat64d.dns64.rules import filter_a, synthesis
from nat64d.dns64.rules import queries as understanding
from nat64d.dns64.upstreams import exchange
from tests.fuzz import dns as fuzzer
from tests.fuzz.dns_answers import CLIENT, Answers
from tests.fuzz.dns_queries import Queries
from tests.fuzz.dns_seeds import answers, exchange_of, queries
from tests.fuzz.faults import FaultError

pytestmark = pytest.mark.no_cover  # much computing, of code that others measure

MOST = 20_000
SEED = 64

# What the fuzzer or somebody found, by name: a query, and how it ends.
QUERIES = {
    "a pointer into its own name": ("000101000001000000000000050161007878c00d00010001", "answered"),
    "records of an answer": ("0001010000010001000000000161000001000100000100010000000000047f000001", "answered"),
    "an option that runs over": ("00010100000100000000000101610000010001000029100000000000000500030002ff", "answered"),
    "behind the query": ("00010100000100000000000001610000010001626568696e64", "asked"),
}
# A query, its answer, and how that ends.
WWW_AAAA, WWW_A = (f"00010100000100000000000003777777076578616d706c650000{type_}0001" for type_ in ("1c", "01"))
ANSWERS = {
    "a name that runs into its own TTL": (
        WWW_AAAA,
        f"00018180000100010000{WWW_AAAA[20:]}c01c001c00010000003c001020010db8000000000000000000000001",
        "refused",
    ),
    "a TTL beyond 31 bits": (
        WWW_AAAA,
        f"000181800001000100000001{WWW_AAAA[24:]}c00c001c00010000003c0010{'00' * 16}00001000018000000100020178",
        "kept",
    ),
    "another name's address": (
        WWW_A,
        f"00018180000100010000{WWW_A[20:]}0462616e6bc010000100010000003c0004c0000201",
        "answered",
    ),
    "more data than an alias has": (
        WWW_AAAA,
        f"00018180000100010000{WWW_AAAA[20:]}c00c000500010000003c000401610078",
        "refused",
    ),
    "behind the answer": (
        WWW_AAAA,
        f"00018180000100010000{WWW_AAAA[20:]}c00c001c00010000003c001020010db8000000000000000000000001626568696e64",
        "kept",
    ),
}


async def last(seed: str, most: int) -> tuple[int, Counter[str]]:
    return [each async for each in fuzzer.fuzz(seed, most)][-1]


def test_fuzz_dns() -> None:
    done, ends = asyncio.run(last(str(SEED), MOST))
    assert done == MOST
    for end in ("queries: answered", "queries: asked", "answers: answered", "answers: refused", "answers: kept"):
        assert ends[end] > MOST / 20, end
    for end in (
        "queries: dropped",
        "answers: made",
        "answers: not taken",
        "answers: filtered",
        "answers: whole way",
        "answers: hidden",
    ):
        assert ends[end] > 50, end


def test_the_same_seed_is_the_same_fuzz_of_dns() -> None:
    first, second, third = (asyncio.run(last(seed, 1500)) for seed in ("7", "7", "8"))
    assert first == second
    assert first != third
    assert queries() == queries()
    assert answers() == answers()


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_that_was_found(name: str) -> None:
    octets, end = QUERIES[name]

    async def run() -> Queries:
        side = Queries(Random(1))
        side.judge(bytes.fromhex(octets), CLIENT, True)
        return side

    assert asyncio.run(run()).ends == {end: 1}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_was_found(name: str) -> None:
    query, octets, end = ANSWERS[name]

    async def run() -> Answers:
        side = Answers(Random(1))
        for _ in range(20):  # of many ages
            side.judge(exchange_of(bytes.fromhex(query), bytes.fromhex(octets)), bytes.fromhex(octets), True)
        return side

    ends = asyncio.run(run()).ends
    assert ends["answered"] == 20
    assert ends[end] > 3
    assert ends["made"] <= 20


BREAKS: dict[str, tuple[Any, str, Callable[[Any], Any], str]] = {  # where, what, by what it is replaced, what is said
    "an answer of another question": (
        *(exchange, "same_but_for_case", lambda _: lambda *_: True),
        "instead of nothing",
    ),
    "an exception": (understanding, "read_query", lambda _: lambda octets: 1 // 0, "ZeroDivisionError"),
    "an answer without its question": (
        resolver,
        "failure",
        lambda old: lambda q, *_: old(q._replace(id=q.id ^ 1)),
        "ID",
    ),
    "addresses of other names": (
        *(synthesis, "chain", lambda _: lambda answer, _type: answer.sections[0]),
        "made of nothing|a record that is no alias",
    ),
    "TTLs that stay": (reply, "layout", lambda old: lambda *them: ([], old(*them)[1]), "not what was kept"),
    "names that run into numbers": (wire, "bisect_right", lambda _: lambda *_: 1 << 30, "not what was kept"),
    "hints that stay": (filter_a, "IPV4HINT", lambda _: 6, "a hint that is not hidden"),
    "no cut": (understanding, "UDP_WITHOUT_EDNS", lambda _: 65535, "larger than a client takes"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_noticed_with_the_seed_and_the_message(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, what, replace, said = BREAKS[name]
    monkeypatch.setattr(where, what, replace(getattr(where, what)))
    with pytest.raises(FaultError, match=rf"(?s)seed 64: (the query|to) [0-9a-f]+.*({said})"):
        asyncio.run(last(str(SEED), 400_000))
