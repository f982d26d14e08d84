"""Execute lessons headless and print a table: lesson, minutes, peak memory, claims measured.

The executed notebooks and their HTML pages go to build/. With --write the notebooks are executed
in place instead, in the form in which they are committed: no trace of the run but its results.
A lesson that fails, or needs more than 2 GiB, does not stop the others; it is named at the end.
"""

import argparse
import copy
import hashlib
import re
import shutil
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import nbformat
import psutil
from jinja2 import DictLoader
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

from claims_page import claims_of
from course_lib.explorers import animate

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_SECONDS = 600
MOST_MEMORY = 2_048  # MiB, of a lesson's kernel and the processes that it starts
SAMPLED = 0.5  # seconds from one look at the memory to the next
FOLDED = "hide-input"  # the tag of a cell whose code is folded away, as Jupyter Book has it
# Jupyter's own page template folds no cell, leaves out the alternative text of images, and cuts
# code and outputs that are wider than the window instead of letting them scroll.
PAGE = """\
{% extends "lab/index.html.j2" %}
{% block html_head_css %}
{{ super() }}
<style>main .highlight pre, main .jp-OutputArea-child { overflow-x: auto; }</style>
{% endblock %}
{% block input_group scoped %}
{% if "hide-input" in cell.metadata.get("tags", []) %}
<details><summary>Set-up or drawing code</summary>{{ super() }}</details>
{% else %}{{ super() }}{% endif %}
{% endblock %}
{% block data_png scoped %}
<div class="jp-RenderedImage jp-OutputArea-output {{ extra_class }}">
<img alt="{{ output | get_metadata("alt", "image/png") | escape_html }}"
     src="data:image/png;base64,{{ output.data["image/png"] | escape_html }}">
</div>
{% endblock %}
"""
LINK = re.compile(r'href="([\w-]+)\.(?:ipynb|md)(#[^"]*)?"')
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "name": "python",
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "pygments_lexer": "ipython3",
    },
}


class Memory:
    """The most memory that this process's children, a kernel and its own, held at one time.

    Pages that several of them share count once where the system tells (Linux), else once for each.
    """

    def __enter__(self) -> "Memory":
        self.peak = 0  # MiB; 0 where nothing was seen
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLED):
            children = psutil.Process().children(recursive=True)
            self.peak = max(self.peak, sum(map(held, children)) >> 20)


def held(process: psutil.Process) -> int:
    """The bytes that a process holds; 0 if it has just ended."""
    try:
        memory = process.memory_full_info()
    except psutil.Error:
        return 0
    return getattr(memory, "pss", memory.rss)


def execute(notebook: nbformat.NotebookNode, folder: Path) -> str:
    """Execute all cells in `folder`; return what went wrong and in which cell, "" if nothing."""
    position = 0

    def remember(cell, cell_index):
        nonlocal position
        position = cell_index

    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=CELL_SECONDS,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
        on_cell_start=remember,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        return f"cell {position + 1}: {error.ename}: {error.evalue}"
    except (CellTimeoutError, DeadKernelError) as error:
        return f"cell {position + 1}: {error}"
    return ""


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Take out what differs from run to run: timings, widgets, the Python at hand, random ids.

    Of a cell's metadata the tags stay, and what folds a cell so tagged in JupyterLab and on Colab.
    """
    notebook.metadata = nbformat.from_dict(METADATA)
    seen = Counter()
    for cell in notebook.cells:
        seen[cell.source] += 1
        text = f"{cell.source}{seen[cell.source]}"
        cell.id = hashlib.sha256(text.encode()).hexdigest()[:8]
        cell.metadata = nbformat.from_dict(kept_metadata(cell.metadata.get("tags")))
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not passing(output)]
            for output in cell.outputs:
                if output.output_type == "error":  # the way to it leads through this machine
                    output.traceback = [f"{output.ename}: {output.evalue}"]


def kept_metadata(tags: list[str] | None) -> dict:
    """The metadata with which a cell is committed."""
    folds = {"jupyter": {"source_hidden": True}, "cellView": "form"}
    return {**({"tags": tags} if tags else {}), **(folds if FOLDED in (tags or ()) else {})}


def passing(output: nbformat.NotebookNode) -> bool:
    """Tell whether an output means nothing without the kernel that made it."""
    return WIDGET in output.get("data", {}) or output.get("text") == ""


def traces(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what a committed notebook must not contain: paths of this machine, warnings."""
    homes = [str(path) for path in (ROOT, Path.home()) if len(path.parts) > 1]
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", ()):
            text = text_of(output)
            found += [f"cell {number} shows the path {home}" for home in homes if home in text]
            if output.get("name") == "stderr":
                found.append(f"cell {number} writes to stderr: {text}")
    return found


def text_of(output: nbformat.NotebookNode) -> str:
    """Return all that an output says in characters; images are left out."""
    data = output.get("data", {})
    texts = [str(data[kind]) for kind in data if "image" not in kind]
    return "".join([output.get("text", ""), *output.get("traceback", []), *texts])


def write_page(notebook: nbformat.NotebookNode, name: str) -> None:
    """Write a notebook's HTML page to build/, its links leading to other pages."""
    exporter = HTMLExporter(
        template_file="lesson.html.j2", extra_loaders=[DictLoader({"lesson.html.j2": PAGE})]
    )
    moving = copy.deepcopy(notebook)
    animate(moving)
    page, _ = exporter.from_notebook_node(moving, {"metadata": {"name": name}})
    (BUILD / f"{name}.html").write_text(LINK.sub(r'href="\1.html\2"', page))


def write_executed(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write the executed notebook, its HTML page, the glossary's and the figures to build/."""
    BUILD.mkdir(exist_ok=True)
    if (figures := path.with_name("figures")).exists():
        shutil.copytree(figures, BUILD / "figures", dirs_exist_ok=True)
    normalise(notebook)
    nbformat.write(notebook, BUILD / path.name)
    write_page(notebook, path.stem)
    glossary = path.with_name("glossary.md")
    if glossary.exists():
        cell = nbformat.v4.new_markdown_cell(glossary.read_text())
        write_page(nbformat.v4.new_notebook(cells=[cell]), glossary.stem)


def write_in_place(notebook: nbformat.NotebookNode, path: Path) -> str:
    """Write the notebook as it is committed; return what keeps it from being written, or ""."""
    normalise(notebook)
    found = traces(notebook)
    if not found:
        nbformat.write(notebook, path)
    return "; ".join(found)


def main(paths: list[Path], write: bool) -> int:
    """Execute the notebooks one after the other; return the number that failed."""
    rows, failures = [], []
    for count, path in enumerate(paths, 1):
        print(f"Executing lesson {count} of {len(paths)}: {path.stem} ...", flush=True)
        row, failure = validated(path, write)
        rows.append(row)
        failures += [f"{path.stem}, {failure}"] if failure else []
    print("\n" + line("lesson", "minutes", "peak MiB", "claims measured"), *rows, sep="\n")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return len(failures)


def validated(path: Path, write: bool) -> tuple[str, str]:
    """Execute one notebook and write it; return its row of the table and what went wrong."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    with Memory() as memory:
        failure = execute(notebook, path.parent)
    minutes = (time.perf_counter() - start) / 60
    if not failure and memory.peak > MOST_MEMORY:
        failure = f"it needed {memory.peak:,} MiB of memory, more than {MOST_MEMORY:,}"
    if not write:
        write_executed(notebook, path)
    elif not failure:
        failure = write_in_place(notebook, path)
    claims = len(list(claims_of(notebook)))
    peak = f"{memory.peak:,}" if memory.peak else "-"
    return line(path.stem, f"{minutes:.1f}", peak, claims), failure


def line(lesson: str, minutes: str, peak: str, claims: object) -> str:
    """A row of the table."""
    return f"{lesson:<40}{minutes:>8}{peak:>10}{claims:>17}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="execute the notebooks in place")
    parser.add_argument("notebooks", nargs="+", type=Path)
    given = parser.parse_args()
    sys.exit(1 if main(given.notebooks, given.write) else 0)
