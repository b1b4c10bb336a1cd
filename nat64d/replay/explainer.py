"""Packets through the steps, one after the other, beside the pipeline that has to come to the same end."""

from dataclasses import replace
from typing import Any

from nat64d.config import Config
from nat64d.engine import Engine, Outcome
from nat64d.replay.capture import Packet
from nat64d.replay.replay import START
from nat64d.replay.steps_text import Step, steps_of
from translator.explain import Explanation, explain, released
from translator.pipeline import HEADROOM


class DisagreementError(Exception):
    """The explanation is not of what the pipeline does; one sentence."""


class Explainer(Engine):
    """An Engine that can also say why."""

    def explain(self, packet: bytes, at: float) -> tuple[Explanation, Outcome]:
        """Do what `send` does, and tell each step."""
        due = self.expire(at)
        told, outcome = self.tell(packet, round(at * 1000))
        return told, replace(outcome, due=due)

    def tell(self, packet: bytes, now: int) -> tuple[Explanation, Outcome]:
        """Do what `translate` does, and tell each step."""
        end = self.load(packet)
        common = self.settings, self.tables, self.worker, now, self.slot
        told = explain(*common, HEADROOM, end)
        outcome = self.read(told.outcome)
        while one := released(*common):
            told = told._replace(released=(*told.released, one))
            outcome.packets.extend(self._packets(one.outcome))
        return told, outcome


def explained(config: Config, packets: list[Packet]) -> tuple[list[Step], Outcome]:
    """What becomes of the last packet after all the others, and why; raises DisagreementError."""
    explainer, pipeline, begin = Explainer(config), Engine(config), packets[0][0]
    *history, (time, packet) = [((START + (time - begin) // 1_000_000) / 1000, octets) for time, octets in packets]
    for at, octets in history:
        explainer.send(octets, at)
        pipeline.send(octets, at)
    explainer.expire(time)
    pipeline.expire(time)
    return compared(explainer, pipeline, packet, round(time * 1000))


def compared(explainer: Explainer, pipeline: Engine, packet: bytes, now: int) -> tuple[list[Step], Outcome]:
    """What becomes of a packet in the one, if it becomes the same in the other; raises DisagreementError."""
    told, outcome = explainer.tell(packet, now)
    expected = pipeline.translate(packet, now)
    if outcome != expected:
        raise DisagreementError(
            f"the steps end in {outcome.verdict.name.lower()}, the pipeline in {expected.verdict.name.lower()}, or "
            "with other octets: expected the same; please report this packet"
        )
    return list(steps_of(explainer.settings, now, packet, told, outcome)), outcome


def document(packet: bytes, steps: list[Step], outcome: Outcome) -> dict[str, Any]:
    """An explanation as `nat64d.control.gateway.Explanation` has it."""
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
