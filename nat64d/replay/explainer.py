"""Packets through the steps, one after the other, beside the pipeline that has to come to the same end."""

from dataclasses import replace

from nat64d.config import Config
from nat64d.engine import Engine, Outcome
from nat64d.replay.capture import Packet
from nat64d.replay.replay import START
from nat64d.replay.steps_text import Step, steps_of
from translator.explain import Explanation, explain
from translator.pipeline import HEADROOM


class DisagreementError(Exception):
    """The explanation is not of what the pipeline does; one sentence."""


class Explainer(Engine):
    """An Engine that can also say why."""

    def explain(self, packet: bytes, at: float) -> tuple[Explanation, Outcome]:
        """Do what `send` does, and tell each step."""
        due = self.expire(at)
        end = self.load(packet)
        told = explain(self.settings, self.tables, self.worker, round(at * 1000), self.slot, HEADROOM, end)
        return told, replace(self.read(told.outcome), due=due)


def explained(config: Config, packets: list[Packet]) -> tuple[list[Step], Outcome]:
    """What becomes of the last packet after all the others, and why; raises DisagreementError."""
    explainer, pipeline, begin = Explainer(config), Engine(config), packets[0][0]
    *history, (time, packet) = [((START + (time - begin) // 1_000_000) / 1000, octets) for time, octets in packets]
    for at, octets in history:
        explainer.send(octets, at)
        pipeline.send(octets, at)
    told, outcome = explainer.explain(packet, time)
    expected = pipeline.send(packet, time)
    if outcome != expected:
        raise DisagreementError(
            f"the steps end in {outcome.verdict.name.lower()}, the pipeline in {expected.verdict.name.lower()}, or "
            "with other octets: expected the same; please report this packet"
        )
    return list(steps_of(explainer.settings, round(time * 1000), packet, told, outcome)), outcome
