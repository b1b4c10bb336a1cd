"""Changes of endpoints alone: what is not looked at again could not have become wrong."""

from ipaddress import AddressValueError, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.config import fronts
from nat64d.config.addresses import numbers6, split_transport6
from nat64d.config.endpoint_changes import changed, concerns_no_host, is_about_endpoints
from nat64d.config.errors import ConfigError
from nat64d.config.load import loads
from nat64d.config.services import Services
from nat64d.config.sources import Names, Rows, Sources, rows_in, with_changes

FILE = loads("""
pool6 = "64:ff9b::/96"
[limits]
service_members = 16
[services]
ipv6_front = "fullnat"
source6 = "fd00:64::/64"
[tun]
ipv6 = "2001:db8:64::1"
[translation]
rfc6791_ipv6 = "2001:db8:66::/64"
""")
WEB = {"name": "web", "ipv4": "192.0.2.1:80", "endpoints": ["[2001:db8::1]:80", "[2001:db8::2]:80"]}
DNS = {"name": "dns", "ipv4": "192.0.2.1:53", "ipv6": "[2001:db8:ff::1]:53", "protocol": "udp"}
DNS["endpoints"] = [{"address": "[2001:db8::1]:53", "weight": 2}, "[2001:db8::2]:53"]
ALONE = Sources("a.toml", FILE, {})


def said(before: Sources, *rows: dict[str, Any]) -> Sources:
    """What is said after these rows are set."""
    known = before.rows.get("api", Rows())
    given = rows_in({"service": list(rows)}, "set", known.service)
    return before._replace(rows={"api": with_changes(known, Names(), given, "api", before)})


BEFORE = said(ALONE, WEB, DNS)
SOUND = BEFORE.combined()


def ends(*hosts: str) -> dict[str, Any]:
    return {**WEB, "endpoints": [f"[{host}]:80" for host in hosts]}


@pytest.mark.parametrize(
    "row",
    [ends("2001:db8::1"), ends(), {**WEB, "affinity": "client"}, {**WEB, "sources": ["198.51.100.0/24"]}, WEB],
    ids=["fewer", "none", "affinity", "sources", "the same"],
)
def test_endpoints_and_how_they_are_chosen_change_alone(row):
    after = said(BEFORE, row).combined(SOUND)
    assert is_about_endpoints(SOUND, after)
    gone, came = changed(SOUND, after)
    assert [one.name for one in gone] == [one.name for one in came] == ([] if row is WEB else ["web"])


@pytest.mark.parametrize(
    "row",
    [
        {**WEB, "name": "other", "ipv4": "192.0.2.1:81"},
        {**WEB, "ipv4": "192.0.2.1:81"},
        {**WEB, "protocol": ["tcp", "udp"]},
        {**WEB, "ipv6": "[2001:db8:ff::1]:80"},
        {**WEB, "client_prefix": "2001:db8:65::/96"},
    ],
    ids=["name", "port", "protocol", "IPv6", "prefix"],
)
def test_what_packets_are_addressed_to_does_not(row):
    assert not is_about_endpoints(SOUND, said(BEFORE, row).combined(SOUND))
    assert not is_about_endpoints(said(BEFORE, row).combined(), SOUND)


def test_other_keys_do_not_change_beside_them():
    other = BEFORE._replace(file=FILE.model_copy(update={"strict_well_known_prefix": False}))
    assert not is_about_endpoints(SOUND, other.combined())


@pytest.mark.parametrize(
    "hosts",
    [
        ["64:ff9b::1"],
        ["2001:db8::3", "2001:db8::3"],
        ["2001:db8:64::1"],
        ["2001:db8:66::9"],
        ["fd00:64::7"],
        ["2001:db8:ff::1"],
        [f"2001:db8::{number}" for number in range(1, 14)],
    ],
    ids=["pool6", "twice", "tun", "rfc6791", "source6", "address of a service", "too many in all"],
)
def test_what_is_wrong_with_them_is_found_as_where_all_is_looked_at(hosts):
    after = said(BEFORE, ends(*hosts))
    with pytest.raises(ConfigError) as slowly:
        after.combined()
    with pytest.raises(ConfigError) as quickly:
        after.combined(SOUND)
    assert str(quickly.value) == str(slowly.value)
    assert said(BEFORE, ends("2001:db8::3")).combined(SOUND) == said(BEFORE, ends("2001:db8::3")).combined()


def test_what_has_not_changed_is_not_looked_at_again(monkeypatch):
    seen: list[list[str]] = []
    monkeypatch.setattr(
        "nat64d.config.sources.contradictions",
        lambda _, config: iter(seen.append([service.name for service in config.service]) or ()),
    )
    said(BEFORE, ends("2001:db8::3")).combined(SOUND)
    assert seen == [["web"]]
    said(BEFORE, WEB).combined(SOUND)
    said(BEFORE, {**WEB, "ipv4": "192.0.2.1:81"}).combined(SOUND)
    assert seen == [["web"], ["dns", "web"]]


@pytest.mark.parametrize(("front", "source6", "concerned"), [("fullnat", "fd00:64::/64", ""), ("dnat", "", "dns")])
def test_the_host_leads_what_endpoints_of_an_ipv6_address_send_to_clients_as_they_are(front, source6, concerned):
    services = Services(ipv6_front=front, source6=source6)
    before = said(ALONE._replace(file=FILE.model_copy(update={"services": services})), WEB, DNS)
    for row in (WEB, DNS):
        after = said(before, {**row, "endpoints": row["endpoints"][:1]})
        assert concerns_no_host(before.combined(), after.combined()) == (row["name"] != concerned)
    assert not concerns_no_host(before.combined(), said(before, {**WEB, "ipv4": "192.0.2.9:80"}).combined())


def test_handles_of_ipv6_addresses_are_not_found_again_where_endpoints_change(monkeypatch):
    after = said(BEFORE, ends("2001:db8::3")).combined(SOUND)
    handles = fronts.handles_of(SOUND)
    monkeypatch.setattr(fronts, "hash3", lambda *_: pytest.fail("the addresses are the same"))
    assert fronts.handles_of(after) == handles
    assert len(handles) == 1


# ---- rows that are said again


def test_a_row_in_the_same_words_is_the_very_row_of_before():
    known = BEFORE.rows["api"].service
    again = rows_in({"service": [WEB, DNS]}, "set", known).service
    assert [one is old for one, old in zip(again, known, strict=True)] == [True, True]
    assert rows_in({"service": [{**DNS, "endpoints": [DNS["endpoints"][0]]}]}, "", known).service[0] is not known[1]


@pytest.mark.parametrize(
    "row",
    [
        {**WEB, "endpoints": list(reversed(WEB["endpoints"]))},
        {**WEB, "endpoints": [{"address": one, "weight": 2} for one in WEB["endpoints"]]},
        {**WEB, "affinity": "client"},
        {key: value for key, value in WEB.items() if key != "endpoints"},
        {**WEB, "health": "tcp"},
    ],
)
def test_one_in_other_words_is_read(row):
    (found,) = rows_in({"service": [row]}, "set", BEFORE.rows["api"].service).service
    assert found == rows_in({"service": [row]}, "set").service[0] != BEFORE.rows["api"].service[0]


@pytest.mark.parametrize(
    "row",
    [
        {**WEB, "endpoints": [{"address": "[2001:db8::1]:80", "weight": True}, "[2001:db8::2]:80"]},
        {**WEB, "endpoints": [{"address": "[2001:db8::1]:80", "more": 1}, "[2001:db8::2]:80"]},
        {**WEB, "endpoints": [7, "[2001:db8::2]:80"]},
        {**WEB, "endpoints": 7},
        {**WEB, "more": 1},
        {**WEB, "name": 7},
        7,
    ],
)
def test_a_mistake_beside_known_rows_is_found_at_its_place(row):
    with pytest.raises(ConfigError) as refused:
        rows_in({"service": [DNS, row]}, "set", BEFORE.rows["api"].service)
    with pytest.raises(ConfigError) as plain:
        rows_in({"service": [DNS, row]}, "set")
    assert str(refused.value) == str(plain.value)
    assert "[[service]] #2" in str(plain.value)


def test_versions_differ_where_rows_do():
    rows = [said(ALONE, *some).rows["api"] for some in ((WEB, DNS), (DNS, WEB), (WEB,), (ends("2001:db8::9"), DNS), ())]
    assert len({one.version for one in rows}) == len(rows)
    assert said(ALONE, WEB, DNS).rows["api"].version == rows[0].version
    assert rows_in({"eam": [{"ipv4": "192.0.2.9", "ipv6": "2001:db8::9"}]}, "").version != rows[-1].version


# ---- transport addresses, as numbers

PIECES = st.sampled_from(
    ["0", "1", "00001", "ffff", "2001", "db8", "192.0.2.1", "192.0.2.01", "g", "%1", "/64", " ", ""]
)


def read_slowly(text: str) -> int | None:
    try:
        return int(IPv6Address(text)) if not {*text} & {*"%/ "} else None
    except AddressValueError:
        return None


@given(st.lists(PIECES, max_size=9).map(":".join) | st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n))))
def test_addresses_of_endpoints_are_those_that_ipaddress_takes(text):
    expected = read_slowly(text)
    hosts = expected is not None and expected >> 64 and expected >> 118 != 0xFE80 >> 6 and expected >> 120 != 0xFF
    try:
        found = numbers6(f"[{text}]:80")
    except ValueError:
        found = None
    assert found == ((expected, 80, 80) if hosts else None)
    assert found is None or split_transport6(f"[{text}]:80") == (IPv6Address(expected), 80, 80)


@pytest.mark.parametrize("ports", ["", "0", "080", "65536", "8o", "٨٠", "2-1", "1-2-3", "-1", "100000"])
def test_ports_are_decimal_numbers(ports):
    with pytest.raises(ValueError, match=r"^$|a range whose first port"):
        numbers6(f"[2001:db8::1]:{ports}")
