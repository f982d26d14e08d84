"""Lesson 4: reference solutions pass; wrong answers fail, each with the message meant for it."""

import re

import numpy as np
import pytest
import torch

from course_lib.exercises import ____, lesson_04
from course_lib.exercises.question import Question

QUESTIONS = {name: value for name, value in vars(lesson_04).items() if isinstance(value, Question)}
EIGHT = [0.09] * 7 + [5.0]  # one odd seed does not count

RIGHT = [
    (lesson_04.q1, ((0.0225, 0.36),)),
    (lesson_04.q2, (20,)),
    (lesson_04.q2, (100 * 0.25 / 1.25,)),
    (lesson_04.q3, ([0.1] * 8, EIGHT)),
    (lesson_04.q3, (np.full(9, 0.08), torch.tensor(EIGHT))),
    (lesson_04.q4, ((2, 1),)),
]

WRONG = [
    (lesson_04.q1, ((0.36, 0.0225),), "wrong order"),
    (lesson_04.q1, ((0.045, 0.72),), "You took h s²"),
    (lesson_04.q1, ((0.15, 2.4),), "which is the slope"),
    (lesson_04.q1, ((0.075, 1.2),), "comes in squared"),
    (lesson_04.q1, ((0, 0),), r"Put in w = s"),
    (lesson_04.q1, (0.36,), "Hand in 2 numbers"),
    (lesson_04.q2, (25,), "0.25 is the rise"),
    (lesson_04.q2, (100,), "divided by the loss"),
    (lesson_04.q2, (0.2,), "as a share"),
    (lesson_04.q2, (16.67,), "1 \\+ the highest loss"),
    (lesson_04.q2, (40,), "highest loss itself"),
    (lesson_04.q2, (50,), "The formula is"),
    (lesson_04.q2, ("20",), "is text"),
    (lesson_04.q3, ([0.2] * 8, EIGHT), "2.2 times as sharp. More noise"),
    (lesson_04.q3, ([0.03] * 8, EIGHT), "flatter than wanted, 0.33"),
    (lesson_04.q3, ([0.09] * 7, EIGHT), "These are 7 eigenvalues"),
    (lesson_04.q3, (0.8, EIGHT), "two lists"),
    (lesson_04.q3, ([], EIGHT), "two lists"),
    (lesson_04.q3, (["0.1"] * 8, EIGHT), "two lists"),
    (lesson_04.q4, ((0.2, 1),), "10², not 10"),
    (lesson_04.q4, ((0.0002, 1),), "The other way round: a step"),
    (lesson_04.q4, ((0.002, 1),), "The other way round, and squared"),
    (lesson_04.q4, ((2, 10),), "one layer's 10 undoes"),
    (lesson_04.q4, ((0.02, 1),), "ten times smaller"),
    (lesson_04.q4, ((1, 1),), r"write the loss as L\(10 v\)"),
    (lesson_04.q4, (2,), "Hand in 2 numbers"),
]


def name(value):
    return next((n for n, q in QUESTIONS.items() if q is value), None)


@pytest.mark.parametrize(("question", "answer"), RIGHT, ids=name)
def test_right_answers(question, answer):
    verdict = question.verdict(*answer)
    assert verdict.correct, verdict.message


@pytest.mark.parametrize(("question", "answer", "message"), WRONG, ids=name)
def test_wrong_answers_are_told_what_is_wrong(question, answer, message):
    verdict = question.verdict(*answer)
    assert not verdict.correct
    assert re.search(message, verdict.message), verdict.message


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_every_question_is_tested_and_has_help(question):
    assert any(q is question for q, _ in RIGHT)
    assert sum(q is question for q, *_ in WRONG) >= 3
    assert len(question.hints) >= 2
    assert question.answer


def test_the_lesson_says_what_its_questions_are():
    assert list(QUESTIONS) == re.findall(r"^(q\d+)\. ", lesson_04.__doc__, re.MULTILINE)


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_blank_is_not_answered_yet(question):
    answer = (____, EIGHT) if question is lesson_04.q3 else (____,)
    assert question.verdict(*answer).message.startswith("**Not answered yet.**")
