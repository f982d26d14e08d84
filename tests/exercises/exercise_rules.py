"""What holds for the exercises of every lesson: tests for a lesson's file to inherit."""

import math
import re

import numpy as np
import pandas as pd

from course_lib.exercises import ____
from course_lib.exercises.question import Question

BLANKS = [
    ____,
    (____, 2),
    {"a": [1, ____]},
    2 * ____,
    -____ + 1,
    100 / ____,
    ____(3) ** 2,
    ____ < 3,
]


def questions_of(lesson) -> dict[str, Question]:
    return {name: value for name, value in vars(lesson).items() if isinstance(value, Question)}


class ExerciseRules:
    """Reference solutions pass; wrong answers fail, each with the message meant for it.

    Attributes:
        lesson: the module with the questions.
        right: tuples of a question and all that is handed in.
        wrong: the same, and at the end a part of the message (a regular expression).
    """

    lesson, right, wrong = None, [], []

    def pytest_generate_tests(self, metafunc):
        """Hand the cases to the tests that ask for them."""
        questions, wanted = questions_of(self.lesson), metafunc.fixturenames

        def name(value):
            return next((n for n, question in questions.items() if question is value), None)

        if "message" in wanted:
            cases = [(question, answer, text) for question, *answer, text in self.wrong]
            metafunc.parametrize(("question", "answer", "message"), cases, ids=name)
        elif "answer" in wanted:
            cases = [(question, answer) for question, *answer in self.right]
            metafunc.parametrize(("question", "answer"), cases, ids=name)
        elif "question" in wanted:
            metafunc.parametrize("question", questions.values(), ids=questions)
        if "blank" in wanted:
            metafunc.parametrize("blank", BLANKS, ids=range(len(BLANKS)))

    def test_right_answers(self, question, answer):
        verdict = question.verdict(*answer)
        assert verdict.correct, verdict.message
        assert verdict.message == f"**Right.** {question.right}"

    def test_wrong_answers_are_told_what_is_wrong(self, question, answer, message):
        verdict = question.verdict(*answer)
        assert not verdict.correct
        assert re.search(message, verdict.message), verdict.message

    def test_every_question_is_tested_and_has_help(self, question):
        assert any(tested is question for tested, *_ in self.right)
        assert sum(tested is question for tested, *_ in self.wrong) >= 3
        assert len(question.hints) >= 2
        assert question.answer

    def test_a_blank_is_not_answered_yet(self, question, blank):
        *others, _ = next(answer for tested, *answer in self.right if tested is question)
        verdict = question.verdict(*others, blank)
        assert not verdict.correct
        assert verdict.message.startswith("**Not answered yet.**")

    def test_the_lesson_says_what_its_questions_are(self):
        questions = list(questions_of(self.lesson))
        assert questions == re.findall(r"^(q\d+)\. ", self.lesson.__doc__, re.MULTILINE)
        assert len(questions) >= 4


def made_up_run(batch_size, epochs, *, seeds=8, samples=1_437, loss=0.1, accuracy=0.95):
    """A history as `fit` gives it, of two evaluations; seeds take turns with several losses."""

    def evaluation(epoch, loss, accuracy):
        step = epoch * math.ceil(samples / batch_size)
        counted = {"epoch": epoch, "step": step, "examples": epoch * samples, "seconds": epoch / 10}
        measured = {"train_loss": np.resize(loss, seeds), "val_accuracy": accuracy}
        return pd.DataFrame({"batch_size": batch_size, "seed": range(seeds), **counted, **measured})

    evaluations = [evaluation(0, 2.3, 0.1), evaluation(epochs, loss, accuracy)]
    return pd.concat(evaluations, ignore_index=True)
