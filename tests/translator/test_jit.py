"""translator/jit: what becomes machine code, how often, and what stays out of line."""

import gc
import inspect
import re
from types import SimpleNamespace

import llvmlite.binding as ll
import numba.core.event
import numpy as np
import pytest
from numba.core.errors import NumbaError

from nat64d.dataplane import coalesce, snapshot, worker
from nat64d.offline import chunk
from translator.jit.cache import PACKAGE
from translator.jit.compile import COMPILED, hot, jit, rare
from translator.jit.function import EMITTING, Function, _all_there

pytestmark = pytest.mark.skipif(not COMPILED, reason="nothing is compiled in plain Python")


@jit()
def _square(n):
    return n * n


@rare()
def _cube(n):
    return n * _square(n)


@hot()
def _sum(n):
    return _square(n) + _cube(n)


def fresh(function: Function) -> Function:
    """The same function, not compiled yet and never cached."""
    kind = {"inline": True} if function is _sum else {"rare": True} if function is _cube else {}
    made = Function(function.py_func, **kind)
    made.dispatcher._cache.disable()
    return made


def recorded(call):
    """The result of a call, and what was lowered and emitted meanwhile."""
    with (
        numba.core.event.install_recorder("numba:compile") as lowered,
        numba.core.event.install_recorder(EMITTING) as out,
    ):
        result = call()
    names = [
        sorted(event.data["dispatcher"].py_func.__name__ for _, event in recorder.buffer if event.is_start)
        for recorder in (lowered, out)
    ]
    return result, *names


def test_only_what_python_calls_becomes_machine_code():
    assert recorded(lambda: fresh(_sum)(3)) == (36, ["_cube", "_square", "_sum"], ["_sum"])


def test_an_inner_function_can_be_called_from_python_too():
    _sum(3)
    inner = fresh(_square)
    assert recorded(lambda: (inner(5), inner(6)))[1:] == (["_square"], ["_square"])
    assert (_square(5), _cube(2), _sum(2)) == (25, 8, 12)


def test_each_type_is_compiled_once():
    function = fresh(_square)
    assert recorded(lambda: [function(2), function(np.int64(3)), function(2.5), function(4)])[::2] == (
        [4, 9, 6.25, 16],
        ["_square", "_square"],
    )


def test_all_numbers_and_all_sizes_of_signed_integers_are_of_one_type():
    @jit()
    def inner(n, flag):
        return n + 1 if flag else n

    @jit()
    def outer(row, n):
        return inner(3, True) + inner(row.small, False) + inner(n, n > 3) + inner(row.large, True)

    row = np.zeros(1, [("small", "i2"), ("large", "i8")]).view(np.recarray)[0]
    row.small, row.large = -7, -(1 << 40)
    assert recorded(lambda: outer(row, 4))[1:] == (["inner", "outer"], ["outer"])
    expected = 4 - 7 + 5 - (1 << 40) + 1
    assert recorded(lambda: (outer(row, np.int32(4)), outer(row, np.int16(4)))) == ((expected,) * 2, [], [])


def test_what_is_rare_stays_out_of_line_and_what_is_hot_does_not():
    function = fresh(_sum)
    function(3)
    (entry,) = function.dispatcher.entries.values()
    left = {each.name.split("B")[0] for each in entry.library.get_defined_functions()}
    assert any(name.endswith("_cube") for name in left)
    assert not any(name.endswith("_square") for name in left)


def test_a_variable_of_what_is_rare_costs_nobody_else_a_store():
    """numba has each variable be zero from the start."""
    function = fresh(_sum)
    function(3)
    (lowered,) = function.dispatcher.overloads.values()
    code = str(lowered.library._final_module).replace("null", "zeroinitializer")
    assert code.count(" = alloca ") > 1
    assert re.search(r"(%\S+) = alloca [^\n]*\n +store [^\n]* (0|zeroinitializer), ptr \1", code) is None


def test_what_one_caller_no_longer_calls_another_still_gets():
    """A branch that is never taken leaves its library behind without a call, and the linker drops that library."""

    @rare()
    def inner(n):
        return n + 1

    @jit()
    def never(n, flag):
        return inner(n) if flag != flag else n  # noqa: PLR0124  the optimiser sees it, numba does not

    @rare()
    def always(n):
        return inner(n)

    @jit()
    def entry(n):
        return never(n, 1) + always(n)

    assert entry(1) == 3


def test_code_that_calls_what_is_not_there_is_an_error():
    function = fresh(_square)
    function(3)
    (entry,) = function.dispatcher.entries.values()
    _all_there(entry.library)
    lost = ll.parse_assembly("declare i64 @_ZN4lostEv()")
    with pytest.raises(RuntimeError, match="_ZN4lostEv is called by it, and not linked"):
        _all_there(SimpleNamespace(_final_module=lost, name="it"))


def test_the_cache_gets_the_names_that_machine_code_defines_and_nothing_else_in_llvms_language():
    function = fresh(_sum)
    function(3)
    (entry,) = function.dispatcher.entries.values()
    _, _, (_, names) = entry.library.serialize_using_object_code()
    kept = ll.parse_bitcode(names)
    defined = {each.name for each in entry.library.get_defined_functions()}
    assert {each.name for each in kept.functions} == defined
    assert defined >= {entry.fndesc.llvm_func_name, entry.fndesc.llvm_cpython_wrapper_name}
    assert [str(each) for one in kept.functions for block in one.blocks for each in block.instructions] == [
        "  ret void"
    ] * len(defined)


def test_a_callers_flags_are_not_inherited():
    """numba hands a flag that a function does not say down from whoever calls it first."""

    @jit()
    def inner(n):
        return n + 1

    @hot()
    def outer(n):
        return inner(n)

    outer(1)
    (lowered,) = inner.dispatcher.overloads.values()
    assert "alwaysinline" not in str(lowered.library._final_module)


def test_code_that_raises_does_not_compile():
    """A packet gets a verdict, never an exception."""

    @jit()
    def refuses(n):
        if n < 0:
            raise ValueError("negative")
        return n

    with pytest.raises(NumbaError, match="raise"):
        refuses(1)


def test_what_does_not_compile_is_an_error_that_names_it():
    @jit()
    def unknown(n):
        return n.no_such_thing

    with pytest.raises(numba.core.errors.TypingError, match="no_such_thing"):
        unknown(1)


def test_compiled_code_calls_nothing_outside_the_digest_of_its_cache():
    """cache.py: a function outside translator/ stands under a digest of its own folder, so it may call no third one."""
    modules = (chunk, coalesce, snapshot, worker)
    outside = [value for module in modules for value in vars(module).values() if isinstance(value, Function)]
    assert {each.py_func.__module__.partition(".")[0] for each in outside} == {"nat64d", "translator"}
    for function in outside:
        home = inspect.getfile(function.py_func).rpartition("/")[0]
        for name in function.py_func.__code__.co_names:
            called = function.py_func.__globals__.get(name)
            if isinstance(called, Function):
                file = inspect.getfile(called.py_func)
                assert file.startswith((str(PACKAGE), home)), f"{function.py_func.__name__} calls {name} of {file}"


@pytest.mark.parametrize("on", [True, False])
def test_the_garbage_collector_is_left_as_it_was(on):
    @jit()
    def one():
        return 1

    was_on = gc.isenabled()
    try:
        gc.enable() if on else gc.disable()
        one()
        assert gc.isenabled() is on
    finally:
        gc.enable() if was_on else gc.disable()
