"""Mutants of functions: one small change of the syntax tree each, as a code object that takes the function's place."""

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

from translator.jit.compile import in_plain_python

SHIFTED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.In: ast.NotIn, ast.NotIn: ast.In}
NEGATED = {ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
SWAPPED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
CONDITIONS = (ast.BoolOp, ast.Compare, ast.stmt, ast.Tuple, ast.Set)  # what is changed without `everything`
OTHER_NAME = {"min": "max", "max": "min"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Path = tuple[tuple[str, int | None], ...]


class Mutant(NamedTuple):
    """A function with one change, `was` replaced by `now` in line `line` of its module."""

    function: FunctionType
    code: CodeType
    line: int
    guards: int  # the line that a condition guards, or 0
    was: str
    now: str


def mutants(module: ModuleType, everything: bool) -> Iterator[Mutant]:
    """The mutants of the functions and methods of a module: of conditions and statements, or of everything."""
    for node, found in _functions(ast.parse(inspect.getsource(module)), vars(module)):
        function = in_plain_python(found)
        if isinstance(function, FunctionType) and function.__code__.co_filename == module.__file__:
            yield from _of_function(function, node, module, everything)


def _functions(tree: ast.Module | ast.ClassDef, names: Mapping[str, Any]) -> Iterator[tuple[Function, Any]]:
    """Each function and method with what its name stands for, without what a decorator has put around it."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, vars(names[node.name]))
        elif isinstance(node, Function) and node.name in names:
            found = names[node.name]
            for around in ("fget", "func", "__func__", "__wrapped__"):  # property, cached_property, classmethod, others
                found = getattr(found, around, found) if not hasattr(found, "py_func") else found
            yield node, found


def _of_function(function: FunctionType, node: Function, module: ModuleType, everything: bool) -> Iterator[Mutant]:
    seen = {_essence(function.__code__)}
    for path in _paths(node):
        for changed in _changes(_at(node, path), _at(node, path[:-1]), everything):
            copy = deepcopy(node)
            copy.decorator_list = []
            copy.args.defaults = [ast.Constant(None) for _ in copy.args.defaults]
            copy.args.kw_defaults = [each and ast.Constant(None) for each in copy.args.kw_defaults]
            _put(copy, path, changed)
            code = _compiled(ast.fix_missing_locations(copy), module)
            fits = code.co_freevars == function.__code__.co_freevars  # not where super() is called
            if fits and _essence(code) not in seen:
                seen.add(_essence(code))
                was = _at(node, path)
                yield Mutant(function, code, was.lineno, _guarded(node, path), ast.unparse(was), ast.unparse(changed))


def _guarded(node: Function, path: Path) -> int:
    for size in range(len(path), 0, -1):
        parent = _at(node, path[: size - 1])
        if isinstance(parent, ast.If | ast.While) and path[size - 1][0] == "test":
            return parent.body[0].lineno
    return 0


def _compiled(node: Function, module: ModuleType) -> CodeType:
    whole = compile(ast.Module([node], []), str(module.__file__), "exec", dont_inherit=True)
    return next(const for const in whole.co_consts if isinstance(const, CodeType))


def _essence(code: CodeType) -> tuple[object, ...]:
    consts = tuple((type(each), each) for each in code.co_consts if not isinstance(each, str))
    return code.co_code, consts, code.co_names, code.co_varnames


def _paths(node: ast.AST, path: Path = ()) -> Iterator[Path]:
    """The way to each node of a function's body: names of fields, with a position where the field is a list."""
    for name, value in ast.iter_fields(node):
        if path == () and name != "body":
            continue
        for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield (*path, (name, at))
                yield from _paths(child, (*path, (name, at)))


def _at(node: ast.AST, path: Path) -> ast.AST:
    for name, at in path:
        node = getattr(node, name) if at is None else getattr(node, name)[at]
    return node


def _put(node: ast.AST, path: Path, new: ast.AST) -> None:
    parent, (name, at) = _at(node, path[:-1]), path[-1]
    ast.copy_location(new, _at(node, path))
    if at is None:
        setattr(parent, name, new)
    else:
        getattr(parent, name)[at] = new


def _changes(node: ast.AST, parent: ast.AST, everything: bool) -> Iterator[ast.AST]:
    """What may stand for a node."""
    if isinstance(parent, ast.If | ast.IfExp | ast.While) and node is parent.test:
        yield ast.Constant(False)
        if not isinstance(parent, ast.While):
            yield ast.Constant(True)
    for kind, change in CHANGES.items():
        if isinstance(node, kind) and (everything or isinstance(node, CONDITIONS)):
            yield from change(node, parent)


def _bool(node: ast.BoolOp, _: ast.AST) -> Iterator[ast.AST]:
    for at in range(len(node.values)):
        rest = node.values[:at] + node.values[at + 1 :]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _compare(node: ast.Compare, parent: ast.AST) -> Iterator[ast.AST]:
    tested = isinstance(parent, ast.If | ast.IfExp | ast.While | ast.BoolOp)  # is forced, or dropped
    for at, op in enumerate(node.ops):
        other = SHIFTED.get(type(op)) or (None if tested else NEGATED.get(type(op)))
        if other:
            yield ast.Compare(node.left, [*node.ops[:at], other(), *node.ops[at + 1 :]], node.comparators)


def _arithmetic(node: ast.BinOp, _: ast.AST) -> Iterator[ast.AST]:
    if type(node.op) in SWAPPED:
        yield ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)


def _constant(node: ast.Constant, parent: ast.AST) -> Iterator[ast.AST]:
    if type(node.value) is bool:
        yield ast.Constant(not node.value)
    elif type(node.value) is int:
        yield ast.Constant(node.value + 1)
        if isinstance(parent, ast.Compare) and node.value > 0:
            yield ast.Constant(node.value - 1)


def _name(node: ast.Name, parent: ast.AST) -> Iterator[ast.AST]:
    if node.id in OTHER_NAME:
        yield ast.Name(OTHER_NAME[node.id], ast.Load())
    elif node.id.isupper() and not isinstance(parent, ast.Attribute | ast.Subscript | ast.Call):
        yield ast.BinOp(node, ast.Add(), ast.Constant(1))


def _member(node: ast.Attribute, parent: ast.AST) -> Iterator[ast.AST]:
    """Another verdict; where two are compared, the comparison is changed as it is."""
    if isinstance(node.value, ast.Name) and node.value.id in {"Verdict", "Ask"} and not isinstance(parent, ast.Compare):
        other = {"Verdict": ("NOT_IP", "CONTINUE"), "Ask": ("SESSIONS", "NOBODY")}[node.value.id]
        yield ast.Attribute(node.value, other[node.attr == other[0]], ast.Load())


def _tuple(node: ast.Tuple | ast.Set, parent: ast.AST) -> Iterator[ast.AST]:
    if isinstance(parent, ast.Compare):
        for at in range(len(node.elts)):
            yield ast.Tuple(node.elts[:at] + node.elts[at + 1 :], ast.Load())


def _statement(node: ast.stmt, parent: ast.AST) -> Iterator[ast.AST]:
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    guarded = isinstance(parent, ast.If) and len(parent.body) == 1 and not parent.orelse  # as if it were false
    bound = isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Attribute | ast.Subscript)
    last = isinstance(node, ast.Return) and isinstance(parent, Function)
    if not docstring and not guarded and not bound and not last:
        yield ast.Pass()


CHANGES: dict[type | tuple[type, ...], Callable[..., Iterator[ast.AST]]] = {
    ast.BoolOp: _bool,
    ast.Compare: _compare,
    ast.BinOp: _arithmetic,
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _member,
    (ast.Tuple, ast.Set): _tuple,
    (ast.Return, ast.Assign, ast.AugAssign, ast.Expr, ast.Continue, ast.Break): _statement,
}
