"""nat64d/dataplane/bpf/interfaces.py, and what [fastpath] interfaces means to a firewall."""

import errno
import logging

import pytest

from nat64d.config.errors import ConfigError
from nat64d.config.load import loads
from nat64d.dataplane.bpf import attach, interfaces, system
from nat64d.dataplane.bpf.interfaces import Interfaces
from nat64d.host.conditions import Situation, conditions
from nat64d.host.facts import Facts, Link
from nat64d.host.standing import Standing
from nat64d.host.sysctl import LIBERAL
from nat64d.host.wanted import Wanted

CONFIG = 'pool6 = "64:ff9b::/96"\n[[pool4]]\naddresses = "192.0.2.1"\n[fastpath]\nmode = "auto"\n'
BESIDE = CONFIG + 'interfaces = ["eth0", "eth1"]\n'
FORWARD = {"chain": {"family": "inet", "table": "filter", "name": "f", "hook": "forward", "policy": "drop"}}
IS_STATE = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
BY_IPTABLES = {"xt": {"type": "match", "name": "conntrack"}}


@pytest.fixture
def host(monkeypatch):
    """Interfaces by name: number and kind; what was asked of the kernel."""
    there, done = {"nat64": (3, 0xFFFE), "eth0": (5, 1), "ppp0": (6, 512)}, []

    def index_of(name):
        if name not in there:
            raise OSError(errno.ENODEV, "No such device")
        return there[name][0]

    monkeypatch.setattr(interfaces.socket, "if_nametoindex", index_of)
    monkeypatch.setattr(
        interfaces, "_asked", lambda what, name: there[name][1] if what == interfaces.GET_ADDRESS else 1500
    )
    monkeypatch.setattr(system, "attach", lambda *given: done.append(("attach", *given)) or 1000 + given[1])
    monkeypatch.setattr(system, "detach", lambda fd: done.append(("detach", fd)))
    for module in (attach, interfaces):
        monkeypatch.setattr(module.os, "close", lambda fd: done.append(("close", fd)))
    return there, done


def told(beside):
    return {row["interface"]: row["attached"] or row["why"] for row in beside.status()}


def test_they_come_and_go(host, caplog):
    caplog.set_level(logging.INFO)
    there, done = host
    beside = Interfaces(("eth0", "eth1", "ppp0"), logging.getLogger("nat64d"))
    assert set(told(beside).values()) == {"the queues are not served"}
    beside.look()
    assert done == []
    beside.begin(lambda numbers: done.append(numbers) or 77, "nat64")
    assert done == [{"link_header": 14, "device": 3, "device_mtu": 1500}, ("attach", 77, 5, system.TCX_INGRESS)]
    expected = {"eth0": "tcx", "eth1": "there is no such interface", "ppp0": "it is no Ethernet interface"}
    assert told(beside) == expected
    there |= {"eth0": (8, 1), "eth1": (9, 1)}  # another one of the same name
    for _ in range(2):
        beside.look()
    assert done[2:] == [("detach", 1005), ("close", 1005), ("attach", 77, 8, 46), ("attach", 77, 9, 46)]
    del there["eth1"]
    beside.look()
    assert told(beside) == expected
    assert len(caplog.messages) == 5
    del done[:]
    for _ in range(2):
        beside.end()
    assert done == [("detach", 1008), ("close", 1008), ("close", 77)]
    assert set(told(beside).values()) == {"the queues are not served"}


def test_what_the_kernel_refuses_is_said(host, monkeypatch):
    def refused(*_):
        raise system.SystemCallError(errno.EPERM, "Operation not permitted")

    beside = Interfaces(("eth0",), logging.getLogger("nat64d"))
    beside.begin(refused, "nat64")
    assert "it takes CAP_BPF and CAP_NET_ADMIN" in told(beside)["eth0"]
    monkeypatch.setattr(system, "attach", refused)
    beside.begin(lambda _: 77, "nat64")
    assert "it takes CAP_BPF and CAP_NET_ADMIN" in told(beside)["eth0"]


def test_without_any_nothing_is_loaded(host):
    Interfaces((), logging.getLogger("nat64d")).begin(lambda _: pytest.fail("loaded"), "nat64")


def test_the_device_itself_is_none_of_them():
    with pytest.raises(ConfigError, match="expected other interfaces than the TUN device, nat64"):
        loads(CONFIG + 'interfaces = ["nat64"]\n')


def standing(text, rules, liberal="0", chains=(FORWARD,)):
    """The conditions of the fast path, with these rules."""
    place = {"family": "inet", "table": "filter", "chain": "f"}
    ruleset = {"nftables": [*chains, *({"rule": {**place, "expr": expressions}} for expressions in rules)]}
    facts = Facts(links=(Link("eth0"),))
    stands = Standing(facts=facts, ruleset=ruleset, parameters={LIBERAL: liberal})
    found = conditions(Situation(loads(text), stands, Wanted("nat64", {})))
    return {one.condition.name: one for one in found if one.condition.name.startswith("fastpath")}


@pytest.mark.parametrize("expressions", [[IS_STATE, {"accept": None}], [BY_IPTABLES, {"accept": None}]])
def test_rules_that_ask_for_states_are_a_condition(expressions):
    found = standing(BESIDE, [[{"drop": None}], expressions])["fastpath_half_seen"]
    assert "Rules of table inet filter ask for the state of connections" in found.sentence
    assert found.command == "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1"
    for fine in (
        standing(CONFIG, [expressions]),
        standing(BESIDE.replace("auto", "off"), [expressions]),
        standing(BESIDE, [expressions], liberal="1"),
        standing(BESIDE, [expressions], chains=()),
        standing(BESIDE, [[{"accept": None}]]),
    ):
        assert "fastpath_half_seen" not in fine


def test_an_interface_that_is_not_there_is_a_condition():
    assert "there is no eth1;" in standing(BESIDE, [])["fastpath_interface"].sentence
    assert standing(BESIDE.replace("auto", "off"), []) == {}
