"""Words to a compiler for BPF: memory of a stated width at an address, the kernel's helpers, maps, and numbers that the
loader fills in. Addresses are int64.

Every access states its width: the verifier knows the alignment of the stack, and the width of each field of a packet's
context. Uncompiled, `Stand` has what stands for the kernel.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from translator.jit.compile import COMPILED

I64 = ir.IntType(64)


class Stand:
    """What stands for the kernel where nothing is compiled: an object with the methods that are called below."""

    kernel: Any = None


def _either(compiled: Any, plain: Callable[..., Any]) -> Any:
    return compiled if COMPILED else plain


def _swapped(builder: Any, value: Any, kind: ir.IntType) -> Any:
    return builder.call(builder.module.declare_intrinsic("llvm.bswap", [kind]), [value])


def _reader(bits: int, *, big: bool = False, signed: bool = False, aligned: bool = True) -> Any:
    """A function of an address: the number of so many bits that lies there."""
    kind = ir.IntType(bits)

    def read(typing_context, address):
        def code(context, builder, signature, arguments):
            value = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()))
            value.align = bits // 8 if aligned else 1
            if big:
                value = _swapped(builder, value, kind)
            if bits == 64:
                return value
            return builder.sext(value, I64) if signed else builder.zext(value, I64)

        return types.int64(types.int64), code

    order = "big" if big else "little"
    return _either(intrinsic(read), lambda address: Stand.kernel.read(address, bits, order, signed or bits == 64))


def _writer(bits: int, *, big: bool = False) -> Any:
    """A function of an address and a number, of which it writes so many bits."""
    kind = ir.IntType(bits)

    def write(typing_context, address, value):
        def code(context, builder, signature, arguments):
            word = arguments[1] if bits == 64 else builder.trunc(arguments[1], kind)
            if big:
                word = _swapped(builder, word, kind)
            builder.store(word, builder.inttoptr(arguments[0], kind.as_pointer())).align = bits // 8
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), code

    order = "big" if big else "little"
    return _either(intrinsic(write), lambda address, value: Stand.kernel.write(address, bits, order, value))


u8 = _reader(8)
be16, be32, be64 = (_reader(bits, big=True) for bits in (16, 32, 64))
le8s, le16s, le32s, le64 = (_reader(bits, signed=True) for bits in (8, 16, 32, 64))
context32 = _reader(32)  # a field of struct __sk_buff
put32, put64 = _writer(32), _writer(64)
put_be16, put_be32, put_be64 = (_writer(bits, big=True) for bits in (16, 32, 64))


@intrinsic
def _read_again_compiled(typing_context, address):
    def code(context, builder, signature, arguments):
        return builder.load_atomic(builder.inttoptr(arguments[0], I64.as_pointer()), "monotonic", 8)

    return types.int64(types.int64), code


@intrinsic
def _add_compiled(typing_context, address, number):
    def code(context, builder, signature, arguments):
        builder.atomic_rmw("add", builder.inttoptr(arguments[0], I64.as_pointer()), arguments[1], "monotonic")
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), code


def _add_plain(address: int, number: int) -> None:
    put64(address, le64(address) + number)


@intrinsic
def _swap_compiled(typing_context, address, expected, wanted):
    def code(context, builder, signature, arguments):
        address = builder.inttoptr(arguments[0], I64.as_pointer())
        result = builder.cmpxchg(address, arguments[1], arguments[2], "seq_cst", "seq_cst")
        return builder.extract_value(result, 0)

    return types.int64(types.int64, types.int64, types.int64), code


def _swap_plain(address: int, expected: int, wanted: int) -> int:
    found = int(le64(address))
    if found == expected:
        put64(address, wanted)
    return found


# The 64 bits at an address, whatever was read there before; and: `expected` becomes `wanted`, returns what was there;
# and: a number is added, in one step.
read_again = _either(_read_again_compiled, le64)
swap = _either(_swap_compiled, _swap_plain)
add64 = _either(_add_compiled, _add_plain)


def _compare(sign: str) -> Any:
    def above(typing_context, a, b):
        def code(context, builder, signature, arguments):
            return builder.icmp_unsigned(sign, *arguments)

        return types.boolean(types.int64, types.int64), code

    return intrinsic(above)


@intrinsic
def _divide_compiled(typing_context, a, b):
    def code(context, builder, signature, arguments):
        return builder.udiv(*arguments)

    return types.int64(types.int64, types.int64), code


# Addresses in a packet are compared, and times divided, without sign: the verifier and BPF know no other way.
beyond = _either(_compare(">"), lambda a, b: a > b)
divide = _either(_divide_compiled, lambda a, b: a // b)


@intrinsic(prefer_literal=True)
def _stack_compiled(typing_context, size):
    if not isinstance(size, types.IntegerLiteral):
        return None
    words = size.literal_value // 8

    def code(context, builder, signature, arguments):
        return builder.ptrtoint(cgutils.alloca_once(builder, ir.ArrayType(I64, words)), I64)

    return types.int64(size), code


def _stack_plain(size: int) -> int:
    return Stand.kernel.stack(size)  # type: ignore[no-any-return]


# The address of so many octets on the stack, a multiple of 8.
stack = _either(_stack_compiled, _stack_plain)


def helper(number: int, count: int) -> Any:
    """Helper `number` of the kernel (include/uapi/linux/bpf.h), a function of `count` arguments."""

    def build(context, builder, signature, arguments):
        kind = ir.FunctionType(I64, [I64] * count)
        return builder.call(builder.inttoptr(ir.Constant(I64, number), kind.as_pointer()), arguments)

    typed = types.int64(*[types.int64] * count), build
    by_count: dict[int, Callable[..., Any]] = {
        0: lambda typing_context: typed,
        2: lambda typing_context, a, b: typed,
        3: lambda typing_context, a, b, c: typed,
        5: lambda typing_context, a, b, c, d, e: typed,
    }
    return _either(intrinsic(by_count[count]), lambda *arguments: Stand.kernel.call(number, *arguments))


def _symbol(name: str, linkage: str) -> Any:
    """A function without arguments: the address of a symbol, in place of which the loader puts what it stands for."""

    def address(typing_context):
        def code(context, builder, signature, arguments):
            symbol = builder.module.globals.get(name)
            if symbol is None:
                symbol = ir.GlobalVariable(builder.module, ir.IntType(8), name)
                symbol.linkage, symbol.align = linkage, 1
            return builder.ptrtoint(symbol, I64)

        return types.int64(), code

    return _either(intrinsic(address), lambda: Stand.kernel.symbol(name))


def bpf_map(name: str) -> Any:
    """A function: the map of that name."""
    return _symbol(name, "external")


def parameter(name: str) -> Any:
    """A function: a number of 64 bits. Its symbol is a weak one, or the compiler would know that it is not zero."""
    return _symbol(name, "extern_weak")
