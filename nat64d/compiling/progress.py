"""Compile progress: a bar on a terminal, a few log lines elsewhere. A warm cache compiles nothing and shows nothing."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba.core.event

from nat64d.compiling.beside import Part, beside
from translator.jit import cache
from translator.jit.function import EMITTING

FUNCTIONS = 560  # that a cold start compiles, for the length of the bar; a test keeps it true
OPTIMISING = 100  # steps of the bar that stay empty until the machine code is made, which takes so long
LINE_EVERY = 10.0  # seconds
REMEDY = "If every start says so, set NAT64D_CACHE to a directory that this user alone can write to."
CACHES = 6  # versions whose compiled code is kept


class _Listener(numba.core.event.Listener):  # type: ignore[misc]  # numba has no types
    """Counts the functions numba has compiled."""

    def __init__(self, log: logging.Logger) -> None:
        self.log = log
        self.compiled: set[str] = set()
        self.bar = _bar() if sys.stderr.isatty() else None
        self.task: Any = None
        self.begun = self.told = time.monotonic()

    def on_start(self, event: Any) -> None:
        """A function is about to be compiled, or an entry to be optimised."""
        if self.task is None:
            self.log.info("Compiling once, for about half a minute on two idle cores; kept in %s", _place())
            self.task = self.bar.add_task("compiling", total=FUNCTIONS + OPTIMISING) if self.bar else 0
            if self.bar:
                self.bar.start()
        if event.kind == EMITTING and self.bar:
            self.bar.update(self.task, description=f"optimising {event.data['dispatcher'].py_func.__name__}")

    def on_end(self, event: Any) -> None:
        """A function is compiled."""
        function = event.data["dispatcher"].py_func
        self.compiled.add(f"{function.__module__}.{function.__qualname__}")
        if self.bar:
            self.bar.update(self.task, completed=len(self.compiled))
        elif time.monotonic() - self.told > LINE_EVERY:
            self.told = time.monotonic()
            self.log.info("Compiling: %d of about %d functions", len(self.compiled), FUNCTIONS)

    def finish(self) -> None:
        """The compiler is done."""
        if self.bar:
            self.bar.stop()
        if self.compiled:
            self.log.info("Compiled %d functions in %.0f s", len(self.compiled), time.monotonic() - self.begun)
            if refusal := cache.refusal():
                self.log.warning("Compiled code could not be kept or used: %s. %s", refusal, REMEDY)


def _bar() -> Any:
    from rich.console import Console  # noqa: PLC0415  most starts compile nothing
    from rich.progress import Progress  # noqa: PLC0415

    return Progress(console=Console(stderr=True), transient=True)


def _place() -> str:
    return "memory only" if cache.refusal() else str(cache.cache_directory())


@contextmanager
def compile_progress(log: logging.Logger, part: Part) -> Iterator[set[str]]:
    """Show what numba compiles meanwhile; the set fills with the functions' names.

    Where something is not compiled yet, another process does the parts that this one does not need.
    """
    listener = _Listener(log)
    try:
        with (
            beside(log, part),
            numba.core.event.install_listener("numba:compile", listener),
            numba.core.event.install_listener(EMITTING, listener),
        ):
            yield listener.compiled
    finally:
        listener.finish()
        cache.forget_old(CACHES)
