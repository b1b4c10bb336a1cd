"""What would become of a packet now: the steps on a copy of the running gateway's tables, in a process of their own.

`rehearse` is called by the daemon, `main` is the process. It is a process so that it can be ended when it takes too
long, and so that a start without compiler (a second) is possible although the daemon runs compiled code; it has the
daemon's settings, secret, clock and worker, and whatever it writes stays in its own memory.
"""

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import nat64d
from nat64d.dataplane.snapshot import SnapshotError, snapshot
from translator.tables.gateway import Gateway, Worker
from translator.tables.settings import Settings
from translator.tables.tables import Tables

# LIMITS
PATIENCE = 30.0  # seconds for one packet; starting a process takes long on a machine that is overloaded


class RehearsalError(Exception):
    """There is no explanation; one sentence."""


def rehearse(settings: Settings, tables: Tables, worker: Worker, packet: bytes, fast: bool = False) -> dict[str, Any]:
    """What would become of a packet that comes to `worker` now; `fast`: there is a fast path beside. Raises
    RehearsalError."""
    command = [sys.executable, "-P", "-m", __name__]
    paths = [str(Path(nat64d.__file__).parents[1]), os.environ.get("PYTHONPATH")]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        with snapshot(tables) as copy:
            done = subprocess.run(  # noqa: S603  no shell, and ourselves
                command,
                env=environment,
                input=pickle.dumps((_attributes(settings), _attributes(worker), copy, packet, fast)),
                pass_fds=[copy.fd],
                capture_output=True,
                timeout=PATIENCE,
                check=False,
            )
    except SnapshotError as error:
        raise RehearsalError(str(error)) from None
    except subprocess.TimeoutExpired:
        raise RehearsalError(f"no explanation within {PATIENCE:g} s") from None
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        if re.match(r"[\w.]+(Error|Exception)\b", last) or not last:  # not a sentence of ours
            last = f"no explanation: the process that makes it failed ({last or 'it said nothing'})"
        raise RehearsalError(last)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _attributes(value: Settings | Worker) -> dict[str, Any]:
    """What a by_reference dataclass is made from; what it is for compiled code is of this process."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def main() -> int:
    """Read a request from standard input, write the explanation to standard output as JSON."""
    from nat64d.explain.explainer import Explainer, document  # noqa: PLC0415  the daemon has no use for these

    request = pickle.load(sys.stdin.buffer)  # noqa: S301  from our own parent
    settings, (worker, copy, packet, fast) = Settings(**request[0]), request[1:]
    explainer = Explainer.of(Gateway(settings, copy.tables(), Worker(**worker)))
    steps, outcome = explainer.explain(packet, copy.now, fast)
    json.dump(document(packet, steps, outcome), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
