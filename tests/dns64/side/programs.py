"""The three name servers as child processes on loopback, each forwarding to a server of ours; no privileges needed.

unbound and BIND run what `nat64d export` prints for the same configuration, which is as well as they can do. Each row's
domain has a forwarder address of its own there, since both remember which server was silent.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from nat64d.config.models import Config
from nat64d.dns64.command import intent_of
from nat64d.dns64.export import PROGRAMS
from nat64d.dns64.service.plan import plan
from tests.architecture import ROOT
from tests.dns64.side.row import CLIENT

HOST = "127.0.0.1"
START_TIME = 20.0  # seconds until a program answers

# Beside what an operator has anyway: the stranger is on loopback too, and the reverse zone is one of RFC 6303.
UNBOUND = """\
server:
  directory: "{directory}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  log-time-ascii: no
  verbosity: 0
  num-threads: 1
  do-ip6: no
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 refuse
  local-zone: "2.0.192.in-addr.arpa." nodefault
"""
NAMED = """\
    directory "{directory}";
    pid-file none;
    session-keyfile none;
    dnssec-validation no;
"""


def path_of(name: str) -> str | None:
    """Where a program is, if it is installed."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin")


def version(name: str) -> str | None:
    """`1.17` or `9.18`, if it is installed."""
    path = path_of(name)
    if path is None:
        return None
    said = subprocess.run([path, "-V"], capture_output=True, text=True, check=True, timeout=START_TIME).stdout
    found = re.search(r"(\d+\.\d+)\.\d+", said)
    assert found is not None, said
    return found[1]


def configuration(port: int, upstream: str, more: str = "") -> Config:
    """One configuration for all three; `more` lines of [dns64]."""
    listen = f'listen = ["{HOST}:{port}"]\nupstream = ["{upstream}"]\nclients = ["{CLIENT}/32"]\n'
    return Config.model_validate(tomllib.loads(f'pool6 = "64:ff9b::/96"\n[dns64]\n{listen}{more}'))


@contextlib.asynccontextmanager
async def _nat64d(config: Config, *_: object) -> AsyncIterator[None]:
    """The name server's process as the daemon runs it; packets are said to be translated."""
    command = (sys.executable, "-m", "nat64d.dns64.service.process")
    async with _child(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for document in ({"plan": plan(config, [], [])}, {"ready": True}):
            process.stdin.write(json.dumps(document).encode() + b"\n")
        said = json.loads(await asyncio.wait_for(process.stdout.readline(), START_TIME))
        assert said["problems"] == [], said
        yield


@contextlib.asynccontextmanager
async def _unbound(config: Config, directory: Path, port: int, forwards: Mapping[str, str]) -> AsyncIterator[None]:
    """unbound, its domains `forwards` forwarded to "ADDRESS:PORT"."""
    text = PROGRAMS["unbound"](intent_of(config)).text + UNBOUND.format(directory=directory)
    for domain, server in forwards.items():
        text += f'forward-zone:\n  name: "{domain}"\n  forward-addr: {server.replace(":", "@")}\n'
    file = directory / "unbound.conf"
    file.write_text(text, "utf-8")
    async with _child(_copy("unbound", directory), "-d", "-c", str(file), cwd=directory) as process:
        await _answers(port, process)
        yield


@contextlib.asynccontextmanager
async def _named(config: Config, directory: Path, port: int, forwards: Mapping[str, str]) -> AsyncIterator[None]:
    """BIND, the same."""
    text = PROGRAMS["bind"](intent_of(config)).text
    text = text.replace("options {\n", "options {\n" + NAMED.format(directory=directory), 1)
    text += "controls { };\n"
    zones = ""
    for domain, server in forwards.items():
        address, _, number = server.partition(":")
        zones += f'zone "{domain}" {{ type forward; forward only; forwarders {{ {address} port {number}; }}; }};\n'
    text = re.sub(r"(?<=match-clients ).*\n", lambda match: match[0] + zones, text) if "view" in text else text + zones
    file = directory / "named.conf"
    file.write_text(text, "utf-8")
    async with _child(_copy("named", directory), "-g", "-n", "1", "-c", str(file), cwd=directory) as process:
        await _answers(port, process)
        yield


def free_port() -> int:
    """A port of loopback that nobody has at the moment, for UDP and TCP, nor gets from the kernel unasked."""
    while True:
        address = (HOST, random.randrange(10000, 32768))
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            tcp.bind(address)
            udp.bind(address)
            return address[1]


def _copy(name: str, directory: Path) -> str:
    """The program under another path: Debian's AppArmor profiles keep those at their own from reading our files."""
    path = path_of(name)
    assert path is not None
    return str(shutil.copy(path, directory / name))


@contextlib.asynccontextmanager
async def _child(*command: str, **options: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """It is killed in the end."""
    given: dict[str, object] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
    process = await asyncio.create_subprocess_exec(*command, **given)  # type: ignore[arg-type]
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _answers(port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until a program answers at its port."""
    query = b"\0\1\0\0\0\1\0\0\0\0\0\0\7version\4bind\0\0\x10\0\3"
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(START_TIME):
        while True:
            with socket.socket(type=socket.SOCK_DGRAM) as client, contextlib.suppress(OSError, TimeoutError):
                client.setblocking(False)
                client.connect((HOST, port))
                await loop.sock_sendall(client, query)
                await asyncio.wait_for(loop.sock_recv(client, 512), 0.5)
                return
            assert process.returncode is None, "it does not like its configuration"
            await asyncio.sleep(0.05)


START = {"nat64d": _nat64d, "unbound": _unbound, "named": _named}
