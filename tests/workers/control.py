"""What an operator does while packets pass: look, end sessions, and change the configuration; nothing of it may disturb
the tables."""

from collections.abc import Callable
from ipaddress import IPv4Address
from random import Random

from nat64d.config.difference import Effect, difference, fixed
from nat64d.config.load import loads
from nat64d.control.filters import Filters
from nat64d.gateway.flush import answer_lost, flush
from nat64d.gateway.state import Live
from nat64d.gateway.takeover import change_over, prepare
from tests import invariants
from tests.listed import rows_of
from tests.packets import HOST4
from tests.reference import packets as make
from tests.workers.traffic import PROBE4, PROBE6, PROBE_PORT, SERVER
from translator.packet.fields import UDP

BASE = f"""
pool6 = "64:ff9b::/96"
strict_well_known_prefix = false
[[forward]]
protocol = "udp"
ipv4 = "{PROBE4}:{PROBE_PORT}"
ipv6 = "[{PROBE6}]:{PROBE_PORT}"
[[eam]]
ipv4 = "192.0.2.16/28"
ipv6 = "2001:db8::6:0/124"
[[service]]
name = "web"
ipv4 = "192.0.2.15:80"
endpoints = ["[2001:db8:e::5]:80", "[2001:db8:e::6]:80"]
"""
POOL = '[[pool4]]\naddresses = "{}"\nports = "{}"\n'
SMALL, LARGE = POOL.format("192.0.2.1", "2000-2255"), POOL.format("192.0.2.1-192.0.2.4", "2000-2255")
LIMITS = "[limits]\nsessions = 4096\nfragments_memory = 65536\n"
CONFIGURATIONS = (
    BASE + LARGE + LIMITS,
    BASE + SMALL + LIMITS,
    BASE + LARGE + LIMITS + "per_host_sessions = 16\nport_quarantine = 0\n",
    BASE + LARGE + LIMITS + "[filtering]\naddress_dependent = true\ncheck_rst = true\n",
    BASE + LARGE + LIMITS + f'[translation]\ndenylist4 = ["{IPv4Address(HOST4) + 1}/32"]\n',
    BASE + LARGE + LIMITS + "port_block = 32\n",
)
ONE_CLOCK = False  # a queue reads the clock once for a batch, so that the other may be ahead of it
PACKET = make.ipv6(PROBE6, SERVER, UDP, make.udp(PROBE_PORT, 53, b"what if"))


class Control:
    """One thing after the other, by chance; `done` counts them by name."""

    def __init__(self, live: Live, rng: Random) -> None:
        self.done = {action.__name__.strip("_"): 0 for action in self._actions()}
        self._live, self._rng, self._counted = live, rng, 0

    def _actions(self) -> tuple[Callable[[], None], ...]:
        return self._list, self._count, self._flush, self._answer_lost, self._explain, self._change, self._check

    def act(self) -> None:
        """The next thing. Raises AssertionError when something does not add up."""
        action = self._rng.choice(self._actions())
        action()
        self.done[action.__name__.strip("_")] += 1

    def _list(self) -> None:
        name = self._rng.choice(("sessions", "bib", "hosts"))
        rows = rows_of(getattr(self._live, name)(Filters()))
        assert all(rows), name

    def _count(self) -> None:
        """Counters never go back."""
        counted = sum(row["packets"] for row in self._live.counters())
        assert counted >= self._counted
        self._counted = counted
        self._live.measured()
        self._live.pools()
        self._live.services(Filters())

    def _flush(self) -> None:
        flush(self._live, Filters(proto=self._rng.choice(("tcp", "udp", "icmp"))))

    def _answer_lost(self) -> None:
        answer_lost(self._live)

    def _explain(self) -> None:
        assert self._live.explain(PACKET)["verdict"] == "translated"

    def _change(self) -> None:
        live, config = self._live, loads(self._rng.choice(CONFIGURATIONS), "test")
        changes = difference(live.config, config)
        assert not fixed(changes, "test"), "only what a running daemon can change to"
        judges = any(change.effect is Effect.SESSIONS for change in changes)
        change_over(live, prepare(live, config, judges))

    def _check(self) -> None:
        """Every invariant, between two packets."""
        live = self._live
        with live.paused():
            assert live.tables is not None
            assert live.settings is not None
            invariants.check(live.tables, live.settings, ONE_CLOCK)
