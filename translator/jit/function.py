"""Compiled functions of which only those called from Python become machine code.

numba makes a library of its own of every function: all that it calls is linked in, the whole is optimised, emitted and
kept. A chain of calls as deep as the pipeline's is so compiled once for every level. Here a function that is
called by compiled code is lowered to LLVM's language and no more; one that is called from Python takes in whatever it
needs of those, and is optimised, emitted and cached once. What few packets need (`rare`) stays out of line.

All of it is done with classes of numba that it does not document; hence one minor version in pyproject.toml.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar

from llvmlite import ir
from llvmlite.binding import create_pass_builder, create_pipeline_tuning_options, parse_assembly
from numba import types
from numba.core import event
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, CompileResult, Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import (
    AnnotateTypes,
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.typing import make_concrete_template
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FixupArgs,
    IRProcessing,
    ReconstructSSA,
    RewriteSemanticConstants,
    TranslateByteCode,
)

from translator.jit.cache import CodeCache

EMITTING = "nat64d:emit"  # the event of an entry that becomes machine code; "numba:compile" is that of a lowered one
INLINED = 3000  # instructions: LLVM's own 225 leaves calls on a packet's way (4 %), from 5000 on it is slower again
_OPTIONS = {
    "nopython": True,
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": None,
    "_nrt": False,  # without the runtime there is no reference counting; whatever would allocate does not compile
    "no_cpython_wrapper": True,  # entries get theirs when they are emitted
    "no_cfunc_wrapper": True,
}  # each of them said: numba takes what is not said from the function that calls


class Lowered(JITCodeLibrary):  # type: ignore[misc]  # numba has no types
    """A function in LLVM's language, as it was lowered; never machine code."""

    out_of_line = False

    def add_ir_module(self, ir_module: Any) -> None:
        """The function itself: the optimiser is told what it may not inline."""
        for function in ir_module.functions:
            if function.blocks:
                _leave_unset(function)
                if self.out_of_line:
                    function.attributes.add("noinline")
                    function.attributes.add("cold")
        super().add_ir_module(ir_module)

    def _optimize_functions(self, ll_module: Any) -> None:
        """Nothing is optimised one by one; numba sets the layout here."""
        ll_module.data_layout = self._codegen._data_layout  # noqa: SLF001

    def finalize(self) -> None:
        """Nothing is optimised or emitted here; Emitted does that."""
        self._finalized = True

    def needed(self) -> list[JITCodeLibrary]:
        """This library and those that it calls, directly or not, each once and behind all that call it: the linker
        takes of a library only what somebody has asked for."""
        done: dict[JITCodeLibrary, None] = {}
        _visit(self, done)
        return list(reversed(done))


def _leave_unset(function: Any) -> None:
    """Have no variable of a function be zero from the start, as numba has it for what it counts the references of: that
    was a tenth of a packet's way, for variables that few packets need. Our functions set what they read."""
    code = function.blocks[0].instructions
    code[:] = [each for each, before in zip(code, [None, *code], strict=False) if not _makes_zero(each, before)]


def _makes_zero(instruction: Any, before: Any) -> bool:
    """Whether an instruction stores zero where the one before it has made room."""
    if not isinstance(before, ir.AllocaInstr) or not isinstance(instruction, ir.StoreInstr):
        return False
    value, place = instruction.operands
    return place is before and isinstance(value, ir.Constant) and not value.constant


def _visit(library: JITCodeLibrary, done: dict[JITCodeLibrary, None]) -> None:
    for each in library._linking_libraries:  # noqa: SLF001  the base has no other way to them
        if each not in done:
            _visit(each, done)
    done[library] = None


class RareLowered(Lowered):
    """A function that stays out of line."""

    out_of_line = True


class Emitted(JITCodeLibrary):  # type: ignore[misc]
    """Machine code: a function with all it calls."""

    def _optimize_final_module(self) -> None:
        options = create_pipeline_tuning_options(speed_level=3)
        options.inlining_threshold = INLINED
        builder = create_pass_builder(self._codegen._tm, options)  # noqa: SLF001  the base has no other way to it
        builder.getModulePassManager().run(self._final_module, builder)

    def serialize_using_object_code(self) -> tuple[str, str, tuple[bytes, bytes]]:
        """What the cache keeps: the machine code and, instead of all of it once more in LLVM's language for others to
        link, which nobody does, the names it defines. To read them takes a twentieth of the time."""
        name, kind, (code, _) = super().serialize_using_object_code()
        module = ir.Module(name)
        module.triple = self._final_module.triple
        for each in filter(_is_defined, self._final_module.functions):
            ir.IRBuilder(ir.Function(module, _NOTHING, each.name).append_basic_block()).ret_void()
        for each in filter(_is_defined, self._final_module.global_variables):
            ir.GlobalVariable(module, ir.IntType(8), each.name).initializer = ir.Constant(ir.IntType(8), 0)
        return name, kind, (code, parse_assembly(str(module)).as_bitcode())


_NOTHING = ir.FunctionType(ir.VoidType(), [])


def _is_defined(value: Any) -> bool:
    """Whether a function or a variable of a module is more than a declaration."""
    return not value.is_declaration


# What lowers a function of numbers and records. numba has fifteen more, for exceptions, closures, array expressions,
# `with`, lists of literals and the like; a function that needs one of them does not compile.
PASSES = (
    TranslateByteCode,
    FixupArgs,
    IRProcessing,
    RewriteSemanticConstants,
    DeadBranchPrune,
    ReconstructSSA,
    NopythonTypeInference,
    PreLowerStripPhis,
    IRLegalization,
    AnnotateTypes,
    NativeLowering,
    NoPythonBackend,
)


class _Flags(Flags):  # type: ignore[misc]
    """numba's flags, as one object for each set of values: numba looks its types up by them, hundreds of times for each
    function, and compares every value of two objects."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__
    known: ClassVar[dict[str, "_Flags"]] = {}

    def copy(self) -> "_Flags":
        """Itself: nobody changes it."""
        return self


class _Lowering(CompilerBase):  # type: ignore[misc]
    """numba's compiler, stopped when the function is lowered."""

    library: type[Lowered] = Lowered

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        flags = self.state.flags
        flags.no_compile = True
        self.state.flags = _Flags.known.setdefault(repr(flags), _Flags(flags))

    def define_pipelines(self) -> list[PassManager]:
        """numba's passes that code without closures, arrays expressions and exceptions needs."""
        passes = PassManager("nat64d")
        for each in PASSES:
            passes.add_pass(each, each.__name__)
        passes.finalize()
        return [passes]

    def compile_extra(self, func: Callable[..., Any]) -> CompileResult:
        """Lower a Python function into a library of our own."""
        self.state.library = self.library(self.state.targetctx.codegen(), func.__qualname__)
        return super().compile_extra(func)


class _RareLowering(_Lowering):
    library = RareLowered


@contextmanager
def _collector_off() -> Iterator[None]:
    """numba's objects live until all is lowered: looking for cycles among them again and again takes an eighth of the
    time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        (gc.enable if was_on else gc.disable)()


def _all_there(library: JITCodeLibrary) -> None:
    """RuntimeError where code calls a compiled function that was not linked: the call would be one of address 0."""
    for function in library._final_module.functions:  # noqa: SLF001  as above
        if function.is_declaration and function.name.startswith("_ZN"):
            raise RuntimeError(f"{function.name} is called by {library.name}, and not linked")


class _Key:
    """Stands for a lowered function in numba's tables, where otherwise the machine code stands."""


def _general(kind: types.Type) -> types.Type:
    """The type of a parameter that takes an argument of this type: numba would compile a function once for each number
    that it is called with, and for each size of field that a number comes from."""
    kind = types.unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) and kind.signed else kind


class Function:
    """A function of the data plane, callable from Python and from other such functions.

    Most of them are called by compiled code alone. Where that is in the cache, as at nearly every start, numba need not
    know them: its dispatcher of a function is made when somebody asks for it.
    """

    def __init__(self, function: Callable[..., Any], *, inline: bool = False, rare: bool = False) -> None:
        self.py_func = function
        self.__doc__, self.__name__ = function.__doc__, function.__name__
        self._inline, self._rare = inline, rare

    def __call__(self, *args: Any) -> Any:
        """Run its machine code for arguments of these types, which is loaded or compiled before that if need be."""
        return self.dispatcher(*args)

    @cached_property
    def dispatcher(self) -> "Dispatcher":
        """What numba knows of it."""
        return Dispatcher(self.py_func, self._inline, self._rare)

    @property
    def _numba_type_(self) -> types.Type:
        """What a caller that is being compiled takes it for."""
        return self.dispatcher._numba_type_


class Dispatcher(CPUDispatcher):  # type: ignore[misc]
    """A function with the code of it there is, lowered (`overloads`) and as machine code (`entries`)."""

    def __init__(self, function: Callable[..., Any], inline: bool, rare: bool) -> None:
        options = {**_OPTIONS, "forceinline": inline}
        super().__init__(function, targetoptions=options, pipeline_class=_RareLowering if rare else _Lowering)
        self._cache = CodeCache(function)
        self.entries: dict[tuple[Any, ...], CompileResult] = {}  # numba's table of them borrows the references

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """What a call from compiled code calls, for numba: (template, signature, arguments, none by name)."""
        signature, args = self._compiler.fold_argument_types(args, kws)
        general = tuple(map(_general, args))
        self.compile(general)
        name, known = self.py_func.__name__, [self.overloads[general].signature]
        return make_concrete_template(f"CallTemplate({name})", key=name, signatures=known), signature, args, {}

    def compile(self, sig: Any) -> Any:
        """Lower for argument types, once: numba asks so on behalf of a compiled caller. Returns the key of that."""
        with global_compiler_lock:
            known = self.overloads.get(tuple(sig))
            if known is not None:
                return known.entry_point
            with self._compiling_counter, event.trigger_event("numba:compile", data={"dispatcher": self}):
                lowered = self._compiler.compile(tuple(sig), None)._replace(entry_point=_Key())
            self.targetctx.insert_user_function(lowered.entry_point, lowered.fndesc, [lowered.library])
            self.overloads[tuple(sig)] = lowered
            return lowered.entry_point

    def _compile_for_args(self, *args: Any, **names: Any) -> Any:
        """The machine code for a call from Python: numba asks so, once for each tuple of argument types. Extensions of
        numba that happen to be installed are not looked for: no type of theirs comes here."""
        assert not names
        try:
            given = [self.typeof_pyval(value) for value in args]
            signature = tuple(map(_general, given))
            with global_compiler_lock:
                known = self.entries.get(signature) or self._cache.load_overload(signature, self.targetctx)
                self.entries[signature] = entry = known or self._emitted(signature)
                self._insert([each._code for each in given], entry.entry_point, False)  # noqa: SLF001  as numba does
                return entry.entry_point
        finally:
            self._types_active_call.clear()

    def _emitted(self, signature: tuple[Any, ...]) -> CompileResult:
        """A lowered function with all it calls, made into machine code and put into the cache."""
        with _collector_off():
            self.compile(signature)
        lowered = self.overloads[signature]
        context, environment, description = lowered.target_context, lowered.environment, lowered.fndesc
        with event.trigger_event(EMITTING, data={"dispatcher": self}):
            library = Emitted(context.codegen(), lowered.library.name)
            library.enable_object_caching()
            context.create_cpython_wrapper(library, description, environment, lowered.call_helper, release_gil=True)
            for each in lowered.library.needed():
                library.add_linking_library(each)
            library.finalize()
            _all_there(library)
            function = context.get_executable(library, description, environment)
        entry = lowered._replace(library=library, entry_point=function)
        for each in entry._find_referenced_environments():  # noqa: SLF001  as numba does when it loads from its cache
            library.codegen.set_env(each.env_name, each)
        self._cache.save_overload(signature, entry)
        return entry
