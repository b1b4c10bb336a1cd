"""Every compiled function that is called from Python, called once: what they need is then in the compile cache.

`nat64d run` needs one part of them, replay and explain the other; the first of them has both compiled (beside.py).

Code is compiled for the types it is called with. They do not depend on the configuration: any Settings and Tables do.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from nat64d.compiling.beside import Part, is_complete
from nat64d.compiling.progress import compile_progress
from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.dataplane import snapshot
from nat64d.dataplane.bpf.kept import BuildError, kept_object
from nat64d.dataplane.worker import Queue
from nat64d.exitcode import ExitCode
from translator.jit import cache
from translator.jit.compile import COMPILED
from translator.session import draft, members, restore
from translator.session.flush import end_those
from translator.session.log import OLDEST, read_on
from translator.tables.gateway import Gateway, Worker
from translator.tables.layout import BIB, BLOCK, HOST, SESSION, records
from translator.tables.listing import copy_live, usage
from translator.tables.settings import Settings
from translator.tables.tables import BIBS, BLOCKS, HOSTS, SESSIONS, Tables

log = logging.getLogger("nat64d")

CONFIG = """\
pool6 = "64:ff9b::/96"

[[pool4]]
addresses = "198.51.100.1"

[[forward]]
protocol = "udp"
ipv4 = "198.51.100.1:53"
ipv6 = "[2001:db8::53]:53"

[limits]
sessions = 1024
fragments_memory = 65536
"""


def compile_daemon(settings: Settings, tables: Tables, queue: Queue) -> None:
    """Compile, or load, what the daemon calls: a start must not end in a compiler's pause at the first packet."""
    compile_packets(settings, tables, queue)
    compile_control(settings, tables, queue.worker)


def compile_packets(settings: Settings, tables: Tables, queue: Queue) -> None:
    """The part of it that packets wait for."""
    queue.compile(settings, tables)
    restore.warm_up(Gateway(settings, tables, queue.worker))


def compile_control(settings: Settings, tables: Tables, worker: Worker) -> None:
    """The part of it that the control plane calls, by the time it does."""
    usage(tables)
    copy_live(tables, SESSIONS, tables.sessions, 0, records(1, SESSION), np.empty(1, np.int64))
    copy_live(tables, BIBS, tables.bibs, 0, records(1, BIB), np.empty(1, np.int64))
    copy_live(tables, HOSTS, tables.hosts, 0, records(1, HOST), np.empty(1, np.int64))
    copy_live(tables, BLOCKS, tables.blocks, 0, records(1, BLOCK), np.empty(1, np.int64))
    read_on(tables, int(tables.log_at[OLDEST]))
    end_those(Gateway(settings, tables, worker), 0, records(1, SESSION), np.zeros(1, np.int64))
    members.warm_up(settings)
    draft.warm_up(settings)
    snapshot.warm_up(tables)


def daemon_part() -> None:
    """Compile, or load, what the daemon calls, with a configuration of its own."""
    config = loads(CONFIG, "built into nat64d")
    settings = settings_of(config, bytes(16))
    compile_daemon(settings, tables_of(config, settings), Queue(0, -1, coalesces=False))


def offline_part() -> None:
    """Compile, or load, what replay and explain call."""
    from nat64d.offline.replay import Replay  # noqa: PLC0415  rich, which the daemon does without

    Replay(loads(CONFIG, "built into nat64d"))


PARTS: dict[Part, tuple[Callable[[], None], ...]] = {
    Part.DAEMON: (daemon_part,),
    Part.OFFLINE: (offline_part,),
    Part.EVERYTHING: (daemon_part, offline_part),
}


def compile_part(part: Part) -> set[str]:
    """Compile, or load, a part in this process; returns the names of the functions compiled here."""
    with compile_progress(log, part) as compiled:
        for compile_one in PARTS[part]:
            compile_one()
    return compiled


def main() -> ExitCode:
    """`nat64d compile`: compile everything and say where it is kept. USAGE where the compiler is switched off, WRONG
    where a part did not compile or cannot be kept."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not COMPILED:
        log.error("nat64d: NUMBA_DISABLE_JIT is set, so there is nothing to compile")
        return ExitCode.USAGE
    try:
        kept_object()
    except BuildError as error:
        log.warning("The program of the fast path cannot be built: %s", error)
    if not compile_part(Part.DAEMON) and is_complete():
        log.info("Everything is compiled already; the result is in %s", cache.cache_directory())
    return ExitCode.GOOD if is_complete() else ExitCode.WRONG


def _end_with_parent() -> None:
    """End when the other end of standard input is closed. It is read without Python's buffer, whose lock a thread that
    waits would hold when the interpreter ends."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":  # as beside.py starts it
    with suppress(PermissionError):  # config/systemd/nat64d.service lets nobody change priorities
        os.nice(5)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    compile_part(Part(sys.argv[1]))
