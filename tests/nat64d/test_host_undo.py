"""What was set up is put back exactly: at the end, half-way, and after kill -9."""

import gc
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from nat64d.config.load import loads
from nat64d.dataplane.tun import open_tun
from nat64d.host import host as module
from nat64d.host import nft, rtnetlink, sysctl
from nat64d.host.errors import HostError
from nat64d.host.host import Host
from tests.nat64d.hosts import (
    LOG,
    existing_device,
    fixtures,
    gateway,
    journal,
    killed_gateway,
    rules,
    unusual_host,
)
from tests.nat64d.netns import ip, snapshot
from tests.nat64d.netns import sysctl as parameter

namespace, server, text, config = fixtures()


def router() -> None:
    parameter("net/ipv4/ip_forward", 1)
    parameter("net/ipv6/conf/all/forwarding", 1)
    parameter("net/ipv4/conf/eth0/forwarding", 0)


@pytest.mark.parametrize("prepare", [lambda: None, unusual_host, router], ids=["plain", "unusual", "router"])
def test_undo_leaves_the_host_exactly_as_it_was(server, config, prepare):
    prepare()
    before = snapshot()
    with gateway(config) as (_, host, _lines):
        assert snapshot() != before
        assert journal(config).exists()
    assert snapshot() == before
    assert not journal(config).exists()
    host.undo()
    assert snapshot() == before


def test_undo_before_setup_does_nothing(namespace, config):
    before = snapshot()
    journal(config).parent.mkdir()
    journal(config).write_text("of another process")
    Host(config, "nat64", LOG).undo()
    assert snapshot() == before
    assert journal(config).exists()


def test_undo_copes_with_things_that_are_gone(server, config, caplog):
    before = snapshot()
    tun = open_tun(config.tun)
    host = Host(config, tun.name, LOG)
    host.setup()
    tun.close()
    host.undo()
    assert snapshot() == before
    assert caplog.records == []


def test_undo_says_what_it_cannot_put_back_and_goes_on(server, config, caplog, monkeypatch):
    before = snapshot()

    def refuse(key, value):
        if key == "net/ipv4/ip_forward":
            raise PermissionError(13, "Permission denied")
        restore(key, value)

    restore = sysctl.restore
    with gateway(config):
        monkeypatch.setattr(module.sysctl, "restore", refuse)
    assert [record.getMessage() for record in caplog.records] == [
        "Could not undo the change of sysctl net/ipv4/ip_forward: Permission denied"
    ]
    monkeypatch.undo()
    parameter("net/ipv4/ip_forward", 0)
    assert snapshot() == before


STEPS = [
    (rtnetlink, "change_device", 1),
    (rtnetlink, "add_address", 2),
    (rtnetlink, "add_routes", 1),
    (nft, "Masquerade", 1),
    (sysctl, "write", 2),
]


@pytest.mark.parametrize(
    ("exception", "seen"),
    [
        (NetlinkError(95), HostError),
        (OSError(95, "Operation not supported"), HostError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["netlink", "file", "control_c"],
)
@pytest.mark.parametrize(("room", "step", "at_call"), STEPS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_setup_that_fails_half_way_undoes_itself(server, config, monkeypatch, room, step, at_call, exception, seen):
    before, original, calls = snapshot(), getattr(room, step), []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == at_call:
            monkeypatch.undo()  # putting back must work
            raise exception
        return original(*arguments)

    tun = open_tun(config.tun)
    monkeypatch.setattr(room, step, fail)
    with pytest.raises(seen) as caught:
        Host(config, tun.name, LOG).setup()
    tun.close()
    assert len(calls) == at_call
    assert seen is KeyboardInterrupt or "Operation not supported" in str(caught.value)
    assert snapshot() == before
    assert not journal(config).exists()


# Left to the next process.


def test_what_is_left_goes_on_and_what_is_not_wanted_any_more_goes(server, config):
    unusual_host()
    before, other = snapshot(), config.tun.model_copy(update={"ipv4": IPv4Address("169.254.64.9")})
    tun, host = open_tun(config.tun), Host(config, "nat64", LOG)
    host.setup()
    stands = snapshot()
    host.leave()
    assert "64:ff9b::/96" in ip("-6", "route", "show", "dev", "nat64")
    for next_one in (config.model_copy(update={"tun": other}), config):
        host = Host(next_one, "nat64", LOG)
        host.setup(adopted=True)
        assert (snapshot() == stands) == (next_one is config)
        host.leave()
    Host(config, "nat64", LOG).undo_left()
    assert not journal(config).exists()
    tun.close()
    assert snapshot() == before


# After kill -9.


def test_after_kill_9_the_next_stop_restores_the_true_originals(server, text, config, tmp_path):
    unusual_host()
    before = snapshot()
    file = tmp_path / "nat64d.toml"
    file.write_text(text)
    for _ in range(2):
        killed_gateway(file)
        assert parameter("net/ipv4/ip_forward") == "1"
    assert journal(config).exists()
    with gateway(config):
        assert parameter("net/ipv4/ip_forward") == "1"
        assert len(rules()) == 2
    assert snapshot() == before
    assert not journal(config).exists()


def test_after_kill_9_an_existing_device_is_cleaned_too(server, text, config, tmp_path):
    existing_device()
    before = snapshot()
    (tmp_path / "nat64d.toml").write_text(text)
    killed_gateway(tmp_path / "nat64d.toml")
    assert "proto 64" in ip("route")
    other_pool = loads(text.replace("169.254.64.0/28", "169.254.64.32/28"))
    with gateway(other_pool):
        assert [line.split()[0] for line in ip("route", "show", "proto", "64").splitlines()] == ["169.254.64.32/28"]
    assert snapshot() == before


def test_the_kernel_removes_masquerade_with_the_process(server, text, tmp_path):
    (tmp_path / "nat64d.toml").write_text(text)
    killed_gateway(tmp_path / "nat64d.toml")
    assert rules() == []


def test_setup_and_undo_may_come_from_different_threads(server, config):
    before = snapshot()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        tun = one.submit(open_tun, config.tun).result()
        host = Host(config, tun.name, LOG)
        one.submit(host.setup).result()
        assert len(rules()) == 2
        other.submit(host.undo).result()
        other.submit(tun.close).result()
    assert snapshot() == before
    gc.collect()  # what was not closed in its own thread would be complained of here


def test_an_interface_that_is_gone_at_undo_is_no_trouble(server, config, caplog):
    ip("link", "add", "eth1", "type", "veth", "peer", "name", "far1")
    parameter("net/ipv4/conf/eth1/forwarding", 1)
    with gateway(config):
        ip("link", "del", "eth1")
    assert caplog.records == []
    assert parameter("net/ipv4/ip_forward") == "0"
