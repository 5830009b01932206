"""Finds by the syntax tree which config fields a package reads.

A read is an attribute of the right group: `config.optim.b1`, `optim.b1` after
`optim = config.optim` or in a function that is called with `config.optim`. That the field's
name occurs somewhere is no read.
"""

import ast
import functools
from collections.abc import Iterable, Mapping

from vssflow_jax.config.fields import FIELDS

NAMES = {field.name for field in FIELDS}
GROUPS = {name.rpartition(".")[0] for name in NAMES} | {""}
# Groups that are read as a whole.
ITERATED = ("data.repeats", "model.projected_widths", "dropout.conditions", "sample.scales", "mesh")
PASSES = 4  # calls deep that a group is followed

Paths = set[str]
Known = dict[tuple[str, int | str], Paths]  # (function, parameter by place or name) -> groups


def joined(base: str, name: str) -> str:
    return f"{base}.{name}" if base else name


def paths(node: ast.expr, names: Mapping[str, Paths]) -> Paths:
    """The groups or fields of the config that an expression can be."""
    if isinstance(node, ast.Name):
        return names.get(node.id, set())
    if isinstance(node, ast.Attribute):
        if node.attr == "config":
            return {""}
        inner = {joined(base, node.attr) for base in paths(node.value, names)}
        return inner & (NAMES | GROUPS)
    return set()


@functools.cache
def list_assignments(function: ast.FunctionDef) -> list[tuple[ast.expr, ast.expr]]:
    """The pairs of target and value of all assignments in a function."""
    pairs = []
    for statement in ast.walk(function):
        if isinstance(statement, ast.Assign):
            pairs.append((statement.targets[0], statement.value))
        elif isinstance(statement, ast.NamedExpr):
            pairs.append((statement.target, statement.value))
    return pairs


class Reader(ast.NodeVisitor):
    """Visits a module; gathers fields that are read and groups that are passed on."""

    def __init__(self, known: Known):
        self.known, self.passed, self.read = known, {}, set()
        self.names: dict[str, Paths] = {"config": {""}}

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self.names = self.names, dict(self.names)
        parameters = [*node.args.posonlyargs, *node.args.args]
        for place, parameter in enumerate(parameters):
            groups = self.known.get((node.name, place), set())
            groups = groups | self.known.get((node.name, parameter.arg), set())
            if groups or parameter.arg != "config":
                self.names[parameter.arg] = groups
        for target, value in list_assignments(node):
            self.assign(target, value)
        self.generic_visit(node)
        self.names = outer

    def visit_Name(self, node: ast.Name) -> None:
        """Leaves alone what is below a name: most of the nodes of a tree."""

    def assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, other in zip(target.elts, value.elts, strict=True):
                self.assign(one, other)
        elif isinstance(target, ast.Name) and (groups := paths(value, self.names)):
            self.names[target.id] = groups

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read |= paths(node, self.names) & NAMES
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        iterated = (
            [function.value] if name == "items" and isinstance(function, ast.Attribute) else []
        )
        iterated += node.args if name == "dict" else []
        for groups in (paths(one, self.names) for one in iterated):
            self.read |= {
                field for field in NAMES if field.rpartition(".")[0] in groups & {*ITERATED}
            }
        named = [*enumerate(node.args), *((word.arg, word.value) for word in node.keywords)]
        for place, value in named:
            if groups := paths(value, self.names) & GROUPS:
                self.passed.setdefault((name, place), set()).update(groups)
        self.generic_visit(node)


def read_fields(sources: Iterable[str]) -> Paths:
    """The dotted names of the fields that the modules with these texts read."""
    trees = [ast.parse(text) for text in sources]
    known: Known = {}
    for _ in range(PASSES):
        readers = [Reader(known) for _ in trees]
        for reader, tree in zip(readers, trees, strict=True):
            reader.visit(tree)
        before, known = known, {}
        for reader in readers:
            for place, groups in reader.passed.items():
                known.setdefault(place, set()).update(groups)
        if known == before:
            break
    return set().union(*(reader.read for reader in readers))
