"""Write student copies of the lessons, build/handout/*.ipynb: no outputs, no worked solutions.

Like what colab.py writes, each is a single file. The course_lib that it carries checks answers and
gives hints; the solutions are taken out of it.
"""

import ast
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

import colab
from lab import blank

ROOT = Path(__file__).resolve().parent.parent
WITHHELD = "Your instructor has it."


class Withholding(ast.NodeTransformer):
    """Puts WITHHELD in the place of every question's answer."""

    def visit_Call(self, call: ast.Call) -> ast.Call:
        if isinstance(call.func, ast.Name) and call.func.id == "Question":
            for keyword in call.keywords:
                if keyword.arg == "answer":
                    keyword.value = ast.Constant(WITHHELD)
        return call


def without_solutions(package: Path) -> None:
    """Take the worked solutions out of a copy of course_lib."""
    for lesson in (package / "exercises").glob("lesson_*.py"):
        tree = Withholding().visit(ast.parse(lesson.read_text(encoding="utf-8")))
        lesson.write_text(ast.unparse(tree), encoding="utf-8")


def write(paths: list[Path], folder: Path) -> None:
    """Write the student copies of lessons to a folder."""
    with TemporaryDirectory() as place:
        for path in paths:
            nbformat.write(blank(nbformat.read(path, as_version=4)), Path(place, path.name))
        colab.write(sorted(Path(place).iterdir()), folder, changed=without_solutions)


if __name__ == "__main__":
    write(list(map(Path, sys.argv[1:])), ROOT / "build" / "handout")
