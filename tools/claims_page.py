"""Write the table of all claims, with their numbers, from the outputs of the committed lessons.

Below it stands what became of the claims of the first edition, as tools/first_edition.csv has it.
"""

import csv
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import nbformat

from course_lib.claims.registry import registered, replicated

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
FIRST_EDITION = Path(__file__).with_name("first_edition.csv")
CLAIM = "application/vnd.course.claim+json"
HEAD = """\
# What was measured

Every claim of the lessons with its numbers, as its notebook measured them. "Replicated" says in
how many of the runs with other seeds and splits it held (`make replicate`); what is exact does not
vary, and a timing belongs to its machine. "Believed by" says who states it, or its contrary.

| Claim | Sentence | Measured | Replicated | Believed by |
|---|---|---|---|---|
"""
FATES = {"kept": "Kept as ", "corrected": "Corrected to ", "dropped": "Dropped as a claim"}
FORMERLY = """
## The first edition's claims

Each with what became of it. The numbers were given anew in reading order.

"""


def claims_of(notebook: nbformat.NotebookNode) -> Iterator[dict]:
    """Yield the claims that a notebook's outputs show, in their order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if CLAIM in output.get("data", {}):
                yield output.data[CLAIM]


def row(claim: dict, lesson: str) -> str:
    """Return one row of the table, in Markdown."""
    number = claim["number"]
    registration = registered(number)
    belief = registration.belief if registration else ""
    texts = [claim["sentence"], claim["shown"], repeated(number), belief]
    cells = [f"[{number}]({lesson})", *(" ".join(t.replace("|", "\\|").split()) for t in texts)]
    return f"| {' | '.join(cells)} |\n"


def repeated(number: str) -> str:
    """In how many replications a claim held, or why there are none."""
    registration = registered(number)
    if registration and registration.kind != "learning":
        return registration.kind
    return replicated(number) or "not yet"


def fate(old: dict[str, str]) -> str:
    """Return what became of a claim of the first edition, in Markdown."""
    became = f"{FATES[old['fate']]}{old['became']}"
    why = (": " if old["fate"] == "dropped" else ", ") + old["note"] if old["note"] else ""
    return f"- **{old['number']}** {old['sentence']}. *{became}{why}{reworded(old)}\n"


def reworded(old: dict[str, str]) -> str:
    """The sentence that a claim has now, if it is another one."""
    registration = registered(old["became"]) if old["became"] else None
    if registration is None or registration.sentence == old["sentence"]:
        return ".*"
    return f":* {registration.sentence}."


def first_edition() -> list[dict[str, str]]:
    """The claims of the first edition: number, sentence, what they became and why."""
    with FIRST_EDITION.open(newline="") as file:
        return list(csv.DictReader(file))


def table(notebooks: Path) -> str:
    """Return the whole page for the lessons of a folder."""
    page = HEAD
    with chdir(notebooks):  # from there lessons look for replications
        for path in sorted(notebooks.glob("[0-9]*.ipynb")):
            page += "".join(row(claim, path.name) for claim in claims_of(nbformat.read(path, 4)))
    return page + FORMERLY + "".join(map(fate, first_edition()))


if __name__ == "__main__":
    page = NOTEBOOKS / "CLAIMS.md"
    page.write_text(table(NOTEBOOKS))
    print(f"{page.relative_to(NOTEBOOKS.parent)}: {page.read_text().count('| [')} claims")
