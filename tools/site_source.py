"""Lay out in one folder all that Sphinx needs to make the site: docs/ and the pages of notebooks/.

The lessons are taken as they are committed, and never executed. What they lack for a page is added
to the copy: ways to run them below the title, scripts for explorers, alternative text for images.
"""

import argparse
import io
import re
import shutil
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
from PIL import Image

import replicate
import stamp
from course_lib.claims.registry import registrations
from course_lib.explorers import STYLE, VEGA_LITE, bundle, html

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
SINGLES = ROOT / "build" / "colab"  # lessons that carry course_lib, where they have been made
ANCHOR = re.compile(r'<a id="([\w-]+)"></a>')  # Sphinx can find no link's end in HTML
OPENING = re.compile(r"# Lesson \d+\. (.*?)\n\n(?:\*\*Question\.\*\* )?(.*?)\n\n", re.DOTALL)
WIDE = 2.2  # times as wide as high: of two panels or more, too small for a phone
MINUTES = re.compile(r"(\d+) minutes")


def write(folder: Path) -> None:
    """Write the sources of the whole site into a folder, in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder)
    shutil.copytree(NOTEBOOKS / "figures", folder / "figures")
    (folder / "_static" / "explorers.js").write_text(bundle())
    for page in NOTEBOOKS.glob("*.md"):
        (folder / page.name).write_text(anchored(page.read_text()))
    lessons = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    for lesson in lessons:
        nbformat.write(paged(lesson, downloads(lesson, folder)), folder / lesson.name)
    (folder / "lessons.txt").write_text("".join(map(entry, lessons)))
    (folder / "replication.txt").write_text(replications(lessons))


def anchored(text: str) -> str:
    """Markdown with its anchors as Sphinx knows them."""
    return ANCHOR.sub(r"[]{#\1}", text)


def downloads(lesson: Path, folder: Path) -> str:
    """Copy what a reader may download of a lesson; return the line that offers it."""
    ways = [offered("Download the notebook", lesson, folder / "downloads" / "notebook")]
    single = SINGLES / lesson.name
    if single.exists() and single.stat().st_mtime >= lesson.stat().st_mtime:
        text = "Download it as a single file, with the course inside"
        ways.append(offered(text, single, folder / "downloads" / "single"))
    if badge := stamp.badge(stamp.address(ROOT), lesson.name):
        ways.insert(0, f"[Open in Colab]({badge.rpartition('(')[2]}")
    return " · ".join(ways)


def offered(text: str, file: Path, folder: Path) -> str:
    """Copy a file into a folder of the sources; return the link that downloads it."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, folder)
    return f"{{download}}`{text} <{folder.relative_to(folder.parents[1])}/{file.name}>`"


def paged(lesson: Path, ways: str) -> nbformat.NotebookNode:
    """Return a lesson as a page of the site has it."""
    notebook = nbformat.read(lesson, as_version=4)
    title, *rest = notebook.cells[0].source.split("\n\n")
    rest = [part for part in rest if not stamp.LINK.fullmatch(part)]  # its image is elsewhere
    notebook.cells[0].source = "\n\n".join([title, f"{{.ways}}\n{ways}", *rest])
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = anchored(cell.source)
        for output in cell.get("outputs", ()):
            complete(cell, output)
    return notebook


def complete(cell: nbformat.NotebookNode, output: nbformat.NotebookNode) -> None:
    """Make an explorer move; tell an image's alternative text, and whether it is wide."""
    data = output.get("data", {})
    if VEGA_LITE in data:
        data["text/html"] = STYLE + html(data[VEGA_LITE])
    elif alt := output.get("metadata", {}).get("image/png", {}).get("alt"):
        width, height = Image.open(io.BytesIO(b64decode(data["image/png"]))).size
        wide = {"classes": "wide"} if width > WIDE * height else {}
        cell.metadata["mystnb"] = {"image": {"alt": alt, **wide}}


def entry(lesson: Path) -> str:
    """A lesson's entry in the start page's list: its title, how long it takes, how it opens."""
    first = nbformat.read(lesson, as_version=4).cells[0].source
    title, opening = OPENING.search(first).groups()
    minutes = MINUTES.search(first)[1]
    text = opening.replace("\n", "\n   ")
    return f"1. **[{title}]({lesson.name})** · {minutes} minutes\n\n   {text}\n\n"


def replications(lessons: list[Path]) -> str:
    """The table of how often each learning claim held, with what is to be said of it as a whole."""
    rows = replicate.kept(NOTEBOOKS / "results" / "replication.csv", lessons)
    counts = replicate.summary(rows)
    table = "".join(line for lesson in lessons for line in repetitions(lesson, counts))
    return (
        f"Claims repeated so far: {len(counts)}. They held in {rows.held.sum()} of {len(rows)} "
        "measurements. Where a lesson's experiments have changed since, the old measurements do "
        f"not count.\n\n| Claim | Sentence | Held in |\n|---|---|---|\n{table}"
    )


def repetitions(lesson: Path, counts: pd.DataFrame) -> Iterator[str]:
    """A row of the table for each learning claim of a lesson."""
    shares = dict(zip(counts.index, zip(counts.held, counts.sets, strict=True), strict=True))
    for number, claim in registrations(int(lesson.name[:2])).items():
        if claim.kind == "learning":
            held = "{} of {}".format(*shares[number]) if number in shares else "–"
            yield f"| [{number}]({lesson.name}) | {claim.sentence} | {held} |\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)
