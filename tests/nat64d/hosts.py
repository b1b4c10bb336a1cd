"""A host to run nat64d on, inside a namespace: its uplink, its configuration, a gateway set up, one killed.

namespace, server, text, config = fixtures()
"""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nat64d.config.load import DEFAULT, loads
from nat64d.config.models import Config
from nat64d.config.models import Tun as TunConfig
from nat64d.dataplane.tun import Tun, open_tun
from nat64d.host.host import Host
from tests.nat64d.netns import Namespace, fresh_namespace, ip, run
from tests.nat64d.netns import sysctl as parameter

LOG = logging.getLogger("test")
SERVER, GATEWAY = "192.0.2.1", "192.0.2.2"

# Sets the host up as nat64d would, says so, and waits for the kill.
HOLDER = """
import logging, sys, time
from pathlib import Path
from nat64d.config.load import load
from nat64d.host.host import Host
from nat64d.dataplane.tun import open_tun
config = load(Path(sys.argv[1]))
tun = open_tun(config.tun)
Host(config, tun.name, logging.getLogger()).setup()
print("ready", flush=True)
time.sleep(60)
"""


def fixtures() -> tuple[Any, ...]:
    """The fixtures `namespace`, `server`, `text` and `config`, to be bound to these names in a test file."""
    return tuple(map(pytest.fixture, (fresh_namespace, another_host, default_text, default_config)))


def default_text(tmp_path) -> str:
    """The built-in default, with its control socket in a folder of the test."""
    return f'{DEFAULT}\n[api]\nsocket = "{tmp_path}/run/api.sock"\n'


def default_config(text) -> Config:
    """What `text` says."""
    return loads(text)


def another_host(namespace) -> Iterator[Namespace]:
    """Another host, at the other end of eth0, where the default route of this one leads."""
    peer = Namespace()
    ip("link", "add", "eth0", "type", "veth", "peer", "name", "far0")
    ip("address", "add", f"{GATEWAY}/24", "dev", "eth0")
    ip("link", "set", "far0", "netns", f"/proc/{os.getpid()}/fd/{peer.fd}")
    # Without addresses of its own making nothing changes behind a test's back.
    ip("link", "set", "eth0", "addrgenmode", "none", "up")
    with peer:
        ip("address", "add", f"{SERVER}/24", "dev", "far0")
        ip("link", "set", "far0", "up")
    ip("route", "add", "default", "via", SERVER)
    wait_until_up("eth0")
    yield peer
    peer.close()


def wait_until_up(link: str) -> None:
    """The kernel tells the state of a link a moment after it has changed."""
    for _ in range(200):
        if "state UP" in run("ip", "link", "show", link):
            return
        time.sleep(0.01)
    pytest.fail(f"{link} does not come up")


@contextmanager
def gateway(config: Config) -> Iterator[tuple[Tun, Host, list[str]]]:
    """A device and a host set up for it, until the block ends."""
    tun = open_tun(config.tun)
    host = Host(config, tun.name, LOG)
    try:
        yield tun, host, host.setup()
    finally:
        host.undo()
        tun.close()


def journal(config: Config) -> Path:
    return Path(config.api.socket).with_name("nat64.host.json")


def killed_gateway(config_file: Path) -> None:
    """Have a process set the host up, and kill it with signal 9."""
    command = [sys.executable, "-c", HOLDER, str(config_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"ready\n"
        finally:
            holder.send_signal(signal.SIGKILL)


def addresses(device: str) -> list[str]:
    """The addresses of a device, with their prefix lengths."""
    return [word for word in ip("address", "show", "dev", device).split() if re.fullmatch(r"[0-9a-f.:]+/\d+", word)]


def rules() -> list[str]:
    """The rules of our table as nft shows them; none without the table."""
    listing = run("nft", "list", "ruleset")
    return [line.strip() for line in listing.splitlines() if "masquerade" in line]


def existing_device() -> None:
    """Make a device that stays; it has been open and up, which the kernel shows for the rest of its days."""
    ip("tuntap", "add", "dev", "nat64", "mode", "tun")
    open_tun(TunConfig()).close()
    ip("link", "set", "nat64", "mtu", "1400", "addrgenmode", "none", "up")
    ip("link", "set", "nat64", "down", "addrgenmode", "eui64")


def unusual_host() -> None:
    """Settings that enabling and disabling forwarding would lose, were they not noted."""
    parameter("net/ipv4/conf/eth0/forwarding", 1)
    parameter("net/ipv6/conf/eth0/forwarding", 1)
    parameter("net/ipv6/conf/default/forwarding", 1)
    parameter("net/ipv4/conf/all/accept_redirects", 0)
    parameter("net/ipv6/conf/lo/accept_ra", 2)
