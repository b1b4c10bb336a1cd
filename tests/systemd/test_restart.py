"""A restart under load, under a real systemd: its store of descriptors keeps the TUN device, so packets wait meanwhile.

20 TCP transfers, 1000 UDP flows and 100,000 sessions that nothing is sent on. What counts is printed.
"""

import json
import re
import sys
import time

import pytest

from tests.e2e.topology import CONFIG, POOL6, SERVER4, Topology, embed, serve, traces
from tests.systemd.conftest import CONFIG_FILE
from tests.systemd.machine import LIMIT, Machine, hear
from tests.systemd.test_service import PROGRAMS, echoes, ended, program, restarted, status

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


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_another_number_of_queues_takes_another_device(machine: Machine, net: Topology, how: str) -> None:
    before = traces(net.gateway)
    machine.write(CONFIG_FILE, with_queues(1))
    machine.systemctl("start")
    index, at_first = index_of(net), traces(net.gateway)
    with program(net.client6a, "talk", embed(SERVER4), "7") as talker:
        assert echoes(talker, "before")
        for times, queues in enumerate((2, 1), 1):
            machine.write(CONFIG_FILE, with_queues(queues))
            if how == "restart":
                machine.systemctl("restart")
            else:
                machine.run("kill", "-9", machine.show("MainPID"))
                restarted(machine, times)
            assert status(machine)["tun"]["queues"] == queues
            assert index_of(net) != index, "one queue is not of the kind that takes more"
            index = index_of(net)
            assert echoes(talker, f"{queues} queues")
        assert numberless(traces(net.gateway)) == numberless(at_first)
    machine.systemctl("stop")
    assert traces(net.gateway) == before


def with_queues(queues: int) -> str:
    """The configuration of a device with so many."""
    assert "[tun]\n" in CONFIG
    return CONFIG.replace("[tun]\n", f"[tun]\nqueues = {queues}\n")


def numberless(found: dict[str, str]) -> dict[str, str]:
    """What is there, without the number of the TUN device, which each new one has anew."""
    return {name: re.sub(r"^\d+: ", "", text, flags=re.MULTILINE) for name, text in found.items()}


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
