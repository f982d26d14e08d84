"""What a lesson of the second edition must have besides the rules of all lessons: one function a
rule, which yields what a notebook lacks. RULES holds them.
"""

import ast
import re
from collections.abc import Iterator

from nbformat import NotebookNode

import lessons
from claims_page import claims_of
from course_lib.explorers import VEGA_LITE
from lesson_rules import Rule, code, prose
from shown_numbers import numbers_are_shown

MAX_CLAIMS, MAX_SENTENCE, EXERCISES = 7, 90, 5
MAX_FRONT, MAX_ANSWER, TAKEN_AWAY = 25, 120, range(3, 6)  # lines, words, sentences
DRAWS = re.compile(r"\b(?:show|explore)\(")
SENTENCE_END = re.compile(r"[.!?][\"”’)*_]*(?=\s+[^a-z0-9\s]|\s*\Z)")
RULES: list[Rule] = [numbers_are_shown]


def rule(function: Rule) -> Rule:
    """Add a function to RULES."""
    RULES.append(function)
    return function


@rule
def claims_are_few_and_short(notebook, name):
    claims = list(claims_of(notebook))
    if len(claims) > MAX_CLAIMS:
        yield f"{len(claims)} claims, more than {MAX_CLAIMS}"
    for claim in claims:
        if (length := len(claim["sentence"])) > MAX_SENTENCE:
            yield f"claim {claim['number']} has {length} characters, more than {MAX_SENTENCE}"


@rule
def claims_are_numbered_in_reading_order(notebook, name):
    shown = [claim["number"] for claim in claims_of(notebook)]
    wanted = [f"{int(name[:2])}.{number}" for number in range(1, len(shown) + 1)]
    if shown != wanted:
        yield f"the claims are shown in the order {shown}, not {wanted}"


def lines_of(cells: list[NotebookNode]) -> int:
    return sum(bool(line.strip()) for cell in cells for line in cell.source.splitlines())


@rule
def a_third_of_the_code_draws_at_most(notebook, name):
    cells = [cell for cell in code(notebook) if cell is not notebook.cells[1]]
    drawing = [cell for cell in cells if DRAWS.search(cell.source)]
    if 3 * lines_of(drawing) > lines_of(cells):
        yield f"{lines_of(drawing)} of {lines_of(cells)} code lines stand in cells that draw"


@rule
def exercises_are_numbered_as_in_the_text(notebook, name):
    """Exercise 1, its check, Exercise 2, its check, ..."""
    pattern = rf"^\*\*Exercise (\d+)\.\*\*|lesson_{name[:2]}\.q(\d+)\.check\("
    steps = [
        f"Exercise {step[1]}" if step[1] else f"q{step[2]}"
        for cell in notebook.cells
        for step in re.finditer(pattern, cell.source, re.MULTILINE)
    ]
    wanted = [step for n in range(1, EXERCISES + 1) for step in (f"Exercise {n}", f"q{n}")]
    if steps != wanted:
        yield f"exercises and their checks are {steps}, not {wanted}"


def merely_imports(cell: NotebookNode) -> bool:
    statements = ast.parse(cell.source).body
    return bool(statements) and all(isinstance(s, ast.Import | ast.ImportFrom) for s in statements)


@rule
def cells_that_merely_import_are_folded(notebook, name):
    for cell in code(notebook):
        if merely_imports(cell) and lessons.FOLDED not in cell.metadata.get("tags", []):
            yield f"a cell of mere imports lacks the tag {lessons.FOLDED!r}: {cell.source}"


@rule
def names_are_imported_where_they_are_first_used(notebook, name):
    """In the cell that uses them; the set-up, and folded imports, may stand for themselves."""
    for cell in code(notebook):
        if cell is notebook.cells[1] or merely_imports(cell):
            continue
        nodes = list(ast.walk(ast.parse(cell.source)))
        used = {node.id for node in nodes if isinstance(node, ast.Name)}
        if unused := sorted(set(imported(nodes)) - used):
            yield f"a cell imports {unused} and does not use them: {cell.source}"


def imported(nodes: list[ast.AST]) -> Iterator[str]:
    """The names that imports bind."""
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((a.asname or a.name).partition(".")[0] for a in node.names)


@rule
def front_matter_is_short(notebook, name):
    if (lines := len(notebook.cells[0].source.splitlines())) > MAX_FRONT:
        yield f"the first cell has {lines} lines, more than {MAX_FRONT}"


@rule
def terms_stand_at_the_end(notebook, name):
    for cell in notebook.cells[:-3]:
        if cell.cell_type == "markdown" and re.search(r"^\|.*English.*\|", cell.source, re.M):
            yield "the table of terms is not in the last three cells"


@rule
def there_is_one_explorer(notebook, name):
    calls = sum(len(re.findall(r"(?<!def )\bexplore\(", cell.source)) for cell in code(notebook))
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    charts = [output for output in outputs if VEGA_LITE in output.get("data", {})]
    if calls != 1 or len(charts) != 1:
        yield f"{calls} calls of explore() and {len(charts)} charts that move, not one"
    yield from ("an explorer has no PNG" for chart in charts if "image/png" not in chart.data)


def section(notebook: NotebookNode, title: str) -> str:
    """The text below a heading, up to the next one; "" where there is none."""
    below = re.search(rf"^#+ {title}\s*$(.*?)(?=^#+ |\Z)", prose(notebook), re.M | re.S | re.I)
    return re.sub(r"<!--.*?-->", "", below[1], flags=re.S).strip() if below else ""


@rule
def the_answer_is_short(notebook, name):
    words = len(section(notebook, "The answer").split())
    if not 0 < words <= MAX_ANSWER:
        yield f'"The answer" has {words} words, not 1 to {MAX_ANSWER}'


@rule
def a_few_sentences_are_taken_away(notebook, name):
    text = re.sub(r"^(?:[-*]|\d+\.) ", "", section(notebook, "Take away"), flags=re.M)
    if (count := len(SENTENCE_END.findall(text))) not in TAKEN_AWAY:
        yield f'"Take away" has {count} sentences, not {TAKEN_AWAY[0]} to {TAKEN_AWAY[-1]}'
