"""Write the lessons as single files, build/colab/*.ipynb, to be mailed or put on a course server.

Each carries in its set-up cell course_lib as a wheel and the measurements that it reads, and in
its text the pictures; it needs no repository and no second file. Outputs are kept, so that a
lesson can be read where it cannot be run, and compared with where it is. A link to a file of the
course becomes its text, for the file may not be there, or, once the course has an address, a
link to that.
"""

import base64
import io
import mimetypes
import os
import re
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat

import stamp
from course_lib.claims.registry import REPLICATIONS
from lessons import FOLDED, normalise

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
LIBRARY = ("pyproject.toml", "LICENSE")  # and the package itself
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)]*)?\)")


def wheel(folder: Path, changed: Callable[[Path], None] = lambda package: None) -> Path:
    """Build course_lib's wheel in `folder`, without a network.

    It is built from a copy, which `changed` may change: setuptools would keep what it has built
    beside the sources, and put files that are long gone into the next wheel.
    """
    with TemporaryDirectory() as copy:
        shutil.copytree(ROOT / "course_lib", package := Path(copy, "course_lib"))
        changed(package)
        for name in LIBRARY:
            shutil.copy(ROOT / name, copy)
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        pip = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, copy]
        subprocess.run(pip, check=True)
    [built] = folder.glob("course_lib-*.whl")
    return built


def read_by(notebook: nbformat.NotebookNode) -> list[Path]:
    """The measurements that a lesson reads: those its code names, and its claims' replications."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    shipped = sorted((NOTEBOOKS / REPLICATIONS.parent).iterdir())
    return [path for path in shipped if path.stem in code or path.name == REPLICATIONS.name]


def packed(library: Path, results: list[Path]) -> str:
    """A wheel and measurements as one text."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
        files.write(library, library.name)
        for path in results:
            files.write(path, path.relative_to(NOTEBOOKS))
    return textwrap.fill(base64.b64encode(archive.getvalue()).decode(), 100)


def alone(text: str, repository: str) -> str:
    """Markdown without the files beside it: pictures are in it, links lead to the repository."""

    def replaced(link: re.Match) -> str:
        picture, words, file, anchor = link.groups()
        if picture:
            data = base64.b64encode((NOTEBOOKS / file).read_bytes()).decode()
            return f"![{words}](data:{mimetypes.guess_type(file)[0]};base64,{data})"
        if repository == stamp.PLACEHOLDER:
            return words
        return f"[{words}]({repository}/blob/{stamp.edition(ROOT)}/notebooks/{file}{anchor or ''})"

    return LINK.sub(replaced, text)


def single_file(path: Path, library: Path) -> nbformat.NotebookNode:
    """A lesson that needs no other file."""
    notebook = nbformat.read(path, as_version=4)
    repository = stamp.address(ROOT)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = alone(cell.source, repository)
    cell = (ROOT / "tools" / "carried_cell.py").read_text().rstrip("\n")
    carried = packed(library, read_by(notebook))
    second = notebook.cells[1]
    second.source = cell.replace("CARRIED", carried)
    second.metadata["tags"] = [FOLDED]
    normalise(notebook)
    return notebook


def write(paths: list[Path], folder: Path, **wheel_options: Callable) -> None:
    """Write the lessons' single files to a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with TemporaryDirectory() as place:
        library = wheel(Path(place), **wheel_options)
        for path in paths:
            nbformat.write(single_file(path, library), folder / path.name)
            size = (folder / path.name).stat().st_size / 1e6
            print(f"{os.path.relpath(folder / path.name)}: {size:.1f} MB")


if __name__ == "__main__":
    write(list(map(Path, sys.argv[1:])), ROOT / "build" / "colab")
