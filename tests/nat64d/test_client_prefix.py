"""Prefixes of clients of services: in the configuration, on the host, over restarts and reloads, in explanations."""

from hashlib import sha256
from ipaddress import IPv4Address, IPv6Network
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nat64d.config.client_prefixes import CLIENT_PREFIXES
from nat64d.config.errors import ConfigError
from nat64d.config.load import loads
from nat64d.config.settings import settings_of
from nat64d.config.warnings import warnings
from nat64d.control.filters import Filters
from nat64d.dataplane.code import COMPILED_CODE
from nat64d.dns64.service.plan import plan
from nat64d.gateway import state_file, takeover
from nat64d.gateway.state import Live
from nat64d.gateway.state_file import take_up
from nat64d.gateway.state_header import FIELDS, PREFIXES, header_in
from nat64d.gateway.takeover import change_over, prepare
from nat64d.host.wanted import networks6
from tests.case import BEGIN, engines_of
from tests.engines import Engines
from tests.listed import rows_of
from tests.nat64d.test_explain import steps_for, told
from tests.packets import HOST4, whole
from tests.translator.services import OTHER_VIP, VIP, Serving, ends4, tcp4
from tests.translator.test_client_prefix import ONE, TWO, answer, at6, out, says6, web
from translator.session.kept_prefixes import renumber, renumbered
from translator.session.log import Cause
from translator.session.sessions import end_session
from translator.tables.gateway import Gateway, new_worker
from translator.tables.layout import NONE, SESSION, records
from translator.verdict import Verdict

POOLED = 'pool6 = "64:ff9b::/96"\npool4 = [{ addresses = "192.0.2.0/30" }]\n'
SERVED = """
[[service]]
name = "{0}"
ipv4 = "203.0.113.80:{0}"
endpoints = ["[2001:db8:5::{1}]:8080"]
client_prefix = "{2}"
"""
ROWS = SERVED.format(80, 1, f"{TWO}/96") + SERVED.format(81, 1, f"{ONE}/96") + SERVED.format(82, 2, f"{TWO}/96")
EVERY = f'services = {{ client_prefix = "{ONE}/96" }}\n'


# ---- configuration


def test_prefixes_have_numbers_in_the_order_they_are_given():
    config = loads(POOLED + EVERY + ROWS + SERVED.format(83, 3, "64:ff9b::/96"))
    prefixes = [IPv6Network("64:ff9b::/96"), IPv6Network(f"{ONE}/96"), IPv6Network(f"{TWO}/96")]
    assert config.prefixes == tuple(prefixes)
    assert networks6(config) == prefixes
    assert [config.client_prefix(service) for service in config.service] == [prefixes[n] for n in (2, 1, 2, 0)]
    assert engines_rows(config) == [2, 1, 2, 0]
    assert loads(POOLED).prefixes == (prefixes[0],)


def engines_rows(config: Any) -> list[int]:
    tables = Engines(config, bytes(16)).tables()
    prefixes: list[int] = tables.fronts.prefix[tables.fronts.protocol != 0].tolist()
    assert [int(tables.bibs[row.bib].prefix) for row in tables.members[: len(prefixes)]] == prefixes
    return prefixes


def test_the_seed_follows_from_the_prefix_of_all_services():
    for text, seed in ((EVERY, f"{ONE}/96"), ("", "64:ff9b::/96"), ('services = { seed = "x" }\n', "x")):
        settings = settings_of(loads(POOLED + text + ROWS), bytes(16))
        assert settings.seed.astype("<i8").tobytes() == sha256(seed.encode()).digest()[:16]


def test_so_many_there_may_be_and_no_more():
    rows = "".join(SERVED.format(n, 1, f"2001:db8:c:{n:x}::/96") for n in range(1, CLIENT_PREFIXES + 3))
    loads(POOLED + rows[: rows.rindex("[[service]]", 0, rows.rindex("[[service]]"))])
    assert PREFIXES == (CLIENT_PREFIXES + 1) * 24
    with pytest.raises(ConfigError) as caught:
        loads(POOLED + rows)
    (problem,) = caught.value.problems
    assert problem.complaint == f"expected at most {CLIENT_PREFIXES} prefixes of clients in all, beside pool6"


def test_who_may_not_be_a_client_is_said_while_services_exist():
    assert [one[:45] for one in warnings(loads(POOLED + SERVED.format(80, 1, "")))] == [
        "[[service]] writes its clients under pool6, a"
    ]
    assert warnings(loads(POOLED + EVERY + SERVED.format(80, 1, ""))) == []
    own = POOLED.replace("64:ff9b::", "2001:db8:64::") + SERVED.format(80, 1, "64:ff9b::/96")
    assert any(one.startswith("[[service]] writes its clients under client_prefix, a") for one in warnings(loads(own)))


def test_neither_dns64_nor_advertisements_know_it():
    with_it, without = (loads(POOLED + text + SERVED.format(80, 1, "") + "[dns64]\n") for text in (EVERY, ""))
    assert plan(with_it, [], []) == plan(without, [], [])


# ---- over restarts and reloads

PLAIN, IN_ONE, IN_TWO = web(), web(OTHER_VIP, ONE), web("203.0.113.82", TWO)
MOVED = web(OTHER_VIP, TWO)


def opened(nat64: Serving) -> None:
    """A connection of each service, from one port of a client."""
    for vip, prefix in ((VIP, "64:ff9b::"), (OTHER_VIP, ONE), ("203.0.113.82", TWO)):
        out(nat64, tcp4(7, 80, vip=vip))
        out(nat64, says6(prefix, answer()))


def prefixes_of(nat64: Serving) -> dict[str, str]:
    """Which address of its client an endpoint sees, by the address that the client knows."""
    rows = nat64.tables.sessions
    vips = [row["mapped4"] for row in rows_of(live_of(nat64).sessions(Filters()))]
    assert len(vips) == int(rows.live.sum())
    return {vip: out(nat64, tcp4(7, 80, "A", vip=vip)).src for vip in vips}


def live_of(nat64: Serving) -> Live:
    live = Live(nat64.config)
    live.settings, live.tables, live.state, live.code = nat64.settings, nat64.tables, "ready", COMPILED_CODE
    return live


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (state_file, takeover):
        monkeypatch.setattr(module, "now", lambda: round(BEGIN * 1000))


def reloaded(nat64: Serving, *services: dict[str, Any], **changes: Any) -> dict[str, int]:
    """Change over to other services; how many sessions have ended, by reason."""
    live = live_of(nat64)
    config = engines_of(service=list(services), forward=[], **changes).config
    outcome = change_over(live, prepare(live, config, True))
    assert live.settings is not None
    assert live.tables is not None
    nat64.gateway, nat64.config = Gateway(live.settings, live.tables, new_worker(0)), config
    return outcome.ended


def restarted(nat64: Serving, path: Path, *services: dict[str, Any], **changes: Any) -> dict[str, int]:
    """The same by a stop and a start."""
    config = engines_of(service=list(services), forward=[], state={"file": str(path)}, **changes).config
    engines = Engines(config, bytes(range(16)))
    tables, file = take_up(config, engines.settings, engines.tables(), lambda _: COMPILED_CODE)
    nat64.gateway, nat64.config = Gateway(engines.settings, tables, new_worker(0)), config
    file.close()
    return {fate: count for fate, count in file.fates.items() if count and fate != "kept"}


ALL = {VIP: at6("64:ff9b::"), OTHER_VIP: at6(ONE), "203.0.113.82": at6(TWO)}
# Services and other changes that follow PLAIN, IN_ONE, IN_TWO, whose connections go on, and how many end.
AFTER: dict[str, tuple[list[dict[str, Any]], dict[str, Any], dict[str, str], int]] = {
    "the same": ([PLAIN, IN_ONE, IN_TWO], {}, ALL, 0),
    "in another order": ([IN_TWO, PLAIN, IN_ONE], {}, ALL, 0),
    "a prefix more in front": ([PLAIN, IN_ONE, IN_TWO], {"services": {"client_prefix": "2001:db8:e::/96"}}, ALL, 0),
    "one is gone": ([PLAIN, IN_TWO], {}, {key: ALL[key] for key in (VIP, "203.0.113.82")}, 1),
    "its prefix is gone": ([PLAIN, web(OTHER_VIP), IN_TWO], {}, {key: ALL[key] for key in (VIP, "203.0.113.82")}, 1),
    "it has another one's prefix": ([PLAIN, MOVED, IN_TWO, web("203.0.113.83", ONE)], {}, ALL, 0),
    "pool6 is its prefix now": ([web(VIP, "64:ff9b::"), IN_ONE, IN_TWO], {"pool6": f"{ONE}/96"}, ALL, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", AFTER)
@pytest.mark.parametrize("how", ["reload", "reload with blocks", "restart"])
def test_sessions_keep_their_prefix_whatever_its_number(tmp_path, name, how):
    services, changes, kept, ended = AFTER[name]
    blocks = {"limits": {"port_block": 64}} if how == "reload with blocks" else {}
    path = tmp_path / "run" / "state"
    nat64 = Serving(PLAIN, IN_ONE, IN_TWO, **blocks)
    if how == "restart":
        restarted(nat64, path, PLAIN, IN_ONE, IN_TWO)
    opened(nat64)
    if how == "restart":
        told_ends = restarted(nat64, path, *services, **changes)
    else:
        told_ends = reloaded(nat64, *services, **changes, **blocks)
    assert sum(told_ends.values()) == ended, told_ends
    assert prefixes_of(nat64) == kept
    for vip, address in kept.items():
        back = whole(says6("", answer("A"), to=address))
        assert ends4(out(nat64, back)) == (vip, 80, HOST4, 7)


def test_a_service_that_has_another_prefix_now_opens_connections_under_that_one():
    nat64 = Serving(PLAIN, IN_ONE, IN_TWO)
    opened(nat64)
    reloaded(nat64, PLAIN, MOVED, web("203.0.113.83", ONE))
    assert out(nat64, tcp4(8, 80, vip=OTHER_VIP)).src == at6(TWO)
    assert out(nat64, tcp4(7, 80, "A", vip=OTHER_VIP)).src == at6(ONE)


def test_one_that_is_opened_again_under_another_prefix_during_a_reload_is_another_one():
    nat64 = Serving(PLAIN, IN_ONE, IN_TWO)
    opened(nat64)
    services = [PLAIN, MOVED, web("203.0.113.83", ONE)]
    reloaded(nat64, *services)
    live = live_of(nat64)
    config = engines_of(service=services, forward=[], limits={"per_host_ports": 9}).config
    prepared = prepare(live, config, True)
    assert prepared.tables is not None
    draft = takeover.begin(live, prepared.settings, prepared.tables)
    number = int(IPv4Address(OTHER_VIP))
    session = next(n for n, row in enumerate(nat64.tables.sessions) if row.live and row.mapped4 == number)
    end_session(nat64.gateway, round(BEGIN * 1000), session, int(Cause.FLUSHED))
    assert out(nat64, tcp4(7, 80, vip=OTHER_VIP)).src == at6(TWO)
    assert nat64.tables.sessions[session].live
    live.code.draft.catch_up(draft, round(BEGIN * 1000))
    assert int(prepared.tables.sessions[session].prefix) == int(nat64.tables.sessions[session].prefix)


def test_the_state_file_says_which_prefix_has_which_number(tmp_path):
    path = tmp_path / "run" / "state"
    nat64 = Serving(PLAIN, IN_ONE)
    restarted(nat64, path, IN_TWO, IN_ONE)
    header = header_in(path.read_bytes()[:4096])
    assert header is not None
    assert header.numbered.tolist() == nat64.settings.prefixes.tolist()
    octets = bytearray(path.read_bytes())
    octets[FIELDS.size + 32 + 30] ^= 1
    path.write_bytes(octets)
    restarted(nat64, path, IN_TWO, IN_ONE)
    assert path.with_name("state.damaged").exists()


def test_sessions_of_services_alone_have_other_numbers():
    before, after = (np.array([(0, 0, NONE), *rows], np.int64) for rows in ([(1, 0, 96), (2, 0, 96)], [(2, 0, 96)]))
    numbers = renumbered(before, after)
    sessions = records(12, SESSION)
    sessions["inbound"], sessions["prefix"] = np.repeat(range(4), 3), np.tile([0, 1, 2], 4)
    renumber(sessions, numbers)
    assert sessions["prefix"].reshape(-1, 3).tolist() == [[0, 1, 2]] * 2 + [[0, NONE, 1]] * 2
    assert renumbered(after, np.array([*after.tolist(), (3, 0, 64)])) is None


def test_records_of_a_prefix_that_is_none_are_not_trusted(tmp_path):
    path = tmp_path / "run" / "state"
    nat64 = Serving(PLAIN, IN_ONE, IN_TWO)
    for prefix, fate in ((5, "damaged"), (NONE, "unmapped"), (-7, "damaged")):
        restarted(nat64, path, PLAIN, IN_ONE, IN_TWO)
        out(nat64, tcp4(7, 80, vip=OTHER_VIP))
        nat64.tables.sessions.prefix[nat64.tables.sessions.live != 0] = prefix
        assert restarted(nat64, path, PLAIN, IN_ONE, IN_TWO) == {fate: 1}
    restarted(nat64, path, PLAIN, IN_ONE, IN_TWO)
    out(nat64, tcp4(7, 80, vip=OTHER_VIP))
    nat64.tables.sessions.inbound[:] = 0
    assert restarted(nat64, path, PLAIN, IN_ONE, IN_TWO) == {"damaged": 1}
    assert restarted(nat64, path, PLAIN, IN_TWO, IN_ONE) == {}


# ---- explain

TEXT = (
    POOLED
    + "filtering = { reset_unknown = 0 }\n"
    + ROWS
    + SERVED.format(83, 4, f"{ONE}/96")
    + SERVED.format(84, 4, f"{ONE}/96")
)
OPENS = "198.51.100.7 > 203.0.113.80 tcp 5000 81 flags S"
BACK = f"2001:db8:5::1 > {ONE}198.51.100.7 tcp 8080 5000 flags A"
MEMBER = f"service 81, 203.0.113.80:81: member [2001:db8:5::1]:8080, clients under {ONE}/96"


@pytest.mark.parametrize(
    ("sent", "said", "verdict"),
    [
        ((OPENS,), f"{MEMBER}, chosen by the hash of the flow among one member", Verdict.TRANSLATED),
        ((OPENS, BACK), f"{MEMBER}, where its session is pinned", Verdict.TRANSLATED),
        ((BACK,), f"{MEMBER} answers, and no session here: another gateway may have it", Verdict.TRANSLATED),
        (
            (BACK.replace("5::1 ", "5::4 "),),
            f"no session, and several services whose clients are under {ONE}/96 have this endpoint",
            Verdict.SERVICE_AMBIGUOUS,
        ),
        (
            (BACK.replace("5::1 ", "5::9 "),),
            f"no session, and no answer of a service whose clients are under {ONE}/96",
            Verdict.NO_SERVICE_FLOW,
        ),
    ],
)
def test_explain_names_the_prefix(sent, said, verdict):
    steps = steps_for(*sent, config=TEXT)
    assert told("filter, update", steps).startswith(said)
    assert told("verdict", steps).startswith(verdict.name.lower())
    assert f"{ONE}198.51.100.7" in told("outgoing tuple" if sent == (OPENS,) else "incoming tuple", steps)
