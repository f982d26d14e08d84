"""What holds for the exercises of every lesson; conftest.py takes the cases from the lesson's file.

A file that imports these tests has LESSON, the module with the questions, RIGHT, pairs of question
and answer, and WRONG, triples of question, answer and a part of the message.
"""

import re

from course_lib.exercises import ____
from course_lib.exercises.question import Question

BLANKS = [____, (____, 2), 2 * ____, -____ + 1]


def questions_of(lesson):
    return {name: value for name, value in vars(lesson).items() if isinstance(value, Question)}


def parametrize(metafunc):
    """Give a test below the cases of the file that imports it."""
    if metafunc.function.__module__ != __name__:
        return
    module, questions = metafunc.module, questions_of(metafunc.module.LESSON)

    def name(value):
        return next((n for n, q in questions.items() if q is value), None)

    cases = {("question", "answer"): module.RIGHT, ("question", "answer", "message"): module.WRONG}
    wanted = tuple(n for n in ("question", "answer", "message") if n in metafunc.fixturenames)
    if wanted in cases:
        metafunc.parametrize(wanted, cases[wanted], ids=name)
    elif wanted:
        metafunc.parametrize("question", questions.values(), ids=questions)
    if "blank" in metafunc.fixturenames:
        metafunc.parametrize("blank", BLANKS)


def test_right_answers(question, answer):
    verdict = question.verdict(answer)
    assert verdict.correct, verdict.message


def test_wrong_answers_are_told_what_is_wrong(question, answer, message):
    verdict = question.verdict(answer)
    assert not verdict.correct
    assert re.search(message, verdict.message), verdict.message


def test_every_question_is_tested_and_has_help(question, request):
    assert any(q is question for q, _ in request.module.RIGHT)
    assert sum(q is question for q, *_ in request.module.WRONG) >= 3
    assert len(question.hints) >= 2
    assert question.answer


def test_the_lesson_says_what_its_questions_are(request):
    lesson = request.module.LESSON
    assert list(questions_of(lesson)) == re.findall(r"^(q\d+)\. ", lesson.__doc__, re.MULTILINE)


def test_a_blank_is_not_answered_yet(question, blank):
    assert question.verdict(blank).message.startswith("**Not answered yet.**")
