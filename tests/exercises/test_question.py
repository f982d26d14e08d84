"""Blanks, hints and display, whatever the question."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from course_lib.exercises import ____
from course_lib.exercises.question import Mistake, Question, numeric


def test_a_blank_shows_itself():
    assert repr(____) == "____"


@pytest.fixture
def question():
    return Question(numeric(1, {}, "No."), "Yes.", ["Think.", "It is one."], "It is **1**.")


def test_hints_come_one_after_the_other(question, capsys):
    for _ in range(3):
        question.hint()
    last = "**Hint 2 of 2.** It is one. (That was the last hint; `.solution()` shows the answer.)"
    assert capsys.readouterr().out.splitlines() == ["**Hint 1 of 2.** Think.", last, last]


def test_check_and_solution_print_outside_a_notebook(question, capsys):
    assert question.check(1) is None
    assert question.check(2) is None
    assert question.solution() is None
    out = capsys.readouterr().out
    assert out == "**Right.** Yes.\n**Not quite.** No.\n**Solution.** It is **1**.\n"


def test_check_shows_markdown_in_a_notebook(question):
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            question.check(1)
    finally:
        InteractiveShell.clear_instance()
    assert captured.outputs[0].data["text/markdown"] == "**Right.** Yes."


def test_a_judge_that_breaks_is_no_traceback():
    def judge(answer):
        if answer == 1:
            raise Mistake("Not one.")
        raise KeyError("loss")

    question = Question(judge, "Yes.", ["Think."], "Two.")
    assert question.verdict(1).message == "**Not quite.** Not one."
    assert question.verdict(2).message == "**Not checked:** your answer led to `KeyError`: 'loss'"
