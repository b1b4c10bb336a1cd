"""translator/fastpath -> LLVM's language -> an object of BPF instructions. numba lowers, llvmlite has the back end: no
C, no clang.

The same sources give the same object, octet for octet. It holds no address and no number of a configuration. Run as a
module this writes it to standard output.
"""

import re
import sys
from typing import Any

from llvmlite import binding as llvm
from numba import types

from nat64d.dataplane.bpf.link import SECTION
from translator.fastpath.program import program

CPU = "v3"  # Linux 5.1: 32-bit jumps; compare-and-swap is of 5.12
LAYOUT = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
_ENTRY = """
define i64 @entry(ptr %context) section "{section}" {{
  %result = alloca i64
  %exception = alloca ptr
  %address = ptrtoint ptr %context to i64
  %status = call i32 @"{name}"(ptr %result, ptr %exception, i64 %address)
  %value = load i64, ptr %result
  ret i64 %value
}}
"""


def build() -> bytes:
    """The object, an ELF file."""
    target = _machine()
    module = _optimised(_module(program), target)
    return bytes(target.emit_object(module))


def _machine() -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple("bpfel").create_target_machine(cpu=CPU, opt=2, reloc="default", codemodel="default")


def _module(function: Any) -> Any:
    """A function with all it calls as one module for BPF, everything to be inlined into `entry`."""
    function.dispatcher.compile((types.int64,))
    lowered = function.dispatcher.overloads[(types.int64,)]
    module: Any = None
    for library in lowered.library.needed():
        text = _for_bpf(str(library._final_module))  # noqa: SLF001  numba has no other way to it
        if module is None:
            module = llvm.parse_assembly(text + _ENTRY.format(section=SECTION, name=lowered.fndesc.mangled_name))
        else:
            module.link_in(llvm.parse_assembly(text))
    for each in module.functions:
        if not each.is_declaration and each.name != "entry":
            each.linkage = "internal"
            each.add_function_attribute("alwaysinline")
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"
    module.verify()
    return module


def _for_bpf(text: str) -> str:
    """A module as numba lowered it, for another target. Where numba promises that no sum overflows, those of SipHash
    do; what is out of line on a processor is inlined here. An atomic load is a plain one that is not left out."""
    text = re.sub(r"^target datalayout = .*$", f'target datalayout = "{LAYOUT}"', text, flags=re.MULTILINE)
    text = re.sub(r"^target triple = .*$", 'target triple = "bpfel"', text, flags=re.MULTILINE)
    text = text.replace(" nsw ", " ")
    text = re.sub(r"load atomic (i64, ptr \S+) monotonic", r"load volatile \1", text)
    return re.sub(r"(?<= )(noinline|cold) ", "nounwind ", text)


def _optimised(module: Any, target: Any) -> Any:
    """The module after LLVM's passes: all calls are inlined. Vectors are nothing that BPF has."""
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    tuning.loop_vectorization = tuning.slp_vectorization = False
    passes = llvm.create_pass_builder(target, tuning)
    passes.getModulePassManager().run(module, passes)
    return module


if __name__ == "__main__":
    sys.stdout.buffer.write(build())
