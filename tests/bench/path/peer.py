"""Generator and sink on two machines, with whatever is to be measured between them; README.md says how to start them.

Delays are not measured, as the clocks differ; nor is CPU time of the gateway.
"""

import os
import signal
import subprocess
import sys
import time
from ipaddress import ip_address
from itertools import count
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Annotated, Any

import typer

from nat64d.cli.lab import Namespace
from tests.bench.path import measures, places, run
from tests.bench.path.flows import DIRECTIONS
from tests.bench.path.measures import MANY, SIZES, Bench
from tests.bench.path.places import Network, Way
from tests.bench.path.soak import Soak
from tests.bench.path.wire import End

app = typer.Typer(add_completion=False)
KEY = "NAT64D_BENCH_KEY"


class Ends(BaseManager):
    """Makes ends of its own machine, and lets another machine use them."""


Ends.register("End", End)


def manager(where: str) -> Ends:
    """The one at an address and port, or at a path of this machine."""
    host, _, port = where.rpartition(":")
    if not (key := os.environ.get(KEY)):
        raise typer.BadParameter(f"{KEY} is not set: the same words on both machines")
    return Ends((host.strip("[]"), int(port)) if port.isdigit() else where, key.encode())


@app.command()
def sink(interface: str, listen: str) -> None:
    """Be the other end."""
    server = manager(listen).get_server()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a stop also cleans up
    subprocess.run(["nft", "-f", "-"], input=places.DROP.format(devices=interface), text=True, check=True)
    try:
        server.serve_forever()
    finally:
        subprocess.run(["nft", "delete", "table", "netdev", "bench"], check=True)


def between(client: End, server: Any, first: str, target: str, address: str, gateways: str) -> Way:
    """What is between an end of ours and one of the other machine."""
    one, other = (bytes.fromhex(mac.replace(":", "")) for mac in gateways.split(","))
    hosts = [ip_address(first) + number for number in range(places.CLIENTS)]
    return Way("between", hosts, ip_address(target), ip_address(address), client, server, one, other)


@app.command()
def generate(
    interface: str,
    peer: str,
    client: Annotated[str, typer.Option(help=f"The first of {places.CLIENTS} addresses that are senders.")],
    target: Annotated[str, typer.Option(help="The server, as clients see it.")],
    server: Annotated[str, typer.Option(help="The server, as it sees itself.")],
    gateways: Annotated[str, typer.Option(help="Ethernet addresses of the gateway: here, and at the server.")],
    rounds: int = 3,
    seconds: float = 2.0,
    sizes: Annotated[bool, typer.Option("--all", help="Also the other sizes of frames.")] = False,
    output: Path | None = None,
) -> None:
    """Measure rates and new flows."""
    there = manager(peer)
    there.connect()
    way = between(End(interface), there.End(interface), client, target, server, gateways)  # type: ignore[attr-defined]
    nobody = Namespace("", "")  # only measures that run programs or look at processors need them
    given = Bench(Network(nobody, nobody, nobody, nobody, {}), Soak([], []), seconds, count(1))
    chosen = [measures.throughput(flows, direction) for flows in (1, 32, MANY) for direction in DIRECTIONS]
    chosen += [measures.throughput(MANY, direction, size) for size in SIZES[1:] for direction in DIRECTIONS if sizes]
    results = run.Results(output, {"seconds": seconds})
    try:
        run.compare(given, [way], [*chosen, measures.established()], rounds, time.monotonic() + 86400, results)
    finally:
        results.write()
        way.client_end.close()


if __name__ == "__main__":
    app()
