"""Generated answers to the exercises: the right ones are right, all others get a sentence."""

import inspect
import math
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pandas as pd
import torch
from hypothesis import given
from hypothesis import strategies as st

import calls
import kinds
from calls import Call, judge
from course_lib import exercises
from course_lib.exercises import ____, lesson_02, lesson_05
from course_lib.exercises.question import Question

LESSONS = [getattr(exercises, name) for name in exercises.__all__ if name.startswith("lesson")]
QUESTIONS = {
    f"{lesson.__name__[-9:]}.{name}": question
    for lesson in LESSONS
    for name, question in vars(lesson).items()
    if isinstance(question, Question)
}
# What is asked on paper: the questions with a number, or two, as the answer.
ON_PAPER = {
    name: inspect.getclosurevars(question.judge).nonlocals["expected"]
    for name, question in QUESTIONS.items()
    if "expected" in inspect.getclosurevars(question.judge).nonlocals
} | {"lesson_03.q2": 69.3}
SLACK = {"lesson_03.q2": 5.8}  # anything from 65 to 75
FORMS = [lambda a: a, np.array, torch.tensor, np.float64, lambda a: np.array(a)[..., None][..., 0]]
ODD = [
    *(
        None,
        "4000",
        b"1",
        True,
        math.nan,
        math.inf,
        -math.inf,
        0,
        -1,
        1j,
        2**70,
        kinds.BEYOND_FLOATS,
    ),
    *([], (), {}, set(), [1, 2], (1, 2, 3), [[1, 2]], [None, 1], ["a", "b"], (1, (2, 3)), object()),
    *(
        np.array([]),
        np.array([1, 2]),
        np.zeros((2, 2)),
        np.array(["a"]),
        torch.ones(2),
        torch.ones(3, 3),
    ),
    *(
        pd.Series([1.0, 2.0], index=[5, 6]),
        pd.DataFrame({"batch_size": []}),
        pd.DataFrame(),
        len,
        Question,
    ),
    *(
        np.ma.masked_less([1.0, 2], 3),
        np.datetime64("2020-01-01"),
        [1, [2]],
        torch.tensor(1j),
        "____",
    ),
    pd.DataFrame({"batch_size": [4, 8]}),
    pd.DataFrame({"batch_size": [4, 4], "seed": [0, 1]}),
]


def verdict_of(name):
    return lambda answer: QUESTIONS[name].verdict(answer)


def sentence(verdict):
    """What every verdict has: no error of Python's, where no function was handed in."""
    assert verdict.message.startswith(("**Right.**", "**Not quite.**", "**Not answered", "Hand in"))


@calls.examples(15)
@given(st.sampled_from(sorted(ON_PAPER)), st.sampled_from(FORMS))
def test_right_answers(name, form):
    def right(verdict, answer):
        assert verdict.correct, verdict.message

    answer = ON_PAPER[name]
    answer = form(answer) if np.ndim(answer) == 0 or form is not np.float64 else answer
    judge("exercises, right", verdict_of(name), Call({"answer": answer}), right)


@calls.examples(21)
@given(
    st.sampled_from(sorted(ON_PAPER)),
    st.sampled_from(ODD) | st.floats() | st.tuples(st.floats(), st.floats()) | st.integers(),
)
def test_other_answers(name, answer):
    def right(verdict, answer):
        sentence(verdict)
        expected = np.array(ON_PAPER[name], float)
        if verdict.correct:
            given_ = np.array(answer, float)
            slack = {"rtol": 0.02, "atol": SLACK.get(name, 0.5)}
            assert np.allclose(given_.reshape(expected.shape), expected, **slack)

    judge("exercises, other", verdict_of(name), Call({"answer": answer}), right)


@calls.examples(11)
@given(
    st.sampled_from(sorted(set(QUESTIONS) - set(ON_PAPER))),
    st.lists(st.sampled_from(ODD) | st.builds(lambda: ____), max_size=3),
)
def test_answers_that_are_no_runs(name, answers):
    """To the questions about runs, functions and histories."""

    def verdict(answers):
        with redirect_stdout(StringIO()):
            QUESTIONS[name].check(*answers)
        return QUESTIONS[name].verdict(*answers)

    def right(verdict, answers):
        assert not verdict.correct and len(verdict.message) > 20

    judge("exercises, runs", verdict, Call({"answers": answers}), right)


def update(weight, sample_gradients, lr):
    return weight - lr * sum(sample_gradients) / len(sample_gradients)


def step(weight, gradient, memory, lr, momentum):
    memory = momentum * memory + gradient
    return weight - lr * memory, memory


KINDS = [lambda a: a, np.float64, np.array, lambda a: np.array([a]), torch.tensor]
SPOILED = [
    *(
        lambda a: a + 1,
        lambda a: None,
        lambda a: str(a),
        lambda a: [a, a],
        lambda a: 1 / 0,
        lambda a: ____,
    ),
    *(lambda a: a * 2, lambda a: math.nan, lambda a: -a - 1, lambda a: 1j),
]


@calls.examples(8)
@given(st.booleans(), st.sampled_from(KINDS), st.none() | st.sampled_from(SPOILED))
def test_functions_handed_in(first, kind, spoil):
    question, solved = (lesson_02.q4, update) if first else (lesson_05.q1, step)

    def handed_in(*arguments):
        made, answer = spoil or kind, solved(*arguments)
        return made(answer) if first else (made(answer[0]), answer[1])

    def right(verdict, answer):
        assert verdict.correct == (spoil is None), verdict.message

    judge(
        "exercises, functions",
        lambda answer: question.verdict(answer),
        Call({"answer": handed_in}),
        right,
    )
