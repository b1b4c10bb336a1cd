"""A loop is closed by a jump.

The verifier of Linux 6.1 refuses a loop in which an instruction that is no jump comes before one where the loop has
begun ("back-edge from insn"); newer ones do not mind. Where the compiler leaves such a loop, a jump to the next
instruction comes between, which the kernel takes out after it has verified the program.
"""

import struct
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

ONE = struct.Struct("<BBhi")
WIDE, ALWAYS, CALL, EXIT = 0x18, 0x05, 0x85, 0x95  # opcodes; the first takes two places
JUMPS = {5, 6}  # classes of opcodes


class Instruction(NamedTuple):
    """One of eight octets (RFC 9669 section 3)."""

    opcode: int
    registers: int
    offset: int
    number: int

    @property
    def jumps(self) -> bool:
        """Whether it goes anywhere but to the next one."""
        return self.opcode & 7 in JUMPS and self.opcode not in (CALL, EXIT)


NEXT = Instruction(ALWAYS, 0, 0, 0)


def closed_by_jumps(code: bytes) -> bytes:
    """The same program; every loop is closed by a jump."""
    given = [Instruction(*fields) for fields in ONE.iter_unpack(code)]
    before = sorted(closed_otherwise(given))
    made, second = list[Instruction](), False
    for at, each in enumerate(given):
        if at in before:
            made.append(NEXT)
        if each.jumps and not second:
            between = bisect_right(before, at + 1 + each.offset) - bisect_right(before, at)
            made.append(each._replace(offset=each.offset + between))
        else:
            made.append(each)
        second = each.opcode == WIDE and not second
    return b"".join(ONE.pack(*each) for each in made)


def closed_otherwise(code: Sequence[Instruction]) -> set[int]:
    """The instructions that are reached again by going on to them, in the order in which the verifier looks."""
    found, seen, under_way = set[int](), {0}, {0}
    way = [(0, iter(after(code, 0)))]
    while way:
        at, ways = way[-1]
        to = next(ways, None)
        if to is None:
            way.pop()
            under_way.remove(at)
        elif to in under_way and not code[at].jumps:
            found.add(to)
        elif to not in seen:
            seen.add(to)
            under_way.add(to)
            way.append((to, iter(after(code, to))))
    return found


def after(code: Sequence[Instruction], at: int) -> tuple[int, ...]:
    """Which instructions may come after one, the next one first."""
    each = code[at]
    if each.opcode == EXIT:
        return ()
    if each.opcode == ALWAYS:
        return (at + 1 + each.offset,)
    if each.jumps:
        return (at + 1, at + 1 + each.offset)
    return (at + 2 if each.opcode == WIDE else at + 1,)
