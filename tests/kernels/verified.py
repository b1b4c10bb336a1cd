"""How much this kernel's verifier looks at for each configuration: `python -m tests.kernels.verified`."""

import os
import time

from nat64d.config.load import loads
from nat64d.config.settings import settings_of, tables_of
from nat64d.dataplane.bpf import system
from nat64d.dataplane.bpf.kept import kept_object
from nat64d.dataplane.bpf.link import SECTION, link
from nat64d.dataplane.bpf.maps import Maps
from nat64d.dataplane.bpf.numbers import parameters_of
from tests.established import CONFIGS

QUEUES = 2


def show(name: str) -> None:
    """Load the program for one of CONFIGS; raises SystemCallError if it is refused."""
    config, maps = loads(CONFIGS[name] + "[limits]\nsessions = 64\n"), Maps()
    settings = settings_of(config, bytes(16))
    tables = maps.share(tables_of(config, settings))
    maps.fill(settings, len(tables.sessions))
    maps.hear(QUEUES)
    code = link(kept_object(), SECTION, maps.fds, parameters_of(settings, tables, system.possible_cpus(), QUEUES))
    began = time.monotonic()
    program = system.load(code)
    took = time.monotonic() - began
    print(f"{name}: {len(code) // 8} instructions, {system.verified(program)} verified in {1000 * took:.0f} ms")
    os.close(program)
    maps.close()


if __name__ == "__main__":
    print(f"Linux {os.uname().release}")
    for each in CONFIGS:
        show(each)
