"""The command line: what each command prints and how it exits, against a real socket; and that asking is light."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import nat64d
from nat64d.cli.app import app
from nat64d.config import defaults
from nat64d.config.errors import Problem
from nat64d.config.load import dump, load
from nat64d.config.warnings import warnings
from nat64d.host import checks
from tests.nat64d.fake_gateway import FakeGateway, serving, session

ROOT = Path(__file__).parents[2]
PCAPS = ROOT / "pcaps"
PACKET = "2001:db8::1 > 64:ff9b::192.0.2.1 udp 5000 53"
LISTS = ("sessions", "bib", "hosts", "blocks", "pools", "mappings", "services")
ASKING = (("status",), ("counters",), *((name,) for name in LISTS), ("explain", PACKET, "--live"))
HEAVY = ("aiohttp", "asyncio", "numba", "numpy", "prometheus_client", "pyroute2", "rich", "scapy")


@pytest.fixture
def gateway():
    return FakeGateway()


@pytest.fixture
def path(gateway, tmp_path):
    with serving(gateway, tmp_path / "api.sock"):
        yield str(tmp_path / "api.sock")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="nat64d")


def command(*arguments, **options):
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "nat64d", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(process):
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


# What the listings look like.


def test_status(path):
    result = run("status", "--socket", path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "version     1.2.3\n"
        "state       ready\n"
        "uptime      1h02m03s\n"
        "tun         name=nat64 mtu=1500\n"
        "pool6       64:ff9b::/96\n"
        "sessions    2 of 1048576\n"
        "bib         1\n"
        "limits      sessions=1048576\n"
        "offloads    csum tso4\n"
        "masquerade  -\nfastpath    -\n"
        "log         info\n"
        "dns64       listening=[::]:53 upstream=192.0.2.53:53 synthesises=yes\n"
        "http        -\n"
    )


def test_status_has_a_line_for_each_warning(path, gateway):
    taken = "[dns64] listen = [::]:53: UDP port 53 is taken by unbound (process 7)."
    gateway.warnings = [taken, "Another."]
    assert run("status", "--socket", path).stdout.splitlines()[-2:] == [
        f"warning     {taken}",
        "warning     Another.",
    ]


def test_status_as_json_is_the_document(path, gateway):
    result = run("status", "--socket", path, "--json")
    assert json.loads(result.stdout) == {**gateway.status(), "http": None, "warnings": []}
    assert result.stdout.count("\n") == 1


def test_status_is_1_while_the_daemon_is_not_ready(path, gateway):
    gateway.state = "compiling"
    result = run("status", "--socket", path)
    assert result.exit_code == 1
    assert "state       compiling\n" in result.stdout


def test_sessions(path):
    result = run("sessions", "--socket", path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "PROTOCOL  HOST6               MAPPED4           HOST4           STATE         EXPIRES\n"
        "tcp       [2001:db8::1]:1025  203.0.113.1:1025  192.0.2.80:443  ESTABLISHED  2h04m00s\n"
        "udp       [2001:db8::1]:1026  203.0.113.1:1026  192.0.2.80:443  -            2h04m00s\n"
    )


def test_sessions_as_json_is_what_the_api_says(path):
    result = run("sessions", "--socket", path, "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [session(1), session(2, "udp")]


def test_bib(path):
    assert run("bib", "--socket", path).stdout == (
        "PROTOCOL  HOST6               MAPPED4            STATIC  SESSIONS\n"
        "tcp       [2001:db8::1]:5000  203.0.113.1:40000  no             2\n"
    )


def test_hosts(path):
    heading, *rows = run("hosts", "--socket", path, "--top", "1").stdout.splitlines()
    assert heading == "HOST6        MAPPED4      SESSIONS  BIB  TCP  UDP  ICMP  OTHER"
    assert rows == ["2001:db8::1  203.0.113.1         2    1    1    0     0      0"]


def test_pools(path):
    assert run("pools", "--socket", path).stdout == (
        "ADDRESSES       PORTS       PROTOCOL  SOURCE           USED   TOTAL  USED%\n"
        "203.0.113.0/30  1024-65535  tcp       -                   1  258048    0.0\n"
        "203.0.113.0/30  1024-65535  tcp       2001:db8:1::/48     0       0      -\n"
    )


def test_counters_are_those_that_counted(path):
    assert run("counters", "--socket", path).stdout == (
        "DIRECTION  VERDICT            PACKETS  RFC       HELP\n"
        "6to4       translated              12  7915      Translated and written.\n"
        "4to6       hop_limit_expired        3  7915 4.1  Hop Limit was 1.\n"
        "\n"
        "OUTCOME      QUERIES  RFC         HELP\n"
        "cached             5  1035 7.4    Answered from the cache.\n"
        "synthesised        7  6147 5.1.7  Answered with AAAA records made from A records, or A from AAAA (dns46).\n"
        "\n"
        "EVENT        COUNT  HELP\n"
        "bib_created      1  BIB entries opened.\n"
    )


def test_counters_all_and_json(path):
    everything = [json.loads(line) for line in run("counters", "--socket", path, "--all", "--json").stdout.splitlines()]
    counts = [row.get("packets", row.get("queries", row.get("count"))) for row in everything]
    assert (counts[:3], counts[-2:], sum(counts)) == ([12, 0, 3], [1, 0], 12 + 3 + 5 + 7 + 1)
    counted = [json.loads(line) for line in run("counters", "--socket", path, "--json").stdout.splitlines()]
    assert counted == [row for row in everything if row.get("packets") or row.get("queries") or row.get("count")]


def test_counters_without_a_name_server_have_no_table_of_queries(path, gateway):
    gateway.report = None
    assert "OUTCOME" not in run("counters", "--socket", path, "--all").stdout


def test_the_name_servers_that_are_asked(path):
    assert run("dns64", "servers", "--socket", path).stdout == (
        "SERVER         ASKED  ANSWERED  FAILED  MILLISECONDS  LAST FAILURE\n"
        "192.0.2.53:53     14        12       1          12.5  no answer\n"
    )


def test_explain_live(path):
    result = run("explain", PACKET, "--live", "--socket", path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "parse           8200 3  IPv6 UDP\nbefore                  header\n                        48 octets\n"
    )


def test_explain_live_as_json_is_what_explain_writes_offline(path, gateway):
    *steps, end = map(json.loads, run("explain", PACKET, "--live", "--socket", path, "--json").stdout.splitlines())
    explained = gateway.explain(bytes.fromhex(end["packet"]))
    assert steps == explained.pop("steps")
    assert end == explained


def test_explain_live_takes_every_form_of_a_packet(path):
    for packet, octets in (("4500", 2), (f"{PCAPS}/udp_there_and_back.pcap:2", 34)):
        assert f"{octets} octets" in run("explain", packet, "--live", "--socket", path).stdout


def test_a_listing_longer_than_the_sample_stays_whole(path, gateway):
    gateway.session_rows = lambda: map(session, range(2500))
    lines = run("sessions", "--socket", path).stdout.splitlines()
    assert len(lines) == 2501
    assert {len(line) for line in lines} == {len(lines[0])}


# Waiting.


def test_wait_returns_as_soon_as_the_daemon_is_ready(tmp_path, gateway):
    gateway.state = "compiling"
    process = command("status", "--wait", "20", "--json", "--socket", str(tmp_path / "api.sock"))
    with serving(gateway, tmp_path / "api.sock"):
        gateway.state = "ready"
        code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert json.loads(out)["state"] == "ready"


def test_wait_for_one_that_never_gets_ready_is_3(path, gateway):
    gateway.state = "compiling"
    result = run("status", "--wait", "0.2", "--socket", path)
    assert (result.exit_code, result.stderr) == (3, f"nat64d: {path}: compiling, not ready after 0.2 s\n")


def test_wait_for_nobody_is_3(tmp_path):
    result = run("status", "--wait", "0.2", "--socket", tmp_path / "api.sock")
    assert result.exit_code == 3
    assert "no daemon answers here" in result.stderr


# Which daemon.


def test_c_names_the_socket(path, tmp_path):
    config = tmp_path / "nat64d.toml"
    config.write_text(f'[api]\nsocket = "{path}"\n')
    assert run("status", "-c", config).exit_code == 0


def test_without_c_the_default_configuration_names_it(path, monkeypatch):
    monkeypatch.setattr(defaults, "socket_path", lambda config: path if config is None else "/nowhere")
    assert run("status").exit_code == 0


# The commands that need no daemon.


@pytest.fixture
def stub(monkeypatch):
    """Put a module with a `main` that notes its arguments and returns 7 in place of one of ours."""
    calls = []

    def main(*arguments):
        calls.append(arguments)
        return 7

    def put(name):
        module = SimpleNamespace(main=main)
        parent, _, child = name.rpartition(".")
        if parent != "nat64d":
            monkeypatch.setitem(sys.modules, parent, SimpleNamespace(**{child: module}))
        else:
            monkeypatch.setitem(sys.modules, name, module)
            monkeypatch.setattr(nat64d, child, module, raising=False)
        return calls

    return put


def test_run_hands_on_the_file_and_the_exit_code(stub, tmp_path, monkeypatch):
    calls = stub("nat64d.gateway.run")
    assert run("run", "-c", tmp_path / "x.toml").exit_code == 7
    monkeypatch.setattr(defaults, "CONFIG_FILE", tmp_path / "none.toml")
    assert run("run").exit_code == 7
    monkeypatch.setattr(defaults, "CONFIG_FILE", tmp_path)
    assert run("run").exit_code == 7
    assert calls == [(tmp_path / "x.toml",), (None,), (tmp_path,)]


def test_replay_hands_on_everything(stub, tmp_path):
    calls = stub("nat64d.offline.replay")
    first, second, golden = tmp_path / "in.pcap", tmp_path / "in.pcap1", tmp_path / "golden.pcap"
    assert run("replay", first).exit_code == 7
    assert run("replay", first, second, "-c", "x.toml", "-o", "out.pcap", "--expect", golden, "--json").exit_code == 7
    assert calls == [
        ([first], None, None, None, False),
        ([first, second], Path("x.toml"), Path("out.pcap"), golden, True),
    ]


def test_demo(stub):
    calls = stub("nat64d.cli.demo")
    assert run("demo").exit_code == 7
    assert calls == [()]


def test_check_prints_what_is_in_effect_and_it_loads_back(tmp_path):
    config = tmp_path / "nat64d.toml"
    config.write_text('pool6 = "64:ff9b::/96"\n[[pool4]]\naddresses = "192.0.2.1"\n')
    result = run("check", "--file-only", "-c", config)
    assert (result.exit_code, result.stderr) == (0, "")
    assert 'pool6 = "64:ff9b::/96"' in result.stdout
    config.write_text(result.stdout)
    assert run("check", "--file-only", "-c", config).stdout == result.stdout


def test_check_exits_with_0_when_there_are_only_warnings(tmp_path):
    config = tmp_path / "nat64d.toml"
    config.write_text('pool6 = "64:ff9b::/96"\n[[pool4]]\naddresses = "10.0.0.1"\n')
    result = run("check", "--file-only", "-c", config)
    assert (result.exit_code, result.stdout) == (0, dump(load(config)))
    assert result.stderr == "".join(f"warning: {warning}\n" for warning in warnings(load(config)))
    assert result.stderr.count("\n") == 1


def test_check_prints_every_mistake_on_a_line_and_exits_with_2(tmp_path):
    config = tmp_path / "nat64d.toml"
    config.write_text('pool6 = "2001:db8::/95"\n[[pool4]]\naddresses = "x"\n[timeouts]\nudp = -1\n')
    result = run("check", "--file-only", "-c", config)
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{config}: ") for line in lines)
    assert run("check", "-c", config).stderr == result.stderr


HOST_PROBLEM = Problem("x.toml", "[host] masquerade", '"wan0"', "expected an interface")


def test_check_looks_at_this_host_too_and_exits_with_1_if_the_file_does_not_fit(tmp_path, monkeypatch):
    config = tmp_path / "nat64d.toml"
    config.write_text('pool6 = "64:ff9b::/96"\n[[pool4]]\naddresses = "192.0.2.1"\n')
    monkeypatch.setattr(checks, "check_host", lambda effective, file: checks.Report([HOST_PROBLEM], [HOST_PROBLEM]))
    result = run("check", "-c", config)
    assert (result.exit_code, result.stdout) == (1, dump(load(config)))
    assert result.stderr == f"warning: {HOST_PROBLEM}\n{HOST_PROBLEM}\n"
    assert run("check", "--file-only", "-c", config).stderr == ""


def test_version():
    assert run("--version").stdout == f"nat64d {nat64d.__version__}\n"


def test_no_command_is_usage_and_help_names_the_exit_codes():
    assert run().exit_code == 2
    result = run("-h")
    assert result.exit_code == 0
    assert "Exit codes: 0 good, 1 found something wrong, 2 wrong usage or configuration," in result.stdout


# As processes.


@pytest.mark.parametrize("words", ASKING, ids=lambda words: words[0])
def test_asking_imports_nothing_heavy(words, path):
    code = (
        "import sys; from nat64d.cli.app import app\n"
        "assert 'pydantic' not in sys.modules  # typer may bring it when it runs\n"
        f"app([*{words}, '--socket', '{path}'], standalone_mode=False)\n"
        f"sys.exit(' '.join(m for m in {HEAVY} if m in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_packets_do_not_wait_for_what_only_commands_and_the_control_plane_need():
    later = {"rich", "scapy", "dns", "aiohttp", "pyroute2", "prometheus_client"}
    code = f"import sys, nat64d.gateway.run; sys.exit(' '.join({later} & set(sys.modules)) or 0)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_exit_code_reaches_the_shell(tmp_path):
    code, out, err = finish(command("sessions", "--socket", str(tmp_path / "none.sock")))
    assert (code, out) == (3, "")
    assert err.startswith(f"nat64d: {tmp_path}/none.sock: no daemon answers here; ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reader_that_leaves_is_no_trouble(path, gateway, options):
    gateway.session_rows = lambda: map(session, range(1_000_000))
    process = command("sessions", "--socket", path, *options)
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(10) == 0


def test_no_colours_and_no_boxes(path):
    process = command("sessions", "--socket", path, env=os.environ | {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"})
    code, out, _ = finish(process)
    assert code == 0
    assert out.isascii()
    assert "\x1b" not in out
