"""Write the repository's address into pyproject.toml, README.md and every lesson.

The address stands in one place, [project.urls] of pyproject.toml, and beside it, in [tool.course],
the commit that was checked out, to which the lessons belong. From there both go into the
set-up cell (second cell) and the Colab badge (below the title) of every lesson, and into the
README. A lesson without set-up cell gets one. Colab opens notebooks from GitHub only: for an
address elsewhere, and before the first stamp, lessons carry no badge and the README links the
notebooks themselves.
"""

import argparse
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat

from lessons import FOLDED, normalise

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = "https://github.com/OWNER/batch-size-course"
LOCALHOST = "file://localhost/"
COLAB = "https://colab.research.google.com"
SETUP = ("# @title Set-up", "# Set-up.")  # how its first line begins, and began
LINK = re.compile(r"\[(?:!\[Open in Colab\]\([^)]*\)|open)\]\(\S*?([\w.-]+\.ipynb)\)")


def normalised(remote: str) -> str:
    """Return the address that pip and a browser understand, without user name or password.

    Accepted are `https://host/owner/name(.git)`, `git@host:owner/name.git`,
    `ssh://git@host:port/owner/name.git`, `file:///path` and the path of a folder; the last two
    become `file://localhost/path`, since setuptools takes no address without a host.
    Raises ValueError for anything else.
    """
    if remote.startswith(("file:///", LOCALHOST)):
        return clonable(remote).replace("file:///", LOCALHOST)
    if web := re.fullmatch(r"(https?://)(?:[^@/]+@)?([^/]+/.+?)(?:\.git)?/?", remote):
        return web[1] + web[2]
    if ssh := re.fullmatch(r"(?:ssh://)?[^@/]+@([^:/]+)(?::\d+)?[:/](.+/.+?)(?:\.git)?/?", remote):
        return f"https://{ssh[1]}/{ssh[2]}"
    if remote and Path(remote).is_dir():
        return normalised(Path(remote).resolve().as_uri())
    raise ValueError(
        f"REPOSITORY is {remote!r}, which is no repository's address. "
        "It looks like https://github.com/owner/name, git@github.com:owner/name.git or file:///path."
    )


def clonable(address: str) -> str:
    """Return the address as git takes it: a local one without a host."""
    return address.replace(LOCALHOST, "file:///")


def origin(root: Path) -> str:
    """Return the address of the git remote `origin`. Raises ValueError if there is none."""
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise ValueError("There is no git remote `origin`: say make stamp REPOSITORY=<address>.")
    return found.stdout.strip()


def address(root: Path) -> str:
    """Return the address that stands in pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


def edition(root: Path) -> str:
    """Return the commit to which the lessons belong, as it stands in pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text())["tool"]["course"]["edition"]


def head(root: Path) -> str:
    """Return the commit that is checked out; HEAD, which is whatever is newest, if none is."""
    command = ["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "HEAD"


def setup_cell(repository: str, commit: str | None = None) -> str:
    """Return the source of the lessons' second cell."""
    source = (ROOT / "tools" / "setup_cell.py").read_text().rstrip("\n")
    source = source.replace(PLACEHOLDER, clonable(repository))
    return source.replace('"HEAD"', f'"{commit or edition(ROOT)}"')


def badge(repository: str, notebook: str) -> str:
    """Return the Colab badge in Markdown; nothing where Colab cannot open the notebook."""
    place = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", repository)
    if not place or repository == PLACEHOLDER:
        return ""
    target = f"{COLAB}/github/{place[1]}/blob/main/notebooks/{notebook}"
    return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({target})"


def relinked(text: str, repository: str) -> str:
    """Return the README's text with every badge, or link in a badge's place, renewed."""
    return LINK.sub(lambda old: badge(repository, old[1]) or f"[open](notebooks/{old[1]})", text)


def stamp_notebook(path: Path, repository: str, commit: str) -> None:
    """Write badge and set-up cell, which is folded, into one lesson; its outputs stay."""
    notebook = nbformat.read(path, as_version=4)
    first, second = notebook.cells[:2]
    title, *rest = [part for part in first.source.split("\n\n") if not LINK.fullmatch(part)]
    first.source = "\n\n".join(filter(None, [title, badge(repository, path.name), *rest]))
    if not second.source.startswith(SETUP):
        second = nbformat.v4.new_code_cell()
        notebook.cells.insert(1, second)
    second.source = setup_cell(repository, commit)
    second.metadata["tags"] = [FOLDED]
    normalise(notebook)  # a cell's id goes with its source
    nbformat.write(notebook, path)


def stamp(root: Path, repository: str) -> list[Path]:
    """Write the address everywhere below `root`; return the files it stands in.

    With it goes the commit that is checked out: there Colab finds the course_lib and the
    measurements of these lessons, whatever is changed later.
    """
    project, readme = root / "pyproject.toml", root / "README.md"
    lessons = sorted((root / "notebooks").glob("[0-9]*.ipynb"))
    before, commit = address(root), "HEAD" if repository == PLACEHOLDER else head(root)
    text = project.read_text().replace(before, repository)
    project.write_text(text.replace(f'edition = "{edition(root)}"', f'edition = "{commit}"'))
    text = readme.read_text().replace(clonable(before), clonable(repository))
    readme.write_text(relinked(text, repository))
    for lesson in lessons:
        stamp_notebook(lesson, repository, commit)
    return [project, readme, *lessons]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository", nargs="?", help="default: the git remote origin")
    given = parser.parse_args().repository
    try:
        repository = normalised(given or origin(ROOT))
    except ValueError as error:
        parser.exit(1, f"{error}\n")
    for path in stamp(ROOT, repository):
        print(f"{path.relative_to(ROOT)}: {repository}")
