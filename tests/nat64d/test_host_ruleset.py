"""What `ruleset` makes of rules, given as `nft` takes them; what it says is dropped is dropped."""

import pytest

from nat64d.host.ruleset import Passage, drop_of, read, routers
from tests.nat64d.netns import fresh_namespace, run

namespace = pytest.fixture(fresh_namespace)

OPENS = Passage("forward", 6, "lan0", "nat64", "new")  # a host behind us opens a connection
REPLY = Passage("forward", 4, "eth0", "nat64", "established")
SOMEWHERE = Passage("forward", 6, None, "nat64", "new")  # the interface it came by is not known

ACCEPTING = "policy accept"
DROPPING = "policy drop"

# rules of a chain `f` in the forward hook, its policy, the packets, and why they are dropped
CASES = {
    "an_empty_chain_accepts": ((), ACCEPTING, OPENS, None),
    "the_policy_drops": ((), DROPPING, OPENS, "policy drop"),
    "replies_are_accepted": (("ct state established,related accept",), DROPPING, REPLY, None),
    "but_no_new_ones": (("ct state established,related accept",), DROPPING, OPENS, "policy drop"),
    "a_map_of_states_accepts": (("ct state vmap { established : accept, invalid : drop }",), DROPPING, REPLY, None),
    "a_map_of_states_drops": (("ct state vmap { new : drop, invalid : drop }",), ACCEPTING, OPENS, "drop in chain f"),
    "a_map_without_the_state": (("ct state vmap { established : accept }",), DROPPING, OPENS, "policy drop"),
    "our_device_is_accepted": (("oifname nat64 accept",), DROPPING, OPENS, None),
    "by_a_pattern": (('oifname "nat*" accept',), DROPPING, OPENS, None),
    "in_a_set": (('oifname { "a0", "nat64" } accept',), DROPPING, OPENS, None),
    "another_device_is": (('oifname "docker0" accept',), DROPPING, OPENS, "policy drop"),
    "all_but_another": (('oifname != "docker0" accept',), DROPPING, OPENS, None),
    "all_but_ours": (('oifname != "nat64" accept',), DROPPING, OPENS, "policy drop"),
    "the_other_way": (("iifname nat64 accept",), DROPPING, OPENS, "policy drop"),
    "by_index": (("iif lo accept",), DROPPING, OPENS, "policy drop"),
    "an_unknown_side_may_be_meant": (("iifname lan0 accept",), DROPPING, SOMEWHERE, None),
    "a_known_one_is_not": (("iifname lan1 accept",), DROPPING, OPENS, "policy drop"),
    "ports_may_be_meant": (("tcp dport 443 accept",), DROPPING, OPENS, None),
    "addresses_may_be_meant": (("ip6 daddr 64:ff9b::/96 accept",), DROPPING, OPENS, None),
    "the_other_family_is_not": (("ip daddr 192.0.2.0/24 accept",), DROPPING, OPENS, "policy drop"),
    "nor_icmp": (("icmpv6 type { nd-neighbor-solicit, echo-request } accept",), DROPPING, OPENS, "policy drop"),
    "nor_icmp_by_protocol": (("meta l4proto ipv6-icmp accept",), DROPPING, OPENS, "policy drop"),
    "all_but_icmp": (("meta l4proto != ipv6-icmp accept",), DROPPING, OPENS, None),
    "the_family_is": (("meta nfproto ipv6 accept",), DROPPING, OPENS, None),
    "the_other_family_by_name": (("meta nfproto ipv4 accept",), DROPPING, OPENS, "policy drop"),
    "the_protocol_is": (("meta protocol ip6 accept",), DROPPING, OPENS, None),
    "a_rule_drops": (("oifname nat64 counter drop",), ACCEPTING, OPENS, "drop in chain f"),
    "a_rule_rejects": (("oifname nat64 log reject",), ACCEPTING, OPENS, "reject in chain f"),
    "a_rule_that_may_drop": (("meta mark 1 drop",), ACCEPTING, OPENS, None),
    "accepted_before_that": (("oifname nat64 accept", "drop"), ACCEPTING, OPENS, None),
    "perhaps_accepted_before": (("meta mark 1 accept", "drop"), ACCEPTING, OPENS, None),
    "limited": (("limit rate 5/second accept", "drop"), ACCEPTING, OPENS, None),
    "a_chain_drops": (("jump sub",), ACCEPTING, OPENS, "drop in chain sub"),
    "a_chain_that_may_be_taken": (("meta mark 1 jump sub",), ACCEPTING, OPENS, None),
    "returned_before": (("jump back",), DROPPING, OPENS, "policy drop"),
    "perhaps_returned_before": (("jump maybe",), ACCEPTING, OPENS, None),
    "a_chain_accepts": (("jump good", "drop"), DROPPING, OPENS, None),
    "a_chain_may_accept": (("jump ports", "drop"), DROPPING, OPENS, None),
    "gone_to_a_chain": (("goto good", "drop"), DROPPING, OPENS, None),
    "gone_and_not_accepted": (("goto back", "accept"), DROPPING, OPENS, "policy drop"),
    "perhaps_gone": (("meta mark 1 goto good",), DROPPING, OPENS, None),
    "a_map_by_name": (("oifname vmap @sides",), DROPPING, OPENS, None),
    "a_map_of_interfaces": (('oifname vmap { "nat64" : jump good }',), DROPPING, OPENS, None),
}

CHAINS = """
table inet t {{
    map sides {{ type ifname : verdict; elements = {{ "nat64" : accept }} }}
    chain sub {{ drop; }}
    chain good {{ accept; }}
    chain ports {{ tcp dport 80 accept; }}
    chain back {{ return; drop; }}
    chain maybe {{ meta mark 1 return; drop; }}
    chain f {{ type filter hook forward priority 0; {policy};
        {rules}
    }}
}}
"""


@pytest.mark.parametrize(("rules", "policy", "passage", "why"), CASES.values(), ids=CASES)
def test_what_becomes_of_a_packet(namespace, tmp_path, rules, policy, passage, why):
    file = tmp_path / "rules.nft"
    file.write_text(CHAINS.format(policy=policy, rules="\n        ".join(rules)))
    run("nft", "-f", str(file))
    drop = drop_of(read(), passage)
    assert (drop and drop.why) == why
    assert drop is None or drop.chain == ("inet", "t", "f")


def test_the_strictest_chain_of_the_family_decides(namespace):
    run("nft", "add table ip a; add chain ip a f { type filter hook forward priority 0; policy drop; }")
    run("nft", "add table inet b; add chain inet b f { type filter hook forward priority 1; policy accept; }")
    assert drop_of(read(), REPLY).chain == ("ip", "a", "f")
    assert drop_of(read(), OPENS) is None


def test_what_iptables_writes_and_other_programs_decide_is_read_too():
    """As `nft --json` shows extensions of iptables: by name, without what they ask for."""

    def ruleset(*rules):
        chain = {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "policy": "accept"}
        return {
            "nftables": [
                {"chain": chain},
                *({"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "expr": rule}} for rule in rules),
            ]
        }

    matched = {"xt": {"type": "match", "name": "conntrack"}}
    refused = {"xt": {"type": "target", "name": "REJECT"}}
    assert drop_of(ruleset([refused]), REPLY).why == "reject in chain FORWARD"
    assert drop_of(ruleset([matched, refused]), REPLY) is None
    assert drop_of(ruleset([matched, {"accept": None}], [refused]), REPLY) is None
    assert drop_of(ruleset([{"queue": {"num": 1}}], [refused]), REPLY) is None
    assert drop_of(ruleset([{"xt": None}, {"accept": None}], [refused]), REPLY) is None


def test_chains_that_lead_in_a_circle_have_an_end():
    rule = {"rule": {"family": "ip", "table": "t", "chain": "f", "expr": [{"jump": {"target": "f"}}]}}
    chain = {"family": "ip", "table": "t", "name": "f", "hook": "forward", "policy": "drop"}
    assert drop_of({"nftables": [{"chain": chain}, rule]}, REPLY).why == "policy drop"


def test_programs_that_need_forwarding_are_known_by_their_chains(namespace):
    assert routers(read()) == frozenset()
    run("nft", "add table ip a; add chain ip a f { type filter hook forward priority 0; }")
    run("nft", "add table ip b; add chain ip b p { type nat hook postrouting priority 0; }")
    run("nft", "add table ip c; add chain ip c i { type filter hook input priority 0; }")
    assert routers(read()) == {("ip", "a"), ("ip", "b")}


def test_without_the_program_nothing_is_known(namespace, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert read() is None
