"""What runs at the ends of the network, and in the machine: `python programs.py NAME ARGUMENT…`; standard library."""

import ctypes
import json
import select
import socket
import sys
import time
from pathlib import Path

SEIZE, INTERRUPT = 0x4206, 0x4207  # ptrace(2)
EVERY = 0.01


def talk(address: str, port: str) -> None:
    """One TCP connection to an echo server: each line of standard input goes there, and what comes back is printed."""
    with socket.create_connection((address, int(port))) as peer:
        file = peer.makefile("rw", encoding="utf-8")
        print("connected", flush=True)
        for line in sys.stdin:
            file.write(line)
            file.flush()
            print(file.readline().strip(), flush=True)


def gaps(address: str, port: str) -> None:
    """A datagram to an echo server every EVERY seconds, until standard input ends; then the longest time without an
    answer, in seconds, and how many were sent and came back."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.connect((address, int(port)))
        client.setblocking(False)
        sent = received = 0
        longest, last = 0.0, time.monotonic()
        print("sending", flush=True)
        while not select.select([sys.stdin], [], [], EVERY)[0]:
            try:
                client.send(sent.to_bytes(8, "big"))
                sent += 1
                while client.recv(100):
                    received += 1
                    moment = time.monotonic()
                    longest, last = max(longest, moment - last), moment
            except OSError:  # nothing there yet, or an ICMP error
                continue
        print(json.dumps({"longest": longest, "sent": sent, "received": received}), flush=True)


def flows(address: str, port: str, count: str) -> None:
    """A datagram from each of many ports."""
    for number in range(int(count)):
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.bind(("", 20000 + number))
            client.sendto(b"one", (address, int(port)))
        if number % 20 == 0:
            time.sleep(EVERY)


def freeze(pid: str, name: str) -> None:
    """Stop the one thread of a process that has this name, until standard input ends. A thread that is killed meanwhile
    is not gone before."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    tasks = Path(f"/proc/{pid}/task").iterdir()
    (task,) = (task.name for task in tasks if (task / "comm").read_text("ascii").strip() == name)
    for request in (SEIZE, INTERRUPT):
        if libc.ptrace(request, int(task), None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
    print("frozen", flush=True)
    sys.stdin.read()


PROGRAMS = {program.__name__: program for program in (talk, gaps, flows, freeze)}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
