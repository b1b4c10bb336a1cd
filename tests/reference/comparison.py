"""The engine and the oracle side by side: same packets, same clock; the first difference is told in full."""

from functools import partial
from ipaddress import IPv4Address
from typing import Any
from weakref import proxy

import numpy as np

from tests.reference.bib import Host4, Host6
from tests.reference.error_limits import ErrorLimits
from tests.reference.oracle import Oracle, Scope
from tests.reference.outcome import compare, one_line, same_answer
from tests.reference.reading import ICMP, TCP, UDP
from tests.reference.world import world_of

NUMBERS = {"tcp": TCP, "udp": UDP, "icmp": ICMP}  # in the engine's tables
WORD = (1 << 64) - 1


class DisagreementError(AssertionError):
    """The implementation and the RFCs differ; the message has everything needed to repeat it."""


class Comparison:
    """A history so far."""

    def __init__(self, engine: Any, config: Any, scope: Scope) -> None:
        self.engine = engine
        # Parts of the oracle refer to one another in circles; none of them may keep the engine's tables in memory.
        self.oracle = Oracle(config, scope, partial(bound, proxy(engine)))
        self.limits = ErrorLimits(config.limits.icmp_errors_per_second)
        self.world = world_of(config, scope.extensions)
        self.history: list[tuple[float, bytes]] = []
        self.at = 1000.0
        self.packets = 0

    def send(self, pause: float, packet: bytes) -> None:
        """Both translate, `pause` seconds after the packet before, or as soon as no doubt is left what has ended by
        then; raises DisagreementError.
        """
        self.at = round(self.at + pause, 3)
        while self.oracle.is_doubtful(self.at):
            self.at = int(self.at) + 1.013
        self.history.append((self.at, packet))
        outcome = self.engine.send(packet, self.at)
        expected = self.oracle.send(packet, self.at, list(outcome.packets), outcome.verdict.name)
        objections = self.limits.objections(expected, outcome.verdict.name, outcome.answer, self.at)
        objections += expected.objections(outcome.verdict.name, outcome.packets, outcome.answer)
        objections += due_objections(expected.due, outcome.due)
        self.packets += 1
        self.world.mapped[:] = [*self.oracle.bibs.by_mapped4.values(), *self.oracle.services.targets]
        if objections:
            raise DisagreementError("\n".join([f"\n{one_line(packet)}", *objections, self.as_steps()]))

    def as_steps(self) -> str:
        """The history as Python, to become a regression case."""
        return "\n".join(
            ["STEPS = ["] + [f"    ({at}, {packet.hex()!r})," for at, packet in self.history[-12:]] + ["]"]
        )


def bound(engine: Any, protocol: str, host6: Host6) -> Host4 | None:
    """The engine's BIB, where a new binding is not to be seen in any packet."""
    number = NUMBERS[protocol] if protocol in NUMBERS else int(protocol)
    bibs = engine.tables.bibs.view(np.ndarray)
    for row in bibs[(bibs["live"] != 0) & (bibs["static"] != 2)]:
        address = (int(row["host6_hi"]) & WORD) << 64 | int(row["host6_lo"]) & WORD
        ends = address, row["host6_port"], row["protocol"]
        if ends == (int(host6[0]), host6[1], number):
            return IPv4Address(int(row["mapped4"])), int(row["mapped4_port"])
    return None


def due_objections(expected: list[bytes], got: list[bytes]) -> list[str]:
    """Packets of our own by the clock; their order is free, and of an ICMP error what every router is free in."""
    left = list(got)
    missing = []
    for one in expected:
        match = next((other for other in left if same_answer(one, other) or one == other), None)
        if match is None:
            missing.append(one)
        else:
            left.remove(match)
    return [f"by the clock, of our own: {one}" for one in compare(sorted(missing), sorted(left))]
