"""Each rule of the second edition finds a lesson that does not follow it."""

import copy

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

import retold_rules
import stamp
from course_lib.explorers import VEGA_LITE
from made_up import (
    ADDRESS,
    FIRST,
    NAME,
    NEIGHBOURS,
    REFERENCES,
    TERMS,
    executed,
    figure,
    mark,
    measured,
    say,
    show,
)
from retold_rules import RULES

FOLDED = {"tags": ["hide-input"]}
LONG = "More is less " * 8
EXERCISES = [
    cell
    for n in range(1, 6)
    for cell in (
        new_markdown_cell(f"Seen.\n\n**Exercise {n}.** How many?"),
        new_code_cell(f"lesson_01.q{n}.check(____)"),
    )
]
END = """\
## The answer

It depends on the ruler.

## Take away

- Small batches need **fewer epochs.**
- `B` is the batch size (as Smith and others 2018 have it)! Is it enough?"""


@pytest.fixture
def lesson():
    """A small lesson that follows all rules of the second edition."""
    return executed(
        [
            new_markdown_cell(FIRST),
            new_code_cell(stamp.setup_cell(ADDRESS), metadata=FOLDED),
            new_code_cell("import torch", metadata=FOLDED),
            new_code_cell("from course_lib.figures import show\n\nshow(a)", outputs=[figure()]),
            new_code_cell("import numpy.linalg\n\nx = numpy.linalg.norm(y)\nx\nx\nx"),
            new_code_cell("claim(...)", outputs=[measured(f"1.{n}") for n in range(1, 8)]),
            new_code_cell("explore(chart)", outputs=[figure(**{VEGA_LITE: {}})]),
            *copy.deepcopy(EXERCISES),
            new_markdown_cell(END),
            new_markdown_cell(REFERENCES),
            new_markdown_cell(TERMS),
            new_markdown_cell(NEIGHBOURS),
        ]
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_good_lesson_follows_the_rule(rule, lesson):
    assert not list(rule(lesson, NAME))


def claims(numbers, sentence="More is less"):
    """A change: other claims are shown."""
    return show(5, *[measured(f"1.{n}", sentence=sentence) for n in numbers])


BROKEN = [
    ("numbers_are_shown", say(17, END + " It takes 17 of them.")),
    ("claims_are_few_and_short", claims(range(1, 9))),
    ("claims_are_few_and_short", claims([1], LONG)),
    ("claims_are_numbered_in_reading_order", claims([2, 1])),
    ("claims_are_numbered_in_reading_order", claims([1, 3])),
    ("a_third_of_the_code_draws_at_most", say(3, "show(a)\n" + "b\n" * 9)),
    ("a_third_of_the_code_draws_at_most", say(4, "explore(a)\n" + "b\n" * 9)),
    ("exercises_are_numbered_as_in_the_text", say(7, "**Exercise 2.** How many?")),
    ("exercises_are_numbered_as_in_the_text", say(8, "lesson_01.q2.check(____)")),
    ("exercises_are_numbered_as_in_the_text", say(8, "lesson_02.q1.check(____)")),
    ("exercises_are_numbered_as_in_the_text", say(8, "1")),
    ("exercises_are_numbered_as_in_the_text", lambda cells: [cells.pop(15) for _ in range(2)]),
    ("exercises_are_numbered_as_in_the_text", lambda cells: cells.insert(7, cells.pop(8))),
    ("cells_that_merely_import_are_folded", mark(2)),
    ("names_are_imported_where_they_are_first_used", say(4, "import torch\n\nx = y")),
    ("names_are_imported_where_they_are_first_used", say(4, "from a import b as c\n\nb")),
    ("front_matter_is_short", say(0, "\n" * 25 + FIRST)),
    ("terms_stand_at_the_end", lambda cells: cells.insert(2, cells.pop(19))),
    ("there_is_one_explorer", say(6, "chart")),
    ("there_is_one_explorer", say(4, "explore(chart)")),
    ("there_is_one_explorer", show(6)),
    ("there_is_one_explorer", show(5, figure(**{VEGA_LITE: {}}))),
    ("there_is_one_explorer", lambda cells: cells[6].outputs[0].data.pop("image/png")),
    ("the_answer_is_short", say(17, END.replace("ruler", "ruler " * 117))),
    ("the_answer_is_short", say(17, END.replace("The answer", "An answer"))),
    ("a_few_sentences_are_taken_away", say(17, END.replace("Is it enough?", ""))),
    ("a_few_sentences_are_taken_away", say(17, END + " No." * 3)),
    ("a_few_sentences_are_taken_away", say(17, END.replace("Take away", "To keep"))),
]


@pytest.mark.parametrize(("name", "change"), BROKEN, ids=[name for name, _ in BROKEN])
def test_the_rule_finds_a_broken_lesson(name, change, lesson):
    change(lesson.cells)
    assert list(getattr(retold_rules, name)(lesson, NAME))


def test_every_rule_was_shown_to_fail():
    assert {name for name, _ in BROKEN} == {rule.__name__ for rule in RULES}


def test_the_answer_may_have_as_many_words_as_are_allowed(lesson):
    say(17, END.replace("ruler", "ruler " * 115))(lesson.cells)
    assert not list(retold_rules.the_answer_is_short(lesson, NAME))
