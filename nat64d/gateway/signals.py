"""Signals to the daemon: SIGTERM and SIGINT stop it, SIGHUP lets it read its configuration again."""

import asyncio
import logging
import os
import signal

log = logging.getLogger("nat64d")

STOPPING = signal.SIGTERM, signal.SIGINT
TERMINAL = "/dev/tty"  # that of the process, if it has one


def handle_signals(stop: asyncio.Event, again: asyncio.Event, at_once: asyncio.Event) -> None:
    """Let the running event loop set `stop` at a signal to stop, `at_once` at another one, and `again` at SIGHUP.

    The kernel and shells send SIGHUP, too, when a terminal is closed: then the one that the daemon was started in is no
    longer there, and it stops. One that is ignored already (nohup) stays so.
    """
    had_terminal = has_terminal()

    def handle(name: str) -> None:
        if stop.is_set():
            at_once.set()
            log.warning("%s: stopping already, please wait until the changes to this host are undone", name)
        else:
            log.info("%s: stopping", name, extra={"event": "stop"})
            stop.set()

    def hang_up() -> None:
        if stop.is_set() or (had_terminal and not has_terminal()):
            handle("SIGHUP")
        else:
            log.info("SIGHUP: reading the configuration again")
            again.set()

    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, handle, number.name)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, hang_up)


def ignore_signals() -> None:
    """Nothing is left to undo: a signal changes nothing any more. Without this, one that comes while asyncio closes its
    loop is a traceback (the descriptor it would wake is closed), and one after that another exit code."""
    for number in (*STOPPING, signal.SIGHUP):
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
