"""Compile progress: a bar on a terminal, a few log lines elsewhere. A warm cache compiles nothing and shows nothing."""

import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba.core.event
from rich.console import Console
from rich.progress import Progress

from translator.compile import cache_directory

FUNCTIONS = 238  # that a cold start compiles, for the length of the bar; a test keeps it true
LINE_EVERY = 10.0  # seconds
CACHES = 6  # versions whose compiled code is kept


class _Listener(numba.core.event.Listener):  # type: ignore[misc]  # numba has no types
    """Counts the functions numba has compiled."""

    def __init__(self, log: logging.Logger) -> None:
        self.log = log
        self.compiled: set[str] = set()
        self.bar = Progress(console=Console(stderr=True), transient=True) if sys.stderr.isatty() else None
        self.task: Any = None
        self.begun = self.told = time.monotonic()

    def on_start(self, event: Any) -> None:  # noqa: ARG002  numba calls it so
        """A function is about to be compiled."""
        if self.compiled or self.task is not None:
            return
        self.log.info("compiling the data plane, which takes about a minute once; kept in %s", cache_directory())
        self.task = self.bar.add_task("compiling", total=FUNCTIONS) if self.bar else 0
        if self.bar:
            self.bar.start()

    def on_end(self, event: Any) -> None:
        """A function is compiled."""
        function = event.data["dispatcher"].py_func
        self.compiled.add(f"{function.__module__}.{function.__qualname__}")
        if self.bar:
            self.bar.update(self.task, completed=len(self.compiled))
        elif time.monotonic() - self.told > LINE_EVERY:
            self.told = time.monotonic()
            self.log.info("compiling: %d of about %d functions", len(self.compiled), FUNCTIONS)

    def finish(self) -> None:
        """The compiler is done."""
        if self.bar:
            self.bar.stop()
        if self.compiled:
            self.log.info("compiled %d functions in %.0f s", len(self.compiled), time.monotonic() - self.begun)


@contextmanager
def compile_progress(log: logging.Logger) -> Iterator[set[str]]:
    """Show what numba compiles meanwhile; the set fills with the functions' names."""
    listener = _Listener(log)
    try:
        with numba.core.event.install_listener("numba:compile", listener):
            yield listener.compiled
    finally:
        listener.finish()
        _forget_old_caches()


def _forget_old_caches() -> None:
    """Keep the compiled code of the last few versions; this one's directory is touched by its use."""
    current = cache_directory()
    if not current.is_dir():
        return
    os.utime(current)
    caches = sorted(current.parent.iterdir(), key=lambda cache: cache.stat().st_mtime)
    for cache in caches[:-CACHES]:
        shutil.rmtree(cache, ignore_errors=True)
