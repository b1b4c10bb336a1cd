"""The decorators of compiled functions, and what stands for them where the compiler is switched off."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from translator.jit.function import Function

COMPILED = not numba.config.DISABLE_JIT
int64, uint64 = np.int64, np.uint64
_STAND_INS: dict[Callable[..., Any], Callable[..., Any]] = {}


def jit() -> Callable[..., Any]:
    """Compile a function; the optimiser decides where it is inlined."""
    return lambda function: Function(function) if COMPILED else function


def hot() -> Callable[..., Any]:
    """Compile a function on the path of every packet, called in one place or two: it is always inlined."""
    return lambda function: Function(function, inline=True) if COMPILED else function


def rare() -> Callable[..., Any]:
    """Compile a function that few packets need: it is never inlined, which keeps the packet path small and quick to
    compile."""
    return lambda function: Function(function, rare=True) if COMPILED else function


def either(compiled: Any, plain: Callable[..., Any]) -> Any:
    """A compiled function, or the one that does the same in plain Python."""
    if not COMPILED:
        return plain
    _STAND_INS[compiled.py_func] = plain
    return compiled


def in_plain_python(value: Any) -> Any:
    """The Python function behind a compiled one; any other value as it is."""
    function = getattr(value, "py_func", value)
    return _STAND_INS.get(function, function) if callable(function) else value
