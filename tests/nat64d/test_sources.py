"""Rows beside those of the file: how they go together, and how they come and go."""

from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat64d.config.errors import ConfigError
from nat64d.config.load import dump, loads
from nat64d.config.sources import SECTIONS, Names, Rows, Sources, names_in, rows_in, with_changes
from nat64d.control import changes

TEXT = """
pool6 = "64:ff9b::/96"
[[pool4]]
addresses = "192.0.2.0/28"
[[eam]]
ipv4 = "198.51.100.1"
ipv6 = "2001:db8::1"
"""
FILE = Sources("a.toml", loads(TEXT), {})
EAM7 = {"ipv4": "198.51.100.7", "ipv6": "2001:db8::7"}
WEB = {"protocol": ["tcp", "udp"], "ipv4": "192.0.2.1:80", "ipv6": "[2001:db8::2]:8080"}


def message_of(function: Callable[[], Any]) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        function()
    return str(refused.value).splitlines()


def with_rows(raw: Any) -> Sources:
    return FILE._replace(rows={"api": rows_in(raw, "set")})


def test_together_they_are_what_one_file_would_say():
    sources = with_rows({"eam": [EAM7], "forward": [WEB]})
    more = '[[eam]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8::7"\n'
    more += '[[forward]]\nprotocol = ["tcp", "udp"]\nipv4 = "192.0.2.1:80"\nipv6 = "[2001:db8::2]:8080"\n'
    assert dump(sources.combined()) == dump(loads(TEXT + more))
    assert sources.names == "a.toml and api"


def test_a_row_that_the_file_has_as_well_is_there_once():
    both = with_rows({"eam": [{"ipv4": "198.51.100.1/32", "ipv6": "2001:db8::1"}]})
    assert both.combined() == FILE.file
    assert list(both.beside("eam")) == []
    assert FILE.combined() is FILE.file
    assert FILE.names == "a.toml"


@pytest.mark.parametrize(
    ("raw", "sentences"),
    [
        ([], ["set: expected an object with pool4, eam, forward or service"]),
        ({"tun": {}, "eam": 3}, ["set: tun: expected an object with pool4, eam, forward or service"]),
        ({"eam": {}}, ["set: [eam]: expected a list of tables, [[eam]]"]),
        (
            {"eam": [EAM7, {"ipv4": "198.51.100.0/33"}], "pool4": [{"adresses": "192.0.2.77"}]},
            [
                'set: [[eam]] #2 ipv4 = "198.51.100.0/33": expected an IPv4 prefix such as 192.0.2.0/24',
                "set: [[eam]] #2 ipv6 = (absent): expected an IPv6 prefix such as 2001:db8::/32",
                'set: [[pool4]] #1 adresses = "192.0.2.77": unknown key; did you mean addresses?',
                "set: [[pool4]] #1 addresses = (absent): expected a prefix such as ",
            ],
        ),
        (
            {"eam": [EAM7, {**EAM7, "ipv4": "192.0.2.3"}], "forward": [{**WEB, "ipv4": "198.51.100.1:80"}]},
            [
                'api: [[eam]] #2 ipv4 = "192.0.2.3/32": expected addresses outside [[pool4]]',
                'api: [[eam]] #2 ipv6 = "2001:db8::7/128": expected a prefix that is not mapped yet',
                'api: [[forward]] #1 ipv4 = "198.51.100.1:80": expected an address that [[eam]] does not map',
            ],
        ),
        (
            {"pool4": [{"addresses": "198.51.100.0/28"}]},
            ['a.toml: [[eam]] #1 ipv4 = "198.51.100.1/32": expected addresses outside [[pool4]]'],
        ),
        (
            {"pool4": [{"addresses": "interface:eth0", "protocols": ["other"]}]},
            ['api: [[pool4]] #1 protocols = ["other"]: expected no "other"'],
        ),
    ],
)
def test_what_is_wrong_has_its_place(raw, sentences):
    lines = message_of(lambda: with_rows(raw).combined())
    assert len(lines) == len(sentences)
    for line, sentence in zip(lines, sentences, strict=True):
        assert line.startswith(sentence)


def changed(rows: Rows, unset: Any, given: Any) -> Rows:
    return with_changes(rows, names_in(unset, "unset"), rows_in(given, "set"), "api", FILE)


def test_a_row_takes_the_place_of_the_one_it_is_identified_with():
    rows = rows_in({"eam": [EAM7], "forward": [WEB], "pool4": [{"addresses": "192.0.2.32"}]}, "set")
    new = {
        "eam": [{**EAM7, "ipv6": "2001:db8::8"}],
        "forward": [{"protocol": ["udp", "tcp"], "ipv4": "192.0.2.1:80-80", "ipv6": "[2001:db8::3]:80"}],
        "pool4": [{"addresses": "192.0.2.32", "ports": "2000-3000"}],
    }
    after = changed(rows, {}, new)
    assert [len(getattr(after, section)) for section in SECTIONS] == [2, 1, 1, 0]
    assert after.forward[0].ipv6 == "[2001:db8::3]:80"
    old = {"eam": [EAM7], "forward": [WEB]}
    assert after.version != rows.version == changed(after, {"pool4": new["pool4"]}, old).version


def test_rows_are_removed_by_what_identifies_them():
    rows = rows_in({"eam": [EAM7], "forward": [WEB], "pool4": [{"addresses": "192.0.2.32"}]}, "set")
    names = {
        "eam": [{"ipv4": "198.51.100.7"}],
        "forward": [{**WEB, "protocol": ["udp", "tcp"]}],
        "pool4": [{"addresses": "192.0.2.32"}],
    }
    assert changed(rows, names, {}) == Rows()
    assert changed(rows, names, {"eam": [EAM7]}).eam == rows.eam


@pytest.mark.parametrize(
    ("unset", "sentence"),
    [
        (
            {"eam": [{"ipv4": "198.51.100.9"}]},
            'unset [[eam]]: ipv4 = "198.51.100.9/32": expected a row that api has set',
        ),
        (
            {"eam": [{**EAM7, "ipv6": "::9"}]},
            'unset [[eam]]: ipv4 = "198.51.100.7/32", ipv6 = "::9/128": expected a row',
        ),
        (
            {"eam": [{"ipv4": "198.51.100.7"}] * 2},
            'unset [[eam]]: ipv4 = "198.51.100.7/32": expected a row that api has',
        ),
        (
            {"eam": [{"ipv4": "198.51.100.1"}]},
            'unset [[eam]]: ipv4 = "198.51.100.1/32": a.toml has it: remove it there',
        ),
        ({"forward": [{**WEB, "protocol": "tcp"}]}, "unset [[forward]]: protocol = "),
        ({"eam": [{"ipv6": "2001:db8::7"}]}, "unset: [[eam]] #1 ipv4 = (absent): expected an IPv4 prefix"),
        ({"clat": []}, "unset: clat: expected an object with"),
    ],
)
def test_what_is_not_there_cannot_be_removed(unset, sentence):
    rows = rows_in({"eam": [EAM7], "forward": [WEB]}, "set")
    (line,) = message_of(lambda: changed(rows, unset, {}))
    assert line.startswith(sentence)


@given(
    before=st.lists(st.integers(0, 9), unique=True, max_size=5),
    unset=st.lists(st.integers(0, 9), unique=True, max_size=3),
    new=st.lists(st.integers(0, 9), unique=True, max_size=5),
)
def test_sets_of_rows(before, unset, new):
    def rows(numbers: list[int], net: str = "2001:db8:1::") -> dict[str, Any]:
        return {"eam": [{"ipv4": f"198.51.100.{n}", "ipv6": f"{net}{n}"} for n in numbers]}

    names = {"eam": [{"ipv4": row["ipv4"]} for row in rows(unset)["eam"]]}
    try:
        after = changed(rows_in(rows(before), ""), names, rows(new, "2001:db8:2::"))
    except ConfigError:
        assert not set(unset) <= set(before)
        return
    assert set(unset) <= set(before)
    assert {int(row.ipv4[0]) & 0xFF for row in after.eam} == (set(before) - set(unset)) | set(new)
    assert {int(row.ipv4[0]) & 0xFF for row in after.eam if ":2::" in str(row.ipv6)} == set(new)


def test_rows_said_again_are_the_very_ones_of_before():
    said = {"service": [{"name": f"s{n}", "ipv4": f"192.0.2.9:{n}", "endpoints": ["[2001:db8::9]:1"]} for n in (1, 2)]}
    before = FILE._replace(rows={"api": rows_in(said, "set")})
    said["service"][1]["endpoints"] = ["[2001:db8::a]:1"]
    after = with_changes(Rows(), names_in({}, "unset"), rows_in(said, "set"), "api", before)
    assert [new is old for new, old in zip(after.service, before.rows["api"].service, strict=True)] == [True, False]


def test_the_api_describes_the_keys_that_there_are():
    for model, shape in ((Rows, changes.SourceRows), (Names, changes.SourceNames)):
        described = get_type_hints(shape)
        assert described.keys() == model.model_fields.keys()
        for section, field in model.model_fields.items():
            (row,), (table, _) = get_args(described[section]), get_args(field.annotation)
            assert get_type_hints(row).keys() == table.model_fields.keys()
            assert row.__required_keys__ == {key for key, each in table.model_fields.items() if each.is_required()}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["tcp", "::1", "0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
VALUES = JSON | st.sampled_from(["198.51.100.7", "192.0.2.0/28", "192.0.2.1:80", "[2001:db8::7]:80-81", "2001:db8::7"])
KEYS = ("ipv4", "ipv6", "protocol", "addresses", "ports", "protocols", "source", "x")
TABLES = st.lists(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4) | JSON, max_size=3) | JSON


@given(st.dictionaries(st.sampled_from([*SECTIONS, "tun"]), TABLES, max_size=3) | JSON, st.booleans())
def test_whatever_is_sent_is_rows_or_refused_with_a_line_for_each_mistake(raw, meant):
    rows = rows_in({"eam": [EAM7], "forward": [WEB]}, "set")
    try:
        after = changed(rows, raw, {}) if meant else changed(rows, {}, raw)
        FILE._replace(rows={"api": after}).combined()
    except ConfigError as refused:
        error = refused
    else:
        return
    lines = str(error).splitlines()
    assert len(lines) == len(error.problems) > 0
    assert all(len(line) < 600 and line.isprintable() for line in lines), lines
