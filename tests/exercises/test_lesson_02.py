"""Exercises of lesson 2."""

import math
from functools import partial

import pytest
import torch

from course_lib.datasets import Digits
from course_lib.exercises import lesson_02
from course_lib.models import MLP
from course_lib.training import fit
from exercise_rules import ExerciseRules, made_up_run

run = partial(made_up_run, epochs=10)


class TestLesson2(ExerciseRules):
    lesson = lesson_02
    right = [
        (lesson_02.q1, 0.2),
        (lesson_02.q1, 0.8 / math.sqrt(400 / 25)),
        (lesson_02.q2, 2 / 3),
        (lesson_02.q2, 0.67),
        (lesson_02.q3, 0.1 / 50),
        (lesson_02.q4, run(32)),
        (lesson_02.q5, (8_320, 12_800)),
    ]
    wrong = [
        (lesson_02.q1, 0.05, "divided by 16"),
        (lesson_02.q1, 3.2, "multiplied by 4"),
        (lesson_02.q1, 12.8, "multiplied by 16"),
        (lesson_02.q1, 0.8, "value at 25"),
        (lesson_02.q1, 0.4, "one over the square root"),
        (lesson_02.q1, "0.2", "is text"),
        (lesson_02.q2, 2, "value with replacement"),
        (lesson_02.q2, 0, "one is missing"),
        (lesson_02.q2, 0.22, "Take its square root"),
        (lesson_02.q2, 0.63, "N - 1 below the line, not N"),
        (lesson_02.q2, 0.2, r"You took \(N - B\) / N"),
        (lesson_02.q2, 1, "Multiply by the factor"),
        (lesson_02.q3, 5, "multiplied by 50"),
        (lesson_02.q3, 0.1, "50 times as long"),
        (lesson_02.q3, 0.1 / math.sqrt(50), "no square root"),
        (lesson_02.q3, 0.02, "How many times larger"),
        (lesson_02.q4, run(32, accuracy=0.89), "0 of 8 seeds reached 90%"),
        (lesson_02.q4, run(32, epochs=11), "0 of 8 seeds.*a larger learning rate"),
        (lesson_02.q4, run(32, accuracy=0.05, loss=2.4), "0 of 8 seeds.*the steps are too long"),
        (lesson_02.q4, run(64), "batch size is 64"),
        (lesson_02.q4, run(32, seeds=7), "has 7 seeds"),
        (lesson_02.q4, "RMSprop", "not a value of type `str`"),
        (lesson_02.q5, (832_000, 12_800), "one set of weights"),
        (lesson_02.q5, (8_320, 128), "activations of its own"),
        (lesson_02.q5, (832_000, 128), "other way round"),
        (lesson_02.q5, (8_320, 3_200), "4 bytes in float32"),
        (lesson_02.q5, (8_320, 1.28), "divided by 100"),
        (lesson_02.q5, (1, 1), "Which of the two"),
        (lesson_02.q5, 12_800, "Hand in 2 numbers"),
    ]


@pytest.mark.parametrize(
    ("optimizer", "lr", "message"),
    [
        (torch.optim.RMSprop, 0.001, "Right"),
        (torch.optim.RMSprop, 0.0001, "a larger learning rate"),
        (torch.optim.RMSprop, 1.0, "the steps are too long"),
        (torch.optim.Rprop, 0.001, "as Rprop does at any learning rate"),
    ],
)
def test_the_solution_of_question_4_on_digits(optimizer, lr, message):
    trained = fit(
        MLP, Digits(), batch_size=32, optimizer=optimizer, lr=lr, max_epochs=10, progress=False
    )
    assert message in lesson_02.q4.verdict(trained).message
