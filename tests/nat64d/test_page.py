"""The page as it is served: from here only, nothing from elsewhere, and no more on the monitoring listener than it may
say. tests/e2e/test_page.py looks at it in a browser."""

import asyncio
import json
import re
from http.client import HTTPConnection
from importlib.resources import files

import pytest

from nat64d.control.history import KEPT, Recorder, Totals
from nat64d.control.page.routes import FILES, PAGE
from tests.nat64d.fake_gateway import FakeGateway, serving, standing

FOLDER = files("nat64d.control.page")
TEXTS = {name: FOLDER.joinpath(name).read_text("utf-8") for _, name, _ in FILES}


@pytest.fixture
def gateway():
    return FakeGateway()


@pytest.fixture
def address(gateway, tmp_path):
    with serving(gateway, tmp_path / "run" / "api.sock", "127.0.0.1:0") as server:
        yield server.http


def got(address, path, **headers):
    """Status, headers and body."""
    connection = HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(("path", "name", "media"), FILES, ids=[name for _, name, _ in FILES])
def test_a_file_of_the_page_is_served_and_may_load_only_from_here(address, path, name, media):
    status, headers, body = got(address, path)
    assert (status, headers.get_content_type(), body.decode()) == (200, media, TEXTS[name])
    rules = dict(rule.strip().split(" ", 1) for rule in headers["Content-Security-Policy"].split(";"))
    assert rules["default-src"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"


def test_what_the_page_names_is_served():
    served = {route.path.removeprefix("/") for route in PAGE}
    named = set(re.findall(r'(?:src|href)="([^"#]+)"', TEXTS["index.html"]))
    for name, text in TEXTS.items():
        if name.endswith(".js"):
            named |= {f"page/{imported}" for imported in re.findall(r'from "\./([^"]+)"', text)}
    assert named <= served


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_comes_from_elsewhere_and_data_never_becomes_markup(name):
    text = TEXTS[name].replace("http://www.w3.org/2000/svg", "").replace("http://localhost:6464/", "")
    assert not re.search(r"https?:|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|style=|onclick", text)


def test_the_summary_counts_what_passed_and_what_was_dropped(address):
    status, _, body = got(address, "/page/summary.json")
    summary = json.loads(body)
    assert (status, summary["state"], summary["version"]) == (200, "ready", "1.2.3")
    totals = Totals(*summary["totals"])
    assert (totals.packets_6to4, totals.packets_4to6, totals.dropped, totals.sessions) == (12, 0, 3, 2)
    assert (totals.octets_6to4, totals.octets_4to6) == (1200, 0)
    verdicts = [(row["direction"], row["verdict"], row["packets"]) for row in summary["counters"]]
    assert verdicts == [("6to4", "translated", 12), ("4to6", "hop_limit_expired", 3)]
    assert [row["event"] for row in summary["events"]] == ["bib_created"]
    assert [row["outcome"] for row in summary["queries"]] == ["cached", "synthesised"]
    assert [row["used"] for row in summary["pools"]] == [1, 0]
    assert summary["services"] == [
        {"service": "web", "ready": 1, "endpoints": 2, "sessions": 7, "flows": 100, "refused": 3}
    ]


def test_it_is_there_before_the_gateway_translates(address, gateway):
    gateway.state = "compiling"
    status, _, body = got(address, "/page/summary.json")
    summary = json.loads(body)
    assert (status, summary["state"], summary["counters"], summary["pools"]) == (200, "compiling", [], [])
    assert (summary["services"], summary["protocols"]) == ([], {})


def test_the_monitoring_listener_names_conditions_but_not_what_is_in_their_sentences(address, gateway):
    gateway.standing = [standing("firewall")]
    gateway.warnings = ["192.0.2.1 is wrong"]
    summary = json.loads(got(address, "/page/summary.json")[2])
    assert [row["condition"] for row in summary["conditions"]] == ["firewall"]
    assert (summary["whole"], summary["sentences"], summary["warnings"]) == (False, [], [])


@pytest.mark.parametrize("path", ["/v1/sessions", "/v1/hosts", "/v1/explain", "/v1/status"])
def test_what_names_hosts_is_not_on_the_monitoring_listener(address, path):
    assert got(address, path)[0] == 404


FOREIGN = {
    "another site": ("http://example.com", 403),
    "another port": ("http://127.0.0.1:1", 403),
    "a file": ("null", 403),
}


@pytest.mark.parametrize(("origin", "status"), FOREIGN.values(), ids=FOREIGN)
def test_pages_of_others_are_refused(address, origin, status):
    answered, _, body = got(address, "/page/summary.json", Origin=origin)
    assert answered == status
    assert json.loads(body)["error"] == f"Origin {origin}: only pages of this listener may ask it"


def test_the_page_itself_may_ask(address):
    assert got(address, "/page/summary.json", Origin=f"http://{address}")[0] == 200


async def at_once(function, *arguments):
    return function(*arguments)


def test_the_history_reaches_back_one_hour():
    recorder = Recorder(FakeGateway(), at_once)

    async def an_hour():
        for _ in range(KEPT + 1):
            await recorder.take()

    asyncio.run(an_hour())
    history = recorder.history()
    assert history["columns"] == list(Totals._fields)
    assert len(history["rows"]) == KEPT
    assert KEPT * history["every"] == 3600
    assert history["rows"][0] == [3723.25, 12, 0, 1200, 0, 3, 2]
