"""One scenario: quiet hosts settle, tables are filled, the attack lasts, it ends, and the hosts say how it was."""

import json
import select
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.e2e.attack.network import ECHO, POOLS, RESOLVER, SERVER6, VIP, WHOAMI, Daemon, Network, start
from tests.e2e.attack.scenarios import Attack
from tests.e2e.topology import hear, tell

SLICE = 0.5  # seconds between two looks at a table that is filled
GROWING = 0.05  # of what the gateway took in a slice: a table that grows by less is as full as it gets
DURING, AFTER, PAUSE = 3.0, 1.0, 0.3  # seconds
PART = 0.5  # of what the gateway can take
KEPT, NEW = 90, 99  # percent that must succeed
PATIENCE = 60.0  # seconds for a program to say what it has to

Tally = dict[str, dict[str, list[int]]]  # phase, kind: how many were begun, how many succeeded


class Sent(NamedTuple):
    """Packets, or connections, and the seconds it took."""

    packets: int = 0
    seconds: float = 0

    @property
    def rate(self) -> int:
        """A second."""
        return round(self.packets / self.seconds) if self.seconds else 0


class Outcome(NamedTuple):
    """What was sent, and what became of those who did not send it."""

    attack: Attack
    pool: str
    filled: Sent
    sessions: int  # when the tables were filled
    sent: Sent
    tally: Tally
    fault: str

    def percent(self, phase: str, kind: str) -> float | None:
        """How much succeeded."""
        begun, succeeded = self.tally[phase].get(kind, (0, 0))
        return 100 * succeeded / begun if begun else None

    def faults(self) -> list[str]:
        """What the quiet hosts did not get, in words."""
        found = [self.fault] if self.fault else []
        for phase in ("during", "after"):
            for kind, (begun, succeeded) in self.tally[phase].items():
                needed = KEPT if kind.startswith("kept") else NEW
                if succeeded * 100 < begun * needed:
                    found.append(f"{kind} {phase} the attack: {succeeded} of {begun}, which is less than {needed} %")
        return found


class Stage:
    """A daemon, quiet hosts and an attacker, ready to begin."""

    def __init__(self, network: Network, attack: Attack, pool: str, directory: Path) -> None:
        self.network, self.attack, self.pool = network, attack, pool
        self.daemon = Daemon(network.gateway, directory, POOLS[pool])
        self.programs: list[subprocess.Popen[str]] = []
        self.rate = attack.rate

    def __enter__(self) -> Self:
        try:
            self.daemon.start()
            self.set_up()
        except BaseException:
            self.take_down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.take_down()

    def set_up(self) -> None:
        """Open what is open before the attack, and let the attacker prepare."""
        owner = self.start("neighbour6", "programs", "mapped_udp", SERVER6, WHOAMI, "2", self.attack.use)
        mapped = [(address, port) for address, port in json.loads(hear(owner, PATIENCE))]
        self.attacker = self.start(self.attack.host, *self.attack.program(self.network, mapped, POOLS[self.pool]))
        roles = {
            "host": ("victim6", SERVER6, ECHO, RESOLVER),
            "asker": ("neighbour6", RESOLVER),
            "client": ("server4", VIP, ECHO),
            "sender": ("server4", mapped[0][0], str(mapped[0][1])),
        }
        self.quiet = []
        for role in self.attack.victims:
            host, *arguments = roles[role]
            self.quiet.append(self.start(host, "victim", role, *arguments))
        assert [hear(program, PATIENCE) for program in self.quiet] == ["settled"] * len(self.quiet)
        assert hear(self.attacker, PATIENCE) == "ready"

    def start(self, host: str, module: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a program of this package."""
        self.programs.append(start(self.network.hosts[host], module, *arguments))
        return self.programs[-1]

    def take_down(self) -> None:
        """End the programs and the daemon."""
        for program in self.programs:
            program.kill()
            program.communicate()
        self.daemon.stop()

    def play(self) -> Outcome:
        """The attack, from its beginning to what comes after it."""
        self.begin("filling")
        filled, sessions = self.fill()
        time.sleep(PAUSE)
        self.begin("during")
        sent, fault = self.assault()
        if self.attack.rate and (sent.packets == 0 or self.daemon.packets(self.attack.verdict) == 0):
            fault = f"the attack missed: none of {sent.packets} packets ended as {self.attack.verdict}"
        self.begin("after")
        time.sleep(AFTER)
        return Outcome(self.attack, self.pool, filled, sessions, sent, self.tally(), fault)

    def assault(self) -> tuple[Sent, str]:
        """Attack until all has ended that the quiet hosts began within DURING: what comes to an end only because the
        attack does is no success. Returns what was sent, and the attack's own fault if it has one."""
        begun, packets, seconds, fault, over = time.monotonic(), 0, 0.0, "", False
        while not over or not self.all_over():
            tell(self.attacker, SLICE, self.rate)
            if not over and time.monotonic() - begun > DURING and packets >= self.attack.packets:
                fault, over = self.attack.fault(self.daemon), True
                self.begin("still")
            sent = self.attacked()
            packets, seconds = packets + sent.packets, seconds + sent.seconds
        return Sent(packets, seconds), fault

    def all_over(self) -> bool:
        """Whether all has ended that was begun during the attack."""
        said = [program.stdout for program in self.quiet if program.stdout is not None]
        readable, _, _ = select.select(said, [], [], 0)
        return len(readable) == len(said)

    def begin(self, phase: str) -> None:
        """Tell the quiet hosts how to count from now on."""
        for program in self.quiet:
            assert program.stdin is not None
            program.stdin.write(phase + "\n")

    def fill(self) -> tuple[Sent, int]:
        """Send what the machine sends until the table of sessions grows no more; returns how many there are then.

        What the gateway took while the table was empty is what this machine, busy as it is, can do: the attack itself
        is to be no more than a part of it, because what overflows the queue of the device is lost to everybody.
        """
        count, seconds, sessions = 0, 0.0, self.daemon.sessions()
        while seconds < self.attack.fill:
            before, lost = sessions, self.daemon.overflowed()
            tell(self.attacker, SLICE, 0)
            sent = self.attacked()
            taken = sent.packets - (self.daemon.overflowed() - lost)
            if count == 0:
                self.rate = min(self.rate, int(taken / sent.seconds * PART))
            count, seconds, sessions = count + sent.packets, seconds + sent.seconds, self.daemon.sessions()
            if sessions - before < taken * GROWING:
                break
        return Sent(count, seconds), sessions

    def attacked(self) -> Sent:
        """Wait until the attacker has sent what it was told to send."""
        said = json.loads(hear(self.attacker, PATIENCE))
        return Sent(said["sent"], said["seconds"])

    def tally(self) -> Tally:
        """What the quiet hosts have counted, together."""
        total: Tally = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        for program in self.quiet:
            said, _ = program.communicate(timeout=PATIENCE)
            for phase, kinds in json.loads(said.splitlines()[-1]).items():
                for kind, (begun, succeeded) in kinds.items():
                    row = total[phase][kind]
                    row[0], row[1] = row[0] + begun, row[1] + succeeded
        return total
