"""`nat64d who`: by configuration, daemon or log; and why nobody is known."""

import gzip
import json
from datetime import UTC, datetime
from ipaddress import IPv4Address

import numpy as np
import pytest
from typer.testing import CliRunner

from nat64d.cli.app import app
from nat64d.config.load import loads
from nat64d.config.models import Eam
from nat64d.config.sources import Rows
from nat64d.gateway.kept_sources import KeptSources
from nat64d.natlog.entries import entries_of, line
from nat64d.offline.who import Question, UnknownError, by_log, events
from tests.case import BEGIN
from tests.nat64d.fake_gateway import FakeGateway, serving
from tests.sessions import Sessions

CONFIG = """
pool6 = "64:ff9b::/96"
[limits]
port_block = 1000
[[pool4]]
addresses = "192.0.2.0/31"
ports = "1000-9999"
source = "2001:db8:0:10::/60"
deterministic = true
[[pool4]]
addresses = "203.0.113.1"
[[forward]]
protocol = ["tcp", "udp"]
ipv4 = "198.51.100.7:8000-8099"
ipv6 = "[2001:db8:0:1f::5]:1000-1099"
[[eam]]
ipv4 = "198.51.100.64/26"
ipv6 = "2001:db8:e::/96"
[[eam]]
ipv4 = "198.51.100.72"
ipv6 = "2001:db8:f::8"
"""
LOG = """\
2026-03-01T12:00:00.000Z block-allocated 0 2001:db8:0:1::/64 203.0.113.1:2000-2063 inside
2026-03-01T12:00:01.000Z mapping-created udp [2001:db8:0:1::5]:5000 203.0.113.1:2007 inside
2026-03-01T12:05:01.000Z mapping-ended udp [2001:db8:0:1::5]:5000 203.0.113.1:2007 expired
2026-03-01T12:10:00.000Z block-freed 0 2001:db8:0:1::/64 203.0.113.1:2000-2063 unused
something else
{"at": "2026-03-01T13:00:00.000Z", "event": "block-allocated", "protocol": "0", "cause": "inside",
{"at": "2026-03-01T13:00:00.000Z", "event": "block-allocated", "protocol": "0", "cause": "inside", \
"subscriber": "2001:db8:0:2::/64", "mapped4": "203.0.113.1", "first_port": 2000, "last_port": 2063}
2026-03-01T13:30:00.000Z session-created tcp [2001:db8:0:2::9]:6000 203.0.113.1:2001 192.0.2.80:443 inside
2026-03-01T13:31:00.000Z session-created tcp [2001:db8:0:2::9]:6000 203.0.113.1:2001 192.0.2.81:443 inside
2026-03-01T13:32:00.000Z session-ended tcp [2001:db8:0:2::9]:6000 203.0.113.1:2001 192.0.2.80:443 closed
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "nat64d.toml"
    path.write_text(CONFIG)
    return path


def who(config, *arguments):
    result = CliRunner().invoke(app, ["who", "-c", str(config), *map(str, arguments)], prog_name="nat64d")
    return result.exit_code, result.stdout, result.stderr


AT_CONFIG = {
    "a computed block": (
        ("192.0.2.0", 8999),
        "2001:db8:0:17::/64  configuration: its computed block, 192.0.2.0:8000-8999\n",
    ),
    "of the next address": (
        ("192.0.2.1", 1000),
        "2001:db8:0:18::/64  configuration: its computed block, 192.0.2.1:1000-1999\n",
    ),
    "a forwarded port": (
        ("198.51.100.7", 8099),
        "[2001:db8:0:1f::5]:1099  configuration: [[forward]] 198.51.100.7:8000-8099 to [2001:db8:0:1f::5]:1000-1099\n",
    ),
    "a mapped host, by the suffix of RFC 7757 3.3.1": (
        ("198.51.100.73", 22),
        "[2001:db8:e::2400:0]:22  configuration: [[eam]] 198.51.100.64/26 to 2001:db8:e::/96\n",
    ),
    "a mapped host, by the longest match": (
        ("198.51.100.72", 22),
        "[2001:db8:f::8]:22  configuration: [[eam]] 198.51.100.72/32 to 2001:db8:f::8/128\n",
    ),
}


@pytest.mark.parametrize("name", AT_CONFIG)
def test_rfc7422_2_function_2_needs_no_daemon_and_no_log(config, name):
    (address, port), said = AT_CONFIG[name]
    for more in ((), ("--time", "2020-01-01T00:00:00Z"), ("--proto", "udp")):
        assert who(config, "--address", address, "--port", port, *more) == (0, said, "")


def test_rfc7422_2_function_1(config):
    assert who(config, "--host", "2001:db8:0:18::77") == (0, "2001:db8:0:18::/64  192.0.2.1:1000-1999\n", "")
    code, out, _ = who(config, "--host", "2001:db8:0:18::77", "--json")
    row = {"subscriber": "2001:db8:0:18::/64", "address": "192.0.2.1", "first_port": 1000, "last_port": 1999}
    assert (code, json.loads(out)) == (0, row)
    code, _, err = who(config, "--host", "2001:db8:9::1")
    assert code == 1
    assert "it is in the source of no [[pool4]] that is deterministic" in err


def test_as_json(config):
    code, out, _ = who(config, "--address", "192.0.2.0", "--port", 1001, "--json")
    reason = "its computed block, 192.0.2.0:1000-1999"
    row = {"who": "2001:db8:0:10::/64", "source": "configuration", "reason": reason, "since": None}
    assert (code, json.loads(out)) == (0, {"address": "192.0.2.0", "port": 1001, "protocol": "tcp", **row})


def test_what_is_set_beside_the_file_is_known_without_a_daemon(config, tmp_path):
    state = tmp_path / "state"
    config.write_text(f'{CONFIG}\n[state]\nfile = "{state}"\n')
    asked = ("--address", "198.51.100.5", "--port", 80, "--socket", tmp_path / "none")
    assert who(config, *asked)[0] == 3
    kept = KeptSources(state)
    kept.prepare({"api": Rows(eam=(Eam(ipv4="198.51.100.5", ipv6="2001:db8:f::5"),))})
    kept.commit()
    said = "[2001:db8:f::5]:80  configuration: [[eam]] 198.51.100.5/32 to 2001:db8:f::5/128\n"
    assert who(config, *asked) == (0, said, "")
    forwarded = ("--address", "198.51.100.7", "--port", 8000)
    kept.path.write_text("x")
    code, out, err = who(config, *forwarded)
    assert (code, "[[forward]]" in out) == (0, True)
    assert err.startswith(f"nat64d: {kept.path}: what is set beside the configuration file is not taken into account")
    assert "its checksum is wrong" in err
    kept.prepare({"api": Rows(eam=(Eam(ipv4="198.51.100.7", ipv6="2001:db8:f::5"),))})
    kept.commit()
    assert "because it does not go together with" in who(config, *forwarded)[2]
    assert kept.path.exists(), "who only looks"


def test_a_running_daemon_says_who_has_a_mapping_or_else_the_block(config, tmp_path):
    socket = tmp_path / "api.sock"
    with serving(FakeGateway(), socket):
        found = who(config, "--address", "203.0.113.1", "--port", 40000, "--socket", socket)
        assert found == (0, "[2001:db8::1]:5000  daemon: a mapping that is in use\n", "")
        code, out, _ = who(config, "--address", "203.0.113.1", "--port", 40001, "--socket", socket)
        assert code == 0
        assert out.startswith("2001:db8::/64  daemon: its block, 203.0.113.1:40000-40063, since 2")
        code, _, err = who(config, "--address", "203.0.113.1", "--port", 39999, "--socket", socket)
        assert code == 1
        assert "203.0.113.1:39999 tcp: nobody has it now; for an earlier time give --time and --log" in err


def test_without_a_daemon_it_says_so(config, tmp_path):
    code, _, err = who(config, "--address", "203.0.113.1", "--port", 2000, "--socket", tmp_path / "none.sock")
    assert code == 3
    assert "203.0.113.1:2000 tcp: it does not follow from the configuration, and " in err
    code, _, err = who(config, "--address", "203.0.113.1", "--port", 2000, "--time", "2026-03-01T12:00:00Z")
    assert code == 1
    assert "give the log of that time by --log" in err


TIMES = {
    ("12:00:00.500", 2007, "udp"): "2001:db8:0:1::/64",
    ("12:00:02", 2007, "udp"): "[2001:db8:0:1::5]:5000",  # what is more exact goes first
    ("12:00:02", 2007, "tcp"): "2001:db8:0:1::/64",
    ("12:06:00", 2007, "udp"): "2001:db8:0:1::/64",
    ("12:10:01", 2007, "udp"): None,
    ("11:59:59", 2007, "udp"): None,
    ("12:00:02", 2064, "udp"): None,
    ("13:00:00", 2063, "icmp"): "2001:db8:0:2::/64",
    ("13:33:00", 2001, "tcp"): "[2001:db8:0:2::9]:6000",  # one of its two sessions is left
}


@pytest.mark.parametrize("asked", TIMES)
def test_the_log_says_who_had_it_at_a_time(asked):
    clock, port, protocol = asked
    question = Question(IPv4Address("203.0.113.1"), port, protocol, datetime.fromisoformat(f"2026-03-01T{clock}Z"))
    if TIMES[asked] is None:
        with pytest.raises(UnknownError, match="the log has nobody who had it at 2026-03-01T1"):
            by_log(events(LOG.splitlines()), question)
    else:
        assert by_log(events(LOG.splitlines()), question).who == TIMES[asked]


def test_the_order_of_lines_does_not_matter():
    question = Question(IPv4Address("203.0.113.1"), 2007, "tcp", datetime(2026, 3, 1, 12, 5, tzinfo=UTC))
    assert by_log(events(reversed(LOG.splitlines())), question).who == "2001:db8:0:1::/64"


A, B, AT = "[2001:db8:0:1::5]:5000", "[2001:db8:0:2::5]:5000", "203.0.113.1:2007"
INCOMPLETE = {
    "a_log_that_begins_in_the_middle": (f"00:05 mapping-ended {A}", f"08:00 mapping-created {A}", A),
    "an_end_of_somebody_before": (f"07:00 mapping-created {A}", f"08:00 mapping-ended {B}", A),
    "an_end_that_was_never_written": (
        *(f"07:00 mapping-created {A}", f"08:00 mapping-created {B}", f"08:30 mapping-ended {B}"),
        None,
    ),
    "another_one_without_an_end_between": (f"07:00 mapping-created {A}", f"08:00 mapping-created {B}", B),
    "a_session_of_before_that_ends_meanwhile": (
        *(f"08:00 session-created {A} 192.0.2.81:443", f"08:30 session-ended {A} 192.0.2.80:443"),
        A,
    ),
    "a_block_in_the_middle": ("00:05 block-freed a::/64", "08:00 block-allocated a::/64", "a::/64"),
    "a_block_that_was_never_freed": ("07:00 block-allocated a::/64", "08:00 block-allocated b::/64", "b::/64"),
}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_a_log_may_lack_lines(name):
    *lines, expected = INCOMPLETE[name]
    words = [line.split() for line in lines]
    log = [f"2026-03-01T{at}:00.000Z {event} udp {host} {' '.join((AT, *more))} x" for at, event, host, *more in words]
    question = Question(IPv4Address("203.0.113.1"), 2007, "udp", datetime(2026, 3, 1, 9, tzinfo=UTC))
    if expected is None:
        with pytest.raises(UnknownError):
            by_log(events(log), question)
    else:
        assert by_log(events(log), question).who == expected


def test_rfc7422_2_step_4_what_is_handed_out_is_logged_and_found():
    pool = {"addresses": "192.0.2.1", "ports": "2000-2039", "source": "2001:db8:0:10::/63", "deterministic": True}
    limits = {"sessions": 64, "port_block": 10, "port_quarantine": 60}
    nat64 = Sessions(pool4=[pool], forward=[], limits=limits, log={"sessions": "blocks"})
    ports = [nat64.opened("udp", 5000 + k, host="2001:db8:0:11::5")[1] for k in range(11)]
    nat64.wait(400)  # the mappings end
    nat64.wait(1)  # and the block has waited
    begun = round(BEGIN * 1000)
    rows = nat64.tables.log[: int(nat64.tables.log_at[1])].view(np.ndarray)
    lines = [line(entry) for entry in entries_of(rows, -begun)]
    assert [text.split()[1] for text in lines] == ["block-allocated", "block-freed"]
    for seconds, subscriber in ((1, "2001:db8:0:11::/64"), (402, None)):
        at = datetime.fromtimestamp(seconds, UTC)
        question = Question(IPv4Address("192.0.2.1"), ports[10], "udp", at)
        if subscriber:
            assert by_log(events(lines), question).who == subscriber
        else:
            with pytest.raises(UnknownError):
                by_log(events(lines), question)


def test_several_logs_of_a_file(config, tmp_path):
    logs = [tmp_path / "a", tmp_path / "b.gz"]
    logs[0].write_text(LOG[:200])
    logs[1].write_bytes(gzip.compress(LOG[200:].encode()))
    asked = ("--address", "203.0.113.1", "--port", 2000, "--time", "2026-03-01T12:03:00Z")
    code, out, _ = who(config, *asked, "--log", logs[1], "--log", logs[0])
    expected = "2001:db8:0:1::/64  log: block 203.0.113.1:2000-2063, since 2026-03-01T12:00:00+00:00\n"
    assert (code, out) == (0, expected)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--address", "192.0.2.1"),
        ("--port", "80"),
        ("--address", "192.0.2.1", "--port", "80", "--host", "::1"),
        ("--address", "192.0.2.1.1", "--port", "80"),
        ("--address", "192.0.2.1", "--port", "80", "--proto", "gre"),
        ("--address", "192.0.2.1", "--port", "80", "--time", "yesterday"),
        ("--address", "192.0.2.1", "--port", "80", "--time", "2026-03-01T12:00:00"),
        ("--host", "192.0.2.1"),
    ],
)
def test_what_is_no_question_is_a_usage_error(config, arguments):
    code, _, err = who(config, *arguments)
    assert code == 2
    assert err


def test_the_configuration_of_these_tests_is_right():
    loads(CONFIG)
