"""In which order packets of a flow pass a device: `python order.py DEVICE`, standard library only.

Each line on standard input is answered with a JSON object of each protocol: how many datagrams (of `programs.py
udp_numbers`) or segments with data the kernel has `given` to the device after a later one of their flow, how many it
has `got` from the device so, and how many it has `seen` there. A segment that is sent again is late on both sides.
What a program at the device takes is not given to it: `overtaken` are those of `got` that were given to it and came
back after a later one of their flow that was not. A segment that is sent again has a later time stamp (RFC 7323), and
is none of them. Numbers of flows must differ.
"""

import json
import select
import socket
import struct
import sys
from collections.abc import Iterator

SO_RCVBUFFORCE, ETH_P_ALL, PACKET_OUTGOING = 33, 3, 4  # <asm/socket.h>, <linux/if_ether.h>, <linux/if_packet.h>
TCP, UDP, UDP_HEADER, TIMESTAMPS = 6, 17, 8, 8
NAMES = {TCP: "tcp", UDP: "udp"}
ENDS = {4: (9, 12, 20), 6: (6, 8, 40)}  # of a version: where its protocol is, where its addresses are, and their end
NUMBER = struct.Struct("!IH")  # what a datagram begins with: its number and its length


def stamp_of(packet: bytes) -> int:
    """The time stamp of a segment, or 0."""
    l4 = ENDS[packet[0] >> 4][2]
    at, end = l4 + 20, l4 + (packet[l4 + 12] >> 4) * 4
    while at < end - 9 and packet[at] != 0:
        if packet[at] == TIMESTAMPS:
            return int.from_bytes(packet[at + 2 : at + 6])
        at += 1 if packet[at] == 1 else max(packet[at + 1], 2)
    return 0


def flow_and_numbers(packet: bytes) -> tuple[int, bytes, Iterator[int]]:
    """The protocol, addresses and ports of a packet, and the numbers of the datagrams that it is joined of, or of the
    first octet of a segment."""
    protocol, addresses, l4 = ENDS[packet[0] >> 4]
    if packet[protocol] == TCP:
        (sequence,) = struct.unpack_from("!I", packet, l4 + 4)
        data = len(packet) > l4 + (packet[l4 + 12] >> 4) * 4
        return TCP, packet[addresses : l4 + 4], iter([sequence] if data else ())
    if packet[protocol] != UDP:
        return UDP, b"", iter(())

    def numbers() -> Iterator[int]:
        at = l4 + UDP_HEADER
        while at + NUMBER.size <= len(packet):
            number, size = NUMBER.unpack_from(packet, at)
            yield number
            at += max(size, NUMBER.size)

    return UDP, packet[addresses : l4 + 4], numbers()


def is_before(protocol: int, one: int, other: int) -> bool:
    """Sequence numbers of TCP begin anew at 2^32 (RFC 9293 section 3.4)."""
    return one < other if protocol == UDP else 0 < (other - one) % (1 << 32) < 1 << 31


class Counts:
    """What is counted, by protocol; the newest number of each flow and way, and its time stamp."""

    def __init__(self) -> None:
        self.rows = {name: {"given": 0, "got": 0, "seen": 0, "overtaken": 0} for name in NAMES.values()}
        self.newest = dict[tuple[int, bool, bytes], tuple[int, int]]()
        self.given = set[tuple[int, bool, int]]()  # protocol, whether it came from IPv6, number

    def add(self, packet: bytes, outgoing: bool) -> None:
        """A packet that passes the device."""
        protocol, flow, numbers = flow_and_numbers(packet)
        way, count, from6 = (protocol, outgoing, flow), self.rows[NAMES[protocol]], (packet[0] >> 4 == 6) == outgoing
        stamp = stamp_of(packet) if protocol == TCP else 0
        for number in numbers:
            newest, then = self.newest.get(way, (number, stamp))
            late = is_before(protocol, number, newest)
            count["given" if outgoing else "got"] += late
            count["seen"] += not outgoing
            if outgoing:
                self.given.add((protocol, from6, number))
            elif late and (stamp == 0 or is_before(TCP, stamp, then)):
                was_given = [(protocol, from6, each) in self.given for each in (number, newest)]
                count["overtaken"] += was_given == [True, False]
                print(f"{NAMES[protocol]} {number} after {newest}, given: {was_given}", file=sys.stderr, flush=True)
            if not late:
                self.newest[way] = number, stamp


def main(device: str) -> None:
    counts = Counts()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        tap.bind((device, ETH_P_ALL))
        print("listening", flush=True)
        while True:
            readable, _, _ = select.select([tap, sys.stdin], [], [])
            if tap in readable:  # first: what has passed before the question belongs to the answer
                packet, (_, _, kind, *_) = tap.recvfrom(65535)
                counts.add(packet, kind == PACKET_OUTGOING)
            elif not sys.stdin.readline():
                return
            else:
                print(json.dumps(counts.rows), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
