"""Student copies: nothing is shown yet, and no solution is in them."""

import base64
import io
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import handout

ROOT = Path(__file__).parents[2]
LOOK = """
from course_lib.exercises import lesson_03
q1 = lesson_03.q1
print(q1.verdict("updates").correct, q1.verdict("epochs").correct)
q1.solution()
q1.hint()
"""


@pytest.mark.slow
def test_questions_check_and_hint_but_do_not_tell(tmp_path):
    shutil.copytree(ROOT / "course_lib", tmp_path / "course_lib")
    handout.without_solutions(tmp_path / "course_lib")
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, '.')\n{LOOK}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["True False", f"**Solution.** {handout.WITHHELD}"], done.stderr
    assert lines[2].startswith("**Hint 1 of")


def test_all_lessons_lose_their_solutions(tmp_path):
    shutil.copytree(ROOT / "course_lib", tmp_path / "course_lib")
    before = [path.read_text() for path in (ROOT / "course_lib/exercises").glob("lesson_*.py")]
    handout.without_solutions(tmp_path / "course_lib")
    after = [path.read_text() for path in (tmp_path / "course_lib/exercises").glob("lesson_*.py")]
    assert sum(text.count("    answer=") for text in before) > 30
    assert sum(text.count(handout.WITHHELD) for text in after) == sum(
        text.count("Question(\n") for text in before
    )


@pytest.mark.slow
def test_a_handout_is_a_single_file_without_outputs(tmp_path):
    shown = [new_output("stream", text="42")]
    cells = [new_markdown_cell("# One"), *[new_code_cell("42", outputs=shown) for _ in range(2)]]
    nbformat.write(new_notebook(cells=cells), tmp_path / "01_one.ipynb")
    handout.write([tmp_path / "01_one.ipynb"], tmp_path / "out")
    [path] = (tmp_path / "out").iterdir()
    notebook = nbformat.read(path, as_version=4)
    assert [cell.get("outputs") for cell in notebook.cells] == [None, [], []]
    text = re.search(r'carried = """\n(.*?)"""', notebook.cells[1].source, re.DOTALL)[1]
    files = zipfile.ZipFile(io.BytesIO(base64.b64decode(text)))
    [wheel] = [name for name in files.namelist() if name.endswith(".whl")]
    library = zipfile.ZipFile(io.BytesIO(files.read(wheel)))
    assert handout.WITHHELD in library.read("course_lib/exercises/lesson_03.py").decode()
