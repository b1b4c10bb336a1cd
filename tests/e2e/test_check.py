"""`check` and `run` look at the host: what would break it is refused, before anything changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nat64d.cli.lab import NAT64D, Lab
from tests.e2e.topology import CONFIG, GATEWAY4, POOL4, POOL6, Daemon, Topology, traces

pytestmark = pytest.mark.e2e

POOL = f'addresses = "{POOL4[0]}-{POOL4[-1]}"'
ON_LINK = "2001:db8:6::/96"  # the first /96 of the link between router6 and gateway


@pytest.fixture(scope="module")
def net_of_its_own(namespaces: None) -> Iterator[Topology]:
    """A network where addresses and routes of the gateway may be spoilt."""
    with Lab("host") as lab:
        yield Topology(lab)


@pytest.fixture
def daemon(net_of_its_own: Topology, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon not yet started."""
    daemon = Daemon(net_of_its_own.gateway, tmp_path, without_forwards())
    yield daemon
    if daemon.process is not None and daemon.process.poll() is None:
        daemon.process.kill()
        daemon.process.wait()


def without_forwards() -> str:
    """The configuration of topology.py without its [[forward]]."""
    head, *_, tail = CONFIG.split("[[forward]]")
    return head + tail[tail.index("[translation]") :]


REFUSED = {  # what is written, instead of what, and the command or remedy that the refusal names
    "pool6": (f'pool6 = "{ON_LINK}"', f'pool6 = "{POOL6}/96"', "Take 64:ff9b::/96"),
    "[[pool4]] #1": (f'addresses = "{GATEWAY4}"', POOL, f"'ip address del {GATEWAY4}/24 dev router4'"),
    "[host] masquerade": (
        '[host]\nmasquerade = "ppp0"\n\n[tun]',
        "[tun]",
        "an interface of this host (router6, router4)",
    ),
}


@pytest.mark.parametrize("place", REFUSED)
def test_what_breaks_the_host_is_refused_and_nothing_changes(
    net_of_its_own: Topology, daemon: Daemon, place: str
) -> None:
    gateway, (text, instead_of, remedy) = net_of_its_own.gateway, REFUSED[place]
    assert instead_of in daemon.config
    daemon.config = daemon.config.replace(instead_of, text)
    before = traces(gateway)
    assert daemon.launch().wait(60) == 1
    (sentence,) = [line for line in daemon.said().splitlines() if line.startswith("nat64d: ")]
    file = str(daemon.directory / "nat64d.toml")
    assert sentence.startswith(f"nat64d: {file}: {place}")
    assert remedy in sentence
    assert traces(gateway) == before
    checked = gateway.run(*NAT64D, "check", "-c", file, check=False)
    assert checked.returncode == 1
    assert sentence.removeprefix("nat64d: ") in checked.stderr.splitlines()
    assert gateway.run(*NAT64D, "check", "--file-only", "-c", file).returncode == 0
