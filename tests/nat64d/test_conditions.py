"""The table of conditions and the tests that provoke and end each of them, with a kernel and not with facts by hand."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nat64d.config.load import loads
from nat64d.config.models import Config
from nat64d.host.board import Board
from nat64d.host.conditions import CONDITIONS
from nat64d.host.watch import CONTESTED, RECENT, Watch
from tests.nat64d.hosts import LOG, fixtures, gateway
from tests.nat64d.netns import ip, run
from tests.nat64d.test_host_watch import OPERATORS

namespace, server, text, config = fixtures()

TESTS = Path(__file__).parents[1]
MORE = {
    "eam": '[[eam]]\nipv4 = "198.51.100.0/24"\nipv6 = "2001:db8:e::/120"\n',
    "forward": '[[forward]]\nprotocol = "tcp"\nipv4 = "198.51.100.10:80"\nipv6 = "[2001:db8:9::1]:80"\n',
    "": "",
}
CLAT = '[clat]\nipv6 = "2001:db8:1::464"\nplat = "64:ff9b::/96"\n[api]\nsocket = "{}"\n'
# Condition: what is configured besides, what somebody does, and what ends it, if not the command that it names.
PROVOKED = {
    "own_address_in_eam": ("eam", "ip address add 198.51.100.7/32 dev eth0", ""),
    "on_link": ("forward", "ip address add 198.51.100.1/24 dev eth0", ""),
    "router_inside": (
        "",
        "ip route add default via 169.254.64.5 dev eth0 onlink metric 50",
        "ip route del default via 169.254.64.5 dev eth0 onlink metric 50",
    ),
}
OF_CLAT = {
    "plat_unreachable": ("ip -6 route del default dev eth0", "ip -6 route add default dev eth0"),
    "clat_off_link": (
        "ip address del 2001:db8:1::1/64 dev eth0",
        "ip address add 2001:db8:1::1/64 dev eth0 nodad",
    ),
    "clat_ipv4_in_use": ("ip address add 192.0.0.4/32 dev eth0", ""),
}
# Provoked, and ended, elsewhere.
ELSEWHERE = {
    "forwarding_off": "nat64d/test_host_watch.py::test_without_sysctls_the_filter_and_forwarding_are_conditions",
    "reverse_path": "nat64d/test_host_watch.py::test_without_sysctls_the_filter_and_forwarding_are_conditions",
    "pool4_without_address": "e2e/test_shared_address.py::test_it_follows_the_addresses_of_the_interface",
    "shared_ports_in_use": "e2e/test_shared_address.py::test_a_port_that_a_program_receives_at_is_a_condition",
    "ra_silent": "nat64d/test_advertise_links.py::test_interfaces_come_and_go",
    "ra_rival": "nat64d/test_advertise_links.py::test_rfc8781_5_2_other_routers_with_other_prefixes_are_noted",
    "vip_taken": "nat64d/test_announce.py::test_an_address_that_another_host_has_is_left_to_it",
    "vip_silent": "nat64d/test_announce.py::test_a_link_that_is_down_is_told",
    "vip_off_link": "nat64d/test_announce_host.py::test_that_no_address_is_in_a_subnet_is_told",
    "fastpath_interface": "e2e/test_fastpath_interfaces.py::test_an_interface_that_comes_later_goes_and_comes_back",
    "fastpath_half_seen": "nat64d/test_fastpath_interfaces.py::test_rules_that_ask_for_states_are_a_condition",
    "pool4_filling": "nat64d/test_watermarks.py::test_it_is_left_ten_percent_lower",
    "tables_filling": "nat64d/test_watermarks.py::test_memory_for_fragments",
}
HERE = {
    "not_set_up": "test_what_cannot_be_set_up_again_is_a_condition_until_it_can",
    "contested": "test_who_undoes_again_and_again_is_a_condition_until_there_is_peace",
    "masquerade_without_address": "test_an_interface_that_masquerades_and_loses_its_address",
}


class Scene:
    """A host that is set up and watched; its clock goes on by a second with each look."""

    def __init__(self, config: Config, host) -> None:
        self.board, self.now = Board(LOG), time.monotonic()
        self.watch = Watch(host, self.board, LOG)

    def standing(self, seconds: float = 1.0) -> set[str]:
        """The conditions after another look."""
        self.now += seconds
        self.watch.check(self.now)
        return {row["condition"] for row in self.board.standing(self.now)}

    def command(self, name: str) -> str:
        """What a condition says to run."""
        return next(row["command"] for row in self.board.standing(self.now) if row["condition"] == name)


@contextmanager
def watched(config: Config) -> Iterator[Scene]:
    """A host on which nothing is wrong."""
    with gateway(config) as (_, host, _lines):
        scene = Scene(config, host)
        assert scene.standing() == set()
        yield scene


@pytest.mark.parametrize("name", PROVOKED)
def test_a_condition_of_a_gateway_begins_and_ends(server, text, name):
    more, done, remedy = PROVOKED[name]
    with watched(loads(f"{text}\n{MORE[more]}")) as scene:
        run(*done.split())
        assert scene.standing() == {name}
        run(*(remedy or scene.command(name)).split())
        assert scene.standing() == set()


@pytest.mark.parametrize("name", OF_CLAT)
def test_a_condition_of_a_clat_begins_and_ends(server, tmp_path, name):
    done, remedy = OF_CLAT[name]
    ip("address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
    ip("-6", "route", "add", "default", "dev", "eth0")
    with watched(loads(CLAT.format(tmp_path / "run" / "api.sock"))) as scene:
        run(*done.split())
        assert scene.standing() == {name}
        run(*(remedy or scene.command(name)).split())
        assert scene.standing() == set()


def test_what_cannot_be_set_up_again_is_a_condition_until_it_can(server, config):
    ip("address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
    with watched(config) as scene:
        ip("-6", "route", "del", "64:ff9b::/96", "dev", "nat64")
        ip("-6", "route", "add", "64:ff9b::/96", "via", "2001:db8:1::2")
        assert scene.standing() >= {"not_set_up"}
        ip("-6", "route", "del", "64:ff9b::/96", "via", "2001:db8:1::2")
        assert scene.standing() == set()


def test_who_undoes_again_and_again_is_a_condition_until_there_is_peace(server, config):
    with watched(config) as scene:
        for _ in range(CONTESTED):
            ip("-6", "route", "del", "64:ff9b::/96", "dev", "nat64")
            seen = scene.standing()
        assert seen == {"contested"}
        assert scene.standing(RECENT + 1) == set()


def test_an_interface_that_masquerades_and_loses_its_address(server, text):
    ip("link", "add", "wan0", "type", "veth", "peer", "name", "far1")
    ip("address", "add", "203.0.113.2/24", "dev", "wan0")
    with watched(loads(text.replace('masquerade = "auto"', 'masquerade = "wan0"'))) as scene:
        ip("address", "del", "203.0.113.2/24", "dev", "wan0")
        assert scene.standing() == {"masquerade_without_address"}
        ip("address", "add", "203.0.113.2/24", "dev", "wan0")
        assert scene.standing() == set()


def test_every_condition_has_a_test_that_provokes_and_ends_it():
    tables = PROVOKED.keys() | OF_CLAT.keys() | {name for _, name, _ in OPERATORS.values()}
    assert tables | ELSEWHERE.keys() | HERE.keys() == {row.name for row in CONDITIONS}
    for place in (*ELSEWHERE.values(), *(f"nat64d/test_conditions.py::{name}" for name in HERE.values())):
        file, _, test = place.partition("::")
        assert re.search(rf"^(async )?def {test}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE), place
