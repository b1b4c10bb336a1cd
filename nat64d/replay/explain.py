"""`nat64d explain`: what becomes of one packet, step by step, and why. Offline: on tables of its own.

A packet of a capture comes after those before it, as in `nat64d replay`.
"""

import os
import sys
from pathlib import Path

from nat64d.config import ConfigError, load_offline
from nat64d.control import text
from nat64d.replay.capture import CaptureError
from nat64d.replay.packet_text import PacketError, packets

EXPLAINED, DISAGREES, UNUSABLE = 0, 1, 2  # exit codes
UNCOMPILED = 4000  # packets that are through before a compiler would be done


def main(packet: str, config: Path | None, as_json: bool) -> int:
    """Explain `packet`; 2 with a sentence if it, or a file, cannot be used."""
    try:
        return _explain(packet, config, as_json)
    except ConfigError as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
    except (PacketError, CaptureError) as error:
        sys.stderr.write(f"nat64d: {error}\n")
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush, at exit
        return EXPLAINED
    return UNUSABLE


def _explain(packet: str, config: Path | None, as_json: bool) -> int:
    given, effective = packets(packet), load_offline(config)
    if len(given) <= UNCOMPILED and "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    from nat64d.replay import explainer  # noqa: PLC0415  numba, which reads its environment when it is imported

    try:
        steps, outcome = explainer.explained(effective, given)
    except explainer.DisagreementError as error:
        sys.stderr.write(f"nat64d: {error}\n")
        return DISAGREES
    document = explainer.document(given[-1][1], steps, outcome)
    lines = text.explanation_as_json(document) if as_json else text.explanation(document)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
    return EXPLAINED
