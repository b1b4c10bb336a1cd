"""The command `nat64d`: the daemon, the checks, and (commands.py) what asks a running daemon.

Only what a command needs is imported, when it runs: those that ask a daemon must not wait for numba.
Exit codes: 0 good, 1 found something wrong, 2 usage, 3 daemon not reachable.
"""

from pathlib import Path
from typing import Annotated

import typer

from nat64d import __version__, commands, defaults
from nat64d.commands import ConfigOption, JsonOption, SocketOption

app = typer.Typer(
    name="nat64d",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would double the time a command takes to start
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nat64d {__version__}")
        raise typer.Exit


@app.callback()
def nat64d(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """NAT64 gateway: IPv6-only hosts reach IPv4 servers.

    Exit codes: 0 good, 1 found something wrong, 2 usage, 3 daemon not reachable.
    """


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the gateway in the foreground until SIGTERM or SIGINT."""
    from nat64d import daemon  # noqa: PLC0415  numba

    raise typer.Exit(daemon.main(defaults.config_file(config)))


@app.command()
def check(config: ConfigOption = None) -> None:
    """Check the configuration and print what is in effect, defaults included; what is wrong goes to standard error."""
    from nat64d.config import ConfigError, dump, load  # noqa: PLC0415  pydantic
    from nat64d.config.warnings import warnings  # noqa: PLC0415

    try:
        effective = load(defaults.config_file(config))
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(1) from None
    for warning in warnings(effective):
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(dump(effective), nl=False)


_Captures = Annotated[
    list[Path],
    typer.Argument(metavar="IN.pcap...", help="What to translate; the files of a rotating capture, in their order."),
]
_Expect = Annotated[
    Path | None, typer.Option("--expect", metavar="GOLDEN.pcap", help="Fail unless the result equals this.")
]


@app.command()
def replay(
    captures: _Captures,
    config: ConfigOption = None,
    output: Annotated[Path | None, typer.Option("-o", metavar="OUT.pcap", help="Where to write the result.")] = None,
    expect: _Expect = None,
    as_json: JsonOption = False,
) -> None:
    """Translate a capture by its own clock, without a TUN device and without root: byte-exact, the same every time."""
    from nat64d.replay import replay as replaying  # noqa: PLC0415  numba

    raise typer.Exit(replaying.main(captures, config, output, expect, as_json))


@app.command()
def explain(
    packet: Annotated[
        str,
        typer.Argument(
            help="'2001:db8::1 > 64:ff9b::192.0.2.1 udp 5000 53', octets in hexadecimal, or FILE.pcap:NUMBER."
        ),
    ],
    config: ConfigOption = None,
    as_json: JsonOption = False,
    live: Annotated[
        bool, typer.Option("--live", help="Against the running daemon's tables, of which nothing changes.")
    ] = False,
    socket: SocketOption = None,
) -> None:
    """Say step by step what becomes of a packet, and why: which rule and table row, octets before and after."""
    if live:
        commands.explain_live(packet, as_json, config, socket)
        return
    if socket:
        raise typer.BadParameter("--socket names a running daemon; give --live with it")
    from nat64d.replay import explain as explaining  # noqa: PLC0415  pydantic, numba

    raise typer.Exit(explaining.main(packet, defaults.config_file(config), as_json))


_dns64 = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Show what the name server does.")
app.add_typer(_dns64, name="dns64")
_dns64.command()(commands.servers)


@_dns64.command()
def trace(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A domain name, or the address whose name is asked for.")],
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="AAAA, A, PTR, …; AAAA unless given.")] = "",
    client: Annotated[
        str | None, typer.Option("--client", metavar="ADDRESS", help="As this client; as most clients, unless given.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Ask as a client would, and tell what was asked, got, excluded and synthesised, and why; needs no daemon."""
    from nat64d.dns64 import command  # noqa: PLC0415  pydantic

    raise typer.Exit(command.trace(name, type_, client, defaults.config_file(config), as_json))


@app.command()
def export(
    program: Annotated[str, typer.Argument(metavar="unbound|bind|coredns|radvd|networkd", help="Whose words to use.")],
    config: ConfigOption = None,
) -> None:
    """Print the prefix and DNS64 as another program's configuration; what that cannot say goes to standard error."""
    from nat64d.dns64 import command  # noqa: PLC0415  pydantic

    raise typer.Exit(command.export(program, defaults.config_file(config)))


@app.command()
def demo() -> None:
    """Show it at work in network namespaces, without touching this host."""
    from nat64d import demo as demonstration  # noqa: PLC0415  numba

    raise typer.Exit(demonstration.main())


for command in (commands.status, commands.counters, commands.sessions, commands.bib, commands.pools):
    app.command()(command)
