"""`nat64d top`: what passes now, in a terminal that stays up to date.

An ordinary client of the API. A thread asks the daemon, so that keys are answered while the daemon is not; when it has
gone, the last answer stays on the screen, and it is asked again until it is back.
"""

import json
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.live import Live

from nat64d.cli import top_view as view
from nat64d.cli.asking import show
from nat64d.cli.top_view import ORDERS, Sample
from nat64d.control.client import Client, DaemonUnreachableError, RequestRefusedError

HOSTS = "50"  # that are asked for; as many are shown as there is room for
TICK = 0.2  # seconds until a resized terminal is drawn anew, at most
LATE = 3  # intervals without an answer after which the screen says so


def sample(daemon: Client) -> Sample:
    """Ask once; raises DaemonUnreachableError, RequestRefusedError."""
    summary = daemon.document("/page/summary.json")
    hosts: list[dict[str, object]] = []
    if summary["state"] in {"ready", "blocked"}:
        with suppress(RequestRefusedError):
            hosts = list(daemon.rows("/v1/hosts", {"top": HOSTS}))
    return Sample(time.monotonic(), summary, hosts)


def once(daemon: Client, interval: float, as_json: bool) -> Sample:
    """Print what passes within one interval; the sample at its end."""
    return _print(daemon, sample(daemon), interval, as_json)


def stream(daemon: Client, interval: float) -> None:
    """Print an object each interval until interrupted."""
    with suppress(KeyboardInterrupt):
        last = sample(daemon)
        while True:
            last = _print(daemon, last, interval, as_json=True)


def _print(daemon: Client, before: Sample, interval: float, as_json: bool) -> Sample:
    time.sleep(interval)
    after = sample(daemon)
    shown = view.rates(before, after)
    if as_json:
        show([json.dumps(shown)])
        return after
    console = Console(highlight=False)
    height = console.height if console.is_terminal else 60
    console.print(view.screen(shown, after.summary["version"], ORDERS[0], console.width, height))
    return after


class Sampler(threading.Thread):
    """Asks the daemon again and again; `latest` has the last two answers, `problem` why there is none now."""

    def __init__(self, daemon: Client, interval: float) -> None:
        super().__init__(daemon=True)
        first = sample(daemon)
        self.latest = (first, first)
        self.problem = ""
        self.asked = time.monotonic()
        self._client, self._interval = daemon, interval
        self._stopped = threading.Event()

    def run(self) -> None:
        """Until `stop`."""
        while not self._stopped.wait(self._interval):
            self.asked = time.monotonic()
            try:
                after = sample(self._client)
            except (DaemonUnreachableError, RequestRefusedError) as error:
                self.problem = str(error)
                continue
            before = self.latest[1]
            began_anew = after.summary["uptime"] < before.summary["uptime"]
            self.latest, self.problem = (after if began_anew else before, after), ""

    def stop(self) -> None:
        """No further question."""
        self._stopped.set()

    def notice(self, now: float) -> str:
        """What is wrong with the answers; "" if nothing is."""
        age = now - self.latest[1].moment
        if self.problem:
            return f"No answer for {age:.0f} s, asking again: {self.problem}"
        if age > LATE * self._interval + 1:
            return f"No answer for {age:.0f} s, still waiting"
        return ""


@contextmanager
def _keys() -> Iterator[None]:
    """Keys arrive one by one, and are not shown."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def live(daemon: Client, interval: float) -> None:
    """The view in the terminal, until `q` or Ctrl-C."""
    sampler, console = Sampler(daemon, interval), Console(highlight=False)
    order, paused, drawn = 0, False, sampler.latest
    sampler.start()
    with suppress(KeyboardInterrupt), _keys(), Live(console=console, screen=True, auto_refresh=False) as screen:
        while True:
            if not paused:
                drawn = sampler.latest
            notice = "Paused: p goes on" if paused else sampler.notice(time.monotonic())
            shown = view.rates(*drawn)
            size = console.size
            made = view.screen(shown, drawn[1].summary["version"], ORDERS[order], size.width, size.height, notice)
            screen.update(made, refresh=True)
            key = _key()
            if key == "q":
                break
            paused ^= key == "p"
            order = (order + (key == "s")) % len(ORDERS)
    sampler.stop()


def _key() -> str:
    """The next key, "" if there is none within a TICK."""
    readable, _, _ = select.select([sys.stdin], [], [], TICK)
    return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") if readable else ""
