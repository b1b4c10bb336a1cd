"""The commands of the documentation, as printed, on the network that docs/use-cases/README.md draws.

    client6 ── 2001:db8:1::/64 ── gateway ── 192.0.2.0/24 ── server4
               ::10        ::1       │  .254            .80
                                     └── 2001:db8:53::/64 ── resolver, ::53

Each page has a network and a directory of its own, and its blocks run in the order of the page. Pages call the hosts
by what they do there: `server6` is client6, `client4` is server4.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nat64d.cli.lab import Lab, Namespace
from tests import pages
from tests.architecture import ROOT
from tests.e2e.nameserver import unbound
from tests.e2e.topology import serve
from tests.pages import Block

pytestmark = pytest.mark.e2e

PAGES = [page for page in pages.PAGES if any(block.host for block in pages.blocks(page))]
ALIASES = {"server6": "client6", "client4": "server4"}
SERVERS6 = ("2001:db8:1::80", "2001:db8:1::53", "2001:db8:2::1", "2001:db8:2::10", "2001:db8:3::10", "2001:db8:dc::10")
RESOLVER = "2001:db8:53::53"
NAMES = """
  local-zone: "." static
  local-data: ". 60 IN SOA ns. admin. 1 3600 600 86400 60"
  local-data: "ipv4.example. 300 IN A 192.0.2.80"
  local-data: "v4only.example. 300 IN A 192.0.2.80"
  local-data: "broken6.example. 300 IN A 192.0.2.80"
  local-data: "broken6.example. 300 IN AAAA 2001:db8:bad::1"
  local-data: "intranet.example. 300 IN A 10.1.2.3"
  local-data: "ipv6.example. 300 IN AAAA 2001:db8:1::20"
"""
# A private /run holds the control socket where commands look for it.
ENTER = 'mount --bind "$1" /run; [ ! -d /etc/nat64d ] || mount -t tmpfs none /etc/nat64d; cd "$2"; exec sh -euc "$3"'
WAIT = "nat64d status --wait 120 > /dev/null"


class Network:
    """The hosts of one page, and the programs it has started."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.directory = directory
        self.started: list[tuple[Block, subprocess.Popen[str], Path]] = []
        names = ("client6", "gateway", "server4", "resolver")
        self.hosts = {name: lab.namespace(name) for name in names}
        client6, gateway, server4, resolver = self.hosts.values()
        lab.link(client6, ["2001:db8:1::10/64"], gateway, ["2001:db8:1::1/64"])
        lab.link(gateway, ["192.0.2.254/24"], server4, ["192.0.2.80/24"])
        lab.link(gateway, ["2001:db8:53::1/64"], resolver, [f"{RESOLVER}/64"])
        client6.route("default", "2001:db8:1::1")
        resolver.route("default", "2001:db8:53::1")
        gateway.route("default", "192.0.2.80")
        server4.route("203.0.113.0/24", "192.0.2.254")
        for address in SERVERS6:
            # preferred_lft 0: never chosen as the source of a connection
            client6.ip("address", "add", f"{address}/128", "dev", "gateway", "preferred_lft", "0", "nodad")
            if not address.startswith("2001:db8:1:"):
                gateway.route(f"{address}/128", "2001:db8:1::10")
        client6.use_resolver("2001:db8:1::1", directory)
        gateway.use_resolver(RESOLVER, directory)
        unbound(resolver, directory, RESOLVER, NAMES)
        serve(server4, "http", "192.0.2.80", "80", str(directory))
        for port in ("80", "8080"):
            serve(client6, "http", "::", port, str(directory))

    def command(self, block: Block) -> tuple[Namespace, list[str]]:
        """The host of a block, and the command that runs it there."""
        name = ALIASES.get(block.host or "", block.host or "")
        run = self.directory / f"run.{name}"
        run.mkdir(exist_ok=True)
        path = f"export PATH={Path(sys.executable).parent}:$PATH\n"
        text = f"exec {block.text}" if block.how.startswith("starts") else block.text
        inside = ["sh", "-euc", ENTER, "sh", str(run), str(self.directory), path + text]
        return self.hosts[name], ["unshare", "--mount", *inside]

    def run(self, block: Block) -> None:
        """Run a block, to its end or until it is ready."""
        host, command = self.command(block)
        if block.how.startswith("starts"):
            log = self.directory / f"log.{len(self.started)}"
            with log.open("w") as output:
                process = host.popen(*command, stdout=output, stderr=subprocess.STDOUT)
            self.started.append((block, process, log))
            wait = Block(block.page, block.line, "sh", WAIT, f"runs on {block.host}")
            ready = host.run(*self.command(wait)[1], check=False, timeout=150)
            assert ready.returncode == 0, f"{block.name}: {ready.stderr}{log.read_text()}"
            return
        done = host.run(*command, check=False, timeout=60)
        logs = "".join(log.read_text() for _, _, log in self.started)
        assert done.returncode == 0, f"{block.name}: {done.stdout}{done.stderr}{logs}"
        assert (why := pages.difference(block, done.stdout)) is None, why

    def stop(self) -> None:
        """Stop what was started, the last first; each has to end well."""
        for block, process, log in reversed(self.started):
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, f"{block.name}: {log.read_text()}"


@contextmanager
def network(directory: Path) -> Iterator[Network]:
    """The network for one page."""
    for folder in ("config", "pcaps"):
        (directory / folder).symlink_to(ROOT / folder)
    with Lab("page") as lab:
        yield Network(lab, directory)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_do_what_it_says(namespaces: None, page: Path, tmp_path: Path) -> None:
    with network(tmp_path) as net:
        for block in pages.blocks(page):
            if block.host:
                net.run(block)
        net.stop()


def test_no_block_runs_on_an_unknown_host() -> None:
    known = {"client6", "gateway", "server4", "resolver", *ALIASES}
    assert {block.host for block in pages.all_blocks() if block.host} <= known
