"""Big-endian words of a buffer of octets: one load or store each, which the optimiser does not make of single octets
where there are four or eight."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _place(context, builder, signature, arguments, bits):
    """The address of a word at an offset, which need not be aligned."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(bits).as_pointer())


@intrinsic
def load32(typing_context, octets, at):
    """32 bits, from 0 to 2^32 - 1."""

    def code(context, builder, signature, arguments):
        word = builder.load(_place(context, builder, signature, arguments, 32), align=1)
        return builder.zext(builder.bswap(word), ir.IntType(64))

    return types.int64(octets, types.int64), code


@intrinsic
def load64(typing_context, octets, at):
    """64 bits, as they lie."""

    def code(context, builder, signature, arguments):
        return builder.bswap(builder.load(_place(context, builder, signature, arguments, 64), align=1))

    return types.int64(octets, types.int64), code


@intrinsic
def store32(typing_context, octets, at, value):
    """The low 32 bits of a number."""

    def code(context, builder, signature, arguments):
        word = builder.bswap(builder.trunc(arguments[2], ir.IntType(32)))
        builder.store(word, _place(context, builder, signature, arguments, 32), align=1)
        return context.get_dummy_value()

    return types.void(octets, types.int64, types.int64), code


@intrinsic
def store64(typing_context, octets, at, value):
    """64 bits."""

    def code(context, builder, signature, arguments):
        builder.store(builder.bswap(arguments[2]), _place(context, builder, signature, arguments, 64), align=1)
        return context.get_dummy_value()

    return types.void(octets, types.int64, types.int64), code
