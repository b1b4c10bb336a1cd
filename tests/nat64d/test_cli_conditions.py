"""What the commands say of a host that keeps packets from passing."""

import pytest

from tests.nat64d.fake_gateway import serving, standing
from tests.nat64d.test_cli import run


@pytest.fixture(autouse=True)
def daemon(gateway, path):
    with serving(gateway, path):
        yield


def test_status_has_a_line_for_each_condition_and_is_1_while_one_blocks(path, gateway):
    gateway.state, gateway.standing = "blocked", [standing("firewall"), standing("on_link")]
    result = run("status", "--socket", path)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-2:] == [
        "condition   firewall for 1m15s (packets cannot pass): Something drops. Run 'nft flush ruleset'.",
        "condition   on_link for 1m15s (packets pass): Something drops. Run 'nft flush ruleset'.",
    ]


def test_waiting_for_one_that_is_blocked_ends_with_the_reason(path, gateway):
    gateway.state, gateway.standing = "blocked", [standing("on_link"), standing("firewall")]
    result = run("status", "--wait", "0.2", "--socket", path)
    assert (result.exit_code, result.stderr) == (
        3,
        f"nat64d: {path}: blocked, not ready after 0.2 s; Something drops. Run 'nft flush ruleset'.\n",
    )
