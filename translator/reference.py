"""Dataclasses of numbers and arrays that compiled code takes by reference.

numba passes a NamedTuple by value, every array in it as seven words: a function that is handed all tables is called
with hundreds of arguments, which costs more than most of them do. A class decorated with `by_reference` is passed as
one address instead, of a block that holds its numbers and the addresses and shapes of its arrays. Its attributes read
the same, compiled or not.
"""

from dataclasses import dataclass, fields
from typing import Any, dataclass_transform

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import NativeValue, models, register_model, typeof_impl, unbox
from numba.np.arrayobj import populate_array


class ReferenceType(types.Type):
    """The numba type of such a class: its name, and the name and type of each attribute."""

    def __init__(self, name: str, attributes: tuple[tuple[str, types.Type], ...]) -> None:
        self.attributes = attributes
        super().__init__(f"{name}{attributes}")


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
    return 1 + attribute_type.ndim if isinstance(attribute_type, types.Array) else 1


def _pack(value: Any) -> list[int]:
    """An attribute as words: a number, or an array's address and shape."""
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return [value.ctypes.data, *value.shape]
    return [value]


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
            attributes = ((field.name, typeof_impl(getattr(value, field.name), context)) for field in fields(value))
            object.__setattr__(value, "_numba_type", ReferenceType(made.__name__, tuple(attributes)))
        return value.__dict__["_numba_type"]  # type: ignore[no-any-return]

    return made
