"""An engine of Engines is the engine that a configuration makes, but for what soon after a start is different."""

from dataclasses import fields
from typing import Any

import numpy as np

from nat64d.offline.engine import Engine
from tests.case import config_of
from tests.engines import Engines

SECRET = bytes(range(16))


def arrays(part: Any) -> dict[str, tuple[type, np.dtype, bytes]]:
    """What an object passed by reference holds, but for the place where ICMP errors are built."""
    held = {each.name: np.asanyarray(getattr(part, each.name)) for each in fields(part) if each.name != "answer"}
    return {name: (type(array), array.dtype, array.tobytes()) for name, array in held.items()}


def test_a_new_engine_is_as_the_configuration_makes_it_whatever_the_one_before_did():
    config = config_of(
        eam=[{"ipv4": "203.0.113.0/28", "ipv6": "2001:db8:7::/124"}],
        limits={"fragments_memory": 65536},
        filtering={"reset_unknown": 0},
    )
    engines, made = Engines(config, SECRET), Engine(config, SECRET)
    for array in vars(engines.new().tables).values():
        if isinstance(array, np.ndarray):
            array.view(np.uint8)[...] = 0x11
    for part in ("settings", "tables", "worker"):
        assert arrays(getattr(engines.new(), part)) == arrays(getattr(made, part))
    assert engines.new().tables.lock.ctypes.data != engines.new().tables.lock.ctypes.data
