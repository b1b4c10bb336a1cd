"""The command `nat64d kubernetes`."""

from ipaddress import IPv6Network
from pathlib import Path
from typing import Annotated, Any

import typer

from nat64d.cli.asking import ConfigOption, SocketOption
from nat64d.config import defaults
from nat64d.exitcode import ExitCode

GatewayOption = Annotated[
    bool, typer.Option("--gateway", help="Mirror Services of class nat64d.io/gateway into the daemon of this host.")
]
ControllerOption = Annotated[
    bool, typer.Option("--controller", help="Give them addresses of VIPPools, and say in their status what is so.")
]
RoutesOption = Annotated[
    bool, typer.Option("--routes", help="Lead this node to prefixes of gateways, by one that is alive.")
]
PrefixOption = Annotated[
    list[str] | None,
    typer.Option("--prefix", metavar="PREFIX", help="With --routes: client_prefix or pool6; may be repeated."),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDRESS", help="Of this gateway on the link of nodes, by default $HOST_IP."),
]
KubeconfigOption = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Which API server; without it that of the Pod, or as kubectl."),
]
NodeOption = Annotated[
    str | None,
    typer.Option("--node", metavar="NAME", help="The node this runs on, by default $NODE_NAME; '' = on none."),
]
ClassOption = Annotated[
    bool, typer.Option("--default-class", help="Services of type LoadBalancer that name no class, too.")
]
FrontOption = Annotated[
    bool, typer.Option("--ipv6-front", help="Gateways translate IPv6 addresses too ([services] ipv6_front).")
]
ListenOption = Annotated[
    str | None,
    typer.Option("--listen", metavar="ADDRESS:PORT", help="Serve /healthz, /readyz, /metrics and /status there."),
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Of its Lease; by default $POD_NAME, the node, or the host's name."),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        metavar="NAME",
        help="Of the Leases; by default $POD_NAMESPACE or nat64d; '' = a gateway has none.",
    ),
]


def kubernetes(
    gateway: GatewayOption = False,
    controller: ControllerOption = False,
    routes: RoutesOption = False,
    prefix: PrefixOption = None,
    address: AddressOption = None,
    kubeconfig: KubeconfigOption = None,
    node: NodeOption = None,
    name: NameOption = None,
    namespace: NamespaceOption = None,
    default_class: ClassOption = False,
    ipv6_front: FrontOption = False,
    listen: ListenOption = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Write the log as JSON Lines.")] = False,
    config: ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """Serve a cluster: what its Services and EndpointSlices say is what the daemon does.

    Runs in the foreground until SIGTERM or SIGINT. A gateway runs beside the daemon, whose socket it needs and nothing
    else of this host; while the API server is silent, and when this ends, the daemon keeps what it has. A controller
    runs anywhere; of several one writes. Routes are those of this node, and stay when this ends. Takes
    nat64d[kubernetes].
    """
    if gateway + controller + routes != 1:
        raise typer.BadParameter("expected --gateway, --controller or --routes")
    if routes != bool(prefix):
        raise typer.BadParameter("expected --prefix with --routes, and not without")
    prefixes = tuple(_prefix(one) for one in prefix or ())
    command = _of_kubernetes()
    path = (socket or defaults.socket_path(config)) if gateway else ""
    style = "json" if log_json else "text"
    who = command.who(name, node, namespace, address)
    given = command.Options(kubeconfig, path, who, default_class, listen, style, ipv6_front, prefixes)
    raise typer.Exit(command.main(given))


def _prefix(text: str) -> IPv6Network:
    try:
        return IPv6Network(text)
    except ValueError as error:
        raise typer.BadParameter(f"--prefix {text}: {error}") from None


def _of_kubernetes() -> Any:
    """The module of an extra."""
    try:
        from nat64d.kubernetes import command  # noqa: PLC0415
    except ModuleNotFoundError as error:
        typer.echo(f"nat64d: {error.name} is not installed; pip install 'nat64d[kubernetes]'", err=True)
        raise typer.Exit(ExitCode.USAGE) from None
    return command
