"""Debian's unbound as the name server that others ask."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from nat64d.cli.lab import Namespace

CONFIG = """
server:
  interface: {interface}
  access-control: ::/0 allow
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  use-syslog: no
  chroot: ""
  username: ""
  pidfile: ""
{data}
remote-control:
  control-enable: no
"""


def unbound(host: Namespace, directory: Path, interface: str, data: str) -> subprocess.Popen[str]:
    """unbound on an address of a host, once it answers. `data`: lines of its section `server`, such as local-data."""
    file = directory / "unbound.conf"
    file.write_text(CONFIG.format(interface=interface, data=data))
    log = directory / "unbound.log"
    with log.open("w") as output:
        process = host.popen("unbound", "-d", "-p", "-c", str(file), stdout=output, stderr=subprocess.STDOUT)
    wait_for(lambda: "start of service" in log.read_text(), log)
    return process


def wait_for(condition: Callable[[], bool], log: Path, seconds: float = 30.0) -> None:
    """Fail, with what a log says, unless it comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
