"""Mutations of DNS messages: of octets anywhere, and of what stands at a seed's marks: counts, names, pointers, types,
TTLs, lengths. All by one random number generator, so that a seed is a run."""

from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.dns_seeds import Seed

MOST = 4  # mutations of a message
LARGEST = 8192  # octets of one, so that the fuzzer gets on
OCTETS = (0, 1, 2, 3, 12, 0x1C, 0x29, 0x3F, 0x40, 0x41, 0x5A, 0x61, 0x80, 0xBF, 0xC0, 0xFF)
NUMBERS = (0, 1, 2, 4, 5, 12, 16, 28, 41, 255, 256, 0x7FFF, 0x8000, 0xC000, 0xFFFF)  # types and lengths among them

Draft = bytearray
Below = Callable[[int], int]
Mutation = Callable[[Below, Draft, int, Sequence[Seed]], None]  # (random number below, draft, an offset in it, seeds)


def flip(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """One bit."""
    draft[at] ^= 1 << below(8)


def octet(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """One octet, mostly one that means something."""
    draft[at] = OCTETS[below(16)] if below(4) else below(256)


def number(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """Two octets: a count, a type, a length."""
    draft[at : at + 2] = NUMBERS[below(15)].to_bytes(2, "big")


def little(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """One more or less: of a count, a label's length, a pointer."""
    draft[at] = (draft[at] + below(5) - 2) & 0xFF


def pointer(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """A compression pointer to anywhere, mostly a little before."""
    target = max(at - below(64), 0) if below(3) else below(len(draft) + 4)
    draft[at : at + 2] = (0xC000 | target & 0x3FFF).to_bytes(2, "big")


def into_pointer(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """A compression pointer between two octets."""
    draft[at:at] = (0xC000 | below(at + 1) & 0x3FFF).to_bytes(2, "big")


def cut(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """The rest is missing."""
    del draft[at + below(3) :]


def leave_out(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """Some octets are missing."""
    del draft[at : at + 1 + below(12)]


def insert(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """Some octets too many: zeros, labels, anything."""
    kind, size = below(3), 1 + below(24)
    draft[at:at] = bytes(size) if kind == 0 else b"\1a" * size if kind == 1 else bytes(below(256) for _ in range(size))


def append(below: Below, draft: Draft, _: int, __: Sequence[Seed]) -> None:
    """Something behind the message."""
    draft += draft[: 1 + below(40)]


def splice(below: Below, draft: Draft, at: int, seeds: Sequence[Seed]) -> None:
    """A piece of another message, from one of its marks, instead of as much or in between."""
    other, marks = seeds[below(len(seeds))]
    start = marks[below(len(marks))]
    piece = other[start : start + 1 + below(48)]
    draft[at : at + (len(piece) if below(2) else 0)] = piece


def twice(below: Below, draft: Draft, at: int, _: Sequence[Seed]) -> None:
    """A piece of the message twice: another record, another name."""
    draft[at:at] = draft[at : at + 1 + below(48)]


MUTATIONS: tuple[Mutation, ...] = (
    *(flip, octet, octet, number, number, little, little, pointer, pointer, into_pointer),
    *(cut, leave_out, insert, append, splice, twice),
)


def mutate(rng: Random, seed: Seed, seeds: Sequence[Seed]) -> bytes:
    """A new message of a seed; now and then the seed itself."""
    random = rng.random

    def below(limit: int) -> int:
        return int(random() * limit)

    octets, marks = seed
    draft, many = bytearray(octets), len(marks)
    for _ in range(below(MOST + 1)):
        size = len(draft)
        if not 0 < size < LARGEST:
            break
        at = marks[below(many)] + below(3) if below(4) else below(size)
        MUTATIONS[below(16)](below, draft, at if at < size else size - 1, seeds)
    return bytes(draft)
