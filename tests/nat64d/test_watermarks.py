"""[limits] watermark: a condition begins when pools or tables fill, and ends when they are LOWER percent emptier."""

import logging
from types import SimpleNamespace

import pytest
from scapy.layers.inet import IP

from nat64d.config.load import loads
from nat64d.gateway.pool_use import PoolUse
from nat64d.gateway.state import Live
from nat64d.gateway.watermarks import Watermarks
from nat64d.host.board import Board
from nat64d.host.conditions import Mark
from nat64d.host.watch import Watch
from tests.case import BEGIN
from tests.nat64d.test_host_conditions import GATEWAY, SOUND, WANTED
from tests.packets import HOST4, whole
from tests.sessions import Sessions

LOG = logging.getLogger("nat64d.test")
TEN = [{"addresses": "192.0.2.1", "ports": "2000-2009", "protocols": ["udp"]}]
WIDE = [{"addresses": "192.0.2.0/26", "ports": "2000-2099"}]


class Marked:
    """A gateway, and its marks."""

    def __init__(self, pool4=WIDE, **limits) -> None:
        self.nat64 = Sessions(pool4=pool4, forward=[], limits={"sessions": 256, "subscriber": 128, **limits})
        self.watermarks, self.pools = Watermarks(), PoolUse(self.nat64.config)

    def look(self) -> list[str]:
        """The sentences that are said now, as far as they are about what."""
        moment = round((BEGIN + self.nat64.now) * 1000)
        found = self.watermarks.look(self.nat64.config, self.nat64.tables, self.pools, moment)
        return [f"{mark.condition}: {mark.sentence}" for mark in found]

    def open(self, count: int, port: int = 6000) -> None:
        for k in range(count):
            self.nat64.opened("udp", port, host=f"2001:db8:1::{port + k:x}")


def test_ports_of_an_address():
    marked = Marked(TEN, watermark=80)
    marked.open(7)
    assert marked.look() == []
    marked.open(1, 7000)
    (sentence,) = marked.look()
    assert sentence.startswith("pool4_filling: 80 % or more of the ports for udp of 192.0.2.1 are in use")


def test_it_is_left_ten_percent_lower():
    marked = Marked(TEN, watermark=80, port_quarantine=0)
    marked.open(7)
    marked.nat64.wait(1.5)
    marked.open(1, 7000)
    assert len(marked.look()) == 1
    marked.nat64.wait(297)
    for k in range(7):  # these live on
        marked.nat64.from6("udp", 6000, host=f"2001:db8:1::{6000 + k:x}")
    marked.nat64.wait(5)
    assert len(marked.nat64.sessions()) == 7
    assert len(marked.look()) == 1
    marked.nat64.wait(300)
    assert marked.look() == []
    marked.open(7)
    assert marked.look() == []


def test_the_session_table_and_the_bib():
    marked = Marked(sessions=16, watermark=50)
    marked.open(7)
    assert marked.look() == []
    marked.open(1, 7000)
    assert [sentence[:38] for sentence in marked.look()] == [
        "tables_filling: The session table is f",
        "tables_filling: The BIB is filling: 50",
    ]


def test_blocks_of_an_address_and_their_table():
    pool4 = [{"addresses": "192.0.2.1", "ports": "2000-2079"}, {"addresses": "192.0.2.9", "source": "3fff::/64"}]
    marked = Marked(pool4, port_block=10, watermark=50, sessions=64)
    marked.open(3)
    assert marked.look() == []
    marked.open(1, 7000)
    (sentence,) = marked.look()
    assert sentence.startswith("pool4_filling: 50 % or more of the blocks of ports of 192.0.2.1 are in use")
    marked.open(4, 8000)
    assert [sentence[:30] for sentence in marked.look()] == [
        "tables_filling: The table of b",
        "pool4_filling: 50 % or more of",
    ]


def test_rfc7422_2_2_of_a_deterministic_pool_the_blocks_that_are_not_computed_have_a_mark():
    """Four of eight: one subscriber takes two of them, once its computed one is full. There is another pool besides."""
    pool = {"addresses": "192.0.2.1", "ports": "2000-2079", "source": "2001:db8:1::/62", "deterministic": True}
    other = pool | {"addresses": "192.0.2.9", "source": "2001:db8::/62"}
    marked = Marked([pool, other], port_block=10, watermark=50, subscriber=64)
    for first, said in ((6000, 0), (7000, 0), (8000, 1)):
        marked.open(10, first)
        found = [sentence for sentence in marked.look() if sentence.startswith("pool4_filling")]
        assert len(found) == said
    assert "50 % or more of the blocks of ports of 192.0.2.1 are in use" in found[0]


def test_of_many_addresses_all_together_have_a_mark():
    marked = Marked([{"addresses": "192.0.2.0/27", "ports": "2000-2000", "protocols": ["udp"]}], watermark=50)
    marked.open(15)
    assert marked.look() == []
    marked.open(1, 7000)
    (sentence,) = marked.look()
    assert "192.0.2.0 to 192.0.2.31 are in use" in sentence


def test_memory_for_fragments():
    marked = Marked(fragments_memory=16384, watermark=50)
    mapped, _ = marked.nat64.opened("udp", 6000)
    for number in range(7):
        packet = IP(src=HOST4, dst=mapped, proto=17, id=number, flags="MF", frag=200) / (b"x" * 1200)
        marked.nat64.say(bytes(whole(packet)))
        assert [sentence[:35] for sentence in marked.look()] == ["tables_filling: The memory for frag"] * (number // 6)
    marked.nat64.wait(11)
    assert marked.look() == []


@pytest.mark.parametrize("change", [{"watermark": 0}, {"watermark": 100}])
def test_without_a_mark_nothing_is_said(change):
    marked = Marked(TEN, **change)
    marked.open(8)
    assert marked.look() == []


def test_the_daemon_looks_by_itself_once_packets_pass():
    marked = Marked(TEN, watermark=80)
    live = Live(marked.nat64.config)
    live.tables, live.settings = marked.nat64.tables, marked.nat64.settings
    marked.open(8)
    assert live.marks() == ()
    live.state = "ready"
    assert [mark.condition for mark in live.marks()] == ["pool4_filling"]


def test_a_condition_begins_and_ends_between_two_looks_at_the_host(caplog):
    caplog.set_level(logging.INFO)
    marks: list[Mark] = []
    board = Board(LOG)
    host = SimpleNamespace(config=loads(GATEWAY), wanted_at=lambda _: WANTED)
    watch = Watch(host, board, LOG, read=lambda _: SOUND, marks=lambda: tuple(marks))
    watch.check_marks(0.0)  # before the first look at the host there is nothing to say it beside
    watch.check(1.0)
    assert board.standing(1.0) == []
    marks.append(Mark("pool4_filling", "It fills. Run 'nat64d pools'."))
    watch.check_marks(2.0)
    (row,) = board.standing(5.0)
    assert (row["condition"], row["blocks"], row["seconds"]) == ("pool4_filling", False, 3.0)
    assert row["command"] == "nat64d pools"
    marks.clear()
    watch.check_marks(9.0)
    assert board.standing(9.0) == []
    assert caplog.messages[-1:] == ["Over after 7 s: pool4_filling: It fills. Run 'nat64d pools'."]
