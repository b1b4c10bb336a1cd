"""config/grafana/alerts.yaml: every alert fires when what it is about happens, no other does, and none beforehand.

How long an expression must hold (`for`) is Prometheus' business and not looked at.
"""

import re
import shutil
import subprocess
from collections.abc import Callable

import pytest
import typer.main

from nat64d.cli.app import app
from tests import pages
from tests.architecture import ROOT
from tests.monitoring import alerts
from tests.monitoring.alerts import ALERTS, Alert
from tests.monitoring.daemon import Daemon
from tests.monitoring.promql import NAME, evaluate, parse, selectors
from translator.tables.tables import BLOCKS, NEVER_USED
from translator.verdict import Event, Verdict

pytestmark = pytest.mark.no_cover  # much computing, of code that others measure

FILE = ROOT / "config/grafana/alerts.yaml"
TEMPLATE = re.compile(r"\{\{ *(\S+) *\}\}")
OTHER_COMMANDS = {"journalctl", "ip"}


def by_name(alert: Alert) -> str:
    return alert.name


def is_down(daemon: Daemon) -> None:
    daemon.is_up = False


def starts(daemon: Daemon) -> None:
    daemon.live.state = "loading"


def warns(daemon: Daemon) -> None:
    daemon.names.problems = ["[dns64] listen = [::]:53: in use."]


def was_damaged(daemon: Daemon) -> None:
    daemon.live.restored = {"kept": 5, "damaged": 3}


def is_overrun(daemon: Daemon) -> None:
    daemon.link_dropped += 100


def fails_names(daemon: Daemon) -> None:
    daemon.names.queries["failed"] += 200


def loses_its_servers(daemon: Daemon) -> None:
    daemon.names.asked += 1000
    daemon.names.failed += 900


def restarts_a_process(daemon: Daemon) -> None:
    daemon.names.counts["dns64_process_restarted"] += 1


def hands_out_blocks(daemon: Daemon) -> None:
    daemon.nat64.tables.free[BLOCKS, NEVER_USED] = 15  # of 16


def ends_in(verdict: Verdict) -> Callable[[Daemon], None]:
    return lambda daemon: daemon.drop(verdict)


def counts(event: Event) -> Callable[[Daemon], None]:
    return lambda daemon: daemon.count(event)


# The alert, and what happens between every two scrapes. Where packets cannot pass, the daemon is not ready either.
SITUATIONS: list[tuple[str, set[str], Callable[[Daemon], None]]] = [
    ("Nat64dDown", set(), is_down),
    ("Nat64dDown", set(), starts),
    ("Nat64dBlocked", {"Nat64dDown"}, lambda daemon: daemon.stand(blocks=True)),
    ("Nat64dCondition", set(), lambda daemon: daemon.stand(blocks=False)),
    ("Nat64dWarnings", set(), warns),
    ("Nat64dRestarts", set(), Daemon.restart),
    ("Nat64dSessionsDamaged", set(), was_damaged),
    ("Nat64dPoolNearlyFull", set(), Daemon.fill_pool),
    ("Nat64dBlocksNearlyFull", set(), hands_out_blocks),
    ("Nat64dPoolFull", set(), ends_in(Verdict.POOL4_EXHAUSTED)),
    ("Nat64dPoolAddressFull", set(), ends_in(Verdict.PAIRED_FULL)),
    ("Nat64dNoPool", set(), ends_in(Verdict.NO_POOL4)),
    ("Nat64dSessionsNearlyFull", set(), Daemon.fill_sessions),
    ("Nat64dSessionsFull", set(), ends_in(Verdict.SESSION_TABLE_FULL)),
    ("Nat64dHostLimit", set(), ends_in(Verdict.HOST_PORTS)),
    ("Nat64dHostLimit", set(), ends_in(Verdict.HOST_SESSIONS)),
    ("Nat64dHostLimit", set(), ends_in(Verdict.HOST_RATE)),
    ("Nat64dSubscriberShare", set(), ends_in(Verdict.SUBSCRIBER_SESSIONS)),
    ("Nat64dSubscriberShare", set(), ends_in(Verdict.SUBSCRIBER_PORTS)),
    ("Nat64dUnansweredFlood", set(), counts(Event.PORT_DISPLACED)),
    ("Nat64dInboundFlood", set(), counts(Event.UNPINNED)),
    ("Nat64dServiceDown", set(), Daemon.lose_endpoints),
    ("Nat64dServiceClash", set(), Daemon.clash),
    ("Nat64dServiceUnpinned", set(), Daemon.crowd),
    ("Nat64dTooSlow", set(), is_overrun),
    ("Nat64dExpiryLags", set(), Daemon.fall_behind),
    ("Nat64dDeviceRejects", set(), counts(Event.WRITE_FAILED)),
    ("Nat64dLogLost", set(), Daemon.lose_entries),
    ("Nat64dTooBigLimited", set(), counts(Event.TOO_BIG_LIMITED)),
    ("Nat64dNamesFail", set(), fails_names),
    ("Nat64dNameServersFail", set(), loses_its_servers),
    ("Nat64dNameServerRestarts", set(), restarts_a_process),
]


def firing(daemon: Daemon) -> set[str]:
    return {alert.name for alert in ALERTS if evaluate(alert.expr, daemon.scrapes)}


def test_no_alert_fires_while_all_is_well(daemon):
    for _ in range(3):
        daemon.use()
        daemon.scrape()
        assert firing(daemon) == set()


@pytest.mark.parametrize(("name", "besides", "happens"), SITUATIONS, ids=lambda value: getattr(value, "__name__", None))
def test_an_alert_fires_when_what_it_is_about_happens_and_no_other_does(daemon, name, besides, happens):
    for _ in range(3):
        daemon.use()
        happens(daemon)
        daemon.scrape()
    if not daemon.is_up or daemon.live.state == "loading":  # nothing but that is known of it
        assert firing(daemon) == {"Nat64dDown"}
        return
    assert firing(daemon) == {name} | besides


def test_every_alert_has_a_situation():
    assert {name for name, _, _ in SITUATIONS} == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_an_expression_is_about_series_that_there_are(busy, alert):
    """Without what is compared; a name or a label that is misspelt selects nothing, and the alert never fires."""
    known = [dict(labels) for labels in busy.scrapes[-1][1]]
    for selector in selectors(alert.expr):
        assert [labels for labels in known if labels[NAME] == selector.name], selector.name
        for matcher in selector.matchers.matchers:
            for value in matcher.value.split("|"):
                found = [one for one in known if one[NAME] == selector.name and one.get(matcher.name) == value]
                assert found, f"{selector.name} with {matcher.name}={value}"


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_a_message_uses_labels_that_its_alert_has(busy, alert):
    """Those of the selector on the left, as no expression takes any away."""
    left = selectors(alert.expr)[0]
    labels = next(dict(labels) for labels in busy.scrapes[-1][1] if dict(labels)[NAME] == left.name)
    words = TEMPLATE.findall(alert.summary + alert.description)
    assert {word.removeprefix("$labels.") for word in words if word != "$value"} <= labels.keys()
    assert all(word == "$value" or word.startswith("$labels.") for word in words)


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_an_alert_names_commands_that_there_are_and_a_place_in_the_documentation(alert):
    root = typer.main.get_command(app)
    assert alert.commands
    for words in (command.split() for command in alert.commands):
        if words[0] == "nat64d":
            command = root
            while hasattr(command, "commands"):
                command = command.commands[words.pop(1)]
            known = {name for option in command.params for name in option.opts}
            assert {word for word in words if word.startswith("-")} <= known
        else:
            assert words[0] in OTHER_COMMANDS
    page, _, anchor = alert.runbook.partition("#")
    assert anchor in pages.anchors(ROOT / page)


def test_the_file_is_made_from_the_table():
    assert FILE.read_text("utf-8") == alerts.rules()


def test_the_file_says_to_prometheus_what_the_table_says():
    import yaml

    (group,) = yaml.safe_load(FILE.read_text("utf-8"))["groups"]
    assert group.keys() == {"name", "rules"}
    assert len(group["rules"]) == len({rule["alert"] for rule in group["rules"]}) == len(ALERTS)
    for rule, alert in zip(group["rules"], ALERTS, strict=True):
        assert parse(rule["expr"])
        assert re.fullmatch(r"\d+m|0m", rule.get("for", "0m"))
        assert rule["labels"] == {"severity": alert.severity}
        assert alert.severity in {"critical", "warning"}
        assert rule["annotations"] == {
            "summary": f"{alert.summary}, {{{{ $labels.instance }}}}",
            "description": alert.description,
            "runbook_url": alert.runbook,
        }
        assert {**rule, "for": alert.wait} == {**rule, "for": rule.get("for", "")}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: it comes with all of Prometheus")
def test_promtool_accepts_the_file():
    done = subprocess.run(["promtool", "check", "rules", FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
