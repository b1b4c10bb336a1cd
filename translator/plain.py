"""Compiled code, run in plain Python: copies of functions whose names stand for copies.

For who has to know each step (explain.py), and for who cannot wait until it is compiled (nat64d/dataplane/plain.py).
"""

import ctypes
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, SimpleNamespace
from typing import Any

from numba import types

from translator.jit.compile import in_plain_python

_C_TYPES: dict[Any, Any] = {
    types.int32: ctypes.c_int32,
    types.int64: ctypes.c_int64,
    types.uint64: ctypes.c_uint64,
    types.void: None,
}  # intp and uintp are two of them


class Copies:
    """Copies of the functions of some packages, made from their own code, compiled or not.

    `packages`: how the names of their modules begin; `instead`: what stands for a function, by its name in plain
    Python. A function of the C library is called by ctypes, which lets other threads run meanwhile.
    """

    def __init__(
        self, packages: tuple[str, ...] = ("translator.",), instead: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        self._packages = packages
        self._instead = instead or {}
        self._namespaces: dict[str, dict[str, Any]] = {}

    def module(self, name: str) -> SimpleNamespace:
        """A module with copies for its functions."""
        return SimpleNamespace(**self._namespace(name))

    def forget(self) -> None:
        """Give up the copies, which hold one another."""
        for names in self._namespaces.values():
            names.clear()

    def stand_in(self, function: FunctionType, module: str) -> Callable[..., Any]:  # noqa: ARG002  a Recorder asks
        """What stands for a function where a module names it."""
        return self._instead.get(f"{function.__module__}.{function.__name__}") or self.copy(function)

    def copy(self, function: FunctionType) -> FunctionType:
        """A function of the same code, in the namespace of copies."""
        namespace = self._namespace(function.__module__)
        return FunctionType(function.__code__, namespace, function.__name__, function.__defaults__)

    def _namespace(self, module: str) -> dict[str, Any]:
        """The names of a module, with copies for the functions of the packages."""
        if module not in self._namespaces:
            copies = self._namespaces[module] = dict(vars(sys.modules[module]))
            for name, value in vars(sys.modules[module]).items():
                function = in_plain_python(value)
                if isinstance(function, types.ExternalFunction):
                    copies[name] = _foreign(function)
                elif isinstance(function, FunctionType) and function.__module__.startswith(self._packages):
                    copies[name] = self.stand_in(function, module)
        return self._namespaces[module]


def _foreign(function: types.ExternalFunction) -> Any:
    """A function of the C library, as ctypes calls it."""
    foreign = ctypes.CDLL(None)[function.symbol]
    foreign.argtypes = [_C_TYPES[kind] for kind in function.sig.args]
    foreign.restype = _C_TYPES[function.sig.return_type]
    return foreign
