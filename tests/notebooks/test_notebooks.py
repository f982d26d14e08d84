"""Every lesson follows the rules, and each rule finds a lesson that does not."""

import copy
from functools import cache

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

import lesson_rules
import lessons
import retold_rules
import stamp
from course_lib.claims.registry import Registration
from lesson_rules import NAMES, NOTEBOOKS, ROOT, RULES
from made_up import (
    ADDRESS,
    FIRST,
    NAME,
    NEIGHBOURS,
    REFERENCES,
    SENTENCE,
    TERMS,
    executed,
    figure,
    mark,
    measured,
    say,
    show,
)

EXERCISES = "\n".join(f"lesson_01.q{number}.check(____)" for number in range(1, 5))
FOLDED = {"tags": ["hide-input"]}


def by_name(function):
    return function.__name__


@cache
def read(name):
    return nbformat.read(NOTEBOOKS / name, as_version=4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_lesson_follows_the_rule(rule, name):
    notebook = copy.deepcopy(read(name))  # whatever a rule does to it, the next one gets it whole
    assert not list(rule(notebook, name))


@pytest.mark.parametrize("name", filter(lesson_rules.is_retold, NAMES))
@pytest.mark.parametrize("rule", retold_rules.RULES, ids=by_name)
def test_lesson_that_was_retold_follows_the_rule(rule, name):
    assert not list(rule(copy.deepcopy(read(name)), name))


def registered(sentence=SENTENCE):
    return Registration(sentence, "learning", "digits", "nothing", "seeds 0 to 15")


@pytest.fixture
def lesson(monkeypatch):
    """A small lesson that follows all rules, and its registered claims."""
    claims = {f"1.{number}": registered() for number in range(1, 8)}
    monkeypatch.setattr(lesson_rules, "registrations", {1: claims}.get)
    return executed(
        [
            new_markdown_cell(FIRST),
            new_code_cell(stamp.setup_cell(ADDRESS), metadata=FOLDED),
            new_code_cell("from course_lib import fit, sweep, claim, figures"),
            new_markdown_cell("First we measure."),
            new_code_cell("x = 2"),
            new_code_cell("draw(lr=0.1)", outputs=[figure()]),
            new_code_cell("claim(...)", outputs=[measured(f"1.{n}") for n in range(1, 8)]),
            new_code_cell("2 + 2", metadata={"tags": ["nbval-check-output"]}),
            new_code_cell(EXERCISES),
            new_code_cell("measured()"),
            new_markdown_cell(TERMS),
            new_markdown_cell(REFERENCES),
            new_markdown_cell(NEIGHBOURS),
        ]
    )


@pytest.mark.parametrize("rule", RULES, ids=by_name)
def test_the_good_lesson_follows_the_rule(rule, lesson):
    assert not list(rule(lesson, NAME))


def widget():
    return new_output("display_data", {lessons.WIDGET: {"model_id": "1"}})


def failure():
    return new_output("error", ename="E", evalue="", traceback=["E: "])


BROKEN = [
    ("first_cell_tells_what_comes", say(0, FIRST.replace("# Lesson 1", "Lesson 1"))),
    ("first_cell_tells_what_comes", say(0, FIRST.replace("How many?", "Many."))),
    ("first_cell_tells_what_comes", say(0, FIRST.replace("you can count", ""))),
    ("first_cell_tells_what_comes", say(0, FIRST.replace("Prerequisites", ""))),
    ("first_cell_tells_what_comes", say(0, FIRST.replace("20 minutes", ""))),
    ("badge_opens_this_lesson", say(0, stamp.badge("https://github.com/ada/other", NAME))),
    ("second_cell_sets_up", say(1, "import torch")),
    ("second_cell_sets_up", mark(1)),
    ("cells_were_executed_in_order", lambda cells: cells[2].update(execution_count=7)),
    ("cells_were_executed_in_order", lambda cells: cells[2].update(execution_count=None)),
    ("no_cell_fails", show(7, failure())),
    ("no_cell_fails", mark(7, tags=["raises-exception"])),
    ("outputs_say_nothing_of_the_run", show(7, new_output("stream", text="/tmp/x.npz"))),
    ("outputs_say_nothing_of_the_run", show(7, new_output("stream", text=f"in {ROOT}"))),
    ("outputs_say_nothing_of_the_run", show(7, new_output("stream", name="stderr", text="Oh"))),
    ("outputs_say_nothing_of_the_run", show(7, widget())),
    ("outputs_say_nothing_of_the_run", mark(7, execution={"iopub.status.idle": "2026"})),
    ("outputs_say_nothing_of_the_run", lambda cells: cells[7].update(id="random")),
    ("cells_are_short", say(7, "\n" * 20 + "2")),
    ("cells_are_short", lambda cells: [cell.update(source="1\n" * 13) for cell in cells]),
    ("figures_have_alternative_text", show(5, figure(alt=""))),
    ("figures_have_alternative_text", show(5, new_output("display_data", {"image/png": "AA"}))),
    ("claims_are_those_registered", show(6, *[measured(f"1.{n}") for n in range(1, 7)])),
    ("claims_are_those_registered", show(6, *[measured(f"1.{n}") for n in range(1, 9)])),
    ("claims_are_those_registered", show(7, measured("1.7"))),
    ("claims_are_those_registered", show(6, *[measured(f"1.{n}", True, "-") for n in range(1, 8)])),
    ("all_claims_hold", show(6, *[measured(f"1.{n}", n < 7) for n in range(1, 8)])),
    ("claims_are_summed_up_at_the_end", say(9, "")),
    ("claims_are_summed_up_at_the_end", lambda cells: cells.insert(2, cells.pop(9))),
    ("exercises_are_checked", say(8, EXERCISES.replace("q4", "q3"))),
    ("exercises_are_checked", say(8, EXERCISES.replace("lesson_01", "lesson_02"))),
    ("terms_stand_in_three_languages", say(10, TERMS.replace("Traditional", ""))),
    ("terms_stand_in_three_languages", say(10, TERMS.replace("批次", "batch"))),
    ("terms_stand_in_three_languages", say(10, TERMS.replace("(glossary.md)", ""))),
    ("references_are_linked", say(11, "## References\n\nA paper")),
    ("references_are_linked", say(11, "[A paper](https://arxiv.org/abs/1609.04836)")),
    ("links_lead_to_files", say(12, "[Next](09_no_such_lesson.ipynb)")),
    ("links_lead_to_files", say(10, "[Epoch](no_such_glossary.md#epoch)")),
    ("few_names_are_imported", say(2, "from course_lib import a, b, c, d, e, f")),
    ("every_cell_is_validated", mark(7, tags=["nbval-skip"])),
    ("every_cell_is_validated", mark(7, tags=["NBVAL_CHECK_OUTPUT"])),
    ("every_cell_is_validated", mark(7)),
    ("every_cell_is_validated", say(5, "# NBVAL_SKIP\nfit()")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), BROKEN, ids=[name for name, _ in BROKEN])
def test_the_rule_finds_a_broken_lesson(name, change, lesson):
    broken = copy.deepcopy(lesson)
    change(broken.cells)
    assert list(getattr(lesson_rules, name)(broken, NAME))


def test_a_cell_may_fail_if_it_says_so(lesson):
    show(5, failure())(lesson.cells)
    mark(5, tags=["raises-exception"])(lesson.cells)
    assert not list(lesson_rules.no_cell_fails(lesson, NAME))
    assert not list(lesson_rules.every_cell_is_validated(lesson, NAME))


def test_neighbours_must_be_linked(lesson, monkeypatch):
    monkeypatch.setattr(lesson_rules, "NAMES", ["00_before.ipynb", NAME, "02_after.ipynb"])
    assert len(list(lesson_rules.neighbours_are_linked(lesson, NAME))) == 2


def test_every_rule_was_shown_to_fail():
    shown = {name for name, _ in BROKEN} | {"neighbours_are_linked"}
    assert shown == {rule.__name__ for rule in RULES}
