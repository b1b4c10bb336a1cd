"""nat64d/dataplane/bpf/loops.py: no loop of a program is closed by an instruction that is no jump."""

import pytest

from nat64d.dataplane.bpf.kept import kept_object
from nat64d.dataplane.bpf.link import SECTION, link
from nat64d.dataplane.bpf.loops import (
    ALWAYS,
    CALL,
    EXIT,
    NEXT,
    ONE,
    WIDE,
    Instruction,
    closed_by_jumps,
    closed_otherwise,
)
from translator.fastpath.kernel import MAPS, PARAMETERS

ADD, IF = Instruction(0x07, 0, 0, 1), Instruction(0x15, 0, 0, 9)  # r0 += 1; if r0 == 9
LOAD = (Instruction(WIDE, 0, 0, 0x15), Instruction(0x15, 0, 7, 0))  # r0 = 0x15 << 32 | 0x15: the second is no jump
END = Instruction(EXIT, 0, 0, 0)


def goes(opcode: Instruction, offset: int) -> Instruction:
    return opcode._replace(offset=offset)


def packed(*instructions: Instruction) -> bytes:
    return b"".join(ONE.pack(*each) for each in instructions)


# Into the loop by its end: 3 is reached from 1, and again from 2.
INTO_ITS_MIDDLE = (*LOAD, goes(NEXT, 1), ADD, ADD, goes(IF, 1), goes(NEXT, -4), END)


def test_the_program_has_no_loop_that_linux_6_1_refuses():
    code = link(kept_object(), SECTION, dict.fromkeys(MAPS, 3), dict.fromkeys(PARAMETERS, 5))
    assert closed_otherwise([Instruction(*each) for each in ONE.iter_unpack(code)]) == set()


def test_a_jump_comes_between_and_every_other_one_goes_where_it_went():
    assert closed_otherwise(INTO_ITS_MIDDLE) == {4}
    made = closed_by_jumps(packed(*INTO_ITS_MIDDLE))
    assert made == packed(*LOAD, goes(NEXT, 2), ADD, NEXT, ADD, goes(IF, 1), goes(NEXT, -5), END)
    assert closed_by_jumps(made) == made


@pytest.mark.parametrize(
    "code",
    [
        pytest.param((ADD, goes(IF, 1), goes(NEXT, -3), END), id="a jump closes it"),
        pytest.param((ADD, goes(IF, -2), END), id="a condition closes it"),
        pytest.param((goes(IF, 1), ADD, ADD, END), id="two ways meet"),
        pytest.param((Instruction(CALL, 0, 0, 8), *LOAD, END), id="no loop"),
        pytest.param((Instruction(ALWAYS, 0, 0, 0), END), id="a jump to the next"),
    ],
)
def test_what_every_kernel_accepts_stays_as_it_is(code):
    assert closed_otherwise(code) == set()
    assert closed_by_jumps(packed(*code)) == packed(*code)
