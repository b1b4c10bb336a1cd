"""Compiles everything as the daemon does; prints what was missed, what became a float, and a wrong FUNCTIONS.

A float in the data plane is an accident of type unification (signed with unsigned), and loses the low bits of a 64-bit
word. Run with an empty compile cache: what comes from the cache has no types to look at.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator

from numba.core.dispatcher import Dispatcher

import translator
from nat64d.daemon import compile_all
from nat64d.progress import FUNCTIONS


def dispatchers() -> dict[str, Dispatcher]:
    """Every compiled function of translator/, by its full name."""
    found = {}
    for info in pkgutil.walk_packages(translator.__path__, "translator."):
        for value in vars(importlib.import_module(info.name)).values():
            if isinstance(value, Dispatcher):
                found[f"{value.py_func.__module__}.{value.py_func.__qualname__}"] = value
    return found


def findings(name: str, dispatcher: Dispatcher) -> Iterator[str]:
    """What is wrong with one function."""
    if not dispatcher.overloads:
        yield f"{name}: compile_all() does not reach it, the first packet would wait for the compiler"
    for overload in dispatcher.overloads.values():
        for variable, kind in overload.type_annotation.typemap.items():
            if "float" in str(kind):
                yield f"{name}: {variable} is {kind}"


def main() -> int:
    """Print the findings; nothing printed and 0 means good."""
    compiled = len(compile_all())
    if abs(compiled - FUNCTIONS) > 10:
        print(f"nat64d/progress.py: FUNCTIONS is {FUNCTIONS}, a cold start compiles {compiled}")
    functions = dispatchers()
    if not functions:
        print("no compiled function found in translator/")
    for name, dispatcher in functions.items():
        for line in findings(name, dispatcher):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
