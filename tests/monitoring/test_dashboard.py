"""config/grafana/dashboard.json: each expression has a value where there is one to show, with what its legend names."""

import json
import re

import pytest

from tests.architecture import ROOT
from tests.monitoring import dashboard
from tests.monitoring.dashboard import ROWS, WIDTH
from tests.monitoring.promql import NAME, evaluate, selectors

FILE = ROOT / "config/grafana/dashboard.json"
PANELS = [panel for panel in json.loads(FILE.read_text("utf-8"))["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
LEGEND = re.compile(r"\{\{(\w+)\}\}")


def filled(expression: str, instance: str = ".*", interval: str = "5m") -> str:
    """What Grafana sends to Prometheus."""
    return expression.replace("$__rate_interval", interval).replace("$instance", instance)


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_expression_has_the_values_that_its_legend_tells_apart(busy, title, target):
    result = evaluate(filled(target["expr"]), busy.scrapes)
    assert result, f"{title}: nothing to show"
    wanted = LEGEND.findall(target["legendFormat"])
    told = [tuple(dict(labels).get(name) for name in wanted) for labels in result]
    assert all(None not in names for names in told), f"{title}: a label that there is not"
    assert len(set(told)) == len(told), f"{title}: two lines with one legend"


@pytest.mark.parametrize(("title", "target"), TARGETS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_expression_shows_the_gateways_that_are_chosen_and_no_others(busy, title, target):
    assert not evaluate(filled(target["expr"], instance="gw2:6464"), busy.scrapes), title
    for selector in selectors(filled(target["expr"])):
        assert "instance" in {matcher.name for matcher in selector.matchers.matchers}


def test_the_values_are_those_of_the_daemon(busy):
    """By way of example: a rate, a share and a sum, as they are worked out by hand."""
    expressions = {title: filled(target["expr"]) for title, target in TARGETS}

    def only(title, **labels):
        rows = evaluate(expressions[title], busy.scrapes)
        (value,) = [value for row, value in rows.items() if labels.items() <= dict(row).items()]
        return value

    assert only("Drops by verdict", verdict="pool4_exhausted") == pytest.approx(20 / 120)
    assert only("Lost before nat64d saw them") == pytest.approx(200 / 120)
    assert only("Answered from the cache") == pytest.approx(0.5)
    assert only("Ports in use", protocol="tcp") == pytest.approx(1 / 32)
    assert only("Sessions by protocol and state", protocol="udp", state="ANSWERED") == 1


def test_every_metric_of_ours_is_shown_or_says_no_more_than_others(busy):
    """What is left out: names of versions, totals that panels have in parts or as shares."""
    shown = {selector.name for _, target in TARGETS for selector in selectors(filled(target["expr"]))}
    there = {dict(labels)[NAME] for labels in busy.scrapes[-1][1]}
    ours = {name for name in there if name.startswith("nat64d_") and not name.endswith(("_created", "_sum", "_count"))}
    assert ours - shown == {
        "nat64d_build_info",
        "nat64d_bib_entries",
        "nat64d_queue_octets_total",
        "nat64d_dns64_server_answered_total",
        "nat64d_dns64_cache_entries",
    }


def test_the_file_is_made_from_the_table():
    assert FILE.read_text("utf-8") == dashboard.document()


def test_no_panel_lies_on_another_one():
    taken = set()
    for panel in json.loads(FILE.read_text("utf-8"))["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert place["x"] + place["w"] <= WIDTH
        assert not cells & taken, panel["title"]
        taken |= cells


def test_panels_and_targets_have_names_of_their_own():
    document = json.loads(FILE.read_text("utf-8"))
    assert document["schemaVersion"] >= 37
    numbers = [panel["id"] for panel in document["panels"]]
    assert len(set(numbers)) == len(numbers) == sum(len(panels) + 1 for _, panels in ROWS)
    for panel in PANELS:
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert [variable["name"] for variable in document["templating"]["list"]] == ["datasource", "instance"]
