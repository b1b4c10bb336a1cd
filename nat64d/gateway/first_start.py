"""A first start: packets pass in plain Python while other processes compile, and at full speed afterwards."""

import asyncio
import logging
import os
from contextlib import ExitStack

import sdnotify

from nat64d.compiling.beside import INCOMPLETE, Compilers, Part, complete, is_complete
from nat64d.compiling.entries import compile_control, compile_daemon, compile_packets
from nat64d.compiling.progress import compile_progress
from nat64d.dataplane.code import COMPILED_CODE, Code
from nat64d.dataplane.plain import plain_code
from nat64d.dataplane.worker import Queue
from nat64d.exitcode import ExitCode
from nat64d.gateway.state import UNCOMPILED, Live
from translator.jit import cache
from translator.jit.compile import COMPILED
from translator.tables.gateway import new_worker

log = logging.getLogger("nat64d")


# LIMITS
FEW = 10_000  # sessions


class FirstStart:
    """What is done beside the packets until all code is compiled; nothing where it is already."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self._compilers = Compilers()
        self._work: asyncio.Future[None] | None = None
        self._rest: asyncio.Future[None] | None = None

    def prepare(self, kept: int) -> Code:
        """Choose the code that packets pass through first: the compiled one, loaded here, if it is all there.

        It is compiled first where more than FEW sessions are `kept` from the run before: plain Python takes a
        millisecond to take over one, and what has so many would not have enough of it either.
        """
        few = kept <= FEW
        if COMPILED and not is_complete() and not few:
            log.info("Compiling before packets pass: %d sessions are kept", kept)
        if COMPILED and (is_complete() or not few):
            self.live.state = "loading" if is_complete() else "compiling"
            self._load(Part.DAEMON)
            self.live.code = COMPILED_CODE
        else:
            self.live.code = plain_code()
        return self.live.code

    def begin(self, up: ExitStack) -> None:
        """Compile what is not compiled, or load the rest, beside the event loop; `up` gives it up. Packets must pass by
        now."""
        if COMPILED and self.live.code.compiled:
            self._rest = asyncio.ensure_future(asyncio.to_thread(self._load_rest))
        elif COMPILED:
            up.callback(self._compilers.kill)
            self._work = asyncio.ensure_future(asyncio.to_thread(self._compile))
            self._say(UNCOMPILED)

    async def look(self) -> None:
        """Once the daemon's code is compiled, let the queues go on with it; they pause for a batch of packets."""
        if self._work is None or not self._work.done():
            return
        error, self._work = self._work.exception(), None
        if error:
            log.error(
                "The code cannot be compiled, packets go on in plain Python: %r; to see why: nat64d compile", error
            )
            return
        await asyncio.to_thread(self._hand_over)
        self._say("Packets pass at full speed")
        self._rest = asyncio.ensure_future(asyncio.to_thread(self._finish))

    def leave(self, code: ExitCode) -> None:
        """All is undone. A compiler in this process cannot be interrupted, and exit would wait for it: then this does
        not return. There may be one although others were `used`: a terminal and systemd send their signals to all.
        Nor does it where packets wait for the next process, which begins when this one is gone: exit takes its time."""
        compiles = any(work is not None and not work.done() for work in (self._work, self._rest))
        if compiles or self.live.is_started_again:
            logging.shutdown()
            os._exit(code)

    def _say(self, what: str) -> None:
        log.info(what)
        sdnotify.SystemdNotifier().notify(f"STATUS={what}")

    def _compile(self) -> None:
        """Have the daemon's code compiled by another process where it can be kept, and load it."""
        if cache.is_writable():
            self._compilers.run(log.info)
        if not self._compilers.killed:
            self._load(Part.EVERYTHING)

    def _load_rest(self) -> None:
        """Load what the control plane calls: nobody is to wait for it later."""
        assert self.live.settings is not None
        assert self.live.tables is not None
        compile_control(self.live.settings, self.live.tables, new_worker(0))

    def _hand_over(self) -> None:
        with self.live.changing, self.live.paused():
            self.live.code = COMPILED_CODE

    def _finish(self) -> None:
        """The next start finds all compiled once the other commands' code is, too."""
        if self._compilers.wait():
            complete()
        elif self._compilers.used and not self._compilers.killed:
            log.warning(INCOMPLETE)

    def _load(self, part: Part) -> None:
        """Load what packets wait for, or compile what the daemon calls where it is not there; other parts than `part`,
        another process compiles."""
        load = compile_packets if part == Part.DAEMON and is_complete() else compile_daemon
        with compile_progress(log, part):
            assert self.live.settings is not None
            assert self.live.tables is not None
            load(self.live.settings, self.live.tables, Queue(0, -1, coalesces=False))
