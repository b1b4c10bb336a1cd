"""`nat64d kubernetes`: follow the cluster until SIGTERM or SIGINT. `--gateway` lets the daemon have what it says,
`--controller` gives addresses and writes statuses, `--routes` leads this node to a gateway."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from ipaddress import IPv6Network, ip_address
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from nat64d.control.client import DaemonUnreachableError
from nat64d.control.logs import handler_for
from nat64d.exitcode import ExitCode
from nat64d.kubernetes import statuses
from nat64d.kubernetes.cluster import NoClusterError, client_of, configuration
from nat64d.kubernetes.daemon import Daemon, RefusedError
from nat64d.kubernetes.leases import Beat, Election, Times, Who, gateways_of
from nat64d.kubernetes.listwatch import Follower
from nat64d.kubernetes.mappings import MAPPINGS
from nat64d.kubernetes.members import Members
from nat64d.kubernetes.mirror import Mirror
from nat64d.kubernetes.objects import SERVICES, SLICES
from nat64d.kubernetes.pace import Pace
from nat64d.kubernetes.rows import Rules
from nat64d.kubernetes.translators import TRANSLATORS

ENDING = 2.0  # seconds that what runs has to end
NODE, POD, POD_NAMESPACE, HOST = "NODE_NAME", "POD_NAME", "POD_NAMESPACE", "HOST_IP"  # in a Pod, by the downward API
GRACE = 5.0  # seconds for which the daemon is asked again
NAMESPACE = "nat64d"  # that of config/kubernetes
STOP = {"event": "kubernetes_stop"}
Parts: TypeAlias = tuple[Callable[[], Any], list[Any]]  # what makes the standing, and coroutines that run for ever

log = logging.getLogger("nat64d")


class Options(NamedTuple):
    """What the command line says; `socket`: "" = it is no gateway; `listen`: where probes and Prometheus ask, None =
    nowhere; `ipv6_front`: gateways translate IPv6 addresses, too; `routes`: prefixes, () = it sets none."""

    kubeconfig: Path | None
    socket: str
    who: Who
    default_class: bool = False
    listen: str | None = None
    log_style: str = "text"
    ipv6_front: bool = False
    routes: tuple[IPv6Network, ...] = ()


def who(name: str | None, node: str | None, namespace: str | None, address: str | None = None) -> Who:
    """What is not given is what the Pod says, by the downward API, or this host."""
    there = os.environ.get(NODE, "") if node is None else node
    return Who(
        name or os.environ.get(POD) or there or socket.gethostname(),
        there,
        os.environ.get(POD_NAMESPACE, NAMESPACE) if namespace is None else namespace,
        os.environ.get(HOST, "") if address is None else address,
    )


def main(options: Options) -> ExitCode:
    """Run it; the exit code."""
    handler = handler_for("json" if options.log_style == "json" else "text", sys.stderr, os.environ)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        place = listening(options.listen)
        api_server = configuration(options.kubeconfig).cluster.server
    except (NoClusterError, ValueError) as error:
        log.error("%s", error)  # noqa: TRY400
        return ExitCode.USAGE
    if options.routes:
        log.info("Routes of this node, by gateways of %s", api_server, extra={"event": "routes_start"})
    elif options.socket:
        log.info("Mirroring Services of %s into %s", api_server, options.socket, extra={"event": "mirror_start"})
    else:
        log.info("Giving addresses to Services of %s", api_server, extra={"event": "controller_start"})
    try:
        asyncio.run(run(options, place, Pace()))
    except OSError as error:
        log.error("%s: %s", options.listen, error.strerror or error)  # noqa: TRY400
        return ExitCode.WRONG
    kept = "the daemon keeps what it has" if options.socket else "all stays as it is"
    log.info("Stopped; %s", kept, extra=STOP)
    return ExitCode.GOOD


def listening(text: str | None) -> tuple[str, int] | None:
    """Address and port of `--listen`. Raises ValueError with a sentence."""
    if text is None:
        return None
    host, _, port = text.rpartition(":")
    try:
        address, number = str(ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        address, number = "", 0
    if not 0 < number < 65536:
        raise ValueError(f"--listen = {text!r}: expected an address and port, as in [::1]:9464")
    return address, number


async def run(options: Options, place: tuple[str, int] | None, pace: Pace) -> None:
    """Until a signal. Raises OSError if it cannot listen."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    part = _routes if options.routes else _mirror if options.socket else _controller
    standing, work = part(options, pace)
    async with AsyncExitStack() as stack:
        if place:
            await _listen(stack, standing(), place)
        tasks = [asyncio.create_task(one) for one in (*work, over.wait())]
        ended, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=ENDING)
        for task in ended:
            task.result()


def _mirror(options: Options, pace: Pace) -> Parts:
    who, rules = options.who, Rules(options.who.node, options.default_class, gateway=options.who.name)
    mirror = Mirror(Daemon(options.socket), rules, pace)
    client = partial(client_of, options.kubeconfig, pace)
    followers = [Follower(kind, client, mirror, pace) for kind in (SERVICES, SLICES, MAPPINGS, TRANSLATORS)]
    work: list[Any] = [*(one.run() for one in followers), mirror.run(), mirror.look()]
    if who.namespace:
        beat = Beat(client, who, lambda: mirror.applied(followers), Times())
        members, leases = _members(client, who.namespace, pace)
        followers.append(leases)
        work += [beat.run(mirror.progress), leases.run(), members.run(partial(grace, mirror.daemon))]

    def standing() -> Any:
        from nat64d.kubernetes.standing import MirrorStanding  # noqa: PLC0415  aiohttp: 10 MB, for those who ask

        return MirrorStanding(mirror, followers)

    return standing, work


def _members(client: Callable[[], Any], namespace: str, pace: Pace) -> tuple[Members, Follower]:
    members = Members(client, gateways_of(namespace), Times())
    follower = Follower(gateways_of(namespace), client, members, pace)
    members.contact = follower.contact
    return members, follower


async def grace(daemon: Daemon) -> None:
    """Gateways have come or gone, and flows of one arrive at another: let their TCP be answered with RST for a
    while."""
    ends = asyncio.get_running_loop().time() + GRACE
    while True:
        try:
            await daemon.grace()
        except (DaemonUnreachableError, RefusedError) as error:
            if isinstance(error, RefusedError) or asyncio.get_running_loop().time() > ends:
                log.warning("TCP of other gateways is not answered: %s", error, extra={"event": "no_grace"})
                return
            await asyncio.sleep(0.1)
        else:
            return


def _routes(options: Options, pace: Pace) -> Parts:
    from nat64d.kubernetes.next_hops import NextHops  # noqa: PLC0415  pyroute2: 15 MB

    client = partial(client_of, options.kubeconfig, pace)
    members, follower = _members(client, options.who.namespace or NAMESPACE, pace)
    hops = NextHops(options.routes, options.who.node or options.who.name, members)

    def standing() -> Any:
        from nat64d.kubernetes.standing import RoutesStanding  # noqa: PLC0415

        return RoutesStanding(hops, [follower])

    return standing, [follower.run(), members.run(hops.change), hops.run()]


def _controller(options: Options, pace: Pace) -> Parts:
    from nat64d.kubernetes.controller import KINDS, Choices, Controller  # noqa: PLC0415

    client = partial(client_of, options.kubeconfig, pace)
    given = Choices(options.default_class, statuses.Rules(options.ipv6_front))
    controller = Controller(client, options.who.name, given)
    election = Election(client, options.who.namespace or NAMESPACE, options.who.name, given.times)
    kinds = (*KINDS, gateways_of(options.who.namespace or NAMESPACE))
    followers = [Follower(kind, client, controller, pace) for kind in kinds]

    def standing() -> Any:
        from nat64d.kubernetes.standing import ControllerStanding  # noqa: PLC0415

        return ControllerStanding(controller, election, followers)

    return standing, [*(one.run() for one in followers), election.run(controller.lead)]


async def _listen(stack: AsyncExitStack, standing: Any, place: tuple[str, int]) -> None:
    from aiohttp import web  # noqa: PLC0415

    runner = web.AppRunner(standing.app(), access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, *place).start()
