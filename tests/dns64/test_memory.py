"""The memory of the name server: what `cache` says is what a process grows by, and no more."""

import subprocess
import sys

import pytest

MIB = 1 << 20
# A process of its own, since the memory of this one has holes of all sizes.
PROGRAM = """
import struct, sys
from nat64d.dns64.message import wire
from nat64d.dns64.message.reply import reply_of
from nat64d.dns64.service.process import Cache
from nat64d.dns64.upstreams.cache import Key

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def put(number, records, label):
    name = b"".join(bytes([len(part)]) + part for part in (b"n%d" % number, *[b"x" * label] * bool(label))) + bytes(1)
    head = struct.pack("!6H", 0, 0x8180, 1, records, 0, 0) + name + struct.pack("!HH", 28, 1)
    octets = head + (b"\\xc0\\x0c" + struct.pack("!HHIH", 28, 1, 300, 16) + bytes(16)) * records
    message = wire.read(octets)
    cache.put(Key(message.question.key, 28, 1, False, False, -1), reply_of(octets, message, False, number + 0.5))

capacity, number = int(sys.argv[1]), 0
cache, before = Cache(capacity), resident()
for records, label in eval(sys.argv[2]):
    octets = 0
    while octets < 1.5 * capacity:
        number += 1
        put(number, records, label)
        octets += cache.size / len(cache)
assert cache.size > 0.9 * capacity, "the cache is not full"
print(resident() - before)
"""


@pytest.mark.parametrize(
    "said",
    [[(1, 0)], [(1, 63)], [(12, 0)], [(1, 0), (6, 63), (1, 0)]],
    ids=["small", "long names", "many records", "small, then large, then small"],
)
def test_a_process_grows_by_what_the_cache_may_take(said: list[tuple[int, int]]) -> None:
    capacity = 16 * MIB
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(capacity), repr(said)], check=True, capture_output=True, timeout=300
    )
    assert 0.6 * capacity < int(done.stdout) < 1.1 * capacity + MIB


def test_a_process_without_a_cache_is_small() -> None:
    program = "import nat64d.dns64.service.process; print(open('/proc/self/statm').read().split()[1])"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=300)
    assert int(done.stdout) * 4096 < 32 * MIB
