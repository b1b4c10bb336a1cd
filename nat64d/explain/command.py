"""`nat64d explain`: what becomes of one packet, step by step, and why. Offline: on tables of its own.

A packet of a capture comes after those before it, as in `nat64d replay`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from nat64d.config.load import load_offline
from nat64d.config.models import Config
from nat64d.control import output as text
from nat64d.exitcode import ExitCode
from nat64d.explain.packet_text import PacketError, packets
from nat64d.offline.capture import CaptureError, Packet

UNCOMPILED = 4000  # packets that are through before a compiler would be done


def main(
    packet: str, config: Path | None, as_json: bool, settle: Callable[[Config], Config] = lambda config: config
) -> ExitCode:
    """Explain `packet`; USAGE with a sentence on standard error if it, or its capture, cannot be used. `settle` puts
    addresses of this host where the configuration has names of interfaces.

    Raises ConfigError.
    """
    try:
        return _explain(packets(packet), settle(load_offline(config)), as_json)
    except (PacketError, CaptureError) as error:
        sys.stderr.write(f"nat64d: {error}\n")
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the last flush, at exit
        return ExitCode.GOOD
    return ExitCode.USAGE


def _explain(given: list[Packet], effective: Config, as_json: bool) -> ExitCode:
    if len(given) <= UNCOMPILED and "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    from nat64d.explain import explainer  # noqa: PLC0415  numba, which reads its environment when it is imported

    steps, outcome = explainer.explained(effective, given)
    document = explainer.document(given[-1][1], steps, outcome)
    lines = text.explanation_as_json(document) if as_json else text.explanation(document)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
    return ExitCode.GOOD
