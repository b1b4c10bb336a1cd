"""config/systemd/nat64d.service under a real systemd: it starts, stops, restarts, is watched and bounded as it says.

`make test-systemd`. The first start, and two more, compile; the others find all of it in the tree.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nat64d.cli.lab import Namespace
from tests import pages
from tests.architecture import ROOT
from tests.e2e.topology import CONFIG, SERVER4, Topology, embed, traces
from tests.systemd.conftest import CONFIG_FILE
from tests.systemd.machine import COMPILING, LIMIT, Machine, hear, wait

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LIMIT)]

PROGRAMS = Path(__file__).with_name("programs.py")
FULL_SPEED = "Packets pass at full speed"
QUICK_WATCHDOG = "[Service]\nWatchdogSec=6\n"
EXPOSURE = 1.4  # of 10; 2.4 in the first release
NOTHING_COMPILED = "rm -rf /var/cache/private/nat64d/*"


def reaches(host: Namespace) -> bool:
    return host.run("ping", "-6", "-n", "-c1", "-W5", embed(SERVER4), check=False).returncode == 0


@contextmanager
def program(host: Namespace, name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program of programs.py on a host; it is over when the block is."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 1}
    with host.popen(sys.executable, str(PROGRAMS), name, *arguments, **pipes) as running:
        try:
            assert hear(running, 120)
            yield running
        finally:
            running.kill()


def echoes(talker: subprocess.Popen[str], text: str) -> bool:
    """Whether a line comes back over a connection that is open already."""
    assert talker.stdin is not None
    talker.stdin.write(f"{text}\n")
    talker.stdin.flush()
    return hear(talker, 60) == text


def ended(running: subprocess.Popen[str]) -> dict[str, Any]:
    """What a program prints once its standard input ends."""
    assert running.stdin is not None
    running.stdin.close()
    answer: dict[str, Any] = json.loads(hear(running))
    return answer


def restarted(machine: Machine, times: int) -> None:
    """Wait until systemd has restarted the daemon so often, and it translates."""
    machine.becomes("NRestarts", str(times))
    machine.becomes("ActiveState", "active")


def exposure(machine: Machine) -> float:
    """What `systemd-analyze security` says of the service: 0 is the best, 10 the worst."""
    security = machine.run("systemd-analyze", "security", "--no-pager", "nat64d.service").stdout
    (level,) = re.findall(r"Overall exposure level for nat64d.service: ([\d.]+)", security)
    return float(level)


def printed(test: str) -> str:
    """The part of a unit that docs/install.md prints, and says that this test is about."""
    (block,) = (each for each in pages.blocks(ROOT / "docs/install.md") if f"::{test}:" in each.how)
    return block.text


def found(machine: Machine) -> list[dict[str, Any]]:
    """What the doctor finds."""
    said = machine.run("nat64d", "doctor", "--json", check=False, timeout=300).stdout
    return [json.loads(line) for line in said.splitlines()]


def status(machine: Machine) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(machine.run("nat64d", "status", "--json", check=False).stdout)
    return answer


def test_the_units_are_without_fault_and_expose_little(machine: Machine) -> None:
    verified = machine.run("systemd-analyze", "verify", "nat64d.service", "nat64d@.service", check=False)
    # Debian 12 has systemd 252: what RestartSteps= and RestartMaxDelaySec= would do it does not do.
    said = [line for line in (verified.stdout + verified.stderr).splitlines() if "RestartSteps" not in line]
    assert [line for line in said if "nat64d" in line and "RestartMaxDelaySec" not in line] == []
    assert verified.returncode == 0
    assert exposure(machine) <= EXPOSURE


def test_packets_pass_when_the_first_start_is_over_and_the_code_is_compiled_under_the_watch(
    machine: Machine, net: Topology
) -> None:
    machine.run("sh", "-c", NOTHING_COMPILED)
    machine.drop_in(QUICK_WATCHDOG)
    machine.systemctl("start")
    assert machine.show("ActiveState") == "active"
    assert reaches(net.client6a)
    wait(lambda: FULL_SPEED in machine.journal(), COMPILING, machine.journal)
    assert reaches(net.client6a)
    assert machine.show("NRestarts") == "0"
    assert machine.show("WatchdogTimestampMonotonic") != "0"
    wait(
        lambda: machine.run("pgrep", "-f", "compiling.entries", check=False).returncode == 1, COMPILING, machine.journal
    )


def test_the_journal_has_the_priority_and_the_fields_of_each_line(machine: Machine) -> None:
    machine.systemctl("start")
    machine.systemctl("restart")
    search = ("journalctl", "--unit=nat64d", "--output=json", "--no-pager")
    entries = [json.loads(line) for line in machine.run(*search, "NAT64D_LOGGER=nat64d").stdout.splitlines()]
    assert {(entry["_TRANSPORT"], entry["SYSLOG_IDENTIFIER"]) for entry in entries} == {("journal", "nat64d")}
    assert "6" in {entry["PRIORITY"] for entry in entries} <= {"4", "6"}
    kept = [entry for entry in entries if entry["MESSAGE"].startswith("Kept ")]
    assert kept
    assert all(entry["MESSAGE"].split()[1] == entry["NAT64D_KEPT"] for entry in kept)
    assert machine.run(*search, "NAT64D_DAMAGED=0").stdout.count("\n") == len(kept)


def test_a_stop_undoes_what_was_changed(machine: Machine, net: Topology) -> None:
    before = traces(net.gateway)
    machine.systemctl("start")
    assert reaches(net.client6a)
    assert traces(net.gateway) != before
    machine.systemctl("stop")
    assert (machine.show("Result"), machine.show("ExecMainStatus")) == ("success", "0")
    assert traces(net.gateway) == before
    assert machine.run("test", "-e", "/run/nat64d", check=False).returncode == 1
    assert not reaches(net.client6a)


def test_a_stop_while_it_compiles_takes_no_longer(machine: Machine, net: Topology) -> None:
    before = traces(net.gateway)
    machine.drop_in("[Service]\nEnvironment=NAT64D_CACHE=/run/nat64d\nKillMode=control-group\n")
    machine.systemctl("start")
    machine.systemctl("stop")
    assert (machine.show("Result"), machine.show("ExecMainStatus")) == ("success", "0")
    assert "plain Python" in machine.journal(), "nothing was compiled yet"
    assert traces(net.gateway) == before


def test_it_runs_without_root_and_reaches_nothing_that_it_does_not_need(machine: Machine) -> None:
    machine.systemctl("start")
    pid = machine.show("MainPID")
    process = machine.run("cat", f"/proc/{pid}/status").stdout
    (user,) = re.findall(r"^Uid:\t(\d+)", process, re.MULTILINE)
    assert 61184 <= int(user) <= 65519, "the range of DynamicUser="
    assert "CapEff:\t0000000000001000" in process
    assert "Seccomp:\t2" in process
    assert machine.show("OOMScoreAdjust") == "-500"
    inside = f"/proc/{pid}/root"
    assert machine.run("ls", f"{inside}/dev/net").stdout.split() == ["tun"]
    writable = (
        "sh",
        "-c",
        f"grep -E ' (/dev|/proc/sys(/net)?) ' /proc/{pid}/mountinfo | awk '{{print $5, substr($6, 1, 2)}}'",
    )
    assert set(machine.run(*writable).stdout.splitlines()) >= {"/dev ro", "/proc/sys ro", "/proc/sys/net rw"}


def test_the_doctor_finds_no_fault_with_the_unit(machine: Machine) -> None:
    machine.systemctl("start")
    assert [row for row in found(machine) if "nat64d.service" in str(row)] == []


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_connections_go_on_after(machine: Machine, net: Topology, how: str) -> None:
    machine.systemctl("start")
    with (
        program(net.client6a, "talk", embed(SERVER4), "7") as talker,
        program(net.client6a, "gaps", embed(SERVER4), "7") as pinger,
    ):
        assert echoes(talker, "before")
        if how == "restart":
            machine.systemctl("restart")
        else:
            machine.run("kill", "-9", machine.show("MainPID"))
            restarted(machine, 1)
        assert echoes(talker, "after")
        time.sleep(1)
        seen = ended(pinger)
    assert seen["received"] > 0
    assert f"waiting ports over a {'stop' if how == 'restart' else 'kill or crash'}" in machine.journal()
    print(f"\n{how}: no answer for {seen['longest']:.2f} s; {seen['sent'] - seen['received']} of {seen['sent']} lost")


def test_a_daemon_that_stands_still_is_ended_and_started_again(machine: Machine, net: Topology) -> None:
    machine.drop_in(QUICK_WATCHDOG)
    machine.systemctl("start")
    machine.run("kill", "-STOP", machine.show("MainPID"))
    restarted(machine, 1)
    assert "Watchdog timeout" in machine.journal()
    assert reaches(net.client6a)


def test_a_queue_that_stands_still_is_as_bad(machine: Machine, net: Topology) -> None:
    """The other threads go on: it is not the process that stands still."""
    machine.drop_in(QUICK_WATCHDOG)
    machine.write("/run/programs.py", PROGRAMS.read_text("utf-8"))
    machine.systemctl("start")
    pid = machine.show("MainPID")
    with machine.popen("python3", "/run/programs.py", "freeze", pid, "queue-0") as freezing:
        assert hear(freezing) == "frozen"
        wait(lambda: "Watchdog timeout" in machine.journal(), 120, machine.journal)
        freezing.communicate()
    restarted(machine, 1)
    said = machine.journal()
    assert re.search(
        r"Queue 0 of the TUN device has made no progress for \d+ s; systemd ends and restarts nat64d", said
    )
    assert re.search(r"File .*worker.py.* in serve", said), "the log says where the thread was"
    assert reaches(net.client6a)


def test_a_busy_daemon_is_left_alone(machine: Machine, net: Topology) -> None:
    machine.drop_in(QUICK_WATCHDOG)
    machine.systemctl("start")
    with program(net.client6a, "gaps", embed(SERVER4), "7") as pinger:
        time.sleep(15)
        assert ended(pinger)["received"] > 0
    assert machine.show("NRestarts") == "0"
    assert machine.show("ActiveState") == "active"


def test_a_reload_changes_to_an_edited_file_and_fails_for_a_wrong_one(machine: Machine, net: Topology) -> None:
    machine.systemctl("start")
    pid = machine.show("MainPID")
    machine.write(CONFIG_FILE, f'{CONFIG}\n[[pool4]]\naddresses = "192.0.2.32/27"\n')
    machine.systemctl("reload")
    assert f"Reloaded {CONFIG_FILE}: kept " in machine.journal()
    assert "192.0.2.32/27" in net.gateway.ip("route")
    machine.write(CONFIG_FILE, f"{CONFIG}\n[timeouts]\nudp = 5\n")
    assert machine.systemctl("reload", check=False).returncode != 0
    assert "[timeouts] udp = 5: expected" in machine.journal()
    assert (machine.show("MainPID"), machine.show("ActiveState")) == (pid, "active")
    assert "192.0.2.32/27" in net.gateway.ip("route")
    assert reaches(net.client6a)


def test_a_wrong_configuration_is_not_tried_again(machine: Machine) -> None:
    machine.write(CONFIG_FILE, 'pool6 = "64:ff9b::/97"\n')
    assert machine.systemctl("start", check=False).returncode != 0
    assert machine.show("ExecMainStatus") == "2"
    time.sleep(5)
    assert (machine.show("ActiveState"), machine.show("NRestarts")) == ("failed", "0")


def test_what_does_not_fit_the_host_is_tried_again_until_it_does(machine: Machine, net: Topology) -> None:
    machine.write(CONFIG_FILE, f'{CONFIG}\n[host]\nmasquerade = "late0"\n')
    assert machine.systemctl("start", "--no-block").returncode == 0
    wait(lambda: int(machine.show("NRestarts")) >= 1, 120, machine.journal)
    assert machine.show("ExecMainStatus") in {"0", "1"}
    net.gateway.ip("link", "add", "late0", "up", "type", "veth", "peer", "name", "late1")
    try:
        machine.becomes("ActiveState", "active")
        machine.systemctl("stop")
    finally:
        net.gateway.ip("link", "delete", "late0")


def test_where_there_is_no_tun_device_the_log_says_what_helps(machine: Machine) -> None:
    away = "touch /run/tun && mount --bind /dev/net/tun /run/tun && umount /dev/net/tun && rm /dev/net/tun"
    back = "touch /dev/net/tun && mount --bind /run/tun /dev/net/tun && umount /run/tun"
    machine.run("sh", "-ec", away)
    try:
        assert machine.systemctl("start", check=False).returncode != 0
        machine.systemctl("stop")
        assert "TUN device nat64 cannot be opened, there is no /dev/net/tun: run 'modprobe tun'" in machine.journal()
    finally:
        machine.run("sh", "-ec", back)


def test_limits_that_an_operator_sets_hold(machine: Machine, net: Topology) -> None:
    machine.drop_in(printed("test_limits_that_an_operator_sets_hold"))
    machine.systemctl("start")
    limits = machine.run("cat", f"/proc/{machine.show('MainPID')}/limits").stdout
    assert re.search(r"^Max open files +4096 +4096", limits, re.MULTILINE)
    assert machine.show("MemoryMax") == str(2 << 30)
    assert reaches(net.client6a)


def test_a_second_daemon_has_a_configuration_and_a_directory_of_its_own(machine: Machine, net: Topology) -> None:
    (block,) = (each for each in pages.blocks(ROOT / "docs/install.md") if each.language == "toml")
    machine.write("/etc/nat64d/lab.toml", block.text)
    machine.systemctl("start")
    before = traces(net.gateway)
    machine.run("systemctl", "start", "nat64d@lab")
    try:
        assert reaches(net.client6a)
        assert (
            net.client6a.run("ping", "-6", "-n", "-c1", "-W5", f"2001:db8:46::{SERVER4}", check=False).returncode == 0
        )
        asked = machine.run("nat64d", "status", "--json", "-c", "/etc/nat64d/lab.toml", check=False)
        assert json.loads(asked.stdout)["tun"]["name"] == "lab"
        users = machine.run("ps", "-o", "uid=", "-C", "nat64d").stdout.split()
        assert len(users) >= 2
        assert len(set(users)) == 1, "one user, who owns the compiled code"
    finally:
        machine.run("systemctl", "stop", "nat64d@lab")
    assert reaches(net.client6a)
    assert traces(net.gateway) == before


def test_a_start_that_compiles_first_gets_the_time_it_needs(machine: Machine, net: Topology) -> None:
    """Where many sessions are kept, the code is compiled before packets pass: longer than TimeoutStartSec here, which a
    start that finds all compiled does not need."""
    began = time.monotonic()
    machine.systemctl("start")
    limit = round(max(15, 3 * (time.monotonic() - began)))
    for _ in range(3):  # a queue of the device may be full for a moment
        net.client6a.run(sys.executable, str(PROGRAMS), "flows", embed(SERVER4), "9", "10500", timeout=120)
    assert status(machine)["sessions"] > 10000
    machine.run("sh", "-c", NOTHING_COMPILED)
    machine.drop_in(f"[Service]\nTimeoutStartSec={limit}\n")
    began = time.monotonic()
    machine.systemctl("restart")
    took = time.monotonic() - began
    assert machine.show("ActiveState") == "active"
    assert machine.show("NRestarts") == "0"
    assert status(machine)["sessions"] > 10000
    said = machine.journal()
    assert "Compiling before packets pass" in said
    print(f"\ncompiling, with a TimeoutStartSec of {limit} s: ready after {took:.0f} s")
