"""The command `nat64d`: the daemon, the offline commands, and (client_commands.py) those that ask a running daemon.

A command imports what it needs when it runs: the client commands must not wait for numba. Exit codes: exitcode.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nat64d import __version__
from nat64d.cli import change_commands as changes
from nat64d.cli import client_commands as commands
from nat64d.cli import kubernetes_command, start
from nat64d.cli import listing_commands as listings
from nat64d.cli.asking import ConfigOption, JsonOption, SocketOption
from nat64d.cli.start import finished, imports
from nat64d.config import defaults
from nat64d.exitcode import RULE, ExitCode

if TYPE_CHECKING:
    from nat64d.config.models import Config

app = typer.Typer(
    name="nat64d",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time a command takes to start
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nat64d {__version__}")
        raise typer.Exit


def _finish(main: Callable[..., ExitCode], *arguments: object) -> NoReturn:
    """Run a command to its exit code."""
    raise typer.Exit(finished(main, *arguments))


_ABOUT = f"""NAT64 gateway: IPv6-only hosts reach IPv4 servers.

Exit codes: {RULE}.
"""


@app.callback(help=_ABOUT)
def nat64d(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options that every command has."""


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the gateway in the foreground until SIGTERM or SIGINT; SIGHUP reloads the configuration.

    Exit 2 if the configuration is wrong, 1 if it does not fit this host, the host cannot be set up or a worker fails.
    """
    raise typer.Exit(start.run(config))


@app.command()
def check(
    config: ConfigOption = None,
    file_only: Annotated[
        bool, typer.Option("--file-only", help="Check the file alone: it is for another host than this one.")
    ] = False,
) -> None:
    """Check the configuration, alone and against this host, and print it with all defaults.

    Mistakes and warnings go to standard error, one a line. Exit 2 if there is a mistake in the file, 1 if it does not
    fit the interfaces, addresses and routes of this host; warnings alone exit 0. Changes nothing.
    """
    _finish(_check, defaults.config_file(config), file_only)


def _check(path: Path | None, file_only: bool) -> ExitCode:
    from nat64d.config.load import dump, load  # noqa: PLC0415
    from nat64d.config.warnings import warnings  # noqa: PLC0415
    from nat64d.host.checks import Report, check_host  # noqa: PLC0415

    effective = load(path)
    report = Report([], []) if file_only else check_host(effective, str(path or defaults.BUILT_IN))
    for warning in (*warnings(effective), *report.warnings):
        typer.echo(f"warning: {warning}", err=True)
    for error in report.errors:
        typer.echo(str(error), err=True)
    typer.echo(dump(effective), nl=False)
    return ExitCode.WRONG if report.errors else ExitCode.GOOD


@app.command()
def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Look for what is wrong with this host and the daemon on it; each finding names the command that helps.

    Works with or without a running daemon, and without root for what can be read without; says what it could not look
    at. Exit 1 if something was found; notes alone exit 0. Changes nothing.
    """
    from nat64d.doctor import command  # noqa: PLC0415  pydantic

    _finish(command.main, defaults.config_file(config), as_json)


@app.command(name="compile")
def compile_() -> None:
    """Compile the packet path now, so that no later start has to."""
    with imports():
        from nat64d.compiling import entries  # noqa: PLC0415  numba

    _finish(entries.main)


_Captures = Annotated[
    list[Path],
    typer.Argument(metavar="IN.pcap...", help="What to translate; the files of a rotating capture in order."),
]
_Expect = Annotated[
    Path | None, typer.Option("--expect", metavar="GOLDEN.pcap", help="Exit 1 unless the result equals this capture.")
]


@app.command()
def replay(
    captures: _Captures,
    config: ConfigOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", metavar="OUT.pcap", help="Write the result to this file.")
    ] = None,
    expect: _Expect = None,
    as_json: JsonOption = False,
) -> None:
    """Translate a capture offline, by its own clock.

    Needs no TUN device and no root. The result is the same every time, octet by octet. Exit 1 if it differs
    from --expect or a capture is cut off or damaged (the totals are of the packets before that), 2 if a capture or the
    configuration cannot be used at all.
    """
    with imports():
        from nat64d.offline import replay as replaying  # noqa: PLC0415  numba

    _finish(replaying.main, captures, config, output, expect, as_json)


@app.command()
def explain(
    packet: Annotated[
        str,
        typer.Argument(
            help="'2001:db8::1 > 64:ff9b::192.0.2.1 udp 5000 53', or a packet in hexadecimal, or FILE.pcap:NUMBER."
        ),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the running daemon, with its tables; nothing in them changes.")
    ] = False,
    socket: SocketOption = None,
) -> None:
    """Show step by step what happens to a packet, and why.

    Names the rule and the table row of each step and shows the octets before and after.
    """
    if live:
        commands.explain_live(packet, as_json, config, socket)
        return
    if socket:
        raise typer.BadParameter("--socket names a running daemon; give --live with it")
    with imports():
        from nat64d.explain import command as explaining  # noqa: PLC0415  pydantic, numba

    _finish(explaining.main, packet, defaults.config_file(config), as_json, _of_this_host)


def _of_this_host(config: "Config") -> "Config":
    """The configuration with the addresses that interfaces of this host have now; as it is if it names none, or nobody
    may look."""
    if not any(pool.interface for pool in config.pool4):
        return config
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    from nat64d.host import facts  # noqa: PLC0415  pyroute2
    from nat64d.host.own4 import with_own4  # noqa: PLC0415

    try:
        return with_own4(config, facts.read)
    except (OSError, NetlinkError):
        return config


_dns64 = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Ask about the name server (DNS64).")
app.add_typer(_dns64, name="dns64")
_dns64.command(name="servers")(listings.COMMANDS["dns64 servers"])


@_dns64.command()
def trace(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A domain name, or an address for a reverse lookup.")],
    type_: Annotated[
        str, typer.Argument(metavar="TYPE", help="AAAA, A, PTR, …; AAAA by default, PTR for an address.")
    ] = "",
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="ADDRESS", help="Answer as for this client; by default as without a policy."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Resolve a name as for a client, and print each step.

    Prints what was asked, received, excluded and synthesised, and why. Needs no daemon. Exit 1 if the query fails.
    """
    from nat64d.dns64 import command  # noqa: PLC0415  pydantic

    _finish(command.trace, name, type_, client, defaults.config_file(config), as_json)


@app.command()
def export(
    program: Annotated[
        str, typer.Argument(metavar="unbound|bind|coredns|radvd|networkd", help="The program to configure.")
    ],
    config: ConfigOption = None,
) -> None:
    """Print prefix and DNS64 as the configuration of another program.

    What that program cannot do goes to standard error, one sentence a line.
    """
    from nat64d.dns64 import command  # noqa: PLC0415  pydantic

    _finish(command.export, program, defaults.config_file(config))


@app.command()
def who(
    address: Annotated[str | None, typer.Option("--address", metavar="IPV4", help="The IPv4 address.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Its port; of ICMP the identifier.")
    ] = None,
    proto: Annotated[str, typer.Option("--proto", metavar="tcp|udp|icmp", help="The protocol.")] = "tcp",
    time: Annotated[
        str | None,
        typer.Option("--time", metavar="TIME", help="When, as in 2026-03-01T12:00:00Z; without it, now."),
    ] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option("--log", metavar="FILE", exists=True, dir_okay=False, help="A log of blocks or mappings."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="IPV6", help="Instead: which address and ports are computed for this host."),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    socket: SocketOption = None,
) -> None:
    """Say which IPv6 host or subscriber has an IPv4 address and port, or had them at a time.

    By the configuration, with what was set beside it, where it follows from that; else by the running daemon or, with
    --log, by what the log says. Exit 1 if nobody is known, 3 if the daemon would know and does not answer.
    """
    from nat64d.gateway.kept_sources import with_kept_sources  # noqa: PLC0415  pydantic
    from nat64d.offline import who as asking  # noqa: PLC0415  pydantic

    path = defaults.config_file(config)
    question = _question(address, port, proto, time, host)
    _finish(asking.main, question, path, socket or defaults.socket_path(config), log or [], as_json, with_kept_sources)


def _question(address: str | None, port: int | None, proto: str, time: str | None, host: str | None) -> object:
    """What `who` is asked; a usage error if that is no question."""
    from datetime import datetime  # noqa: PLC0415
    from ipaddress import IPv4Address, IPv6Address  # noqa: PLC0415

    from nat64d.offline.who import Question  # noqa: PLC0415  pydantic

    if (host is None) == (address is None) or (address is None) != (port is None):
        raise typer.BadParameter("expected --address and --port, or --host")
    if proto not in ("tcp", "udp", "icmp"):
        raise typer.BadParameter("expected tcp, udp or icmp", param_hint="--proto")
    try:
        if host is not None:
            return IPv6Address(host)
        assert address is not None
        assert port is not None
        moment = datetime.fromisoformat(time) if time else None
        if moment and moment.tzinfo is None:
            raise typer.BadParameter("expected a time with its zone, as in 2026-03-01T12:00:00Z", param_hint="--time")
        return Question(IPv4Address(address), port, proto, moment)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def demo() -> None:
    """Show a gateway at work in namespaces; changes nothing on this host."""
    from nat64d.cli import demo as demonstration  # noqa: PLC0415  numba

    _finish(demonstration.main)


app.command()(kubernetes_command.kubernetes)
app.command()(commands.status)
app.command()(listings.counters)
for name in ("sessions", "bib", "hosts", "blocks", "pools", "mappings", "services"):
    app.command(name=name)(listings.COMMANDS[name])
for command in (commands.top, commands.events, changes.reload, changes.unset, changes.log):
    app.command()(command)
app.command(name="flush")(changes.flush)
app.command(name="set")(changes.set_)
