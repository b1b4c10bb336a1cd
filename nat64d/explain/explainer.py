"""The last of several packets through the recorded pipeline, and what `nat64d explain` tells of it."""

from typing import Any, Self

from nat64d.config.models import Config
from nat64d.explain.fast_path import path_step
from nat64d.explain.step import Step
from nat64d.explain.steps_text import steps_of
from nat64d.offline.capture import Packet
from nat64d.offline.engine import START, Ended, Engine
from nat64d.offline.replay import Replay
from translator.explain import Recorder
from translator.plain import Copies
from translator.tables.gateway import Gateway


class Explainer(Engine):
    """An Engine that can also say why. Its own calls of the translator are in plain Python: nothing is compiled."""

    @classmethod
    def of(cls, gateway: Gateway) -> Self:
        """An Explainer that goes on where these tables and this worker are."""
        explainer = super().of(gateway)
        explainer.clock = Copies().module("translator.clock")
        return explainer

    def explain(self, packet: bytes, now: int, fast: bool = False) -> tuple[list[Step], Ended]:
        """Do what `translate` does, and describe each step; `fast`: first, which way the packet takes."""
        path = path_step(self.settings, self.tables, packet, now) if fast else None
        recorder = Recorder()
        self.steps = recorder.module("translator.pipeline")
        try:
            outcome = self.translate(packet, now)
            return [*filter(None, [path]), *steps_of(self.gateway, now, recorder.top.calls, outcome)], outcome
        finally:
            recorder.forget()
            del self.steps


def explained(config: Config, packets: list[Packet]) -> tuple[list[Step], Ended]:
    """What becomes of the last packet after all the others, and why."""
    replay, (time, packet) = Replay(config), packets[-1]
    for _ in replay.run(packets[:-1]):
        pass
    now = START + (time - packets[0][0]) // 1_000_000
    explainer = Explainer.of(replay.gateway)
    explainer.expire(now / 1000)
    return explainer.explain(packet, now, config.fastpath.mode != "off")


def document(packet: bytes, steps: list[Step], outcome: Ended) -> dict[str, Any]:
    """An explanation as `nat64d.control.rows.Explanation` has it."""
    outputs = outcome.packets or ([outcome.answer] if outcome.answer else [])
    return {
        "steps": [{"step": step.name, "rfc": step.rfc or None, "found": step.found} for step in steps],
        "verdict": outcome.verdict.name.lower(),
        "direction": outcome.direction,
        "rfc": outcome.verdict.section,
        "help": outcome.verdict.help,
        "answered": outcome.answer is not None,
        "packet": packet.hex(),
        "outputs": [octets.hex() for octets in outputs],
    }
