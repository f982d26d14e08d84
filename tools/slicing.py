"""Which cells of a lesson its claims rest on: a replication need not draw, nor time anything."""

import ast
import dis
from collections.abc import Iterator
from types import CodeType


def needed(cells: list[str], claims: set[str]) -> list[str]:
    """The cells that make some claims, and those that make or change what such cells use.

    Cells are followed backwards by the names that they use and bind; what a function uses may be
    bound after it, too. More may be kept than is needed, where two things have one name; never
    less, unless a cell changes a thing through another name for it.
    """
    modules = set().union(*map(imported, cells))
    kept, late = set(), set()
    while True:
        found, wanted = set(), set(late)
        for place in reversed(range(len(cells))):
            cell = cells[place]
            if claims & claimed(cell) or wanted & (bound(cell) | changed(cell) - modules):
                found.add(place)
                wanted |= used(cell) | changed(cell)
                late |= used_by_functions(cell)
        if found == kept:
            return [cells[place] for place in sorted(kept)]
        kept = found


def claimed(cell: str) -> set[str]:
    """The numbers of the claims that a cell makes."""
    calls = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)]
    claims = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "claim"]
    return {call.args[0].value for call in claims if isinstance(call.args[0], ast.Constant)}


def imported(cell: str) -> set[str]:
    """The names that a cell imports: a call such as `torch.manual_seed(0)` does not change them."""
    nodes = [n for n in ast.walk(ast.parse(cell)) if isinstance(n, ast.Import | ast.ImportFrom)]
    return {(name.asname or name.name).split(".")[0] for node in nodes for name in node.names}


def bound(cell: str) -> set[str]:
    """The names that a cell binds."""
    return {step.argval for step in dis.get_instructions(_code(cell)) if _stores(step)}


def changed(cell: str) -> set[str]:
    """The names whose things a cell changes, by `a.b = c`, `a[b] = c` or the statement `a.b(c)`."""
    nodes = list(ast.walk(ast.parse(cell)))
    places = [n for n in nodes if isinstance(n, ast.Attribute | ast.Subscript)]
    targets = [place for place in places if isinstance(place.ctx, ast.Store)]
    calls = [n.value for n in nodes if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    roots = map(_root, [*targets, *(call.func for call in calls)])
    return {root for root in roots if root}


def used(cell: str) -> set[str]:
    """The names that a cell takes from others: loaded before it binds them itself."""
    own, names = set(), set()
    for step in dis.get_instructions(_code(cell)):
        if _stores(step):
            own.add(step.argval)
        elif step.opname == "LOAD_NAME" and step.argval not in own:
            names.add(step.argval)
    return names | used_by_functions(cell)


def used_by_functions(cell: str) -> set[str]:
    """The global names of functions, lambdas and comprehensions that the cell does not bind."""
    loads = (step for code in _inner(_code(cell)) for step in dis.get_instructions(code))
    return {s.argval for s in loads if s.opname in ("LOAD_GLOBAL", "LOAD_NAME")} - bound(cell)


def _stores(step: dis.Instruction) -> bool:
    return step.opname in ("STORE_NAME", "STORE_GLOBAL")


def _code(cell: str) -> CodeType:
    return compile(cell, "cell", "exec")


def _inner(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inner(constant)


def _root(node: ast.expr) -> str | None:
    """The name at the left of `a.b[c]`; None for a plain name."""
    if isinstance(node, ast.Name):
        return None
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None
