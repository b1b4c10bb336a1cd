"""The one spinlock of the tables: a compare-and-swap on a word that every worker sees.

It is held for one packet's session step (about 100 ns) or one short slice of a control request, by compiled code only,
so no holder ever waits for the interpreter. A waiter yields the processor: on a small machine the holder may need it.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from translator.jit.compile import either, jit

_yield = types.ExternalFunction("sched_yield", types.int32())


@intrinsic
def _swap(typing_context, words, expected, wanted):
    """words[0]: `expected` -> `wanted`, atomically; true when it was so."""

    def code(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        result = builder.cmpxchg(array.data, arguments[1], arguments[2], "seq_cst", "monotonic")
        return builder.extract_value(result, 1)

    return types.boolean(words, types.int64, types.int64), code


@intrinsic
def _clear(typing_context, words):
    """words[0] = 0, after everything written before."""

    def code(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        builder.store_atomic(ir.Constant(ir.IntType(64), 0), array.data, "release", 8)
        return context.get_dummy_value()

    return types.void(words), code


@intrinsic
def _add_to(typing_context, words, at, number):
    """As _add."""

    def code(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        builder.atomic_rmw("add", builder.gep(array.data, [arguments[1]]), arguments[2], "monotonic")
        return context.get_dummy_value()

    return types.void(words, types.int64, types.int64), code


@jit()
def _add(words, at, number):
    """words[at] += number, in one step, whoever has the lock."""
    _add_to(words, at, number)


@jit()
def _acquire(words):
    """Spin until the lock is ours."""
    while not _swap(words, np.int64(0), np.int64(1)):
        _yield()


@jit()
def _release(words):
    """Let go."""
    _clear(words)


def _acquire_plain(words):
    """Uncompiled code has one thread, or a lock of its own (nat64d/dataplane/plain.py)."""


def _release_plain(words):
    """As _acquire_plain."""


def _add_plain(words, at, number):
    """As _acquire_plain."""
    words[at] += number


@jit()
def _exchange(words, expected, wanted):
    """words[0]: `expected` -> `wanted`, in one step, unless it is another number by now."""
    _swap(words, expected, wanted)


def _exchange_plain(words, expected, wanted):
    """The same, nearly in one step."""
    if words[0] == expected:
        words[0] = wanted


add, exchange = either(_add, _add_plain), either(_exchange, _exchange_plain)
acquire, release = either(_acquire, _acquire_plain), either(_release, _release_plain)
