"""The repository's address: read from a remote, written everywhere, used by the set-up cell."""

import copy
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import lessons
import stamp

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
GITHUB = "https://github.com/ada/course"
FOLDED = {"tags": ["hide-input"], "jupyter": {"source_hidden": True}, "cellView": "form"}


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:ada/course.git", GITHUB),
        ("ssh://git@github.com/ada/course.git", GITHUB),
        ("ssh://git@github.com:22/ada/course", GITHUB),
        ("https://github.com/ada/course.git", GITHUB),
        ("https://github.com/ada/course/", GITHUB),
        ("https://ada:secret@github.com/ada/course.git", GITHUB),
        ("git@gitlab.com:group/part/course.git", "https://gitlab.com/group/part/course"),
        ("http://localhost:3000/ada/course.git", "http://localhost:3000/ada/course"),
        ("file:///srv/course.git", "file://localhost/srv/course.git"),
        ("file://localhost/srv/course", "file://localhost/srv/course"),
        (str(ROOT), ROOT.as_uri().replace("file:///", "file://localhost/")),
    ],
)
def test_remotes_become_addresses(remote, address):
    assert stamp.normalised(remote) == address


@pytest.mark.parametrize("remote", ["", "course", "github.com/ada/course", "/no/such/folder"])
def test_what_is_no_address_is_refused(remote):
    with pytest.raises(ValueError, match="REPOSITORY"):
        stamp.normalised(remote)


def test_a_folder_without_origin_is_refused(tmp_path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    with pytest.raises(ValueError, match="REPOSITORY=<address>"):
        stamp.origin(tmp_path)


def test_the_address_is_the_same_everywhere():
    repository = stamp.address(ROOT)
    readme = (ROOT / "README.md").read_text()
    assert stamp.relinked(readme, repository) == readme
    for path in LESSONS:
        cells = nbformat.read(path, as_version=4).cells
        badges = [found[0] for found in stamp.LINK.finditer(cells[0].source)]
        assert badges == list(filter(None, [stamp.badge(repository, path.name)]))
        assert cells[1].source == stamp.setup_cell(repository)
        assert cells[1].metadata == FOLDED


@pytest.fixture
def course(tmp_path):
    """A small course: pyproject.toml, a README that links one lesson, the lesson."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    text = f"Clone {stamp.address(ROOT)}.\n\n| One | [open](notebooks/01_one.ipynb) |\n"
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "notebooks").mkdir()
    first = nbformat.v4.new_markdown_cell("# One\n\nWhat is one?")
    notebook = nbformat.v4.new_notebook(cells=[first, nbformat.v4.new_code_cell("1 + 1")])
    nbformat.write(notebook, tmp_path / "notebooks/01_one.ipynb")
    return tmp_path


def content(course):
    """README and cells of the small course."""
    notebook = nbformat.read(course / "notebooks/01_one.ipynb", as_version=4)
    return (course / "README.md").read_text(), [cell.source for cell in notebook.cells]


def test_a_github_address_reaches_every_place(course):
    stamp.stamp(course, GITHUB)
    readme, cells = content(course)
    badge = stamp.badge(GITHUB, "01_one.ipynb")
    assert "colab.research.google.com/github/ada/course/blob/main/notebooks/01_one.ipynb" in badge
    assert stamp.address(course) == GITHUB
    assert readme == f"Clone {GITHUB}.\n\n| One | {badge} |\n"
    assert cells[0] == f"# One\n\n{badge}\n\nWhat is one?"
    assert f'repository, edition = "{GITHUB}", "' in cells[1]
    assert cells[2] == "1 + 1"


def test_stamping_again_changes_nothing(course):
    stamp.stamp(course, GITHUB)
    before = content(course)
    stamp.stamp(course, GITHUB)
    assert content(course) == before


def test_the_set_up_cell_is_folded_and_its_first_line_is_what_colab_shows(course):
    stamp.stamp(course, GITHUB)
    cell = nbformat.read(course / "notebooks/01_one.ipynb", as_version=4).cells[1]
    assert cell.metadata == FOLDED
    assert cell.source.startswith("# @title Set-up: ")


def test_a_stamped_lesson_is_in_the_form_that_is_committed(course):
    stamp.stamp(course, GITHUB)
    notebook = nbformat.read(course / "notebooks/01_one.ipynb", as_version=4)
    committed = copy.deepcopy(notebook)
    lessons.normalise(committed)
    assert committed == notebook


@pytest.mark.parametrize("other", ["https://gitlab.com/ada/course", stamp.PLACEHOLDER])
def test_badges_go_where_colab_cannot_follow(course, other):
    stamp.stamp(course, GITHUB)
    stamp.stamp(course, other)
    readme, cells = content(course)
    assert readme == f"Clone {other}.\n\n| One | [open](notebooks/01_one.ipynb) |\n"
    assert cells == ["# One\n\nWhat is one?", stamp.setup_cell(other), "1 + 1"]


def run_cell(repository, folder, python=sys.executable, commit="HEAD", **environment):
    """Run the set-up cell in an empty folder, as a notebook that lies there alone would."""
    folder.mkdir()
    return subprocess.run(
        [python, "-c", stamp.setup_cell(repository, commit)],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def git(folder, *command):
    """Run git in a folder; return what it says."""
    author = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
    done = subprocess.run(
        ["git", *author, *command], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A local git repository with the library and a table; the newest commit has neither."""
    folder = tmp_path / "repository"
    shutil.copytree(ROOT / "course_lib", folder / "course_lib")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "notebooks/results").mkdir(parents=True)
    (folder / "notebooks/results/table.csv").write_text("1")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "course")
    stamp.stamp(folder, stamp.normalised(str(folder)))
    git(folder, "rm", "-rq", "--force", "course_lib", "notebooks")
    git(folder, "commit", "-qm", "later")
    return folder


def test_the_commit_that_is_stamped_is_the_one_checked_out(repository):
    assert stamp.edition(repository) == git(repository, "rev-parse", "HEAD~1")


def test_without_an_address_there_is_no_commit_to_install(repository):
    stamp.stamp(repository, stamp.PLACEHOLDER)
    assert stamp.edition(repository) == "HEAD"


def test_stamping_leaves_outputs_alone(course):
    path = course / "notebooks/01_one.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="2")]
    nbformat.write(notebook, path)
    stamp.stamp(course, GITHUB)
    assert nbformat.read(path, as_version=4).cells[2].outputs[0].text == "2"


def test_where_the_library_is_the_cell_does_nothing(tmp_path):
    done = run_cell(GITHUB, tmp_path / "empty")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_with_another_kernel_the_cell_says_which_to_choose(tmp_path, bare_python):
    done = run_cell(GITHUB, tmp_path / "empty", bare_python)
    assert done.returncode == 1
    assert "Stop: course_lib is not installed here: choose the kernel" in done.stderr


def test_unstamped_on_colab_the_cell_says_what_to_do(tmp_path, colab_stub, bare_python):
    done = run_cell(stamp.PLACEHOLDER, tmp_path / "empty", bare_python, PYTHONPATH=str(colab_stub))
    assert done.returncode == 1
    assert "or take this lesson from `make colab`" in done.stderr.splitlines()[-1]


def test_of_a_set_up_that_fails_a_notebook_shows_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    cell = stamp.setup_cell(GITHUB).replace('"course_lib")', '"no_such_library")')
    shell.run_cell(cell)
    InteractiveShell.clear_instance()
    [line] = capsys.readouterr().out.strip().splitlines()
    assert line.startswith("course_lib is not installed here")


def test_a_wrong_address_on_colab_is_named(tmp_path, colab_stub, bare_python):
    wrong = (tmp_path / "nowhere").as_uri()
    done = run_cell(wrong, tmp_path / "empty", bare_python, PYTHONPATH=str(colab_stub))
    assert done.returncode == 1
    assert f"course_lib was not installed from {wrong}" in done.stderr


@pytest.mark.slow
def test_stamped_on_colab_the_cell_installs_what_was_stamped(
    tmp_path, colab_stub, bare_python, repository
):
    # Everything needed is there, setuptools too, so that the test does without the network.
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PYTHONPATH": str(colab_stub)}
    address, commit = stamp.address(repository), stamp.edition(repository)
    done = run_cell(address, tmp_path / "empty", bare_python, commit, **offline)
    assert done.returncode == 0, done.stderr
    kept = f"torch=={version('torch')}, numpy=={version('numpy')}"
    first, second = done.stdout.splitlines()
    assert first == f"Installed course_lib from {stamp.clonable(address)}; kept {kept}."
    assert second.startswith("The lesson trains on the CPU, which is enough; this machine has ")
    assert (tmp_path / "empty/results/table.csv").read_text() == "1"
    ask = [bare_python, "-c", "import course_lib.models; print(course_lib.__file__)"]
    place = subprocess.run(ask, cwd=tmp_path / "empty", capture_output=True, text=True).stdout
    assert place.startswith(str(tmp_path / "venv"))
