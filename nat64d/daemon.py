"""`nat64d run`: what is started, in which order, and how it is stopped in the reverse one."""

import asyncio
import json
import logging
import os
import signal
from contextlib import ExitStack
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import sdnotify
import typer

from nat64d import __version__
from nat64d.config import Config, ConfigError, load
from nat64d.config.warnings import warnings
from nat64d.control.api import Server, serve
from nat64d.control.unixsocket import SocketError
from nat64d.dataplane import snapshot
from nat64d.dataplane.host import Host, HostError
from nat64d.dataplane.tun import Tun, TunError, open_tun
from nat64d.dataplane.worker import Queue
from nat64d.discovery import LONGEST_PAUSE, DiscoveryError, ask_resolver, change_of, discover
from nat64d.dns64.nameserver import NameServer
from nat64d.live import Live
from nat64d.progress import compile_progress
from nat64d.settings import settings_of, tables_of
from translator.session.listing import copy_live, usage
from translator.tables import BIB, BIBS, SESSION, SESSIONS, records

log = logging.getLogger("nat64d")

WATCH = 1.0  # seconds between two looks at whether the queues still run


def main(path: Path | None) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop, 1 with one sentence a problem on standard error."""
    try:
        config = load(path)
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        return 1
    set_up_logging(config)
    for warning in warnings(config):
        log.warning(warning)
    try:
        return asyncio.run(_run(config, str(path or "built-in default")))
    except (TunError, HostError, SocketError, DiscoveryError) as error:
        typer.echo(f"nat64d: {error}", err=True)
        return 1


def set_up_logging(config: Config) -> None:
    """Everything goes to standard error: a line of text (the journal adds the time), or a JSON object."""
    handler = logging.StreamHandler()
    text = "%(levelname)s %(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(levelname)s %(message)s"
    handler.setFormatter(_Json() if config.log.format == "json" else logging.Formatter(text))
    logging.basicConfig(level=config.log.level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


class _Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as JSON; the time in seconds since the epoch."""
        return json.dumps({"time": record.created, "level": record.levelname.lower(), "message": record.getMessage()})


async def _run(config: Config, name: str) -> int:
    """Start, serve, stop. Each thing that is up is on the stack, and comes down in the reverse order."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log.info("nat64d %s, configuration: %s", __version__, name)
    live = Live(config)
    with ExitStack() as up:
        tun = await asyncio.to_thread(open_tun, config.tun)
        up.callback(tun.close)
        server = await serve(live, config.api.socket, config.api.http)
        try:
            if config.dns64:
                live.nameserver = NameServer(config)
                await live.nameserver.start()
            failure = await _translate(live, tun, up, server, stop)
        finally:
            await server.close()
            if live.nameserver:
                await live.nameserver.stop()
            await asyncio.to_thread(up.close)
    log.error(failure) if failure else log.info("stopped; the host is as it was")
    return 1 if failure else 0


async def _translate(live: Live, tun: Tun, up: ExitStack, server: Server, stop: asyncio.Event) -> str | None:
    """From an open device to the end of translation; what failed, if it does not end by a signal."""
    notify = sdnotify.SystemdNotifier()
    stopping = asyncio.ensure_future(stop.wait())
    plat = await _find_plat(live, notify, stopping)
    if stop.is_set():
        return None
    preparing = asyncio.ensure_future(asyncio.to_thread(_prepare, live.config, tun, live))
    await asyncio.wait({preparing, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not preparing.done():
        await server.close()
        up.close()
        log.info("stopped while compiling; the host was not touched")
        os._exit(0)  # the compiler's thread hears nobody, and would be waited for
    await preparing
    await asyncio.to_thread(_set_up, live.config, tun, live, up)
    if not stop.is_set():
        if live.nameserver:
            live.nameserver.ready(True)
        notify.notify("READY=1\nSTATUS=translating")
        log.info("ready: translating")
    failure = await _watch(live, stop, plat)
    notify.notify("STOPPING=1")
    live.state = "stopping"
    if live.nameserver:
        live.nameserver.ready(False)
    return failure


async def _find_plat(
    live: Live, notify: sdnotify.SystemdNotifier, stopping: asyncio.Future[Any]
) -> asyncio.Future[IPv6Network] | None:
    """Put the prefix of the provider's NAT64 into the configuration, where it is to be discovered.

    The future, absent otherwise or when stopped, is another prefix that takes its place. Raises DiscoveryError.
    """
    clat = live.config.clat
    if clat is None or live.config.pool6:
        return None

    def say(why: str) -> None:
        log.warning(why)
        notify.notify(f"STATUS={why}\nEXTEND_TIMEOUT_USEC={round(2e6 * LONGEST_PAUSE)}")

    live.state = "asking for the prefix of the provider's NAT64"
    asking = asyncio.ensure_future(discover(ask_resolver, say))
    await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not asking.done():
        asking.cancel()
        return None
    prefixes, ttl = asking.result()
    if clat.ipv6.overlaps(prefixes[0]):
        raise DiscoveryError(f"[clat] ipv6 = {clat.ipv6} is in the prefix of the provider's NAT64, {prefixes[0]}.")
    log.info("prefix of the provider's NAT64: %s, for %d s", prefixes[0], ttl)
    if len(prefixes) > 1:
        log.info("not used: %s", ", ".join(map(str, prefixes[1:])))
    live.config = live.config.with_plat(prefixes[0])
    if live.nameserver:
        live.nameserver.use(live.config)
    return asyncio.ensure_future(change_of(prefixes[0], ttl, ask_resolver, log.warning))


def _prepare(config: Config, tun: Tun, live: Live) -> None:
    """Tables and compiled code; nothing on the host is touched."""
    live.tun = {"name": tun.name, "mtu": config.tun.mtu, "queues": len(tun.fds), "created": tun.created}
    live.offloads = tun.offloads
    log.info("TUN device %s, offloads: %s", tun.name, ", ".join(tun.offloads) or "none")
    live.state = "compiling"
    with compile_progress(log):
        live.settings = settings_of(config, os.urandom(16), len(tun.fds))
        live.tables = tables_of(config, live.settings)
        live.queues = [Queue(number, fd, "uso4" in tun.offloads) for number, fd in enumerate(tun.fds)]
        warm_up(live)


def _set_up(config: Config, tun: Tun, live: Live, up: ExitStack) -> None:
    """The host, then the queues' threads. Raises HostError; what is up by then is on the stack."""
    assert live.settings is not None
    assert live.tables is not None
    live.state = "setting up the host"
    host = Host(config, tun.name, log)
    for line in host.setup():
        log.info(line)
    up.callback(host.undo)
    live.tun["mtu"] = host.mtu
    live.masquerade = ", ".join(host.masquerade) or None
    for queue in live.queues:
        up.callback(queue.stop)
        queue.start(live.settings, live.tables)
    live.state = "ready"


def warm_up(live: Live) -> None:
    """Compile, or load, everything that will run: a start must not end in a compiler's pause at the first packet."""
    assert live.settings is not None
    assert live.tables is not None
    live.queues[0].compile(live.settings, live.tables)
    usage(live.tables)
    copy_live(live.tables, SESSIONS, live.tables.sessions, 0, records(1, SESSION))
    copy_live(live.tables, BIBS, live.tables.bibs, 0, records(1, BIB))
    snapshot.warm_up(live.tables)


def compile_all() -> set[str]:
    """Fill the compile cache, as an image build does; the names of the functions compiled."""
    config = load(None)
    live = Live(config)
    with compile_progress(log) as compiled:
        live.settings = settings_of(config, bytes(16))
        live.tables = tables_of(config, live.settings)
        live.queues = [Queue(0, -1, coalesces=False)]
        warm_up(live)
    return compiled


async def _watch(live: Live, stop: asyncio.Event, plat: asyncio.Future[IPv6Network] | None) -> str | None:
    """Wait for the signal to stop; what else ends the daemon: a queue that failed, another prefix to be used."""
    while not stop.is_set():
        for queue in live.queues:
            if queue.failure:
                return queue.failure
        if plat and plat.done():
            return f"the prefix of the provider's NAT64 is {plat.result()} now: to be started anew with it"
        try:
            await asyncio.wait_for(stop.wait(), WATCH)
        except TimeoutError:
            continue
    return None
