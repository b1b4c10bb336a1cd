"""The pipeline as Engine calls it, packet by packet: one entry. Each function that Python calls is compiled with all it
calls, and a packet that came in and a fragment that was kept both go through the whole pipeline."""

from translator.jit.compile import int64, jit
from translator.pipeline import Outcome, Output, first_output
from translator.pipeline import next_output as after
from translator.pipeline import receive as receive_one
from translator.tables.layout import NONE
from translator.verdict import Verdict

__all__ = ["first_output", "next_output", "receive"]
NOTHING = Output(False, 0, 0, Outcome(Verdict.TRANSLATED, 0, 0, 0, 0, 0, NONE), 0)


@jit()
def either(gateway, now, p, at, end, output):
    """The outcome of a packet in [at, end), in an output that is none; or, where `end` is 0, what goes out after
    `output`."""
    if end > 0:
        return Output(False, int64(0), int64(0), receive_one(gateway, now, p, at, end), int64(0))
    return after(gateway, now, p, output)


def receive(gateway, now, p, at, end):
    """As that of the pipeline."""
    return either(gateway, now, p, at, end, NOTHING).outcome


def next_output(gateway, now, p, output):
    """As that of the pipeline."""
    return either(gateway, now, p, 0, 0, output)
