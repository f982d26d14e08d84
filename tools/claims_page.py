"""Write the table of all claims, with their numbers, from the outputs of the committed lessons."""

from collections.abc import Iterator
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
CLAIM = "application/vnd.course.claim+json"
HEAD = """\
# What was measured

Every claim of the lessons with its numbers, as its notebook measured them. "Belief held" says
whether the common belief came out; where it did not, the sentence is what holds instead.

| Claim | Sentence | Measured | Belief held |
|---|---|---|---|
"""


def claims_of(notebook: nbformat.NotebookNode) -> Iterator[dict]:
    """Yield the claims that a notebook's outputs show, in their order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if CLAIM in output.get("data", {}):
                yield output.data[CLAIM]


def row(claim: dict, lesson: str) -> str:
    """Return one row of the table, in Markdown."""
    sentence, numbers = (
        " ".join(claim[text].replace("|", "\\|").split()) for text in ("sentence", "numbers")
    )
    belief = "yes" if claim["common_belief"] else "no, against the common belief"
    return f"| [{claim['number']}]({lesson}) | {sentence} | {numbers} | {belief} |\n"


def table(notebooks: Path) -> str:
    """Return the whole page for the lessons of a folder."""
    page = HEAD
    for path in sorted(notebooks.glob("[0-9]*.ipynb")):
        page += "".join(row(claim, path.name) for claim in claims_of(nbformat.read(path, 4)))
    return page


if __name__ == "__main__":
    page = NOTEBOOKS / "CLAIMS.md"
    page.write_text(table(NOTEBOOKS))
    print(f"{page.relative_to(NOTEBOOKS.parent)}: {page.read_text().count('| [')} claims")
