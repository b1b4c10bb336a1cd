"""bpf(2): maps that are shared memory, programs, links, test runs (include/uapi/linux/bpf.h)."""

import ctypes
import errno
import mmap
import os
import platform
import struct
from pathlib import Path
from typing import NamedTuple

from nat64d.dataplane.bpf.privilege import taken_up

_libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280}  # of bpf(2)
MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, PROG_LOAD, PIN, PINNED = 0, 1, 2, 5, 6, 7
PROG_TEST_RUN, INFO, LINK_CREATE, LINK_DETACH = 10, 15, 28, 34
ARRAY, PROGRAMS, PERCPU_ARRAY = 2, 3, 6
MMAPABLE = 1 << 10
SCHED_CLS = 3
TCX_INGRESS, TCX_EGRESS = 46, 47
PAGE = mmap.PAGESIZE
LOG_LINES = 20  # of what the verifier says, the last ones
LOG = 1 << 24  # octets: before Linux 6.4 what comes when it is full is lost
ONE_WAY = 1  # of it: only where the verifier was going when it has found something
SUMMARY = "processed "  # how its last line begins, which says no more than how much it has looked at
CONTEXT = 192  # octets of struct __sk_buff
PROGRAM_INFO, VERIFIED_AT = 232, 216  # octets of struct bpf_prog_info, and where verified_insns is
CPUS = Path("/sys/devices/system/cpu/possible")


class SystemCallError(OSError):
    """bpf(2) failed; `said`: the end of the verifier's log."""

    said = ""


def bpf(command: int, attributes: bytes, size: int = 0) -> tuple[int, bytes]:
    """(what bpf(2) returns, its attributes afterwards). Raises SystemCallError."""
    number = NUMBERS.get(platform.machine())
    if number is None:
        raise SystemCallError(errno.ENOSYS, f"no number of bpf(2) is known for {platform.machine()}")
    block = ctypes.create_string_buffer(attributes, max(len(attributes), size))
    with taken_up():
        result = _libc.syscall(number, command, block, len(block))
        code = ctypes.get_errno()
    if result < 0:
        raise SystemCallError(code, os.strerror(code))
    return result, block.raw


def create_map(name: str, value: int, entries: int, kind: int = ARRAY, flags: int = 0) -> int:
    """The descriptor of an array of so many values of so many octets. Raises SystemCallError."""
    attributes = struct.pack("<IIIIIII16s", kind, 4, value, entries, flags, 0, 0, name.encode()[:15])
    return bpf(MAP_CREATE, attributes, 72)[0]


def memory(fd: int, size: int) -> mmap.mmap:
    """The memory of an array made with MMAPABLE. Raises OSError."""
    size = -(-size // PAGE) * PAGE
    return mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)


def read(fd: int, row: int, size: int) -> bytes:
    """A row of an array; of one for each CPU, those of all. Raises SystemCallError."""
    key, value = ctypes.create_string_buffer(struct.pack("<I", row), 4), ctypes.create_string_buffer(size)
    bpf(MAP_LOOKUP, struct.pack("<IxxxxQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0))
    return value.raw


def write(fd: int, row: int, value: bytes) -> None:
    """Put a value into a row of an array. Raises SystemCallError."""
    key, given = ctypes.create_string_buffer(struct.pack("<I", row), 4), ctypes.create_string_buffer(value, len(value))
    bpf(MAP_UPDATE, struct.pack("<IxxxxQQQ", fd, ctypes.addressof(key), ctypes.addressof(given), 0))


def possible_cpus() -> int:
    """How many values a map has that has one for each CPU. Raises OSError."""
    return int(CPUS.read_text("ascii").strip().rpartition("-")[2].rpartition(",")[2]) + 1


def load(code: bytes, name: str = "nat64d") -> int:
    """The descriptor of a program. Raises SystemCallError, with what the verifier says."""
    try:
        return _load(code, name, None)
    except SystemCallError as error:
        log = ctypes.create_string_buffer(LOG)
        try:
            return _load(code, name, log)
        except SystemCallError:
            lines = log.value.decode("utf-8", "replace").splitlines()
            error.said = "\n".join([line for line in lines if not line.startswith(SUMMARY)][-LOG_LINES:])
            raise error from None


def _load(code: bytes, name: str, log: "ctypes.Array[ctypes.c_char] | None") -> int:
    instructions, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    pointers = ctypes.addressof(instructions), ctypes.addressof(licence)
    logged = (ONE_WAY, LOG, ctypes.addressof(log)) if log else (0, 0, 0)
    attributes = struct.pack("<IIQQIIQII16s", SCHED_CLS, len(code) // 8, *pointers, *logged, 0, 0, name.encode()[:15])
    return bpf(PROG_LOAD, attributes, 152)[0]


def verified(fd: int) -> int:
    """How many instructions the verifier has looked at for a program (Linux 5.16). Raises SystemCallError."""
    block = ctypes.create_string_buffer(PROGRAM_INFO)
    bpf(INFO, struct.pack("<IIQ", fd, len(block), ctypes.addressof(block)), 32)
    (count,) = struct.unpack_from("<I", block.raw, VERIFIED_AT)
    return int(count)


def attach(fd: int, interface: int, hook: int = TCX_EGRESS) -> int:
    """A TCX link at an interface's egress or ingress, behind those that are there (Linux 6.6): it is gone when the last
    of its descriptors is closed, whatever way the process ends. Raises SystemCallError."""
    return bpf(LINK_CREATE, struct.pack("<IIIIII", fd, interface, hook, 0, 0, 0), 64)[0]


def detach(fd: int) -> None:
    """Take a link from its interface, whoever else has a descriptor of it; afterwards no packet is with its program any
    more. Raises SystemCallError."""
    bpf(LINK_DETACH, struct.pack("<I", fd), 4)


def pin(fd: int, path: Path) -> None:
    """Have a map or a link by this name in a bpffs, too: it stays until that is removed. Raises SystemCallError."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    bpf(PIN, struct.pack("<QII", ctypes.addressof(name), fd, 0))


def pinned(path: Path) -> int:
    """A descriptor of what has this name in a bpffs. Raises SystemCallError."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return bpf(PINNED, struct.pack("<QII", ctypes.addressof(name), 0, 0))[0]


class Ran(NamedTuple):
    """How a test run ended."""

    verdict: int
    octets: bytes
    nanoseconds: int


def try_out(fd: int, frame: bytes, context: bytes, repeat: int) -> Ran:
    """Let a program meet an Ethernet frame in this context (struct __sk_buff). Raises SystemCallError."""
    given, returned = ctypes.create_string_buffer(frame, len(frame)), ctypes.create_string_buffer(len(frame) + 4096)
    around = ctypes.create_string_buffer(context, CONTEXT)
    attributes = struct.pack(
        "<IIIIQQIIIIQQ",
        *(fd, 0, len(frame), len(returned), ctypes.addressof(given), ctypes.addressof(returned), repeat, 0),
        *(CONTEXT, CONTEXT, ctypes.addressof(around), ctypes.addressof(around)),
    )
    _, answer = bpf(PROG_TEST_RUN, attributes, 80)
    _, verdict, _, size, _, _, _, took = struct.unpack_from("<IIIIQQII", answer)
    return Ran(verdict, returned.raw[:size], took)
