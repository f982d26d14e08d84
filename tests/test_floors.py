"""course_lib is built in floors: a module imports only from lower ones."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parent.parent / "course_lib"
# From the ground to the roof. A package stands here as a whole or module by module.
FLOORS = [
    {"internals", "models", "history"},
    {"checks"},
    {"data", "claims", "curvature", "noise", "planner", "schedules", "surfaces"},
    {"datasets"},
    {f"training.{name}" for name in ("threads", "convolutions", "console", "torchrun", "seeding")},
    {"training.meaning", "training.batches", "training.objective"},
    {"training.compiling"},
    {"training.steps", "training.replicas"},
    {"training.refusals", "training.examination", "training.graphs"},
    {"training.cohort"},
    {"training.recorder", "training.cache"},
    {"training.fit"},
    {"training.sweep"},
    {"training"},
    {"exercises", "figures"},
    {"explorers"},
    {"__init__"},
]
LEVELS = {name: level for level, names in enumerate(FLOORS) for name in names}
MODULES = {str(path.relative_to(LIBRARY)): path for path in sorted(LIBRARY.rglob("*.py"))}


def unit(dotted: str) -> str:
    """The name in FLOORS of a module of course_lib: its own, or its package's."""
    parts = dotted.removeprefix("course_lib").removeprefix(".").removesuffix(".__init__").split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if name in LEVELS), names[-1] or "__init__")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts)


def imported(source: str, package: str) -> set[str]:
    """The names in FLOORS that a module of `package` imports ("__init__" for course_lib itself)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents * bool(node.level), *filter(None, [node.module])])
            found += [(base, alias.name) for alias in node.names]
    return {
        name if base == "course_lib" and name in LEVELS else unit(base)
        for base, name in found
        if base.split(".")[0] == "course_lib"
    }


def violations(source: str, own: str, package: str = "course_lib") -> list[str]:
    """Say which imports of the unit `own` do not go down. A unit may import its own modules."""
    others = imported(source, package) - {own}
    return [f"{own} imports {name}" for name in sorted(others) if LEVELS[name] >= LEVELS[own]]


@pytest.mark.parametrize("path", MODULES.values(), ids=MODULES)
def test_module_imports_only_from_lower_floors(path):
    own = unit(dotted(path))
    assert own in LEVELS, f"{path.name} has no floor: write it into FLOORS"
    assert not violations(path.read_text(), own, dotted(path.parent))


def test_a_package_stands_in_floors_as_a_whole_or_with_each_of_its_modules():
    modules = {unit(dotted(path)) for path in MODULES.values()}
    assert modules == set(LEVELS)
    for package in {name.split(".")[0] for name in LEVELS if "." in name}:
        files = {dotted(path) for path in (LIBRARY / package).glob("*.py")}
        assert len({unit(name) for name in files}) == len(files), "one has no floor of its own"


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
        ("from course_lib.training.cohort import Cohort", "training.batches", "course_lib"),
        ("from course_lib.training import fit", "training.sweep", "course_lib.training"),
        ("from .cache import Cache", "training.cohort", "course_lib.training"),
        ("from course_lib.training.batches import Batches", "schedules", "course_lib"),
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
        ("from course_lib.training.batches import Batches", "training.cohort", "course_lib"),
        ("from .fit import fit", "training.sweep", "course_lib.training"),
    ],
)
def test_an_import_that_goes_down_is_allowed(source, own, package):
    assert not violations(source, own, package)
