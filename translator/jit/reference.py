"""Dataclasses of numbers, arrays and other such dataclasses that compiled code takes by reference.

numba passes a NamedTuple by value, every array in it as seven words: a function that is handed all tables is called
with hundreds of arguments, which costs more than most of them do. A class decorated with `by_reference` is passed as
one address instead: that of a block with its numbers and the addresses and shapes of its arrays. An attribute that is
such an object itself has its block inside, so that what is in it is one load away too. Attributes read the same,
compiled or not.

What numba finds out about an argument at every call from Python is kept, here also for members of an IntEnum.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cache
from hashlib import sha256
from typing import Any, dataclass_transform

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import NativeValue, models, register_model, typeof_impl, unbox
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import from_dtype


class ReferenceType(types.Type):
    """The numba type of such a class: its name, and the name and type of each attribute."""

    def __init__(self, name: str, attributes: tuple[tuple[str, types.Type], ...]) -> None:
        self.attributes = attributes
        # The name goes into every symbol that numba makes: a digest keeps those short.
        super().__init__(f"{name}({sha256(repr(attributes).encode()).hexdigest()[:16]})")


@register_model(ReferenceType)
class _Model(models.PrimitiveModel):
    """One address."""

    def __init__(self, dmm: Any, fe_type: ReferenceType) -> None:
        super().__init__(dmm, fe_type, ir.IntType(64))


@infer_getattr
class _Attributes(AttributeTemplate):
    """What type an attribute has."""

    key = ReferenceType

    def generic_resolve(self, typ: ReferenceType, name: str) -> types.Type | None:
        """The attribute's type, None if there is no such attribute."""
        return dict(typ.attributes).get(name)


@lower_getattr_generic(ReferenceType)
def _read(context: Any, builder: Any, typ: ReferenceType, value: Any, name: str) -> Any:
    """Load an attribute from the block: it does not change while compiled code runs, so a load need not be repeated."""
    word = 0
    for attribute, attribute_type in typ.attributes:
        if attribute == name:
            break
        word += _words(attribute_type)
    block = builder.inttoptr(value, ir.IntType(64).as_pointer())

    def load(at: int) -> Any:
        loaded = builder.load(cgutils.gep_inbounds(builder, block, at))
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
        return loaded

    if isinstance(attribute_type, ReferenceType):
        return builder.ptrtoint(cgutils.gep_inbounds(builder, block, word), ir.IntType(64))
    if not isinstance(attribute_type, types.Array):
        return load(word)
    array = context.make_array(attribute_type)(context, builder)
    size = context.get_abi_sizeof(context.get_data_type(attribute_type.dtype))
    shape = [load(word + 1 + k) for k in range(attribute_type.ndim)]
    strides = [context.get_constant(types.intp, size)]
    for extent in reversed(shape[1:]):
        strides.insert(0, builder.mul(strides[0], extent))
    data = builder.inttoptr(load(word), array.data.type)
    populate_array(array, data=data, shape=shape, strides=strides, itemsize=size, meminfo=None)
    return array._getvalue()  # noqa: SLF001  the only name numba has for it


@unbox(ReferenceType)
def _unbox(typ: ReferenceType, obj: Any, c: Any) -> NativeValue:  # noqa: ARG001  numba calls it so
    """The address of the block of a Python object."""
    attribute = c.pyapi.object_getattr_string(obj, "address")
    address = c.pyapi.long_as_longlong(attribute)
    c.pyapi.decref(attribute)
    return NativeValue(address, is_error=cgutils.is_not_null(c.builder, c.pyapi.err_occurred()))


def _words(attribute_type: types.Type) -> int:
    """64-bit words an attribute takes in the block."""
    if isinstance(attribute_type, ReferenceType):
        return sum(_words(inner) for _, inner in attribute_type.attributes)
    return 1 + attribute_type.ndim if isinstance(attribute_type, types.Array) else 1


def _pack(value: Any) -> list[int]:
    """An attribute as words: a number, an array's address and shape, or the block of an object of such a class."""
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return [value.ctypes.data, *value.shape]
    return value._block.tolist() if hasattr(value, "_block") else [value]  # noqa: SLF001  of the same kind


def _type_of(value: Any, context: Any) -> types.Type:
    """The numba type of an attribute; arrays are contiguous, and numba's own way to theirs is long."""
    if isinstance(value, np.ndarray) and value.flags.writeable:
        return _array_type(value.dtype, value.ndim)
    return typeof_impl(value, context)


@cache
def _array_type(dtype: np.dtype[Any], dimensions: int) -> types.Array:
    """The numba type of contiguous arrays that can be written to."""
    return types.Array(from_dtype(dtype), dimensions, "C")


_reference_type = cache(ReferenceType)


@dataclass_transform(frozen_default=True)
def by_reference(cls: type) -> type:
    """Make a frozen dataclass whose instances are passed to compiled code by address."""

    def remember_block(self: Any) -> None:
        words = [word for field in fields(self) for word in _pack(getattr(self, field.name))]
        object.__setattr__(self, "_block", np.array(words, np.int64))
        object.__setattr__(self, "address", self._block.ctypes.data)

    cls.__post_init__ = remember_block  # type: ignore[attr-defined]
    made: type = dataclass(frozen=True, eq=False)(cls)

    @typeof_impl.register(made)
    def numba_type(value: Any, context: Any) -> ReferenceType:
        if "_numba_type" not in value.__dict__:  # numba asks at every call from Python
            attributes = ((field.name, _type_of(getattr(value, field.name), context)) for field in fields(value))
            object.__setattr__(value, "_numba_type", _reference_type(made.__name__, tuple(attributes)))
        return value.__dict__["_numba_type"]  # type: ignore[no-any-return]

    return made


_type_of_class = cache(typeof_impl)


@typeof_impl.register(IntEnum)
def _type_of_member(value: IntEnum, context: Any) -> types.Type:
    """The numba type of a member, for which numba looks at all members of its class."""
    return _type_of_class(type(value), context).member_type
