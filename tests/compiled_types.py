"""Compiles everything as the daemon does; prints what was missed, what became a float, and a wrong FUNCTIONS.

A float in the data plane is an accident of type unification (signed with unsigned), and loses the low bits of a 64-bit
word. Code that comes from the compile cache has no types to look at, so the cache is emptied first and filled again:
the suite then runs from it. The findings are kept in the cache too, and printed from there until a source changes.
"""

import hashlib
import importlib
import pkgutil
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np

import translator
from nat64d.compiling.beside import Part
from nat64d.compiling.entries import compile_part
from nat64d.compiling.progress import FUNCTIONS
from tests.architecture import ROOT
from tests.case import warm
from tests.fuzz.run import World
from translator.jit.cache import cache_directory
from translator.jit.function import Function

KERNEL_S = "translator.fastpath"  # what becomes code of the kernel, and no other


def functions() -> dict[str, Function]:
    """Every function of translator/ that becomes machine code, by its full name."""
    found = {}
    names = [info.name for info in pkgutil.walk_packages(translator.__path__, "translator.")]
    for name in (name for name in names if not name.startswith(KERNEL_S)):
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, Function):
                found[f"{value.py_func.__module__}.{value.py_func.__qualname__}"] = value
    return found


def findings(name: str, function: Function) -> Iterator[str]:
    """What is wrong with one function."""
    if not function.dispatcher.overloads:
        yield f"{name}: compile_part() does not reach it, the first packet would wait for the compiler"
    for overload in function.dispatcher.overloads.values():
        for variable, kind in overload.type_annotation.typemap.items():
            if "float" in str(kind):
                yield f"{name}: {variable} is {kind}"


def sources() -> str:
    """A digest of all that the findings depend on, apart from what names the cache's directory."""
    digest = hashlib.sha256(f"{numba.__version__} {ROOT}".encode())
    for file in sorted([*(ROOT / "nat64d").rglob("*.py"), *(ROOT / "translator").rglob("*.py"), Path(__file__)]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def compiled() -> Iterator[str]:
    """The findings on everything, compiled now."""
    count = len(compile_part(Part.EVERYTHING))
    if abs(count - FUNCTIONS) > 10:
        yield f"nat64d/compiling/progress.py: FUNCTIONS is {FUNCTIONS}, a cold start compiles {count}"
    known = functions()
    if not known:
        yield "no compiled function found in translator/"
    for name, function in known.items():
        yield from findings(name, function)


def main() -> int:
    """Print the findings; nothing printed means good."""
    kept = cache_directory() / "findings"
    digest = sources()
    known, *lines = kept.read_text("utf-8").splitlines() if kept.exists() else [""]
    if known != digest:
        shutil.rmtree(cache_directory(), ignore_errors=True)
        lines = list(compiled())
        warm()
        World("plain", {}).round(np.ones(1, np.uint64), 1)  # a loop with the whole pipeline in it, lowered by now
        kept.write_text("\n".join([digest, *lines]), "utf-8")
    print("\n".join(lines), end="\n" if lines else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
