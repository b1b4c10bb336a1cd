"""The loop of the queues in plain Python: packets pass while the code is not compiled yet, some thousand a second.

It is the code of worker.py and of the translator, not compiled. The queues' threads take turns at the interpreter, and
share a lock of Python's in place of the spinlock of the tables.
"""

import threading

from nat64d.dataplane.code import Code
from translator.plain import Copies


def plain_code() -> Code:
    """What serves packets and shows tables before anything is compiled. No compiled code may use the tables meanwhile:
    it would not see the lock."""
    lock = threading.Lock()
    copies = Copies(
        ("translator.", "nat64d.dataplane."),
        {
            "translator.jit.lock._acquire_plain": lambda _: lock.acquire(),
            "translator.jit.lock._release_plain": lambda _: lock.release(),
        },
    )
    worker, listing = copies.module("nat64d.dataplane.worker"), copies.module("translator.tables.listing")
    restore, draft, log, flush, members = (
        copies.module(f"translator.session.{name}") for name in ("restore", "draft", "log", "flush", "members")
    )
    more = (restore.restore, draft, log.read_on, flush.end_those, members)
    return Code(worker.run, listing.copy_live, listing.usage, *more, compiled=False)
