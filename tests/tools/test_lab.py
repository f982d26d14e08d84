"""Copies of the lessons: made once, never changed, with all that they show beside them."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import lab


@pytest.fixture
def notebooks(tmp_path):
    """A course of one lesson, with a table and a glossary."""
    folder = tmp_path / "notebooks"
    (folder / "results").mkdir(parents=True)
    (folder / "results/table.csv").write_text("1")
    (folder / "glossary.md").write_text("old")
    (folder / ".ipynb_checkpoints").mkdir()
    write(folder / "01_one.ipynb", "print(42)")
    return folder


def write(path, code):
    cell = new_code_cell(code, outputs=[new_output("stream", text="42")], execution_count=1)
    nbformat.write(new_notebook(cells=[new_markdown_cell("# One"), cell]), path)


def test_copies_have_no_outputs_and_all_that_lessons_read(notebooks, tmp_path):
    assert lab.copy_all(notebooks, tmp_path / "mine") == []
    names = {path.name for path in (tmp_path / "mine").rglob("*")}
    assert names == {"01_one.ipynb", "glossary.md", "results", "table.csv"}
    cell = nbformat.read(tmp_path / "mine/01_one.ipynb", as_version=4).cells[1]
    assert (cell.source, cell.outputs, cell.execution_count) == ("print(42)", [], None)
    assert nbformat.read(notebooks / "01_one.ipynb", as_version=4).cells[1].outputs


def test_a_copy_is_left_alone_and_what_lies_beside_is_renewed(notebooks, tmp_path):
    lab.copy_all(notebooks, tmp_path / "mine")
    copy = tmp_path / "mine/01_one.ipynb"
    changed = nbformat.read(copy, as_version=4)
    changed.cells[1].source = "mine"
    nbformat.write(changed, copy)
    before = copy.read_bytes()
    (notebooks / "glossary.md").write_text("new")
    assert lab.copy_all(notebooks, tmp_path / "mine") == []
    assert copy.read_bytes() == before
    assert (tmp_path / "mine/glossary.md").read_text() == "new"


def test_a_lesson_that_has_changed_since_is_named(notebooks, tmp_path):
    lab.copy_all(notebooks, tmp_path / "mine")
    write(notebooks / "01_one.ipynb", "print(43)")
    assert lab.copy_all(notebooks, tmp_path / "mine") == ["01_one.ipynb"]
    assert "42" in (tmp_path / "mine/01_one.ipynb").read_text()
    (tmp_path / "mine/01_one.ipynb").unlink()
    assert lab.copy_all(notebooks, tmp_path / "mine") == []
    assert "43" in (tmp_path / "mine/01_one.ipynb").read_text()


def test_copies_are_ignored_by_git():
    assert "/my-lessons/" in (lab.ROOT / ".gitignore").read_text().splitlines()
