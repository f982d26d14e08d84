"""Lessons as single files: what they carry, and that they run where nothing else is."""

import base64
import io
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import colab
import stamp

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
RELATIVE = re.compile(r"\]\((?!https?:|data:|#)[^)]*\)")
READS = "import pandas\nseconds = pandas.read_csv('results/lenet5_seconds.csv', comment='#')"
MADE_UP = [
    new_markdown_cell("# Lesson 3\n\nAfter [lesson 1](01_a.ipynb): a ![Ball](figures/ball.gif)."),
    new_code_cell("1"),
    new_code_cell(READS),
    new_code_cell("print(len(seconds))"),
    new_code_cell("from course_lib.exercises import lesson_03\nlesson_03.q1.check('updates')"),
    new_code_cell("lesson_03.q1.solution()"),
    new_code_cell(
        "from course_lib import MLP, Digits, fit\n"
        "run = fit(MLP, Digits(), batch_size=64, seeds=8, lr=0.1, max_epochs=1, progress=False)\n"
        "from course_lib.claims.registry import replicated\n"
        "print(run.history.seed.nunique(), replicated('3.1'))"
    ),
    new_code_cell(
        "import altair\n"
        "from course_lib.explorers import explore\n"
        "explore(altair.Chart(altair.sequence(3)).mark_point().encode(x='data:Q'), 'Three points')"
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The wheel that files carry."""
    return colab.wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def lesson(tmp_path):
    """A short lesson that reads a shipped table and shows a picture."""
    nbformat.write(new_notebook(cells=MADE_UP), tmp_path / "03_made_up.ipynb")
    return tmp_path / "03_made_up.ipynb"


def carried(notebook):
    """The files in a notebook's set-up cell."""
    text = re.search(r'carried = """\n(.*?)"""', notebook.cells[1].source, re.DOTALL)[1]
    return zipfile.ZipFile(io.BytesIO(base64.b64decode(text)))


def test_the_library_is_built_from_the_sources_alone(library):
    files = {name for name in zipfile.ZipFile(library).namelist() if "dist-info" not in name}
    sources = {path.relative_to(ROOT) for path in (ROOT / "course_lib").rglob("*.py")}
    sources |= {path.relative_to(ROOT) for path in (ROOT / "course_lib").rglob("*.toml")}
    assert files == {path.as_posix() for path in sources}


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_keeps_all_but_what_leads_to_other_files(path, library):
    before, notebook = nbformat.read(path, as_version=4), colab.single_file(path, library)
    nbformat.validate(notebook)
    assert len(notebook.cells) == len(before.cells)
    for old, new in zip(before.cells, notebook.cells, strict=True):
        if old.cell_type == "markdown":
            assert not RELATIVE.search(new.source)
        else:
            assert new.outputs == old.outputs
            assert new is notebook.cells[1] or new.source == old.source


def test_a_lesson_carries_the_measurements_that_it_reads(lesson, library):
    names = set(carried(colab.single_file(lesson, library)).namelist())
    assert names == {library.name, "results/lenet5_seconds.csv", "results/replication.csv"}


def test_pictures_are_in_the_text_and_links_are_words(lesson, library):
    text = colab.single_file(lesson, library).cells[0].source
    picture = base64.b64encode((ROOT / "notebooks/figures/ball.gif").read_bytes()).decode()
    assert text == f"# Lesson 3\n\nAfter lesson 1: a ![Ball](data:image/gif;base64,{picture})."


def test_links_lead_to_the_repository_where_there_is_one():
    text = "[A](glossary.md#a), [B](02_b.ipynb), [C](https://c.org) and [D](#d)"
    place = f"https://github.com/ada/course/blob/{stamp.edition(ROOT)}/notebooks"
    moved = f"[A]({place}/glossary.md#a), [B]({place}/02_b.ipynb), [C](https://c.org) and [D](#d)"
    assert colab.alone(text, "https://github.com/ada/course") == moved


def execute(folder, python, *cells, **environment):
    """Run code in an empty folder."""
    (folder / "lesson.py").write_text("\n".join(cells))
    (folder / "content").mkdir()
    return subprocess.run(
        [python, folder / "lesson.py"],
        cwd=folder / "content",
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_file_alone_runs_to_its_end(lesson, library, tmp_path, colab_stub, bare_python):
    notebook = colab.single_file(lesson, library)
    offline = {"PIP_NO_INDEX": "1", "PYTHONPATH": str(colab_stub)}
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    done = execute(tmp_path, bare_python, "import google.colab", *code, **offline)
    assert done.returncode == 0, done.stderr
    kept = f"torch=={version('torch')}, numpy=={version('numpy')}"
    lines = done.stdout.splitlines()
    assert lines[0] == f"Installed course_lib from this file; kept {kept}."
    assert lines[1].startswith("The lesson trains on the CPU, which is enough; this machine has ")
    assert lines[2].isdecimal() and lines[3].startswith("**Right.**")
    assert lines[4].startswith("**Solution.**") and lines[5] == "8 20 of 20"
    assert lines[6].startswith("<IPython") or "Three points" in lines[6]
    assert {path.name for path in (tmp_path / "content").iterdir()} == {"results"}
    ask = [bare_python, "-c", "import course_lib.models; print(course_lib.__file__)"]
    place = subprocess.run(ask, cwd=tmp_path, capture_output=True, text=True).stdout
    assert place.startswith(str(tmp_path / "venv"))


@pytest.mark.slow
def test_where_the_library_is_nothing_is_installed_or_overwritten(lesson, library, tmp_path):
    cell = colab.single_file(lesson, library).cells[1].source
    ours = "from pathlib import Path\nPath('results').mkdir()\n"
    ours += "Path('results/replication.csv').write_text('ours')"
    done = execute(tmp_path, sys.executable, ours, cell)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 and "Installed" not in done.stdout
    results = tmp_path / "content/results"
    assert (results / "replication.csv").read_text() == "ours"
    assert (results / "lenet5_seconds.csv").exists()


@pytest.mark.slow
def test_a_failed_installation_is_one_sentence(lesson, library, tmp_path, bare_python):
    cell = colab.single_file(lesson, library).cells[1].source
    broken = cell.replace("str(wheel), *kept", '"no-such-package"')
    done = execute(tmp_path, bare_python, broken, PIP_NO_INDEX="1")
    assert done.returncode == 1
    assert "Stop: course_lib could not be installed. pip says: ERROR" in done.stderr
