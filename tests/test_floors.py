"""course_lib is built in floors: a module imports only from lower ones."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent / "course_lib"
FLOORS = {
    "__init__": 4,
    "figures": 3,
    "exercises": 3,
    "training": 2,
    "datasets": 1,
    "schedules": 1,
    "noise": 1,
    "curvature": 1,
    "data": 0,
    "models": 0,
    "surfaces": 0,
    "claims": 0,
}
MODULES = sorted(LIBRARY.rglob("*.py"))


def unit(path: Path) -> str:
    """The name in FLOORS: the module's, or its package's for a module in exercises."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def imported(source: str, package: str) -> set[str]:
    """The names in FLOORS that a module of `package` imports ("__init__" for course_lib itself)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents * bool(node.level), *filter(None, [node.module])])
            names = [alias.name for alias in node.names] if base == "course_lib" else [""]
            found += [f"{base}.{name if name in FLOORS else ''}" for name in names]
    parts = [name.split(".") for name in found if name.split(".")[0] == "course_lib"]
    return {"".join(part[1:2]) or "__init__" for part in parts}


def violations(source: str, own: str, package: str = "course_lib") -> list[str]:
    """Say which imports of the unit `own` do not go down. A unit may import its own modules."""
    others = imported(source, package) - {own}
    return [f"{own} imports {name}" for name in sorted(others) if FLOORS[name] >= FLOORS[own]]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_module_imports_only_from_lower_floors(path):
    assert unit(path) in FLOORS, f"{path.name} has no floor: write it into FLOORS"
    package = ".".join(path.relative_to(LIBRARY.parent).parts[:-1])
    assert not violations(path.read_text(), unit(path), package)


def test_the_roof_only_re_exports():
    docstring, *statements = ast.parse((LIBRARY / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)
    *imports, names = statements
    assert all(isinstance(statement, ast.ImportFrom) for statement in imports)
    assert isinstance(names, ast.Assign) and names.targets[0].id == "__all__"


@pytest.mark.parametrize(
    ("source", "own", "package"),
    [
        ("from course_lib.training import fit", "data", "course_lib"),
        ("from course_lib import training", "data", "course_lib"),
        ("from course_lib import fit", "figures", "course_lib"),
        ("import course_lib", "figures", "course_lib"),
        ("import course_lib.noise", "curvature", "course_lib"),
        ("def late():\n    from course_lib.figures import show", "training", "course_lib"),
        ("from .training import fit", "curvature", "course_lib"),
        ("from . import training", "curvature", "course_lib"),
        ("from ..figures import show", "exercises", "course_lib.exercises"),
    ],
)
def test_an_import_that_does_not_go_down_is_found(source, own, package):
    assert violations(source, own, package)


@pytest.mark.parametrize(
    ("source", "own", "package"),
    [
        ("from course_lib.training.cohort import Cohort\nimport torch", "training", "course_lib"),
        ("from course_lib import claims", "figures", "course_lib"),
        ("from course_lib.exercises.question import Question", "exercises", "course_lib.exercises"),
        ("from .question import Question", "exercises", "course_lib.exercises"),
        ("from ..data import Digits", "exercises", "course_lib.exercises"),
    ],
)
def test_an_import_that_goes_down_is_allowed(source, own, package):
    assert not violations(source, own, package)
