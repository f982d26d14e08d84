"""Exercises of lesson 1."""

import math
from functools import partial

import pandas as pd
import torch

from course_lib.datasets import Digits
from course_lib.exercises import ____, lesson_01
from course_lib.models import MLP
from course_lib.training import fit
from exercise_rules import ExerciseRules, made_up_run

run = partial(made_up_run, epochs=4)


def updates(n, batch_size, epochs, drop_last):
    return epochs * (n // batch_size if drop_last else math.ceil(n / batch_size))


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


class TestLesson1(ExerciseRules):
    lesson = lesson_01
    right = [
        (lesson_01.q1, 4_000),
        (lesson_01.q1, torch.tensor(4_000)),
        (lesson_01.q2, (23, 22)),
        (lesson_01.q2, [23, 22]),
        (lesson_01.q3, updates),
        (lesson_01.q4, run(19)),
        (lesson_01.q4, run(81, samples=6_000)),
        (lesson_01.q5, overfit(), 2),
    ]
    wrong = [
        (lesson_01.q1, 200, "are one epoch"),
        (lesson_01.q1, 1_000_000, "how many samples"),
        (lesson_01.q1, 5_000, "multiplies batch size and epochs"),
        (lesson_01.q1, 10, "divided by the epochs"),
        (lesson_01.q1, 50_000, "batch size 1"),
        (lesson_01.q1, 4_001, "Count the batches"),
        (lesson_01.q1, math.nan, "Count the batches"),
        (lesson_01.q1, "4000", "'4000' is text"),
        (lesson_01.q1, (4_000, 1), "single number"),
        (lesson_01.q1, None, "single number"),
        (lesson_01.q2, (22, 23), "wrong order"),
        (lesson_01.q2, (22, 22), "29 samples"),
        (lesson_01.q2, (23, 23), "incomplete batch is left out"),
        (lesson_01.q2, (1_437 / 64,) * 2, "no 0.45 of an update"),
        (lesson_01.q2, (24, 23), "How many full batches"),
        (lesson_01.q2, 23, "Hand in 2 numbers"),
        (lesson_01.q2, (23, 22, 1), "Hand in 2 numbers"),
        (lesson_01.q2, ("23", 22), "is text"),
        (lesson_01.q3, lambda n, b, e, d: e * (n // b), "drops the last partial batch always"),
        (lesson_01.q3, lambda n, b, e, d: e * -(-n // b), "keeps the last partial batch always"),
        (lesson_01.q3, lambda n, b, e, d: updates(n, b, e, not d), "wrong way round"),
        (lesson_01.q3, lambda n, b, e, d: updates(n, b, 1, d), "counts one epoch"),
        (lesson_01.q3, lambda n, b, e, d: updates(e * n, b, 1, d), "rounds once, at the end"),
        (lesson_01.q3, lambda n, b, e, d: e * n / b, "fractions of an update"),
        (lesson_01.q3, lambda n, b, e, d: e * (n // b + 1 - d), "a batch too many"),
        (lesson_01.q3, lambda n, b, e, d: 7, r"`updates\(1, 1, 1, False\)` gives 7; 1 would"),
        (lesson_01.q3, lambda n, b, e, d: None, "returns None"),
        (lesson_01.q3, lambda n, b, e, d: "7", "is text"),
        (lesson_01.q3, lambda n, b, e, d: 1 / 0, "`ZeroDivisionError`"),
        (lesson_01.q3, lambda n: n, "`TypeError`"),
        (lesson_01.q3, 270, "the function itself"),
        (lesson_01.q4, run(20), "makes 288 updates in 4 epochs, not 300"),
        (lesson_01.q4, run(18), "so does a larger batch"),
        (lesson_01.q4, run(19, epochs=5), "has 5 epochs"),
        (lesson_01.q4, run(64, epochs=0), "has 0 epochs"),
        (lesson_01.q4, run(82, samples=6_000), "not 300"),
        (lesson_01.q4, pd.concat([run(19), run(64)]), "several batch sizes"),
        (lesson_01.q4, 19, "not a value of type `int`"),
        (lesson_01.q5, overfit(), 5, "training loss is lowest"),
        (lesson_01.q5, overfit(), 3, "accuracy is highest"),
        (lesson_01.q5, overfit(), 4, "one lucky seed"),
        (lesson_01.q5, overfit(), 1, "still falls"),
        (lesson_01.q5, overfit().query("epoch != 5"), 3.5, "no evaluation at epoch 3.5"),
        (lesson_01.q5, overfit().assign(train_loss=1, val_accuracy=1), 3, "turned up already"),
        (lesson_01.q5, overfit(), "2", "is text"),
        (lesson_01.q5, 2, overfit(), "not a value of type `int`"),
    ]


def test_a_blank_inside_a_function_is_not_answered_yet():
    verdict = lesson_01.q3.verdict(lambda n, b, e, d: e * math.ceil(____ / b))
    assert verdict.message.startswith("**Not answered yet.**")


def test_a_forgotten_argument_is_asked_for():
    assert lesson_01.q5.verdict(2).message.endswith("2 values, `check(history, epoch)`, not 1.")
    assert lesson_01.q1.verdict().message.endswith("Hand in one value, `check(answer)`, not 0.")


def test_the_solution_of_question_4_on_digits():
    def trained(batch_size):
        return fit(
            MLP, Digits(), batch_size=batch_size, seeds=1, lr=0.05, max_epochs=4, progress=False
        )

    assert lesson_01.q4.verdict(trained(19)).correct
    assert not lesson_01.q4.verdict(trained(20)).correct
    assert not lesson_01.q4.verdict(trained(18)).correct
