"""A restart under load, under a real systemd: its store of descriptors keeps the TUN device, so packets wait meanwhile.

20 TCP transfers, 1000 UDP flows and 100,000 sessions that nothing is sent on. What counts is printed.
"""

import json
import sys
import time

import pytest

from tests.e2e.topology import POOL6, SERVER4, Topology, embed, serve, traces
from tests.systemd.machine import LIMIT, Machine, hear
from tests.systemd.test_service import PROGRAMS, ended, program, restarted, status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT)]

TRANSFERS, FLOWS, IDLE = 20, 1000, 100_000
MOST = 5  # attempts at them: a queue of the device may be full for a moment


@pytest.fixture(scope="module")
def whoami(net: Topology) -> None:
    """A server that says whom it hears."""
    serve(net.server4, "udp_whoami", SERVER4, "3478")


def index_of(net: Topology) -> int:
    """The number of the TUN device, which another one would not have."""
    (link,) = json.loads(net.gateway.ip("-j", "link", "show", "nat64"))
    return int(link["ifindex"])


def routes(net: Topology) -> list[dict[str, object]]:
    """What leads to the TUN device."""
    found: list[dict[str, object]] = json.loads(net.gateway.ip("-6", "-j", "route", "show", "dev", "nat64"))
    return found


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_no_connection_is_lost_by(machine: Machine, net: Topology, whoami: None, how: str) -> None:
    machine.systemctl("start")
    for _ in range(MOST):
        if status(machine)["sessions"] >= IDLE:
            break
        net.client6a.run(sys.executable, str(PROGRAMS), "idle", embed(SERVER4), str(IDLE), timeout=300)
    with (
        program(net.client6a, "load", embed(SERVER4), str(TRANSFERS), str(FLOWS)) as load,
        program(net.client6a, "gaps", embed(SERVER4), "7") as pinger,
    ):
        time.sleep(2)
        if how == "restart":
            machine.systemctl("restart")
        else:
            machine.run("kill", "-9", machine.show("MainPID"))
            restarted(machine, 1)
        assert status(machine)["sessions"] >= IDLE
        assert load.stdin is not None
        load.stdin.close()
        seen = json.loads(hear(load, 120))
        gaps = ended(pinger)
    lost = gaps["sent"] - gaps["received"]
    print(f"\n{how}: no answer for {gaps['longest']:.2f} s, {lost} of {gaps['sent']} lost; {seen}")
    assert (seen["broken"], seen["moved"], seen["silent"]) == (0, 0, 0)
    assert seen["after"] > 0


def test_the_device_outlives_a_restart_and_nothing_outlives_a_stop(machine: Machine, net: Topology) -> None:
    before = traces(net.gateway)
    machine.systemctl("start")
    index, stands = index_of(net), traces(net.gateway)
    for _ in range(2):
        machine.systemctl("restart")
        assert "Stopped, to be started again" in machine.journal()
        assert (index_of(net), traces(net.gateway)) == (index, stands)
    machine.run("kill", "-9", machine.show("MainPID"))
    assert any(row["dst"] == f"{POOL6}/96" for row in routes(net)), "it stands while nobody is there"
    restarted(machine, 1)
    assert traces(net.gateway) == stands
    machine.systemctl("stop")
    assert traces(net.gateway) == before
