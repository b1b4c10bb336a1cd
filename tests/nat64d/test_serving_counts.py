"""What is counted of each service, where its flows begin; it goes on over a reload, by the name of the service."""

import pytest

from nat64d.control.filters import FilterError, Filters
from nat64d.control.listings import BY_NAME
from nat64d.control.measured import ServiceUse
from nat64d.control.metrics import GatewayCollector, services
from nat64d.gateway import flush as flushing
from nat64d.gateway import state
from nat64d.gateway.flush import flush
from nat64d.gateway.serving import OTHERS, REFUSALS, uses_of
from nat64d.gateway.takeover import carry_counts
from tests.case import BEGIN
from tests.nat64d.test_endpoints import Known, played
from tests.nat64d.test_measure import live_of
from tests.packets import HOST4
from tests.sessions import Sessions
from tests.translator.services import OTHER_VIP, VIP, WEB, E, Serving, endpoints, service, tcp4, tcp6, udp6
from translator.verdict import Verdict

BOTH = service("both", f"{VIP}:53", endpoints(53, 1, 2, 3), ["tcp", "udp"])
ONE, SAME = (service(name, f"{vip}:80", endpoints(8080, 1)) for name, vip in (("one", VIP), ("same", OTHER_VIP)))


def of(nat64: Serving, name: str) -> ServiceUse:
    (found,) = [use for use in uses_of(nat64.tables, ()) if use.service == name]
    return found


def refused(nat64: Serving, name: str) -> dict[str, int]:
    return {verdict: count for verdict, count in of(nat64, name).refused.items() if count}


def test_a_flow_is_counted_once_by_the_packet_that_opens_its_session():
    nat64 = Serving(WEB, BOTH)
    there = nat64.client(1)
    nat64.answer(there, 1)
    nat64.client(1, "A")
    assert (of(nat64, "web").flows, of(nat64, "web").sessions) == (1, 1)
    nat64.client(2, "A")  # another gateway has opened it
    nat64.client(3, "R")  # opens nothing
    assert (of(nat64, "web").flows, of(nat64, "web").sessions) == (2, 2)
    assert (of(nat64, "both").flows, of(nat64, "both").sessions) == (0, 0)


def test_a_service_of_two_protocols_counts_both_and_its_endpoints_once():
    nat64 = Serving(WEB, BOTH)
    nat64.datagram(1)
    nat64.reached(tcp4(1, 53))
    assert of(nat64, "both") == ServiceUse("both", 2, 2, 0, of(nat64, "web").refused, 3, 0, 0)


def test_what_an_endpoint_asks_and_answers_without_session_is_none_of_its_flows():
    nat64 = Serving(WEB)
    nat64.send(udp6(E(1), 8080, 53))
    nat64.send(tcp6(E(1), 8080, 9, "SA"))
    assert of(nat64, "web")[1:4] == (0, 0, 0)


def test_sessions_are_those_that_are_open(monkeypatch):
    nat64 = Serving(WEB)
    for module in (state, flushing):
        monkeypatch.setattr(module, "now", lambda: round(BEGIN * 1000))
    for port in range(1, 6):
        nat64.client(port)
    live = live_of(nat64)
    live.settings = nat64.settings
    assert flush(live, Filters(service="web", port=2)) == 1
    assert (of(nat64, "web").flows, of(nat64, "web").sessions) == (5, 4)


@pytest.mark.parametrize(
    ("configured", "sent", "verdict"),
    [
        ({"service": [WEB | {"sources": ["192.0.2.0/24"]}]}, tcp4(7, 80), "source_range"),
        ({"service": [WEB | {"endpoints": []}]}, tcp4(7, 80), "no_endpoint"),
        ({"service": [WEB], "translation": {"denylist4": [f"{HOST4}/32"]}}, tcp4(7, 80), "denied_address"),
        (
            {"service": [WEB], "pool6": "64:ff9b::/96", "strict_well_known_prefix": True},
            tcp4(7, 80, src="10.1.2.3"),
            "non_global_address",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_packet_that_is_not_let_in_is_counted_by_its_verdict(configured, sent, verdict):
    nat64 = Serving(**configured)
    for _ in range(3):
        assert nat64.send(sent).verdict == Verdict[verdict.upper()]
    assert refused(nat64, "web") == {verdict: 3}
    assert of(nat64, "web").flows == 0


def test_a_clash_is_counted_for_the_service_that_refuses():
    nat64 = Serving(ONE, SAME)
    nat64.client()
    nat64.send(tcp4(7, 80, vip=OTHER_VIP))
    assert (refused(nat64, "one"), refused(nat64, "same")) == ({}, {"service_clash": 1})


def test_a_port_of_nobody_is_counted_for_no_service():
    nat64 = Serving(WEB)
    assert nat64.send(tcp4(7, 81)).verdict == Verdict.CLOSED_PORT
    assert refused(nat64, "web") == {}


def test_packets_without_session_are_counted_as_unpinned():
    nat64 = Serving(WEB, limits={"sessions": 64})
    for port in range(1, 31):
        nat64.client(port)
    assert of(nat64, "web")[1:4] == (16, 16, 14)


def test_endpoints_are_counted_by_what_they_get():
    nat64 = Serving(service("web", f"{VIP}:80", endpoints(80, 1, 2, 3, 4, e2=0)), BOTH)
    assert of(nat64, "web")[-3:] == (3, 1, 0)
    nat64.tables.members.weight[2:4] = -1
    assert of(nat64, "web")[-3:] == (1, 1, 2)
    assert of(nat64, "both")[-3:] == (3, 0, 0)


def test_with_panic_all_get_flows_and_none_is_ready():
    def body(known: Known) -> None:
        def standing() -> tuple[int, ...]:
            known.weights()
            return uses_of(known.tables, known.endpoints.lost)[0][-3:]

        assert standing() == (2, 1, 0)
        for number in (1, 2, 3):
            known.answers(number, "refused")
        assert standing() == (0, 0, 3)
        assert known.tables.members["weight"][:3].tolist() == [3, 1, 0]
        known.answers(1, None)
        assert standing() == (1, 0, 2)

    played(body, health="health = { fall = 1, rise = 1, panic = true }")


def summary(live, **given):
    rows = list(live.service_summary(Filters(**given)))
    assert all(tuple(row) == BY_NAME["services/summary"].fields for row in rows)
    return [(row["service"], row["ready"], row["endpoints"], row["problem"]) for row in rows]


def test_a_service_at_a_glance_is_counted_and_says_what_is_wrong():
    nat64 = Serving(
        WEB, BOTH, service("none", f"{VIP}:9", []), service("idle", f"{OTHER_VIP}:9", endpoints(80, 1, e1=0))
    )
    nat64.client(1)
    nat64.send(tcp4(7, 9))
    live = live_of(nat64)
    web, both = ("web", 3, 3, None), ("both", 3, 3, None)
    none, idle = ("none", 0, 0, "it has no endpoint"), ("idle", 0, 1, "none of its endpoints is ready")
    assert summary(live) == [web, both, none, idle]
    assert summary(live, service="both") == [both]
    assert summary(live, proto="udp") == [both]
    assert summary(live, port=53) == [both]
    (first, *_, third, _) = live.service_summary(Filters())
    assert (first["protocols"], first["ipv4"], first["ipv4_ports"]) == (["tcp"], VIP, "80")
    assert (first["sessions"], first["flows"], first["refused"], third["refused"]) == (1, 1, 0, 1)
    with pytest.raises(FilterError):
        summary(live, service="x")


def reloaded(nat64: Serving, *services_: dict) -> Serving:
    after = Serving(*services_)
    carry_counts(nat64.tables, after.tables, (0, 0), (0, 0))
    return after


def test_counts_go_on_over_a_reload_by_name():
    nat64 = Serving(WEB, BOTH, SAME | {"sources": ["10.0.0.0/8"]})
    nat64.client(1)
    nat64.send(tcp4(7, 80, vip=OTHER_VIP))
    before = {use.service: use for use in uses_of(nat64.tables, ())}
    other = service("other", "203.0.113.9:1", [])
    nat64 = reloaded(nat64, other, SAME, WEB | {"endpoints": endpoints(8080, 9)})
    assert (of(nat64, "other").flows, refused(nat64, "other")) == (0, {})
    assert of(nat64, "web").flows == before["web"].flows == 1
    assert refused(nat64, "same") == {"source_range": 1}
    nat64 = reloaded(reloaded(nat64, other), WEB)
    assert of(nat64, "web").flows == 0  # it was gone meanwhile


def test_counts_go_on_where_members_change_in_place():
    """Connections of an endpoint that has left are sessions of its service still; a service of another name begins."""
    nat64 = Serving(WEB, BOTH)
    for port in range(1, 8):
        nat64.client(port)
    nat64.change(WEB | {"endpoints": endpoints(8080, 9)}, BOTH)
    assert of(nat64, "web")[1:4] == (7, 7, 0)
    assert of(nat64, "web")[-3:] == (1, 0, 0)
    nat64.change(WEB | {"name": "other"}, BOTH)
    assert [use.service for use in uses_of(nat64.tables, ())] == ["both", "other"]
    assert (of(nat64, "other").flows, of(nat64, "other").ready) == (0, 3)
    assert of(nat64, "both").ready == 3


def test_a_front_that_is_changed_while_it_is_read_fails_no_scrape():
    nat64 = Serving(WEB)
    nat64.tables.fronts.first[0] = len(nat64.tables.members) - 1
    assert sum(of(nat64, "web")[-3:]) == 3


def test_of_many_services_the_last_are_one(monkeypatch):
    monkeypatch.setattr(state, "SHOWN", 3)
    names = {f"s{n}": service(f"s{n}", f"{VIP}:{n}", endpoints(80, *range(1, n + 1))) for n in range(1, 6)}
    nat64 = Serving(*names.values())
    for name, one in names.items():
        for port in range(int(name[1:])):
            nat64.send(tcp4(1000 + port, int(one["ipv4"].partition(":")[2])))
    nat64.tables.refused[:5, Verdict.NO_ENDPOINT] = [1, 10, 100, 1000, 10000]
    uses = live_of(nat64).measured().services
    assert [(use.service, use.sessions, use.flows, use.ready) for use in uses] == [
        ("s1", 1, 1, 1),
        ("s2", 2, 2, 2),
        (OTHERS, 12, 12, 12),
    ]
    assert uses[-1].refused["no_endpoint"] == 11100
    assert len(uses_of(nat64.tables, (), 5)) == 5
    samples = [sample for family in services(uses) for sample in family.samples]
    assert {sample.labels["service"] for sample in samples} == {"s1", "s2", OTHERS}


def test_a_scrape_has_them_without_a_lock():
    nat64 = Serving(WEB, BOTH)
    nat64.client(1)
    nat64.send(tcp4(7, 9))
    live = live_of(nat64)
    nat64.tables.lock[0] = 1
    families = {family.name: family.samples for family in GatewayCollector(live).collect()}
    nat64.tables.lock[0] = 0
    found = {(sample.name, *sample.labels.values()): sample.value for one in families.values() for sample in one}
    assert found["nat64d_service_sessions", "web"] == found["nat64d_service_flows_total", "web"] == 1
    assert found["nat64d_service_members", "both", "ready"] == 3
    assert len(families["nat64d_service_refused"]) == 2 * len(REFUSALS)
    per_service = [sample for name in families if "service" in name for sample in families[name]]
    assert {sample.labels["service"] for sample in per_service} == {"web", "both"}


def test_without_services_there_are_no_metrics_of_them():
    assert uses_of(Sessions().tables, ()) == []
    assert list(services([])) == []
