"""The journal that a killed process left is used, but not believed blindly."""

import json
import os

import pytest

from nat64d.config.models import Config
from tests.nat64d.hosts import fixtures, gateway, journal
from tests.nat64d.netns import snapshot
from tests.nat64d.netns import sysctl as parameter

namespace, server, text, config = fixtures()


def leave_journal(config: Config, change: object = None, **more: object) -> None:
    """A journal as a killed process would have left it, of this boot and namespace unless `more` says otherwise."""
    with gateway(config):
        content = json.loads(journal(config).read_text())
    content["changes"] = [change or ["sysctl", "net/ipv4/ip_forward", "0"]]
    journal(config).write_text(json.dumps(content | more))


def test_a_journal_of_this_boot_and_namespace_counts(namespace, config):
    leave_journal(config)
    parameter("net/ipv4/ip_forward", 1)
    with gateway(config):
        pass
    assert parameter("net/ipv4/ip_forward") == "0"


@pytest.mark.parametrize("where", [["another-boot", 1], [1], None])
def test_a_journal_from_elsewhere_does_not(namespace, config, where):
    leave_journal(config, where=where)
    parameter("net/ipv4/ip_forward", 1)
    with gateway(config):
        pass
    assert parameter("net/ipv4/ip_forward") == "1"


def test_a_journal_of_another_user_does_not(namespace, config, caplog):
    leave_journal(config)
    os.chown(journal(config), 65534, 65534)
    parameter("net/ipv4/ip_forward", 1)
    with gateway(config):
        pass
    assert parameter("net/ipv4/ip_forward") == "1"
    assert "belongs to another user" in caplog.text


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"changes": [1]}', '{"changes": [["sysctl"]], "where": []}', "\udc80"]
)
def test_a_damaged_journal_is_said_and_ignored(namespace, config, caplog, content):
    before = snapshot()
    journal(config).parent.mkdir()
    journal(config).write_bytes(content.encode("utf-8", "surrogateescape"))
    with gateway(config):
        pass
    assert "is damaged" in caplog.text
    assert snapshot() == before


def test_a_journal_that_is_a_link_is_not_followed(namespace, config, tmp_path, caplog):
    journal(config).parent.mkdir()
    (tmp_path / "elsewhere").write_text("precious")
    journal(config).symlink_to(tmp_path / "elsewhere")
    with gateway(config):
        pass
    assert (tmp_path / "elsewhere").read_text() == "precious"
    assert "Cannot read" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        ["address", None, None],
        ["device", "nat64", "up"],
        ["device", "nat64", {"up": "x"}],
        ["sysctl", "net/ipv4/ip_forward", None],
        ["sysctl", "net/../kernel/hostname", "x"],
        ["sysctl", "kernel/hostname", "x"],
        ["unheard-of", "x", None],
    ],
    ids=str,
)
def test_a_journal_with_what_we_never_write_is_damaged(namespace, config, caplog, change):
    before, name = snapshot(), parameter("kernel/hostname")
    leave_journal(config, change)
    with gateway(config):
        pass
    assert "is damaged" in caplog.text
    assert snapshot() == before
    assert parameter("kernel/hostname") == name


def test_a_line_of_the_journal_that_makes_no_sense_is_said(namespace, config, caplog):
    leave_journal(config, ["address", "not an address", None])
    with gateway(config):
        pass
    assert "Could not undo the change of address not an address" in caplog.text
