"""The programs at the two ends that Debian does not bring: `python programs.py NAME ARGUMENT…`, standard library only.

Servers print "listening" once they are. Programs for one purpose print one JSON object and end.
"""

import asyncio
import errno
import hashlib
import json
import os
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

IP_RECVERR, IPV6_RECVERR = 11, 25  # <linux/in.h>, <linux/in6.h>; the socket module has no names for them
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3  # DF set, and the learnt path MTU ignored
UDP_SEGMENT = 103  # <linux/udp.h>
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
# Version 2, its checksum, an object of class 1, type 1 (RFC 4950): label 1234, class 5, bottom of stack, TTL 1.
LABELS = "2000b3a8 00080101 004d2b01"
CHUNK = 1 << 20
BURST = 100


class Files(SimpleHTTPRequestHandler):
    """GET a file; GET /whoami for the client's address; PUT anything for its SHA-256."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/whoami":
            self.answer(self.client_address[0])
        else:
            super().do_GET()

    def do_PUT(self) -> None:
        digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
        while left and (chunk := self.rfile.read(min(left, CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
        self.answer(digest.hexdigest())

    def answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Quietly."""


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listening() -> None:
    print("listening", flush=True)


def http(address: str, port: str, directory: str) -> None:
    class Server(ThreadingHTTPServer):
        address_family = family(address)

    os.chdir(directory)
    with Server((address, int(port)), Files) as server:
        listening()
        server.serve_forever()


def tcp_echo(address: str, port: str) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(echo, address, int(port), backlog=1024)
        listening()
        await server.serve_forever()

    asyncio.run(serve())


def tcp_hold(address: str, port: str, connections: str) -> None:
    """Open that many connections at once, say something different on each, and hold them until stdin ends."""

    async def one(number: int) -> tuple[bool, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(address, int(port))
        said = f"connection {number} from {writer.get_extra_info('sockname')[1]}\n".encode()
        writer.write(said)
        return await reader.readline() == said, writer

    async def hold() -> None:
        done = await asyncio.gather(*(one(number) for number in range(int(connections))))
        print(json.dumps({"held": len(done), "echoed": sum(same for same, _ in done)}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for _, writer in done:
            writer.close()
            await writer.wait_closed()

    asyncio.run(hold())


def tcp_dial(address: str, port: str, own_port: str) -> None:
    """Dial from a port of one's own, say something and hear what the other side says; how that went."""
    began = time.monotonic()
    with socket.socket(family(address), socket.SOCK_STREAM) as client:
        client.bind(("", int(own_port)))
        client.settimeout(20)
        error = client.connect_ex((address, int(port)))
        heard = ""
        if error == 0:
            client.sendall(own_port.encode())
            heard = client.recv(100).decode()
    print(json.dumps({"error": errno.errorcode.get(error, error), "after": time.monotonic() - began, "heard": heard}))


def udp_echo(address: str, port: str) -> None:
    with socket.socket(family(address), socket.SOCK_DGRAM) as server:
        server.bind((address, int(port)))
        listening()
        while True:
            server.sendto(*server.recvfrom(65535))


def udp_whoami(address: str, port: str) -> None:
    """Answer each datagram with the address and port it came from, as a STUN server does."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as server:
        server.bind((address, int(port)))
        listening()
        while True:
            _, peer = server.recvfrom(65535)
            server.sendto(json.dumps(peer[:2]).encode(), peer)


def dns64(address: str, port: str, *answers: str) -> None:
    """A resolver that knows the AAAA records `answers` of ipv4only.arpa, and no other name."""
    name, records = b"\x08ipv4only\x04arpa\x00\x00\x1c\x00\x01", b""
    for answer in answers:
        records += struct.pack("!HHHIH", 0xC00C, 28, 1, 300, 16) + socket.inet_pton(socket.AF_INET6, answer)
    with socket.socket(family(address), socket.SOCK_DGRAM) as server:
        server.bind((address, int(port)))
        listening()
        while True:
            query, client = server.recvfrom(CHUNK)
            known = query[12:].lower().startswith(name) and not query[3] & 0x10  # checking disabled: nothing is made up
            flags, count = (0x8180, len(answers)) if known else (0x8183, 0)
            question = query[12 : 12 + len(name)]
            header = query[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0)
            server.sendto(header + question + records * known, client)


def udp_sizes(address: str, port: str, *sizes: str) -> None:
    """Send datagrams of these sizes to an echo server; print the sizes that did not come back as they went."""
    failed = []
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((address, int(port)))
        for size in map(int, sizes):
            sent = os.urandom(size)
            client.send(sent)
            try:
                came_back = client.recv(65535) == sent
            except OSError:
                came_back = False
            if not came_back:
                failed.append(size)
    print(json.dumps({"sent": len(sizes), "failed": failed}))


def udp_segments(address: str, port: str, size: str, count: str) -> None:
    """Send datagrams of one size as one super-frame; print how many an echo server sent back as they went."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((address, int(port)))
        client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, int(size))
        sent = [os.urandom(int(size)) for _ in range(int(count))]
        client.send(b"".join(sent))
        received: list[bytes] = []
        try:
            while len(received) < len(sent):
                received.append(client.recv(65535))
        except TimeoutError:
            pass
    print(json.dumps({"sent": len(sent), "received": len(received), "same": sorted(received) == sorted(sent)}))


def udp_numbers(address: str, port: str, flows: str, size: str) -> None:
    """Send a burst of numbered datagrams in each of many flows, one after the other, to an echo server; print how many
    were sent, and how many came back. Neighbours of one size may be joined on the way; each begins with its number,
    which is never used again, and its length."""
    received = 0
    for first in range(0, BURST * int(flows), BURST):
        with socket.socket(family(address), socket.SOCK_DGRAM) as client:
            client.connect((address, int(port)))
            for number in range(first, first + BURST):
                more = number // 6 % 4 * int(size)
                client.send(struct.pack("!IH", number, 6 + more) + bytes(more))
            client.settimeout(0.1)
            number = -1
            with suppress(TimeoutError):
                while number < first + BURST - 1:
                    number = int.from_bytes(client.recv(65535)[:4], "big")
                    received += 1
    print(json.dumps({"sent": BURST * int(flows), "received": received}))


def udp_pieces(address: str, port: str, size: str, order: str, checksum: str) -> None:
    """Send a datagram to an echo server in three fragments, in an order such as "2,0,1"; print whether it came back.

    `checksum`: "with" or "without" one.
    """
    v6 = family(address) == socket.AF_INET6
    raw = socket.socket(family(address), socket.SOCK_RAW, socket.IPPROTO_RAW)
    with raw, socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect((address, int(port)))
        own, own_port = client.getsockname()[:2]
        data = os.urandom(int(size))
        ends = b"".join(socket.inet_pton(family(address), end) for end in (own, address))
        udp = struct.pack("!HHHH", own_port, int(port), 8 + len(data), 0) + data
        total = internet_checksum(ends + struct.pack("!HBBI", 0, 0, socket.IPPROTO_UDP, len(udp)) + udp)
        udp = udp[:6] + (total or 0xFFFF if checksum == "with" else 0).to_bytes(2) + udp[8:]
        third = len(udp) // 24 * 8
        starts = (0, third, 2 * third)
        for number in map(int, order.split(",")):
            start, end = starts[number], len(udp) if number == 2 else starts[number + 1]
            header = fragment_header(v6, ends, end - start, start, end < len(udp))
            raw.sendto(header + udp[start:end], (address, 0))
        try:
            came_back = client.recv(65535) == data
        except TimeoutError:
            came_back = False
    print(json.dumps({"came_back": came_back}))


def fragment_header(v6: bool, ends: bytes, size: int, offset: int, more: bool) -> bytes:
    """The IP header of a UDP fragment; `ends`: source and destination. The kernel does the IPv4 header checksum."""
    if v6:
        head = struct.pack("!IHBB", 6 << 28, 8 + size, 44, 64)
        return head + ends + struct.pack("!BBHI", socket.IPPROTO_UDP, 0, offset | more, os.getpid())
    word = more << 13 | offset // 8
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, os.getpid() & 0xFFFF, word, 64, socket.IPPROTO_UDP, 0) + ends


def internet_checksum(octets: bytes) -> int:
    """RFC 1071."""
    octets += bytes(len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def udp_talk(address: str) -> None:
    """A UDP socket to be told what to do, a JSON list a line: ["send", HOST, PORT, TEXT] or ["receive"]."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as talker:
        talker.settimeout(5)
        talker.bind((address, 0))
        listening()
        for line in sys.stdin:
            match json.loads(line):
                case ["send", host, port, text]:
                    talker.sendto(text.encode(), (host, port))
                case ["receive"]:
                    try:
                        text, peer = talker.recvfrom(65535)
                        print(json.dumps({"text": text.decode(), "from": peer[:2]}), flush=True)
                    except TimeoutError:
                        print(json.dumps({"text": None}), flush=True)


def udp_error(address: str, port: str, hops: str, size: str) -> None:
    """Send one datagram and print the ICMP error it causes: as the kernel understood it, and the octets it quoted."""
    v6 = family(address) == socket.AF_INET6
    level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
    raw = socket.socket(family(address), socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP)
    with raw, socket.socket(family(address), socket.SOCK_DGRAM) as client:
        client.setsockopt(level, IPV6_RECVERR if v6 else IP_RECVERR, 1)
        client.setsockopt(level, socket.IPV6_UNICAST_HOPS if v6 else socket.IP_TTL, int(hops))
        client.setsockopt(level, IPV6_MTU_DISCOVER if v6 else IP_MTU_DISCOVER, PMTUDISC_PROBE)
        client.connect((address, int(port)))
        payload = os.urandom(int(size))
        client.send(payload)
        poll = select.poll()
        poll.register(client, select.POLLERR)
        if not poll.poll(15000):
            print(json.dumps({"type": None, "source": client.getsockname()[:2]}))
            return
        quoted, ancillary, _, destination = client.recvmsg(65535, 512, socket.MSG_ERRQUEUE)
        _, _, kind, code, info, offender = extended_error(ancillary[0][2])
        answer = {"type": kind, "code": code, "info": info, "offender": offender, "destination": destination[:2]}
        answer |= {"source": client.getsockname()[:2], "quoted_payload": len(quoted), "payload": payload.hex()}
        answer |= {"same": payload.startswith(quoted), "icmp": icmp_error(raw, v6).hex()}
        print(json.dumps(answer))


def extended_error(octets: bytes) -> tuple[int, int, int, int, int, str]:
    """`struct sock_extended_err` and the `sockaddr` after it: errno, origin, type, code, info, sender's address."""
    number, origin, kind, code, _, info, _ = struct.unpack_from("=IBBBBII", octets)
    v6 = struct.unpack_from("=H", octets, 16)[0] == socket.AF_INET6
    address = octets[24:40] if v6 else octets[20:24]
    return number, origin, kind, code, info, socket.inet_ntop(socket.AF_INET6 if v6 else socket.AF_INET, address)


def icmp_error(raw: socket.socket, v6: bool) -> bytes:
    """The first ICMP error in a raw socket, from its ICMP header on."""
    raw.settimeout(10)
    while True:
        packet = raw.recv(65535)
        message = packet if v6 else packet[(packet[0] & 15) * 4 :]
        if is_error(message, v6):
            return message


def is_error(message: bytes, v6: bool) -> bool:
    """Whether a message is an ICMP error."""
    return message[0] < 128 if v6 else message[0] in {3, 4, 5, 11, 12}


def icmp_errors(version: str) -> None:
    """Print the ICMP errors that arrive, from the ICMP header on, a line each, with their sender."""
    v6 = version == "6"
    protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, protocol) as raw:
        listening()
        while True:
            packet, sender = raw.recvfrom(65535)
            message = packet if v6 else packet[(packet[0] & 15) * 4 :]
            if is_error(message, v6):
                print(json.dumps({"sender": sender[0], "icmp": message.hex()}), flush=True)


def label_router(device: str, destination: str) -> None:
    """A router that answers datagrams it sees on their way to a destination with "time exceeded" and an MPLS label
    stack (RFC 4950) behind 128 octets of the quoted datagram (RFC 4884)."""
    v6, wanted = family(destination) == socket.AF_INET6, socket.inet_pton(family(destination), destination)
    ethertype, next_header, source, size = (ETH_P_IPV6, 6, 8, 16) if v6 else (ETH_P_IP, 9, 12, 4)
    protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ethertype)) as sniffer,
        socket.socket(family(destination), socket.SOCK_RAW, protocol) as raw,
    ):
        sniffer.bind((device, ethertype))
        listening()
        while True:
            packet = sniffer.recv(65535)
            if packet[next_header] != socket.IPPROTO_UDP or packet[source + size :][:size] != wanted:
                continue
            message = bytes([3, 0, 0, 0, 16, 0, 0, 0] if v6 else [11, 0, 0, 0, 0, 32, 0, 0])
            message += packet[:128].ljust(128, b"\0") + bytes.fromhex(LABELS)
            if not v6:  # the kernel does it for ICMPv6
                message = message[:2] + internet_checksum(message).to_bytes(2, "big") + message[4:]
            raw.sendto(message, (socket.inet_ntop(family(destination), packet[source:][:size]), 0))


def router_advertisements(device: str) -> None:
    """Source, router lifetime, NAT64 prefix and its lifetime of each that has one in front (RFC 8781 section 4)."""
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        listening()
        while said := raw.recvfrom(65535):
            octets, (source, *_) = said
            if octets[0] == 134 and octets[16:18] == b"\x26\x02":
                router, prefix, life = struct.unpack_from("!6xH12x12s", octets) + struct.unpack_from("!H", octets, 18)
                print(json.dumps([source, router, socket.inet_ntop(10, prefix + bytes(4)), life]), flush=True)


PROGRAMS = {
    program.__name__: program
    for program in (
        http,
        tcp_echo,
        tcp_hold,
        tcp_dial,
        udp_echo,
        udp_whoami,
        dns64,
        udp_sizes,
        udp_segments,
        udp_numbers,
        udp_pieces,
        udp_talk,
        udp_error,
        icmp_errors,
        label_router,
        router_advertisements,
    )
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
