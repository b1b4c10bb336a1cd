"""The listings of the tables: text as Python would write it, filters, cursors that survive changes."""

import json
import random
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import numpy as np
import pytest

from nat64d.control.filters import STATES, Filters, parse_filters
from nat64d.control.listings import BY_NAME
from nat64d.control.rows import GoneError
from nat64d.gateway import listings
from nat64d.gateway.lines import joined, seconds, text4, text6, whole
from tests.case import BEGIN
from tests.listed import rows_of
from tests.nat64d.test_measure import live_of
from tests.packets import HOST4, HOST6, NEIGHBOUR6
from tests.sessions import Sessions
from translator.session.tcp_state import State


def lines(parts, count):
    return joined([*parts, b"\n"], count).decode().splitlines()


def test_whole_numbers():
    numbers = [0, 1, 9, 10, 99, 100, 999, 1000, 1001, 9999, 10000, 65535, 999_999, 1_000_000, 1_000_001, 2**40]
    for some in (numbers, *([number] for number in numbers)):
        assert lines(whole(np.array(some)), len(some)) == list(map(str, some))
    assert lines(whole(np.array([65535, 0], "i4")), 2) == ["65535", "0"]


def test_seconds_have_three_decimals():
    assert lines(seconds(np.array([0, 1, 999, 1000, 7439500])), 5) == ["0.000", "0.001", "0.999", "1.000", "7439.500"]


def test_ipv4_addresses_and_that_there_is_none():
    addresses = ["192.0.2.1", "255.255.255.255", "0.0.0.1", "10.0.200.0"]
    numbers = np.array([0, *(int(IPv4Address(address)) for address in addresses)])
    assert lines(text4(numbers), 5) == ["null", *(f'"{address}"' for address in addresses)]


def test_ipv6_addresses_are_written_as_by_python():
    dice = random.Random(6)
    groups = [[dice.choice((0, 0, 0, 1, 0x10, 0xABC, 0xFFFF)) for _ in range(8)] for _ in range(5000)]
    groups += [[0] * 8, [0] * 7 + [1], [1] + [0] * 7, [1] * 8, [0, 1] * 4, [1, 0, 0, 1, 1, 0, 0, 1]]
    halves = np.array([[int.from_bytes(np.array(g[i : i + 4], ">u2").tobytes()) for i in (0, 4)] for g in groups], "u8")
    hi, lo = halves.view(np.int64).T
    expected = [f'"{IPv6Address((int(a) << 64) | int(b))}"' for a, b in halves]
    assert lines(text6(hi, lo), len(groups)) == expected


@pytest.fixture
def nat64():
    """Two hosts, three protocols, one answered session of TCP."""
    nat64 = Sessions()
    nat64.from4("tcp", nat64.opened("tcp", 4000))
    nat64.opened("tcp", 5001)
    for port in range(6000, 6003):
        nat64.opened("udp", port, host=NEIGHBOUR6)
    nat64.opened("icmp", 7)
    return nat64


@pytest.fixture
def live(nat64, monkeypatch):
    monkeypatch.setattr("nat64d.gateway.state.now", lambda: round((BEGIN + nat64.now) * 1000))
    return live_of(nat64)


@pytest.mark.parametrize("name", [name for name in listings.LISTED if name != "blocks"])
def test_columns_are_the_fields_of_the_row(name, live):
    assert tuple(listings.LISTED[name].columns) == BY_NAME[name].fields
    for row in rows_of(getattr(live, name)(Filters())):
        assert tuple(row) == BY_NAME[name].fields
    (row, *_) = rows_of(getattr(live, name)(Filters(fields=("cursor", "host6"))))
    assert list(row) == ["cursor", "host6"]


def test_blocks_of_ports_that_are_in_use_and_that_wait(monkeypatch):
    pool4 = [{"addresses": "192.0.2.1", "ports": "2000-2019"}]
    nat64 = Sessions(pool4=pool4, forward=[], limits={"sessions": 64, "port_block": 10})
    monkeypatch.setattr("nat64d.gateway.state.now", lambda: round((BEGIN + nat64.now) * 1000))
    nat64.opened("udp", 6000)
    nat64.wait(290)
    for port in (6000, 6001):
        nat64.opened("udp", port, host="2001:db8:77::5")
    nat64.wait(20)  # the first one waits
    rows = {row.pop("subscriber"): row for row in rows_of(live_of(nat64).blocks(Filters()))}
    assert {key: (row["mappings"], row["seconds"]) for key, row in rows.items()} == {
        "2001:db8:1::": (0, 310.0),
        "2001:db8:77::": (2, 20.0),
    }
    assert sorted((row["first_port"], row["last_port"]) for row in rows.values()) == [(2000, 2009), (2010, 2019)]
    assert {row["mapped4"] for row in rows.values()} == {"192.0.2.1"}
    fields = tuple(rows_of(live_of(nat64).blocks(Filters()))[0])
    assert fields == tuple(listings.LISTED["blocks"].columns) == BY_NAME["blocks"].fields
    (row,) = rows_of(live_of(nat64).blocks(Filters(host6=IPv6Network("2001:db8:77::/48"), fields=("mappings",))))
    assert row == {"mappings": 2}


def test_states_have_the_names_that_filters_know():
    assert {state.name for state in State if state} == set(STATES)


def test_a_session_is_what_the_table_says(nat64, live):
    (established,) = rows_of(live.sessions(Filters(state="ESTABLISHED")))
    assert established | {"mapped4": 0, "mapped4_port": 0, "cursor": 0} == {
        "protocol": "tcp",
        "host6": HOST6,
        "host6_port": 4000,
        "mapped4": 0,
        "mapped4_port": 0,
        "host4": HOST4,
        "host4_port": 53,
        "state": "ESTABLISHED",
        "expires_in": 7440.0,
        **dict.fromkeys(listings.ACCOUNTS),
        "cursor": 0,
    }
    counted = Sessions(log={"accounting": True})
    counted.from4("udp", counted.opened("udp", 6000))
    (row,) = rows_of(live_of(counted).sessions(Filters(fields=tuple(listings.ACCOUNTS))))
    assert row == {"packets_6to4": 1, "octets_6to4": 52, "packets_4to6": 1, "octets_4to6": 32}
    entries = {(row["protocol"], row["host6"], row["host6_port"]): row for row in rows_of(live.bib(Filters()))}
    entry = entries["tcp", HOST6, 4000]
    assert (entry["mapped4"], entry["mapped4_port"]) == (established["mapped4"], established["mapped4_port"])
    assert (entry["static"], entry["sessions"]) == (False, 1)
    assert sum(row["static"] for row in entries.values()) == 3


def ports(live, **filters):
    parsed = parse_filters(((name, str(value)) for name, value in filters.items()), BY_NAME["sessions"].filters)
    return sorted(row["host6_port"] for row in rows_of(live.sessions(parsed)))


def test_filters(live):
    assert ports(live, host=HOST6) == [7, 4000, 5001]
    assert ports(live, host=HOST4) == [7, 4000, 5001, 6000, 6001, 6002]
    assert ports(live, host="198.18.0.0/15") == []
    (mapped,) = {row["mapped4"] for row in rows_of(live.sessions(Filters(port=6001)))}
    assert 6001 in ports(live, host=mapped)
    assert ports(live, host6=f"{NEIGHBOUR6}/128", port=6001) == [6001]
    assert ports(live, port=53, proto="tcp") == [4000, 5001]
    assert ports(live, state="V6_INIT", proto="17") == [6000, 6001, 6002]
    assert ports(live, state="TRANS") == []
    assert ports(live, state="V6_INIT", proto="tcp") == [5001]
    assert ports(live, host4=mapped) == []
    assert ports(live, host4=HOST4, mapped4="0.0.0.0/0", limit=2) == [4000, 5001]
    live.config = live.config.model_copy()
    assert [row["host6"] for row in rows_of(live.hosts(Filters(host=IPv6Network(NEIGHBOUR6))))] == [NEIGHBOUR6]
    assert len(rows_of(live.bib(Filters(port=6002, host=IPv4Network("0.0.0.0/0"))))) == 1


def test_a_session_that_is_over_is_not_listed(nat64, live):
    nat64.now += 100
    assert ports(live, proto="icmp") == []


def test_a_cursor_survives_what_changes_in_between(nat64, live, monkeypatch):
    monkeypatch.setattr(listings, "SLICE", 2)
    first = rows_of(live.sessions(Filters(limit=3)))
    there = {row["cursor"] for row in rows_of(live.sessions(Filters()))}
    nat64.wait(70)  # ICMP ends
    for port in range(8000, 8020):
        nat64.opened("udp", port)
    seen, rest = [row["cursor"] for row in first], first
    while rest:
        at = parse_filters([("cursor", rest[-1]["cursor"])], ["cursor"]).cursor
        rest = rows_of(live.sessions(Filters(limit=3, cursor=at)))
        seen += [row["cursor"] for row in rest]
    still_there = {row["cursor"] for row in rows_of(live.sessions(Filters()))}
    assert len(seen) == len(set(seen))
    assert there & still_there <= set(seen)


def test_a_cursor_of_tables_that_were_replaced_is_gone(live):
    (row,) = rows_of(live.sessions(Filters(limit=1)))
    cursor = parse_filters([("cursor", row["cursor"])], ["cursor"]).cursor
    live.replace(live.config, live.settings, live.tables)
    assert len(rows_of(live.sessions(Filters(cursor=cursor)))) == 5
    live.replace(live.config, live.settings, Sessions().tables)
    with pytest.raises(GoneError, match="begin again without a cursor"):
        next(live.sessions(Filters(cursor=cursor)))


def test_the_top_is_that_of_all_slices(live, nat64, monkeypatch):
    monkeypatch.setattr(listings, "SLICE", 1)
    for number, count in enumerate((2, 5, 1, 4)):
        for port in range(count):
            nat64.opened("udp", 9000 + port, host=f"2001:db8:1::{number + 1:x}00")
    for top in (1, 2, 3, 100):
        counts = [row["sessions"] for row in rows_of(live.hosts(Filters(top=top)))]
        assert counts == [5, 4, 3, 3, 2, 1][:top]
    assert len(rows_of(live.hosts(Filters(top=4, limit=2)))) == 2


def test_a_long_top_takes_no_time_squared(monkeypatch):
    copied = []
    concatenate = np.concatenate
    monkeypatch.setattr(
        listings.np, "concatenate", lambda arrays: copied.append(sum(map(len, arrays))) or concatenate(arrays)
    )
    counts = np.arange(1000)
    rows = np.zeros(1000, [("sessions", np.int64)])
    rows["sessions"] = counts
    parts = (listings.Slice(rows[at : at + 1], counts[at : at + 1], 0, "") for at in range(1000))
    assert [n for part in listings._top(parts, 400) for n in part.places] == list(range(999, 599, -1))
    assert sum(copied) < 10 * 1000


def test_mappings_are_those_of_the_configuration(live):
    rows = live.mappings(Filters())
    assert [row["kind"] for row in rows] == ["forward"] * 3
    assert json.loads(json.dumps(rows)) == rows
    row = rows[0]
    assert tuple(row) == BY_NAME["mappings"].fields
    assert live.mappings(Filters(host=ip_network(row["ipv6"]), proto=row["protocol"])) == [row]
    assert live.mappings(Filters(port=int(row["ipv4_ports"]), proto=row["protocol"]))[0] == row
    assert live.mappings(Filters(host=IPv4Network("233.252.0.0/24"))) == []
    assert live.mappings(Filters(port=9)) == []
