"""The engine and the oracle side by side: same packets, same clock; the first difference is told in full."""

from typing import Any

from tests.reference.oracle import Oracle, Scope
from tests.reference.outcome import compare, one_line
from tests.reference.world import world_of


class DisagreementError(AssertionError):
    """The implementation and the RFCs differ; the message has everything needed to repeat it."""


class Comparison:
    """A history so far."""

    def __init__(self, engine: Any, config: Any, scope: Scope) -> None:
        self.engine = engine
        self.oracle = Oracle(config, scope)
        self.world = world_of(config, scope.extensions)
        self.history: list[tuple[float, bytes]] = []
        self.at = 1000.0
        self.packets = 0

    def send(self, pause: float, packet: bytes) -> None:
        """Both translate, `pause` seconds after the packet before; raises DisagreementError."""
        self.at = round(self.at + pause, 3)
        self.history.append((self.at, packet))
        outcome = self.engine.send(packet, self.at)
        expected = self.oracle.send(packet, self.at, list(outcome.packets), outcome.verdict.name)
        objections = expected.objections(outcome.verdict.name, outcome.packets, outcome.answer)
        objections += due_objections(expected.due, outcome.due)
        self.packets += 1
        self.world.mapped[:] = self.oracle.bibs.by_mapped4.values()
        if objections:
            raise DisagreementError("\n".join([f"\n{one_line(packet)}", *objections, self.as_steps()]))

    def as_steps(self) -> str:
        """The history as Python, to become a regression case."""
        return "\n".join(
            ["STEPS = ["] + [f"    ({at}, {packet.hex()!r})," for at, packet in self.history[-12:]] + ["]"]
        )


def due_objections(expected: list[bytes], got: list[bytes]) -> list[str]:
    """Packets of our own by the clock; their order is free."""
    return compare(sorted(expected), sorted(got))
