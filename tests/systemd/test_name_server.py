"""A name server under a real systemd: nat64d.socket opens its port, sockets.conf lets its sockets reach other hosts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.architecture import ROOT
from tests.e2e.topology import CONFIG, GATEWAY6, SERVER4, Topology
from tests.systemd.conftest import CONFIG_FILE
from tests.systemd.machine import LIMIT, Machine
from tests.systemd.test_service import exposure, found, reaches, restarted, status

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT)]

OPEN = 1.5  # of 10, what `systemd-analyze security` says with sockets.conf
ASKING = """
import sys
import dns.message, dns.query
answer = dns.query.udp(dns.message.make_query("ipv4only.arpa", "AAAA"), sys.argv[1], timeout=30)
print(*sorted(str(row) for rows in answer.answer for row in rows))
"""
NAME_SERVER = f'{CONFIG}\n[dns64]\nclients = ["::/0"]\nupstream = ["{SERVER4}"]\n'
ANSWER = ["64:ff9b::c000:aa", "64:ff9b::c000:ab"]


def test_a_name_server_takes_the_file_that_opens_sockets_and_the_socket_of_port_53(
    machine: Machine, net: Topology
) -> None:
    machine.write(CONFIG_FILE, NAME_SERVER)
    machine.systemctl("start")
    assert "port 53 too" in str(status(machine)["warnings"])
    missing = [row["sentence"] for row in found(machine) if "unit" in row["check"]]
    assert [sentence.removeprefix("nat64d.service ").split(".")[0] for sentence in missing] == [
        "lets sockets reach this host alone, which is not enough for [dns64]",
        "may not open the port of [dns64], and nat64d",
    ]
    with opened(machine):
        assert exposure(machine) <= OPEN
        machine.systemctl("restart")
        assert status(machine)["dns64"]["listening"] == ["[::]:53"]
        assert asked(net) == ANSWER
        assert [row for row in found(machine) if "unit" in row["check"]] == []
        assert "CapEff:\t0000000000001000" in machine.run("cat", f"/proc/{machine.show('MainPID')}/status").stdout
        assert reaches(net.client6a)
        machine.run("kill", "-9", machine.show("MainPID"))
        restarted(machine, 1)
        assert asked(net) == ANSWER
        machine.systemctl("restart")
        assert asked(net) == ANSWER


def test_no_question_starts_a_name_server_that_is_not_to_run(machine: Machine, net: Topology) -> None:
    machine.write(CONFIG_FILE, NAME_SERVER)
    with opened(machine):
        machine.systemctl("start")
        assert asked(net) == ANSWER
        machine.systemctl("stop")
        assert asked(net) == []
        assert machine.show("ActiveState") == "inactive"
        machine.write(CONFIG_FILE, 'pool6 = "64:ff9b::/97"\n')
        assert machine.systemctl("start", check=False).returncode != 0
        assert asked(net) == []
        assert machine.show("ActiveState") == "failed"
        machine.write(CONFIG_FILE, NAME_SERVER)
        machine.systemctl("start")
        assert asked(net) == ANSWER


@contextmanager
def opened(machine: Machine) -> Iterator[None]:
    """The unit with sockets.conf, and with the socket, which is enabled."""
    machine.drop_in((ROOT / "config/systemd/sockets.conf").read_text("utf-8"))
    machine.run("systemctl", "enable", "nat64d.socket")
    try:
        yield
    finally:
        machine.run("systemctl", "disable", "nat64d.socket")


def asked(net: Topology) -> list[str]:
    """The addresses that a client gets; none where nobody listens."""
    return net.client6a.run(sys.executable, "-c", ASKING, GATEWAY6, check=False).stdout.split()
