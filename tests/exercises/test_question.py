"""Blanks, hints and display, whatever the question."""

import copy
import math
import pickle
import statistics

import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from course_lib.exercises import ____
from course_lib.exercises.judges import numeric
from course_lib.exercises.question import Mistake, Question, Unanswered

# What an answer in a notebook may be computed with.
MODULES = {"math": math, "np": np, "pd": pd, "statistics": statistics, "torch": torch}
NAMES = {"____": ____, **MODULES}


@pytest.fixture
def question():
    return Question(numeric(1, {}, "No."), "Yes.", ["Think.", "It is one."], "It is **1**.")


@pytest.fixture
def shell():
    """A notebook's shell, without the thread that keeps its history."""
    yield InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    InteractiveShell.clear_instance()


def test_a_blank_shows_itself():
    assert repr(____) == "____"


BLANK = [
    "abs(____)",
    "round(____, 2)",
    "math.ceil(____ / 64) * 20",
    "divmod(7, ____)",
    "____[0]",
    "____ == 1",
    "1 != ____",
    "2 * ____ >= 3",
    "~____ << 2 & 1",
    "[____, 2]",
    "{'a': ____}",
    "f'about {____!r}'",
    "str(____)",
    "sum([1, ____])",
    "____(torch.ones(2))",
    "____.mean()",
    "____.shape[0]",
    "np.sqrt(____)",
    "np.mean(____)",
    "np.maximum(1, ____)",
    "np.array([1.0, 2.0]) * ____",
    "pd.Series([1, ____])",
    "torch.ones(2) * ____",
    "torch.sqrt(____)",
]
STOPPING = [
    "int(____)",
    "float(____)",
    "complex(____)",
    "range(____)",
    "len(____)",
    "list(____)",
    "max(1, ____)",
    "1 < ____ < 3",
    "not ____",
    "1 in ____",
    "[1, 2][____]",
    "{1: 2}[____]",
    "f'{____:.2f}'",
    "f'{____}'",
    "'%.2f' % ____",
    "open(____)",
    "[x for x in ____]",
    "-0.8 / math.sqrt(____) + 1",
    "math.hypot(____, 1)",
    "math.isclose(____, 1)",
    "math.factorial(____)",
    "statistics.mean([____, 2])",
    "np.sqrt([1, ____])",
    "np.array([____, 1.0])",
    "np.full(2, ____, dtype=np.float32)",
    "np.isclose(1, ____)",
    "np.arange(3)[____]",
    "torch.tensor([____])",
    "torch.nn.Linear(____, 2)",
    "torch.ones(2).fill_(____)",
    "pd.Series([1, 2])[____]",
]


@pytest.mark.parametrize("expression", BLANK)
def test_what_is_computed_with_a_blank_is_not_answered_yet(expression, question):
    answer = eval(expression, NAMES)
    assert question.verdict(answer).message.startswith("**Not answered yet.**")


@pytest.mark.parametrize("expression", STOPPING)
def test_what_needs_more_than_a_blank_stops_with_our_error(expression):
    with pytest.raises(Unanswered, match="^Put your answer in the place of `____`.$"):
        eval(expression, NAMES)


@pytest.mark.parametrize(
    "statement",
    [
        "____[0] = 1",
        "torch.ones(2)[0] = ____",
        "del ____[0]",
        "a, b = ____",
        "with ____: pass",
        "for x in ____: pass",
    ],
)
def test_statements_stop_with_our_error(statement):
    with pytest.raises(Unanswered):
        exec(statement, dict(NAMES))


@pytest.mark.parametrize("cell", ["int(____)", "for x in ____:\n    pass", "math.sqrt(____)"])
def test_in_a_notebook_that_error_is_one_line(cell, shell, capsys):
    shell.run_cell(f"import math\nfrom course_lib.exercises import ____\n{cell}")
    message = "Not answered yet. Put your answer in the place of `____`."
    assert capsys.readouterr().out.strip() == message


def test_a_cell_that_ends_with_a_blank_shows_it(shell, capsys):
    shell.run_cell("from course_lib.exercises import ____\n____")
    assert capsys.readouterr().out.strip().endswith("____")


def test_a_blank_can_be_copied_and_pickled():
    for copied in (copy.copy(____), copy.deepcopy(____), pickle.loads(pickle.dumps(____))):
        assert repr(copied) == "____"


def test_a_blank_decides_nothing_inside_a_function(question):
    def judge(function):
        raise Mistake(f"It gives {function()}.")

    verdict = Question(judge, "", [], "").verdict(lambda: 1 if ____ > 2 else 3)
    assert verdict.message.startswith("**Not answered yet.**")


def test_a_number_that_is_none_is_an_answer(question):
    assert question.verdict(math.nan).message == "**Not quite.** No."
    assert question.verdict(math.inf - math.inf).message == "**Not quite.** No."


HAND_IN = "**Not quite.** Hand in one value, `check(answer)`, not "
COMMA = " Write 4000 or 4_000, not 4,000: in Python a comma separates values."
TOGETHER = " Numbers that belong together stand in parentheses: `check((a, b))`."


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("check()", "0."),
        ("check(4,000)", f"2.{COMMA}{TOGETHER}"),
        ("check(1,234,567)", f"3.{COMMA}{TOGETHER}"),
        ("check(22.45, 22.45)", f"2.{TOGETHER}"),
    ],
)
def test_another_number_of_values_is_explained(call, message, question, capsys):
    eval(call, {"check": question.check})
    assert capsys.readouterr().out == f"{HAND_IN}{message}\n"


def test_two_values_are_wanted_and_one_is_given():
    verdict = Question(lambda history, epoch: None, "", [], "").verdict(2)
    assert verdict.message == "**Not quite.** Hand in 2 values, `check(history, epoch)`, not 1."


def test_a_blank_among_too_many_values_is_not_answered_yet(question):
    assert question.verdict(1, ____).message.startswith("**Not answered yet.**")


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


def test_check_shows_markdown_in_a_notebook(question, shell):
    with capture_output() as captured:
        question.check(1)
    assert captured.outputs[0].data["text/markdown"] == "**Right.** Yes."


def test_a_judge_that_breaks_is_no_traceback():
    def judge(answer):
        if answer == 1:
            raise Mistake("Not one.")
        raise KeyError("loss")

    question = Question(judge, "Yes.", ["Think."], "Two.")
    assert question.verdict(1).message == "**Not quite.** Not one."
    assert question.verdict(2).message == "**Not checked:** your answer led to `KeyError`: 'loss'"
