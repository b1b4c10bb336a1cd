"""The sentences of a trace: what was asked, answered, excluded and synthesised, and why."""

import re
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import dns.flags
import pytest

from nat64d.dns64.message.wire import name_of
from nat64d.dns64.rules.maps import Maps
from nat64d.dns64.rules.policy import Policy, ranges_for
from tests.dns64.gateway import CLIENT4, EVERYBODY, POLICY, WWW, Gateway, gateway, query, silent
from tests.dns64.zone import SOA

A, AAAA = (WWW, "A"), (WWW, "AAAA")
EMPTY = [f"example. 300 IN SOA {SOA}"]
SOA_TTL = "; TTL 300 s, of 900 s and 300 s of the SOA record (RFC 6147 5.1.7)"
SHORT_TTL = "; TTL 40 s, of 40 s and 600 s without a SOA record (RFC 6147 5.1.7)"
FIRST = "policy 1, of clients 127.0.0.0/8, ::/0: synthesises AAAA"


def told(one: Gateway, type_: str = "AAAA", name: str = WWW) -> list[str]:
    """The sentences, with N for what differs from run to run."""
    sentences: list[str] = []
    one.ask(query(type_, name), CLIENT4, sentences.append)
    return [re.sub(r"127\.0\.0\.1:\d+", "SERVER", re.sub(r"\d+\.\d ms", "N ms", line)) for line in sentences]


def test_what_was_asked_got_and_made() -> None:
    with gateway({A: [f"{WWW} 900 IN A 192.0.2.1"], AAAA: EMPTY}) as one:
        assert sorted(told(one)[1:3]) == [
            "www.example. A asked of SERVER: NOERROR: A 192.0.2.1 (900 s) (N ms)",
            "www.example. AAAA asked of SERVER: NOERROR: no records, SOA record of 300 s (N ms)",
        ]
        one.resolver.cache.clear()
        assert told(one)[3:] == [
            "AAAA: there is no such record (RFC 6147 5.1): the other family decides",
            "A 192.0.2.1 becomes 64:ff9b::c000:201: range 0.0.0.0/0 64:ff9b::/96" + SOA_TTL,
        ]


def test_each_address_has_its_row() -> None:
    with gateway({A: [f"{WWW} 900 IN A 192.0.2.1", f"{WWW} 900 IN A 127.0.0.1"], AAAA: EMPTY}) as one:
        assert sorted(told(one)[4:]) == [
            "A 127.0.0.1 becomes nothing: range 127.0.0.0/8 has no prefix",
            "A 192.0.2.1 becomes 64:ff9b::c000:201: range 0.0.0.0/0 64:ff9b::/96" + SOA_TTL,
        ]


def test_what_was_left_out_and_by_which_rule() -> None:
    lines = [f"{WWW} 60 IN AAAA 2001:db8::1", f"{WWW} 60 IN AAAA ::ffff:192.0.2.1"]
    with gateway({A: EMPTY, AAAA: lines}) as one:
        assert told(one)[-2:] == [
            f"AAAA {IPv6Address('::ffff:192.0.2.1')} is ignored: it is in ::ffff:0:0/96 (RFC 6147 5.1.4)",
            "AAAA: some records are excluded (RFC 6147 5.1.4): the answer is used without them",
        ]


def test_the_names_that_decide() -> None:
    policy = replace(POLICY, force_names=(name_of("example"),), exclude_names=(name_of("web.example"),))
    chain = [f"{WWW} 60 IN CNAME web.example."]
    table = {A: [*chain, "web.example. 60 IN A 192.0.2.1"], AAAA: [f"{WWW} 60 IN AAAA 2001:db8::1"]}
    with gateway(table, policy) as one:
        assert told(one)[-4:] == [
            "AAAA 2001:db8::1 is ignored: force_names has example.",
            "AAAA: all records are excluded (RFC 6147 5.1.4): the other family decides",
            "A 192.0.2.1 becomes nothing: exclude_names has web.example.",
            "nothing to synthesise from: the answer for A is given (RFC 6147 5.1)",
        ]


@pytest.mark.parametrize(
    ("policy", "ready", "flags", "why"),
    [
        (replace(POLICY, synthesise=False), True, 0, "the policy says so"),
        (replace(POLICY, exclude_names=(name_of("example"),)), True, 0, "exclude_names has example."),
        (POLICY, False, 0, "packets are not being translated"),
        (POLICY, True, dns.flags.CD, "the client validates for itself: it sets DO and CD (RFC 6147 5.5)"),
    ],
)
def test_why_nothing_is_made(policy: Policy, ready: bool, flags: int, why: str) -> None:
    sentences: list[str] = []
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"], AAAA: EMPTY}, policy) as one:
        one.ready = ready
        one.ask(query(flags=flags, want_dnssec=True), CLIENT4, sentences.append)
    assert sentences[1] == f"nothing is synthesised: {why}"
    assert len(sentences) == 3


def test_an_error_and_what_stands_in_for_it() -> None:
    with gateway({A: "SERVFAIL", AAAA: "NODATA"}) as one:
        assert sorted(told(one)) == [
            "AAAA: there is no such record (RFC 6147 5.1): the other family decides",
            "nothing to synthesise from: the answer for A is given (RFC 6147 5.1)",
            FIRST,
            "www.example. A asked of SERVER: SERVFAIL: no records (N ms)",
            "www.example. AAAA asked of SERVER: NOERROR: no records, SOA record of 300 s (N ms)",
        ]


def test_a_cached_answer() -> None:
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"], AAAA: "SERVFAIL"}) as one:
        one.ask(query("A"))
        one.clock += 20
        assert [line for line in told(one) if "SERVER" not in line] == [
            FIRST,
            "www.example. A: in the cache for 20 s: NOERROR: A 192.0.2.1 (40 s)",
            "AAAA: an error or no answer counts as an empty one (RFC 6147 5.1.2, 5.1.3): the other family decides",
            "A 192.0.2.1 becomes 64:ff9b::c000:201: range 0.0.0.0/0 64:ff9b::/96" + SHORT_TTL,
        ]


def test_servers_that_do_not_answer() -> None:
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"], AAAA: silent}) as one:
        assert "www.example. AAAA: no answer within 1.5 s" in told(one)
        one.zone.table = {A: silent, AAAA: silent}
        one.clock += 60
        assert told(one)[-3:] == [
            "www.example. A: no answer in time",
            "nothing to synthesise from: the answer for A is given (RFC 6147 5.1)",
            "no upstream server has an answer: an expired one from the cache is used (RFC 8767)",
        ]


def test_reverse_names_are_answered_locally() -> None:
    name, reverse4 = (
        "1.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa.",
        "1.2.0.192.in-addr.arpa.",
    )
    with gateway({(reverse4, "PTR"): [f"{reverse4} 60 IN PTR {WWW}"]}) as one:
        assert told(one, "PTR", name) == [
            FIRST,
            f"{name} PTR: answered locally: NOERROR: CNAME {reverse4} (600 s)",
            f"{reverse4} PTR asked of SERVER: NOERROR: PTR {WWW} (60 s) (N ms)",
        ]


def test_mappings_and_what_is_not_shown() -> None:
    policy, maps = Policy(EVERYBODY, (), synthesise=False), Maps.of([("198.51.100.0/24", "2001:db8:1::/120")])
    lines = [f"{WWW} 900 IN AAAA 2001:db8:1::20", f"{WWW} 900 IN AAAA 2001:db8:2::20"]
    with gateway({A: EMPTY, AAAA: lines}, policy, maps=maps, dns46=True) as one:
        assert told(one)[0].endswith("::/0: synthesises A")
        assert sorted(told(one, "A")[-2:]) == [
            "AAAA 2001:db8:1::20 becomes 198.51.100.32: mapping 198.51.100.0/24 2001:db8:1::/120" + SOA_TTL,
            "AAAA 2001:db8:2::20 becomes nothing: no mapping has it",
        ]
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1"]}, replace(policy, filter_a=True)) as one:
        assert told(one, "A")[-1] == "filter_a: A records and IPv4 hints are left out"


def test_an_address_that_no_range_has() -> None:
    policy = replace(POLICY, ranges=ranges_for(IPv6Network("64:ff9b::/96"), [IPv4Network("10.0.0.0/8")], None)[:-1])
    with gateway({A: [f"{WWW} 60 IN A 192.0.2.1", f"{WWW} 60 IN A 10.0.0.1"], AAAA: EMPTY}, policy) as one:
        assert sorted(told(one)[-3:]) == [
            "A 10.0.0.1 becomes nothing: range 10.0.0.0/8 has no prefix",
            "A 192.0.2.1 becomes nothing: no range has it",
            "nothing to synthesise from: the answer for AAAA is given (RFC 6147 5.1)",
        ]
