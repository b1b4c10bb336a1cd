"""What a stop leaves to others: forwarding that another instance or program needs; and rules in chains of others."""

import logging
from contextlib import ExitStack

import pytest

from nat64d.config.load import loads
from nat64d.host.board import Board
from nat64d.host.host import Host
from nat64d.host.presence import Presence
from nat64d.host.watch import Watch
from tests.nat64d.hosts import LOG, fixtures, gateway, journal, killed_gateway
from tests.nat64d.netns import run, snapshot
from tests.nat64d.netns import sysctl as parameter

namespace, server, text, config = fixtures()

DROPS = "add table inet f; add chain inet f out { type filter hook forward priority 0; policy drop; }"


@pytest.fixture
def second(text):
    """The configuration of another instance on the same host."""
    return loads(
        text.replace("64:ff9b::/96", "2001:db8:64::/96")
        .replace("169.254.64.0/28", "169.254.65.0/28")
        .replace("[tun]\n", '[tun]\nname = "nat65"\n')
        .replace("169.254.64.254", "169.254.65.254")
        .replace("fd6e:6174:3634::1", "fd6e:6174:3634::2")
    )


def forwards() -> tuple[str, str]:
    return parameter("net/ipv4/ip_forward"), parameter("net/ipv6/conf/all/forwarding")


@pytest.mark.parametrize("first_out", [0, 1], ids=["the_first", "the_second"])
def test_the_last_instance_to_stop_puts_forwarding_back(server, config, second, first_out, caplog):
    before = snapshot()
    caplog.set_level(logging.INFO)
    with ExitStack() as one, ExitStack() as two:
        one.enter_context(gateway(config))
        two.enter_context(gateway(second))
        (one, two)[first_out].close()
        assert forwards() == ("1", "1")
        (two, one)[first_out].close()
    assert snapshot() == before
    assert not list(journal(config).parent.glob("*.json"))
    told = [record.getMessage() for record in caplog.records if "Forwarding stays" in record.getMessage()]
    assert told == ["Forwarding stays on, others on this host need it (nat64d nat65)"][first_out:]


def test_an_instance_that_starts_again_knows_how_it_was(server, config, second):
    before = snapshot()
    with gateway(config), ExitStack() as other:
        other.enter_context(gateway(second))
    with gateway(config):
        assert forwards() == ("1", "1")
    assert snapshot() == before


def test_forwarding_of_one_that_was_killed_is_put_back_by_the_last(server, text, second, tmp_path):
    before = snapshot()
    (tmp_path / "nat64d.toml").write_text(text)
    with gateway(second):
        pass
    assert snapshot() == before
    killed_gateway(tmp_path / "nat64d.toml")
    with gateway(second):
        assert forwards() == ("1", "1")
    assert forwards() == ("0", "0")


def test_a_program_that_came_meanwhile_keeps_its_forwarding(server, config, caplog):
    caplog.set_level(logging.INFO)
    with gateway(config):
        run("nft", "add table ip docker; add chain ip docker f { type filter hook forward priority 0; }")
    assert forwards() == ("1", "1")
    assert caplog.records[-1].getMessage() == ("Forwarding stays on, others on this host need it (nftables: ip docker)")
    assert not journal(config).exists()


def test_one_that_was_there_before_did_not_need_it(server, config):
    run("nft", "add table ip old; add chain ip old f { type filter hook forward priority 0; }")
    before = snapshot()
    with gateway(config):
        assert forwards() == ("1", "1")
    assert snapshot() == before


def test_an_instance_is_seen_until_it_ends(namespace):
    one, two = Presence("nat64"), Presence("nat65")
    one.begin()
    assert (one.others(), two.others()) == ([], ["nat64"])
    two.begin()
    two.begin()
    assert (one.others(), two.others()) == (["nat65"], ["nat64"])
    one.end()
    one.end()
    assert two.others() == []
    two.end()


# ---- [host] firewall = "auto"


@pytest.fixture
def accepting(text):
    return loads(text.replace("[host]\n", '[host]\nfirewall = "auto"\n'))


def ours() -> int:
    return run("nft", "list", "ruleset").count('accept comment "nat64d_nat64"')


def test_chains_that_drop_get_rules_that_accept_and_lose_them_at_the_end(server, accepting):
    run("nft", DROPS)
    run("nft", "add table ip g; add chain ip g h { type filter hook forward priority 5; policy drop; }")
    before = snapshot()
    with gateway(accepting) as (_, host, _lines):
        board = Board(LOG)
        watch = Watch(host, board, LOG)
        watch.check(0.0)
        assert (ours(), board.standing(0.0)) == (4, [])
        watch.check(1.0)
        assert ours() == 4
        run("nft", "flush", "chain", "ip", "g", "h")
        watch.check(2.0)
        assert (ours(), board.standing(2.0)) == (4, [])
        run("nft", "delete", "table", "ip", "g")
    run("nft", "add table ip g; add chain ip g h { type filter hook forward priority 5; policy drop; }")
    assert snapshot() == before


def test_after_a_kill_the_next_start_removes_the_rules(server, text):
    accepting = loads(text.replace('masquerade = "auto"', 'masquerade = "off"\nfirewall = "auto"'))
    run("nft", DROPS)
    with gateway(accepting) as (_, host, _lines):
        Watch(host, Board(LOG), LOG).check(0.0)
        assert ours() == 2
        next_one = Host(accepting, "nat64", LOG)
        next_one.setup()
        assert ours() == 0
        next_one.undo()


def test_what_cannot_be_inserted_is_a_condition(server, accepting, monkeypatch):
    def refuse(*_):
        raise OSError("Error: Could not process rule")

    run("nft", DROPS)
    monkeypatch.setattr("nat64d.host.ruleset.accept", refuse)
    with gateway(accepting) as (_, host, _lines):
        board = Board(LOG)
        Watch(host, board, LOG).check(0.0)
        assert [row["condition"] for row in board.standing(0.0)] == ["not_set_up", "firewall"]
        assert "Could not process rule" in board.standing(0.0)[0]["sentence"]


def test_without_it_chains_of_others_are_left_alone(server, config):
    run("nft", DROPS)
    with gateway(config) as (_, host, _lines):
        Watch(host, Board(LOG), LOG).check(0.0)
        assert ours() == 0
