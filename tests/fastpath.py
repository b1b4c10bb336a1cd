"""The program beside the pipeline, on the same tables: each packet meets the program first.

What it passes it has not changed, neither the packet nor the tables. What it takes must be what the pipeline makes of
the packet, octet for octet but for the IPv4 Identification (RFC 6864), and nothing of the tables may have changed but
`expires` of its session: as the pipeline writes it, or up to SLACK later.

Compiled, the program runs in this machine's kernel (BPF_PROG_TEST_RUN); in plain Python, in that
of nat64d/dataplane/bpf/stand.py.
"""

import os
import struct
from collections import Counter
from typing import NamedTuple

import numpy as np

from nat64d.config.models import Config
from nat64d.config.settings import tables_of
from nat64d.dataplane.bpf import system
from nat64d.dataplane.bpf.kept import kept_object
from nat64d.dataplane.bpf.link import SECTION, link
from nat64d.dataplane.bpf.maps import SHARED, Maps
from nat64d.dataplane.bpf.numbers import arrays_of, parameters_of, refusal
from nat64d.dataplane.bpf.stand import Kernel
from nat64d.dataplane.drained import rows_of
from nat64d.offline.engine import Ended, Engine, just_started
from translator.fastpath.kernel import COUNTED, SINCE
from translator.fastpath.order import LEFT
from translator.fastpath.program import program
from translator.fastpath.reasons import Reason
from translator.fastpath.sessions import SLACK
from translator.jit.bpf import Stand
from translator.jit.compile import COMPILED
from translator.packet.virtio import GSO_TCPV4, GSO_TCPV6, Offload, encode
from translator.tables.gateway import HEADROOM, Gateway, new_worker
from translator.tables.settings import Settings
from translator.tables.tables import NEVER_USED, SESSIONS, Tables
from translator.verdict import Verdict

REDIRECT = 7  # TC_ACT_REDIRECT
ETHERNET = 14
LARGEST = 1024  # sessions of a table
MTU = 1400
AT_INTERFACE = {"device": 3, "device_mtu": MTU}  # parameters
NEXT = 0xFFFFFFFF  # TC_ACT_UNSPEC
TAKEN = (Reason.SIX_TO_FOUR, Reason.FOUR_TO_SIX)
SKB_MARK, SKB_GSO_SEGS, SKB_GSO_SIZE = 8, 164, 176  # in struct __sk_buff


class Ran(NamedTuple):
    """How the program ended."""

    verdict: int
    octets: bytes


class InKernel:
    """The program in this machine's kernel; `tables`: those given, which it sees."""

    def __init__(self, settings: Settings, tables: Tables) -> None:
        self.maps = Maps()
        self.tables = self.maps.share(tables)
        self.maps.fill(settings, len(tables.sessions))
        self.maps.hear(1)
        numbers = numbers_of(settings, self.tables, system.possible_cpus())
        self.program, self.at_interface = (
            system.load(link(kept_object(), SECTION, self.maps.fds, numbers | others)) for others in ({}, AT_INTERFACE)
        )

    def run(self, packet: bytes, now: int, gso_size: int, at_interface: bool = False) -> Ran:
        """A packet at this moment."""
        program = self.at_interface if at_interface else self.program
        ran = system.try_out(program, ethernet(packet), context(now, gso_size), 1)
        return Ran(ran.verdict, ran.octets[ETHERNET:])

    def leave(self, row: int, values: tuple[int, int]) -> None:
        """Say what `since` has of a session."""
        system.write(self.maps.fds["since"], row, struct.pack("<qq", *values))

    def counted(self) -> np.ndarray:
        """As Maps.counted."""
        return self.maps.counted()

    def close(self) -> None:
        """Let go of program and maps."""
        os.close(self.program)
        os.close(self.at_interface)
        self.maps.close()


class InPython:
    """The program in plain Python."""

    def __init__(self, settings: Settings, tables: Tables) -> None:
        self.tables, self.counters = tables, np.zeros((len(Reason), COUNTED // 8), np.int64)
        maps = {name: getattr(tables, name) for name in SHARED}
        maps |= arrays_of(settings) | {"counters": self.counters}
        self.since = maps["since"] = np.zeros((len(tables.sessions), SINCE // 8), np.int64)
        self.drained = maps["drained"] = rows_of(2)
        self.kernel = Kernel(maps, numbers_of(settings, tables, 1))

    def run(self, packet: bytes, now: int, gso_size: int, at_interface: bool = False) -> Ran:
        """A packet at this moment."""
        Stand.kernel = self.kernel
        self.kernel.symbols |= AT_INTERFACE if at_interface else dict.fromkeys(AT_INTERFACE, 0)
        verdict = program(self.kernel.receive(ethernet(packet), now, gso_size))
        return Ran(int(verdict) & NEXT, self.kernel.frame[ETHERNET:])

    def leave(self, row: int, values: tuple[int, int]) -> None:
        """Say what `since` has of a session."""
        self.since[row] = values

    def counted(self) -> np.ndarray:
        """As Maps.counted."""
        return self.counters.copy()

    def close(self) -> None:
        """Nothing has to be let go."""


def numbers_of(settings: Settings, tables: Tables, cpus: int) -> dict[str, int]:
    """The parameters of a test run: no daemon that packets wait for, Ethernet, and the clock in the mark."""
    return parameters_of(settings, tables, cpus) | {"link_header": ETHERNET, "clock_in_mark": 1}


class Twin(Engine):
    """An Engine whose packets meet the program before. `wrong`: how the two differ."""

    def __init__(self, config: Config, secret: bytes = bytes(16)) -> None:
        limits = config.limits.model_copy(update={"sessions": min(config.limits.sessions, LARGEST)})
        config = config.model_copy(update={"limits": limits})
        self.wrong, self.reasons, self.gso_size = list[str](), Counter[Reason](), 0
        settings = just_started(config, secret)
        tables, self.program = tables_of(config, settings), None
        if refusal(settings) is None:
            self.program = InKernel(settings, tables) if COMPILED else InPython(settings, tables)
            tables = self.program.tables
        self.__dict__.update(Engine.of(Gateway(settings, tables, new_worker(0))).__dict__)
        self.config = config

    def close(self) -> None:
        """Let go of what the program has."""
        if self.program is not None:
            self.program.close()

    def sessions(self) -> np.ndarray:
        """A copy of the records that were ever used."""
        return self.tables.sessions[: self.tables.free[SESSIONS, NEVER_USED]].copy()

    def windows(self, before: np.ndarray) -> np.ndarray:
        """What is noted for check_rst of so many sessions."""
        return self.tables.windows[: len(before)]

    def load(self, packet: bytes) -> int:
        """As Engine.load, perhaps as a super-frame of TCP."""
        end = super().load(packet)
        if self.gso_size:
            kind = GSO_TCPV6 if packet[0] >> 4 == 6 else GSO_TCPV4
            encode(self.slot, HEADROOM, Offload(0, kind, self.gso_size, 0, 0), 0)
        return end

    def translate(self, packet: bytes, now: int) -> Ended:
        """Both, and what differs."""
        if self.program is None or not is_for_test_runs(packet):
            return super().translate(packet, now)
        before, counted = self.sessions(), self.program.counted()
        ran = self.program.run(packet, now, self.gso_size)
        (number,) = np.flatnonzero((self.program.counted() - counted)[:, 0])
        reason = Reason(int(number))
        self.reasons[reason] += 1
        after, windows = self.sessions(), self.windows(before).copy()
        ended = super().translate(packet, now)
        for text in differences(packet, ran, reason, ended):
            self.wrong.append(f"{text}: {packet.hex()} became {ran.octets.hex()}, {ended}")
        self.wrong += touched(before, after, self.tables.sessions, reason in TAKEN)
        if reason in TAKEN and (sighted(after) != sighted(self.sessions()) or (windows != self.windows(before)).any()):
            self.wrong.append(f"{reason.name} has kept from the daemon what it had to see: {packet.hex()}")
        return ended


def differences(packet: bytes, ran: Ran, reason: Reason, ended: Ended) -> list[str]:
    """How program and pipeline differ about a packet."""
    if reason not in TAKEN:
        changed = ran.octets != packet or ran.verdict != 0
        return [f"{reason.name} has changed the packet, or does not pass it ({ran.verdict})"] if changed else []
    if ran.verdict != REDIRECT or ended.verdict != Verdict.TRANSLATED or len(ended.packets) != 1:
        return [f"{reason.name} ends in {ran.verdict}"]
    if (ended.packets[0][0] >> 4 == 4) != (reason == Reason.SIX_TO_FOUR):
        return [f"{reason.name} is the other direction"]
    return [] if neutral(ran.octets) == neutral(ended.packets[0]) else [f"{reason.name} made other octets"]


def sighted(rows: np.ndarray) -> bytes:
    """Everything of sessions but their times."""
    rows = rows.copy()
    rows["expires"] = 0
    return rows.tobytes()


def touched(before: np.ndarray, after: np.ndarray, at_last: np.ndarray, taken: bool) -> list[str]:
    """What the program has changed of the sessions that it may not."""
    width = before.dtype.itemsize
    octets = [each.view(np.uint8).reshape(-1, width) for each in (before, after)]
    rows = np.flatnonzero((octets[0] != octets[1]).any(axis=1))
    if len(rows) > int(taken):
        return [f"sessions {rows.tolist()} were changed"]
    found = []
    for row in rows:
        only = before[row : row + 1].copy()
        only["expires"] = after[row]["expires"]
        if only.tobytes() != after[row : row + 1].tobytes():
            found.append(f"more than the time of session {row} was changed")
    at_last = at_last["expires"][: len(before)]
    given = np.flatnonzero(before["expires"] != at_last)
    ends = [(row, int(after[row]["expires"]), int(at_last[row])) for row in (given if taken else ())]
    wrong = [end for end in ends if not 0 <= end[1] - end[2] <= SLACK]
    return found + [f"session {row} lives until {ours}, not {theirs}" for row, ours, theirs in wrong]


class AtInterface(Twin):
    """As where packets come in: what the program takes there has not been forwarded yet, what it leaves is. Of no
    session the daemon has anything in its queue. `taken`: packets, by Reason."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.taken = Counter[Reason]()

    def all_leave(self) -> None:
        """What the program at the device notes of sessions of which it has seen enough."""
        found: dict[int, list[int]] = {}
        for side, index in enumerate((self.tables.sessions6, self.tables.sessions4)):
            for entry in index[index != 0].tolist():
                found.setdefault((entry & 0xFFFFFFFF) - 1, [0, 0])[side] = LEFT | entry >> 32 << 32
        for row, (from_ipv6, from_ipv4) in found.items():
            self.program.leave(row, (from_ipv6, from_ipv4))

    def translate(self, packet: bytes, now: int) -> Ended:
        """Both, and what differs."""
        if self.program is None or not is_for_test_runs(packet):
            return super().translate(packet, now)
        self.all_leave()
        before, counted = self.sessions(), self.program.counted()
        ran = self.program.run(packet, now, self.gso_size, at_interface=True)
        rows = np.flatnonzero((self.program.counted() - counted)[:, 0])
        if ran.verdict != REDIRECT:
            if ran != Ran(NEXT, packet) or len(rows) or self.sessions().tobytes() != before.tobytes():
                self.wrong.append(f"it is changed, or does not go on: {packet.hex()}, {ran}")
            return super().translate(forwarded(packet), now)
        after, reason = self.sessions(), Reason(int(rows[0]))
        self.taken[reason] += 1
        ended = Engine.translate(self, forwarded(packet), now)
        self.wrong += differences(packet, ran, reason, ended) + touched(before, after, self.tables.sessions, True)
        if len(packet) > MTU and not self.gso_size:
            self.wrong.append(f"it is larger than the device takes: {packet.hex()}")
        return ended


class Apart(Twin):
    """As beside a running daemon: what the program takes the pipeline does not see. An engine of its own, `all`, sees
    every packet."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.all = Engine(self.config)
        self.unwritten = 0  # packets that were taken, and the time of whose session was not written

    def expire(self, at: float) -> list[bytes]:
        """Both."""
        self.all.expire(at)
        return super().expire(at)

    def translate(self, packet: bytes, now: int) -> Ended:
        """By one of the two, and by the other engine; then no session is over before its time."""
        ended = self.all.translate(packet, now)
        if self.program is None or not is_for_test_runs(packet):
            return Engine.translate(self, packet, now)
        before = self.sessions()
        if self.program.run(packet, now, 0).verdict == REDIRECT:
            self.unwritten += before.tobytes() == self.sessions().tobytes()
        else:
            ended = Engine.translate(self, packet, now)
        ours, theirs = lifetimes(self), lifetimes(self.all)
        for session, until in theirs.items():
            if not until <= ours.get(session, 0) <= until + SLACK:
                self.wrong.append(f"at {now} {session} lives until {ours.get(session)}, not {until}")
        return ended


def carried(engine: Engine) -> dict[tuple[int, ...], list[int]]:
    """What each session has carried ([log] accounting), by its ends."""
    rows = engine.tables.sessions[: engine.tables.free[SESSIONS, NEVER_USED]]
    accounts = engine.tables.accounts[: len(rows)].tolist()
    return {ends_of(row): account for row, account in zip(rows, accounts, strict=True) if row["live"]}


def ends_of(row: np.void) -> tuple[int, ...]:
    """The ends of a session."""
    names = ("protocol", "host6_lo", "host6_port", "mapped4", "mapped4_port", "host4", "host4_port")
    return tuple(int(row[name]) for name in names)


def lifetimes(engine: Engine) -> dict[tuple[int, ...], int]:
    """Until when each session lives."""
    rows = engine.tables.sessions[: engine.tables.free[SESSIONS, NEVER_USED]]
    return {ends_of(row): int(row["expires"]) for row in rows if row["live"]}


def is_for_test_runs(packet: bytes) -> bool:
    """Whether the kernel takes a packet for a test run: it has its whole IP header, and fits with an Ethernet one."""
    return (20 if packet[:1] and packet[0] >> 4 == 4 else 40) <= len(packet) <= 65000


def forwarded(packet: bytes) -> bytes:
    """A packet as a router sends it on."""
    at = 8 if packet[0] >> 4 == 4 else 7
    if packet[at] <= 1:
        return packet
    packet = packet[:at] + bytes([packet[at] - 1]) + packet[at + 1 :]
    if at == 7:
        return packet
    total = int.from_bytes(packet[10:12]) + 0x0100
    return packet[:10] + (total + (total >> 16) & 0xFFFF).to_bytes(2) + packet[12:]


def neutral(packet: bytes) -> bytes:
    """A packet without what may differ, the Identification of IPv4 and with it the checksum, if that was right: no
    header has the sum of zero that 0xffff stands for."""
    if packet[0] >> 4 != 4 or packet[10:12] == b"\xff\xff" or int.from_bytes(packet[:20]) % 0xFFFF != 0:
        return packet
    return packet[:4] + bytes(2) + packet[6:10] + bytes(2) + packet[12:]


def ethernet(packet: bytes) -> bytes:
    """A frame, since test runs know nothing else."""
    kind = {4: 0x0800, 6: 0x86DD}.get(packet[0] >> 4, 0x88B5)
    return bytes(12) + struct.pack(">H", kind) + packet


def context(now: int, gso_size: int) -> bytes:
    """The struct __sk_buff of a test run: the mark is the clock."""
    block = bytearray(system.CONTEXT)
    struct.pack_into("<I", block, SKB_MARK, now)
    if gso_size:
        struct.pack_into("<I", block, SKB_GSO_SEGS, 2)
        struct.pack_into("<I", block, SKB_GSO_SIZE, gso_size)
    return bytes(block)
