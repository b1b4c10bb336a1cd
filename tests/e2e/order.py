"""In which order datagrams pass a device: `python order.py DEVICE`, standard library only.

Each line on standard input is answered with a JSON object: how many datagrams (of `programs.py udp_numbers`) the kernel
has given to the device after a later one of their flow, and how many it has got from the device so.
"""

import json
import select
import socket
import struct
import sys
from collections.abc import Iterator

SO_RCVBUFFORCE, ETH_P_ALL, PACKET_OUTGOING = 33, 3, 4  # <asm/socket.h>, <linux/if_ether.h>, <linux/if_packet.h>
UDP, UDP_HEADER = 17, 8
ENDS = {4: (9, 12, 20), 6: (6, 8, 40)}  # of a version: where its protocol is, where its addresses are, and their end
NUMBER = struct.Struct("!IH")  # what a datagram begins with: its number and its length


def flow_and_numbers(packet: bytes) -> tuple[bytes, Iterator[int]]:
    """The addresses and ports of a packet, and the numbers of the datagrams that it is joined of."""
    protocol, addresses, l4 = ENDS[packet[0] >> 4]
    if packet[protocol] != UDP:
        return b"", iter(())

    def numbers() -> Iterator[int]:
        at = l4 + UDP_HEADER
        while at + NUMBER.size <= len(packet):
            number, size = NUMBER.unpack_from(packet, at)
            yield number
            at += max(size, NUMBER.size)

    return packet[addresses : l4 + 4], numbers()


def main(device: str) -> None:
    newest: dict[tuple[bool, bytes], int] = {}
    late = {True: 0, False: 0}
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        tap.bind((device, ETH_P_ALL))
        print("listening", flush=True)
        while True:
            readable, _, _ = select.select([tap, sys.stdin], [], [])
            if tap in readable:  # first: what has passed before the question belongs to the answer
                packet, (_, _, kind, *_) = tap.recvfrom(65535)
                flow, numbers = flow_and_numbers(packet)
                way = kind == PACKET_OUTGOING, flow
                for number in numbers:
                    late[way[0]] += number < newest.get(way, -1)
                    newest[way] = max(number, newest.get(way, -1))
            elif not sys.stdin.readline():
                return
            else:
                print(json.dumps({"given": late[True], "got": late[False]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
