"""The commands that list: filters, fields, completion, rates."""

import json
from itertools import count

import pytest
import typer.main
from typer._completion_classes import BashComplete

from nat64d.cli import listing_commands
from nat64d.cli.app import app
from nat64d.control import output as text
from nat64d.control.listings import BY_NAME
from tests.nat64d.fake_gateway import counter, session
from tests.nat64d.test_cli import LISTS, gateway, path, run

__all__ = ["gateway", "path"]


def test_mappings(path):
    assert run("mappings", "--socket", path).stdout == (
        "KIND  PROTOCOL  IPV6              PORTS  IPV4          PORTS  SOURCE\n"
        "eam   -         2001:db8:2::/120  -      192.0.2.0/24  -      api\n"
    )


def test_services_at_a_glance(path):
    assert run("services", "--socket", path).stdout == (
        "SERVICE  PROTOCOLS  IPV4          PORT  READY  ENDPOINTS  SESSIONS  FLOWS  REFUSED  UNPINNED  PROBLEM\n"
        "web      tcp,udp    203.0.113.80  80        1          2         7    100        3         2  "
        "of its 2 endpoints [2001:db8:2::1]:8080 does not serve: HTTP 503\n"
    )


def test_services_as_json_are_endpoints_with_and_without_the_option(path):
    with_option, without = (run("services", "--socket", path, "--json", *more).stdout for more in (["--endpoints"], []))
    assert with_option == without
    assert [json.loads(line)["ipv6"] for line in without.splitlines()] == ["2001:db8:2::1", "2001:db8:2::2"]


def test_endpoints_of_services(path):
    assert run("services", "--endpoints", "--socket", path).stdout == (
        "SERVICE  PROTOCOL  IPV4          PORT  ENDPOINT       PORT  WEIGHT  SESSIONS  STATE  WHY\n"
        "web      tcp       203.0.113.80  80    2001:db8:2::1  8080       2         7  down   HTTP 503\n"
        "web      tcp       203.0.113.80  80    2001:db8:2::2  8080       1         7  up     -\n"
    )


@pytest.mark.parametrize("name", LISTS)
def test_fields_are_columns_of_their_own(path, name):
    fields = BY_NAME[name].fields[1::-1]
    result = run(name, "--socket", path, "--fields", ",".join(fields), "--limit", "1")
    heading, row = result.stdout.splitlines()
    assert heading.split() == [field.upper() for field in fields]
    assert len(row.split()) == 2
    as_json = run(name, "--socket", path, "--fields", ",".join(fields), "--limit", "1", "--json").stdout
    assert list(json.loads(as_json)) == list(fields)


def test_a_field_that_there_is_not_is_a_usage_error_that_names_the_known(path):
    result = run("pools", "--socket", path, "--fields", "x")
    assert result.exit_code == 2
    assert "no field x, expected addresses, ports, protocol" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("sessions", "--sta"), {"--state"}),
        (("sessions", "--state", "V4_FIN"), {"V4_FIN_RCV", "V4_FIN_V6_FIN_RCV"}),
        (("bib", "--proto", ""), {"tcp", "udp", "icmp"}),
        (("pools", "--fields", "used,fu"), {"used,fullest", "used,full"}),
        (("counters", "--fo"), {"--follow"}),
    ],
)
def test_a_shell_completes_options_and_their_words(words, offered):
    command = typer.main.get_command(app)
    completed = BashComplete(command, {}, "nat64d", "_NAT64D_COMPLETE").get_completions(list(words[:-1]), words[-1])
    assert {item.value for item in completed} == offered


def test_a_shell_completes_services_that_the_daemon_has(path):
    def completed(*words):
        shell = BashComplete(typer.main.get_command(app), {}, "nat64d", "_NAT64D_COMPLETE")
        return [item.value for item in shell.get_completions(["sessions", *words, "--service"], "w")]

    assert completed("--socket", str(path)) == ["web"]
    assert completed("--socket", f"{path}.none") == []


def test_counters_follow_prints_what_is_counted_from_now_on(path, gateway, monkeypatch):
    passed = count(100, 100)

    def counters():
        return [counter("6to4", "translated", next(passed), "7915", "Translated and written.")]

    monkeypatch.setattr(gateway, "counters", counters)
    result = run("counters", "--socket", path, "--follow", "--interval", "0.1", "--times", "2", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert (row["direction"], row["verdict"]) == ("6to4", "translated")
        assert row["octets_per_second"] > row["packets_per_second"] > 0


def test_a_rate_is_what_was_counted_in_a_second():
    before, after = ({("x",): {"verdict": "x", "packets": n, "octets": 10 * n, "help": ""}} for n in (7, 107))
    (row,) = listing_commands._rates(before, after, 4.0)
    assert row.pop("time") > 0
    assert row == {"verdict": "x", "packets_per_second": 25.0, "octets_per_second": 250.0}
    assert list(listing_commands._rates(after, after, 4.0)) == []
    assert list(listing_commands._rates(after, before, 4.0)) == []  # the daemon began anew


def test_rates_have_columns_of_their_own(path):
    packets = {"time": 0, "direction": "6to4", "verdict": "x", "packets_per_second": 1.5, "octets_per_second": 150.0}
    queries = {"time": 0, "outcome": "cached", "queries_per_second": 2.0}
    assert [text.rate(row).split()[1:] for row in (packets, queries)] == [
        ["6to4", "x", "1.5", "150.0"],
        ["-", "cached", "2.0", "-"],
    ]
    assert len(text.rate(packets)) == len(text.rate(queries))


def test_filters_are_handed_on(path):
    for options, rows in (
        (("--proto", "udp"), 1),
        (("--host6", "2001:db8::/64"), 2),
        (("--host4", "192.0.2.81"), 0),
        (("--mapped4", "203.0.113.0/24", "--limit", "1"), 1),
    ):
        assert run("sessions", "--socket", path, "--json", *options).stdout.count("\n") == rows, options
    assert run("bib", "--socket", path, "--json", "--proto", "udp").stdout == ""


def test_sessions_with_what_they_have_carried(path, gateway):
    carried = {"packets_6to4": 2, "octets_6to4": 152, "packets_4to6": 1, "octets_4to6": 1500}
    gateway.session_rows = lambda: iter((session(1) | carried, session(2, "udp")))
    heading, *rows = run("sessions", "--socket", path).stdout.splitlines()
    assert heading.split()[5:] == ["EXPIRES", "PACKETS_6TO4", "OCTETS_6TO4", "PACKETS_4TO6", "OCTETS_4TO6"]
    assert [row.split()[6:] for row in rows] == [["2", "152", "1", "1500"], ["-"] * 4]
