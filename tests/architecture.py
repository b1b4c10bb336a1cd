"""The rules of the house as functions: source text in, sentences about what breaks a rule out.

test_architecture.py applies them to the project, and to planted offences.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES, FUNCTION_LINES = 400, 40

# What translator/ may import at all; compile.py also looks at files, to name the cache after the sources, and lock.py
# speaks to the compiler, for a compare-and-swap.
PURE = {"numpy", "numba", "enum", "typing", "translator"}
IMPURE = {
    "translator.compile": {"hashlib", "pathlib", "os", "functools"},
    "translator.lock": {"llvmlite"},
    "translator.reference": {"llvmlite", "dataclasses"},
}

# Who may import whom inside translator/: a module whose name begins with the left, only those that begin with one of
# the right; the first row that fits decides. So fields < checksum, extensions < parse < the rest of packet, and no room
# imports its neighbour.
GROUND = (
    *("translator.compile", "translator.verdict", "translator.reference", "translator.tables", "translator.lock"),
    *("translator.hashing", "translator.packet.fields", "translator.packet.tuples"),
    "translator.static",
)
OCTETS = (*GROUND, "translator.packet.fields")
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("translator.compile", ()),
    ("translator.verdict", ()),
    ("translator.lock", ("translator.compile",)),
    ("translator.tables", ("translator.compile", "translator.reference", "translator.verdict")),
    ("translator.packet.fields", ("translator.compile",)),
    ("translator.packet.checksum", ("translator.compile", "translator.packet.fields")),
    ("translator.packet.virtio", ("translator.compile", "translator.packet.fields")),
    ("translator.packet.extensions", (*OCTETS, "translator.packet.icmp")),
    (
        "translator.packet.parse",
        (*OCTETS, "translator.packet.checksum", "translator.packet.icmp", "translator.packet.extensions"),
    ),
    ("translator.packet", (*GROUND, "translator.packet")),
    ("translator.session", (*OCTETS, "translator.packet.parse", "translator.session")),
    ("translator.static", (*OCTETS, "translator.packet.parse", "translator.static")),
    ("translator", ("translator",)),
)

# Octets are numbers only in these two; anywhere else an index into a packet is an offset written twice.
READS_OCTETS = ("translator/packet/fields.py", "translator/packet/checksum.py")
OCTET_ARRAYS = {"p", "packet", "octets", "slot", "frame"}


@dataclass(frozen=True)
class Source:
    """One Python file: its path below the root, and its text."""

    path: str
    text: str

    @property
    def module(self) -> str:
        """The dotted name under which it is imported."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)


def sources(*folders: str) -> list[Source]:
    """Every Python file below these folders of the project."""
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    return [Source(str(file.relative_to(ROOT)), file.read_text("utf-8")) for file in files]


def imports(source: Source) -> set[str]:
    """The modules a file imports, absolute; `from a import b` counts as a.b when a is ours, since b may be a module."""
    found = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*source.module.split(".")[: -node.level], base]).strip(".")
            ours = base.split(".")[0] in ("translator", "nat64d")
            found |= {f"{base}.{alias.name}" for alias in node.names} if ours else {base}
    return found


def begins(module: str, prefix: str) -> bool:
    """Is `module` this package or module, or something in it?"""
    return module == prefix or module.startswith(prefix + ".")


def impure_imports(source: Source) -> Iterator[str]:
    """Principle 2: no clock, no randomness, no logging, no sockets in translator/."""
    allowed = PURE | IMPURE.get(source.module, set())
    for module in sorted(imports(source)):
        if module.split(".")[0] not in allowed:
            yield f"{source.path} imports {module}"


def layer_breaks(source: Source) -> Iterator[str]:
    """Imports inside translator/ that go up or sideways."""
    below = next(right for left, right in LAYERS if begins(source.module, left))
    for module in sorted(imports(source)):
        if begins(module, "translator") and not any(begins(module, prefix) for prefix in below):
            yield f"{source.path} imports {module}"


def too_long(source: Source) -> Iterator[str]:
    """Principle 9: a function fits on a screen, a file in a head."""
    lines = source.text.count("\n")
    if lines > FILE_LINES:
        yield f"{source.path} has {lines} lines"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{source.path}:{node.lineno} {node.name} has {length} lines"


def octet_reads(source: Source) -> Iterator[str]:
    """Principle 3: an octet becomes a number in packet/fields.py and nowhere else; slices only move octets."""
    for node in ast.walk(source.tree):
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id in OCTET_ARRAYS
            and not isinstance(node.slice, ast.Slice)
        ):
            yield f"{source.path}:{node.lineno} reads {ast.unparse(node)}"


def undescribed_captures(captures: list[Path], page: str) -> list[str]:
    """Captures that have no line in pcaps/README.md; in.pcap and in.expected.pcap share one."""
    names = {file.name.removesuffix(".pcap").removesuffix(".expected") for file in captures}
    return sorted(name for name in names if name not in page)
