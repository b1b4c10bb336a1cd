"""A daemon to be scraped: the gateway as the control plane sees it, but for the host and the processes of the name
server, which stand still until a test moves them."""

import logging
from collections import Counter
from typing import Any

from scapy.layers.inet import IP, TCP
from scapy.packet import Packet

from nat64d.control.metrics import Exposition
from nat64d.dataplane.worker import Queue
from nat64d.dns64.message.endings import EVENTS, Ending
from nat64d.gateway.link_drops import LinkDrops
from nat64d.gateway.state import Live
from nat64d.host.board import Board
from nat64d.host.conditions import CONDITIONS, Found
from tests.monitoring.promql import Scrape, samples_of
from tests.packets import HOST4, whole
from tests.sessions import Sessions
from translator.session.log import LOST
from translator.verdict import Direction, Event, Verdict

INTERVAL = 60.0  # seconds between two scrapes
SERVER = "192.0.2.53:53"
ENDPOINTS = ["[2001:db8:5::1]:8080"]
WEB, CLASHING = (
    {"name": name, "ipv4": f"203.0.113.80:{port}", "endpoints": ENDPOINTS}
    for name, port in (("web", 80), ("again", 81))
)
TARGET = {"job": "nat64d", "instance": "gw1:6464"}


def to_service(port: int = 80, src: str = HOST4) -> Packet:
    """A SYN of a client."""
    return whole(IP(src=src, dst="203.0.113.80", ttl=64) / TCP(sport=40000, dport=port, flags="S"))


class Names:
    """The name server, by its report."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.asked = self.answered = self.failed = 0
        self.queries: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def report(self) -> dict[str, Any]:
        """As NameServer.report."""
        row = {"asked": self.asked, "answered": self.answered, "failed": self.failed, "seconds": 0.01, "problem": ""}
        cache = {"entries": 6, "octets": 4096, "limit": 65536, "hits": self.queries["cached"], "misses": self.asked}
        return {"queries": self.queries, "upstream": {SERVER: row}, "cache": cache}

    def status(self) -> dict[str, Any]:
        """As NameServer.status."""
        return {"listening": [], "upstream": [SERVER], "synthesises": True}

    def events(self) -> list[dict[str, Any]]:
        """As NameServer.events."""
        return [{"event": name, "count": self.counts[name], "help": text} for name, text in EVENTS.items()]

    def warnings(self) -> list[str]:
        """As NameServer.warnings."""
        return self.problems


class Unwatched(Sessions):
    """Others check what the tables hold."""

    def check_invariants(self) -> None:
        """Nothing."""


class Daemon:
    """Ready, with traffic that nobody has to be woken for; `scrapes` is what Prometheus has of it."""

    def __init__(self, clock: list[int]) -> None:
        """`clock[0]` is the time of the data plane, in milliseconds."""
        self.clock = clock
        pool = {"addresses": "192.0.2.1-192.0.2.2", "ports": "2000-2015"}
        self.nat64 = Unwatched(pool4=[pool], forward=[], limits={"sessions": 64}, service=[WEB, CLASHING])
        self.live = live = Live(self.nat64.config)
        queue = Queue(0, -1, coalesces=False)
        queue.worker = self.nat64.worker
        live.settings, live.tables, live.queues, live.state = self.nat64.settings, self.nat64.tables, [queue], "ready"
        live.board, live.restored = Board(logging.getLogger("test")), dict.fromkeys(("kept", "damaged"), 0)
        self.link_dropped, self.is_up, self.names, self.age = 0, True, Names(), 100.0
        live.link_drops = LinkDrops("nat64", 1, logging.getLogger("test"), lambda _: self.link_dropped)
        live.nameserver = self.names  # type: ignore[assignment]
        self.queue, self.scrapes = queue, list[Scrape]()
        self.use()
        self.scrape()

    def use(self) -> None:
        """A minute of use: every protocol, names, and what the internet sends all day."""
        self.live.happened.counts["condition"] += 1
        for protocol in ("tcp", "udp", "icmp"):
            self.nat64.from4(protocol, self.nat64.opened(protocol, 5000 if protocol != "icmp" else 77))
        self.nat64.from4("tcp", ("192.0.2.1", 2015), flags="ACK")
        self.nat64.say(to_service())
        self.queue.batches[0] += 4
        self.queue.batches[1:] += 1
        self.names.asked += 100
        self.names.answered += 99
        self.names.failed += 1
        for ending in (Ending.CACHED, Ending.SYNTHESISED, Ending.RELAYED):
            self.names.queries[str(ending)] += 100
        self.names.queries[str(Ending.FAILED)] += 1

    def scrape(self) -> None:
        """One more scrape, a minute later, or none that succeeds."""
        at = len(self.scrapes) * INTERVAL
        self.age += INTERVAL
        samples = {frozenset({"__name__": "up", **TARGET}.items()): float(self.is_up)}
        if self.is_up:
            text = Exposition(self.live).render("")[0].decode()
            samples |= samples_of(text, **TARGET)
            samples[frozenset({"__name__": "nat64d_uptime_seconds", **TARGET}.items())] = self.age
        self.scrapes.append((at, samples))

    # What can happen to it

    def drop(self, verdict: Verdict, packets: int = 10) -> None:
        """Packets end so."""
        self.nat64.worker.counters[Direction.SIX_TO_FOUR, verdict] += packets

    def count(self, event: Event, times: int = 10) -> None:
        """An event happens."""
        self.nat64.worker.events[event] += times

    def lose_entries(self) -> None:
        """The ring of the log of sessions was full."""
        self.nat64.tables.log_at[LOST] += 10

    def stand(self, blocks: bool) -> None:
        """A condition of the host begins."""
        assert self.live.board is not None
        row = next(row for row in CONDITIONS if row.blocks == blocks)
        self.live.board.update([Found(row, "A sentence.")], 0.0)

    def restart(self) -> None:
        """The daemon was started again since the last scrape, each time a little later."""
        self.age = -len(self.scrapes)

    def fill_sessions(self) -> None:
        """More than four fifths of the session table are taken, by a handful of hosts."""
        for host in range(13):
            for peer in range(4):
                self.nat64.from6("udp", 5000, (f"198.51.100.{peer + 1}", 53), host=f"2001:db8:{host + 16:x}::1")

    def fill_pool(self) -> None:
        """More than four fifths of the ports for UDP are taken, by as many hosts."""
        for host in range(26):
            self.nat64.from6("udp", 5000, host=f"2001:db8:{host + 16:x}::1")

    def lose_endpoints(self) -> None:
        """No endpoint of a service serves."""
        tables = self.nat64.tables
        tables.members.weight[: tables.fronts[0].count] = -1

    def clash(self) -> None:
        """A client uses the port that it uses towards one service towards another one of the same endpoint, too."""
        self.nat64.say(to_service(port=81))

    def crowd(self) -> None:
        """Clients come to a service, and nobody answers them."""
        for client in range(20):
            self.nat64.say(to_service(src=f"198.51.100.{client + 1}"))

    def fall_behind(self) -> None:
        """A quarter of a minute passes in which no session is ended."""
        self.clock[0] += 15_000
