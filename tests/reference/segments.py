"""What packets carry: transport segments with data that shows when an octet is lost, doubled or moved."""

from random import Random

from tests.reference import packets as make

# SYN, SYN-ACK, ACK, PSH, FIN-ACK, FIN, RST, RST-ACK, and what does not go together
FLAGS = (0x02, 0x12, 0x10, 0x18, 0x11, 0x01, 0x04, 0x14, 0x03, 0x06, 0x05, 0x00)
AROUND = (1212, 1213, 1220, 1231, 1232, 1233, 1240, 1252, 1260, 1400, 1440, 1452, 1453, 1472)  # limits of RFC 7915
NUMBERS = (1000, 1000, 1000, 1001, 1021, 1040, 2000, 0, (1 << 32) - 1, 1000 + (1 << 31))
# None, an MSS of 1460, at an odd place, twice, of 512, behind the end, of a wrong length, cut off.
OPTIONS = tuple(
    bytes.fromhex(text)
    for text in (
        *("", "01010100", "020405b4", "01020405b4030307", "020405b4" + "0204ffff", "02040200"),
        *("00020405b4010101", "02030501020405b4", "01010204", "020005b4"),
    )
)
OCTETS = bytes(7 * at % 256 for at in range(256)) * 8


def data(rng: Random) -> bytes:
    """Mostly few octets, odd as often as even; they differ, and sum to 0xFFFF now and then (checksum 0)."""
    size = rng.choice(AROUND) if rng.randrange(3) == 0 else rng.randint(0, 40)
    start = rng.randrange(256)
    return OCTETS[start : start + size]


def segment(rng: Random, protocol: str, source: int, destination: int) -> bytes:
    if protocol == "udp":
        return make.udp(source, destination, data(rng))
    if protocol != "tcp":
        return data(rng)
    return make.tcp(source, destination, rng.choice(FLAGS), data(rng), rng.choice(OPTIONS), numbers(rng))


def numbers(rng: Random) -> tuple[int, int]:
    """Sequence and acknowledgment, around each other and the wrap."""
    return rng.choice(NUMBERS), rng.choice(NUMBERS)
