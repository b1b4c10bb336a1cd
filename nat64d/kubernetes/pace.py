"""How long is waited for what, in seconds; tests have shorter ones."""

import asyncio
from dataclasses import dataclass

AGE = 45.0  # LIMITS: of a watch, after which it is opened anew, with up to half as much more so that not all do at once
OBEDIENT = 30.0  # LIMITS: at most so long the API server is left alone when it asks for that


@dataclass(frozen=True)
class Pace:
    """`quiet`: without an octet of a watch, then the API server is asked whether it is there; `answer`: until the
    first octet of an answer, and between two; `connect`: until a connection stands; `first`, `longest`: between two
    attempts; `outage`: after a longer one all is read again, as another copy of the cluster's state may be there."""

    quiet: float = 10.0
    answer: float = 5.0
    connect: float = 3.0
    first: float = 0.1
    longest: float = 1.0
    obedient: float = OBEDIENT  # at most this long
    outage: float = 5.0
    age: float = AGE
    daemon: float = 1.0  # between two looks whether the daemon is still the same
    refused: float = 30.0  # until the daemon is asked again for what it has refused
    absent: float = 30.0  # between two looks for a kind that there is not


def moment() -> float:
    """Now, by the clock of the event loop: a test may have another one."""
    return asyncio.get_running_loop().time()
