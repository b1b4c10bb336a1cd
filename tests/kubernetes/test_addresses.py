"""Which Service has which addresses (nat64d/kubernetes/addresses.py)."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.kubernetes.addresses import (
    ADDRESS_IN_USE,
    OUTSIDE_POOL,
    POOL_EXHAUSTED,
    Claim,
    Pool,
    allocate,
    contradictions,
)

HTTP, HTTPS, DNS = frozenset({("TCP", 80)}), frozenset({("TCP", 443)}), frozenset({("UDP", 53)})
BOTH = Pool("both", ("2026", "1"), ("192.0.2.0/30", "2001:db8::/64"))
BY_NAME = Pool("named", ("2026", "2"), ("198.51.100.7-198.51.100.8",), auto=False)
POOLS = (BOTH, BY_NAME)


def claim(name: str, age: str = "2026", **words: object) -> Claim:
    """A Service of the namespace `shop`; addresses are given as texts."""
    for word in ("has", "asked"):
        words[word] = tuple(ip_address(text) for text in words.get(word, ()))  # type: ignore[attr-defined]
    return Claim(("shop", name), (age, name), **{"ports": HTTP, **words})  # type: ignore[arg-type]


def given_to(*claims: Claim, pools: tuple[Pool, ...] = POOLS) -> dict[str, list[str]]:
    return {key[1]: [str(one) for one in found.addresses] for key, found in allocate(pools, claims).items()}


def reasons(*claims: Claim, pools: tuple[Pool, ...] = POOLS) -> dict[str, list[tuple[str, str]]]:
    return {key[1]: [*found.problems] for key, found in allocate(pools, claims).items() if found.problems}


def test_the_lowest_free_address_of_each_family_of_the_pool() -> None:
    claims = [claim("b", "2027"), claim("a"), claim("c", "2025", has=["192.0.2.1"])]
    assert given_to(*claims) == {
        "c": ["192.0.2.1", "2001:db8::"],
        "a": ["192.0.2.0", "2001:db8::1"],
        "b": ["192.0.2.2", "2001:db8::2"],
    }


def test_what_is_taken_is_given_to_nobody_who_has_not_got_it() -> None:
    claims = [claim("has", has=["192.0.2.1"]), claim("asks", asked=["192.0.2.0"]), claim("any", "2027", families=(4,))]
    found = allocate(POOLS, claims, [("192.0.2.0/31", "StaticMapping a"), ("192.0.2.2", "StaticMapping b")])
    assert {key[1]: [str(one) for one in given.addresses if one.version == 4] for key, given in found.items()} == {
        "has": ["192.0.2.1"],
        "asks": [],
        "any": ["192.0.2.3"],
    }
    assert found["shop", "asks"].problems == ((ADDRESS_IN_USE, "StaticMapping a has 192.0.2.0"),)


@pytest.mark.parametrize(
    ("families", "addresses"),
    [((4,), ["192.0.2.0"]), ((6,), ["2001:db8::"]), ((6, 4), ["192.0.2.0", "2001:db8::"])],
    ids=str,
)
def test_the_families_that_a_service_wants(families: tuple[int, ...], addresses: list[str]) -> None:
    assert given_to(claim("a", families=families)) == {"a": addresses}


def test_a_pool_may_give_one_of_its_families_only() -> None:
    assert given_to(claim("a"), pools=(BOTH._replace(families=(4,)),)) == {"a": ["192.0.2.0"]}


def test_what_works_is_never_changed() -> None:
    """Neither by an older Service that asks for it, nor since lower ones are free."""
    young, old = claim("young", "2027", has=["192.0.2.3", "2001:db8::9"]), claim("old", "2020", asked=["192.0.2.3"])
    assert given_to(young, old) == {"young": ["192.0.2.3", "2001:db8::9"], "old": []}
    assert reasons(young, old) == {"old": [(ADDRESS_IN_USE, "Service shop/young has 192.0.2.3")]}


def test_of_two_that_have_the_same_address_the_older_keeps_it() -> None:
    """However it is spelt: 2001:DB8::0009 is 2001:db8::9."""
    young = claim("young", "2027", has=["192.0.2.2", "2001:DB8::0009"])
    old = claim("old", has=["192.0.2.2", "2001:db8::9"])
    assert given_to(young, old) == {"old": ["192.0.2.2", "2001:db8::9"], "young": ["192.0.2.0", "2001:db8::"]}


def test_an_address_that_no_pool_has_any_more_is_replaced() -> None:
    assert given_to(claim("a", has=["203.0.113.1", "2001:db8::9"])) == {"a": ["192.0.2.0", "2001:db8::9"]}


def test_an_address_may_be_asked_for_also_of_a_pool_that_gives_none_by_itself() -> None:
    assert given_to(claim("a", asked=["198.51.100.8"])) == {"a": ["198.51.100.8"]}
    assert given_to(claim("a", pool="named")) == {"a": ["198.51.100.7"]}
    assert given_to(claim("a", asked=["192.0.2.3"], has=["192.0.2.0"])) == {"a": ["192.0.2.3"]}


def test_until_what_is_asked_for_can_be_had_the_working_address_stays() -> None:
    other, one = claim("other", has=["192.0.2.3"], families=(4,)), claim("one", asked=["192.0.2.3"], has=["192.0.2.0"])
    assert given_to(other, one) == {"other": ["192.0.2.3"], "one": ["192.0.2.0"]}
    assert [reason for reason, _ in reasons(other, one)["one"]] == [ADDRESS_IN_USE]


REFUSED = {
    "outside_all": (claim("a", asked=["203.0.113.9"]), OUTSIDE_POOL, "203.0.113.9 is not in any VIPPool"),
    "outside_its_pool": (
        claim("a", asked=["192.0.2.1"], pool="named"),
        OUTSIDE_POOL,
        "192.0.2.1 is not in VIPPool named",
    ),
    "no_such_pool": (claim("a", pool="new"), POOL_EXHAUSTED, "there is no VIPPool new"),
    "of_the_other_family": (
        claim("a", pool="named", families=(6,)),
        POOL_EXHAUSTED,
        "no IPv6 address is in VIPPool named",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=[*REFUSED])
def test_what_cannot_be_had_is_a_reason_and_a_sentence(case: tuple[Claim, str, str]) -> None:
    wanted, reason, sentence = case
    assert given_to(wanted) == {"a": []}
    assert reasons(wanted) == {"a": [(reason, sentence)]}


def test_a_pool_that_is_empty_has_nothing_for_the_youngest() -> None:
    claims = [claim(str(number), families=(4,)) for number in range(5)]
    assert given_to(*claims) == {**{str(number): [f"192.0.2.{number}"] for number in range(4)}, "4": []}
    sentence = "no IPv4 address is free in a VIPPool that gives to everybody"
    assert reasons(*claims) == {"4": [(POOL_EXHAUSTED, sentence)]}
    assert reasons(claim("a"), pools=()) == {"a": [(POOL_EXHAUSTED, "there is no VIPPool that gives to everybody")]}


SHARED = {
    "other_ports_and_the_same_key": ({"sharing": "k", "ports": HTTPS}, True),
    "another_protocol": ({"sharing": "k", "ports": DNS}, True),
    "the_same_port": ({"sharing": "k", "ports": HTTP | HTTPS}, False),
    "another_key": ({"sharing": "other", "ports": HTTPS}, False),
    "no_key": ({"ports": HTTPS}, False),
}


@pytest.mark.parametrize("case", SHARED.values(), ids=[*SHARED])
def test_an_address_is_shared_under_one_key_by_services_of_other_ports(case: tuple[dict[str, object], bool]) -> None:
    words, together = case
    first, second = claim("first", asked=["192.0.2.1"], sharing="k"), claim("second", asked=["192.0.2.1"], **words)
    assert given_to(first, second) == {"first": ["192.0.2.1"], "second": ["192.0.2.1"] if together else []}


WRONG = {
    "a_cidr_of_services": (("fd00:10::/64",), (), "its block fd00:10::-fd00:10::ffff:ffff:ffff:ffff overlaps"),
    "pool4": (("192.0.2.0/24",), (), "overlaps 192.0.2.9 of pool4 of Translator default"),
    "no_block": (("192.0.2.0/33",), (), "'192.0.2.0/33' is no block"),
    "the_wrong_way_round": (("192.0.2.9-192.0.2.1",), (), "is no block"),
    "an_older_pool": (("203.0.113.0/24",), ("203.0.113.255",), "overlaps 203.0.113.255 of VIPPool old"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=[*WRONG])
def test_a_pool_that_contradicts_something_is_named_with_what_it_contradicts(
    case: tuple[tuple[str, ...], tuple[str, ...], str],
) -> None:
    blocks, older, sentence = case
    taken = [("fd00:10::/112", "ServiceCIDR kubernetes"), ("192.0.2.9", "pool4 of Translator default")]
    pools = [Pool("new", ("2027", ""), blocks), Pool("old", ("2020", ""), older)]
    wrong = contradictions(pools, taken)
    assert [*wrong] == ["new"]
    assert sentence in wrong["new"]


def test_a_block_of_others_that_is_none_takes_nothing() -> None:
    taken = [("192.0.2.9-192.0.2.1", "pool4 of Translator a"), ("x", "pool4 of Translator b")]
    assert contradictions(POOLS, taken) == {}


def test_pools_that_contradict_nothing() -> None:
    assert contradictions(POOLS, [("fd00:10::/112", "ServiceCIDR kubernetes")]) == {}


TEXTS = [f"192.0.2.{number}" for number in range(6)] + [f"2001:db8::{number}" for number in range(3)]
CLAIMS = st.lists(
    st.builds(
        claim,
        st.sampled_from("abcdefgh"),
        st.sampled_from(["2025", "2026"]),
        has=st.lists(st.sampled_from(TEXTS), max_size=2),
        asked=st.lists(st.sampled_from(TEXTS), max_size=2, unique_by=lambda text: ":" in text),
        families=st.sampled_from([(), (4,), (6,), (4, 6)]),
        sharing=st.sampled_from(["", "k"]),
        ports=st.sampled_from([HTTP, HTTPS, DNS]),
    ),
    unique_by=lambda one: one.key,
)


@given(CLAIMS)
def test_nobody_has_what_another_has_and_what_was_given_stays(claims: list[Claim]) -> None:
    """Until nothing changes any more: who gets what was asked for leaves an address to others."""
    for _ in range(len(claims) + 2):
        found = allocate(POOLS, claims)
        taken: dict[tuple[object, str, int], str] = {}
        for one in claims:
            assert len({address.version for address in found[one.key].addresses}) == len(found[one.key].addresses)
            for address in found[one.key].addresses:
                for port in one.ports:
                    assert taken.setdefault((address, *port), one.key[1]) == one.key[1]
        after = [one._replace(has=found[one.key].addresses) for one in claims]
        if after == claims:
            return
        claims = after
        for one in claims:
            assert one.asked or set(one.has) <= set(allocate(POOLS, claims)[one.key].addresses)
    raise AssertionError("it does not come to an end")
