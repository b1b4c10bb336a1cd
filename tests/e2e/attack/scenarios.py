"""Who attacks how, and what must hold besides."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.e2e.attack.network import ATTACKER6, ECHO, RESOLVER, SERVER4, VICTIM6, VIP, Daemon, Network

CHOSEN_PORT = 4444  # which the sender of SYNs would like victims to have
METRICS = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"  # and no empty line
LOG = 100_000  # octets
EVERY = ("/32", "/29", "/24")

Mapped = list[tuple[str, int]]  # transport addresses in the pool that are neighbour6's


class Attack(NamedTuple):
    """What an attacker does: sends a deck (decks.py), or holds connections (programs.py).

    The `rate` is more than what translators without fair shares stand. Where tables must be full to hurt, they are
    filled first, with as much as this machine sends, for `fill` seconds at most.
    """

    name: str
    host: str
    rate: int  # packets, queries or connections a second
    deck: str = ""
    arguments: Callable[[Mapped, str], dict[str, Any]] = lambda mapped, pool: {}
    hold: tuple[str, ...] = ()
    fill: float = 0
    use: str = "ignore"  # what neighbour6 does with what comes
    victims: tuple[str, ...] = ("host",)
    verdict: str = "translated"  # of the packets, lest an attack misses
    fault: Callable[[Daemon], str] = lambda daemon: ""  # looked for while the attack lasts
    pools: tuple[str, ...] = ("/29",)
    packets: int = 0  # it lasts until so many were sent
    always: bool = False  # on the first of the pools in every run, not in those of slow tests only

    def program(self, network: Network, mapped: Mapped, pool: str) -> tuple[str, ...]:
        """What the attacker runs: a module of this package and its arguments."""
        if self.hold:
            return "programs", "hold", *self.hold
        return "flood", *network.way(self.host), self.deck, json.dumps(self.arguments(mapped, pool))


def chosen_port(daemon: Daemon) -> str:
    """A mapping is the gateway's choice: one of the victim may have that port by chance, not two."""
    ports = [row["mapped4_port"] for row in daemon.rows("bib", host6=VICTIM6, proto="tcp")]
    chosen = ports.count(CHOSEN_PORT)
    return f"{chosen} mappings as chosen outside" if chosen > 1 else ""


def status_fails(daemon: Daemon) -> str:
    """The control socket answers, and the log is not flooded."""
    asked = daemon.ask("status")
    if asked.returncode:
        return f"status: {asked.stderr}"
    size = daemon.log.stat().st_size
    return f"a log of {size} octets" if size > LOG else ""


def circles(daemon: Daemon) -> str:
    """What a forged datagram caused was not sent back and forth."""
    hairpinned = daemon.packets("hairpinned")
    return f"{hairpinned} packets circled" if hairpinned else ""


ATTACKS = (
    Attack("nobody attacks", "attacker6", 0, hold=(RESOLVER, "53", "0", "")),
    Attack(
        "spoofed datagrams to a mapped port",
        "attacker4",
        30_000,
        "from_outside",
        lambda mapped, _: {"mapped": mapped[0][0], "port": mapped[0][1]},
        fill=20,
        pools=EVERY,
        always=True,
    ),
    Attack(
        "one host opens flows",
        "attacker6",
        50_000,
        "mixed_flows",
        lambda *_: {"sources": f"{ATTACKER6[0]}/128"},
        fill=20,
        pools=("/29", "/32", "/24"),
    ),
    Attack(
        "one /64 opens flows",
        "attacker6",
        50_000,
        "mixed_flows",
        lambda *_: {"sources": "2001:db8:a::/64"},
        fill=20,
        pools=("/29", "/32", "/24"),
    ),
    Attack(
        "even ports of eight prefixes",
        "attacker6",
        8_000,
        "even_ports",
        lambda *_: {"sources": "2001:db8:a::/61"},
        fill=5,
        pools=EVERY,
    ),
    Attack(
        "even ports of 64 prefixes",
        "attacker6",
        8_000,
        "even_ports",
        lambda *_: {"sources": "2001:db8:a::/58"},
        fill=5,
        pools=EVERY,
        always=True,
    ),
    Attack(
        "64 prefixes open flows",
        "attacker6",
        20_000,
        "mixed_flows",
        lambda *_: {"sources": "2001:db8:a::/58"},
        fill=5,
        pools=EVERY,
    ),
    Attack(
        "a new host each packet",
        "attacker6",
        20_000,
        "flows",
        lambda *_: {"sources": "2001:db8:a::/48"},
        fill=3,
        pools=("/20", "/32", "/29", "/24"),
    ),
    Attack(
        "spoofed SYNs of a server",
        "attacker4",
        5_000,
        "held_syns",
        lambda _, pool: {"server": SERVER4, "server_port": int(ECHO), "pool": pool, "port": CHOSEN_PORT},
        verdict="syn_held",
        fault=chosen_port,
        pools=("/24", "/32", "/29"),
    ),
    Attack(
        "a million spoofed SYNs to a service",
        "attacker4",
        30_000,
        "syns_from_anywhere",
        lambda *_: {"address": VIP, "port": int(ECHO)},
        fill=20,
        victims=("host", "client"),
        packets=1_000_000,
    ),
    Attack(
        "packets at their last hop",
        "attacker6",
        1_000,
        "last_hop",
        lambda *_: {"source": ATTACKER6[0]},
        verdict="hop_limit_expired",
        victims=("host", "sender"),
        pools=EVERY,
    ),
    Attack(
        "queries of one address",
        "attacker6",
        5_000,
        "queries",
        lambda *_: {"sources": [f"{ATTACKER6[0]}/128"], "resolver": RESOLVER},
        victims=("host", "asker"),
        pools=EVERY,
    ),
    Attack(
        "queries of five prefixes",
        "attacker6",
        4_500,
        "queries",
        lambda *_: {"sources": [f"2001:db8:a:{number}::/64" for number in range(5)], "resolver": RESOLVER},
        victims=("host", "asker"),
        pools=EVERY,
        always=True,
    ),
    Attack(
        "silent TCP connections",
        "attacker6",
        1_000,
        hold=(RESOLVER, "53", "320", "", *ATTACKER6),
        victims=("host", "asker"),
        pools=EVERY,
    ),
    Attack(
        "half requests to 127.0.0.1:6464",
        "gateway",
        2_000,
        hold=("127.0.0.1", "6464", "1000", METRICS),
        fault=status_fails,
        pools=EVERY,
    ),
    Attack(
        "one inside host in the name of another (LAND)",
        "attacker4",
        100,
        "forged_pairs",
        lambda mapped, _: {"mapped": mapped[0][0], "one": mapped[0][1], "other": mapped[1][1]},
        use="echo",
        verdict="forged_source",
        fault=circles,
        always=True,
        pools=EVERY,
    ),
)
