"""What every lesson must have: one function a rule, which yields what a notebook lacks.

A rule takes the notebook and its file name. RULES holds those of all lessons; a lesson in RETOLD
follows those of `retold_rules`, too.
"""

import ast
import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from nbformat import NotebookNode

import lessons
import stamp
from claims_page import claims_of
from course_lib.claims.registry import registrations

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
NAMES = sorted(path.name for path in NOTEBOOKS.glob("[0-9]*.ipynb"))
RETOLD = {"01", "02", "03", "04", "05", "06", "07"}  # the lessons of the second edition
CHECKED_TAG = "nbval-check-output"  # nbval overlooks a tag in capitals
FAILING_TAG = "raises-exception"  # on a cell that shows an error on purpose
MAX_LINES, MAX_MEDIAN, MAX_IMPORTS, MIN_EXERCISES = 20, 12, 5, 4
HOMES = re.compile(r"/(?:home|root|tmp)/|[/\\]Users[/\\]")

Rule = Callable[[NotebookNode, str], Iterator[str]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    """Add a function to RULES."""
    RULES.append(function)
    return function


def is_retold(name: str) -> bool:
    return name[:2] in RETOLD


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def images(cell: NotebookNode) -> list[NotebookNode]:
    return [output for output in cell.outputs if "image/png" in output.get("data", {})]


@rule
def first_cell_tells_what_comes(notebook, name):
    text = notebook.cells[0].source
    needed = {
        "a title": r"\A# ",
        "the question": r"\?",
        "what the learner will be able to do": r"After this lesson you can",
        "the prerequisites": r"Prerequisites",
        "the expected minutes": r"\d+ minutes?",
    }
    for what, looks_like in needed.items():
        if not re.search(looks_like, text):
            yield f"first cell lacks {what}"


@rule
def badge_opens_this_lesson(notebook, name):
    badges = [found[0] for found in stamp.LINK.finditer(notebook.cells[0].source)]
    wanted = stamp.badge(stamp.address(ROOT), name)
    if badges != [wanted] * bool(wanted):
        yield f"first cell has the badges {badges}, not {wanted!r}: make stamp"


@rule
def second_cell_sets_up(notebook, name):
    if notebook.cells[1].source != stamp.setup_cell(stamp.address(ROOT)):
        yield "second cell is not the set-up cell: make stamp"
    if lessons.FOLDED not in notebook.cells[1].metadata.get("tags", []):
        yield "the set-up cell is not folded: make stamp"


@rule
def cells_were_executed_in_order(notebook, name):
    counts = [cell.execution_count for cell in code(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts are {counts}: make notebooks"


@rule
def no_cell_fails(notebook, name):
    """None but those that say so, and these do."""
    for cell in code(notebook):
        failed = any(output.output_type == "error" for output in cell.outputs)
        if failed and FAILING_TAG not in cell.metadata.get("tags", []):
            yield f"a cell ends with an error: {cell.source}"
        if not failed and FAILING_TAG in cell.metadata.get("tags", []):
            yield f"a cell has the tag {FAILING_TAG!r} and ends without an error: {cell.source}"


@rule
def outputs_say_nothing_of_the_run(notebook, name):
    """No timings, widget states, random ids, warnings or places on a machine."""
    clean = copy.deepcopy(notebook)
    lessons.normalise(clean)
    if clean != notebook:
        yield "not in the form that is committed: make notebooks"
    yield from lessons.traces(notebook)
    for cell in code(notebook):
        if place := HOMES.search("".join(map(lessons.text_of, cell.outputs))):
            yield f"an output has the path {place[0]} of some machine: {cell.source}"


@rule
def cells_are_short(notebook, name):
    """All but the set-up cell, which is folded and the same everywhere."""
    cells = [cell for cell in code(notebook) if cell is not notebook.cells[1]]
    lines = [len(cell.source.splitlines()) for cell in cells]
    if max(lines) > MAX_LINES:
        yield f"the longest code cell has {max(lines)} lines, more than {MAX_LINES}"
    if median(lines) > MAX_MEDIAN:
        yield f"the median code cell has {median(lines)} lines, more than {MAX_MEDIAN}"


@rule
def figures_have_alternative_text(notebook, name):
    for cell in code(notebook):
        for output in images(cell):
            if not output.metadata.get("image/png", {}).get("alt"):
                yield f"a figure has no alternative text: {cell.source}"


@rule
def claims_are_those_registered(notebook, name):
    """All of them, each once, and word for word."""
    claims, registered = list(claims_of(notebook)), registrations(int(name[:2]))
    shown = [claim["number"] for claim in claims]
    if sorted(shown) != sorted(registered):
        yield f"the claims shown are {sorted(shown)}, those registered {sorted(registered)}"
    for claim in claims:
        known = registered.get(claim["number"])
        if known and known.sentence != claim["sentence"]:
            yield f"claim {claim['number']} says {claim['sentence']!r}, not {known.sentence!r}"


@rule
def all_claims_hold(notebook, name):
    for claim in claims_of(notebook):
        if not claim["holds"]:
            yield f"claim {claim['number']} does not hold"


@rule
def claims_are_summed_up_at_the_end(notebook, name):
    calls = [number for number, cell in enumerate(code(notebook)) if "measured()" in cell.source]
    claims = [number for number, cell in enumerate(code(notebook)) if "claim(" in cell.source]
    if not calls or calls[-1] < claims[-1]:
        yield "no cell calls measured() after the last claim"


@rule
def exercises_are_checked(notebook, name):
    source = "\n".join(cell.source for cell in code(notebook))
    asked = set(re.findall(rf"lesson_{name[:2]}\.(q\d+)\.check\(", source))
    if len(asked) < MIN_EXERCISES:
        yield f"{len(asked)} exercises are checked, fewer than {MIN_EXERCISES}"


@rule
def terms_stand_in_three_languages(notebook, name):
    if not re.search(r"^\|.*English.*\|.*Simplified.*\|.*Traditional.*\|", prose(notebook), re.M):
        yield "no table of terms: English, Simplified Chinese, Traditional Chinese"
    if len(re.findall(r"^\|.*\|.*[\u4e00-\u9fff].*\|.*[\u4e00-\u9fff]", prose(notebook), re.M)) < 3:
        yield "fewer than three terms in Chinese"
    if "](glossary.md" not in prose(notebook):
        yield "the terms are not linked to glossary.md"


@rule
def references_are_linked(notebook, name):
    _, _, references = prose(notebook).partition("# References")
    if not re.search(r"\]\(https?://", references):
        yield "no heading References with links below it"


@rule
def links_lead_to_files(notebook, name):
    for target in re.findall(r"\]\(([^)#:\s]+)[^):]*\)", prose(notebook)):
        if not (NOTEBOOKS / target).exists():
            yield f"a link leads to {target}, which is not there"


@rule
def neighbours_are_linked(notebook, name):
    place = NAMES.index(name)
    for neighbour in {*NAMES[max(place - 1, 0) : place], *NAMES[place + 1 : place + 2]}:
        if f"]({neighbour})" not in notebook.cells[-1].source:
            yield f"the last cell does not link {neighbour}"


@rule
def few_names_are_imported(notebook, name):
    nodes = [node for cell in code(notebook) for node in ast.walk(ast.parse(cell.source))]
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    names = {a.name for node in imports if node.module == "course_lib" for a in node.names}
    if len(names) > MAX_IMPORTS:
        yield f"imports {len(names)} names from course_lib, more than {MAX_IMPORTS}"


@rule
def every_cell_is_validated(notebook, name):
    marks = [(cell, set(cell.metadata.get("tags", []))) for cell in code(notebook)]
    known = {CHECKED_TAG, FAILING_TAG, lessons.FOLDED}
    for cell, tags in marks:
        if tags - known or re.search(r"NBVAL_(?!CHECK_OUTPUT)", cell.source):
            yield f"the marks of cells are {sorted(known)}: {tags} {cell.source}"
    if not any(
        CHECKED_TAG in tags or "# NBVAL_CHECK_OUTPUT" in cell.source for cell, tags in marks
    ):
        yield f"no cell has the tag {CHECKED_TAG!r}"
