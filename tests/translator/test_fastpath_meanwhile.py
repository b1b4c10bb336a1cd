"""What the daemon does while the program looks at a session: at each of its reads the session ends, and another one has
its record.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest

from tests.established import UDP, under
from tests.fastpath import ETHERNET, ethernet, neutral
from tests.reference import packets as make
from tests.translator.test_fastpath_edges import SERVER, UDP_TIMEOUT, Flow
from translator.fastpath.program import program
from translator.jit.bpf import Stand
from translator.jit.compile import COMPILED
from translator.session.flush import end_those
from translator.tables.layout import SESSION, records

pytestmark = pytest.mark.skipif(COMPILED, reason="nothing is compiled in plain Python, and here something must not be")

STRANGER = IPv6Address("2001:db8:9::2")
MOMENT = 3001  # some time after the flow was opened


class Interrupted:
    """A packet in the program, and a daemon that opens a flow where the one of the packet was, at its n-th read."""

    def __init__(self, from_ipv6: bool, nth: int) -> None:
        self.flow = Flow()
        self.packet = self.flow.ipv6() if from_ipv6 else self.flow.ipv4()
        self.reads, self._nth, self.taken = 0, nth, False
        self._read = self.flow.kernel.read

    def read(self, *arguments: object) -> int:
        if self.reads == self._nth:
            self.another()
        self.reads += 1
        return self._read(*arguments)  # type: ignore[arg-type]

    def another(self) -> None:
        """End the session, and open one whose record lies there."""
        engine, rows = self.flow.twin, records(1, SESSION)
        rows[0] = engine.tables.sessions[0]
        assert end_those(engine.gateway, MOMENT, rows, np.zeros(1, np.int64)) == 1
        opens = make.ipv6(STRANGER, under(self.flow.prefix, SERVER), UDP, make.udp(5000, 53, b"data"))
        super(type(engine), engine).translate(opens, MOMENT)
        row = engine.tables.sessions[0]
        assert row.host6_lo == int(STRANGER) & 0xFFFFFFFF, "it has the same record"
        answer = make.udp(53, int(row.mapped4_port), b"data")
        super(type(engine), engine).translate(make.ipv4(SERVER, IPv4Address(int(row.mapped4)), UDP, answer), MOMENT)

    def run(self) -> None:
        Stand.kernel = self.flow.kernel
        context = self.flow.kernel.receive(ethernet(self.packet), MOMENT, 0)
        self.flow.kernel.read = self.read  # type: ignore[method-assign]
        self.taken = program(context) != 0


def interruptions(from_ipv6: bool) -> Iterator[Interrupted]:
    """One at each read."""
    nth = 0
    while True:
        each = Interrupted(from_ipv6, nth)
        each.run()
        if each.reads <= nth:
            return
        yield each
        nth += 1


@pytest.mark.parametrize("from_ipv6", [True, False])
def test_a_packet_is_its_own_session_s_or_the_daemon_s(from_ipv6):
    expected = Flow()
    packet = expected.ipv6() if from_ipv6 else expected.ipv4()
    (right,) = super(type(expected.twin), expected.twin).translate(packet, MOMENT).packets
    endings = set()
    for each in interruptions(from_ipv6):
        frame = each.flow.kernel.frame
        assert neutral(frame[ETHERNET:]) == neutral(right) if each.taken else frame == ethernet(packet)
        assert each.flow.twin.tables.sessions[0].expires == MOMENT + UDP_TIMEOUT, "as the daemon wrote it"
        endings.add(each.taken)
    assert endings == {True, False}, "it was interrupted before it found the session, and after it"
