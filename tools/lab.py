"""Copy the lessons to my-lessons/ and open JupyterLab on the first one there.

In a copy everything may be changed and saved: the committed lessons stay as they are, so that the
course can be updated and checked. Copies have no outputs, since a guess is worth making before
the answer is on the screen. A copy that is there is left alone; what lessons show and link is
copied anew each time.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS, COPIES = ROOT / "notebooks", ROOT / "my-lessons"
LESSONS = "[0-9]*.ipynb"


def blank(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook, its outputs taken out."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def edition(notebook: nbformat.NotebookNode) -> str:
    """What changes with a lesson's text and code."""
    sources = "\0".join(cell.source for cell in notebook.cells)
    return hashlib.sha256(sources.encode()).hexdigest()[:12]


def copied(lesson: Path, copy: Path) -> bool:
    """Copy a lesson where there is no copy; tell whether a copy is that of an older lesson."""
    notebook = nbformat.read(lesson, as_version=4)
    now = edition(notebook)
    if copy.exists():
        return nbformat.read(copy, as_version=4).metadata.get("copy_of") != now
    notebook.metadata["copy_of"] = now
    nbformat.write(blank(notebook), copy)
    return False


def copy_all(notebooks: Path, copies: Path) -> list[str]:
    """Copy the lessons and all that lies beside them; return the names of copies to be renewed."""
    skipped = shutil.ignore_patterns("*.ipynb", ".*")
    shutil.copytree(notebooks, copies, ignore=skipped, dirs_exist_ok=True)
    lessons = sorted(notebooks.glob(LESSONS))
    return [lesson.name for lesson in lessons if copied(lesson, copies / lesson.name)]


if __name__ == "__main__":
    os.chdir(ROOT)
    for name in copy_all(NOTEBOOKS, COPIES):
        print(f"{name} has changed since you copied it: rename yours to get the new one, too.")
    from jupyterlab.labapp import main

    first = min(COPIES.glob(LESSONS)).relative_to(ROOT)
    print(f"Opening JupyterLab on {first} (Ctrl-C twice ends it) ...", flush=True)
    sys.exit(main([str(first), *sys.argv[1:]]))
