"""What stands in the way of setting up the host is said in one sentence, and nothing is left changed."""

import subprocess
import sys
from pathlib import Path

import pytest

from nat64d.config.models import Config
from nat64d.dataplane.tun import open_tun
from nat64d.host import nft
from nat64d.host.errors import HostError
from nat64d.host.host import Host
from tests.nat64d.hosts import HOLDER, LOG, fixtures
from tests.nat64d.netns import ip, snapshot
from tests.nat64d.netns import sysctl as parameter

namespace, server, text, config = fixtures()


def refusal(config: Config) -> str:
    """The sentence with which setup is refused; the host is as it was."""
    before = snapshot()
    tun = open_tun(config.tun)
    try:
        with pytest.raises(HostError) as caught:
            Host(config, tun.name, LOG).setup()
    finally:
        tun.close()
    assert snapshot() == before
    return str(caught.value)


def test_a_route_of_somebody_else_is_not_replaced(server, config):
    ip("-6", "route", "add", "64:ff9b::/96", "dev", "eth0")
    assert refusal(config).startswith("There is already a route for 64:ff9b::/96, which leads to eth0: remove it, or")


def test_a_black_hole_of_somebody_else_is_not_replaced(server, config):
    ip("route", "add", "blackhole", "169.254.64.0/28")
    sentence = "There is already a route for 169.254.64.0/28, which discards packets: remove it, or"
    assert refusal(config).startswith(sentence)


def test_a_kernel_without_nftables_is_said(server, config, monkeypatch, caplog):
    monkeypatch.setitem(nft.NFPROTO, 4, 77)  # a family this kernel has no tables for
    sentence = refusal(config)
    assert sentence.startswith("Cannot set up masquerade (")
    assert sentence.endswith('the kernel needs nf_tables and nft_masq; without them set [host] masquerade = "off".')
    assert caplog.records == []


def test_a_device_that_is_not_there_is_said(namespace, config):
    with pytest.raises(HostError, match="TUN device nat64 does not exist"):
        Host(config, "nat64", LOG).setup()


def test_a_folder_that_cannot_be_written_is_said(namespace, config, tmp_path):
    (tmp_path / "run").write_text("a file, not a folder")
    assert f"Cannot write {tmp_path}/run/nat64.host.json (File exists)" in refusal(config)


READ_ONLY = """
mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"
"""
SETUP_AND_UNDO = HOLDER.replace(
    "Host(config, tun.name, logging.getLogger()).setup()",
    "host = Host(config, tun.name, logging.getLogger()); host.setup(); host.undo()",
).replace("time.sleep(60)", "")


def in_read_only_proc_sys(file: Path) -> subprocess.CompletedProcess[str]:
    """Set up and undo where /proc/sys cannot be written, as in most containers."""
    command = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", sys.executable, "-c", SETUP_AND_UNDO, str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_read_only_proc_sys_is_said_with_the_command_to_paste(namespace, text, tmp_path):
    (tmp_path / "nat64d.toml").write_text(text)
    before = snapshot()
    done = in_read_only_proc_sys(tmp_path / "nat64d.toml")
    assert done.stderr.splitlines()[-1] == (
        "nat64d.host.errors.HostError: Cannot set net.ipv6.conf.default.accept_ra to 2 (Read-only file system): run "
        "'sysctl -w net.ipv6.conf.default.accept_ra=2 net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1' "
        "where that is permitted, then start nat64d again."
    )
    assert snapshot() == before


def test_a_read_only_proc_sys_with_the_right_values_is_fine(server, text, tmp_path):
    (tmp_path / "nat64d.toml").write_text(text)
    parameter("net/ipv4/ip_forward", 1)
    parameter("net/ipv6/conf/all/forwarding", 1)
    before = snapshot()
    done = in_read_only_proc_sys(tmp_path / "nat64d.toml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")
    assert snapshot() == before


def test_without_the_capability_the_sentence_says_so(namespace, text, tmp_path):
    (tmp_path / "nat64d.toml").write_text(text)
    ip("tuntap", "add", "dev", "nat64", "mode", "tun", "user", "root")
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    command = [*drop, sys.executable, "-c", HOLDER, str(tmp_path / "nat64d.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr.splitlines()[-1] == (
        "nat64d.host.errors.HostError: No permission to set up nat64: run as root or with CAP_NET_ADMIN."
    )
