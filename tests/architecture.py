"""The rules of the house as functions: source text in, sentences about what breaks a rule out.

test_architecture.py applies them to the project, and to planted offences.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE_LINES, FUNCTION_LINES = 400, 40

# What translator/ may import at all; jit/ also looks at files, to name the cache after the sources, and speaks to the
# compiler.
PURE = {"numpy", "numba", "enum", "typing", "ipaddress", "translator"}
IMPURE = {
    "translator.explain": {"types", "collections.abc", "dataclasses"},
    "translator.jit.bpf": {"collections.abc", "llvmlite"},
    "translator.jit.cache": {
        "hashlib",
        "pathlib",
        "os",
        "stat",
        "tempfile",
        "functools",
        "contextlib",
        "collections.abc",
        "llvmlite.binding",
    },
    "translator.jit.compile": {"collections.abc"},
    "translator.jit.function": {"gc", "contextlib", "functools", "collections.abc", "llvmlite", "llvmlite.binding"},
    "translator.jit.lock": {"llvmlite"},
    "translator.jit.words": {"llvmlite"},
    "translator.plain": {"ctypes", "sys", "types", "collections.abc"},
    "translator.tables.records": {"collections.abc"},
    "translator.jit.reference": {"llvmlite", "dataclasses", "functools", "hashlib"},
}

# Who may import whom inside translator/: a module whose name begins with the left, only those that begin with one of
# the right, and its own room; the first row that fits decides. From the bottom to the top.
GROUND = ("translator.jit", "translator.verdict", "translator.tables")
PACKET = tuple(f"translator.packet.{name}" for name in ("fields", "addresses", "tuples", "parse"))
LAYERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("translator.jit", ()),
    ("translator.verdict", ()),
    ("translator.tables", ("translator.jit", "translator.verdict")),
    ("translator.packet.fields", ("translator.jit.compile", "translator.jit.words")),
    ("translator.packet.addresses", ("translator.jit.compile",)),
    ("translator.packet.checksum", ("translator.jit.compile", "translator.packet.fields")),
    ("translator.packet", GROUND),
    ("translator.static", (*GROUND, *PACKET)),
    ("translator.session", (*GROUND, *PACKET, "translator.static", "translator.packet.packet")),
    ("translator.fragments", (*GROUND, "translator.static", "translator.packet")),
    ("translator", ("translator",)),
)

# Who may import whom inside nat64d/: a room, only the rooms below it in this list.
ROOMS = (
    "nat64d.exitcode",
    "nat64d.compiling.beside",
    "nat64d.compiling.progress",
    "nat64d.config",
    "nat64d.host",
    "nat64d.advertise",
    "nat64d.dataplane",
    "nat64d.dns64.message",
    "nat64d.dns64.rules",
    "nat64d.dns64.trace",
    "nat64d.dns64.upstreams",
    "nat64d.dns64.resolver",
    "nat64d.dns64.clients",
    "nat64d.dns64.service",
    "nat64d.dns64.export",
    "nat64d.dns64.command",
    "nat64d.control",
    "nat64d.kubernetes",
    "nat64d.natlog",
    "nat64d.offline",
    "nat64d.explain",
    "nat64d.compiling",
    "nat64d.services",
    "nat64d.gateway",
    "nat64d.doctor",
    "nat64d.cli",
    "nat64d.__main__",
)

# A client of the API like others: of the daemon it knows that alone, and nobody but the command knows it.
KUBERNETES, ITS_COMMAND = "nat64d.kubernetes", "nat64d.cli.kubernetes_command"
KUBERNETES_KNOWS = ("nat64d.__version__", "nat64d.exitcode", "nat64d.config", "nat64d.control", KUBERNETES)

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
        if not any(begins(module, name) for name in allowed):
            yield f"{source.path} imports {module}"


def layer_breaks(source: Source) -> Iterator[str]:
    """Imports inside translator/ that go up or sideways."""
    left, below = next(row for row in LAYERS if begins(source.module, row[0]))
    below = (*below, left)
    for module in sorted(imports(source)):
        if begins(module, "translator") and not any(begins(module, prefix) for prefix in below):
            yield f"{source.path} imports {module}"


def room_of(module: str) -> int | None:
    """The place of a module's room in ROOMS, None if it is in none (nat64d's own version)."""
    return next((n for n, room in enumerate(ROOMS) if begins(module, room)), None)


def room_breaks(source: Source) -> Iterator[str]:
    """Imports inside nat64d/ from a room above: without them there is no circle."""
    own = room_of(source.module)
    for module in sorted(imports(source)):
        other = room_of(module)
        if own is not None and other is not None and other > own:
            yield f"{source.path} imports {module}"


def kubernetes_breaks(source: Source) -> Iterator[str]:
    """What of the daemon `nat64d kubernetes` imports, and who imports it."""
    inside = begins(source.module, KUBERNETES)
    for module in sorted(imports(source)):
        known = any(begins(module, one) for one in KUBERNETES_KNOWS)
        if inside and begins(module, "nat64d") and not known:
            yield f"{source.path} imports {module}"
        if not inside and source.module != ITS_COMMAND and begins(module, KUBERNETES):
            yield f"{source.path} imports {module}"


def homeless(source: Source) -> Iterator[str]:
    """A file of nat64d/ that is in no room."""
    if room_of(source.module) is None and not source.path.endswith("__init__.py"):
        yield f"{source.path} is in no room"


def too_long(source: Source) -> Iterator[str]:
    """Principle 9: a function fits on a screen, a file can be kept in mind."""
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


def unnamed_modules(init: Path) -> Iterator[str]:
    """Modules and packages that the docstring of their package's __init__.py does not name."""
    text = ast.get_docstring(ast.parse(init.read_text("utf-8"))) or ""
    modules = [file.stem for file in init.parent.glob("*.py") if file != init]
    packages = [file.parent.name for file in init.parent.glob("*/__init__.py")]
    for name in sorted((*modules, *packages)):
        if f"`{name}`" not in text:
            yield f"{init.parent.name} does not name {name}"


def undescribed_captures(captures: list[Path], page: str) -> list[str]:
    """Captures that have no line in pcaps/README.md; in.pcap and in.expected.pcap share one."""
    names = {file.name.removesuffix(".pcap").removesuffix(".expected") for file in captures}
    return sorted(name for name in names if name not in page)
