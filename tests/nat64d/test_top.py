"""`nat64d top`: a screen that fits its terminal, and a terminal that it stays up to date in."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from io import StringIO

import pytest
from rich.console import Console

from nat64d.cli import top_view as view
from nat64d.cli.top import sample
from nat64d.control.client import Client
from tests.nat64d.fake_gateway import FakeGateway, serving, standing
from tests.nat64d.test_cli import HEAVY, ROOT, run

PATIENCE = 60  # seconds for what a busy machine shows


@pytest.fixture
def gateway():
    gateway = FakeGateway()
    gateway.standing = [standing("firewall")]
    return gateway


def drawn(shown, width, height, **more):
    """The lines of a screen, as a terminal without colours shows them."""
    text = StringIO()
    console = Console(file=text, width=width, height=height, highlight=False)
    console.print(view.screen(shown, "1.2.3", more.pop("order", "rate"), width, height, **more))
    return text.getvalue().splitlines()


def busy(services=0):
    """A gateway with more of everything than a small terminal has room for."""
    counters = [("6to4", "translated", 10**9), ("4to6", "translated", 5 * 10**8), ("4to6", "no_session", 10**6)]
    counters += [("6to4", f"verdict_{n}", n + 1) for n in range(40)]
    moments = []
    for growth in (0, 1000):
        rows = [{"direction": d, "verdict": v, "packets": n + growth * (n > 10**6)} for d, v, n in counters]
        summary = {
            "version": "1.2.3",
            "state": "blocked",
            "uptime": 3723.0,
            "sessions_limit": 1 << 20,
            "protocols": {"tcp": 700_000, "udp": 123_456, "icmp": 7, "other": 0},
            "columns": ["seconds", "packets_6to4", "packets_4to6", "octets_6to4", "octets_4to6", "dropped", "sessions"],
            "totals": [0, growth, 2 * growth, 1000 * growth, 10**6 * growth, growth // 10, 823_463],
            "counters": rows,
            "queries": [{"outcome": "synthesised", "queries": growth}, {"outcome": "cached", "queries": 7}],
            "pools": [
                {"addresses": f"203.0.113.{n}", "protocol": "tcp", "used": n, "fullest": n / 99, "full": 0}
                for n in range(99)
            ],
            "services": [
                {"service": name, "ready": ready, "endpoints": 3, "sessions": 7, "flows": n * growth, "refused": growth}
                for n, (name, ready) in enumerate([("web", 3), ("dns", 2), ("lost", 0)] * services)
            ],
            "sentences": [standing("firewall")] * 5,
            "warnings": ["w" * 300],
        }
        hosts = [
            {"host6": f"2001:db8:1234:5678:9abc:def0:1234:{n:04x}", "sessions": n, "tcp": n, "udp": 0, "icmp": 0}
            for n in range(50)
        ]
        moments.append(view.Sample(float(bool(growth)), summary, hosts))
    return moments


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (119, 30), (200, 50), (140, 24), (300, 100)])
@pytest.mark.parametrize("notice", ["", "No answer for 7 s, asking again: " + "x" * 200])
@pytest.mark.parametrize("services", [0, 1, 20])
def test_a_screen_fits_its_terminal(size, notice, services):
    lines = drawn(view.rates(*busy(services)), *size, notice=notice)
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]


def test_80_columns_and_24_lines_show_the_essential():
    text = "\n".join(drawn(view.rates(*busy()), 80, 24))
    for shown in (
        "nat64d 1.2.3  blocked  up 1h02m03s",
        "6to4         1.0k packets/s     8.0Mbit/s",
        "4to6         2.0k packets/s     8.0Gbit/s",
        "dropped       100 packets/s",
        "sessions  823463 of 1048576 (78.5 %)  tcp 700000  udp 123456  icmp 7  other 0",
        "dns64     synthesised 1.0k/s",
        "! firewall: Something drops.",
        "! and 3 more: nat64d status",
        "6to4  translated",
        "2001:db8:1234:5678:9abc:def0:1234:0000",
        "203.0.113.98  tcp",
        "q quit   p pause   s sort verdicts by rate",
    ):
        assert shown in text, shown


@pytest.mark.parametrize("width", [80, 200])
def test_what_the_daemon_says_is_neither_markup_nor_commands_to_the_terminal(width):
    first, second = busy()
    second.summary["warnings"], second.summary["sentences"] = ["a\x1b[2Jb [/x]"], []
    second.summary["pools"] = [{"addresses": "[/x]\x1b]", "protocol": "tcp", "used": 1, "fullest": 0, "full": 0}]
    text = "\n".join(drawn(view.rates(first, second), width, 40))
    assert "\x1b" not in text
    assert "! a�[2Jb [/x]" in text
    assert "[/x]�]" in text


def test_a_wide_terminal_has_its_tables_side_by_side():
    (heads,) = (line for line in drawn(view.rates(*busy()), 200, 50) if "VERDICT" in line)
    assert "HOST" in heads
    assert "POOL" in heads


def test_services_stand_where_there_are_some_with_those_that_nobody_serves_first():
    for width, height, rows in ((80, 40, 1), (200, 50, 1)):
        lines = drawn(view.rates(*busy(rows)), width, height)
        at = next(number for number, line in enumerate(lines) if "NEW PER S" in line)
        shown = [line[lines[at].index("SERVICE") :].split() for line in lines[at + 1 : at + 4]]
        assert shown == [
            ["lost", "0/3", "7", "2.0k", "1.0k"],
            ["dns", "2/3", "7", "1.0k", "1.0k"],
            ["web", "3/3", "7", "0", "1.0k"],
        ]
        assert "POOL" in "\n".join(lines)
    assert "NEW PER S" not in "\n".join(drawn(view.rates(*busy()), 80, 40))


def test_verdicts_by_rate_or_by_total():
    first, second = busy()
    second.summary["counters"][-1]["packets"] += 10**5
    shown = view.rates(first, second)
    by_rate, by_total = ("\n".join(drawn(shown, 80, 40, order=order)) for order in view.ORDERS)
    assert by_rate.index("verdict_39") < by_rate.index("translated")
    assert by_total.index("translated") < by_total.index("verdict_39")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (12.4, "12"),
        (999, "999"),
        (999.9, "1.0k"),
        (12_345, "12.3k"),
        (123_456, "123k"),
        (7e9, "7.0G"),
        (1e16, "10000T"),
    ],
)
def test_numbers_are_short(number, text):
    assert view.short(number) == text


def test_before_there_are_tables_there_is_a_screen(gateway, path):
    gateway.state = "compiling"
    with serving(gateway, path):
        only = sample(Client(str(path)))
    assert "compiling" in drawn(view.rates(only, only), 80, 24)[0]


def test_once_and_json_are_for_scripts(gateway, path):
    with serving(gateway, path):
        text = run("top", "--once", "--interval", "0.1", "--socket", path)
        piped = run("top", "--interval", "0.1", "--socket", path)
        as_json = run("top", "--once", "--json", "--interval", "0.1", "--socket", path)
    assert text.exit_code == piped.exit_code == as_json.exit_code == 0
    assert "! firewall: Something drops." in text.stdout
    assert "translated" in piped.stdout
    (line,) = as_json.stdout.splitlines()
    shown = json.loads(line)
    assert (shown["state"], shown["sessions"], shown["protocols"]) == ("ready", 2, {"tcp": 1, "udp": 1})
    assert [row["condition"] for row in shown["conditions"]] == ["firewall"]
    assert [(row["service"], row["ready"], row["flows_per_second"]) for row in shown["services"]] == [("web", 1, 0.0)]
    assert "\x1b" not in text.stdout


def test_it_imports_nothing_heavy_but_rich(gateway, path):
    code = (
        "import sys; from nat64d.cli.app import app\n"
        f"app(['top', '--once', '--interval', '0.1', '--socket', '{path}'], standalone_mode=False)\n"
        f"sys.exit(' '.join(m for m in {set(HEAVY) - {'rich'}} if m in sys.modules) or 0)"
    )
    with serving(gateway, path):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_daemon_it_is_3(tmp_path):
    result = run("top", "--once", "--socket", tmp_path / "none.sock")
    assert (result.exit_code, "no daemon answers here" in result.stderr) == (3, True)


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, path, width=80, height=24):
        self.master, slave = pty.openpty()
        self.resize(width, height)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "nat64d", "top", "--interval", "0.1", "--socket", str(path)],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"TERM": "xterm", "NO_COLOR": "1"},
        )
        os.close(slave)
        self.seen = ""

    def resize(self, width, height):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", height, width, 0, 0))

    def until(self, words):
        """Read on until these words are shown; what was read."""
        deadline, self.seen = time.monotonic() + PATIENCE, ""
        while words not in self.seen:
            readable, _, _ = select.select([self.master], [], [], max(deadline - time.monotonic(), 0))
            assert readable, f"{words!r} is not in {self.seen[-3000:]!r}"
            self.seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(self.master, 1 << 16).decode("utf-8", "replace"))
        return self.seen

    def type(self, keys):
        os.write(self.master, keys.encode())

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)
        os.close(self.master)


# The server of this test ends in the middle of a connection, and its event loop with it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_follows_keys_sizes_and_a_daemon_that_goes_and_comes_back(gateway, path):
    with serving(gateway, path):
        terminal = Terminal(path)
        try:
            terminal.until("s sort verdicts by rate")
            assert all(len(line) <= 80 for line in terminal.seen.splitlines())
            terminal.type("s")
            terminal.until("s sort verdicts by total")
            terminal.type("p")
            terminal.until("Paused: p goes on")
            terminal.type("p")
            terminal.resize(200, 50)
            while not any("VERDICT" in line and "SERVICE" in line for line in terminal.until("POOL").splitlines()):
                pass
        except BaseException:
            terminal.close()
            raise
    try:
        terminal.until("no daemon answers here")
        with serving(gateway, path):
            while "asking again" in terminal.until("q quit"):
                pass
            terminal.type("q")
            assert terminal.process.wait(PATIENCE) == 0
    finally:
        terminal.close()
