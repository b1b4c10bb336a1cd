"""Answers that are made of others that are kept: their TTLs go on falling, and they are kept no longer than those."""

from dataclasses import replace
from ipaddress import ip_network

import dns.edns
import dns.flags
import dns.message
import dns.rdatatype
import pytest

from nat64d.dns64.upstreams import race
from tests.dns64.gateway import POLICY, WWW, Gateway, errors, gateway, query, silent
from tests.dns64.zone import AUTHORITY, SOA, reply

ALIKE, OTHERS = "10.0.0.1", "10.1.0.1"  # clients that get what the servers say, and others
AS_IT_IS = replace(POLICY, clients=(ip_network("10.0.0.0/16"),), synthesise=False)
MAKES = replace(POLICY, clients=(ip_network("10.1.0.0/16"),))
HIDES = replace(MAKES, filter_a=True)
END = "end.example."
NONE = [AUTHORITY, f"example. 60 IN SOA {SOA}"]
REAL, MAPPED = f"{WWW} 60 IN AAAA 2001:db8::1", f"{WWW} 60 IN AAAA ::ffff:192.0.2.1"
ALIAS = [f"{WWW} 60 IN CNAME {END}"]
HTTPS = [f"{WWW} 60 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1", AUTHORITY, "example. 60 IN NS ns.example."]

MADE = {
    "relayed": ("MX", MAKES, {(WWW, "MX"): [f"{WWW} 60 IN MX 10 mail.example."]}),
    "synthetic": ("AAAA", MAKES, {(WWW, "AAAA"): NONE, (WWW, "A"): [f"{WWW} 60 IN A 192.0.2.1"]}),
    "bounded by the SOA record": ("AAAA", MAKES, {(WWW, "AAAA"): NONE, (WWW, "A"): [f"{WWW} 600 IN A 192.0.2.1"]}),
    "without what is excluded": ("AAAA", MAKES, {(WWW, "AAAA"): [REAL, MAPPED], (WWW, "A"): NONE}),
    "without an IPv4 hint": ("HTTPS", HIDES, {(WWW, "HTTPS"): HTTPS}),
    "without IPv4 addresses": ("A", HIDES, {(WWW, "A"): [f"{WWW} 60 IN A 192.0.2.1", *HTTPS[1:]]}),
    "an alias": ("MX", MAKES, {(WWW, "MX"): ALIAS, (END, "MX"): [f"{END} 60 IN MX 10 mail.example."]}),
    "an alias of what is made": (
        "AAAA",
        MAKES,
        {(WWW, kind): ALIAS for kind in ("A", "AAAA")}
        | {(END, "AAAA"): NONE, (END, "A"): [f"{END} 60 IN A 192.0.2.1"]},
    ),
    "nothing": ("AAAA", MAKES, {(WWW, "AAAA"): NONE, (WWW, "A"): NONE}),
    "nothing but what is excluded": ("AAAA", MAKES, {(WWW, "AAAA"): [MAPPED], (WWW, "A"): NONE}),
}
made = pytest.mark.parametrize(("type_", "policy", "table"), MADE.values(), ids=MADE)


def ttls(answer: dns.message.Message) -> set[int]:
    return {rrset.ttl for section in (answer.answer, answer.authority, answer.additional) for rrset in section}


def learn(one: Gateway, table: dict[tuple[str, str], list[str]]) -> None:
    """Somebody asks for all of it."""
    for name, type_ in table:
        one.ask(query(type_, name), ALIKE)
    one.asked()


@made
def test_rfc1035_6_1_3_ttls_fall_also_in_what_is_made_of_what_is_kept(type_: str, policy: object, table: dict) -> None:
    with gateway(table, AS_IT_IS, policy) as one:
        learn(one, table)
        one.clock += 20
        assert ttls(one.ask(query(type_), OTHERS)) == {40}
        one.clock += 39
        assert ttls(one.ask(query(type_), OTHERS)) == {1}
        assert one.asked() == []
        one.clock += 1
        assert ttls(one.ask(query(type_), OTHERS)) == {60}
        assert one.asked() != []


@pytest.mark.parametrize("type_", ["MX", "A"])
def test_rfc1035_6_1_3_so_do_those_of_what_is_kept_of_the_end_of_an_alias(type_: str) -> None:
    data = {"MX": "10 mail.example.", "A": "192.0.2.1"}[type_]
    with gateway({(WWW, type_): ALIAS, (END, type_): [f"{END} 60 IN {type_} {data}"]}, MAKES) as one:
        one.ask(query(type_, END), OTHERS)
        one.clock += 20
        assert [(rrset.name.to_text(), rrset.ttl) for rrset in one.ask(query(type_), OTHERS).answer] == [
            (WWW, 60),
            (END, 40),
        ]


@made
def test_rfc1035_3_2_1_nothing_that_is_made_of_ttl_0_is_kept(type_: str, policy: object, table: dict) -> None:
    now = {key: [line.replace(" 60 IN", " 0 IN") for line in lines] for key, lines in table.items()}
    with gateway(now, policy) as one:
        for _ in range(2):
            assert ttls(one.ask(query(type_), OTHERS)) == {0}
            assert (WWW, type_) in one.asked()


def test_rfc8482_4_2_the_record_for_any_is_made_anew_each_time() -> None:
    with gateway({}) as one:
        for seconds in (0, 100, 3600):
            one.clock += seconds
            assert ttls(one.ask(query("ANY"))) == {3600}


def test_rfc8914_4_4_a_synthetic_answer_after_its_time_says_both() -> None:
    _, policy, table = MADE["synthetic"]
    with gateway(table, policy) as one:
        one.ask(query(use_edns=0), OTHERS)
        one.zone.table.update(dict.fromkeys(table, "SERVFAIL"))
        one.clock += 61
        assert errors(one.ask(query(use_edns=0), OTHERS)) == [29, 3]


def test_rfc8767_4_a_stale_name_error_has_thirty_seconds_and_a_late_one_takes_its_place() -> None:
    """Every record of it, for 30 seconds; the late answer is a name error, too."""
    said: list[bytes] = []

    def late(octets: bytes, _tcp: bool) -> list[bytes]:
        said.append(octets)
        return []

    key = (WWW, "MX")
    signed = f"example. 60 IN NS ns.example.\nexample. 60 IN SOA {SOA}".split("\n")
    with gateway({key: ["NXDOMAIN", AUTHORITY, *signed]}) as one:
        asked = query("MX", use_edns=0)
        assert ttls(one.ask(asked)) == {60}
        one.zone.table[key] = late
        one.clock += 61
        (server,) = one.upstreams.all
        server.silent = race.DOWN
        found = one.ask(asked)
        assert (found.rcode(), ttls(found), errors(found)) == (3, {30}, [19])
        one.answer_late(reply(dns.message.from_wire(said[0]), ["NXDOMAIN", AUTHORITY, signed[1]]).to_wire())
        found = one.ask(asked)
        assert (found.rcode(), ttls(found), errors(found)) == (3, {60}, [])


@pytest.mark.parametrize("type_", ["AAAA", "A"])
def test_rfc6147_5_5_a_failed_validation_that_is_kept_is_one(type_: str) -> None:
    """What a client without synthesis got is what nothing is made of for another."""

    def bogus(octets: bytes, _tcp: bool) -> list[bytes]:
        made = reply(dns.message.from_wire(octets), "SERVFAIL")
        made.use_edns(0, 0, 1232, options=[dns.edns.EDEOption(6)])
        return [made.to_wire()]

    table = {(WWW, "AAAA"): NONE, (WWW, "A"): [f"{WWW} 60 IN A 192.0.2.1"]} | {(WWW, type_): bogus}
    with gateway(table, AS_IT_IS, MAKES) as one:
        for client in (ALIKE, OTHERS):
            found = one.ask(query(type_, use_edns=0), client)
            assert (found.rcode(), found.answer, errors(found)) == (2, [], [6])
        found = one.ask(query(use_edns=0), OTHERS)
        assert (found.rcode(), found.answer, errors(found)) == (2, [], [6])
        assert one.asked().count((WWW, type_)) == 1


@pytest.mark.parametrize(
    "name", sorted(MADE.keys() - {"bounded by the SOA record"})
)  # A is left, and AAAA need not answer
def test_rfc8767_5_an_answer_is_used_again_and_again_after_its_time(name: str) -> None:
    type_, policy, table = MADE[name]
    with gateway(table, policy) as one:
        one.ask(query(type_, use_edns=0), OTHERS)
        one.zone.table.update(dict.fromkeys(table, "SERVFAIL"))
        for seconds in (61, 31, 3600, 80000):
            one.clock += seconds
            found = one.ask(query(type_, use_edns=0), OTHERS)
            assert (found.rcode(), ttls(found), errors(found)[-1:]) == (0, {30}, [3])
        one.clock += 86400
        assert one.ask(query(type_, use_edns=0), OTHERS).rcode() == 2


def test_rfc9520_3_2_a_failure_is_kept_for_all_that_is_made_of_it() -> None:
    with gateway(dict.fromkeys([(WWW, "AAAA"), (WWW, "A")], silent), AS_IT_IS, MAKES) as one:
        assert one.ask(query(), OTHERS).rcode() == 2
        assert {*one.asked()} == {(WWW, "A"), (WWW, "AAAA")}
        for type_, client in (("AAAA", OTHERS), ("AAAA", ALIKE), ("A", OTHERS)):
            assert one.ask(query(type_), client).rcode() == 2
        assert one.asked() == []


@pytest.mark.parametrize("type_", ["MX", "A", "AAAA"])
def test_rfc5452_5_each_question_waits_once_for_each_of_do_and_cd(type_: str) -> None:
    _, policy, table = MADE["synthetic"]
    kinds = [query(type_, flags=cd, want_dnssec=do) for do in (False, True) for cd in (0, dns.flags.CD)]
    with gateway(table, policy) as one:
        one.together(kinds * 3, OTHERS)
        assert one.asked().count((WWW, type_)) == 4


@pytest.mark.parametrize("first", ["data", "NXDOMAIN"])
def test_rfc8767_4_what_came_last_is_what_is_used_after_its_time(first: str) -> None:
    """A name error after data, and data after a name error."""
    key = (WWW, "MX")
    said = {"data": [f"{WWW} 60 IN MX 10 mail.example."], "NXDOMAIN": ["NXDOMAIN", *NONE]}
    order = [first, *said.keys() - {first}]
    with gateway({key: []}) as one:
        for name in order:
            one.zone.table[key] = said[name]
            one.clock += 61
            last = one.ask(query("MX", use_edns=0)).rcode()
        one.zone.table[key] = "SERVFAIL"
        one.clock += 61
        found = one.ask(query("MX", use_edns=0))
        assert (found.rcode(), errors(found)) == (last, [19 if last else 3])
        assert last == (0 if order[-1] == "data" else 3)
