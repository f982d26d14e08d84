"""Reference solutions pass; wrong answers fail, each with the message meant for it."""

import math
import re

import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from course_lib import exercises
from course_lib.datasets import Digits
from course_lib.exercises import ____, lesson_01, lesson_02
from course_lib.exercises.question import Mistake, Question, numeric
from course_lib.models import MLP
from course_lib.training import fit

QUESTIONS = {
    f"{name}.{question}": value
    for name in ("lesson_01", "lesson_02")  # the others have files of their own
    for question, value in vars(getattr(exercises, name)).items()
    if isinstance(value, Question)
}


def updates(n, batch_size, epochs, drop_last):
    return epochs * (n // batch_size if drop_last else math.ceil(n / batch_size))


def run(batch_size, epochs=4, samples=1_437, seeds=8, accuracy=0.95):
    """A history as `fit` gives it: two evaluations, every seed reaches `accuracy` at the last."""
    step = math.ceil(samples / batch_size)
    rows = [
        (batch_size, seed, epoch, epoch * step, epoch * samples, 0.1 * epoch, 1 - a, a)
        for epoch, a in ((0, 0.1), (epochs, accuracy))
        for seed in range(seeds)
    ]
    columns = ["batch_size", "seed", "epoch", "step", "examples", "seconds"]
    return pd.DataFrame(rows, columns=[*columns, "train_loss", "val_accuracy"])


def overfit():
    """Three seeds over epochs 0 to 5: the median held-out loss is lowest at epoch 2."""
    loss = [[9, 6, 5, 6, 7, 8], [9, 7, 5, 6, 7, 8], [9, 8, 7, 7, 1, 8]]
    accuracy = [0.1, 0.5, 0.6, 0.7, 0.6, 0.6]
    rows = [
        (8, seed, epoch, loss[seed][epoch], 9 - epoch, accuracy[epoch])
        for seed in range(3)
        for epoch in range(6)
    ]
    columns = ["batch_size", "seed", "epoch", "val_loss", "train_loss", "val_accuracy"]
    return pd.DataFrame(rows, columns=columns)


RIGHT = [
    (lesson_01.q1, (4_000,)),
    (lesson_01.q1, (torch.tensor(4_000),)),
    (lesson_01.q2, ((23, 22),)),
    (lesson_01.q2, ([23, 22],)),
    (lesson_01.q3, (updates,)),
    (lesson_01.q4, (run(19),)),
    (lesson_01.q4, (run(81, samples=6_000),)),
    (lesson_01.q5, (overfit(), 2)),
    (lesson_02.q1, (0.2,)),
    (lesson_02.q1, (0.8 / math.sqrt(400 / 25),)),
    (lesson_02.q2, (2 / 3,)),
    (lesson_02.q2, (0.67,)),
    (lesson_02.q3, (0.1 / 50,)),
    (lesson_02.q4, (run(32, epochs=10),)),
    (lesson_02.q5, ((8_320, 12_800),)),
]

WRONG = [
    (lesson_01.q1, (200,), "are one epoch"),
    (lesson_01.q1, (1_000_000,), "how many samples"),
    (lesson_01.q1, (5_000,), "multiplies batch size and epochs"),
    (lesson_01.q1, (10,), "divided by the epochs"),
    (lesson_01.q1, (50_000,), "batch size 1"),
    (lesson_01.q1, (4_001,), "Count the batches"),
    (lesson_01.q1, (math.nan,), "Count the batches"),
    (lesson_01.q1, ("4000",), "'4000' is text"),
    (lesson_01.q1, ((4_000, 1),), "single number"),
    (lesson_01.q1, (None,), "single number"),
    (lesson_01.q2, ((22, 23),), "wrong order"),
    (lesson_01.q2, ((22, 22),), "29 samples"),
    (lesson_01.q2, ((23, 23),), "incomplete batch is left out"),
    (lesson_01.q2, ((1_437 / 64,) * 2,), "no 0.45 of an update"),
    (lesson_01.q2, ((24, 23),), "How many full batches"),
    (lesson_01.q2, (23,), "Hand in 2 numbers"),
    (lesson_01.q2, ((23, 22, 1),), "Hand in 2 numbers"),
    (lesson_01.q2, (("23", 22),), "is text"),
    (lesson_01.q3, (lambda n, b, e, d: e * (n // b),), "drops the last partial batch always"),
    (lesson_01.q3, (lambda n, b, e, d: e * -(-n // b),), "keeps the last partial batch always"),
    (lesson_01.q3, (lambda n, b, e, d: updates(n, b, e, not d),), "wrong way round"),
    (lesson_01.q3, (lambda n, b, e, d: updates(n, b, 1, d),), "counts one epoch"),
    (lesson_01.q3, (lambda n, b, e, d: updates(e * n, b, 1, d),), "rounds once, at the end"),
    (lesson_01.q3, (lambda n, b, e, d: e * n / b,), "fractions of an update"),
    (lesson_01.q3, (lambda n, b, e, d: e * (n // b + 1 - d),), "a batch too many"),
    (lesson_01.q3, (lambda n, b, e, d: 7,), r"`updates\(1, 1, 1, False\)` gives 7; 1 would"),
    (lesson_01.q3, (lambda n, b, e, d: None,), "returns None"),
    (lesson_01.q3, (lambda n, b, e, d: "7",), "is text"),
    (lesson_01.q3, (lambda n, b, e, d: 1 / 0,), "`ZeroDivisionError`"),
    (lesson_01.q3, (lambda n: n,), "`TypeError`"),
    (lesson_01.q3, (270,), "the function itself"),
    (lesson_01.q4, (run(20),), "makes 288 updates in 4 epochs, not 300"),
    (lesson_01.q4, (run(18),), "so does a larger batch"),
    (lesson_01.q4, (run(19, epochs=5),), "has 5 epochs"),
    (lesson_01.q4, (run(64, epochs=0),), "has 0 epochs"),
    (lesson_01.q4, (run(82, samples=6_000),), "not 300"),
    (lesson_01.q4, (pd.concat([run(19), run(64)]),), "several batch sizes"),
    (lesson_01.q4, (19,), "not a value of type `int`"),
    (lesson_01.q5, (overfit(), 5), "training loss is lowest"),
    (lesson_01.q5, (overfit(), 3), "accuracy is highest"),
    (lesson_01.q5, (overfit(), 4), "one lucky seed"),
    (lesson_01.q5, (overfit(), 1), "still falls"),
    (lesson_01.q5, (overfit().query("epoch != 5"), 3.5), "no evaluation at epoch 3.5"),
    (lesson_01.q5, (overfit().assign(train_loss=1, val_accuracy=1), 3), "turned up already"),
    (lesson_01.q5, (overfit(), "2"), "is text"),
    (lesson_01.q5, (2, overfit()), "not a value of type `int`"),
    (lesson_02.q1, (0.05,), "divided by 16"),
    (lesson_02.q1, (3.2,), "multiplied by 4"),
    (lesson_02.q1, (12.8,), "multiplied by 16"),
    (lesson_02.q1, (0.8,), "value at 25"),
    (lesson_02.q1, (0.4,), "one over the square root"),
    (lesson_02.q1, ("0.2",), "is text"),
    (lesson_02.q2, (2,), "value with replacement"),
    (lesson_02.q2, (0,), "one is missing"),
    (lesson_02.q2, (0.22,), "Take its square root"),
    (lesson_02.q2, (0.63,), "N - 1 below the line, not N"),
    (lesson_02.q2, (0.2,), r"You took \(N - B\) / N"),
    (lesson_02.q2, (1,), "Multiply by the factor"),
    (lesson_02.q3, (5,), "multiplied by 50"),
    (lesson_02.q3, (0.1,), "50 times as long"),
    (lesson_02.q3, (0.1 / math.sqrt(50),), "no square root"),
    (lesson_02.q3, (0.02,), "How many times larger"),
    (lesson_02.q4, (run(32, epochs=10, accuracy=0.89),), "0 of 8 seeds reached 90%"),
    (lesson_02.q4, (run(32, epochs=11),), "0 of 8 seeds.*a larger learning rate"),
    (lesson_02.q4, (run(32, epochs=10, accuracy=0.05),), "0 of 8 seeds.*the steps are too long"),
    (lesson_02.q4, (run(64, epochs=10),), "batch size is 64"),
    (lesson_02.q4, (run(32, epochs=10, seeds=7),), "has 7 seeds"),
    (lesson_02.q4, ("RMSprop",), "not a value of type `str`"),
    (lesson_02.q5, ((832_000, 12_800),), "one set of weights"),
    (lesson_02.q5, ((8_320, 128),), "activations of its own"),
    (lesson_02.q5, ((832_000, 128),), "other way round"),
    (lesson_02.q5, ((8_320, 3_200),), "4 bytes in float32"),
    (lesson_02.q5, ((8_320, 1.28),), "divided by 100"),
    (lesson_02.q5, ((1, 1),), "Which of the two"),
    (lesson_02.q5, (12_800,), "Hand in 2 numbers"),
]


def name(value):
    return next((n for n, q in QUESTIONS.items() if q is value), None)


@pytest.mark.parametrize(("question", "answer"), RIGHT, ids=name)
def test_right_answers(question, answer):
    verdict = question.verdict(*answer)
    assert verdict.correct, verdict.message
    assert verdict.message == f"**Right.** {question.right}"


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


@pytest.mark.parametrize("lesson", [lesson_01, lesson_02])
def test_every_lesson_says_what_its_questions_are(lesson):
    questions = [n for n, value in vars(lesson).items() if isinstance(value, Question)]
    assert questions == re.findall(r"^(q\d+)\. ", lesson.__doc__, re.MULTILINE)
    assert len(questions) >= 4


# The experiments that the questions ask for, run for real.


def test_the_solution_of_lesson_1_question_4_on_digits():
    def trained(batch_size):
        return fit(
            MLP, Digits(), batch_size=batch_size, seeds=1, lr=0.05, max_epochs=4, progress=False
        )

    assert lesson_01.q4.verdict(trained(19)).correct
    assert not lesson_01.q4.verdict(trained(20)).correct
    assert not lesson_01.q4.verdict(trained(18)).correct


@pytest.mark.parametrize(
    ("optimizer", "lr", "message"),
    [
        (torch.optim.RMSprop, 0.001, "Right"),
        (torch.optim.RMSprop, 0.0001, "a larger learning rate"),
        (torch.optim.RMSprop, 1.0, "the steps are too long"),
        (torch.optim.Rprop, 0.001, "as Rprop does at any learning rate"),
    ],
)
def test_the_solution_of_lesson_2_question_4_on_digits(optimizer, lr, message):
    trained = fit(
        MLP, Digits(), batch_size=32, optimizer=optimizer, lr=lr, max_epochs=10, progress=False
    )
    assert message in lesson_02.q4.verdict(trained).message


# Blanks, hints, display


BLANKS = [____, (____, 22), {"a": [1, ____]}, 100 / ____ + 1, -____ * 2, ____(3) ** 2, 2 * ____ < 3]


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("blank", BLANKS, ids=range(len(BLANKS)))
def test_a_blank_is_not_answered_yet(question, blank):
    answer = (overfit(), blank) if question is lesson_01.q5 else (blank,)
    verdict = question.verdict(*answer)
    assert not verdict.correct
    assert verdict.message.startswith("**Not answered yet.**")


def test_a_blank_inside_a_function_is_not_answered_yet():
    verdict = lesson_01.q3.verdict(lambda n, b, e, d: e * math.ceil(____ / b))
    assert verdict.message.startswith("**Not answered yet.**")
    assert repr(____) == "____"


def test_a_forgotten_argument_is_asked_for():
    assert lesson_01.q5.verdict(2).message == "Hand in `check(history, epoch)`."
    assert lesson_01.q1.verdict().message == "Hand in `check(answer)`."


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
