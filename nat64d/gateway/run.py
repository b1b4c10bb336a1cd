"""`nat64d run`: what is started, in which order; everything is stopped in the reverse order."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sdnotify

from nat64d import __version__
from nat64d.config.defaults import BUILT_IN
from nat64d.config.load import load
from nat64d.config.models import Config
from nat64d.config.settings import settings_of, tables_of
from nat64d.config.warnings import warnings
from nat64d.control.unixsocket import SocketError
from nat64d.dataplane.tun import Tun, TunError, goes_on, open_tun
from nat64d.dataplane.worker import Queue, now
from nat64d.exitcode import ExitCode
from nat64d.gateway import descriptor_store
from nat64d.gateway.clat_prefix import DiscoveryError, Found, Resolver, discover, follow, refuse_inside
from nat64d.gateway.daemon_log import DaemonLog
from nat64d.gateway.first_start import FirstStart
from nat64d.gateway.flush import flush
from nat64d.gateway.kept_sources import take_up_sources
from nat64d.gateway.left import Left, give_up_fastpath
from nat64d.gateway.link_drops import LinkDrops
from nat64d.gateway.neighbours import advertise, announce
from nat64d.gateway.servers import Servers
from nat64d.gateway.signals import handle_signals, ignore_signals
from nat64d.gateway.state import Live
from nat64d.gateway.state_file import StateError, take_up_if_there_is_room
from nat64d.gateway.stop import Course, Stops, moment
from nat64d.gateway.takeover import keep_large_arrays_apart
from nat64d.host.descriptors import raise_limit
from nat64d.host.errors import HostError
from nat64d.host.own4 import with_own4

if TYPE_CHECKING:  # slow to import; packets wait for this module where they wait in a device that goes on
    from nat64d.gateway.reload import Reload
    from nat64d.host.facts import Facts
    from nat64d.host.watch import Watch

log = logging.getLogger("nat64d")

SOON = 2.0  # seconds after which the API is there, if packets still wait for the code
EXTEND_EVERY, EXTEND_BY = 10.0, 60.0  # seconds: systemd waits that much longer for READY=1, as long as it is notified


def main(path: Path | None) -> ExitCode:
    """Run until SIGTERM or SIGINT: GOOD after a clean stop, else WRONG and a sentence on standard error.

    Raises ConfigError before anything is set up. Whatever ends it, what a process before has left does not stay.
    """
    left = Left()
    try:
        return _main(path, left)
    finally:
        left.give_up()


def _main(path: Path | None, left: Left) -> ExitCode:
    """The work of `main`."""
    file, name = load(path), str(path or BUILT_IN)
    daemon_log = DaemonLog()
    daemon_log.set_up(file)
    sources, complaint = take_up_sources(name, file)
    config = sources.combined()
    raise_limit()
    keep_large_arrays_apart()
    for warning in warnings(config):  # what of it does not fit the host, `Watch` says once that is set up
        log.warning(warning)
    try:
        live = Live(config)
        live.sources, live.complaint, live.log = sources, complaint, daemon_log
        live.sockets = left.sockets
        if not goes_on(config.tun, left.fds):  # else packets come first
            _refuse_unfit(live)
        return asyncio.run(_run(live, path, left))
    except (TunError, HostError, SocketError, StateError, DiscoveryError) as error:
        sys.stderr.writelines(f"nat64d: {line}\n" for line in str(error).splitlines())
        return ExitCode.WRONG


async def _run(live: Live, path: Path | None, left: Left) -> ExitCode:
    """Start, serve, stop; returns the exit code."""
    stop, again = Stops(), asyncio.Event()
    handle_signals(stop, again, stop.at_once)
    try:
        return await _serve(live, Servers(live, path, again), stop, left)
    finally:
        ignore_signals()


def _refuse_unfit(live: Live) -> None:
    """Raise HostError where the configuration does not fit this host."""
    from nat64d.host.checks import check_host  # noqa: PLC0415

    if errors := check_host(live.config, live.sources.names).errors:
        raise HostError("\n".join(map(str, errors)))


async def _serve(live: Live, servers: Servers, stop: Stops, left: Left) -> ExitCode:
    """The work of `_run`. `up` holds what has been started and stops it in the reverse order."""
    config, first_start = live.config, FirstStart(live)
    log.info("Starting nat64d %s, configuration: %s", __version__, servers.name, extra={"event": "start"})
    with ExitStack() as up:
        descriptor_store.is_started_again(os.environ)  # of a stop that was none
        tun = await asyncio.to_thread(open_tun, config.tun, left.fds, left.give_up)
        left.taken_over()
        up.callback(_let_go, live, tun)
        live.left = left.find_fastpath(tun)
        if tun.created:  # another one outlives the daemon anyway
            descriptor_store.keep(tun.fds)
        try:
            if not tun.left or _discovers(config):
                await servers.open()
            failure = await _translate(first_start, servers, tun, up, stop)
        finally:
            await servers.close()
            await asyncio.to_thread(up.close)
    if failure:
        log.error(failure, extra={"event": "failure"})
    elif live.is_started_again:
        log.info("Stopped, to be started again")
    else:
        log.info("Stopped; all changes to this host are undone")
    code = ExitCode.WRONG if failure else ExitCode.GOOD
    first_start.leave(code)
    return code


async def _translate(first_start: FirstStart, servers: Servers, tun: Tun, up: ExitStack, stop: Stops) -> str | None:
    """From an open device to the end of translation; returns None after a signal, otherwise what failed."""
    live, notify = first_start.live, sdnotify.SystemdNotifier()
    stopping = asyncio.ensure_future(stop.wait())
    follow_plat = await _find_plat(live, servers.reload, notify, stopping, up) if servers.reload else None
    if stop.is_set():
        return None
    preparing = asyncio.ensure_future(asyncio.to_thread(_prepare, tun, first_start, up))
    await asyncio.wait({preparing, stopping}, timeout=SOON, return_when=asyncio.FIRST_COMPLETED)
    if not preparing.done() and not stopping.done():
        await servers.open()
    await _prepared(live, notify, preparing, stopping)
    if not preparing.done():
        await servers.close()
        up.close()
        log.info("Stopped while compiling; this host was not changed")
        os._exit(0)  # the compiler's thread cannot be interrupted, and exit would wait for it
    await preparing
    watch = await asyncio.to_thread(_set_up, tun, first_start, up)
    reload = await servers.open()
    if not stop.is_set():
        if live.nameserver:
            live.nameserver.ready(True)
        notify.notify("READY=1\nSTATUS=Translating packets")
        said = "Ready: translating packets" if live.ready() else "Translating packets, which cannot pass yet"
        log.info(said, extra={"event": "ready"})
        first_start.begin(up)
    _begin(live, reload, watch)
    if follow_plat:
        live.tasks.begin("Following the provider's NAT64 prefix", follow_plat)
    failure = await Course(first_start, reload, watch, stop).run()
    await live.tasks.end()
    await asyncio.to_thread(reload.close)
    notify.notify("STOPPING=1")
    live.state = "stopping"
    if live.nameserver:
        live.nameserver.ready(False)
    return failure


def _begin(live: Live, reload: "Reload", watch: "Watch") -> None:
    """What goes on beside the packets."""
    for what, run in (
        ("Sending router advertisements", lambda: advertise(live, watch)),
        ("Announcing addresses of services", lambda: announce(live, watch)),
        ("Watching this host", watch.run),
        ("Watching what is nearly used up", watch.run_marks),
        ("Asking endpoints whether they serve", lambda: live.endpoints.run(partial(flush, live))),
        ("Waiting for a reload", lambda: reload.run(watch)),
        ("Following the addresses of interfaces", reload.follow_interfaces),
        ("Writing the log of sessions", lambda: live.session_log.run(moment)),
    ):
        live.tasks.begin(what, run)


async def _prepared(
    live: Live, notify: sdnotify.SystemdNotifier, preparing: asyncio.Future[Any], stopping: asyncio.Future[Any]
) -> None:
    """Wait until one of the two is done. Compiling takes long on a busy machine, and so may the search for the
    provider's prefix: systemd is asked to wait as well."""
    while not preparing.done() and not stopping.done():
        notify.notify(f"STATUS={live.state}\nEXTEND_TIMEOUT_USEC={round(1e6 * EXTEND_BY)}")
        await asyncio.wait({preparing, stopping}, timeout=EXTEND_EVERY, return_when=asyncio.FIRST_COMPLETED)


async def _find_address(
    live: Live, reload: "Reload", notify: sdnotify.SystemdNotifier, stopping: asyncio.Future[Any]
) -> None:
    """Have [clat] ipv6 in the configuration, if an interface gives it; return without it when stopped."""

    def say(why: str) -> None:
        if why != live.state:
            log.warning(why)
        live.state = why

    looking = asyncio.ensure_future(reload.find_address(say))
    await _prepared(live, notify, looking, stopping)
    if not looking.done():
        looking.cancel()
        return
    looking.result()


async def _find_plat(
    live: Live, reload: "Reload", notify: sdnotify.SystemdNotifier, stopping: asyncio.Future[Any], up: ExitStack
) -> Callable[[], Awaitable[None]] | None:
    """Discover the address and the provider's NAT64 prefix, if [clat] asks for it, and put them into the configuration.

    Returns what follows the provider from then on; None when there is nothing to discover, or when stopped first.
    Raises DiscoveryError.
    """
    if live.config.clat_interface:
        await _find_address(live, reload, notify, stopping)
    clat = live.config.clat
    if clat is None or live.config.pool6 or stopping.done():
        return None

    def say(why: str) -> None:
        log.warning(why)
        live.state = why

    from nat64d.gateway.announced import HostSources  # noqa: PLC0415  dnspython

    live.state = "discovering the provider's NAT64 prefix"
    resolver = HostSources(log)
    up.callback(resolver.close)
    asking = asyncio.ensure_future(discover(resolver, say))
    await _prepared(live, notify, asking, stopping)
    if not asking.done():
        asking.cancel()
        return None
    prefixes, ttl, by = asking.result()
    refuse_inside(clat.ipv6, prefixes[0])
    log.info("The provider's NAT64 prefix is %s, for %d s, by %s", prefixes[0], ttl, by)
    if len(prefixes) > 1:
        log.info("The provider has more NAT64 prefixes, which are not used: %s", ", ".join(map(str, prefixes[1:])))
    live.config = live.config.with_plat(prefixes[0])
    if live.nameserver:
        live.nameserver.use(live.config)
    return lambda: _follow_plat(live, reload, asking.result(), resolver)


def _follow_plat(live: Live, reload: "Reload", found: Found, resolver: Resolver) -> Awaitable[None]:
    """Follow the provider's prefix, from the one in use on."""
    in_use = live.config.pool6 or found.prefixes[0]
    return follow(found._replace(prefixes=(in_use,)), resolver, log.warning, reload.use_prefix)


def _let_go(live: Live, tun: Tun) -> None:
    """Close the device. It is gone then, with what a process before has left on the host, unless the next one takes
    over both."""
    if not live.is_started_again:
        if tun.left:
            from nat64d.host.host import Host  # noqa: PLC0415

            Host(live.config, tun.name, log).undo_left()
        if live.left:
            live.left.give_up()
        descriptor_store.forget()
    tun.close()


def _discovers(config: Config) -> bool:
    """Whether packets wait for what the network says."""
    return bool(config.clat_interface) or (config.clat is not None and not config.pool6)


def _prepare(tun: Tun, first_start: FirstStart, up: ExitStack) -> None:
    """Create the tables, load the code, and take over the sessions of the run before; nothing on the host is changed.
    Raises StateError."""
    live = first_start.live
    config = live.config = with_own4(live.config, _seen)
    live.tun = {"name": tun.name, "mtu": config.tun.mtu, "queues": len(tun.fds), "created": tun.created}
    live.offloads = tun.offloads
    log.info("TUN device %s is open, offloads: %s", tun.name, ", ".join(tun.offloads) or "none")
    live.state = "loading"
    live.settings = settings_of(config, os.urandom(16), len(tun.fds))
    live.tables = tables_of(config, live.settings)
    live.queues = [Queue(number, fd, "uso4" in tun.offloads) for number, fd in enumerate(tun.fds)]
    found = False
    if config.fastpath.mode != "off":
        from nat64d.dataplane.bpf.fast import Fast  # noqa: PLC0415  nobody else needs it
        from nat64d.dataplane.bpf.interfaces import Interfaces  # noqa: PLC0415

        beside = Interfaces(config.fastpath.interfaces, log)
        fast = live.fast = Fast(config.fastpath.mode, tun.name, log, live.left, beside)
        up.callback(lambda: fast.close(live.is_started_again))
    up.callback(live.close_state_file)
    if config.state.keep and live.settings.stateful:
        live.tables, file = take_up_if_there_is_room(
            config, live.settings, live.tables, first_start.prepare, live.left.records
        )
        found = live.use_state_file(file)
    else:
        first_start.prepare(0)
    if live.left and not live.fast:
        give_up_fastpath(live.left, live.tables)
    if not found:
        live.settings = replace(live.settings, reset_until=now() + 1000 * config.filtering.reset_unknown)


def _seen() -> "Facts":
    """A look at the host. Raises OSError or pyroute2's NetlinkError."""
    from nat64d.host import facts  # noqa: PLC0415

    return facts.read()


def _set_up(tun: Tun, first_start: FirstStart, up: ExitStack) -> "Watch":
    """Set up the host, then start the threads of the queues: before it where a process before has left the device,
    for what that set up stands, and packets wait. Returns what watches the host. Raises HostError; `up` undoes what was
    done by then."""
    live = first_start.live
    if tun.left:
        up.callback(live.stand_still)
        live.serve()

    from nat64d.host.board import Board  # noqa: PLC0415
    from nat64d.host.host import Host  # noqa: PLC0415
    from nat64d.host.watch import Watch  # noqa: PLC0415

    if tun.left:
        _refuse_unfit(live)
    live.state = "setting up the host"
    host = Host(live.config, tun.name, log)
    for line in host.setup(tun.left):
        log.info(line)
    up.callback(lambda: host.leave() if live.is_started_again else host.undo())
    live.tun["mtu"] = host.mtu
    live.link_drops = LinkDrops(tun.name, len(tun.fds), log)
    live.host, live.board = host, Board(log)
    watch = live.watch = Watch(host, live.board, log, marks=live.marks)
    up.callback(watch.close)
    watch.check(time.monotonic())
    up.callback(lambda: live.session_log.close(moment()))
    up.callback(live.stand_still)
    if not tun.left:
        live.serve()
    live.state = "ready"
    return watch
