"""tools/lessons.py: lessons are executed headless, and what fails is named."""

import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import lessons

CLAIM = '{"text/plain": "Claim", "application/vnd.course.claim+json": {"number": "1.1"}}'
GOOD = f"from IPython.display import display\ndisplay({CLAIM}, raw=True)"
FIGURE = """\
from IPython.display import display
display({"image/png": b"A"}, metadata={"image/png": {"alt": "A line that falls"}}, raw=True)"""
WIDGET = """\
from IPython.display import display
display({"application/vnd.jupyter.widget-view+json": {"model_id": id(display)}}, raw=True)"""


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A function that writes a notebook with these code cells; build/ lies beside it."""
    monkeypatch.setattr(lessons, "BUILD", tmp_path / "build")
    monkeypatch.setattr(lessons, "CELL_SECONDS", 60)

    def write(name, *sources):
        cells = [new_code_cell(source) for source in sources]
        nbformat.write(new_notebook(cells=cells), tmp_path / name)
        return tmp_path / name

    return write


def test_a_lesson_that_fails_is_named_and_stops_no_other(notebook, tmp_path, capsys):
    bad, good = notebook("1_bad.ipynb", "1", "1 / 0"), notebook("2_good.ipynb", GOOD, "6 * 7")
    assert lessons.main([bad, good], write=False) == 1
    table, failed = capsys.readouterr()
    assert table.startswith("Executing lesson 1 of 2: 1_bad ...\nExecuting lesson 2 of 2: 2_good")
    rows = [line.split() for line in table.splitlines()[-2:]]
    assert [(row[0], row[-1]) for row in rows] == [("1_bad", "0"), ("2_good", "1")]
    assert all(len(row) == 4 for row in rows)  # and minutes and memory between
    assert failed == "FAILED: 1_bad, cell 2: ZeroDivisionError: division by zero\n"
    assert nbformat.read(tmp_path / "build/2_good.ipynb", 4).cells[1].outputs
    assert "42" in (tmp_path / "build/2_good.html").read_text()


HOLDS = "import time; content = bytearray(300 << 20); time.sleep(60)"
STARTS = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@pytest.mark.slow
def test_memory_counts_a_kernel_and_the_processes_that_it_starts():
    with lessons.Memory() as memory:
        kernel = subprocess.Popen([sys.executable, "-c", STARTS, HOLDS])
        deadline = time.monotonic() + 30
        while memory.peak < 300 and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in [*lessons.psutil.Process(kernel.pid).children(), kernel]:
            process.kill()
        kernel.wait()
    assert 300 <= memory.peak < 450


def test_a_lesson_that_needs_too_much_memory_fails(notebook, monkeypatch, capsys):
    monkeypatch.setattr(lessons, "held", lambda process: 3_000 << 20)
    monkeypatch.setattr(lessons, "SAMPLED", 0.01)
    assert lessons.main([notebook("1.ipynb", "1")], write=False) == 1
    table, failed = capsys.readouterr()
    assert "peak MiB" in table.splitlines()[-2]
    peak = table.splitlines()[-1].split()[2]
    assert failed == f"FAILED: 1, it needed {peak} MiB of memory, more than 2,048\n"


def test_memory_that_nobody_saw_is_a_dash(notebook, monkeypatch, capsys):
    monkeypatch.setattr(lessons, "SAMPLED", 60)
    assert lessons.main([notebook("1.ipynb", "1")], write=False) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[2] == "-"


def test_a_process_that_has_ended_holds_nothing():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    process = lessons.psutil.Process(ended.pid)
    ended.wait()
    assert lessons.held(process) == 0


def test_a_cell_so_tagged_is_folded_everywhere(notebook, tmp_path):
    path = notebook("1.ipynb", "6 * 7", "7 * 9")
    asked = nbformat.read(path, as_version=4)
    asked.cells[0].metadata = nbformat.from_dict({"tags": ["hide-input"], "other": 1})
    nbformat.write(asked, path)
    assert lessons.main([path], write=True) == 0
    folded, plain = nbformat.read(path, as_version=4).cells
    assert folded.metadata == {
        "tags": ["hide-input"],
        "jupyter": {"source_hidden": True},
        "cellView": "form",
    }
    assert plain.metadata == {}
    lessons.main([path], write=False)
    page = (tmp_path / "build/1.html").read_text()
    assert page.count("<details><summary>Set-up or drawing code</summary>") == 1


def test_the_page_keeps_the_alternative_text_of_a_figure(notebook, tmp_path):
    assert lessons.main([notebook("1.ipynb", FIGURE)], write=False) == 0
    assert 'alt="A line that falls"' in (tmp_path / "build/1.html").read_text()


def test_links_lead_from_page_to_page(notebook, tmp_path):
    path = notebook("1.ipynb", "1")
    text = "[epoch](glossary.md#epoch), [lesson 2](2.ipynb), [paper](https://arxiv.org/abs/1.md)"
    nbformat.write(new_notebook(cells=[new_markdown_cell(text)]), path)
    (tmp_path / "glossary.md").write_text('<a id="epoch"></a>')
    lessons.main([path], write=False)
    page = (tmp_path / "build/1.html").read_text()
    for link in ("glossary.html#epoch", "2.html", "https://arxiv.org/abs/1.md"):
        assert f'href="{link}"' in page
    assert 'id="epoch"' in (tmp_path / "build/glossary.html").read_text()


def test_a_cell_that_fails_on_purpose_shows_its_message_alone(notebook):
    path = notebook("1.ipynb", "import json\njson.loads('?')", "6 * 7")
    asked = nbformat.read(path, as_version=4)
    asked.cells[0].metadata["tags"] = ["raises-exception"]
    nbformat.write(asked, path)
    assert lessons.main([path], write=True) == 0
    failing, after = nbformat.read(path, as_version=4).cells
    [error] = failing.outputs
    assert error.traceback == [f"JSONDecodeError: {error.evalue}"]
    assert after.outputs


def test_a_kernel_that_dies_is_named(notebook, capsys):
    assert lessons.main([notebook("1.ipynb", "import os", "os._exit(1)")], write=False) == 1
    assert "FAILED: 1, cell 2: " in capsys.readouterr().err


def test_writing_in_place_twice_gives_the_same_file(notebook):
    path = notebook("1.ipynb", "6 * 7", WIDGET, "6 * 7")
    assert lessons.main([path], write=True) == 0
    first = path.read_text()
    assert lessons.main([path], write=True) == 0
    assert path.read_text() == first
    assert '"42"' in first and first.count("widget-view") == 1  # in the code alone


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("from pathlib import Path\nPath.home()", "cell 1 shows the path"),
        ("import warnings\nwarnings.warn('Oh')", "cell 1 writes to stderr: "),
    ],
)
def test_what_must_not_be_committed_is_not_written(notebook, capsys, source, reason):
    path = notebook("1.ipynb", source)
    before = path.read_text()
    assert lessons.main([path], write=True) == 1
    assert f"FAILED: 1, {reason}" in capsys.readouterr().err
    assert path.read_text() == before


def test_figures_lie_beside_the_pages_that_show_them(notebook, tmp_path):
    path = notebook("1.ipynb", "1")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/ball.gif").write_bytes(b"GIF")
    lessons.main([path], write=False)
    assert (tmp_path / "build/figures/ball.gif").read_bytes() == b"GIF"
